"""Send a person a message that tests how people are told."""

from __future__ import annotations

import smtplib
from argparse import ArgumentParser
from typing import Any

from django.core.mail import EmailMessage

from approvals.conf import approval_settings, tells_people
from approvals.delivery import links, mail
from approvals.management.installation import require_tables
from approvals.management.people import acting_person
from approvals.management.screen import Misuse, Refused, ScreenCommand


class Command(ScreenCommand):
    help = "Send USER a test message now, by the way that requests are told, and say what became of it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", metavar="USER", help="whose address it goes to")

    def handle(self, **options: Any) -> None:
        require_tables()
        person = acting_person(options["username"])
        if not links.are_set_up():
            raise Misuse("SAYSO_URL is not set: messages could have no link to a request.")
        if not person.email:
            raise Misuse(f"The account {person.get_username()!r} has no email address.")
        address = approval_settings().url
        message = EmailMessage(
            "Sayso: a test message",
            f"Sayso at {address} can send you messages about requests that wait for you.\n"
            f"What you are told about is up to you: {links.link_to('preferences')}\n",
            to=[person.email],
            headers={"Auto-Submitted": "auto-generated"},
        )
        try:
            mail.send(message)
        except (OSError, smtplib.SMTPException) as error:
            raise Refused(f"The message could not be sent: {error}") from error
        self.screen.say(f"The mail server has taken a message to {person.email}.")
        if not tells_people():
            self.progress.say("SAYSO_NOTIFY is off: nobody is told about requests yet.")
