"""What people are told about requests."""

from __future__ import annotations

from enum import StrEnum

# Characters of what tells a destination from others.
LABEL_LIMIT = 100


class Told(StrEnum):
    """An event of a request that somebody may hear of."""

    OPENED = "opened"
    REMINDER = "reminder"
    REASSIGNED = "reassigned"
    ESCALATED = "escalated"
    QUESTION = "question"
    REPLY = "reply"
    CLOSED = "closed"


class DestinationKind(StrEnum):
    """By what a destination is reached."""

    EMAIL = "email"
    WEBHOOK = "webhook"
    CHAT = "chat"


# In words, for those who choose.
EVENTS = {
    Told.OPENED: "a request for you",
    Told.REMINDER: "a reminder before the deadline",
    Told.REASSIGNED: "a request that was handed to you",
    Told.ESCALATED: "a request that came to you because nobody had decided it",
    Told.QUESTION: "a question about what you asked",
    Told.REPLY: "a reply to your question",
    Told.CLOSED: "the outcome of what you asked",
}

# What asks for a decision: without a point once it is made.
ASKING = frozenset({Told.OPENED, Told.REMINDER, Told.REASSIGNED, Told.ESCALATED})


# What groups can be told: the rest concerns one person.
TOLD_TO_GROUPS = ASKING


def told_unasked() -> list[str]:
    """Return what somebody hears of who has chosen nothing."""
    unasked = (Told.OPENED, Told.REMINDER, Told.REASSIGNED, Told.ESCALATED, Told.QUESTION)
    return [event.value for event in unasked]
