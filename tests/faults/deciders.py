"""People and keepers as processes of their own, who note in a ledger what each command was told.

    python -m tests.faults.deciders decide LEDGER USERNAME
    python -m tests.faults.deciders expire LEDGER NAME
    python -m tests.faults.deciders write LEDGER USERNAME

Each says "ready", reads from its standard input, as one line of JSON, what to do, and ends by saying what it
did: `{"commands": …, "slowest": seconds}`.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import django

from tests.faults.ledger import Ledger

T = TypeVar("T")

# A request, when to do something about it, and what a decider says to it.
Wanted: TypeAlias = tuple[str, float, str]

# Seconds around the moment that is given in which each of them acts.
JITTER = 0.02
HANDS = 8


class Clerk:
    """Has commands carried out, and notes what it was told."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        from django.contrib.auth import get_user_model

        from approvals.domain.commands import Actor, Channel

        self._ledger = ledger
        self._name = name
        user = get_user_model()._default_manager.filter(username=name).first()
        self._actor = Actor(user_id=user.pk, channel=Channel.COMMAND) if user else Actor.program()
        self._counting = threading.Lock()
        self.commands = 0
        self.slowest = 0.0

    def ask(self, title: str) -> str:
        from approvals import gate

        request_id = self._timed(lambda: gate.open_approval(title, actor=self._actor, timeout=None))
        self._ledger.asked(self._name, request_id)
        return request_id

    def decide(self, request_id: str, verdict: str) -> None:
        from approvals import deciding
        from approvals.exceptions import AlreadyDecided, TooLate
        from approvals.queries import outcome_on_the_wire

        try:
            outcome = self._timed(lambda: deciding.decide(self._actor, request_id, verdict))
        except (AlreadyDecided, TooLate) as error:
            told = outcome_on_the_wire(error.outcome) if error.outcome else None
            self._ledger.refused(self._name, request_id, error.code, told)
        else:
            self._ledger.decided(self._name, request_id, verdict, outcome_on_the_wire(outcome))

    def expire(self, request_id: str) -> bool:
        """Is it over?"""
        from approvals.domain.commands import Accepted, Expire
        from approvals.queries import outcome_on_the_wire
        from approvals.writer import queue

        result = self._timed(queue.submit(Expire(request_id=UUID(request_id))).result)
        if not isinstance(result, Accepted):
            raise TypeError(result)
        if result.outcome.closed:
            self._ledger.waited(self._name, request_id, outcome_on_the_wire(result.outcome))
        return result.outcome.closed

    def _timed(self, command: Callable[[], T]) -> T:
        began = time.monotonic()
        try:
            return command()
        finally:
            with self._counting:
                self.commands += 1
                self.slowest = max(self.slowest, time.monotonic() - began)


def decide_at_their_moments(clerk: Clerk, requests: list[Wanted]) -> None:
    in_time(requests, clerk.decide)


def expire_until_over(clerk: Clerk, requests: list[Wanted]) -> None:
    over = in_time(requests, lambda request_id, _: clerk.expire(request_id))
    left = [request_id for (request_id, _, _), is_over in zip(requests, over, strict=True) if not is_over]
    while left:
        left = [request_id for request_id in left if not clerk.expire(request_id)]


def ask_and_decide(clerk: Clerk, *, rounds: int | None, seconds: float | None, shared: list[str]) -> None:
    """Ask, decide what was asked, and be one of all who decide the same."""
    end = None if seconds is None else time.monotonic() + seconds
    for number in itertools.count() if rounds is None else range(rounds):
        clerk.decide(clerk.ask(f"Request {number}"), "approve")
        if number < len(shared):
            clerk.decide(shared[number], "reject")
        if end is not None and time.monotonic() > end:
            break


def in_time(requests: list[Wanted], act: Callable[[str, str], T]) -> list[T]:
    """Act on each request at about its moment (seconds since the epoch), several hands at a time."""

    def at_its_moment(wanted: Wanted) -> T:
        request_id, moment, verdict = wanted
        until = moment + random.uniform(-JITTER, JITTER) - time.time()
        threading.Event().wait(max(until, 0))
        return act(request_id, verdict)

    with ThreadPoolExecutor(HANDS) as hands:
        return list(hands.map(at_its_moment, requests))


def main(role: str, ledger: str, name: str) -> None:
    django.setup()
    clerk = Clerk(Ledger(ledger), name)
    print("ready", flush=True)
    task: Any = json.loads(sys.stdin.readline())
    match role:
        case "decide":
            decide_at_their_moments(clerk, task)
        case "expire":
            expire_until_over(clerk, task)
        case "write":
            ask_and_decide(clerk, **task)
    print(json.dumps({"commands": clerk.commands, "slowest": round(clerk.slowest, 3)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
