"""The command `work`: execute runs from the job queue."""

from __future__ import annotations

import asyncio
import signal
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from approvals.management.installation import require_tables
from approvals.management.screen import Misuse, Refused, Screen, ScreenCommand
from approvals.process import collector, telemetry
from orchestration.conf import PROCRASTINATE, orchestration_settings
from orchestration.management.process_exit import exit_process, first_of
from orchestration.runtime import start_runtime, stop_runtime

MOST = 100_000


class Command(ScreenCommand):
    help = (
        "Execute runs from the job queue (SAYSO_ENGINE=procrastinate), until SIGTERM or Ctrl-C. Then steps"
        " that execute may end, and all runs go on in other workers."
    )
    requires_system_checks = "__all__"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--concurrency",
            type=int,
            default=10_000,
            help="runs at once, most of which wait for people; default: %(default)s",
        )
        parser.add_argument(
            "--metrics",
            type=_address,
            metavar="[HOST:]PORT",
            help="where Prometheus can read this worker's metrics; everybody who can reach it can read them."
            " HOST is 127.0.0.1 by default; without this option there is none",
        )

    def handle(self, *, concurrency: int, metrics: tuple[str, int] | None, **options: Any) -> None:
        if not 1 <= concurrency <= MOST:
            raise Misuse(f"--concurrency {concurrency} is out of range: 1 to {MOST}.")
        engine = orchestration_settings().engine
        if engine != PROCRASTINATE:
            raise Misuse(
                f"SAYSO_ENGINE is {engine!r}: runs execute in the processes that serve. Set it to"
                f" {PROCRASTINATE!r}, for these and for every worker."
            )
        require_tables()
        with _serve_metrics(metrics):
            asyncio.run(_work(concurrency, self.screen))
        self.screen.say("Stopped.", style="dim")
        exit_process()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ArgumentTypeError(f"{text!r} is not a port, and not HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


@contextmanager
def _serve_metrics(address: tuple[str, int] | None) -> Iterator[None]:
    if address is None:
        yield
        return
    try:
        stop = telemetry.serve_metrics(*address)
    except OSError as error:
        raise Refused(f"Cannot listen on {address[0]}:{address[1]}: {error.strerror or error}.") from error
    try:
        yield
    finally:
        stop()


async def _work(concurrency: int, screen: Screen) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    collector.tune()
    runtime = await start_runtime(concurrency=concurrency)
    try:
        await first_of(runtime.host.ready(), stopping.wait())
        if not stopping.is_set():
            screen.say(f"Sayso works on up to {concurrency:,} runs at once (Ctrl-C stops it).")
            await stopping.wait()
    finally:
        await stop_runtime()
