"""EMAIL_URL as Django's MAILERS."""

from __future__ import annotations

import environ
import pytest

from config.mailers import mailers


@pytest.mark.parametrize(
    ("url", "options"),
    [
        (
            "smtp+tls://ada:secret@mail.example.org:587",
            {
                "host": "mail.example.org",
                "port": 587,
                "username": "ada",
                "password": "secret",
                "use_tls": True,
                "timeout": 7.5,
            },
        ),
        ("smtp://mail.example.org:25", {"host": "mail.example.org", "port": 25, "timeout": 7.5}),
        ("consolemail://", {}),
    ],
)
def test_the_timeout_is_an_option_of_every_mailer_that_connects(url: str, options: dict[str, object]) -> None:
    (mailer,) = mailers(environ.Env.email_url_config(url), 7.5).values()
    assert mailer["OPTIONS"] == options
