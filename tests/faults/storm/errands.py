"""What is asked, and what people mean to do about it: a pure function of the seed and the errand's number."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.faults.storm.failures import FAILURES, PLACES

ASKER = "asker"
DECIDERS = ("ann", "bob", "eve", "joe")
# Who is away all the time, and who stands for them, without a say of their own.
AWAY, STANDIN = "eve", "max"
PEOPLE = (ASKER, *DECIDERS, STANDIN)
# In quiet hours all the time.
QUIET = "joe"
# What people hear of by mail; who is not named has unsubscribed.
HEARS: Mapping[str, Sequence[str]] = {
    ASKER: ("closed",),
    "ann": ("opened", "reminder"),
    QUIET: ("opened", "reminder"),
    STANDIN: ("opened", "reminder"),
}
# Who reads their messages, and may decide by the links in them.
READERS = ("ann", STANDIN)
CHOICES = ("red", "green", "blue")
WITHDRAW = "withdraw"

ORCHESTRATION = "storm-errand"
# The step that only its second version has, first of all.
BEGINNING = "effect-begin"
# What a run goes on with that did not care to wait for an answer.
LEFT = "left"

RUN, PROGRAM = "Errand", "Program"
TITLE = re.compile(rf"({RUN}|{PROGRAM}) (\d+) question (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What somebody does, so many seconds after the question was opened, or earlier when all hurry."""

    person: str
    after: float
    says: Any
    by_socket: bool = False
    by_link: bool = False
    # It is part of a race against a deadline: hurrying would spoil it.
    punctual: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Asked in these terms; `moves`: who does what about it."""

    title: str
    kind: str
    terms: Mapping[str, Any]
    moves: tuple[Move, ...]
    assignees: tuple[str, ...] = ()
    # Seconds that its run sleeps before it asks; that it waits for an answer, if not until there is one.
    nap: float = 0.0
    patience: float | None = None

    def as_input(self) -> dict[str, Any]:
        """For an orchestration. Naming nobody means whoever may decide, not the run's owner."""
        terms = {**self.terms, "assignees": list(self.assignees)}
        return {
            "kind": self.kind,
            "title": self.title,
            "terms": terms,
            "nap": self.nap,
            "patience": self.patience,
        }

    def as_body(self, key: str) -> dict[str, Any]:
        """For the API."""
        names = {"users": list(self.assignees)} if self.assignees else {"reviewers": True}
        return {"kind": self.kind, "title": self.title, **self.terms, "assignees": names, "key": key}

    def may_decide(self, person: str) -> bool:
        person = AWAY if person == STANDIN else person
        if self.assignees:
            return person in self.assignees
        return not (self.terms.get("four_eyes") and person == ASKER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One run, with its questions in order; or a plain program with just one."""

    name: str
    questions: tuple[Question, ...]
    repeatable: bool
    slow: bool
    cancelled_after: float | None
    # What it raises after the last answer, and where: see failures.py.
    fails: str = ""
    place: str = ""
    # When it has failed, or was rejected, somebody lets it go on.
    resumed: bool = False

    @property
    def key(self) -> str:
        return self.name.lower().replace(" ", "-")

    def as_input(self) -> dict[str, Any]:
        """What the orchestration takes."""
        questions = [each.as_input() for each in self.questions]
        return {
            "questions": questions,
            "repeatable": self.repeatable,
            "slow": self.slow,
            "fails": self.fails,
            "place": self.place,
        }


def errand(seed: int, number: int, *, thinking: float) -> Errand:
    """`thinking`: seconds that people take for an answer, on average."""
    name = f"{RUN} {number}"
    dice = random.Random(f"{seed} {name}")
    length = dice.choices((1, 2, 3), (5, 3, 2))[0]
    return Errand(
        name=name,
        questions=tuple(_of_a_run(dice, f"{name} question {index}", thinking) for index in range(length)),
        repeatable=dice.random() < 0.5,
        slow=dice.random() < 0.3,
        cancelled_after=dice.uniform(0.5, 2 * thinking) if dice.random() < 0.04 else None,
        fails=dice.choice(list(FAILURES)) if dice.random() < 0.12 else "",
        place=dice.choice(PLACES),
        resumed=dice.random() < 0.15,
    )


def errand_of(key: str, seed: int, *, thinking: float) -> Errand:
    """The errand whose run has this key."""
    return errand(seed, int(key.rpartition("-")[2]), thinking=thinking)


def program(seed: int, number: int, *, thinking: float) -> Errand:
    """A plain program's errand: one question, soon answered, for it waits on an open connection."""
    name = f"{PROGRAM} {number}"
    dice = random.Random(f"{seed} {name}")
    question = _question(dice, f"{name} question 0", thinking / 4)
    return Errand(name=name, questions=(question,), repeatable=False, slow=False, cancelled_after=None)


def question_of(title: str, seed: int, *, thinking: float) -> Question | None:
    """The question of this title; None: it is none of the storm's own."""
    parts = TITLE.fullmatch(title)
    if parts is None:
        return None
    make = errand if parts[1] == RUN else program
    return make(seed, int(parts[2]), thinking=thinking).questions[int(parts[3])]


# --- The kinds of questions ---


LONGEST_NAP = 20.0


def _of_a_run(dice: random.Random, title: str, thinking: float) -> Question:
    """Only a run sleeps before it asks; and it may not care for the answer for long."""
    question = _question(dice, title, thinking)
    if dice.random() < 0.3:
        question = replace(question, nap=round(dice.uniform(0.5, min(LONGEST_NAP, thinking)), 1))
    if dice.random() < 0.06:
        # Nobody answers, and no deadline is kept.
        terms = {name: value for name, value in question.terms.items() if name != "on_timeout"}
        terms["timeout"] = None
        question = replace(question, terms=terms, moves=(), patience=round(dice.uniform(0.5, 5), 1))
    return question


def _question(dice: random.Random, title: str, thinking: float) -> Question:
    make = dice.choices(list(_KINDS), list(_KINDS.values()))[0]
    return replace(make(dice, dice.uniform(0.1, 2 * thinking)), title=title)


def _plain(dice: random.Random, after: float) -> Question:
    return _approval(dice, [_move(dice, after)])


def _answered(dice: random.Random, after: float) -> Question:
    return _clarification(dice, [_move(dice, after)])


def _race(dice: random.Random, after: float) -> Question:
    """Several at the same moment, of several opinions."""
    moves = [_move(dice, after, person) for person in dice.sample(DECIDERS, dice.randint(2, 4))]
    return _approval(dice, moves) if dice.random() < 0.6 else _clarification(dice, moves)


def _overdue(dice: random.Random, after: float) -> Question:
    """Nobody says anything."""
    timeout = round(dice.uniform(1, 20), 1)
    if dice.random() < 0.5:
        return _approval(dice, [], timeout=timeout, on_timeout=dice.choice(("approve", "reject")))
    return _clarification(dice, [], timeout=timeout)


def _at_the_deadline(dice: random.Random, after: float) -> Question:
    timeout = round(dice.uniform(2, 20), 1)
    moves = [
        replace(_move(dice, timeout + dice.uniform(-0.4, 0.1), person), punctual=True, by_link=False)
        for person in dice.sample(DECIDERS, dice.randint(1, 3))
    ]
    return _approval(dice, moves, timeout=timeout, on_timeout=dice.choice(("approve", "reject")))


def _quorum(dice: random.Random, after: float) -> Question:
    moves = [_move(dice, after * dice.uniform(0.5, 1), person) for person in dice.sample(DECIDERS, 3)]
    return _approval(dice, moves, required=2)


def _assigned(dice: random.Random, after: float) -> Question:
    """Somebody who may not decide it tries, too."""
    people = dice.sample(DECIDERS, 2)
    question = _approval(dice, [_move(dice, after, person) for person in people])
    return replace(question, assignees=(people[0],))


def _four_eyes(dice: random.Random, after: float) -> Question:
    return _approval(dice, [_move(dice, after / 2, ASKER), _move(dice, after)], four_eyes=True)


def _withdrawn(dice: random.Random, after: float) -> Question:
    moves = [Move(person=ASKER, after=after, says=WITHDRAW)]
    if dice.random() < 0.5:  # while somebody decides
        moves.append(_move(dice, after))
    return _approval(dice, moves)


_KINDS: Mapping[Callable[[random.Random, float], Question], int] = {
    _plain: 30,
    _answered: 15,
    _race: 16,
    _overdue: 10,
    _at_the_deadline: 10,
    _quorum: 7,
    _assigned: 4,
    _four_eyes: 4,
    _withdrawn: 4,
}


def _approval(
    dice: random.Random, moves: Sequence[Move], *, timeout: float | None = None, **terms: Any
) -> Question:
    arguments = {"order": dice.randrange(10_000), "amount": f"{dice.randrange(100_000) / 100:.2f}"}
    terms = {"arguments": arguments, "timeout": timeout, **terms}
    return Question(title="", kind="approval", terms=terms, moves=tuple(moves))


def _clarification(dice: random.Random, moves: Sequence[Move], *, timeout: float | None = None) -> Question:
    """Answered by one of the choices. The default is one of them, or there is none."""
    terms: dict[str, Any] = {"choices": list(CHOICES), "timeout": timeout}
    if dice.random() < 0.7:
        terms["default"] = dice.choice(CHOICES)
    answers = tuple(replace(move, says=dice.choice(CHOICES)) for move in moves)
    return Question(title="", kind="clarification", terms=terms, moves=answers)


def _move(dice: random.Random, after: float, person: str = "") -> Move:
    """By the person, or, where that one is away, mostly by who stands for them."""
    person = person or dice.choice(DECIDERS)
    if person == AWAY and dice.random() < 0.8:
        person = STANDIN
    says = "approve" if dice.random() < 0.75 else "reject"
    how = dice.random()
    return Move(
        person=person,
        after=after,
        says=says,
        by_socket=how < 0.2 and person != ASKER,
        by_link=how > 0.6 and person in READERS,
    )
