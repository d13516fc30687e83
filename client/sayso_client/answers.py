"""What the server tells: requests and outcomes, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Self

from sayso_client.errors import Rejected, Responded, TimedOut, Withdrawn

PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a request has come to, as recorded.

    `approved` is None for questions and while pending. `arguments` are as finally approved, with the types
    that they were asked with; `edited` says that the approver has changed them. `raw` is what the server
    sent.
    """

    request_id: str
    kind: str
    status: str
    approved: bool | None = None
    answer: Any = None
    arguments: Any = None
    comment: str = ""
    decided_by: str | None = None
    decided_at: datetime | None = None
    timed_out: bool = False
    withdrawn: bool = False
    edited: bool = False
    url: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Make it of the server's JSON; what this client does not know yet is in `raw`."""
        known = {one.name for one in fields(cls)} - {"raw", "decided_at"}
        at = told.get("decided_at")
        return cls(
            **{name: told[name] for name in known & told.keys()},
            decided_at=None if at is None else datetime.fromisoformat(at),
            raw=dict(told),
        )

    @property
    def responded(self) -> bool:
        """Whether somebody gave a text (`answer`) instead of approving: nothing may be done."""
        return self.kind == "approval" and self.status == "answered"

    @property
    def closed(self) -> bool:
        """Whether there is an outcome: it is not pending any more."""
        return self.status != PENDING

    def reason(self) -> str:
        """Return one sentence for a model: what was decided, by whom, and why."""
        said = f": {self.comment}" if self.comment else "."
        by = f" by {self.decided_by}" if self.decided_by else ""
        if self.status == PENDING:
            return "Nobody has decided yet."
        if self.withdrawn:
            return f"The question was taken back{said}"
        if self.timed_out:
            return (
                "Nobody decided in time, which approves it." if self.approved else "Nobody decided in time."
            )
        if self.kind == "clarification" or self.responded:
            return f"Answered{by}: {self.answer}"
        changed = " with changed arguments" if self.edited else ""
        return f"{'Approved' if self.approved else 'Rejected'}{by}{changed}{said}"

    def raise_for_refusal(self) -> Self:
        """Return the outcome if the answer is yes, or there is an answer; else raise what says why not.

        `Withdrawn`, `TimedOut` (a question's default is an answer), `Responded` (a `Rejected`, where
        somebody gave a text instead) or `Rejected`, each with `outcome`.
        """
        if self.withdrawn:
            raise Withdrawn(self)
        if self.timed_out and not self.approved and self.answer is None:
            raise TimedOut(self)
        if self.responded:
            raise Responded(self)
        if self.approved is False:
            raise Rejected(self)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as the server tells it: its `id`, `url` and state; all of it is in `raw`."""

    id: str
    kind: str
    title: str
    status: str
    url: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Make it of the server's JSON."""
        names = ("id", "kind", "title", "status", "url")
        return cls(**{name: told[name] for name in names if name in told}, raw=dict(told))
