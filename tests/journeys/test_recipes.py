"""The recipe of docs/recipes.md that needs no client: curl, and an address that resumes a workflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sayso_client.webhooks import verify

from approvals.models import HumanRequest
from approvals.web.edge import tokens
from tests import factories as make
from tests.approvals.delivery.webhooks.receiver import Posted, receiver
from tests.conftest import Manage, Serve, program_of_the_machine
from tests.documents import examples
from tests.processes import Process, bare_environment

pytestmark = [pytest.mark.django_db, pytest.mark.processes, pytest.mark.one_stack]

ALLOWED = {"SAYSO_CALLBACK_HOSTS": "127.0.0.1", "SAYSO_CALLBACK_NETWORKS": "127.0.0.0/8"}


def said(program: str, environment: Mapping[str, str], folder: Path) -> Any:
    """What this program of a shell prints, as JSON."""
    with Process(["sh", "-euc", program], environment=environment, directory=folder, name="sh") as process:
        assert process.wait() == 0, process.output.text
        return json.loads(process.output.text)


@pytest.mark.parametrize(("decision", "refusals"), [("approve", [404]), ("reject", [])])
def test_a_signed_callback_resumes_a_workflow(
    serve: Serve, manage: Manage, tmp_path: Path, decision: str, refusals: list[int]
) -> None:
    """Also one that did not wait yet when it was first called; then it reads what was decided."""
    program_of_the_machine("curl")
    ask, read = examples("recipes.md", "n8n")
    billing, ann = make.user("billing"), make.reviewer("ann")
    token = tokens.issue(billing.pk, "workflows", ["ask"])[1]
    server = serve(**ALLOWED)
    environment = bare_environment() | {"SAYSO_URL": server.url, "SAYSO_TOKEN": token}
    with receiver() as workflow:
        workflow.answers = list(refusals)
        own = {"EXECUTION_ID": "812", "RESUME_URL": f"{workflow.url}/told?signature=1"}
        asked = said(ask, environment | own, tmp_path)
        assert said(ask, environment | own, tmp_path)["id"] == asked["id"]  # a step that is repeated
        assert manage("decide", asked["id"], decision, "--as", ann.username).wait() == 0
        *refused, posted = workflow.wait_for(len(refusals) + 1)
    assert {each.message_id for each in refused} <= {posted.message_id}
    outcome = said(read, environment | {"ID": asked["id"]}, tmp_path)
    assert outcome == signed_for(manage, billing.username, posted)
    assert outcome["approved"] is (decision == "approve")
    assert HumanRequest.objects.count() == 1


def signed_for(manage: Manage, username: str, posted: Posted) -> Any:
    """The outcome that a message has, if it is signed with the secret of this account."""
    printing = manage("webhook_secret", username)
    assert printing.wait() == 0
    told = verify(posted.body, posted.headers, printing.output.text.splitlines()[-1])
    return told.outcome.raw
