"""How often a step is tried again after an error, and whether it is repeated after a crash without asking.

Without Django; one context variable holds the policy of the agent whose steps are running.
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
    """When a step is repeated: `retries` more attempts after an error; after a crash if `idempotent`."""

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
        """Tell whether the step may begin again without asking, after `made` attempts and a crash."""
        return self.idempotent or self.attempts_left(made)

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """Use this policy for steps within the block that have none of their own."""
        token = _default.set(self)
        try:
            yield
        finally:
            _default.reset(token)


def retry_policy(retries: int | None, idempotent: bool | None) -> RetryPolicy:
    """Return the policy as given, the agent's where it is None; InvalidRequest names the field."""
    default = _default.get() or RetryPolicy()
    return RetryPolicy(
        retries=default.retries if retries is None else retries,
        idempotent=default.idempotent if idempotent is None else idempotent,
    )


def pause_after(attempts: int) -> float:
    """Return the seconds to wait before the next attempt."""
    return float(min(FIRST_PAUSE * 2 ** min(attempts - 1, 20), LONGEST_PAUSE))


_default: ContextVar[RetryPolicy | None] = ContextVar("sayso_repetition", default=None)
