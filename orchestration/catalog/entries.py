"""What is registered: orchestrations, which check their input, and agents."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeAlias

import pydantic

from approvals.domain.escalation import Step
from approvals.domain.payloads import check_json
from approvals.exceptions import InvalidRequest
from orchestration.catalog import titles
from orchestration.catalog.isolation import call_for_anybody
from orchestration.catalog.retries import RetryPolicy
from orchestration.catalog.signatures import Function, input_model, message_of, path_of, type_name
from orchestration.exceptions import InvalidInput
from orchestration.plans import InvalidPlan

Check: TypeAlias = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Orchestration:
    """A registered orchestration: `function` takes a Run, then its input as keyword arguments."""

    name: str
    version: int = 1
    # Of runs, as registered: it may name fields of the input. Empty: see `titles.format_title`.
    title: str = ""
    description: str
    function: Function = field(repr=False)
    check: Check | None = field(default=None, repr=False)
    # Names of users and groups, or REVIEWERS. None: the run's owner.
    deciders: Any = None
    four_eyes: bool = False
    # Steps of `approvals.domain.escalation`, which name users and groups by their names.
    escalation: Sequence[Step] = ()

    @property
    def label(self) -> str:
        """What people call the orchestration: its title, or its name where that is empty or has fields."""
        name = self.name.replace("_", " ").capitalize()
        if not self.title or titles.has_fields(self.title):
            return name
        return titles.format_title(self.title, name, self.function, {})

    def title_of(self, given: Mapping[str, Any]) -> str:
        """Return the title of a run with this input, as it will be recorded."""
        return titles.format_title(self.title, self.label, self.function, given)

    def check_input(self, value: object, *, stable: bool = True) -> dict[str, Any]:
        """Check the input and return it as it will be recorded.

        Raises InvalidInput, which names the field and the known fields. `stable` is that of `check_json`:
        an input that is on record may have numbers that are no longer accepted.
        """
        value = _check_json({} if value is None else value, stable=stable)
        call_for_anybody(partial(self._check, value))
        return value

    def _check(self, value: dict[str, Any]) -> None:
        arguments = self.arguments(value)
        if self.check is not None:
            try:
                self.check(arguments)
            except InvalidPlan as error:
                raise InvalidInput(f"{error.field}: {error.detail}", field=error.field) from error

    def arguments(self, value: dict[str, Any]) -> dict[str, Any]:
        """Convert the input to the function's keyword arguments, typed as its signature says."""
        try:
            model = self._model.model_validate_json(json.dumps(value), strict=True)
        except pydantic.ValidationError as error:
            raise self._invalid_input(error) from None
        # The function's own defaults serve for what was not given.
        fields = type(model).model_fields
        given = {
            info.alias or name: getattr(model, name)
            for name, info in fields.items()
            if name in model.model_fields_set
        }
        more = model.model_extra or {}
        self._refuse_name_of_run(more)
        return given | more

    def _refuse_name_of_run(self, more: Mapping[str, Any]) -> None:
        """Refuse a field that `**rest` would take but that has the name of the Run parameter."""
        run = next(iter(inspect.signature(self.function).parameters.values()))
        if run.kind is run.POSITIONAL_OR_KEYWORD and run.name in more:
            raise InvalidInput(f"{run.name}: is not a known field", field=run.name)

    @property
    def fields(self) -> dict[str, str]:
        """Name and type of each input field, for error texts and forms."""
        return {
            info.alias or name: type_name(info.annotation) for name, info in self._model.model_fields.items()
        }

    @property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of the input."""
        return self._model.model_json_schema(by_alias=True)

    @cached_property
    def _model(self) -> type[pydantic.BaseModel]:
        return input_model(self.name, self.function)

    def _invalid_input(self, error: pydantic.ValidationError) -> InvalidInput:
        errors = tuple((path_of(one["loc"]), message_of(one)) for one in error.errors())
        known = ", ".join(f"{name} ({kind})" for name, kind in self.fields.items()) or "none"
        texts = "; ".join(f"{path}: {message}" for path, message in errors)
        return InvalidInput(
            f"Input of {self.name!r}: {texts}. Known fields: {known}.", field=errors[0][0], errors=errors
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredAgent:
    """A registered agent; calling it runs `function(run, action, arguments)`."""

    name: str
    description: str
    function: Function = field(repr=False)
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)

    async def __call__(self, run: Any, action: str, arguments: dict[str, Any]) -> Any:
        with self.retry_policy.as_default():
            return await self.function(run, action, arguments)


def _check_json(value: object, *, stable: bool) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput("The input is a JSON object.", field="input")
    try:
        check_json(value, "input", stable=stable)
    except InvalidRequest as error:
        raise InvalidInput(error.detail, field=error.field) from error
    return value
