"""Show a run live in a terminal, and let the person there decide its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from approvals import links, queries
from approvals.database.threads import in_database
from approvals.domain.lifecycle import Kind, Outcome, Status
from approvals.exceptions import ApprovalError
from approvals.management.questions import EndOfInput, Questions
from approvals.management.screen import Screen, as_text
from approvals.management.wording import MORE_NEEDED, STATUS_LOOKS, facts
from orchestration.manager import RunEvent
from orchestration.models import OPEN, RunStatus

STEP_MARKS = {
    "completed": "✓",
    "running": "▸",
    "waiting": "○",
    "rejected": "✗",
    "failed": "✗",
    "skipped": "·",
}
RUN_STYLES = {
    RunStatus.COMPLETED: "green",
    RunStatus.REJECTED: "red",
    RunStatus.FAILED: "red",
    RunStatus.CANCELLED: "yellow",
}


class LiveView:
    """Shows the events of `OrchestrationManager.watch`. Without `questions` people decide elsewhere."""

    def __init__(self, screen: Screen, user_id: int, questions: Questions | None) -> None:
        self._screen = screen
        self._user_id = user_id
        self._questions = questions
        self._open: dict[str, Mapping[str, Any]] = {}
        self._asking: tuple[str, asyncio.Task[None]] | None = None
        self._status = ""
        self._steps: list[Mapping[str, Any]] = []
        self._unfinished_line = ""

    async def show(self, event: RunEvent) -> None:
        if event.type != "agent_message_chunk":
            self._end_message()
        match event.type:
            case "agent_message":
                self._say(event.data["agent"], event.data["text"])
            case "agent_message_chunk":
                self._say_chunk(event.data["agent"], event.data["text"])
            case "request_opened":
                await self._show_opened(event.data["request"])
            case "request_closed":
                await self._show_closed(event.data["request"], event.data["outcome"])
            case "run_status":
                self._show_status(event.data["run"])

    async def close(self) -> None:
        """Remove a question that is still on the screen."""
        self._questions = None
        await self._stop_asking()
        self._end_message()

    # Requests

    async def _show_opened(self, request: Mapping[str, Any]) -> None:
        if request["status"] != Status.PENDING:
            return
        permitted = await in_database(self._may_decide, request["id"])
        if self._questions is None or not permitted:
            self._point_to(request)
        else:
            self._open[request["id"]] = request
            self._ask_next()

    async def _show_closed(self, request: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
        self._open.pop(request["id"], None)
        if self._asking and self._asking[0] == request["id"]:
            await self._stop_asking()
        mark, style = STATUS_LOOKS[Status(outcome["status"])]
        by = f" by {outcome['decided_by']}" if outcome["decided_by"] else ""
        said = "" if outcome["answer"] is None else f": {_answer_text(outcome['answer'])}"
        said += f" ({outcome['comment']})" if outcome["comment"] else ""
        self._screen.say(f"{mark}{by}: {request['title']}{said}", style=style)
        self._ask_next()

    def _ask_next(self) -> None:
        if self._questions and self._asking is None and self._open:
            request = next(iter(self._open.values()))
            self._asking = (request["id"], asyncio.create_task(self._ask(self._questions, request)))

    async def _ask(self, questions: Questions, request: Mapping[str, Any]) -> None:
        try:
            outcome = await questions.ask(request)
        except EndOfInput:
            self._questions = None
            for waiting in self._open.values():
                self._point_to(waiting)
        else:
            self._tell(request, outcome)
        self._open.pop(request["id"], None)
        self._asking = None
        self._ask_next()

    def _tell(self, request: Mapping[str, Any], outcome: Outcome | None) -> None:
        """Say what came of the question, unless it is closed: that is shown by the event."""
        if outcome is None:
            self._point_to(request)
        elif not outcome.closed:
            self._screen.say(MORE_NEEDED)

    async def _stop_asking(self) -> None:
        if self._asking:
            (_, task), self._asking = self._asking, None
            task.cancel()
            await asyncio.wait([task])

    def _may_decide(self, request_id: str) -> bool:
        try:
            request = queries.request_for(self._user_id, request_id)
        except ApprovalError:
            return False
        return queries.rights_of(self._user_id, request).decide

    def _point_to(self, request: Mapping[str, Any]) -> None:
        """Say where the request can be decided: on its page, or by a command."""
        approval = request["kind"] == Kind.APPROVAL
        verb = f"decide {request['id']} approve|reject" if approval else f"answer {request['id']} TEXT"
        rule = {name: request[name] for name in ("choices", "schema") if request[name] is not None}
        elsewhere = {
            "page": links.address_of("request", request_id=request["id"]),
            "command": f"manage.py {verb}",
        }
        self._screen.fields(
            facts(request) | rule | elsewhere, title=f"waits: {request['title']}", style="cyan"
        )

    # Status, plan and messages

    def _show_status(self, run: Mapping[str, Any]) -> None:
        # On a terminal, steps and questions show that it runs.
        if run["status"] != self._status and not (self._screen.is_terminal and run["status"] in OPEN):
            self._screen.say(f"run: {run['status']}", style=RUN_STYLES.get(run["status"], ""))
        self._status = run["status"]
        before = {number: step["state"] for number, step in enumerate(self._steps)}
        self._steps = run["plan"]
        for number, step in enumerate(self._steps):
            if before.get(number) != step["state"]:
                self._show_step(number + 1, step)

    def _show_step(self, number: int, step: Mapping[str, Any]) -> None:
        mark = STEP_MARKS.get(step["state"], "○")
        name = step.get("action") or step.get("title") or ""
        self._screen.say(f"{mark} step {number}, {step['state']}: {name}")

    def _say(self, agent: str, text: str) -> None:
        for line in text.splitlines() or [""]:
            self._screen.say(f"{agent}: {line}")

    def _say_chunk(self, agent: str, text: str) -> None:
        """Show whole lines at once; the rest when it is complete, or before something else is shown."""
        *lines, rest = ((self._unfinished_line or f"{agent}: ") + text).split("\n")
        for line in lines:
            self._screen.say(line)
        self._unfinished_line = f"{agent}: {rest}" if lines else rest

    def _end_message(self) -> None:
        if self._unfinished_line:
            self._screen.say(self._unfinished_line)
        self._unfinished_line = ""


def _answer_text(answer: Any) -> str:
    return ", ".join(map(as_text, answer)) if isinstance(answer, list) else as_text(answer)
