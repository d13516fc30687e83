"""What a step says about being done again: how often after an error, and whether unasked after a crash.

Pure, but for one context variable: the steps of an agent are repeated as the agent says, unless they say so
themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from approvals.exceptions import InvalidRequest

# Seconds between attempts: doubled each time, up to a bound.
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`retries`: further attempts after the first. `idempotent`: doing it twice is as good as once."""

    retries: int = 0
    idempotent: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.retries, int) or isinstance(self.retries, bool) or self.retries < 0:
            raise InvalidRequest("retries: must be a whole number, 0 or more.", field="retries")
        if not isinstance(self.idempotent, bool):
            raise InvalidRequest("idempotent: must be true or false.", field="idempotent")

    def attempts_left(self, made: int) -> bool:
        return made <= self.retries

    def may_restart(self, made: int) -> bool:
        """After `made` attempts, the last of them interrupted: may the step begin again, unasked?"""
        return self.idempotent or self.attempts_left(made)

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """Here, and in what is called from here, this is for steps that say nothing of their own."""
        token = _default.set(self)
        try:
            yield
        finally:
            _default.reset(token)


def retry_policy(retries: int | None, idempotent: bool | None) -> RetryPolicy:
    """As given; where it is not, as said by whoever the step belongs to. InvalidRequest names the field."""
    default = _default.get() or RetryPolicy()
    return RetryPolicy(
        retries=default.retries if retries is None else retries,
        idempotent=default.idempotent if idempotent is None else idempotent,
    )


def pause_after(attempts: int) -> float:
    """Seconds to wait before the next attempt."""
    return float(min(FIRST_PAUSE * 2 ** min(attempts - 1, 20), LONGEST_PAUSE))


_default: ContextVar[RetryPolicy | None] = ContextVar("sayso_repetition", default=None)
