"""Functions that can be registered, and their input as a pydantic model of their signature."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Awaitable, Callable
from inspect import Parameter
from typing import Any, TypeAlias

import pydantic

Function: TypeAlias = Callable[..., Awaitable[Any]]

ANYTHING = {"Any", "object"}


def check_orchestration(function: Callable[..., Any]) -> None:
    """Raise TypeError for a parameter that no input could fill, or that would not be checked."""
    _check_coroutine(function)
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD):
        raise TypeError(
            f"{full_name(function)} needs a first parameter for its Run: `async def f(run, *, …)`"
        )
    for one in parameters[1:]:
        if one.kind is Parameter.POSITIONAL_ONLY:
            raise TypeError(
                f"{full_name(function)}: the parameter {one.name!r} is positional-only, but input is given by"
                " name; put it behind the `/`"
            )
        if one.kind is Parameter.VAR_KEYWORD and not _takes_anything(one.annotation):
            raise TypeError(
                f"{full_name(function)}: `**{one.name}` has a type, but what it takes is not checked; name"
                f" the parameters that have one, or write `**{one.name}: Any`"
            )


def check_agent(function: Callable[..., Any]) -> None:
    """Raise TypeError unless the function can be called as `function(run, action, arguments)`."""
    _check_coroutine(function)
    try:
        inspect.signature(function).bind(None, "", {})
    except TypeError as error:
        raise TypeError(
            f"{full_name(function)} must be `async def f(run, action, arguments)`: {error}"
        ) from None


def full_name(function: Callable[..., Any]) -> str:
    """Return the function's module and name, for error texts."""
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _check_coroutine(function: Callable[..., Any]) -> None:
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{full_name(function)} must be `async def`")


def _takes_anything(annotation: object) -> bool:
    """Compare by name, because annotations may be text that can't be looked up yet."""
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return annotation is Parameter.empty or name.rpartition(".")[2] in ANYTHING


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


def _field(parameter: Parameter) -> Any:
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
