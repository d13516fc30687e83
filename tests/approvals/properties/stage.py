"""The model's cast and requests on a real database: commands translated, what was told and is on record.

The model speaks of people and requests by small numbers; each example has requests of its own.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from approvals import queries
from approvals.database.clock import database_now
from approvals.database.fields import new_id
from approvals.domain.commands import Accepted, Command, Keyed, OpenRequest, Reassign, Refused, Result
from approvals.domain.lifecycle import Outcome, Status, Verdict, tally
from approvals.models import AuditEntry, GroupAssignment, HumanRequest, Response, UserAssignment
from approvals.trail import verification
from approvals.writer import chain
from tests import factories as make
from tests.approvals.properties.model import CAST, Question, Reply, Who, World, words
from tests.approvals.properties.wishes import IDS

# What verification says of a deadline that no entry has moved.
MOVED = re.compile(r"The row says deadline .*|Entry \d+ was made under another policy than that before it\.")
# What may happen to a request that is closed.
AFTERWARDS = {"refused", "viewed", "commented", "questioned"}
PERMISSIONS = {"decide": "decide_humanrequest", "change": "change_humanrequest", "view": "view_humanrequest"}


class Company:
    """The cast, on record once for all examples of a test."""

    def __init__(self) -> None:
        self.groups = {number: make.group().pk for number in {one.group for one in CAST.values()} - {None}}
        self.people: dict[Who, int | None] = {None: None}
        for number, person in CAST.items():
            user = make.user(
                person.name, may=tuple(PERMISSIONS[one] for one in person.may), is_active=person.active
            )
            user.groups.set([] if person.group is None else [self.groups[person.group]])
            self.people[number] = user.pk


class Stage:
    """The requests of one example."""

    def __init__(self, company: Company) -> None:
        self._company = company
        self._people = company.people
        self._ids = {one: new_id() for one in IDS}
        self._scope = f"example:{new_id()}"
        self._moved: set[UUID] = set()

    def real(self, command: Command) -> Command:
        """The model's command as the service gets it."""
        changes: dict[str, Any] = {
            "request_id": self._reference(command.request_id),
            "actor": replace(command.actor, user_id=self._people[command.actor.user_id]),
        }
        if isinstance(command, OpenRequest):
            changes |= {"requester_id": self._people[command.requester_id], "key_scope": self._scope}
        if isinstance(command, OpenRequest | Reassign):
            changes["user_ids"] = tuple(self._people[one] for one in command.user_ids)
            changes["group_ids"] = tuple(self._company.groups[one] for one in command.group_ids)
        return replace(command, **changes)

    def pass_deadline(self, request_id: UUID) -> None:
        """As if it had passed unnoticed."""
        self._moved.add(self._ids[request_id])
        past = database_now() - timedelta(seconds=1)
        HumanRequest.writing.filter(pk=self._ids[request_id]).update(deadline=past)

    def told(self, result: Result) -> tuple[str, bool, Outcome | None]:
        """What a caller was told, but for the moment; `expected` of the model's reply must equal it."""
        outcome = result.outcome and replace(result.outcome, decided_at=None)
        if isinstance(result, Refused):
            return result.code, False, outcome
        return "", result.changed, outcome

    def expected(self, reply: Reply) -> tuple[str, bool, Outcome | None]:
        return reply.code, reply.changed, self._outcome(reply.told) if reply.told else None

    def check_record(self, world: World, results: Iterable[Result] = ()) -> None:
        """What is on record is what the model says, each request has had one end at most, and every one of
        these results was told exactly that end."""
        outcomes = queries.outcomes(list(self._ids.values()))
        assert set(outcomes) == {self._ids[one] for one in world}
        for result in results:
            if isinstance(result, Accepted | Refused) and result.outcome and result.outcome.closed:
                assert result.outcome == outcomes[UUID(result.outcome.request_id)]
        record = _Record(list(outcomes))
        for question in world.values():
            request_id = self._ids[question.id]
            assert replace(outcomes[request_id], decided_at=None) == self._outcome(question)
            self._check(record, record.rows[request_id], question)

    def _check(self, record: _Record, row: HumanRequest, question: Question) -> None:
        entries = record.entries.get(row.pk, [])
        # `pass_deadline` moves deadlines by hand, which is what verification is for.
        faults = [fault.detail for fault in verification.verify_request(row.pk)]
        assert row.pk in self._moved or faults == []
        assert [detail for detail in faults if not MOVED.fullmatch(detail)] == []
        ends = [(entry.outcome, entry.recorded_at) for entry in entries if entry.outcome]
        assert ends == ([] if question.status == "pending" else [(question.status, row.closed_at)])
        moments = [entry.recorded_at for entry in entries]
        assert moments == sorted(moments), "judged at a moment before what had already happened"
        assert folded(entries) == (row.status, row.approvals, row.answer)
        assert queries.outcome_of(row).closed is (question.status != "pending")
        self._check_trail(entries, question)
        assert record.said.get(row.pk, Counter()) == Counter(
            (self._people[who], said) for who, said in question.said
        )
        named = (sorted(question.users), sorted(question.groups), question.status == "pending")
        assert record.named(row.pk) == (
            {(self._people[one], named[2]) for one in named[0]},
            {(self._company.groups[one], named[2]) for one in named[1]},
        )

    def _check_trail(self, entries: Sequence[AuditEntry], question: Question) -> None:
        """All in order; of refusals, as many as a minute may add, whenever that began."""
        trail = [
            (entry.event, entry.actor_id, entry.outcome)
            for entry in entries
            if entry.event not in {"refused", "stuck"}
        ]
        assert trail == [(one.event, self._people[one.who], one.outcome) for one in question.trail]
        refused = Counter(entry.actor_id for entry in entries if entry.event == "refused")
        must_refuse = Counter(self._people[who or None] for who in question.refused)
        assert refused <= must_refuse
        for who, times in must_refuse.items():
            assert refused[who] >= min(times, chain.REFUSALS_PER_MINUTE)

    def _outcome(self, question: Question) -> Outcome:
        return Outcome(
            request_id=str(self._ids[question.id]),
            kind=question.asked.kind,
            status=question.status,
            approved=question.approved,
            answer=question.answer,
            arguments=json.loads(question.arguments or "{}"),
            comment=question.comment,
            decided_by=CAST[question.decided_by].name if question.decided_by else None,
            timed_out=question.status == "timed_out",
            withdrawn=question.status == "withdrawn",
        )

    def _reference(self, reference: UUID | Keyed) -> UUID | Keyed:
        if isinstance(reference, UUID):
            return self._ids[reference]
        return replace(reference, key_scope=self._scope)


def folded(entries: Iterable[AuditEntry]) -> tuple[str, int, Any]:
    """What a request has come to, told by its trail alone: status, approvals, answer."""
    votes: dict[int | None, Verdict] = {}
    status, answer, required = Status.PENDING, None, 1
    for entry in entries:
        said = json.loads(entry.shown.content)
        assert status is Status.PENDING or entry.event in AFTERWARDS, "something after the end"
        match entry.event:
            case "opened":
                required = said["required"]
            case "decided":
                votes[entry.actor_id] = Verdict(said["verdict"])
                counted = said.get("counted", list(votes))
                assert set(counted) <= set(votes), "a vote counted that nobody gave"
                enough = said["verdict"] == "reject" or required == 1 or "counted" in said
                status = tally([votes[one] for one in counted], required) if enough else Status.PENDING
            case "answered":
                status, answer = Status.ANSWERED, said["answer"]
            case "timed_out":
                status, answer = Status.TIMED_OUT, said.get("default")
            case "withdrawn":
                status = Status.WITHDRAWN
    return status, list(votes.values()).count(Verdict.APPROVE), answer


class _Record:
    """All that the database holds of these requests, read at once."""

    def __init__(self, ids: list[UUID]) -> None:
        rows = HumanRequest.objects.filter(pk__in=ids).select_related("decided_by")
        self.rows: Mapping[UUID, HumanRequest] = {row.pk: row for row in rows}
        entries = AuditEntry.objects.filter(request_id__in=ids).select_related("shown").order_by("sequence")
        self.entries = _by_request(entries)
        self.said = {
            pk: Counter((one.actor_id, _said(one)) for one in given)
            for pk, given in _by_request(Response.objects.filter(request_id__in=ids)).items()
        }
        self._users = _by_request(UserAssignment.objects.filter(request_id__in=ids))
        self._groups = _by_request(GroupAssignment.objects.filter(request_id__in=ids))

    def named(self, pk: UUID) -> tuple[set[tuple[int, bool]], set[tuple[int, bool]]]:
        users = {(one.user_id, one.pending) for one in self._users.get(pk, [])}
        return users, {(one.group_id, one.pending) for one in self._groups.get(pk, [])}


def _said(response: Response) -> str:
    return words([response.verdict, response.arguments] if response.verdict else response.answer)


def _by_request(rows: Iterable[Any]) -> dict[UUID, list[Any]]:
    found: dict[UUID, list[Any]] = {}
    for row in rows:
        found.setdefault(row.request_id, []).append(row)
    return found
