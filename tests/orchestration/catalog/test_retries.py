"""What a step says about being done again."""

from __future__ import annotations

from typing import Any

import pytest

from approvals.exceptions import InvalidRequest
from orchestration.catalog import agent, agents
from orchestration.catalog import retries as module
from orchestration.catalog.retries import RetryPolicy, pause_after, retry_policy


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"retries": -1}, "retries"),
        ({"retries": 1.5}, "retries"),
        ({"retries": True}, "retries"),
        ({"retries": "3"}, "retries"),
        ({"idempotent": 1}, "idempotent"),
        ({"idempotent": "no"}, "idempotent"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(terms: dict[str, Any], field: str) -> None:
    """For a step, and for an agent when it is registered."""
    with pytest.raises(InvalidRequest) as of_step:
        retry_policy(**{"retries": None, "idempotent": None, **terms})
    with pytest.raises(InvalidRequest) as of_agent:
        agent("repetition_impossible", **terms)
    assert (of_step.value.field, of_agent.value.field) == (field, field)


def test_a_step_that_says_nothing_is_done_once() -> None:
    """Not tried again after an error, not repeated unasked."""
    terms = retry_policy(None, None)
    assert terms == RetryPolicy(retries=0, idempotent=False)
    assert not terms.attempts_left(1)
    assert not terms.may_restart(1)


def test_an_interruption_counts_as_an_attempt() -> None:
    """While attempts are left nobody is asked; for what is idempotent nobody ever is."""
    assert [RetryPolicy(retries=2).may_restart(made) for made in (1, 2, 3)] == [True, True, False]
    assert RetryPolicy(idempotent=True).may_restart(100)


async def test_an_agent_speaks_for_its_steps_unless_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says holds while it is called, and for nobody else."""
    seen = []

    @agent("repetition_careful", description="Repeats", retries=2, idempotent=True)
    async def careful(run: Any, action: str, arguments: dict[str, Any]) -> None:
        seen.append(retry_policy(None, None))
        seen.append(retry_policy(0, False))

    await agents()["repetition_careful"](None, "look", {})
    assert seen == [RetryPolicy(retries=2, idempotent=True), RetryPolicy()]
    assert retry_policy(None, None) == RetryPolicy()


def test_pauses_double_up_to_a_bound() -> None:
    """From a fraction of a second; no number of attempts makes them longer than the bound."""
    assert [pause_after(attempt) for attempt in (1, 2, 3)] == [0.25, 0.5, 1.0]
    assert pause_after(10_000) == module.LONGEST_PAUSE
