"""Verify that nobody has changed the record."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import DatabaseError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from approvals.management import seal_options
from approvals.management.installation import require_tables
from approvals.management.screen import Misuse, Refused, Screen, ScreenCommand, raise_as_misuse, visible
from approvals.trail import verification
from approvals.trail.exports import NotAnExport
from approvals.trail.verification import Progress as Told
from approvals.trail.verification import Report


class Command(ScreenCommand):
    help = (
        "Recompute every chain and seal, check that the triggers refuse changes, and compare every request"
        " with its trail. Shows the first fault of each kind. Exit status: 0 valid, 1 faults found,"
        " 2 could not be verified. See docs/audit.md."
    )
    # An export can be verified whatever this installation's settings are.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--export", metavar="FILE", help="verify this export, without the database")
        parser.add_argument(
            "--seals", metavar="FILE", help="compare the seals with the copies kept in this file"
        )
        parser.add_argument(
            "--public-key",
            dest="public_keys",
            action="append",
            default=[],
            metavar="FILE",
            help="a key that seals may be signed with; there must be seals then. May be repeated. Default:"
            " that of SAYSO_SEAL_KEY",
        )
        parser.add_argument("--json", action="store_true", help="the report as one JSON object")

    def handle(
        self, *, export: str | None, seals: str | None, public_keys: list[str], json: bool, **options: Any
    ) -> None:
        known: dict[str, Any] = {
            "trusted": seal_options.load_trusted_keys(public_keys),
            "copies": seal_options.read_copies(seals),
            # Whoever got the key when sealing began knows that there are seals; a key in the settings proves
            # nothing.
            "must_be_sealed": bool(public_keys),
        }
        with _progress(shown=self.stderr.isatty() and not json) as told:
            if export is None:
                report = _installation(told, known)
            else:
                with raise_as_misuse(NotAnExport):
                    report = verification.verify_export(Path(export), told, **known)
        if json:
            self.screen.json(_as_json(report))
        else:
            _show(self.screen, report)
        if not report.holds:
            raise Refused("The trail is broken.")


def _installation(told: Told | None, known: dict[str, Any]) -> Report:
    try:
        require_tables()
        return verification.verify(told, **known)
    except (Refused, DatabaseError) as error:
        raise Misuse(f"It could not be verified: {error}") from error


@contextmanager
def _progress(*, shown: bool) -> Iterator[Told | None]:
    """Show a progress bar on the error stream, so that the output can be redirected."""
    if not shown:
        yield None
        return
    columns = (TextColumn("Verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("")
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _show(screen: Screen, report: Report) -> None:
    screen.say(f"{report.entries} entries of {report.chains} requests, {report.seals} seals.")
    if report.unsealed and report.seals:
        screen.say(f"{report.unsealed} entries are not sealed yet.", style="dim")
    for remark in report.remarks:
        screen.say(remark, style="yellow")
    for fault in report.first:
        more = report.counts[fault.kind] - 1
        screen.say(f"{fault}{f' And {more} more of this kind.' if more else ''}", style="bold red")
    if report.holds:
        screen.say("The trail holds.", style="bold green")


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "holds": report.holds,
        "entries": report.entries,
        "requests": report.chains,
        "seals": report.seals,
        "unsealed": report.unsealed,
        "remarks": list(report.remarks),
        "faults": [
            {
                "kind": fault.kind.value,
                "count": report.counts[fault.kind],
                "request": str(fault.request_id) if fault.request_id else None,
                "entry": fault.sequence,
                "line": fault.line,
                "detail": visible(fault.detail),
            }
            for fault in report.first
        ],
    }
