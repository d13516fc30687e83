"""The requests that a person selected to decide together in the admin, and the result of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import queries
from approvals.admin.change_lists import uuid_or_none
from approvals.domain.lifecycle import Kind, Outcome, Severity, Status, usual_decisions
from approvals.exceptions import ApprovalError
from approvals.models import HumanRequest
from approvals.queries import people_reads, permissions
from approvals.web.edge.hidden_characters import visible
from approvals.web.pages.results import Result
from approvals.web.pages.wording import outcome_in_words

MOST_AT_ONCE = 100


def page_of(asked: HumanRequest) -> str:
    """Return the address of a request's admin page."""
    return reverse(f"admin:approvals_{asked.kind}_change", args=[asked.pk])


def result_of(request_id: UUID, asked: HumanRequest | None, result: Outcome | ApprovalError) -> Result:
    """Describe the result for a request; `asked` is None if it may not be seen."""
    if asked is None:
        return Result.of(str(request_id), "", result)
    return Result.of(asked.title, page_of(asked), result)


@admin.display(description="request")
def request_column(_: Any, row: Any) -> SafeString:
    """Show the request of a row as a link: the method of a list's column."""
    return format_html('<a href="{}">{}</a>', page_of(row.request), visible(row.request.title))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What was selected: the `ids` sent, the `requests` that may be seen, the ids `permitted` to decide.

    `cut`: more than MOST_AT_ONCE were sent.
    """

    ids: tuple[UUID, ...]
    requests: tuple[HumanRequest, ...]
    permitted: frozenset[UUID]
    cut: bool

    @classmethod
    def from_form(cls, user_id: int, kind: Kind, names: Iterable[str]) -> Selection:
        """Make a selection of the ids that a form sent; other texts are left out."""
        ids = dict.fromkeys(one for one in map(uuid_or_none, names) if one is not None)
        within = list(ids)[:MOST_AT_ONCE]
        seen = queries.visible_to(user_id).filter(kind=kind, pk__in=within)
        by_id = {row.pk: row for row in queries.with_people(seen)}
        requests = tuple(by_id[request_id] for request_id in within if request_id in by_id)
        person = people_reads.persons([user_id])[user_id]
        audiences = people_reads.audiences(requests)
        return cls(
            ids=tuple(within),
            requests=requests,
            permitted=frozenset(
                pk for pk, audience in audiences.items() if permissions.may_decide(person, audience)
            ),
            cut=len(ids) > len(within),
        )

    @property
    def most(self) -> int:
        return MOST_AT_ONCE

    @property
    def open(self) -> list[HumanRequest]:
        """The selected requests that can be decided now."""
        return [one for one in self.requests if one.status == Status.PENDING and one.pk in self.permitted]

    @property
    def left_out(self) -> list[tuple[HumanRequest, str]]:
        """The selected requests that can't be decided now, each with the reason."""
        return [
            (one, "You may not decide this" if one.status == Status.PENDING else outcome_in_words(one))
            for one in self.requests
            if one not in self.open
        ]

    @property
    def form_subject(self) -> Any:
        """What the decision form is about: only the arguments of a single request can be edited.

        Many matter as much as the one that matters most.
        """
        if len(self.ids) == 1 and self.requests:
            return self.requests[0]
        high = any(one.severity == Severity.HIGH for one in self.requests)
        severity = Severity.HIGH if high else Severity.NORMAL
        return SimpleNamespace(
            arguments=None,
            final_arguments=None,
            editable=False,
            severity=severity,
            decisions=usual_decisions(),
            reason_required=any(one.reason_required for one in self.requests),
        )

    def results_of(self, outcomes: Sequence[Outcome | ApprovalError]) -> list[Result]:
        """Describe the outcome of each request, in the order of `ids`."""
        asked = {one.pk: one for one in self.requests}
        each = zip(self.ids, outcomes, strict=True)
        return [result_of(request_id, asked.get(request_id), outcome) for request_id, outcome in each]
