"""What runs while faults happen: errands whose every effect is noted outside the database, and a nuisance."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from pathlib import Path

from django.conf import settings

from orchestration import Run, orchestration
from tests.faults.ledger import Ledger


@orchestration("faults-errand", title="An errand")
async def errand(run: Run, *, questions: int = 1, repeatable: bool = False) -> list[str]:
    """Do something; then ask, and do the next thing, so many times. Each effect names the process."""
    effects = [await _perform(run, "begin", repeatable=repeatable)]
    for number in range(1, questions + 1):
        await run.approve(f"Question {number}", arguments={"run": str(run.id)}, key=f"ask-{number}")
        effects.append(await _perform(run, f"do-{number}", repeatable=repeatable))
    return effects


@orchestration("faults-held", title="A step that is held")
async def held(run: Run, *, until: str) -> list[str]:
    """Do something that is not over before this file is there."""
    result = await run.step("begin", _held_effect, str(run.id), "begin", Path(until), key="begin")
    return [str(result["effect"])]


@orchestration("faults-nap", title="A nap")
async def nap(run: Run, *, seconds: float) -> list[str]:
    """Sleep, then do something."""
    await run.sleep(seconds, key="nap")
    return [await _perform(run, "begin", repeatable=False)]


@orchestration("faults-poison", title="Ends its process")
async def poison(run: Run, *, until: str) -> list[str]:
    """End the process, as a crash of native code does, as long as this file is not there."""
    _end_the_process(Path(until))
    return [await _perform(run, "begin", repeatable=False)]


@orchestration("faults-blockade", title="Blocks the loop")
async def blockade(run: Run, *, seconds: float) -> None:
    """What no orchestration may do: keep its process's event loop for itself."""
    threading.Event().wait(seconds)


def _end_the_process(until: Path) -> None:
    if not until.exists():
        os.kill(os.getpid(), signal.SIGKILL)


async def _perform(run: Run, key: str, *, repeatable: bool) -> str:
    result = await run.step(key, _effect, str(run.id), key, key=key, idempotent=repeatable)
    return str(result["effect"])


def _effect(run_id: str, key: str) -> dict[str, str]:
    effect = f"{os.getpid()}/{secrets.token_hex(8)}"
    _ledger().performed(run_id, key, effect)
    return {"effect": effect}


def _held_effect(run_id: str, key: str, until: Path) -> dict[str, str]:
    effect = _effect(run_id, key)
    while not until.exists():
        threading.Event().wait(0.05)
    return effect


def _ledger() -> Ledger:
    path: str = getattr(settings, "TEST_LEDGER")  # noqa: B009  # only the settings of these tests have it
    return Ledger(path)
