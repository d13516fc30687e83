"""Measure on this machine what waiting and deciding cost, compared with polling and with a baseline."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill, indent
from typing import Any

from django.core.management.base import BaseCommand
from rich.console import Console

from approvals.management.screen import Misuse, Refused, Screen, raise_as_misuse
from orchestration.benchmark.installation import Installation, ServerFailed, Unreachable
from orchestration.benchmark.output import faults, progress_bar, show, svg
from orchestration.benchmark.processes import ProcessFailed
from orchestration.benchmark.report import NotMeasurable, Scenario
from orchestration.benchmark.run import Run
from orchestration.benchmark.scenarios import scenarios

INTERRUPTED = 130
STDOUT = Path("-")


class Command(BaseCommand):
    help = (
        "Measure on this machine what waiting and deciding cost, each beside a baseline of the same run.\n"
        "It makes an installation of its own (database, channel prefix, folder), on the servers that\n"
        "DATABASE_URL and REDIS_URL name, else on those of the extra `benchmark`, else on SQLite and in\n"
        "memory, and removes it at the end; no row of this installation is touched. Each scenario checks\n"
        "its waits. Exit status: 0 if every wait was resolved once and as recorded, 1 if not, 2 for misuse,\n"
        "130 if interrupted. Goals are reported as met or not; they do not change the exit status."
    )
    # They would ask this installation's database.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = "\n\n".join(_describe(scenario) for scenario in scenarios().values())
        add = parser.add_argument
        names = ", ".join(scenarios())
        add("scenarios", nargs="*", metavar="SCENARIO", help=f"all by default; of {names}")
        add("--size", type=int, metavar="N", help="how many, see below; each scenario has a default")
        add("--rounds", type=int, metavar="N", help="rounds of each comparison; fewer are less reliable")
        add("--json", type=Path, metavar="FILE", help="write all results to FILE; - for stdout")
        add("--plot", type=Path, metavar="FILE.svg", help="draw the charts")
        add("--embedded", action="store_true", help="use SQLite and memory, even if there are servers")
        loops = ["asyncio", "uvloop"]
        add("--loop", choices=loops, default="asyncio", help="event loop of what is measured")

    def handle(self, **options: Any) -> None:
        chosen = _choose(options["scenarios"])
        _require_files(options["json"], options["plot"])
        if options["rounds"] is not None and options["rounds"] < 1:
            raise Misuse("--rounds: at least one.")
        if options["loop"] == "uvloop" and find_spec("uvloop") is None:
            raise Misuse("--loop uvloop: uvloop is not installed; it comes with the extra `fast`.")
        installation = Installation(embedded=options["embedded"])
        with raise_as_misuse(NotMeasurable, Unreachable):
            for scenario in chosen:
                scenario.require(options["size"])
            installation.require_servers()
        logging.getLogger().setLevel(logging.WARNING)
        output = self.stderr if options["json"] == STDOUT else self.stdout
        screen = Screen(output, no_color=options["no_color"], force_color=options["force_color"])
        progress = partial(progress_bar, Console(stderr=True))
        taken = {name: options[name] for name in ("loop", "size", "rounds")}
        run = Run(installation=installation, progress=progress, **taken)
        try:
            asyncio.run(_measure(run, chosen, screen))
        except (KeyboardInterrupt, asyncio.CancelledError):
            screen.say("Interrupted. Everything that it made is removed.", style="yellow")
            sys.exit(INTERRUPTED)
        except (ServerFailed, ProcessFailed) as error:
            raise Refused(str(error)) from error
        self._write(run, options["json"], options["plot"])
        failed = [result for result in run.results if not result.report.check.passed]
        if failed:
            told = "; ".join(f"{each.scenario.name}: {faults(each.report.check)}" for each in failed)
            raise Refused(f"Not every wait was resolved once and as recorded. {told}")

    def _write(self, run: Run, json_file: Path | None, plot_file: Path | None) -> None:
        if json_file:
            text = json.dumps(run.as_json(), indent=2, allow_nan=False)
            if json_file == STDOUT:
                self.stdout.write(text)
            else:
                json_file.write_text(text + "\n", encoding="utf-8")
        if plot_file:
            charts = [chart for result in run.results for chart in result.report.charts]
            plot_file.write_text(svg(charts), encoding="utf-8")


async def _measure(run: Run, chosen: list[Scenario], screen: Screen) -> None:
    stack = run.installation.stack
    screen.say(f"Measuring on {stack}.")
    if not stack.two_processes:
        screen.say(
            "Here one process does what two do on PostgreSQL and Redis. The goals are for those two, so they"
            " are not judged.",
            style="yellow",
        )
    if run.installation.lacks_servers:
        screen.say(
            "PostgreSQL and Redis come with the extra `benchmark`: python -m pip install 'sayso[benchmark]'."
            " Or name yours by DATABASE_URL and REDIS_URL.",
            style="yellow",
        )
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with run.installation:
        await run.read_facts()
        for scenario in chosen:
            result = await run.measure(scenario)
            screen.say("")
            screen.say(f"{scenario.name}: {scenario.summary} ({result.seconds:.0f} s)", style="bold cyan")
            show(result.report, screen, judged=stack.two_processes)


def _choose(names: list[str]) -> list[Scenario]:
    known = scenarios()
    for name in names:
        if name not in known:
            raise Misuse(f"There is no scenario {name!r}; there are {', '.join(known)}.")
    return [known[name] for name in dict.fromkeys(names)] or list(known.values())


def _require_files(json_file: Path | None, plot_file: Path | None) -> None:
    """Refuse files that can't be written, before anything is measured."""
    for option, file in (("--json", json_file), ("--plot", plot_file)):
        if file is None or (option == "--json" and file == STDOUT):
            continue
        if file.is_dir() or not file.absolute().parent.is_dir():
            raise Misuse(f"{option}: {file} is no file that can be written.")


def _describe(scenario: Scenario) -> str:
    sizes = ", ".join(f"{size:,}" for size in scenario.sizes)
    size = f"Size: {sizes} {scenario.unit} by default, up to {scenario.most:,}."
    method = fill(f"{size} {scenario.method}", 98, break_on_hyphens=False)
    return f"{scenario.name}: {scenario.summary}\n{indent(method, '    ')}"
