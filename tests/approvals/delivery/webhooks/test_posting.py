"""One attempt, against a real receiver: what counts as delivered, what is followed, what is not believed."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pytest_django import Settings

from approvals.delivery.webhooks import posting as module
from approvals.delivery.webhooks.messages import Message
from approvals.delivery.webhooks.posting import REDIRECTS, WebhookCarrier
from approvals.delivery.webhooks.targets import Resolve
from approvals.writer.outboxes import Answer
from tests.approvals.delivery.webhooks.receiver import Receiver, receiver
from tests.processes import free_port

MESSAGE = Message(headers={"webhook-id": "42", "User-Agent": "Sayso-Webhooks"}, body=b'{"a": 1}')


def resolving(*addresses: str) -> Resolve:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


@asynccontextmanager
async def posting(**options: object) -> AsyncIterator[WebhookCarrier]:
    made = WebhookCarrier(**options)  # type: ignore[arg-type]  # whatever the test is about
    try:
        yield made
    finally:
        made.close()


async def post(url: str, **options: object) -> Answer:
    async with posting(**options) as made:
        return await made.post(url, MESSAGE)


class TestAnswers:
    @pytest.mark.parametrize("status", [200, 201, 202, 204])
    async def test_success_is_delivered(self, hook: Receiver, status: int) -> None:
        answer = await post(f"{hook.url}/status/{status}")
        assert (answer.status_code, answer.error) == (status, "")

    async def test_the_message_is_posted_as_it_is(self, hook: Receiver) -> None:
        await post(f"{hook.url}/status/200?a=b%20c")
        (posted,) = hook.posted
        assert (posted.method, posted.path, posted.body) == ("POST", "/status/200?a=b%20c", MESSAGE.body)
        assert posted.headers["webhook-id"] == "42"
        assert posted.headers["User-Agent"] == "Sayso-Webhooks"
        assert posted.headers["Host"] == f"127.0.0.1:{hook.port}"
        assert "Cookie" not in posted.headers

    @pytest.mark.parametrize("status", [304, 400, 401, 404, 429, 500, 503])
    async def test_anything_else_is_not(self, hook: Receiver, status: int) -> None:
        answer = await post(f"{hook.url}/status/{status}")
        assert answer.status_code == status
        assert str(status) in answer.error
        assert not answer.final

    async def test_gone_is_final(self, hook: Receiver) -> None:
        answer = await post(f"{hook.url}/status/410")
        assert (answer.status_code, answer.final) == (410, True)
        assert "410" in answer.error

    @pytest.mark.parametrize("path", ["nonsense", "hang_up"])
    async def test_what_is_no_answer_is_an_error(self, hook: Receiver, path: str) -> None:
        answer = await post(f"{hook.url}/{path}")
        assert answer.status_code is None
        assert "RemoteProtocolError" in answer.error

    async def test_a_port_where_nobody_listens(self, allowed: None) -> None:
        answer = await post(f"http://127.0.0.1:{free_port()}/")
        assert answer.status_code is None
        assert "ConnectError" in answer.error

    async def test_a_name_that_does_not_resolve(self, settings: Settings) -> None:
        settings.SAYSO_CALLBACK_HOSTS = ["*.invalid"]
        answer = await post("http://nobody.invalid/")
        assert answer.status_code is None
        assert "gaierror" in answer.error

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ("120", 120),
            ("0", 0),
            ("-5", None),
            ("soon", None),
            (f"Fri, {'9' * 20} Dec 2099 23:59:59", None),
            ("9" * 40, 999_999_999),
            ("Fri, 31 Dec 1999 23:59:59 +0000", 0),
            ("Fri, 31 Dec 2099 23:59:59", 2.2e9),
        ],
    )
    async def test_a_receiver_may_say_when(self, hook: Receiver, header: str, seconds: float | None) -> None:
        hook.headers["Retry-After"] = header
        answer = await post(f"{hook.url}/status/503")
        assert answer.retry_after == (seconds if seconds is None else pytest.approx(seconds, rel=0.1))

    async def test_no_environment_leads_elsewhere(
        self, hook: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A proxy would connect to wherever it likes."""
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
        assert (await post(f"{hook.url}/status/200")).status_code == 200


class TestSlowness:
    @pytest.mark.parametrize("path", ["hang", "drip"])
    async def test_no_answer_in_time_is_an_error(self, hook: Receiver, path: str) -> None:
        """Also where something comes now and then."""
        answer = await post(f"{hook.url}/{path}", timeout=0.2)
        assert answer == Answer(error="There was no answer within 0.2 s.")

    @pytest.mark.parametrize("path", ["dripping_body", "flood"])
    async def test_a_status_counts_however_long_the_rest_takes(
        self, hook: Receiver, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Little of an answer is read, and that for a moment only."""
        monkeypatch.setattr(module, "COURTESY", 0.1)
        started = asyncio.get_running_loop().time()
        assert await post(f"{hook.url}/{path}", timeout=30) == Answer(status_code=200)
        assert asyncio.get_running_loop().time() - started < 20

    async def test_a_resolver_that_hangs_is_not_waited_for(self, allowed: None) -> None:
        async def never(host: str, port: int) -> Sequence[str]:
            await asyncio.get_running_loop().create_future()
            return []

        answer = await post("http://hooks.example.org/", timeout=0.05, resolve=never)
        assert "no answer" in answer.error


class TestRedirects:
    @pytest.mark.parametrize("status", [307, 308])
    async def test_those_that_keep_the_post_are_followed(self, hook: Receiver, status: int) -> None:
        answer = await post(f"{hook.url}/redirect/{status}?to=/status/201")
        assert answer == Answer(status_code=201)
        assert [(each.method, each.path, each.body) for each in hook.posted][1:] == [
            ("POST", "/status/201", MESSAGE.body)
        ]
        assert "Cookie" not in hook.posted[1].headers

    @pytest.mark.parametrize("status", [300, 301, 302, 303])
    async def test_others_are_not(self, hook: Receiver, status: int) -> None:
        """They would make it a GET."""
        answer = await post(f"{hook.url}/redirect/{status}?to=/status/200")
        assert answer.status_code == status
        assert "not followed" in answer.error
        assert len(hook.posted) == 1

    async def test_nor_are_those_to_nowhere(self, hook: Receiver) -> None:
        answer = await post(f"{hook.url}/status/307")
        assert (answer.status_code, len(hook.posted)) == (307, 1)
        assert "not followed" in answer.error

    async def test_a_circle_has_an_end(self, hook: Receiver) -> None:
        answer = await post(f"{hook.url}/circle")
        assert answer.status_code == 307
        assert "redirects" in answer.error
        assert len(hook.posted) == 1 + REDIRECTS

    @pytest.mark.parametrize(
        ("to", "words"),
        [
            ("http://10.0.0.1/", "none of those"),
            ("http://elsewhere.example.net/", "none of those"),
            ("//elsewhere.example.net/", "none of those"),
            ("http://user:password@127.0.0.1/", "no user"),
            ("ftp://127.0.0.1/", "must begin with"),
            ("http://2130706433/", "usual spelling"),
        ],
    )
    async def test_a_redirect_gets_no_further_than_a_callback_url(
        self, hook: Receiver, to: str, words: str
    ) -> None:
        answer = await post(f"{hook.url}/redirect/307?to={to}")
        assert answer.status_code == 307
        assert words in answer.error
        assert len(hook.posted) == 1

    async def test_a_refused_redirect_is_told_without_what_may_be_a_secret(self, hook: Receiver) -> None:
        to = "https://user:s3cret@elsewhere.example.net:8443/s3cret?token=s3cret"
        answer = await post(f"{hook.url}/redirect/307?to={to}")
        assert "A redirect to https://elsewhere.example.net:8443 is refused." in answer.error
        assert "s3cret" not in answer.error

    async def test_a_redirect_to_a_name_of_a_private_address_is_refused(self, hook: Receiver) -> None:
        """Its host is allowed, its address is not."""
        url = f"{hook.url}/redirect/307?to=http://hooks.example.org/"
        answer = await post(url, resolve=resolving("169.254.169.254"))
        assert "not public" in answer.error

    async def test_a_redirect_that_is_no_url_is_an_error(self, hook: Receiver) -> None:
        answer = await post(f"{hook.url}/redirect/307?to=http://[::1/")
        assert answer.error


class TestAddresses:
    async def test_a_private_address_is_not_connected_to(self, hook: Receiver, settings: Settings) -> None:
        settings.SAYSO_CALLBACK_NETWORKS = []
        answer = await post(f"http://hooks.example.org:{hook.port}/", resolve=resolving("127.0.0.1"))
        assert "not public" in answer.error
        assert hook.posted == []

    async def test_the_checked_address_is_the_one_connected_to(self, hook: Receiver) -> None:
        """The name is resolved once: what it means a moment later makes no difference."""
        asked = []

        async def changing(host: str, port: int) -> Sequence[str]:
            asked.append(host)
            return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

        answer = await post(f"http://hooks.example.org:{hook.port}/status/200", resolve=changing)
        assert answer == Answer(status_code=200)
        assert asked == ["hooks.example.org"]
        assert hook.posted[0].headers["Host"] == f"hooks.example.org:{hook.port}"

    async def test_the_next_address_is_tried_where_one_takes_no_connection(self, hook: Receiver) -> None:
        answer = await post(
            f"http://hooks.example.org:{hook.port}/status/200", resolve=resolving("127.0.0.9", "127.0.0.1")
        )
        assert answer == Answer(status_code=200)
        assert len(hook.posted) == 1

    async def test_what_was_refused_since_is_refused_now(self, hook: Receiver, settings: Settings) -> None:
        """Taken off the list after the request was asked."""
        settings.SAYSO_CALLBACK_HOSTS = []
        answer = await post(f"{hook.url}/status/200")
        assert "none of those" in answer.error
        assert hook.posted == []

    async def test_names_are_resolved_by_the_system(self, hook: Receiver, settings: Settings) -> None:
        settings.SAYSO_CALLBACK_NETWORKS = ["127.0.0.0/8", "::1/128"]
        answer = await post(f"http://localhost:{hook.port}/status/200")
        assert answer == Answer(status_code=200)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the host hooks.example.org, signed by itself; with its key."""
    file = tmp_path_factory.mktemp("tls") / "hooks.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=hooks.example.org"),
            *("-addext", "subjectAltName=DNS:hooks.example.org"),
            *("-keyout", str(file), "-out", str(file.with_suffix(".crt"))),
        ],
        check=True,
        capture_output=True,
    )
    file.write_text(file.read_text() + file.with_suffix(".crt").read_text())
    return file


@pytest.fixture
def secure_hook(allowed: None, certificate: Path) -> Iterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with receiver(context) as running:
        yield running


class TestTLS:
    async def test_the_certificate_is_verified_for_the_name(
        self, secure_hook: Receiver, certificate: Path
    ) -> None:
        """Although the connection is made by address."""
        trusting = ssl.create_default_context(cafile=certificate.with_suffix(".crt"))
        answer = await post(
            f"https://hooks.example.org:{secure_hook.port}/status/200",
            resolve=resolving("127.0.0.1"),
            tls=trusting,
        )
        assert answer == Answer(status_code=200)
        assert secure_hook.posted[0].headers["Host"] == f"hooks.example.org:{secure_hook.port}"

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
    async def test_a_certificate_of_another_name_is_refused(
        self, secure_hook: Receiver, certificate: Path, host: str
    ) -> None:
        trusting = ssl.create_default_context(cafile=certificate.with_suffix(".crt"))
        answer = await post(
            f"https://{host}:{secure_hook.port}/", resolve=resolving("127.0.0.1"), tls=trusting
        )
        assert "CERTIFICATE_VERIFY_FAILED" in answer.error
        assert secure_hook.posted == []

    async def test_a_certificate_that_nobody_vouches_for_is_refused(self, secure_hook: Receiver) -> None:
        answer = await post(f"https://hooks.example.org:{secure_hook.port}/", resolve=resolving("127.0.0.1"))
        assert "CERTIFICATE_VERIFY_FAILED" in answer.error

    async def test_a_redirect_does_not_give_up_encryption(
        self, hook: Receiver, secure_hook: Receiver, certificate: Path
    ) -> None:
        trusting = ssl.create_default_context(cafile=certificate.with_suffix(".crt"))
        url = f"https://hooks.example.org:{secure_hook.port}/redirect/307?to={hook.url}/status/200"
        answer = await post(url, resolve=resolving("127.0.0.1"), tls=trusting)
        assert "from https to http" in answer.error
        assert hook.posted == []
