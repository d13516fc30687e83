"""What errors say on the record: their words, and no secret."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from approvals.database.threads import in_database
from orchestration.catalog import orchestration
from orchestration.exceptions import WORDS_LIMIT, plain_words
from orchestration.models import Run as RunRow
from orchestration.models import StepRecord
from orchestration.runs.run import Run
from orchestration.runtime import Runtime
from tests import factories
from tests.orchestration.people import begin
from tests.stacks import Stack

pytestmark = pytest.mark.one_stack

URL = "postgres://app:hunter2@db/x"


@orchestration("tests_leak")
async def leak(run: Run, *, where: str) -> None:
    def connect() -> None:
        raise ConnectionError(f"{URL} is away, tried with Bearer abcdef123456")

    if where == "step":
        await run.step("connect", connect)
    connect()


@pytest.mark.parametrize("where", ["step", "body"])
async def test_no_secret_of_an_error_is_recorded(runtime: Runtime, stack: Stack, where: str) -> None:
    """Neither of a step's nor of the run's own; what is left says where it happened."""
    owner: User = await in_database(factories.user, "ana")
    run = await begin(runtime, "tests_leak", owner, where=where)
    error = (await run.finished())["error"]
    assert error.endswith("ConnectionError: postgres://•••@db/x is away, tried with Bearer •••")
    rows = [
        *await in_database(lambda: list(RunRow.objects.values_list("error", flat=True))),
        *await in_database(lambda: list(StepRecord.objects.values_list("error", flat=True))),
    ]
    assert not [row for row in rows if "hunter2" in row or "abcdef" in row]


def test_a_secret_at_the_end_of_what_is_kept_is_masked() -> None:
    """Masked first, then cut."""
    words = plain_words(ValueError(f"{'x' * (WORDS_LIMIT - 40)} {URL}"))
    assert len(words) <= WORDS_LIMIT
    assert "hunter" not in words
