"""What a plan gives to an agent, read strictly: the error names the field that does not fit."""

from __future__ import annotations

import json
from typing import Any, Self

import pydantic

from orchestration.exceptions import InvalidInput


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


def _step(part: int | str) -> str:
    return f"[{part}]" if isinstance(part, int) else f".{part}"


def _rule(error: Any) -> str:
    plain = {"missing": "is required", "extra_forbidden": "is not a known name"}
    return plain.get(error["type"], str(error["msg"]).removeprefix("Value error, "))
