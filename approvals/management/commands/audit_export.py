"""Export the trail to a file that can be verified anywhere."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand

from approvals.checks import SETTINGS
from approvals.domain.lifecycle import Kind
from approvals.management.installation import require_tables
from approvals.management.screen import Misuse, Refused
from approvals.management.short_ids import HELP, find_origin_id
from approvals.process.files import write_whole
from approvals.reports.periods import parse_moment
from approvals.trail import exports
from approvals.trail.exports import FORMATS, Filters


class Command(BaseCommand):
    help = (
        "Export entries with their contents, and all seals. Filters select requests, of which all entries are"
        " exported, so that they can be verified: manage.py audit_verify --export FILE. See docs/audit.md."
    )
    requires_system_checks: Any = (SETTINGS,)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--since",
            metavar="TIME",
            help="requests with an entry from then on: 2026-01-31, or a moment; UTC",
        )
        parser.add_argument("--until", metavar="TIME", help="and before then; a day is included")
        parser.add_argument("--actor", metavar="USER", help="with an entry by this account: its name or id")
        parser.add_argument("--kind", choices=[*map(str, Kind)])
        parser.add_argument("--run", metavar="ID", help=f"asked by the run with this id, {HELP}")
        parser.add_argument("--format", choices=[*FORMATS], default="jsonl")
        parser.add_argument("--out", metavar="FILE", help="default: standard output")

    def handle(self, *, format: str, out: str | None, **options: Any) -> None:  # noqa: A002
        since, until = _parse_period(options["since"], options["until"])
        path = None if out is None else Path(out)
        if path is not None and not path.parent.is_dir():
            raise Misuse(f"There is no directory {str(path.parent)!r}.")
        require_tables()
        filters = Filters(
            since=since,
            until=until,
            actor=_find_user_id(options["actor"]),
            kind=options["kind"],
            run=None if options["run"] is None else find_origin_id(options["run"]),
        )
        with closing(exports.lines(filters, format)) as lines:
            if path is None:
                self._print(lines)
            else:
                _write(path, lines)

    def _print(self, lines: Iterable[str]) -> None:
        try:
            for line in lines:
                self.stdout.write(line, ending="")
        except BrokenPipeError:
            raise Refused("The reader of the output has closed it: the export is incomplete.") from None


def _parse_period(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Parse --since and --until; a day as `until` is included. `Misuse` if they are invalid."""
    begin, end = _moment(since, "--since"), _moment(until, "--until", end=True)
    if begin and end and begin >= end:
        raise Misuse("--until must be later than --since.")
    return begin, end


def _moment(text: str | None, name: str, *, end: bool = False) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_moment(text, end=end)
    except (ValueError, OverflowError):
        raise Misuse(
            f"{name} must be a day or a moment in ISO 8601, such as 2026-01-31 or 2026-01-31T12:00Z."
        ) from None


def _write(path: Path, lines: Iterable[str]) -> None:
    try:
        with write_whole(path) as file:
            file.writelines(lines)
    except OSError as error:
        raise Misuse(f"{path} can't be written: {error.strerror}.") from error


def _find_user_id(named: str | None) -> int | None:
    if named is None:
        return None
    accounts = get_user_model()._default_manager
    found = accounts.filter(**{get_user_model().USERNAME_FIELD: named}).first()
    if found is None and named.isascii() and named.isdigit():
        found = accounts.filter(pk=int(named[:18])).first()
    if found is None:
        raise Misuse(f"There is no account {named!r}.")
    return int(found.pk)
