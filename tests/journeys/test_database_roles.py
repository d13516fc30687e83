"""The roles that docs/deployment.md makes: the application does all that it must, but can't touch the record.

Every other test on PostgreSQL runs as the application, too; here are the page's steps, from the first on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from orchestration.benchmark.installation import postgres_programs
from tests import processes
from tests.conftest import Manage
from tests.database_roles import statements
from tests.journeys.test_first_day import follow
from tests.orchestration.observing.served import until_ready
from tests.patience import patience
from tests.processes import Process, Server
from tests.servers import PostgresServer
from tests.stacks import WITH_WORKERS, Stack

pytestmark = [pytest.mark.stacks(WITH_WORKERS), pytest.mark.processes]

PEOPLE = """
from django.contrib.auth.models import Group, User
for name, role in (("ana", "requester"), ("sam", "reviewer"), ("kim", "administrator")):
    person = User.objects.create_user(name, password=name * 4, is_staff=True)
    person.groups.add(Group.objects.get(name=role))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A database whose roles are those of the page. `environment_of` makes a process act as one of them."""

    address: str
    base: dict[str, str]

    def url(self, role: str, database: str = "sayso") -> str:
        return f"postgresql://{role}:secret@{self.address}/{database}"

    def environment_of(self, role: str) -> dict[str, str]:
        return self.base | {"DATABASE_URL": self.url(role)}

    def run(self, role: str, block: str, database: str = "sayso") -> None:
        with psycopg.connect(self.url(role, database), autocommit=True) as connection:
            for statement in statements(block):
                connection.execute(statement)

    def refused(self, role: str, statement: str) -> None:
        """By privilege, before any trigger is asked."""
        with (
            psycopg.connect(self.url(role)) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement)


@pytest.fixture
def installation(stack: Stack, tmp_path: Path) -> Iterator[Installation]:
    with PostgresServer() as server:
        made = Installation(
            address=f"127.0.0.1:{server.port}", base=stack.environment | {"SAYSO_VAR": str(tmp_path)}
        )
        made.run("sayso", "roles", "postgres")
        made.run("sayso", "schema")
        completed(processes.manage("migrate", environment=made.environment_of("sayso_owner")))
        made.run("sayso_owner", "privileges")
        yield made


def completed(process: Process) -> str:
    with process:
        assert process.wait() == 0, process.output.text
        return process.output.text


@pytest.fixture
def as_app(installation: Installation) -> Callable[..., str]:
    """Run a command as the application; what it prints."""
    environment = installation.environment_of("sayso_app")
    return lambda *arguments: completed(processes.manage(*arguments, environment=environment))


def client(server: Server, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=f"{server.url}/api/v1", headers=headers, trust_env=False, timeout=70)


def ask(ana: httpx.Client, **terms: Any) -> str:
    answer = ana.post("/requests", json={"kind": "approval", "title": "Refund", **terms})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def outcome(ana: httpx.Client, request_id: str) -> str:
    """What it has come to, as soon as it has."""
    answer = ana.get(f"/requests/{request_id}/outcome", params={"wait": 60})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["status"])


def until(process: Process, found: Callable[[], Any]) -> Any:
    """What is found, as soon as it is, while this process runs."""
    deadline = time.monotonic() + patience(60)
    while not (answer := found()):
        process.wait_briefly(0.1)
        assert time.monotonic() < deadline, process.output.text
    return answer


def test_the_application_role_does_everything_but_change_the_record(
    installation: Installation, as_app: Callable[..., str], manage: Manage, tmp_path: Path
) -> None:
    """Servers, workers, commands, pages; what is refused to it; and the keeper, who may remove content."""
    environment = installation.environment_of("sayso_app")
    as_app("shell", "--no-imports", "-c", PEOPLE)
    scopes = ("--scope", "ask", "--scope", "decide", "--scope", "read")
    tokens = {
        name: as_app("create_token", name, "--name", "here", *scopes).splitlines()[-1]
        for name in ("ana", "sam", "kim")
    }
    worker = manage("work", environment=environment)
    with Server(environment=environment).ready() as server:
        until_ready(server)
        with client(server, tokens["ana"]) as ana, client(server, tokens["sam"]) as sam:
            with client(server, tokens["kim"]) as kim:
                _decide_everything(ana, sam, kim)
            _run(ana, worker)
        _read_the_admin(server)
    worker.terminate()
    assert "0 issues" in as_app("check") or "no issues" in as_app("check")
    as_app("audit_seal", "--new-key", tmp_path / "seal.key")
    as_app("audit_seal", "--key", tmp_path / "seal.key")
    as_app("audit_verify")
    as_app("audit_export", "--out", tmp_path / "trail.jsonl")
    _refused_to_the_application(installation)
    _removed_by_the_keeper(installation)
    as_app("audit_verify")


def _decide_everything(ana: httpx.Client, sam: httpx.Client, kim: httpx.Client) -> None:
    approved, withdrawn, handed_on = ask(ana), ask(ana), ask(ana)
    assert sam.post(f"/requests/{approved}/decision", json={"decision": "approve"}).status_code == 200
    assert outcome(ana, approved) == "approved"
    assert ana.post(f"/requests/{withdrawn}/withdraw", json={"reason": "no need"}).status_code == 200
    for people in (["kim"], ["sam"]):
        assert kim.post(f"/requests/{handed_on}/reassign", json={"users": people}).status_code == 200
    assert sam.post(f"/requests/{handed_on}/decision", json={"decision": "reject"}).status_code == 200
    question = ask(ana, kind="clarification")
    assert sam.post(f"/requests/{question}/answer", json={"answer": "blue"}).status_code == 200
    assert outcome(ana, ask(ana, timeout=0.2)) == "timed_out"


def _run(ana: httpx.Client, worker: Process) -> None:
    """Executed by the worker, which asks, and goes on with the answer."""
    given = {"title": "Release", "items": ["All tests are green"]}
    started = ana.post("/runs", json={"orchestration": "checklist", "input": given})
    assert started.status_code == 201, started.text
    run = f"/runs/{started.json()['id']}"
    (asked,) = until(worker, lambda: ana.get(run).json()["waiting_for"])
    assert ana.post(f"/requests/{asked}/decision", json={"decision": "approve"}).status_code == 200
    until(worker, lambda: ana.get(run).json()["status"] == "completed")


def _read_the_admin(server: Server) -> None:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30, follow_redirects=True) as browser:
        login = "/admin/login/?next=/admin/approvals/auditentry/"
        browser.get(login)
        form = {"username": "kim", "password": "kimkimkimkim"}
        token = browser.cookies["csrftoken"]
        headers = {"X-CSRFToken": token, "Referer": server.url}
        page = browser.post(login, data=form, headers=headers)
        assert page.status_code == 200, page.text
        assert page.url.path == "/admin/approvals/auditentry/"
        assert browser.get("/admin/approvals/approval/").status_code == 200


def _refused_to_the_application(installation: Installation) -> None:
    for table in ("approvals_auditentry", "approvals_seal", "approvals_showncontent", "approvals_response"):
        for statement in (
            f"UPDATE {table} SET {_column(table)} = NULL",
            f"DELETE FROM {table}",
            f"TRUNCATE {table} CASCADE",
            f"ALTER TABLE {table} DISABLE TRIGGER ALL",
            f"DROP TABLE {table} CASCADE",
        ):
            installation.refused("sayso_app", statement)
    for statement in (
        "DROP TRIGGER sayso_audit_no_change ON approvals_auditentry",
        "ALTER FUNCTION sayso_audit_refuse() RENAME TO mine",
        "SET session_replication_role = replica",
        "DELETE FROM approvals_humanrequest",
        "CREATE TABLE mine (id int)",
        "DELETE FROM django_migrations",
    ):
        installation.refused("sayso_app", statement)
    for table in ("approvals_auditentry", "approvals_seal"):
        installation.refused("sayso_keeper", f"DELETE FROM {table}")


def _column(table: str) -> str:
    return {"approvals_response": "comment", "approvals_showncontent": "content"}.get(table, "hash")


def _removed_by_the_keeper(installation: Installation) -> None:
    """The application may not; whoever keeps the history may."""
    command = ("forget_person", "sam", "--as", "kim")
    with processes.manage(*command, environment=installation.environment_of("sayso_app")) as process:
        assert process.wait() == 1
        assert "role in the database may not remove" in process.output.text
    completed(processes.manage(*command, environment=installation.environment_of("sayso_keeper")))
    with psycopg.connect(installation.url("sayso_app")) as connection:
        (names,) = connection.execute("SELECT array_agg(username) FROM auth_user").fetchall()[0]
        (left,) = connection.execute(
            'SELECT count(*) FROM approvals_showncontent WHERE content LIKE \'%"actor":"sam"%\''
        ).fetchall()[0]
    assert ("sam" in names, left) == (False, 0)


def test_a_backup_is_restored_into_an_empty_database(
    installation: Installation, as_app: Callable[..., str], tmp_path: Path
) -> None:
    """By the blocks of docs/first-day.md: the record verifies, under the same privileges, and goes on."""
    owner = installation.environment_of("sayso_owner")
    shell = owner | {"PATH": f"{postgres_programs()}:{owner['PATH']}"}
    as_app(
        "shell", "--no-imports", "-c", PEOPLE + "from approvals import gate\ngate.open_approval('Refund')\n"
    )
    (request_id,) = [line.split("\t")[0] for line in as_app("requests", "--as", "sam").splitlines()]
    follow("backup of postgresql", tmp_path, shell)
    as_app("decide", request_id, "reject", "--as", "sam")
    with psycopg.connect(installation.url("sayso", "postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE sayso WITH (FORCE)")
        connection.execute("CREATE DATABASE sayso OWNER sayso_owner ENCODING 'UTF8' TEMPLATE template0")
    installation.run("sayso", "schema")
    follow("restore of postgresql", tmp_path, shell)
    installation.run("sayso_owner", "privileges")
    assert "The trail holds." in as_app("audit_verify")
    installation.refused("sayso_app", "DELETE FROM approvals_auditentry")
    assert as_app("decide", request_id, "approve", "--as", "sam").startswith("Approved by sam")
