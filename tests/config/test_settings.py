"""What the environment makes of the settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import PROJECT

ASK = """
from django.test import Client
for scheme in ("http", "https"):
    headers = {"host": "sayso.example", "x-forwarded-proto": scheme}
    print(Client().get("/accounts/password/", headers=headers)["Location"])
"""


@pytest.mark.parametrize(
    ("proxies", "by_http"),
    [("", "/accounts/login/"), ("10.0.0.1", "https://sayso.example/accounts/password/")],
)
def test_no_page_behind_tls_leads_to_itself(tmp_path: Path, proxies: str, by_http: str) -> None:
    """Only where a proxy is trusted to tell how a request came, it is led to TLS."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SAYSO_VAR": str(tmp_path),
        "SAYSO_ALLOWED_HOSTS": "sayso.example",
        "SAYSO_TRUSTED_ORIGINS": "https://sayso.example",
        "SAYSO_TRUSTED_PROXIES": proxies,
    }
    command = [sys.executable, "manage.py", "shell", "-c", ASK]
    shown = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    first, second = shown.stdout.split()[-2:]
    assert first.startswith(by_http)
    assert second.startswith("/accounts/login/")


def test_lists_may_have_spaces_around_their_commas(tmp_path: Path) -> None:
    """A former key with a space before it would be another key, and nobody would notice."""
    variables = ("SAYSO_SECRET_KEY_FALLBACKS", "SAYSO_CALLBACK_HOSTS")
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings", "SAYSO_VAR": str(tmp_path)}
    environment |= dict.fromkeys(variables, "one, two ,three")
    shown = "from django.conf import settings as s; print(s.SECRET_KEY_FALLBACKS, s.SAYSO_CALLBACK_HOSTS)"
    command = [sys.executable, "-c", shown]
    found = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['one', 'two', 'three'] ['one', 'two', 'three']"


@pytest.mark.parametrize(("asked", "threshold"), [("", 1), ("?prepare_threshold=none", None)])
def test_prepared_statements_can_be_done_without(tmp_path: Path, asked: str, threshold: int | None) -> None:
    """As behind a pooler that gives each transaction another connection."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SAYSO_VAR": str(tmp_path),
        "DATABASE_URL": f"postgres://sayso@127.0.0.1:1/sayso{asked}",
    }
    shown = "from django.db import connection as c; print(c.get_connection_params()['prepare_threshold'])"
    command = [sys.executable, "-c", shown]
    found = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(threshold)
