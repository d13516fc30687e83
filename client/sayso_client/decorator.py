"""A function that people approve before it runs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeAlias, TypeVar, Unpack, cast, overload

from sayso_client.answers import Outcome
from sayso_client.clients import AsyncSayso, Sayso
from sayso_client.questions import ApprovalTerms, title_of

P = ParamSpec("P")
T = TypeVar("T")

# A text such as "refund-{order}", or a function of the arguments.
Named: TypeAlias = str | Callable[..., str]
_UNSHOWN = ("self", "cls")


@overload
def require_approval(
    sayso: Sayso,
    *,
    key: Named,
    title: Named | None = None,
    when: Callable[..., bool] | None = None,
    **terms: Unpack[ApprovalTerms],
) -> Callable[[Callable[P, T]], Callable[P, T]]: ...
@overload
def require_approval(
    sayso: AsyncSayso,
    *,
    key: Named,
    title: Named | None = None,
    when: Callable[..., bool] | None = None,
    **terms: Unpack[ApprovalTerms],
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]: ...
def require_approval(
    sayso: Sayso | AsyncSayso,
    *,
    key: Named,
    title: Named | None = None,
    when: Callable[..., bool] | None = None,
    **terms: Unpack[ApprovalTerms],
) -> Any:
    """Decorate a function: it runs once people have approved the call, with the arguments that they approved.

    `key` names the call for ever: a text such as "refund-{order}", or a function of the arguments. `title`
    alike; without it the call is told. `when(**arguments)` says which calls are asked about; without it, all.
    With `editable=True` people may change the arguments. `Rejected`, `TimedOut` or `Withdrawn` where it was
    not approved; then the function has not run. A coroutine function takes an `AsyncSayso`, another one a
    `Sayso`.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        gate = _Gate(function, key, title, when, dict(terms))
        if inspect.iscoroutinefunction(function):
            return _awaited(function, sayso, gate)
        if not isinstance(sayso, Sayso):
            raise TypeError(f"{function.__qualname__} is no coroutine function: give a Sayso.")
        blocking = sayso

        @wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            bound = gate.bind(arguments, named)
            if gate.asks(bound):
                gate.take(bound, blocking.approve(**gate.question(bound)))
            return function(*bound.args, **bound.kwargs)

        return call

    return decorate


def _awaited(function: Callable[..., Any], sayso: Sayso | AsyncSayso, gate: _Gate) -> Callable[..., Any]:
    if not isinstance(sayso, AsyncSayso):
        raise TypeError(f"{function.__qualname__} is a coroutine function: give an AsyncSayso.")

    @wraps(function)
    async def call(*arguments: Any, **named: Any) -> Any:
        bound = gate.bind(arguments, named)
        if gate.asks(bound):
            gate.take(bound, await sayso.approve(**gate.question(bound)))
        return await function(*bound.args, **bound.kwargs)

    return call


class _Gate:
    """What is asked before a call, and what becomes of its arguments."""

    def __init__(
        self,
        function: Callable[..., Any],
        key: Named,
        title: Named | None,
        when: Callable[..., bool] | None,
        terms: Mapping[str, Any],
    ) -> None:
        self._signature = inspect.signature(function)
        self._name = function.__name__
        self._key, self._title, self._when, self._terms = key, title, when, terms

    def bind(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> inspect.BoundArguments:
        bound = self._signature.bind(*arguments, **named)
        bound.apply_defaults()
        return bound

    def asks(self, bound: inspect.BoundArguments) -> bool:
        return self._when is None or self._when(**_shown(bound))

    def question(self, bound: inspect.BoundArguments) -> dict[str, Any]:
        shown = _shown(bound)
        called = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        title = f"{self._name}({called})" if self._title is None else _named(self._title, shown)
        return {**self._terms, "title": title_of(title), "key": _named(self._key, shown), "arguments": shown}

    def take(self, bound: inspect.BoundArguments, outcome: Outcome) -> None:
        """Have the call made as it was approved."""
        bound.arguments.update(cast("dict[str, Any]", outcome.raise_for_refusal().arguments))


def _shown(bound: inspect.BoundArguments) -> dict[str, Any]:
    return {name: value for name, value in bound.arguments.items() if name not in _UNSHOWN}


def _named(name: Named, arguments: Mapping[str, Any]) -> str:
    return name.format(**arguments) if isinstance(name, str) else name(**arguments)
