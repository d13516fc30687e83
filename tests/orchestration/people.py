"""A run and the people it depends on, as a test plays them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User

from approvals import deciding
from approvals.domain.lifecycle import Outcome
from orchestration.runtime import Runtime
from tests import factories
from tests.orchestration import watching


@dataclass(frozen=True, slots=True)
class Attended:
    """A run whose next request `owner` decides, unless another person is named."""

    run_id: UUID
    owner: User

    async def asked(self, title: str | None = None) -> dict[str, Any]:
        return await watching.asked(self.run_id, title)

    async def approve(self, title: str | None = None, **terms: Any) -> dict[str, Any]:
        """Approve the next request; returns it as it was asked."""
        return await self._decide("approve", title, **terms)

    async def reject(self, comment: str = "", title: str | None = None, **terms: Any) -> dict[str, Any]:
        return await self._decide("reject", title, comment=comment, **terms)

    async def answer(self, answer: Any, title: str | None = None, by: User | None = None) -> dict[str, Any]:
        request = await self.asked(title)
        await deciding.aanswer(factories.actor(by or self.owner), request["id"], answer)
        return request

    async def finished(self) -> dict[str, Any]:
        return await watching.finished(self.run_id)

    async def _decide(
        self, verdict: str, title: str | None, *, by: User | None = None, closes: bool = True, **terms: Any
    ) -> dict[str, Any]:
        request = await self.asked(title)
        outcome: Outcome = await deciding.adecide(
            factories.actor(by or self.owner), request["id"], verdict, **terms
        )
        assert outcome.closed is closes
        return request


async def begin(runtime: Runtime, name: str, owner: User, **given: Any) -> Attended:
    """Start the orchestration `name` for `owner` in this process."""
    return Attended(await runtime.manager.astart(name, given, owner=owner), owner)
