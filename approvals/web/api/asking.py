"""A question that came over HTTP: found again by its key, or asked with its assignees looked up."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel

from approvals import gate
from approvals.domain import questions
from approvals.domain.commands import Actor
from approvals.domain.lifecycle import Kind
from approvals.domain.payloads import canonical, digest
from approvals.domain.questions import REVIEWERS
from approvals.domain.request_terms import TERMS, Place, terms_in
from approvals.domain.term_rules import OMITTED
from approvals.exceptions import InvalidRequest
from approvals.queries.assignees import group_ids_of, user_ids_of
from approvals.web.api.schemas import ApprovalQuestion, Assignees, ClarificationQuestion
from approvals.web.api.wire import field_name
from approvals.web.edge.problems import InvalidFields

Question = ApprovalQuestion | ClarificationQuestion

# Fields that say one thing as null and another when they are omitted.
OMITTABLE = [term.name for term in TERMS.values() if term.omitted is OMITTED]


def ask(actor: Actor, question: Question) -> tuple[UUID, bool]:
    """Return the id of the request, and whether it is new.

    Asked again under its key, the question is not looked at again: what was allowed then, stays on record.
    """
    kind, said = Kind(question.kind), _terms_said(question)
    title = said.pop("title")
    terms = said | {
        "requester": actor.user_id,
        "named": _resolve_names(question.assignees),
        "actor": actor,
        "former_fingerprint": digest(canonical(normalise(question))),
    }
    known = gate.on_record(kind, title, terms)
    if known is not None:
        return UUID(known.request_id), False
    accepted = gate.open_or_find(kind, title, terms | {"assignees": _resolve_assignees(question)})
    return UUID(accepted.outcome.request_id), accepted.changed


def normalise(question: Question) -> dict[str, Any]:
    """Return the body without defaults and the order of names, as fingerprints without a mark were made."""
    body = question.model_dump(by_alias=True, exclude_defaults=True)
    body |= {name: getattr(question, name) for name in OMITTABLE if name in question.model_fields_set}
    for names in ("users", "groups"):
        if names in body.get("assignees", {}):
            body["assignees"][names] = sorted(set(body["assignees"][names]))
    return body


def _terms_said(question: Question) -> dict[str, Any]:
    said = {
        term.name: getattr(question, field_name(term))
        for term in terms_in(Place.BODY, Kind(question.kind))
        if field_name(term) in question.model_fields_set
    }
    return {name: _plain(value) for name, value in said.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_defaults=True)
    return [_plain(each) for each in value] if isinstance(value, list) else value


def reviewers_alone(names: Assignees, field: str = "") -> bool:
    """Tell whether any reviewer may decide; InvalidRequest where others are named, too."""
    if names.reviewers and (names.users or names.groups):
        where = f"{field}.reviewers" if field else "reviewers"
        raise InvalidRequest(f"{where} can't be true together with users or groups.", field=where)
    return names.reviewers


def _resolve_names(names: Assignees) -> Any:
    if not names.users and not names.groups:
        return questions.assignees_as_named(REVIEWERS)
    return questions.assignees_by_name(names.users, names.groups)


def _resolve_assignees(question: Question) -> Any:
    """Ids, or REVIEWERS. InvalidFields where names are nobody's, InvalidRequest where none is given."""
    if "assignees" not in question.model_fields_set:
        return REVIEWERS
    names = question.assignees
    if reviewers_alone(names, "assignees"):
        return REVIEWERS
    if not names.users and not names.groups:
        rule = 'must name somebody; {"reviewers": true} names any reviewer'
        raise InvalidRequest(f"assignees {rule}.", field="assignees")
    errors: list[tuple[str, str]] = []
    found: list[tuple[int, ...]] = []
    for ids_of, given, field in (
        (user_ids_of, names.users, "assignees.users"),
        (group_ids_of, names.groups, "assignees.groups"),
    ):
        try:
            found.append(ids_of(given, field, spots=True))
        except InvalidRequest as error:
            errors.append((error.field or "", error.detail))
    if errors:
        raise InvalidFields(errors)
    return gate.Resolved(*found)
