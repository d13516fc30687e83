"""Outcomes on their way out of real servers, as whoever runs a receiver sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from pytest_django import Settings
from standardwebhooks import Webhook

from approvals import deciding
from approvals.delivery.webhooks.messages import secrets_of
from approvals.models import Callback
from approvals.writer import callbacks
from orchestration import runtime
from tests import factories as make
from tests.approvals.delivery.webhooks.outcomes import again, attempts, callback_of, closed, make_due
from tests.approvals.delivery.webhooks.receiver import NEVER, Receiver, receiver
from tests.conftest import Manage, Serve
from tests.processes import Server, free_port
from tests.stacks import Stack

pytestmark = pytest.mark.django_db

ALLOWED = {"SAYSO_CALLBACK_HOSTS": "127.0.0.1", "SAYSO_CALLBACK_NETWORKS": "127.0.0.0/8"}


@pytest.fixture(autouse=True)
def allowed(settings: Settings) -> None:
    """This process asks; servers post."""
    settings.SAYSO_CALLBACK_HOSTS = ["127.0.0.1"]
    settings.SAYSO_CALLBACK_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def poster(serve: Serve) -> Callable[[], Server]:
    """Start a server that may post to this computer."""
    return lambda: serve(**ALLOWED)


def settled(callback_id: UUID, status: str, number: int) -> Callback:
    """The row, as soon as it has this status after so many attempts, or more where that took long."""
    while True:
        row: Callback = Callback.objects.get(pk=callback_id)
        if row.status == status and row.attempts >= number and row.claimed_until is None:
            return row


def test_a_decision_made_elsewhere_is_posted_and_verified(
    poster: Callable[[], Server], manage: Manage, hook: Receiver
) -> None:
    """By a command in another process; the secret is what another command prints, and nothing else."""
    poster()
    ana, sam = make.user("ana"), make.reviewer("sam")
    request_id = make.approval(requester=ana, callback_url=f"{hook.url}/told", key="refund-812")
    assert manage("decide", request_id, "approve", "--as", sam.username, "--comment", "Fine.").wait() == 0
    (posted,) = hook.wait_for(1)
    printing = manage("webhook_secret", "ana")
    assert printing.wait() == 0
    *_warnings, secret = printing.output.text.splitlines()
    data = Webhook(secret).verify(posted.body, posted.headers)["data"]
    assert data["key"] == "refund-812"
    assert (data["outcome"]["status"], data["outcome"]["decided_by"]) == ("approved", "sam")
    assert data["outcome"]["comment"] == "Fine."
    settled(callback_of(request_id).pk, "delivered", 1)


@pytest.mark.one_stack
def test_a_receiver_that_fails_hangs_and_recovers_is_told_in_the_end(
    poster: Callable[[], Server], hook: Receiver
) -> None:
    """Through a restart of the server, too."""
    hook.answers = [500, NEVER]
    server = poster()
    callback = closed(f"{hook.url}/told")
    settled(callback.pk, "waiting", 1)
    make_due(callback.pk)
    hook.wait_for(2)
    server.terminate()
    (first, second) = attempts(callback)
    assert (first.status_code, second.status_code) == (500, None)
    assert second.error == "The server stopped before there was an answer."
    with server.again():
        make_due(callback.pk)
        settled(callback.pk, "delivered", 3)
    assert {(each.message_id, each.body) for each in hook.posted} == {(str(callback.pk), hook.posted[0].body)}


def test_what_a_killed_server_was_posting_another_posts(poster: Callable[[], Server], hook: Receiver) -> None:
    """At least once: its claim runs out. Receivers tell by the id that they have had it."""
    hook.answers = [NEVER]
    server = poster()
    callback = closed(f"{hook.url}/told")
    hook.wait_for(1)
    server.kill()
    row = again(callback)
    assert row.status == "waiting"
    assert row.due_at == row.claimed_until
    assert attempts(callback) == []
    poster()
    make_due(callback.pk)
    hook.wait_for(2)
    settled(callback.pk, "delivered", 1)
    assert [posted.message_id for posted in hook.posted] == [str(callback.pk)] * 2


@pytest.mark.one_stack
def test_what_was_closed_while_no_server_ran_is_posted_when_one_does(
    poster: Callable[[], Server], hook: Receiver
) -> None:
    callback = closed(f"{hook.url}/told")
    poster()
    settled(callback.pk, "delivered", 1)


@pytest.mark.stacks("postgresql-redis")
def test_two_servers_post_each_outcome_once(poster: Callable[[], Server], hook: Receiver) -> None:
    """In the normal case, in which nobody dies."""
    poster(), poster()
    sam = make.reviewer()
    ids = [make.approval(callback_url=f"{hook.url}/told") for _ in range(40)]
    deciding.decide_many(make.actor(sam), [(request_id, "approve") for request_id in ids])
    expected = sorted(str(callback_of(request_id).pk) for request_id in ids)
    for callback_id in expected:
        settled(UUID(callback_id), "delivered", 1)
    assert sorted(posted.message_id for posted in hook.posted) == expected


@pytest.mark.one_stack
def test_a_receiver_that_was_not_there_is_told_when_sent_again(poster: Callable[[], Server]) -> None:
    """The administrator's button; without a restart of anything."""
    poster()
    port = free_port()
    callback = closed(f"http://127.0.0.1:{port}/told")
    settled(callback.pk, "waiting", 1)
    with receiver(port=port) as hook:
        callbacks.send_again(callback.pk)
        settled(callback.pk, "delivered", 2)
        assert len(hook.posted) == 1


@pytest.mark.one_stack
def test_what_the_installation_no_longer_allows_is_not_posted(serve: Serve, hook: Receiver) -> None:
    """Asked while it did; the attempt says why."""
    callback = closed(f"{hook.url}/told")
    serve()
    settled(callback.pk, "waiting", 1)
    assert "SAYSO_CALLBACK_HOSTS" in attempts(callback)[0].error
    assert hook.posted == []


@pytest.mark.one_stack
async def test_a_process_that_serves_nothing_posts_nothing(stack: Stack) -> None:
    """A run in a terminal, for instance: it may end at any moment."""
    running = await runtime.start_runtime(serves=False)
    assert running._outbox_workers == []
    await runtime.stop_runtime()


@pytest.mark.one_stack
class TestTheSecret:
    def test_it_is_all_that_is_printed(self, manage: Manage) -> None:
        ana = make.user("ana")
        printing = manage("webhook_secret", "ana")
        assert printing.wait() == 0
        assert printing.output.text == secrets_of(ana.pk)[0] + "\n"

    def test_the_installation_has_one_of_its_own(self, manage: Manage) -> None:
        printing = manage("webhook_secret", "--installation")
        assert printing.wait() == 0
        assert printing.output.text == secrets_of(None)[0] + "\n"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], "--installation"),
            (["ana", "--installation"], "--installation"),
            (["nobody"], "There is no account 'nobody'. Accounts: ana."),
        ],
    )
    def test_it_must_be_clear_whose(self, manage: Manage, arguments: list[str], words: str) -> None:
        make.user("ana")
        printing = manage("webhook_secret", *arguments)
        assert printing.wait() == 2
        assert words in printing.output.text
