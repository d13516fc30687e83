"""Marks that say which stacks a test runs on, where a fixture does not say it.

A module whose tests only show, word or refuse something is marked `one_stack`; in it, those tests whose SQL
could behave differently are marked with one of these.
"""

from __future__ import annotations

import pytest

from tests.stacks import WITH_WORKERS

# Each database once, and each layer.
both_databases = pytest.mark.stacks("sqlite-memory", "postgresql-redis")

# The same, and where workers of the job queue execute the runs.
every_engine = pytest.mark.stacks("sqlite-memory", "postgresql-redis", WITH_WORKERS)
