"""Every column of every table of this app is vouched for by the trail or a seal, or listed with its reason.

Each value is changed past the database's protection, and verification must name it. So a new column fails
here until an entry vouches for it, or somebody says why none needs to.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.apps import apps
from django.contrib.auth.models import Group
from django.db import IntegrityError, models
from django.db.models import Field

from approvals import deciding
from approvals.database import clock
from approvals.database.clock import database_now
from approvals.database.fields import JSONText
from approvals.domain.commands import Channel, Escalate, Expire, Purge
from approvals.models import AuditEntry
from approvals.trail import seals, verification
from approvals.trail.verification import FaultKind
from approvals.web.edge import tokens
from approvals.writer import queue
from tests import factories as make
from tests.tampering import as_a_superuser_might

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

Model = type[models.Model]

_NUMBERED = "the database's own number of this row, which nothing refers to"
_LOOKED_FOR = "says when to look again; what is then found is vouched for"
_TOKEN = "who may act is asked of this table; under which token somebody did, the entries say"
_LETTER = "an email on its way, which nothing is decided by"
_POSTING = "how an outcome is posted; which outcome that is, is read from its request"
_OWN = "what a person chose for themselves, which nothing is decided by"
_STANDING = "who may decide for whom is asked of this table; on whose behalf somebody did, the entries say"
_TELLING = "whom somebody tells that a request is there; what is said is read from its record"

UNVOUCHED: Mapping[str, str] = {
    "HumanRequest.changed_at": _LOOKED_FOR,
    "HumanRequest.counted_bytes": "limits what else its requester may ask; no outcome follows from it",
    "UserAssignment.id": _NUMBERED,
    "GroupAssignment.id": _NUMBERED,
    "Response.id": _NUMBERED,
    "ApiToken.user": _TOKEN,
    "ApiToken.name": _TOKEN,
    "ApiToken.prefix": _TOKEN,
    "ApiToken.secret_hash": _TOKEN,
    "ApiToken.scopes": _TOKEN,
    "ApiToken.created_at": _TOKEN,
    "ApiToken.expires_at": _TOKEN,
    "ApiToken.last_used_at": _TOKEN,
    "ApiToken.revoked_at": _TOKEN,
    "ApiToken.revoked_by": _TOKEN,
    "ApiToken.id": _TOKEN,
    "Callback.id": _POSTING,
    "Callback.request": _POSTING,
    "Callback.url": _POSTING,
    "Callback.status": _POSTING,
    "Callback.attempts": _POSTING,
    "Callback.created_at": _POSTING,
    "Callback.due_at": _POSTING,
    "Callback.give_up_at": _POSTING,
    "Callback.claimed_until": _POSTING,
    "Callback.changed_at": _POSTING,
    "Letter.id": _LETTER,
    "Letter.user": _LETTER,
    "Letter.kind": _LETTER,
    "Letter.error": _LETTER,
    "Letter.status": _LETTER,
    "Letter.attempts": _LETTER,
    "Letter.created_at": _LETTER,
    "Letter.due_at": _LETTER,
    "Letter.give_up_at": _LETTER,
    "Letter.claimed_until": _LETTER,
    "Letter.changed_at": _LETTER,
    "Preference.user": _OWN,
    "Preference.opens_next": _OWN,
    "Preference.time_zone": _OWN,
    "Preference.quiet_from": _OWN,
    "Preference.quiet_until": _OWN,
    "Preference.quiet_days": _OWN,
    "Preference.urgent_breaks_quiet": _OWN,
    "Preference.digest_at": _OWN,
    "Delegation.id": _STANDING,
    "Delegation.principal": _STANDING,
    "Delegation.delegate": _STANDING,
    "Delegation.starts_at": _STANDING,
    "Delegation.ends_at": _STANDING,
    "Delegation.reason": _STANDING,
    "Delegation.made_by": _STANDING,
    "Delegation.made_at": _STANDING,
    "Delegation.ended_at": _STANDING,
    "Delegation.ended_by": _STANDING,
    "Delegation.to_greet": _TELLING,
    "Destination.id": _NUMBERED,
    "Destination.user": _OWN,
    "Destination.kind": _OWN,
    "Destination.events": _OWN,
    "Destination.group": _OWN,
    "Destination.address": _OWN,
    "Destination.label": _OWN,
    "Destination.created_at": _OWN,
    "Destination.failing_since": _OWN,
    "Destination.to_greet": _TELLING,
    "NewAddress.user": _OWN,
    "NewAddress.address": _OWN,
    "NewAddress.label": _OWN,
    "NewAddress.events": _OWN,
    "NewAddress.code_hash": _OWN,
    "NewAddress.expires_at": _OWN,
    "NewAddress.tries": _OWN,
    "Watch.request": _TELLING,
    "Watch.due_at": _TELLING,
    "Watch.claimed_until": _TELLING,
    "Watch.told_to": _TELLING,
    "Watch.reminders": _TELLING,
    "Notification.id": _TELLING,
    "Notification.request": _TELLING,
    "Notification.event": _TELLING,
    "Notification.sequence": _TELLING,
    "Notification.destination": _TELLING,
    "Notification.greets": _TELLING,
    "Notification.first_due_at": _TELLING,
    "Notification.digest": _TELLING,
    "Notification.status": _TELLING,
    "Notification.attempts": _TELLING,
    "Notification.created_at": _TELLING,
    "Notification.due_at": _TELLING,
    "Notification.give_up_at": _TELLING,
    "Notification.claimed_until": _TELLING,
    "Notification.changed_at": _TELLING,
    "Notification.fetches": "how often a link was fetched, which nothing is decided by",
    "Notification.used_at": "when a link decided; that somebody did, by which channel, the entries say",
    "NotificationAttempt.id": _TELLING,
    "NotificationAttempt.notification": _TELLING,
    "NotificationAttempt.number": _TELLING,
    "NotificationAttempt.ended_at": _TELLING,
    "NotificationAttempt.seconds": _TELLING,
    "NotificationAttempt.status_code": _TELLING,
    "NotificationAttempt.error": _TELLING,
    "CallbackAttempt.id": _POSTING,
    "CallbackAttempt.callback": _POSTING,
    "CallbackAttempt.number": _POSTING,
    "CallbackAttempt.ended_at": _POSTING,
    "CallbackAttempt.seconds": _POSTING,
    "CallbackAttempt.status_code": _POSTING,
    "CallbackAttempt.error": _POSTING,
}

# What the database itself lets nobody change alone.
FIXED: Mapping[str, str] = {"HumanRequest.kind": "a constraint binds it to what a timeout decides"}


def columns() -> dict[str, tuple[Model, Any]]:
    """By name, of every table of the app."""
    tables = apps.get_app_config("approvals").get_models()
    return {
        f"{model.__name__}.{field.name}": (model, field)
        for model in tables
        if not model._meta.proxy
        for field in model._meta.concrete_fields
    }


VOUCHED = sorted(columns().keys() - UNVOUCHED.keys())


def test_what_is_listed_is_there() -> None:
    """No reason outlives its column."""
    assert UNVOUCHED.keys() <= columns().keys()


@pytest.fixture
def record(as_keeper: None) -> None:
    """Something in every table: asked, answered, edited, handed on, escalated, timed out, purged; sealed."""
    ada, grace, group = make.reviewer("ada"), make.reviewer("grace"), make.group("finance")
    token, _ = tokens.issue(ada.pk, "deploy", ["decide"])
    origin = {"kind": "job", "id": "7", "url": ""}
    edited = make.approval(
        arguments={"order": 812},
        editable=True,
        key="refund-812",
        origin=origin,
        group={"key": "turn-7", "title": "Three calls"},
        timeout=600,
        requester=grace,
    )
    deciding.record_view(make.actor(ada), edited)
    by_token = make.actor(ada, Channel.API, token_id=token.pk)
    deciding.decide(by_token, edited, "approve", arguments={"order": 813}, comment="fine")
    make.approval(
        assignees=[ada, group], required=1, four_eyes=True, requester=grace, actor=make.actor(grace)
    )
    handed_on = make.clarification(choices=["one", "two"], multiple=True, assignees=[ada])
    deciding.reassign(make.actor(ada), handed_on, users=[grace.pk], groups=[group.pk])
    deciding.comment(make.actor(grace), handed_on, "Why not one?", question=True)
    deciding.answer(make.actor(grace), handed_on, ["two"], comment="both?")
    barbara = make.user("barbara")
    make.delegation(ada, barbara)
    steps = [{"after": 0.001, "users": [grace]}, {"after": 0.5, "groups": [group]}]
    terms: dict[str, Any] = {"timeout": 600, "escalation": steps, "remind": 0.5, "confidential": True}
    on_behalf = make.approval(assignees=[ada], required=1, **terms)
    clock.move(datetime.timedelta(seconds=1))
    queue.submit(Escalate(request_id=uuid.UUID(on_behalf), step=0)).result()
    deciding.decide(make.actor(barbara), on_behalf, "approve", comment="as she would")
    clock.move_back()
    instead = make.approval(decisions=["approve", "reject", "respond"], reason_required=True)
    deciding.decide(make.actor(ada), instead, "respond", answer="Ask the supplier first.", comment="late")
    late = make.clarification(schema={"type": "string"}, default="no", timeout=1e-6)
    queue.submit(Expire(request_id=uuid.UUID(late))).result()
    group_of_purged = {"key": "turn-8", "title": "Two calls"}
    purged = make.approval(arguments={"order": 1}, requester=ada, timeout=600, group=group_of_purged)
    deciding.decide(make.actor(grace), purged, "reject", comment="never")
    keeper = make.actor(make.user(groups=(Group.objects.get(name="administrator"),)))
    later = database_now() + datetime.timedelta(seconds=1)
    queue.submit(Purge(request_id=uuid.UUID(purged), actor=keeper, before=later)).result()
    for _ in range(2):
        seals.make(Ed25519PrivateKey.generate())
        make.approval("Under the next seal, or none")
    assert verification.verify().first == ()


@pytest.mark.parametrize("table", sorted({name.partition(".")[0] for name in VOUCHED}))
@pytest.mark.usefixtures("record")
def test_a_change_is_named(table: str) -> None:
    """In every column of every kind of row that there is, to every value that the database takes there."""
    for name in VOUCHED:
        if name.startswith(f"{table}."):
            changes_are_named(name, *columns()[name])


def changes_are_named(name: str, model: Model, field: Any) -> None:
    rows = rows_of_each_kind(model, field)
    assert rows, f"nothing is on record in {model.__name__}"
    taken, unnoticed = 0, []
    with as_a_superuser_might():
        for pk, value in rows:
            for other in others(field, value):
                if not written(model, pk, field, other):
                    continue
                taken += 1
                if not names_something():
                    unnoticed.append((pk, value, other))
                written(model, other if field.primary_key else pk, field, value)
    assert unnoticed == [], name
    assert (taken > 0) == (name not in FIXED), f"the database took {taken} other values of {name}"
    assert verification.verify().holds, name


def rows_of_each_kind(model: Any, field: Any) -> list[tuple[Any, Any]]:
    """The first and the last entry of each event with and without a value there; all rows of other tables."""
    if model is not AuditEntry:
        return list(model.writing.values_list("pk", field.attname))
    first: dict[object, tuple[Any, Any]] = {}
    last: dict[object, tuple[Any, Any]] = {}
    for pk, event, value in model.writing.order_by("pk").values_list("pk", "event", field.attname):
        kind = event, value is None
        first.setdefault(kind, (pk, value))
        last[kind] = pk, value
    return list({**dict(first.values()), **dict(last.values())}.items())


def names_something() -> bool:
    """The triggers are away, which is no news here."""
    return bool(verification.verify().counts.keys() - {FaultKind.TRIGGERS})


def written(model: Any, pk: Any, field: Any, value: Any) -> bool:
    """Whether the database took it: constraints refuse what contradicts the row itself."""
    try:
        model.writing.filter(pk=pk).update(**{field.attname: value})
    except IntegrityError:
        return False
    return True


def others(field: Any, value: Any) -> Iterator[Any]:
    """Values of this column's type that this one is not."""
    if field.null and value is not None:
        yield None
    if field.is_relation:
        model = field.related_model
        yield from model._base_manager.exclude(pk=value).values_list("pk", flat=True)
        return
    if field.choices:
        yield from (choice for choice, _ in field.choices if choice != value)
        return
    yield _other(field, value)


def _other(field: Field[Any, Any], value: Any) -> Any:
    match field:
        case models.BooleanField():
            return not value
        case models.IntegerField():
            return 1_000 if value is None else value + 1_000
        case models.DateTimeField():
            return (value or database_now()) + datetime.timedelta(seconds=1)
        case models.UUIDField():
            return uuid.uuid4()
        case models.GenericIPAddressField():
            return "192.0.2.99"
        case JSONText():
            return [value]
        case models.CharField() | models.TextField() if value:
            return ("1" if value[0] != "1" else "2") + value[1:]
        case models.CharField() | models.TextField():
            return "x"
    raise NotImplementedError(f"say what else a {type(field).__name__} may hold")
