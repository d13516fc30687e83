"""Send a person or a group messages that test how they are told."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from approvals import links, queries
from approvals.conf import tells_people
from approvals.delivery import addresses, trials
from approvals.delivery.webhooks.messages import secrets_of, secrets_of_group
from approvals.management.installation import require_tables
from approvals.management.people import acting_person, group_called
from approvals.management.screen import Misuse, Refused, ScreenCommand


class Command(ScreenCommand):
    help = (
        "Send USER, or a group, a test message now by each way that requests are told, and say what became"
        " of each."
    )
    requires_system_checks = "__all__"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", metavar="USER", nargs="?", help="whose addresses it goes to")
        parser.add_argument("--group", metavar="GROUP", help="a group, instead of a person")

    def handle(self, *, username: str | None, group: str | None, **options: Any) -> None:
        if (username is None) == (group is None):
            raise Misuse("Name a user, or say --group GROUP.")
        require_tables()
        if not links.are_set_up():
            raise Misuse("SAYSO_URL is not set: messages could have no link to a request.")
        failed = 0
        for way, fault in self._try_person(username) if username else self._try_group(group or ""):
            if fault:
                failed += 1
                self.progress.say(f"{way}: {fault}", style="red")
            else:
                self.screen.say(f"{way}: taken.")
        if not tells_people():
            self.progress.say("SAYSO_NOTIFY is off: nobody is told about requests yet.")
        if failed:
            raise Refused(f"{failed} could not be sent." if failed > 1 else "It could not be sent.")

    def _try_person(self, username: str) -> Iterator[tuple[str, str]]:
        person = acting_person(username)
        theirs = [one for one in queries.destinations_of(person.pk) if one.user_id == person.pk]
        if not person.email and not theirs:
            raise Misuse(f"The account {person.get_username()!r} has no email address.")
        if person.email:
            yield f"email {person.email}", trials.try_mail(person.email)
        yield from _try_all(theirs, secrets_of(person.pk))

    def _try_group(self, name: str) -> Iterator[tuple[str, str]]:
        group_id = group_called(name)
        theirs = queries.destinations_of_group(group_id)
        if not theirs:
            raise Misuse(f"The group {name!r} has no address; administrators add one in the admin.")
        yield from _try_all(theirs, secrets_of_group(group_id))


def _try_all(destinations: list[Any], secrets: list[str]) -> Iterator[tuple[str, str]]:
    for one in destinations:
        where = addresses.abbreviate(one.kind, one.address)
        named = f"{one.kind} {one.label}" if one.label else one.kind
        yield f"{named} {where}", trials.try_out(one.kind, one.address, secrets)
