"""Settings of processes under test: the installation's own, and what may go wrong in them on purpose.

Read from the environment here, and nowhere in the product:
- `SAYSO_TEST_FAILPOINTS`: a JSON object of names and actions, or a folder. In a folder each file is armed for
  one process, once: the first to reach the place of that name takes the file away and does what it says.
- `SAYSO_TEST_CLOCK_SHIFT`: seconds that this process's clock is ahead of everybody else's.
- `SAYSO_TEST_BUSY_TIMEOUT`: seconds that SQLite waits for its lock.
- `SAYSO_TEST_LEDGER`: where steps note that they had their effect; see ledger.py.
"""

import json
import os
from pathlib import Path

from tests.faults.clock import shift_clock

if _seconds := float(os.environ.get("SAYSO_TEST_CLOCK_SHIFT", "0")):
    shift_clock(_seconds)  # before anything else is imported that might look at it

from config.settings import *  # noqa: F403


class _Armed(dict[str, str]):
    """Failpoints that tests arm while the process runs."""

    def __init__(self, folder: Path) -> None:
        super().__init__({"folder": str(folder)})  # not empty
        self._folder = folder

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]  # only strings
        taken = self._folder / f"{name}.{os.getpid()}"
        try:
            (self._folder / name).rename(taken)
        except FileNotFoundError:
            return default
        return taken.read_text().strip()


def _failpoints(said: str) -> dict[str, str]:
    if said.startswith("{"):
        return dict(json.loads(said))
    return _Armed(Path(said))


if _said := os.environ.get("SAYSO_TEST_FAILPOINTS"):
    SAYSO_FAILPOINTS = _failpoints(_said)

if _patience := os.environ.get("SAYSO_TEST_BUSY_TIMEOUT"):
    DATABASE["OPTIONS"]["timeout"] = float(_patience)  # noqa: F405  # the installation's

TEST_LEDGER = os.environ.get("SAYSO_TEST_LEDGER", "")
INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults"]  # noqa: F405  # has orchestrations of its own
ROOT_URLCONF = "tests.faults.urls"
