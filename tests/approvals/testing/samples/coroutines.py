"""Tests of a project's own that are coroutines, by pytest-django and pytest-asyncio."""

from __future__ import annotations

import asyncio

import pytest
from django.contrib.auth.models import User

from approvals.gate import aopen_approval, request_approval
from approvals.testing.fixtures import Sayso


async def _approve_soon(sayso: Sayso) -> None:
    while not (requests := await sayso.apending()):  # noqa: ASYNC110 - as a project's own tests may
        await asyncio.sleep(0)
    await sayso.adecide(requests[0])


@pytest.mark.django_db
@pytest.mark.asyncio
async def test_a_coroutine_in_a_transaction_that_is_rolled_back(sayso: Sayso) -> None:
    asked, _ = await asyncio.gather(request_approval("Refund order 812"), _approve_soon(sayso))
    assert asked.approved
    await User.objects.acreate(username="rita")


@pytest.mark.django_db
def test_sees_nothing_of_it_afterwards(sayso: Sayso) -> None:
    assert not sayso.pending()
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.asyncio
async def test_a_coroutine_that_commits(sayso: Sayso) -> None:
    asked, _ = await asyncio.gather(request_approval("Refund order 812"), _approve_soon(sayso))
    assert asked.approved
    request_id = await aopen_approval("Refund order 813", timeout=5)
    await sayso.amove_time(6)
    assert not await sayso.apending(), request_id
