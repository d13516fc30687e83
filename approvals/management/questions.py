"""Ask the person at the keyboard to decide or answer requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from approvals import deciding
from approvals.domain.commands import Actor
from approvals.domain.lifecycle import RESPOND, Kind, Outcome, Verdict
from approvals.domain.masking import HiddenHeaders, hide_headers
from approvals.domain.schemas import Choices, labels_of
from approvals.exceptions import AlreadyDecided, ApprovalError, NotPermitted, TooLate
from approvals.management.answering import (
    choice_numbers,
    flat_properties,
    options_of,
    parse_choices,
    parse_json,
    parse_json_object,
    parse_property,
)
from approvals.management.keyboard import Keyboard
from approvals.management.screen import Misuse, Screen, as_text
from approvals.management.wording import facts, refusal

_YES = {"a", "approve", "y", "yes"}
_NO = {"r", "reject", "n", "no"}
_EDIT = {"e", "edit"}
_TEXT = {"t", "text"}
_LATER = {"l", "later"}
_FINAL = (AlreadyDecided, TooLate, NotPermitted)


class EndOfInput(Exception):
    """The input has ended (Ctrl-D)."""


class Later(Exception):
    """The person leaves this request for later."""


class Questions:
    """Asks one request at a time. Cancelling ends the prompt; what was sent stays on record."""

    def __init__(self, screen: Screen, keyboard: Keyboard, actor: Actor) -> None:
        self._screen = screen
        self._keyboard = keyboard
        self._actor = actor

    async def ask(self, request: Mapping[str, Any]) -> Outcome | None:
        """Show the request and ask until a decision is on record, from here or elsewhere.

        Return the outcome; None if it was left for later. EndOfInput when the input has ended.
        """
        word = "Approve?" if request["kind"] == Kind.APPROVAL else "Question"
        self._screen.fields(facts(request), title=f"{word} {request['title']}", style="cyan")
        self._keyboard.forget()
        while True:
            try:
                if request["kind"] == Kind.CLARIFICATION:
                    return await deciding.aanswer(self._actor, request["id"], await self._ask_answer(request))
                return await self._ask_verdict(request)
            except Later:
                self._screen.say("Left for later: the request stays open.", style="dim")
                return None
            except _FINAL as error:
                self._screen.say(str(refusal(error)), style="yellow")
                return error.outcome
            except (ApprovalError, Misuse) as error:
                words = refusal(error) if isinstance(error, ApprovalError) else error
                self._screen.say(str(words), style="red")

    async def _ask_verdict(self, request: Mapping[str, Any]) -> Outcome:
        editable, takes_text = request["editable"] is not False, RESPOND in request["decisions"]
        offered = f"[a]pprove, [r]eject{', [e]dit' * editable}{', [t]ext instead' * takes_text}, [l]ater:"
        while True:
            typed = (await self._ask_line(offered)).lower()
            if typed in _YES:
                why = await self._ask_line("Why?") if request["reason_required"] else ""
                return await deciding.adecide(self._actor, request["id"], Verdict.APPROVE, comment=why)
            if typed in _NO:
                question = "Why?" if request["reason_required"] else "Why? (Enter for no reason)"
                reason = await self._ask_line(question)
                return await deciding.adecide(self._actor, request["id"], Verdict.REJECT, comment=reason)
            if typed in _EDIT and editable:
                return await self._ask_edit(request)
            if typed in _TEXT and takes_text:
                return await deciding.aanswer(self._actor, request["id"], await self._ask_text())
            if typed in _LATER:
                raise Later

    async def _ask_edit(self, request: Mapping[str, Any]) -> Outcome:
        """Ask for edited arguments, and show them again before they are approved."""
        hidden = HiddenHeaders(request["arguments"])
        self._screen.say(f"Now: {as_text(hidden.value)}", style="dim")
        typed = parse_json_object(await self._ask_line("Arguments as JSON (or @file):"), "The arguments")
        edited = hidden.restore(typed)
        self._screen.fields(hide_headers(edited), title="As edited", style="yellow")
        if (await self._ask_line("Approve these? [y]es, [n]o:")).lower() not in _YES:
            return await self._ask_verdict(request)
        why = await self._ask_line("Why?") if request["reason_required"] else ""
        return await deciding.adecide(
            self._actor, request["id"], Verdict.APPROVE, comment=why, arguments=edited
        )

    async def _ask_answer(self, request: Mapping[str, Any]) -> Any:
        if request["choices"] is not None:
            return await self._ask_choice(request["choices"], several=request["multiple"])
        if request["schema"] is not None:
            return await self._ask_structure(request["schema"])
        return await self._ask_text()

    async def _ask_choice(self, choices: Choices, *, several: bool) -> Any:
        offered = labels_of(choices).values()
        self._screen.table(("", ""), list(zip(choice_numbers(choices), offered, strict=True)))
        question = "Numbers, such as 1,3-5, or all, or none:" if several else "Number:"
        while True:
            try:
                picked = parse_choices(await self._ask_line(question), choices)
            except ValueError as error:
                self._screen.say(str(error), style="red")
                continue
            if several:
                return picked
            if len(picked) == 1:
                return picked[0]
            self._screen.say("Pick exactly one.", style="red")

    async def _ask_structure(self, schema: Any) -> Any:
        """Ask for one property at a time if the form is flat; otherwise for JSON."""
        properties = flat_properties(schema)
        if properties is None:
            return parse_json(await self._ask_line("Answer as JSON (or @file):"), "The answer")
        answer = {}
        for name, rule in properties.items():
            required = name in schema.get("required", ())
            value = await self._ask_property(name, rule, required=required)
            if value is not None:
                answer[name] = value
        return answer

    async def _ask_property(self, name: str, rule: Mapping[str, Any], *, required: bool) -> Any:
        options = options_of(rule)
        if options and required:
            self._screen.say(f"{rule.get('title') or name}:")
            return await self._ask_choice(options, several=False)
        hint = {"boolean": ", yes or no", None: ", as JSON"}.get(rule.get("type"), "")
        hint += "" if required else " (Enter to leave out)"
        while True:
            typed = await self._ask_line(f"{rule.get('title') or name}{hint}:")
            if not typed and not required:
                return None
            try:
                return parse_property(typed, rule)
            except ValueError as error:
                self._screen.say(str(error), style="red")

    async def _ask_text(self) -> str:
        while not (typed := await self._ask_line("Answer:")):
            if (await self._ask_line("Send an empty answer? [y]es, [n]o:")).lower() in _YES:
                break
        return typed

    async def _ask_line(self, question: str) -> str:
        self._screen.prompt(question)
        answered = False
        try:
            typed = await self._keyboard.read_line()
            answered = typed is not None
        finally:
            if not answered:
                self._screen.end_prompt()
        if typed is None:
            raise EndOfInput
        return typed.strip()
