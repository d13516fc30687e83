"""Measure on this machine what waiting and deciding cost, beside what Sayso replaces and beside the floor."""

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

from approvals.management.screen import Misuse, Refused, Screen
from orchestration.benchmark.installation import (
    Installation,
    Stack,
    Unreachable,
    given_servers,
    stack_for,
)
from orchestration.benchmark.machine import TooBig
from orchestration.benchmark.players import PlayerFailed
from orchestration.benchmark.plot import svg
from orchestration.benchmark.running import Run, failures, require_room
from orchestration.benchmark.scenarios import Scenario, scenarios
from orchestration.benchmark.servers import ServerFailed
from orchestration.benchmark.show import faults, progress_bar, show

INTERRUPTED = 130


class Command(BaseCommand):
    help = (
        "Measure on this machine what waiting and deciding cost, each beside a baseline of the same run.\n"
        "It makes an installation of its own (database, channel prefix, folder), on the servers that\n"
        "DATABASE_URL and REDIS_URL name, else on the wheels' of the extra `benchmark`, else on SQLite and\n"
        "in memory, and removes it at the end; no row of this installation is touched. Each scenario checks\n"
        "itself. Exit status: 0 all waits were resolved once and as recorded, 1 not so, 2 misuse,\n"
        "130 interrupted. Goals are told, met or not; they do not change the exit status."
    )
    # They would ask this installation's database.
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = "\n\n".join(_described(scenario) for scenario in scenarios().values())
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "scenarios", nargs="*", metavar="SCENARIO", help=f"all by default; of {', '.join(scenarios())}"
        )
        parser.add_argument("--size", type=int, metavar="N", help="how many, see below; by default small")
        parser.add_argument(
            "--rounds", type=int, metavar="N", help="of each comparison; fewer than by default: less sure"
        )
        parser.add_argument(
            "--json", type=Path, metavar="FILE", help="write everything to FILE; - for stdout"
        )
        parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the charts")
        parser.add_argument(
            "--embedded",
            action="store_true",
            help="measure SQLite and the in-memory layer, whatever there is",
        )
        parser.add_argument(
            "--loop", choices=["asyncio", "uvloop"], default="asyncio", help="event loop of what is measured"
        )

    def handle(self, **options: Any) -> None:
        chosen = _chosen(options["scenarios"])
        _require_files(options["json"], options["plot"])
        if options["rounds"] is not None and options["rounds"] < 1:
            raise Misuse("--rounds: at least one.")
        if options["loop"] == "uvloop" and find_spec("uvloop") is None:
            raise Misuse("--loop uvloop: uvloop is not installed; it comes with the extra `fast`.")
        servers = given_servers()
        stack = stack_for(servers, embedded=options["embedded"])
        try:
            require_room(chosen, options["size"])
            servers.require(stack)
        except (TooBig, Unreachable) as error:
            raise Misuse(str(error)) from error
        logging.getLogger().setLevel(logging.WARNING)
        to_stdout = options["json"] == Path("-")
        colours = {"no_color": options["no_color"], "force_color": options["force_color"]}
        screen = Screen(self.stderr if to_stdout else self.stdout, **colours)
        run = Run(
            installation=Installation(stack, servers),
            loop=options["loop"],
            bar=partial(progress_bar, Console(stderr=True)),
            size=options["size"],
            rounds=options["rounds"],
        )
        _announce(stack, screen)
        try:
            asyncio.run(_measure(run, chosen, screen))
        except (KeyboardInterrupt, asyncio.CancelledError):
            screen.say("Interrupted. Everything of it is removed.", style="yellow")
            sys.exit(INTERRUPTED)
        except (ServerFailed, PlayerFailed) as error:
            raise Refused(str(error)) from error
        self._write(run, options["json"], options["plot"])
        if wrong := list(failures(run.findings)):
            told = [f"{each.scenario.name}: {faults(each.report.check)}" for each in wrong]
            raise Refused("Not every wait was resolved once and as recorded. " + "; ".join(told))

    def _write(self, run: Run, json_file: Path | None, plot_file: Path | None) -> None:
        if json_file:
            text = json.dumps(run.as_json(), indent=2, allow_nan=False)
            if json_file == Path("-"):
                self.stdout.write(text)
            else:
                json_file.write_text(text + "\n", encoding="utf-8")
        if plot_file:
            charts = [chart for finding in run.findings for chart in finding.report.charts]
            plot_file.write_text(svg(charts), encoding="utf-8")


async def _measure(run: Run, chosen: list[Scenario], screen: Screen) -> None:
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with run.installation:
        await run.look_around()
        for scenario in chosen:
            finding = await run.measure(scenario)
            screen.say("")
            screen.say(f"{scenario.name}: {scenario.summary} ({finding.seconds:.0f} s)", style="bold cyan")
            show(finding.report, screen, judged=run.stack.two_processes)


def _announce(stack: Stack, screen: Screen) -> None:
    screen.say(f"Measuring on {stack}.")
    if not stack.two_processes:
        screen.say(
            "This stack carries one process: what would be two is one here, and the goals, which are for"
            " PostgreSQL, Redis and two processes, are not judged.",
            style="yellow",
        )


def _chosen(names: list[str]) -> list[Scenario]:
    known = scenarios()
    for name in names:
        if name not in known:
            raise Misuse(f"There is no scenario {name!r}; there are {', '.join(known)}.")
    return [known[name] for name in dict.fromkeys(names)] or list(known.values())


def _require_files(json_file: Path | None, plot_file: Path | None) -> None:
    """Nothing is measured that could not be written."""
    for option, file in (("--json", json_file), ("--plot", plot_file)):
        if file is None or (option == "--json" and file == Path("-")):
            continue
        if file.is_dir() or not file.absolute().parent.is_dir():
            raise Misuse(f"{option}: {file} is no file that could be written.")


def _described(scenario: Scenario) -> str:
    sizes = ", ".join(f"{size:,}" for size in scenario.sizes)
    head = f"{scenario.name}: {scenario.summary}"
    size = f"Size: {sizes} {scenario.unit} by default, up to {scenario.most:,}."
    return head + "\n" + indent(fill(f"{size} {scenario.method}", 98), "    ")
