"""EMAIL_URL as Django's MAILERS, which take the place of its settings EMAIL_… from 6.1 on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SMTP = "django.core.mail.backends.smtp.EmailBackend"


def mailers(email: Mapping[str, Any], timeout: float) -> dict[str, dict[str, Any]]:
    """The one mailer, from what EMAIL_URL says; its connections wait for `timeout` seconds at most."""
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
        "default": {
            "BACKEND": backend,
            "OPTIONS": {name: value for name, value in options.items() if value},
        }
    }
