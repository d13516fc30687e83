"""The agent `email`: send one email, after approval of its exact text and recipients."""

from __future__ import annotations

from typing import Annotated, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from pydantic import AfterValidator, Field

from approvals.delivery import mail
from orchestration.agents.arguments import Arguments, check_with
from orchestration.agents.proxy_agent import title_of
from orchestration.catalog import agent
from orchestration.policies import allowlists
from orchestration.runs.run import Run


def _address(text: str) -> str:
    try:
        validate_email(text)
    except ValidationError:
        raise ValueError(f"{text!r} is not an email address") from None
    return text


def _one_line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be one line of text")
    return text


Address = Annotated[str, AfterValidator(_address)]


class Letter(Arguments):
    """A plain text email."""

    actions = ("send",)

    to: Annotated[list[Address], Field(min_length=1, max_length=100)]
    subject: Annotated[str, AfterValidator(_one_line), Field(max_length=200)]
    body: str

    def check_here(self) -> None:
        """Raise NotAllowed for recipients that this process may not write to."""
        allowlists.check_recipients(self.to)


@agent("email", description="Sends an email, after approval of its recipients and text.")
@check_with(Letter)
async def email(run: Run, action: str, arguments: dict[str, Any]) -> str:
    """Send a plain text email from the installation's address to recipients in `SAYSO_EMAIL_RECIPIENTS`.

    An interrupted step is never repeated without asking.

    Step: `{"agent": "email", "action": "send", "arguments": {"to": ["ana@example.org"], "subject": "Done",
    "body": "The backup is complete."}}`
    """
    letter = {"from": settings.DEFAULT_FROM_EMAIL, **Letter.read(action, arguments).model_dump()}
    await run.approve(title_of(f"Send an email: {letter['subject']}"), arguments=letter)
    await run.step("send", _send, letter)
    sent = f"Sent “{letter['subject']}” to {', '.join(letter['to'])}."
    await run.say("email", sent)
    return sent


def _send(letter: dict[str, Any]) -> None:
    allowlists.check_recipients(letter["to"])
    mail.send(EmailMessage(letter["subject"], letter["body"], letter["from"], letter["to"]))
