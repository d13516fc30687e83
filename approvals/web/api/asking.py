"""A question that came over HTTP, asked: names looked up, the whole of it known by its key."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group

from approvals import gate, selectors
from approvals.commands import Accepted, Actor
from approvals.deciding import group_ids_of, user_ids_of
from approvals.exceptions import InvalidRequest
from approvals.payloads import canonical, digest
from approvals.web.api.problems import InvalidFields
from approvals.web.api.schemas import ApprovalQuestion, Assignees, ClarificationQuestion

Question = ApprovalQuestion | ClarificationQuestion

# Fields that say one thing as null and another when they are omitted.
OMITTABLE = ("timeout", "default")


def asked(actor: Actor, question: Question) -> tuple[UUID, bool]:
    """The id of the request, and whether it is new. Asked again under its key, the question is not looked at
    again: what was allowed then, stays on record."""
    assert actor.user_id is not None  # noqa: S101 - callers are people, or programs that act as such
    fingerprint = digest(canonical(normalised(question)))
    if question.key is not None:
        earlier = selectors.request_of_key(f"user:{actor.user_id}", question.key)
        if earlier is not None and earlier.fingerprint == fingerprint:
            return earlier.pk, False
    accepted = _opened(actor, question, fingerprint)
    return UUID(accepted.outcome.request_id), accepted.changed


def normalised(question: Question) -> dict[str, Any]:
    """The body without defaults and the order of names: equal where the same is asked."""
    body = question.model_dump(by_alias=True, exclude_defaults=True)
    body |= {name: getattr(question, name) for name in OMITTABLE if name in question.model_fields_set}
    for names in ("users", "groups"):
        if names in body.get("assignees", {}):
            body["assignees"][names] = sorted(set(body["assignees"][names]))
    return body


def _opened(actor: Actor, question: Question, fingerprint: str) -> Accepted:
    terms: dict[str, Any] = {
        "details": question.details,
        "requester": actor.user_id,
        "assignees": _assignees(question.assignees),
        "key": question.key,
        "origin": question.origin and question.origin.model_dump(exclude_defaults=True),
        "actor": actor,
        "callback_url": question.callback_url or "",
        "fingerprint": fingerprint,
    }
    terms |= {name: getattr(question, name) for name in OMITTABLE if name in question.model_fields_set}
    if isinstance(question, ApprovalQuestion):
        return gate.opened_approval(
            question.title,
            arguments=question.arguments,
            editable=question.editable,
            required=question.required,
            four_eyes=question.four_eyes,
            on_timeout=question.on_timeout,
            **terms,
        )
    return gate.opened_clarification(
        question.title,
        choices=question.choices,
        multiple=question.multiple,
        schema=question.json_schema,
        **terms,
    )


def _assignees(names: Assignees) -> list[Any]:
    """Users by id and groups; InvalidFields where a name is nobody's."""
    errors: list[tuple[str, str]] = []
    found: list[Any] = []
    try:
        found += user_ids_of(names.users, "assignees.users", spots=True)
    except InvalidRequest as error:
        errors.append((error.field or "", error.detail))
    try:
        found += [Group(pk=pk) for pk in group_ids_of(names.groups, "assignees.groups", spots=True)]
    except InvalidRequest as error:
        errors.append((error.field or "", error.detail))
    if errors:
        raise InvalidFields(errors)
    return found
