"""The rows of a batch of commands: locked and read together, changed in memory, written together.

`Batch.close` is how a rule closes a request; `Batch.write` has the one UPDATE by which it is closed on
record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model

from approvals.conf import tells_people
from approvals.database import bulk
from approvals.database.pipeline import together
from approvals.domain.commands import (
    DEADLINE,
    RULE,
    Actor,
    Command,
    Comment,
    Escalate,
    Forget,
    Keyed,
    OpenRequest,
    Purge,
    Reassign,
    Reference,
    Reschedule,
    View,
)
from approvals.domain.escalation import next_moment
from approvals.domain.lifecycle import Kind, Outcome, Status, Verdict, may_become
from approvals.models import Event, GroupAssignment, HumanRequest, Notification, Response, UserAssignment
from approvals.queries import deciders, outcome_of, people_reads, permissions
from approvals.queries.named_in_steps import read_nameable
from approvals.writer import callbacks, chain, watches
from approvals.writer.chain import Draft
from approvals.writer.comments import Comments
from approvals.writer.metrics import Figures
from approvals.writer.quotas import Quotas
from approvals.writer.removal import Removals
from approvals.writer.rows import Said, read

CHANGING_FIELDS = (
    "status",
    "closed_at",
    "changed_at",
    "decided_by",
    "answer",
    "final_arguments",
    "comment",
    "approvals",
    "deadline",
    "trail_length",
    "trail_head",
)

# Assigned to by hand: Django's descriptor takes as long as a rule does.
_DECIDED_BY: Any = HumanRequest._meta.get_field("decided_by")


class Batch:
    """The rows that the commands name, and what the rules have changed of them so far.

    `rows` are locked; `now` is the database's clock after the locks were got. `changed` are the ids that the
    hint will carry, `closed` the requests that ended, `callbacks` the outcomes that are to be posted.
    """

    def __init__(self, commands: Sequence[Command]) -> None:
        found = read(commands)
        self.rows, self.now = found.rows, found.now
        self.audiences, self.people, self.said = found.audiences, found.people, found.said
        self.quotas = Quotas(found.usage, found.people)
        by_round = sorted(self.rows.values(), key=lambda row: row.round)
        self.by_key = {(row.key_scope, row.key): row for row in by_round if row.key}
        self.viewers = chain.viewers(self._concerned(commands, View))
        self.rescheduled = chain.rescheduled(self._concerned(commands, Reschedule))
        self.handed_on = chain.handed_on(self._concerned(commands, Reassign))
        escalating = self._concerned(commands, Escalate)
        self.nameable = read_nameable([step for pk in escalating for step in self.rows[pk].escalation])
        self.removals = Removals(self._concerned(commands, Purge, Forget))
        self.comments = Comments([one for one in commands if isinstance(one, Comment)], self.now)
        self.changed: dict[UUID, None] = {}
        self.closed: set[UUID] = set()
        self.callbacks: list[UUID] = []
        self.figures = Figures()
        self._outcomes: dict[UUID, Outcome] = {}
        self._opened: set[UUID] = set()
        self._named: set[UUID] = set()
        self._responses: list[dict[str, Any]] = []
        self._used_links: list[UUID] = []
        self._drafts: list[Draft] = []
        # By request: who has approved, and on whose behalf; and whose votes were given, by whomever.
        self._approved_by: defaultdict[UUID, dict[int | None, int | None]] = defaultdict(dict)
        self._voted_for: defaultdict[UUID, set[int | None]] = defaultdict(set)
        for (request_id, actor_id), said in self.said.items():
            self._note_vote(request_id, actor_id, said)
        # Pending requests that too few may be able to decide by now.
        self._in_question: dict[UUID, HumanRequest] = {}
        self._reassigned: set[UUID] = set()
        # Requests whose escalation goes on otherwise than their rows said.
        self._replanned: set[UUID] = set()

    def find(self, reference: Reference) -> HumanRequest | None:
        """Return the row that a command names by its id, or the latest one of its key."""
        if isinstance(reference, Keyed):
            return self.by_key.get((reference.key_scope, reference.key))
        return self.rows.get(reference)

    def outcome(self, request_id: UUID) -> Outcome:
        """Return what this row records now: after what the rules have recorded of it."""
        found = self._outcomes.get(request_id)
        if found is None:
            found = self._outcomes[request_id] = outcome_of(self.rows[request_id])
        return found

    def add(self, row: HumanRequest, command: OpenRequest) -> None:
        """Add a new request, assigned to those whom the command names."""
        self.rows[row.pk] = row
        if row.key:
            self.by_key[row.key_scope, row.key] = row
        self._opened.add(row.pk)
        self.figures.count_opened(row)
        self.quotas.count_opened(row)
        asked = permissions.Audience(requester_id=row.requester_id, four_eyes=row.four_eyes)
        self._named.add(row.pk)
        self.audiences[row.pk] = asked.with_assignees(None, command.user_ids, command.group_ids)
        self.change(row)

    def name_deciders(
        self, row: HumanRequest, by: Actor, user_ids: Collection[Any], group_ids: Collection[int]
    ) -> None:
        """Name these to decide, and nobody else."""
        before = self.audiences[row.pk]
        self._named.add(row.pk)
        self.audiences[row.pk] = before.with_assignees(by.user_id, user_ids, group_ids)
        self.check_stuck(row)
        self._reassigned.add(row.pk)
        self.change(row)

    def plan_escalation(self, row: HumanRequest) -> None:
        """Note when the request's next step of escalation would be due, if it has one."""
        if row.escalation:
            row.escalates_at = next_moment(row.escalation, row.escalated, row.opened_at, row.deadline)
            self._replanned.add(row.pk)

    def change(self, row: HumanRequest) -> None:
        row.changed_at = self.now
        self.changed[row.pk] = None

    def check_stuck(self, row: HumanRequest) -> None:
        """Have `write` record on the trail if fewer people than required may decide the request."""
        audience = self.audiences.get(row.pk)
        if row.required > 1 or row.four_eyes or (audience is not None and audience.assigned):
            self._in_question[row.pk] = row

    def approvals_that_count(self, row: HumanRequest) -> list[int | None]:
        """Return who has approved the request and may decide it now; None is a program, which always may."""
        votes = self._approved_by[row.pk].items()
        counted = [actor_id for actor_id, principal_id in votes if self._counts(row, actor_id, principal_id)]
        return sorted(counted, key=lambda actor_id: (actor_id is not None, actor_id or 0))

    def right_to_vote(self, row: HumanRequest, actor: Actor) -> permissions.Right | None:
        """Return the first right of this person whose vote nobody has given; None: none, or no person.

        Whose vote is given on their behalf can't give it again, nor can whoever else stands for them.
        """
        person = self._person(actor)
        if person is None or (row.pk, person.id) in self.said:
            return None
        given = self._voted_for[row.pk]
        rights = permissions.rights_to_decide(person, self.audiences[row.pk])
        return next((one for one in rights if (one.on_behalf_of or person).id not in given), None)

    def _counts(self, row: HumanRequest, actor_id: int | None, principal_id: int | None) -> bool:
        """Whether this vote counts: a program's does; a person's, by the rights of whom it was given for."""
        if actor_id is None:
            return True
        person, principal = (
            self.people.get(actor_id),
            self.people.get(actor_id if principal_id is None else principal_id),
        )
        if person is None or principal is None:
            return False
        return permissions.decides_as(person, principal, self.audiences[row.pk])

    def _note_vote(self, request_id: UUID, actor_id: int | None, said: Said) -> None:
        self._voted_for[request_id].add(actor_id if said.on_behalf_of_id is None else said.on_behalf_of_id)
        if said.verdict == Verdict.APPROVE:
            self._approved_by[request_id][actor_id] = said.on_behalf_of_id

    def close(self, row: HumanRequest, status: Status, actor: Actor, comment: str) -> None:
        """Close the request as decided by this actor. RuntimeError where its status does not allow that."""
        if not may_become(Kind(row.kind), Status(row.status), status):
            raise RuntimeError(f"a {row.kind} that is {row.status} can't become {status}")
        person = self._person(actor)
        row.status, row.closed_at, row.comment = status.value, self.now, comment
        row.decided_by_id = person.id if person else None
        _DECIDED_BY.set_cached_value(row, _user(person.id, person.username) if person else None)
        self.closed.add(row.pk)
        self.quotas.count_closed(row)
        self.figures.count_closed(status, actor.channel)
        self.change(row)

    def time_out(self, row: HumanRequest) -> None:
        """Close the request as timed out, with the outcome that it names for its deadline."""
        row.answer = row.default
        self.close(row, Status.TIMED_OUT, DEADLINE, "")
        self.figures.count_timed_out(row, self.now)
        decided: dict[str, Any] = {"deadline": row.deadline.isoformat()} if row.deadline else {}
        decided |= {"on_timeout": row.on_timeout} if row.kind == Kind.APPROVAL else {"default": row.default}
        rule = f"on_timeout {row.on_timeout}" if row.kind == Kind.APPROVAL else "default"
        self.record(row, Event.TIMED_OUT, DEADLINE, decided, status=Status.TIMED_OUT, allowed_by=rule)

    def respond(
        self,
        row: HumanRequest,
        actor: Actor,
        *,
        verdict: str = "",
        answer: Any = None,
        arguments: dict[str, Any] | None = None,
        comment: str,
        on_behalf_of_id: int | None = None,
    ) -> None:
        """Record this actor's vote or answer, as that of whom they stand for, if anybody."""
        said = Said(verdict=verdict, answer=answer, arguments=arguments, on_behalf_of_id=on_behalf_of_id)
        self.said[row.pk, actor.user_id] = said
        self._note_vote(row.pk, actor.user_id, said)
        if actor.link_id is not None:
            self._used_links.append(actor.link_id)
        self._responses.append(
            {
                "request_id": row.pk,
                "actor_id": actor.user_id,
                "on_behalf_of_id": on_behalf_of_id,
                "verdict": verdict,
                "answer": answer,
                "arguments": arguments,
                "comment": comment,
                "channel": actor.channel.value,
                "given_at": self.now,
            }
        )

    def record(
        self,
        row: HumanRequest,
        event: Event,
        actor: Actor,
        content: dict[str, Any],
        *,
        facts: Mapping[str, Any] | None = None,
        status: Status = Status.PENDING,
        allowed_by: str = "",
        on_behalf_of_id: int | None = None,
    ) -> None:
        """Add an entry to the request's trail. `status`: what the entry closed the request as, if it did.

        `content` was shown or said, and retention may remove it later; `facts` stay in the entry itself.
        """
        self._outcomes.pop(row.pk, None)
        person = self._person(actor)
        self._drafts.append(
            Draft(
                request=row,
                event=event,
                actor=actor,
                content={**content, "actor": person.username if person else None},
                policy=chain.policy_of(row),
                facts=facts or {},
                outcome="" if status is Status.PENDING else status.value,
                allowed_by=allowed_by,
                on_behalf_of_id=on_behalf_of_id,
            )
        )

    def write(self) -> None:
        """Write all changes, in a number of statements that does not grow with that of the commands."""
        self._record_the_stuck()
        drafts = chain.within_limits(self._drafts, self.now)
        links = chain.link_drafts(drafts, self.now)  # moves the heads of the trails, which the rows hold
        touched = ({draft.request.pk for draft in drafts} | set(self.changed)) - self._opened
        closed, others = touched & self.closed, touched - self.closed
        with together():
            bulk.insert(HumanRequest, [vars(self.rows[pk]) for pk in self._opened])
            self._save(closed, still=Status.PENDING.value)
            self._save(others)
            self._save_escalation()
            self._end_assignments(closed)
            self._write_assignments()
            bulk.insert(Response, self._responses)
            chain.append(links)
            self.removals.write()
            self.callbacks = callbacks.enqueue((self.rows[pk] for pk in self.closed), self.now)
            if tells_people():
                watches.add(self._opened, self.now)
                watches.wake((closed | _changed_for_people(drafts)) - self._opened, self.now)
            if self._used_links:
                bulk.set_field(Notification, "used_at", self.now, by="id", ids=self._used_links)

    def _record_the_stuck(self) -> None:
        """Record on the trail which requests too few people may decide, where it does not say so yet."""
        rows = {pk: row for pk, row in self._in_question.items() if row.status == Status.PENDING}
        if not rows:
            return
        unread = [row for pk, row in rows.items() if pk not in self.audiences]
        audiences = {**self.audiences, **people_reads.audiences(unread)}
        able = deciders.count_deciders_of_each({pk: audiences[pk] for pk in rows})
        short = {pk for pk, number in able.items() if number < rows[pk].required}
        for pk in short & self._approved_by_program(short):
            able[pk] += 1
        told = chain.stuck([pk for pk in short if pk not in self._reassigned])
        for pk in short - told:
            if able[pk] < rows[pk].required:
                said = {"required": rows[pk].required, "able": able[pk]}
                self.record(rows[pk], Event.STUCK, RULE, said, allowed_by=RULE.channel.value)

    def _approved_by_program(self, request_ids: Collection[UUID]) -> set[UUID]:
        if not request_ids:
            return set()
        given = Response.objects.filter(request_id__in=request_ids, actor=None, verdict=Verdict.APPROVE)
        new = {pk for pk in request_ids if None in self._approved_by[pk]}
        return new | set(given.values_list("request_id", flat=True))

    def _save(self, ids: set[UUID], still: str | None = None) -> None:
        rows = [vars(self.rows[pk]) for pk in ids]
        bulk.update(HumanRequest, rows, CHANGING_FIELDS, still=still)

    def _save_escalation(self) -> None:
        rows = [vars(self.rows[pk]) for pk in self._replanned - self._opened]
        bulk.update(HumanRequest, rows, ("escalated", "escalates_at"))

    def _end_assignments(self, closed: set[UUID]) -> None:
        """End the assignments of closed requests; skip those that are known to have none."""
        named = [pk for pk in closed if pk not in self.audiences or self.audiences[pk].assigned]
        if named:
            for model in (UserAssignment, GroupAssignment):
                bulk.set_field(model, "pending", False, by="request", ids=named)

    def _write_assignments(self) -> None:
        renamed = self._named - self._opened
        if renamed:
            UserAssignment.writing.filter(request_id__in=renamed).delete()
            GroupAssignment.writing.filter(request_id__in=renamed).delete()
        users, groups = [], []
        for pk in self._named:
            named, of_it = self.audiences[pk], {"request_id": pk, "pending": pk not in self.closed}
            users += [{**of_it, "user_id": user_id} for user_id in named.user_ids]
            groups += [{**of_it, "group_id": group_id} for group_id in named.group_ids]
        bulk.insert(UserAssignment, users)
        bulk.insert(GroupAssignment, groups)

    def _concerned(self, commands: Sequence[Command], *kinds: type[Command]) -> set[UUID]:
        """Return the ids of the rows that commands of these kinds name."""
        found = (self.find(command.request_id) for command in commands if isinstance(command, kinds))
        return {row.pk for row in found if row is not None}

    def _person(self, actor: Actor) -> permissions.Person | None:
        return None if actor.user_id is None else self.people.get(actor.user_id)


def _changed_for_people(drafts: Iterable[Draft]) -> set[UUID]:
    return {draft.request.pk for draft in drafts if draft.event in watches.CHANGES}


@lru_cache(maxsize=1024)
def _user(pk: int, username: str) -> Any:
    """Return a user object that has a name, for outcomes to say who has decided."""
    user = get_user_model()
    return user(pk=pk, **{user.USERNAME_FIELD: username})
