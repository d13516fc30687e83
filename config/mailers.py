"""EMAIL_URL as the setting MAILERS, which replaces EMAIL_… from Django 6.1 on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SMTP = "django.core.mail.backends.smtp.EmailBackend"


def mailers(email: Mapping[str, Any], timeout: float) -> dict[str, dict[str, Any]]:
    """Return MAILERS for the parsed EMAIL_URL; connections wait for `timeout` seconds at most."""
    backend = email["EMAIL_BACKEND"]
    options = {
        "host": email["EMAIL_HOST"],
        "port": email["EMAIL_PORT"],
        "username": email["EMAIL_HOST_USER"],
        "password": email["EMAIL_HOST_PASSWORD"],
        "use_tls": email.get("EMAIL_USE_TLS"),
        "use_ssl": email.get("EMAIL_USE_SSL"),
        "file_path": email["EMAIL_FILE_PATH"],
        "timeout": timeout if backend == _SMTP else None,
    }
    return {
        "default": {"BACKEND": backend, "OPTIONS": {name: value for name, value in options.items() if value}}
    }
