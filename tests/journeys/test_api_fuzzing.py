"""The API against its own description: schemathesis calls a real server with what fits, and what does not.

`SAYSO_TEST_EXAMPLES=20` tries twenty times as many examples, and on both databases.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from approvals.web.edge import tokens
from approvals.web.edge.tokens import Scope
from tests import factories as make
from tests.conftest import Serve
from tests.effort import TIMES
from tests.processes import Process, bare_environment

pytestmark = pytest.mark.processes

FUZZING = Path(__file__).parent / "fuzzing"
EXAMPLES = 8 * max(TIMES, 1)
# What a database refuses although the API takes it, PostgreSQL refuses.
STACKS = ("sqlite-memory", "postgresql-redis") if TIMES else ("postgresql-redis",)


@pytest.mark.timeout(300 * max(TIMES, 1))
@pytest.mark.stacks(*STACKS)
@pytest.mark.django_db
def test_the_api_answers_as_it_is_described(serve: Serve, tmp_path: Path) -> None:
    """Statuses, media types, shapes, methods; what fits is taken, what does not is refused, nothing breaks.

    For somebody who may do everything, so that no permission is in the way.
    """
    _, secret = tokens.issue(make.user(is_superuser=True).pk, "fuzzing", list(Scope))
    server = serve()
    with Process(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", FUZZING / "schemathesis.toml", "run"),
            *("--header", f"Authorization: Bearer {secret}"),
            *("--max-examples", str(EXAMPLES)),
            f"{server.url}/api/v1/openapi.json",
        ],
        environment=bare_environment() | {"SCHEMATHESIS_HOOKS": str(FUZZING / "hooks.py"), "NO_PROXY": "*"},
        directory=tmp_path,
        name="schemathesis",
    ) as fuzzing:
        assert fuzzing.wait(240 * max(TIMES, 1)) == 0, fuzzing.output.text
    assert "Traceback" not in server.output.text
