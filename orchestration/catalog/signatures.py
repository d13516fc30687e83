"""Check that a function can be registered: that it can be called with a Run and a checked input."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any

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
