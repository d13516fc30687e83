"""What a plan gives to an agent, read strictly: the error names the field that does not fit."""

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
    """An agent's arguments. A text that is required is not empty; unknown names are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    @classmethod
    def read(cls, arguments: dict[str, Any]) -> Self:
        """Raises InvalidInput, whose field is such as `arguments.url`."""
        try:
            return cls.model_validate_json(json.dumps(arguments))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            field = "arguments" + "".join(_step(part) for part in first["loc"])
            known = ", ".join(cls.model_fields)
            raise InvalidInput(f"{field}: {_rule(first)}. Known names: {known}.", field=field) from None


def check_action(action: str, *known: str) -> None:
    """Raises InvalidInput unless the agent knows how to do `action`."""
    if action not in known:
        raise InvalidInput(
            f"action: {action!r} is not known here. Known actions: {', '.join(known)}.", field="action"
        )


def check_with(check: Check, *, here: Check | None = None) -> Callable[[F], F]:
    """Say what an agent can know about a step before it is done: `check(action, arguments)`.

    It raises InvalidInput, whose field is such as `arguments.url`. So does `here`, for what can't be done by
    this process; it may ask the database. Put this below `@agent`.
    """

    def attach(function: F) -> F:
        function.check, function.check_here = check, here  # type: ignore[attr-defined]  # functions take these
        return function

    return attach


def check_agent(agent: Agent, action: str, arguments: dict[str, Any], *, here: bool = True) -> None:
    """Let an agent look at a step, if it has something to say about it. `here`: as this process does it."""
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
