"""What the decision service promises, in small: what each command must be answered, and what it must leave.

Values only, and every state is kept: the states that came of one order of commands can be held against those
of another. Nothing is taken from the code under test but the words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias
from uuid import UUID

from approvals.domain.commands import (
    Actor,
    Answer,
    Command,
    Comment,
    Decision,
    Expire,
    Keyed,
    OpenRequest,
    Reassign,
    Reference,
    Reschedule,
    View,
    Withdraw,
)

Who: TypeAlias = int | None
"""A person of the cast; None is the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    name: str
    active: bool = True
    may: frozenset[str] = frozenset()
    group: int | None = None


PROGRAM = 0
DESK = 1

CAST: Mapping[int, Person] = MappingProxyType(
    {
        1: Person(name="ann", may=frozenset({"decide"})),
        2: Person(name="bob", may=frozenset({"decide"})),
        3: Person(name="gus", may=frozenset({"decide"}), group=DESK),
        4: Person(name="mia", may=frozenset({"change"})),
        5: Person(name="vic", may=frozenset({"view"})),
        6: Person(name="eve"),
        7: Person(name="ina", may=frozenset({"decide", "change", "view"}), active=False, group=DESK),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One of the trail, refusals apart; `outcome` is empty unless it closed the request."""

    event: str
    who: Who
    outcome: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request as it must be on record. `due`: its deadline has passed; `said`: who has said what.

    `remark` is what was said about it last. `refused` names whom its trail has refused; when, makes no
    difference to anybody.
    """

    asked: OpenRequest = field(hash=False)
    round: int
    users: frozenset[int]
    groups: frozenset[int]
    due: bool
    status: str = "pending"
    said: frozenset[tuple[Who, str]] = frozenset()
    approvals: int = 0
    decided_by: Who = None
    answer: str | None = None
    arguments: str | None = None
    comment: str = ""
    rescheduled: bool = False
    remark: tuple[Who, str, bool] | None = None
    trail: tuple[Entry, ...] = ()
    refused: tuple[int, ...] = ()

    @property
    def id(self) -> UUID:
        return self.asked.request_id

    @property
    def approved(self) -> bool | None:
        if self.asked.kind != "approval" or self.status == "pending":
            return None
        return self.status == "approved" or (
            self.status == "timed_out" and self.asked.on_timeout == "approve"
        )

    @property
    def has_deadline(self) -> bool:
        return self.rescheduled or self.asked.timeout is not None

    def earlier_words(self, who: Who) -> str | None:
        return dict(self.said).get(who)

    def noted(self, event: str, who: Who, outcome: str = "") -> Question:
        return replace(self, trail=(*self.trail, Entry(event=event, who=who, outcome=outcome)))

    def having_refused(self, who: Who) -> Question:
        return replace(self, refused=tuple(sorted((*self.refused, who or PROGRAM))))

    def closed(self, event: str, who: Who, status: str, comment: str = "") -> Question:
        ended = replace(self, status=status, decided_by=who, comment=comment)
        return ended.noted(event, who, status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the caller must be told: the refusal's `code`, or what is on record and whether that is news."""

    code: str = ""
    changed: bool = False
    told: Question | None = None


World: TypeAlias = Mapping[UUID, Question]


def judge(world: World, command: Command) -> tuple[World, Reply]:
    """What the command must be answered in this state, and the state that it must leave."""
    if isinstance(command, OpenRequest):
        return _asked(world, command)
    question = _found(world, command.request_id)
    if question is None:
        return world, Reply(code="unknown_request")
    after, reply = _judged(question, command)
    return {**world, after.id: after}, reply


def time_passes(world: World, request_id: UUID) -> World:
    """The request's deadline goes by, and nobody has looked yet."""
    return {**world, request_id: replace(world[request_id], due=True)}


# Asking


def _asked(world: World, command: OpenRequest) -> tuple[World, Reply]:
    if command.request_id in world:
        return world, Reply(told=world[command.request_id])
    earlier = _found(world, Keyed(key_scope=command.key_scope, key=command.key)) if command.key else None
    if earlier is not None and (earlier.status == "pending" or not command.new_round):
        return world, _attached(command, earlier)
    question = Question(
        asked=command,
        round=earlier.round + 1 if earlier else 1,
        users=frozenset(command.user_ids),
        groups=frozenset(command.group_ids),
        due=command.timeout == 0,
        arguments=words(command.arguments),
    ).noted("opened", command.actor.user_id)
    return {**world, question.id: question}, Reply(changed=True, told=question)


def _attached(command: OpenRequest, earlier: Question) -> Reply:
    same = _meaning(command) == _meaning(earlier.asked)
    return Reply(code="" if same else "key_conflict", told=earlier)


def _meaning(asked: OpenRequest) -> tuple[object, ...]:
    """All that an answer depends on; neither who asks nor until when."""
    return (
        *(asked.kind, asked.title, words(asked.arguments), asked.editable, asked.default),
        *(asked.severity, asked.highlight),
        *(asked.required, asked.four_eyes, asked.on_timeout, asked.user_ids, asked.group_ids),
    )


def _found(world: World, reference: Reference) -> Question | None:
    if isinstance(reference, UUID):
        return world.get(reference)
    rounds = [one for one in world.values() if one.asked.key == reference.key]
    return max(rounds, key=lambda one: one.round, default=None)


# Deciding and ending


def _judged(question: Question, command: Command) -> tuple[Question, Reply]:
    match command:
        case Decision():
            return _decided(question, command)
        case Answer():
            return _answered(question, command)
        case Withdraw():
            return _withdrawn(question, command)
        case Reassign():
            return _reassigned(question, command)
        case Reschedule():
            return _rescheduled(question, command)
        case Comment():
            return _commented(question, command)
        case View():
            return _viewed(question, command)
        case Expire():
            return _expired(question)
    raise TypeError(f"the model knows no {command}")


def _decided(question: Question, command: Decision) -> tuple[Question, Reply]:
    who, said = command.actor.user_id, words([command.verdict, command.arguments])
    if not _decides(question, who):
        return _not_allowed(question, command.actor)
    if question.asked.kind != "approval":
        return question, Reply(code="invalid")
    if question.earlier_words(who) == said:
        return _voted_again(question, command)
    if question.status != "pending" or question.due or question.earlier_words(who) is not None:
        return _too_late_or_not_first(question, who)
    if command.arguments is not None and question.asked.editable is False:
        return question, Reply(code="invalid")
    after = replace(
        question,
        said=question.said | {(who, said)},
        approvals=question.approvals + (command.verdict == "approve"),
        arguments=question.arguments if command.arguments is None else words(command.arguments),
    )
    if command.verdict == "reject":
        after = after.closed("decided", who, "rejected", command.comment)
    elif _enough_count(after):
        after = after.closed("decided", who, "approved", command.comment)
    else:
        after = after.noted("decided", who)
    return after, Reply(changed=True, told=after)


def _voted_again(question: Question, command: Decision) -> tuple[Question, Reply]:
    """Of no effect, unless by now enough of those who have approved may decide (again)."""
    several = question.asked.required > 1 and command.verdict == "approve"
    if question.status != "pending" or question.due or not several or not _enough_count(question):
        return question, Reply(told=question)
    after = question.closed("decided", command.actor.user_id, "approved", command.comment)
    return after, Reply(changed=True, told=after)


def _enough_count(question: Question) -> bool:
    """Whether as many have approved as must, of those who may decide now."""
    approved = [who for who, said in question.said if json.loads(said)[0] == "approve"]
    return sum(_decides(question, who) for who in approved) >= question.asked.required


def _answered(question: Question, command: Answer) -> tuple[Question, Reply]:
    who, said = command.actor.user_id, words(command.answer)
    if not _decides(question, who):
        return _not_allowed(question, command.actor)
    if question.asked.kind != "clarification":
        return question, Reply(code="invalid")
    if question.earlier_words(who) == said:
        return question, Reply(told=question)
    if question.status != "pending" or question.due:
        return _too_late_or_not_first(question, who)
    after = replace(question, said=question.said | {(who, said)}, answer=command.answer)
    after = after.closed("answered", who, "answered", command.comment)
    return after, Reply(changed=True, told=after)


def _withdrawn(question: Question, command: Withdraw) -> tuple[Question, Reply]:
    who = command.actor.user_id
    if not (who is None or _is_active(who, who == question.asked.requester_id or _holds(who, "change"))):
        return _not_allowed(question, command.actor)
    if question.status == "withdrawn" and question.decided_by == who:
        return question, Reply(told=question)
    if question.status != "pending" or question.due:
        return _too_late_or_not_first(question, who)
    after = question.closed("withdrawn", who, "withdrawn", command.reason)
    return after, Reply(changed=True, told=after)


def _reassigned(question: Question, command: Reassign) -> tuple[Question, Reply]:
    who = command.actor.user_id
    to = (frozenset(command.user_ids), frozenset(command.group_ids))
    handed_on = [entry.who for entry in question.trail if entry.event == "reassigned"]
    if handed_on[-1:] == [who] and to == (question.users, question.groups) and _is_active(who, True):
        return question, Reply(told=question if _sees(question, who) else _as_left(question))
    if not (who is None or _is_active(who, _is_named(question, who) or _holds(who, "change"))):
        return _not_allowed(question, command.actor)
    if question.status != "pending" or question.due:
        return _too_late_or_not_first(question, who)
    after = replace(question, users=to[0], groups=to[1]).noted("reassigned", who)
    return after, Reply(changed=True, told=after)


def _rescheduled(question: Question, command: Reschedule) -> tuple[Question, Reply]:
    if question.rescheduled or question.status != "pending":
        return question, Reply(told=question)
    if question.due:
        return _expired(question)
    after = replace(question, rescheduled=True, due=command.timeout == 0)
    after = after.noted("rescheduled", command.actor.user_id)
    return after, Reply(changed=True, told=after)


def _commented(question: Question, command: Comment) -> tuple[Question, Reply]:
    """Said again at once, it is the same; said late, the deadline is noticed and it stands after the end."""
    who = command.actor.user_id
    remark = (who, command.text, command.question)
    if not _sees(question, who):
        return _not_allowed(question, command.actor)
    if question.remark == remark:
        return question, Reply(told=question)
    if question.status == "pending" and question.due:
        question = _timed_out(question)
    event = "questioned" if command.question else "commented"
    after = replace(question, remark=remark).noted(event, who)
    return after, Reply(changed=True, told=after)


def _viewed(question: Question, command: View) -> tuple[Question, Reply]:
    who = command.actor.user_id
    if not _sees(question, who):
        return _not_allowed(question, command.actor)
    seen = Entry(event="viewed", who=who)
    after = question if seen in question.trail else question.noted("viewed", who)
    return after, Reply(told=after)


def _expired(question: Question) -> tuple[Question, Reply]:
    if question.status != "pending" or not question.due:
        return question, Reply(told=question)
    after = _timed_out(question)
    return after, Reply(changed=True, told=after)


def _timed_out(question: Question) -> Question:
    return replace(question, answer=question.asked.default).closed("timed_out", None, "timed_out")


# Refusing


def _not_allowed(question: Question, actor: Actor) -> tuple[Question, Reply]:
    code = "not_permitted" if _sees(question, actor.user_id) else "unknown_request"
    return question.having_refused(actor.user_id), Reply(code=code)


def _too_late_or_not_first(question: Question, who: Who) -> tuple[Question, Reply]:
    """An overdue request is timed out by whoever is the first to be late."""
    if question.status == "pending" and question.due:
        question = _timed_out(question)
    code = "too_late" if question.status == "timed_out" else "already_decided"
    return question.having_refused(who), Reply(code=code, told=question)


def _as_left(question: Question) -> Question:
    """All that is told to who handed it on and may not see it any more."""
    return replace(
        question,
        status="pending",
        decided_by=None,
        answer=None,
        comment="",
        arguments=words(question.asked.arguments),
    )


# Who may


def _decides(question: Question, who: Who) -> bool:
    if who is None:
        return True
    handed_on = {entry.who for entry in question.trail if entry.event == "reassigned"}
    if question.asked.four_eyes and who in {question.asked.requester_id, *handed_on}:
        return False
    open_to_all = not question.users and not question.groups
    return _is_active(who, _is_named(question, who) or (open_to_all and _holds(who, "decide")))


def _sees(question: Question, who: Who) -> bool:
    if who is None:
        return True
    concerned = who == question.asked.requester_id or _is_named(question, who)
    open_to_all = not question.users and not question.groups
    return _is_active(who, concerned or _holds(who, "view") or (open_to_all and _holds(who, "decide")))


def _is_named(question: Question, who: int) -> bool:
    return who in question.users or CAST[who].group in question.groups


def _holds(who: int, permission: str) -> bool:
    return permission in CAST[who].may


def _is_active(who: Who, otherwise: bool) -> bool:
    return otherwise and (who is None or CAST[who].active)


def words(value: Any) -> str:
    """JSON that can be compared and kept in sets."""
    return json.dumps(value, sort_keys=True)
