"""What is posted: the same bytes each time, signed so that any Standard Webhooks library verifies it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from pytest_django import Settings
from standardwebhooks import Webhook, WebhookVerificationError

from approvals.delivery.webhooks.messages import message_of, secrets_of
from approvals.domain.lifecycle import Outcome
from approvals.writer.callbacks import Due
from approvals.writer.outboxes import CLAIM

KEYS = ["first" * 12, "second" * 12, "third" * 12]
DECIDED = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def keys(settings: Settings) -> None:
    settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS = KEYS


@pytest.fixture
def due() -> Due:
    now = datetime.now(UTC)
    outcome = Outcome(
        request_id=str(uuid4()),
        kind="approval",
        status="approved",
        approved=True,
        answer=None,
        arguments={"to": "Zoë", "amount": 1.5, "b": None},
        comment="Fine.",
        decided_by="sam",
        decided_at=DECIDED,
        timed_out=False,
        withdrawn=False,
    )
    return Due(
        id=uuid4(),
        url="https://hooks.example.org/",
        requester_id=7,
        key="refund-812",
        outcome=outcome,
        beside={"origin": {}, "metadata": {"tenant": "acme"}, "context": "", "links": []},
        claimed_at=now,
        claimed_until=now + CLAIM,
    )


def test_it_carries_the_outcome_as_it_is_on_the_wire(due: Due) -> None:
    message = message_of(due)
    assert json.loads(message.body) == {
        "type": "request.closed",
        "timestamp": "2026-11-22T09:30:00Z",
        "data": {
            "key": "refund-812",
            "outcome": {
                "request_id": due.outcome.request_id,
                "kind": "approval",
                "status": "approved",
                "approved": True,
                "answer": None,
                "arguments": {"to": "Zoë", "amount": 1.5, "b": None},
                "comment": "Fine.",
                "decided_by": "sam",
                "decided_at": "2026-11-22T09:30:00Z",
                "timed_out": False,
                "withdrawn": False,
                "url": f"/requests/{due.outcome.request_id}/",
                "origin": {},
                "metadata": {"tenant": "acme"},
                "context": "",
                "links": [],
            },
        },
    }
    assert message.headers["Content-Type"] == "application/json"
    assert message.headers["webhook-id"] == str(due.id)


def test_what_has_no_key_says_so(due: Due) -> None:
    assert json.loads(message_of(replace(due, key="")).body)["data"]["key"] is None


def test_a_later_attempt_has_the_same_id_and_bytes_and_another_time(due: Due) -> None:
    first = message_of(due)
    second = message_of(replace(due, claimed_at=due.claimed_at + timedelta(minutes=1)))
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 60
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_receivers_with_the_current_or_a_former_secret_verify_it(due: Due, settings: Settings) -> None:
    """So that the key can be changed without a message lost."""
    message = message_of(due)
    assert len(message.headers["webhook-signature"].split(" ")) == 3
    for key in KEYS:
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = key, []
        Webhook(*secrets_of(7)).verify(message.body, message.headers)


def test_no_other_secret_verifies_it(due: Due) -> None:
    message = message_of(due)
    for stranger in [*secrets_of(8), *secrets_of(None)]:
        with pytest.raises(WebhookVerificationError):
            Webhook(stranger).verify(message.body, message.headers)


def test_a_changed_message_is_not_verified(due: Due) -> None:
    message = message_of(due)
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets_of(7)[0]).verify(message.body.replace(b"true", b"null"), message.headers)


def test_what_nobody_asked_is_signed_by_the_installation(due: Due) -> None:
    message = message_of(replace(due, requester_id=None))
    Webhook(secrets_of(None)[0]).verify(message.body, message.headers)


def test_secrets_are_the_installations_own(settings: Settings) -> None:
    """The same each time; others with another key; of the form that libraries take."""
    mine = secrets_of(7)
    assert mine == secrets_of(7)
    assert len({*mine, *secrets_of(8), *secrets_of(None)}) == 9
    assert all(secret.startswith("whsec_") and len(secret) == 50 for secret in mine)
    settings.SECRET_KEY = "another" * 10
    assert secrets_of(7)[0] not in mine
