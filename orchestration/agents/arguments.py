"""Validate the arguments that a plan gives to an agent; errors name the field at fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Self, TypeAlias, TypeVar

import pydantic

from orchestration.exceptions import InvalidInput
from orchestration.plans import Agent

Check: TypeAlias = Callable[[str, dict[str, Any]], object]
F = TypeVar("F", bound=Callable[..., Any])


class Arguments(pydantic.BaseModel):
    """Base of the arguments of agents: types are strict, and unknown names are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    @classmethod
    def read(cls, arguments: dict[str, Any]) -> Self:
        """Validate the arguments; InvalidInput names a field such as `arguments.url`."""
        try:
            return cls.model_validate_json(json.dumps(arguments))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            field = "arguments" + "".join(_step(part) for part in first["loc"])
            known = ", ".join(cls.model_fields)
            raise InvalidInput(f"{field}: {_rule(first)}. Known names: {known}.", field=field) from None


def check_action(action: str, *known: str) -> None:
    """Raise InvalidInput unless `action` is among the known actions."""
    if action not in known:
        raise InvalidInput(
            f"action: {action!r} is not known here. Known actions: {', '.join(known)}.", field="action"
        )


def check_with(check: Check, *, here: Check | None = None) -> Callable[[F], F]:
    """Attach checks of a step to an agent's function: `check(action, arguments)`. Put this below `@agent`.

    A check raises InvalidInput, which names a field such as `arguments.url`. `here` checks what this process
    can do, and may read the database.
    """

    def attach(function: F) -> F:
        function.check, function.check_here = check, here  # type: ignore[attr-defined]  # functions take these
        return function

    return attach


def check_agent(agent: Agent, action: str, arguments: dict[str, Any], *, here: bool = True) -> None:
    """Check a step by its agent's checks, if it has any; `here`: also what this process can do."""
    function = getattr(agent, "function", agent)
    checks: list[Check | None] = [getattr(function, "check", None)]
    if here:
        checks.append(getattr(function, "check_here", None))
    for check in checks:
        if check is not None:
            check(action, arguments)


def _step(part: int | str) -> str:
    return f"[{part}]" if isinstance(part, int) else f".{part}"


def _rule(error: Any) -> str:
    plain = {"missing": "is required", "extra_forbidden": "is not a known name"}
    return plain.get(error["type"], str(error["msg"]).removeprefix("Value error, "))
