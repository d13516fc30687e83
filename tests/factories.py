"""Valid people and requests with defaults; keyword arguments override them."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, Permission, User

from approvals import delegations, gate
from approvals.database.clock import database_now
from approvals.database.fields import new_id
from approvals.delivery.addresses import encrypt
from approvals.domain.commands import Actor, Channel, OpenRequest
from approvals.domain.lifecycle import Kind, Verdict
from approvals.domain.telling import EVENTS, TOLD_TO_GROUPS
from approvals.models import Destination
from approvals.writer import queue

_numbers = itertools.count(1)


def user(
    username: str | None = None, *, may: tuple[str, ...] = (), groups: tuple[Group, ...] = (), **fields: Any
) -> User:
    """A person; `may` names permissions, as "decide_humanrequest"."""
    made = User.objects.create_user(username or f"person{next(_numbers)}", **fields)
    if may:
        made.user_permissions.add(*Permission.objects.filter(codename__in=may))
    if groups:
        made.groups.add(*groups)
    return made


def reviewer(username: str | None = None, **fields: Any) -> User:
    """A person who may decide what is assigned to nobody."""
    return user(username, may=("decide_humanrequest",), **fields)


def group(name: str | None = None, *members: User) -> Group:
    made = Group.objects.create(name=name or f"group{next(_numbers)}")
    if members:
        made.user_set.add(*members)
    return made


def actor(person: User, channel: Channel = Channel.PAGE, **fields: Any) -> Actor:
    return Actor(
        user_id=person.pk, channel=channel, **{"address": "127.0.0.1", "user_agent": "tests", **fields}
    )


def delegation(principal: User, delegate: User, **terms: Any) -> str:
    """That the delegate decides for the principal, from now on for an hour; its id."""
    until = terms.pop("ends_at", None) or database_now() + timedelta(hours=1)
    return delegations.delegate(principal, delegate, terms.pop("starts_at", None), until, **terms)


def destination(owner: User | Group, kind: str, address: str, **fields: Any) -> Destination:
    """Where this person or group is told, by default of all that it can be told."""
    group = isinstance(owner, Group)
    told: dict[str, Any] = {"events": sorted(TOLD_TO_GROUPS) if group else list(EVENTS)} | fields
    whose: dict[str, Any] = {"group" if group else "user": owner}
    return Destination.objects.create(kind=kind, address=encrypt(address), **whose, **told)


def approval(title: str = "Refund 12.00 EUR", **terms: Any) -> str:
    """An approval that is pending; its id."""
    return gate.open_approval(title, **terms)


def clarification(title: str = "Which cost centre?", **terms: Any) -> str:
    """A clarification that is pending; its id."""
    return gate.open_clarification(title, **terms)


def earlier(kind: Kind = Kind.APPROVAL, **fields: Any) -> str:
    """A request that is on record from before what doors refuse now; its id. Past them all, to the writer."""
    on_timeout = Verdict.REJECT if kind is Kind.APPROVAL else None
    asked: dict[str, Any] = {
        "title": "Refund 12.00 EUR",
        "actor": Actor.program(),
        "on_timeout": on_timeout,
    } | fields
    command = OpenRequest(request_id=new_id(), kind=kind, **asked)
    queue.submit(command).result()
    return str(command.request_id)
