"""Start an orchestration and go through it in the terminal."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand

from approvals.management.installation import is_embedded, prepare_tables, require_tables
from approvals.management.json_option import json_object_from
from approvals.management.keyboard import Keyboard
from approvals.management.people import actor_in_terminal, add_as_option
from approvals.management.questions import Questions
from approvals.management.screen import Misuse, Screen
from orchestration.catalog import find_orchestration
from orchestration.exceptions import InvalidInput
from orchestration.management.live import Live
from orchestration.management.ownership import owner_of_run
from orchestration.manager import OrchestrationManager
from orchestration.models import RunStatus
from orchestration.runtime import start_runtime, stop_runtime

COMPLETED, FAILED, REJECTED, TIMED_OUT, CANCELLED, LEFT = 0, 1, 3, 4, 5, 130


class Command(BaseCommand):
    help = (
        "Start an orchestration, show it live, and let whoever sits at this terminal decide and answer. The"
        " result goes to standard output, everything else to standard error. Exit status: 0 completed,"
        " 3 rejected, 4 timed out, 5 cancelled, 1 failed, 2 misuse."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="which orchestration")
        parser.add_argument("--input", default="{}", metavar="JSON", help="its input, as JSON or @file")
        parser.add_argument(
            "--detach", action="store_true", help="leave the run to a server, print its id and return"
        )
        add_as_option(parser)

    def handle(self, *, name: str, detach: bool, **options: Any) -> None:
        colours = {"no_color": options["no_color"], "force_color": options["force_color"]}
        result, progress = Screen(self.stdout, **colours), Screen(self.stderr, **colours)
        given = json_object_from(options["input"], "--input")
        _check(name, given)
        if is_embedded():
            prepare_tables()
        require_tables()
        owner = owner_of_run(options["username"], progress)
        if detach:
            run_id = OrchestrationManager().start(name, given, owner)
            progress.say(f"Queued for a server; see /runs/{run_id}/", style="dim")
            result.text(str(run_id))
            return
        if options["verbosity"] < 2:
            logging.getLogger().setLevel(logging.WARNING)
        run = asyncio.run(_live(name, given, owner, progress))
        if run is None:
            sys.exit(LEFT)
        _show_end(run, result, progress)
        sys.exit(_exit_status(run))


def _check(name: str, given: dict[str, Any]) -> None:
    try:
        find_orchestration(name).checked(given)
    except InvalidInput as error:
        raise Misuse(error.detail) from error


async def _live(name: str, given: dict[str, Any], owner: User, screen: Screen) -> Mapping[str, Any] | None:
    """The run at its end; None where the person left before."""
    actor = actor_in_terminal(owner, "orchestrate")
    keyboard = Keyboard.of(sys.stdin) if screen.is_terminal else None
    live = Live(screen, owner.pk, Questions(screen, keyboard, actor) if keyboard else None)
    runtime = await start_runtime(serves=False)
    try:
        await runtime.ready()
        run_id = await runtime.manager.astart(name, given, owner)
        screen.say(f"run: {run_id}", style="dim")
        with _interrupts(lambda: runtime.manager.acancel(actor, run_id), screen):
            return await _watched(runtime.manager, str(run_id), live)
    except asyncio.CancelledError:
        return None
    finally:
        await live.close()
        await stop_runtime()


async def _watched(manager: OrchestrationManager, run_id: str, live: Live) -> Mapping[str, Any] | None:
    async for event in manager.watch(run_id):
        await live.show(event)
        if event.type == "run_finished":
            run: Mapping[str, Any] = event.data["run"]
            return run
    return None


@contextmanager
def _interrupts(cancel: Callable[[], Any], screen: Screen) -> Iterator[None]:
    """Ctrl-C cancels the run; a second one leaves it as it is."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    cancelling: list[asyncio.Task[Any]] = []

    def interrupted() -> None:
        if cancelling and task:
            task.cancel()
            return
        screen.say("Cancelling the run. Ctrl-C again leaves it as it is.", style="yellow")
        cancelling.append(loop.create_task(cancel()))

    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _show_end(run: Mapping[str, Any], result: Screen, progress: Screen) -> None:
    if run["error"]:
        progress.say(run["error"], style="red")
    if isinstance(run["result"], str):
        result.text(run["result"])
    elif run["result"] is not None:
        result.json(run["result"])


def _exit_status(run: Mapping[str, Any]) -> int:
    if run["reason"] == "timed_out":
        return TIMED_OUT
    ends = {RunStatus.COMPLETED: COMPLETED, RunStatus.REJECTED: REJECTED, RunStatus.CANCELLED: CANCELLED}
    return ends.get(run["status"], FAILED)
