"""The requests that somebody picked to decide together, and what came of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html

from approvals import permissions, selectors
from approvals.exceptions import ApprovalError
from approvals.lifecycle import Kind, Outcome, Status
from approvals.models import HumanRequest
from approvals.web.values import visible
from approvals.web.words import outcome_in_words

if TYPE_CHECKING:
    Requests = QuerySet[HumanRequest]

MOST_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something that can be done to a request, at an address that asks for confirmation first."""

    url: str
    label: str
    decision: str = ""

    @property
    def address(self) -> str:
        return reverse(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plain:
    """Many approvals decided together: their arguments stay as they are."""

    arguments: Any = None
    final_arguments: Any = None
    editable: Any = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """`ids` as sent; `requests` those of them that this person may see; `permitted` may decide."""

    ids: tuple[UUID, ...]
    requests: tuple[HumanRequest, ...]
    permitted: frozenset[UUID]
    cut: bool

    @classmethod
    def named(cls, user_id: int, kind: Kind, names: Iterable[str]) -> Chosen:
        """By the ids of a form; what is no id is left out."""
        ids = dict.fromkeys(one for one in map(_uuid, names) if one is not None)
        seen = selectors.visible_to(user_id).filter(kind=kind, pk__in=list(ids)[:MOST_AT_ONCE])
        return cls._of(user_id, list(ids), list(selectors.with_people(seen)))

    @classmethod
    def of(cls, user_id: int, queryset: Requests) -> Chosen:
        """By the rows that were ticked in a list."""
        rows = list(queryset[: MOST_AT_ONCE + 1])
        return cls._of(user_id, [row.pk for row in rows], rows)

    @classmethod
    def _of(cls, user_id: int, ids: Sequence[UUID], rows: Sequence[HumanRequest]) -> Chosen:
        within = ids[:MOST_AT_ONCE]
        by_id = {row.pk: row for row in rows}
        requests = tuple(by_id[request_id] for request_id in within if request_id in by_id)
        person = permissions.persons([user_id])[user_id]
        audiences = permissions.audiences(requests)
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
        """What would be decided now."""
        return [one for one in self.requests if one.status == Status.PENDING and one.pk in self.permitted]

    @property
    def left_out(self) -> list[tuple[HumanRequest, str]]:
        """What would not, and why."""
        return [(one, self._reason(one)) for one in self.requests if one not in self.open]

    @property
    def form_subject(self) -> Any:
        """A single request may have its arguments edited; many are decided as they were asked."""
        return self.requests[0] if len(self.ids) == 1 and self.requests else _Plain()

    def told(
        self, model_admin: ModelAdmin[Any], request: HttpRequest, results: Sequence[Outcome | ApprovalError]
    ) -> HttpResponse:
        """Say what came of each, on the page of the single request or on the list."""
        titles = {asked.pk: asked.title for asked in self.requests}
        for request_id, result in zip(self.ids, results, strict=True):
            level, words = _in_words(result)
            title = titles.get(request_id, str(request_id))
            messages.add_message(request, level, format_html("{}: {}", visible(title), visible(words)))
        opts = model_admin.opts
        if len(self.requests) == len(self.ids) == 1:
            page = reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[self.ids[0]])
            return HttpResponseRedirect(page)
        return HttpResponseRedirect(reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist"))

    def _reason(self, asked: HumanRequest) -> str:
        return outcome_in_words(asked) if asked.status != Status.PENDING else "Others decide this"


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _in_words(result: Outcome | ApprovalError) -> tuple[int, str]:
    if isinstance(result, ApprovalError):
        return messages.ERROR, f"{result.detail} ({result.code})"
    if not result.closed:
        return messages.SUCCESS, "your approval is on record; more are needed"
    by = f" by {result.decided_by}" if result.decided_by else ""
    return messages.SUCCESS, f"{result.status.replace('_', ' ')}{by}"
