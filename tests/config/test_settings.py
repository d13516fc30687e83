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
