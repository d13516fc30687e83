"""A question that came over HTTP, asked: found again by its key, or its assignees looked up."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group

from approvals import gate
from approvals.domain import questions
from approvals.domain.commands import Actor
from approvals.domain.lifecycle import Kind
from approvals.domain.payloads import canonical, digest
from approvals.domain.questions import REVIEWERS
from approvals.exceptions import InvalidRequest
from approvals.queries.assignees import group_ids_of, user_ids_of
from approvals.web.api.schemas import ApprovalQuestion, Assignees, ClarificationQuestion
from approvals.web.edge.problems import InvalidFields

Question = ApprovalQuestion | ClarificationQuestion

# Fields that say one thing as null and another when they are omitted.
OMITTABLE = ("timeout", "default")


def asked(actor: Actor, question: Question) -> tuple[UUID, bool]:
    """The id of the request, and whether it is new. Asked again under its key, the question is not looked at
    again: what was allowed then, stays on record."""
    kind, terms = Kind(question.kind), _terms(actor, question)
    known = gate.on_record(kind, question.title, terms)
    if known is not None:
        return UUID(known.request_id), False
    ask = gate.opened_approval if kind is Kind.APPROVAL else gate.opened_clarification
    accepted = ask(question.title, **terms, assignees=_assignees(question))
    return UUID(accepted.outcome.request_id), accepted.changed


def normalised(question: Question) -> dict[str, Any]:
    """The body without defaults and the order of names, as it was hashed before fingerprints had a mark."""
    body = question.model_dump(by_alias=True, exclude_defaults=True)
    body |= {name: getattr(question, name) for name in OMITTABLE if name in question.model_fields_set}
    for names in ("users", "groups"):
        if names in body.get("assignees", {}):
            body["assignees"][names] = sorted(set(body["assignees"][names]))
    return body


def _terms(actor: Actor, question: Question) -> dict[str, Any]:
    """All but the assignees, who are named only."""
    terms: dict[str, Any] = {
        "details": question.details,
        "requester": actor.user_id,
        "named": _named(question.assignees),
        "key": question.key,
        "origin": question.origin and question.origin.model_dump(exclude_defaults=True),
        "actor": actor,
        "callback_url": question.callback_url or "",
        "former_fingerprint": digest(canonical(normalised(question))),
    }
    terms |= {name: getattr(question, name) for name in OMITTABLE if name in question.model_fields_set}
    if isinstance(question, ApprovalQuestion):
        return terms | {
            "arguments": question.arguments,
            "editable": question.editable,
            "required": question.required,
            "four_eyes": question.four_eyes,
            "on_timeout": question.on_timeout,
        }
    return terms | {
        "choices": question.choices,
        "multiple": question.multiple,
        "schema": question.json_schema,
    }


def reviewers_alone(names: Assignees, field: str = "") -> bool:
    """Whether whoever has the permission is named; InvalidRequest where others are, too."""
    if names.reviewers and (names.users or names.groups):
        where = f"{field}.reviewers" if field else "reviewers"
        raise InvalidRequest(f"{where} can't be true together with users or groups.", field=where)
    return names.reviewers


def _named(names: Assignees) -> Any:
    if not names.users and not names.groups:
        return questions.named(REVIEWERS)
    return questions.named_by_name(names.users, names.groups)


def _assignees(question: Question) -> Any:
    """Users by id and groups, or REVIEWERS; InvalidFields where a name is nobody's, or nobody is named."""
    if "assignees" not in question.model_fields_set:
        return REVIEWERS
    names = question.assignees
    if reviewers_alone(names, "assignees"):
        return REVIEWERS
    if not names.users and not names.groups:
        rule = 'must name somebody; {"reviewers": true} names whoever has the permission'
        raise InvalidRequest(f"assignees {rule}.", field="assignees")
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
