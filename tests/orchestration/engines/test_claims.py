"""Claims of single runs that are made together: nobody who asked for one is left waiting."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from orchestration.engines.claims import Claims
from orchestration.engines.jobs import Taken
from orchestration.runs.journal import Claimed
from tests.looking import until
from tests.stacks import WITH_WORKERS

pytestmark = pytest.mark.stacks(WITH_WORKERS)

NOBODYS: Taken = (None, None)


def claiming(claims: Claims) -> asyncio.Task[None]:
    assert claims._claiming is not None
    return claims._claiming


async def asked_for(claims: Claims, run_id: UUID) -> asyncio.Task[Claimed | None]:
    task = asyncio.create_task(claims.claim(run_id, NOBODYS))
    await until(lambda: run_id in claims._wanted)
    return task


@pytest.mark.parametrize("begun", [True, False], ids=["under way", "not begun"])
async def test_who_waits_for_a_claim_that_is_cancelled_waits_no_longer(stack: object, begun: bool) -> None:
    """As when the event loop ends: those in the batch, and those that have gathered meanwhile."""
    claims = Claims()
    tasks = [await asked_for(claims, uuid4())]
    if begun:
        await until(lambda: not claims._wanted)
    tasks.append(await asked_for(claims, uuid4()))
    claiming(claims).cancel()
    async with asyncio.timeout(30):
        assert all(
            isinstance(end, asyncio.CancelledError)
            for end in await asyncio.gather(*tasks, return_exceptions=True)
        )
        # And whoever comes next is served.
        assert await claims.claim(uuid4(), NOBODYS) is None
