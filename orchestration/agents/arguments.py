"""Validate the arguments that a plan gives to an agent; errors name the field at fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar

import pydantic

from orchestration.catalog.signatures import path_of
from orchestration.exceptions import InvalidInput
from orchestration.plans import Agent

F = TypeVar("F", bound=Callable[..., Any])


class Arguments(pydantic.BaseModel):
    """Base of the arguments of agents: types are strict, and unknown names are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    actions: ClassVar[tuple[str, ...]] = ()
    """What the agent can do; empty: any text is an action."""

    @classmethod
    def read(cls, action: str, arguments: dict[str, Any]) -> Self:
        """Validate a step; InvalidInput names a field such as `arguments.url`."""
        if cls.actions and action not in cls.actions:
            known = ", ".join(cls.actions)
            raise InvalidInput(
                f"action: {action!r} is not known here. Known actions: {known}.", field="action"
            )
        try:
            return cls.model_validate_json(json.dumps(arguments))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            field = path_of(("arguments", *first["loc"]))
            known = ", ".join(cls.model_fields)
            raise InvalidInput(f"{field}: {_rule(first)}. Known names: {known}.", field=field) from None

    def check_here(self) -> None:
        """Raise InvalidInput for what this process can't do; may read the database."""


def check_with(arguments: type[Arguments]) -> Callable[[F], F]:
    """Have the steps of an agent checked before its function is called. Put this below `@agent`."""

    def attach(function: F) -> F:
        function.arguments = arguments  # type: ignore[attr-defined]  # functions take it
        return function

    return attach


def check_agent(agent: Agent, action: str, arguments: dict[str, Any], *, here: bool = True) -> None:
    """Check a step by its agent's arguments, if it has any; `here`: also what this process can do."""
    known: type[Arguments] | None = getattr(getattr(agent, "function", agent), "arguments", None)
    if known is not None:
        asked = known.read(action, arguments)
        if here:
            asked.check_here()


def _rule(error: Any) -> str:
    plain = {"missing": "is required", "extra_forbidden": "is not a known name"}
    return plain.get(error["type"], str(error["msg"]).removeprefix("Value error, "))
