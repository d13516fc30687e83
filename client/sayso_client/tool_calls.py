"""What the adapters of agent frameworks share: which tool calls are asked about, and how people see them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

from sayso_client.answers import Outcome
from sayso_client.clients import AsyncSayso
from sayso_client.questions import Assignees, key_of, title_of
from sayso_client.values import to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool that a model wants to call. `id` names the call within its run.

    `in_own_words`: it is no call, a program asks something, which is the name then.
    """

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    in_own_words: bool = False


class QuestionOptions(TypedDict, total=False):
    """What may be said of everything that an adapter asks: approvals and questions."""

    assignees: Assignees | None
    timeout: float | None
    severity: str


class Options(QuestionOptions, total=False):
    """What every adapter takes besides.

    `when(name, arguments)` says which calls people are asked about; the others are approved. `title(call)`
    returns the title that people see; without it, the call. The rest is as in `Sayso.approve`; with
    `required` above 1 nobody can change arguments. A run that is taken up needs the options with which it
    asked.
    """

    when: Callable[[str, Mapping[str, Any]], bool]
    title: Callable[[ToolCall], str]
    required: int
    four_eyes: bool


@dataclass(frozen=True, slots=True)
class Asking:
    """How the calls of one run are asked about. `kind` names the framework, `group` the turn of the calls."""

    kind: str
    run: str
    options: Options
    group: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if not self.run:
            raise ValueError("run must name this run for ever: its requests are found again by it.")

    @property
    def origin(self) -> dict[str, str]:
        """Return what its requests say that asks."""
        return {"kind": self.kind, "id": key_of(self.run)}

    def is_asked(self, call: ToolCall) -> bool:
        """Return whether people are asked about this call."""
        when = self.options.get("when")
        return when is None or when(call.name, call.arguments)

    def together(self, calls: Sequence[ToolCall]) -> Asking:
        """Return how the calls of one turn are asked about: several are a group, named by the first."""
        if len(calls) < 2:
            return self
        names = ", ".join(call.name for call in calls)
        group = {"key": key_of(self.run, calls[0].id), "title": title_of(f"{len(calls)} calls: {names}")}
        return replace(self, group=group)

    async def ask_all(
        self, sayso: AsyncSayso, calls: Sequence[ToolCall], *, editable: bool = False
    ) -> list[Outcome | None]:
        """Ask about the calls of one turn and wait for each outcome; None where nobody is asked."""
        asked = [call for call in calls if self.is_asked(call)]
        turn = self.together(asked)
        requests = {
            call.id: await sayso.open_approval(**turn.approval(call, editable=editable)) for call in asked
        }
        outcomes = {name: await request.wait() for name, request in requests.items()}
        return [outcomes.get(call.id) for call in calls]

    def approval(
        self, call: ToolCall, details: str = "", editable: bool | Mapping[str, Any] = False
    ) -> dict[str, Any]:
        """Return what `Sayso.approve` takes.

        A schema in `editable` counts where the arguments, as sent, can fit it: not with large whole numbers.
        """
        options = {name: value for name, value in self.options.items() if name not in {"when", "title"}}
        if not isinstance(editable, bool) and to_json(call.arguments, "arguments") != call.arguments:
            editable = True
        return {
            **options,
            **self._named(call, details),
            "arguments": dict(call.arguments),
            "editable": editable if options.get("required", 1) == 1 else False,
        }

    def question(self, call: ToolCall, details: str = "", schema: Any = None) -> dict[str, Any]:
        """Return what `Sayso.ask` takes, for a call whose result a person gives; silence is none."""
        options = {
            name: value for name, value in self.options.items() if name in QuestionOptions.__annotations__
        }
        return {**options, **self._named(call, details), "schema": schema, "default": None}

    def _named(self, call: ToolCall, details: str) -> dict[str, Any]:
        title = self.options.get("title", _called)
        return {
            "title": title_of(call.name if call.in_own_words else title(call)),
            "key": key_of(self.run, call.id),
            "details": details,
            "origin": self.origin,
            **({} if self.group is None else {"group": self.group}),
        }


class Leftovers:
    """What the last process of a run has asked, and nobody waits for any more: for runs that keep nothing."""

    def __init__(self, sayso: AsyncSayso, asking: Asking) -> None:
        self._sayso, self._asking = sayso, asking
        self._lock, self._done = asyncio.Lock(), False

    async def withdraw(self) -> None:
        """Take it back, once; return when it is. To be awaited before this process asks anything."""
        async with self._lock:
            if not self._done:
                await self._sayso.withdraw_all(self._asking.origin, "The agent was started again.")
            self._done = True


def _called(call: ToolCall) -> str:
    arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
    return f"{call.name}({arguments})"
