"""The command `orchestrate`: start a run, or attach to one, and show and decide it in the terminal."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

from django.contrib.auth.models import User

from approvals import links
from approvals.database.threads import in_database
from approvals.management.answering import parse_json_object
from approvals.management.installation import is_embedded, prepare_tables, require_tables
from approvals.management.keyboard import Keyboard
from approvals.management.people import acting_person, actor_in_terminal, add_as_option
from approvals.management.questions import Questions
from approvals.management.screen import Misuse, Screen, ScreenCommand, raise_as_misuse
from approvals.management.short_ids import HELP
from orchestration import queries
from orchestration.catalog import find_orchestration, orchestrations
from orchestration.conf import orchestration_settings
from orchestration.exceptions import InvalidInput
from orchestration.management.live_view import LiveView
from orchestration.management.process_exit import Interrupts, exit_at_once, exit_process, first_of
from orchestration.management.runs import describe_takeover, find_run, owner_of_run
from orchestration.manager import OrchestrationManager
from orchestration.models import OPEN, RunStatus
from orchestration.policies import allowlists
from orchestration.runtime import Runtime, start_runtime, stop_runtime

COMPLETED, FAILED, REJECTED, TIMED_OUT, CANCELLED, LET_GO, INTERRUPTED = 0, 1, 3, 4, 5, 6, 130

# Starts a run in this process, or attaches to one; returns its id.
Begin: TypeAlias = Callable[[Runtime], Awaitable[UUID]]


class Command(ScreenCommand):
    help = (
        "Start an orchestration, show it live, and let the person at this terminal decide and answer. The"
        " result goes to standard output, everything else to standard error. Ctrl-C lets go of the run, which"
        " goes on elsewhere or waits for --attach; twice within two seconds ends at once. While this terminal"
        " executes your run, its steps may reach what you may: SAYSO_CLEANUP_DIRECTORIES and the like are for"
        " servers and workers. Exit status:"
        " 0 completed, 3 rejected, 4 timed out, 5 cancelled, 6 let go, 1 failed, 2 misuse."
    )
    requires_system_checks = "__all__"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", nargs="?", help="which orchestration")
        parser.add_argument("--input", metavar="JSON", help="its input, as JSON or @file; default: {}")
        parser.add_argument(
            "--detach", action="store_true", help="leave the run to a server, print its id and return"
        )
        parser.add_argument(
            "--attach",
            metavar="ID",
            help=f"show the run with this id, {HELP}, instead of starting one; it executes here if nobody"
            " else executes it",
        )
        add_as_option(parser)

    def handle(self, *, name: str | None, detach: bool, attach: str | None, **options: Any) -> None:
        result, progress = self.screen, self.progress
        given, username = options["input"], options["username"]
        if attach is not None:
            if name or given or detach:
                raise Misuse("--attach shows an existing run: give no NAME, --input or --detach with it.")
            person, begin, lists = _join(attach, username)
        elif name is None:
            raise Misuse("Say which orchestration: orchestrate NAME; or which run: orchestrate --attach ID.")
        else:
            lists = allowlists.unlimited()
            with allowlists.unlimited():  # the lists of the server that executes it apply
                person, given = _prepare(name, given, username, progress)
                if detach:
                    actor = actor_in_terminal(person, "orchestrate")
                    run_id = OrchestrationManager().start(name, given, person, actor=actor)
                    progress.say(
                        f"Queued for a server; see {links.address_of('run', run_id=run_id)}", style="dim"
                    )
                    result.text(str(run_id))
                    return
            begin = _starter_of(name, given, person)
        if options["verbosity"] < 2:
            logging.getLogger().setLevel(logging.WARNING)
        with lists:
            run = asyncio.run(_live(begin, person, progress))
        _end(run, result, progress)


def _prepare(
    name: str, given: str | None, username: str | None, progress: Screen
) -> tuple[User, dict[str, Any]]:
    """Return the run's owner and its checked input."""
    checked = parse_json_object(given or "{}", "--input")
    with raise_as_misuse(InvalidInput):
        find_orchestration(name).check_input(checked)
    if is_embedded():
        prepare_tables(progress)
    require_tables()
    return owner_of_run(username, progress), checked


def _starter_of(name: str, given: dict[str, Any], owner: User) -> Begin:
    async def begin(runtime: Runtime) -> UUID:
        actor = actor_in_terminal(owner, "orchestrate")
        return await runtime.manager.astart(name, given, owner, actor=actor)

    return begin


def _join(run_id: str, username: str | None) -> tuple[User, Begin, AbstractContextManager[None]]:
    """Whoever may change the run has it go on here, where nobody executes it; others only see it.

    With it, what holds meanwhile: somebody else's run keeps to the lists, or to look at it would do for them
    what they may not.
    """
    require_tables()
    person = acting_person(username)
    run = find_run(person, run_id, "--attach")
    goes_on_here = queries.may_change(person.pk, run) and run.orchestration in orchestrations()

    async def begin(runtime: Runtime) -> UUID:
        if goes_on_here:
            await runtime.host.take_up(run.pk)
        return run.pk

    return person, begin, allowlists.unlimited() if run.owner_id == person.pk else nullcontext()


async def _live(begin: Begin, person: User, screen: Screen) -> Mapping[str, Any] | str | None:
    """Return the run at its end, or who continues it; None where the person left before it was started."""
    keyboard = Keyboard.of(sys.stdin) if screen.is_terminal else None
    actor = actor_in_terminal(person, "orchestrate")
    live = LiveView(screen, person.pk, Questions(screen, keyboard, actor) if keyboard else None)
    interrupts = Interrupts(lambda: _say_what_happens(screen), lambda: exit_at_once(INTERRUPTED))
    try:
        runtime = await start_runtime(serves=False)
        await runtime.host.ready()
    except asyncio.CancelledError:
        await stop_runtime()
        return None
    with interrupts.listen():
        try:
            run_id = await begin(runtime)
            screen.say(f"run: {run_id}", style="dim")
            watching = asyncio.create_task(_watch(runtime.manager, str(run_id), live))
            await first_of(watching, interrupts.first.wait())
        finally:
            await live.close()
            await stop_runtime()
        run = None if watching.cancelled() else watching.result()
        return run if run is not None else await in_database(_result_or_let_go, run_id)


def _say_what_happens(screen: Screen) -> None:
    drain = orchestration_settings().drain
    screen.say(
        f"Letting go of the run; a step under way may end, within {drain:g} s."
        " Ctrl-C again, at once, ends this at once.",
        style="yellow",
    )


def _result_or_let_go(run_id: UUID) -> Mapping[str, Any] | str:
    run = queries.run_by_id(run_id)
    if run.status not in OPEN:
        return queries.run_on_the_wire(run)
    return describe_takeover(run_id)


async def _watch(manager: OrchestrationManager, run_id: str, live: LiveView) -> Mapping[str, Any] | None:
    async for event in manager.watch(run_id):
        await live.show(event)
        if event.type == "run_finished":
            run: Mapping[str, Any] = event.data["run"]
            return run
    return None


def _end(run: Mapping[str, Any] | str | None, result: Screen, progress: Screen) -> NoReturn:
    if run is None:
        sys.exit(INTERRUPTED)
    if isinstance(run, str):
        progress.say(run, style="yellow")
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        exit_process(LET_GO)  # a step that did not end in time must not keep the terminal
    if run["error"]:
        progress.say(run["error"], style="red")
    if isinstance(run["result"], str):
        result.text(run["result"])
    elif run["result"] is not None:
        result.json(run["result"])
    sys.exit(_exit_status(run))


def _exit_status(run: Mapping[str, Any]) -> int:
    if run["reason"] == "timed_out":
        return TIMED_OUT
    ends = {RunStatus.COMPLETED: COMPLETED, RunStatus.REJECTED: REJECTED, RunStatus.CANCELLED: CANCELLED}
    return ends.get(run["status"], FAILED)
