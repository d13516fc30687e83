"""What the environment makes of the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import bare_environment, run_manage

pytestmark = pytest.mark.processes

ASK = """
import asyncio, httpx
from config.asgi import application

async def ask():
    for peer in ("10.0.0.1", "192.0.2.7"):
        asked = httpx.ASGITransport(application, client=(peer, 4711))
        async with httpx.AsyncClient(transport=asked, base_url="http://sayso.example") as client:
            for scheme in ("http", "https"):
                answer = await client.get("/accounts/password/", headers={"X-Forwarded-Proto": scheme})
                print(answer.headers["Location"])

asyncio.run(ask())
"""
TO_TLS, TO_LOGIN = "https://sayso.example/accounts/password/", "/accounts/login/"


@pytest.mark.parametrize(
    ("proxies", "locations"),
    [("", [TO_LOGIN] * 4), ("10.0.0.1", [TO_TLS, TO_LOGIN, TO_TLS, TO_TLS])],
)
def test_no_page_behind_tls_leads_to_itself(tmp_path: Path, proxies: str, locations: list[str]) -> None:
    """Only where a proxy is trusted to tell how a request came, it is led to TLS, and only it is believed."""
    environment = bare_environment() | {
        "SAYSO_VAR": str(tmp_path),
        "SAYSO_ALLOWED_HOSTS": "sayso.example",
        "SAYSO_TRUSTED_ORIGINS": "https://sayso.example",
        "SAYSO_TRUSTED_PROXIES": proxies,
    }
    led = [line.partition("?")[0] for line in printed(ASK, environment).splitlines()[-4:]]
    assert led == locations


BELOW = """
import asyncio, httpx
from django.conf import settings
from approvals import links
from config.asgi import application

async def ask():
    asked = httpx.ASGITransport(application, client=("192.0.2.7", 4711))
    async with httpx.AsyncClient(transport=asked, base_url="http://example.com") as client:
        for path in ("/healthz/live", "/tools/desk/healthz/live", "/accounts/password/"):
            answer = await client.get(path)
            print(answer.status_code, answer.headers.get("Location"))

print(settings.SESSION_COOKIE_PATH, settings.CSRF_COOKIE_PATH, links.address_of("runs"))
asyncio.run(ask())
"""


def test_the_path_prefix_follows_from_the_installations_address(tmp_path: Path) -> None:
    """Cookies are kept from what else its host serves; probes come straight, with or without the prefix."""
    environment = bare_environment() | {
        "SAYSO_VAR": str(tmp_path),
        "SAYSO_URL": "https://example.com/tools/desk/",
        "SAYSO_ALLOWED_HOSTS": "example.com",
        "SAYSO_TRUSTED_ORIGINS": "https://example.com",
        "SAYSO_TRUSTED_PROXIES": "10.0.0.1",
    }
    assert printed(BELOW, environment).splitlines()[-4:] == [
        "/tools/desk /tools/desk https://example.com/tools/desk/runs/",
        "200 None",
        "200 None",
        "301 https://example.com/tools/desk/accounts/password/",
    ]


def test_lists_may_have_spaces_around_their_commas(tmp_path: Path) -> None:
    """A former key with a space before it would be another key, and nobody would notice."""
    variables = ("SAYSO_SECRET_KEY_FALLBACKS", "SAYSO_CALLBACK_HOSTS")
    environment = bare_environment() | {"SAYSO_VAR": str(tmp_path)}
    environment |= dict.fromkeys(variables, "one, two ,three")
    shown = "from django.conf import settings as s; print(s.SECRET_KEY_FALLBACKS, s.SAYSO['CALLBACK_HOSTS'])"
    assert printed(shown, environment).strip() == "['one', 'two', 'three'] ['one', 'two', 'three']"


@pytest.mark.parametrize(("asked", "threshold"), [("", 1), ("?prepare_threshold=none", None)])
def test_prepared_statements_can_be_done_without(tmp_path: Path, asked: str, threshold: int | None) -> None:
    """As behind a pooler that gives each transaction another connection."""
    environment = bare_environment() | {
        "SAYSO_VAR": str(tmp_path),
        "DATABASE_URL": f"postgres://sayso@127.0.0.1:1/sayso{asked}",
    }
    shown = "from django.db import connection as c; print(c.get_connection_params()['prepare_threshold'])"
    assert printed(shown, environment).strip() == str(threshold)


def printed(code: str, environment: dict[str, str]) -> str:
    """What the code prints in an installation with this environment."""
    shown = run_manage("shell", "--no-imports", "-c", code, environment=environment)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout
