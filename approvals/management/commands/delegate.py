"""Have somebody decide for somebody who is away, from the terminal."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any
from uuid import UUID

from approvals import delegations
from approvals.management.installation import require_tables
from approvals.management.people import acting_person, add_as_option
from approvals.management.screen import Misuse, ScreenCommand
from approvals.management.wording import raise_as_refusal
from approvals.queries.delegations import delegation_on_the_wire, find_delegation


class Command(ScreenCommand):
    help = (
        "Have B decide for A for a time, or end that before its time. Moments are ISO 8601, such as"
        " 2026-12-24 or 2026-12-24T08:00+01:00; without an offset they are of this computer's time zone."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("principal", metavar="A", nargs="?", help="who is away")
        parser.add_argument("delegate", metavar="B", nargs="?", help="who decides instead")
        parser.add_argument("--from", dest="starts_at", metavar="MOMENT", help="from when on; default: now")
        parser.add_argument("--until", dest="ends_at", metavar="MOMENT", help="until when")
        parser.add_argument("--reason", default="", metavar="R")
        parser.add_argument("--end", metavar="ID", help="end this delegation now, instead of making one")
        parser.add_argument("--json", action="store_true", help="the delegation as JSON")
        add_as_option(parser)

    def handle(self, **options: Any) -> None:
        require_tables()
        person = acting_person(options["username"])
        delegation_id = self._end(person, options) if options["end"] else self._make(person, options)
        row = delegation_on_the_wire(find_delegation(UUID(delegation_id)))
        if options["json"]:
            self.screen.json(row)
        elif row["ended_at"]:
            self.screen.say(f"Ended: {row['delegate']} does not decide for {row['principal']} any more.")
        else:
            time = f"from {row['starts_at']} until {row['ends_at']}"
            self.screen.say(
                f"{row['delegate']} decides for {row['principal']} {time}. To end it: --end {row['id']}"
            )

    def _make(self, person: Any, options: dict[str, Any]) -> str:
        if not (options["principal"] and options["delegate"] and options["ends_at"]):
            raise Misuse("Say who is away, who decides instead, and until when: delegate A B --until MOMENT.")
        starts_at = None if options["starts_at"] is None else _moment(options["starts_at"], "--from")
        ends_at = _moment(options["ends_at"], "--until")
        with raise_as_refusal():
            return delegations.delegate(
                options["principal"], options["delegate"], starts_at, ends_at, options["reason"], by=person
            )

    def _end(self, person: Any, options: dict[str, Any]) -> str:
        if options["principal"]:
            raise Misuse("--end ends a delegation: it takes no people.")
        with raise_as_refusal():
            delegations.end(options["end"], by=person)
        return str(UUID(options["end"]))


def _moment(text: str, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is not None else moment.astimezone()
    except (ValueError, OverflowError):
        raise Misuse(f"{option}: {text!r} is no moment in ISO 8601.") from None
