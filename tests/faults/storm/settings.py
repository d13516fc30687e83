"""Settings of the processes in a storm: those under test, and where the orchestrations find the ledger."""

import os

from tests.faults.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.storm"]  # noqa: F405
# The newest version of the storm's orchestration that this process knows.
STORM_NEWEST = int(os.environ.get("SAYSO_TEST_STORM_NEWEST", "2"))
STORM_LEDGER = os.environ.get("SAYSO_TEST_STORM_LEDGER", os.devnull)
# Seconds for which what somebody is told is claimed by a process; None: as it is.
STORM_CLAIM = float(os.environ.get("SAYSO_TEST_STORM_CLAIM", "0")) or None
