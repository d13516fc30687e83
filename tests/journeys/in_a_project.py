"""Run by `manage.py shell` in a project with accounts of its own: ask, decide, look at every page, verify.

It prints "all is well" at its end; anything that fails is an error.
"""

import json
import subprocess
import sys
from http import HTTPStatus
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection
from django.test import Client

from approvals import deciding, gate, queries
from approvals.domain.commands import Actor, Channel
from approvals.exceptions import NotPermitted, UnknownRequest
from approvals.models import AuditEntry
from orchestration import OrchestrationManager
from orchestration.benchmark.installation import Installation

people: Any = get_user_model()._default_manager


def person(name: str, *roles: str) -> Any:
    """Make an account whose name is an email address."""
    made = people.create_user(f"{name}@example.com", "secret")
    made.groups.set(Group.objects.filter(name__in=roles))
    return made


def actor(account: Any) -> Actor:
    return Actor(user_id=account.pk, channel=Channel.API)


def see(account: Any, *paths: str) -> None:
    """Open each page as this account."""
    client = Client(SERVER_NAME="localhost")
    client.force_login(account)
    for path in paths:
        response = client.get(path)
        assert response.status_code == HTTPStatus.OK, (path, response.status_code)


boss = people.create_superuser("boss@example.com", "secret")
rob, kim = person("rob", "reviewer"), person("kim", "requester")

asked = gate.open_approval("Both", requester=kim, assignees=[rob, boss.email], required=2, key="k")
assert asked == gate.open_approval("Both", requester=kim, assignees=[rob, boss.email], required=2, key="k")
try:
    deciding.decide(actor(kim), asked, "approve")
except (NotPermitted, UnknownRequest):
    pass
else:
    raise AssertionError("kim is not named")
assert deciding.decide(actor(rob), asked, "approve").status == "pending"
assert deciding.decide(actor(boss), asked, "approve").approved

handed = gate.open_approval("Handed on", requester=boss, assignees=[rob.pk], four_eyes=True)
deciding.reassign(actor(boss), handed, users=[kim.email], groups=[])
assert deciding.decide(actor(kim), handed, "reject", comment="No").status == "rejected"
question = gate.open_clarification("Which?", assignees=[kim])
assert deciding.answer(actor(kim), question, "4711").answer == "4711"

entry = AuditEntry.objects.get(request_id=asked, actor=boss)
named = json.loads(entry.canonical)["actor"]
assert named == (boss.pk if isinstance(boss.pk, int) else str(boss.pk)), named

program = Client(SERVER_NAME="localhost")
program.force_login(kim)
body = {"kind": "approval", "title": "Over HTTP", "assignees": {"users": [rob.email]}}
answer = program.post("/sayso/api/v1/requests", json.dumps(body), content_type="application/json")
assert answer.status_code == HTTPStatus.CREATED, answer.content[:200]

at_page = gate.open_approval("On the page", assignees=[rob], timeout=3600.0)
reader = Client(SERVER_NAME="localhost")
reader.force_login(rob)
sent = reader.post(f"/sayso/requests/{at_page}/", {"decision": "approve"})
assert sent.status_code == HTTPStatus.SEE_OTHER, sent.content[:200]
assert gate.outcome(at_page).approved
assert "Approved: <a" in reader.get(sent["Location"]).text
assert reader.post("/sayso/preferences/").status_code == HTTPStatus.SEE_OTHER
assert not queries.preference_of(rob.pk).opens_next

run = OrchestrationManager().start("checklist", {"title": "Release", "items": ["Tests"]}, kim)
see(kim, "/sayso/", "/sayso/?q=kim", f"/sayso/requests/{asked}/", f"/sayso/runs/{run}/", "/sayso/runs/new/")
see(boss, "/sayso/runs/", "/sayso/api/v1/docs", "/sayso/metrics", f"/sayso/api/v1/requests/{asked}/history")
see(
    boss,
    "/admin/",
    "/admin/approvals/approval/?requester=kim@example.com&decided_by=boss@example.com",
    f"/admin/approvals/approval/?assignee={rob.email}",
    f"/admin/approvals/approval/{asked}/change/",
    f"/admin/approvals/clarification/{question}/change/",
    "/admin/approvals/auditentry/?actor=boss@example.com",
    f"/admin/approvals/auditentry/{entry.pk}/change/",
    "/admin/approvals/apitoken/?q=boss",
    "/admin/approvals/humanrequest/reports/?by=approver",
    "/admin/orchestration/run/?owner=kim@example.com",
    f"/admin/orchestration/run/{run}/change/",
)

at_terminal = gate.open_approval("At the terminal", assignees=[rob])
call_command("decide", at_terminal, "approve", "--as", rob.email)
call_command("create_token", kim.email, "--name", "job", "--scope", "ask")
call_command("audit_report", "--by", "approver")
call_command("audit_verify")
# What the benchmark measures is an installation of its own, and not this project's.
if connection.vendor == "sqlite":
    with Installation(embedded=True) as made, made.fresh() as variables:
        assert variables["DJANGO_SETTINGS_MODULE"] == "orchestration.own_site.settings"
        own_check = [sys.executable, "-m", "django", "check", "--fail-level", "WARNING"]
        subprocess.run(own_check, env=variables, check=True)

# Only a server pays for its import.
assert "daphne" not in sys.modules
assert "twisted.internet.reactor" not in sys.modules
print("all is well")
