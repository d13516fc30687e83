"""How long hypothesis searches, in every property: in the suite always the same examples, more by request.

`SAYSO_TEST_EXAMPLES=20` tries twenty times as many examples, other ones at each run; give pytest
`--timeout 0` then.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("SAYSO_TEST_EXAMPLES", "0"))


# Fixtures are made once a test, not for each example.
SHARED_FIXTURES = HealthCheck.function_scoped_fixture


def effort(examples: int = 100, *, steps: int = 50, allowed: tuple[HealthCheck, ...] = ()) -> settings:
    """`examples` in the suite. Databases and busy machines take their time: no example is too slow.

    `allowed` are further health checks that do not count.
    """
    return settings(
        max_examples=examples * max(TIMES, 1),
        stateful_step_count=steps,
        derandomize=not TIMES,
        database=None,
        deadline=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.filter_too_much,
            *allowed,
        ],
    )


# Of properties that name no effort.
settings.register_profile("suite", effort())
settings.load_profile("suite")
