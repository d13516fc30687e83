"""The input of an orchestration, as a pydantic model of its function's signature."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pydantic

Function: TypeAlias = Callable[..., Awaitable[Any]]


def input_model(name: str, function: Function) -> type[pydantic.BaseModel]:
    """Build a model with a field for each parameter that follows the Run in the function's signature."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    hints = typing.get_type_hints(function, localns={"Run": Any}, include_extras=True)
    open_ended = any(one.kind is one.VAR_KEYWORD for one in parameters)
    fields: dict[str, Any] = {
        # Under aliases, because pydantic keeps some names for itself.
        f"field_{one.name}": (hints.get(one.name, Any), _field(one))
        for one in parameters
        if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    }
    config = pydantic.ConfigDict(extra="allow" if open_ended else "forbid", title=name)
    return pydantic.create_model("Input", __config__=config, **fields)


def _field(parameter: inspect.Parameter) -> Any:
    if parameter.default is parameter.empty:
        return pydantic.Field(alias=parameter.name)
    return pydantic.Field(alias=parameter.name, default=parameter.default)


def path_of(location: tuple[int | str, ...]) -> str:
    """Return where an error is, such as `items[2].title`; `input` for the input itself."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".") or "input"


def message_of(error: Any) -> str:
    """Return what is wrong with a field, in words that follow its name."""
    plain = {"missing": "is required", "extra_forbidden": "is not a known field"}
    text = str(error["msg"])
    return plain.get(error["type"], text[:1].lower() + text[1:])


def type_name(annotation: Any) -> str:
    """Name a type as people write it, without its constraints."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin is typing.Literal:
        return " | ".join(map(repr, arguments))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(type_name, arguments))
    if annotation is type(None):
        return "None"
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
    return f"{type_name(origin)}[{', '.join(map(type_name, arguments))}]" if arguments else name
