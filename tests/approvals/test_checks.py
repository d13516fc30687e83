"""`manage.py check` says what is wrong with an installation, and nothing about one that is in order."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import django
import pytest
from django.conf import settings as django_settings
from django.core.checks import CheckMessage
from pytest_django import Settings

from approvals import checks
from approvals.process import files
from orchestration.checks import check_metrics_token
from tests import factories as make
from tests.processes import bare_environment, run_manage
from tests.stacks import Stack
from tests.tampering import without_triggers

STRONG_KEY = "aGVsbG8gd29ybGQsIHRoaXMgaXMgYSByYW5kb20ga2V5IDEyMzQ1Njc4OTA"


def ids(messages: Iterable[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


class TestFiles:
    """`check --deploy` names what other accounts of the computer may look into."""

    @pytest.fixture
    def own(self, settings: Settings, tmp_path: Path) -> Path:
        settings.SAYSO_VAR = tmp_path / "var"
        files.make_private_folder(settings.SAYSO_VAR / "processes")
        for name in ("sayso.sqlite3", "processes/sign"):
            os.close(files.open_private(settings.SAYSO_VAR / name))
        return Path(settings.SAYSO_VAR)

    def test_what_is_private_is_in_order(self, own: Path) -> None:
        (own / "link").symlink_to("/etc/hostname")
        assert list(checks.check_files()) == []

    @pytest.mark.parametrize("name", [".", "sayso.sqlite3", "processes", "processes/sign"])
    @pytest.mark.parametrize("mode", [0o040, 0o004, 0o010, 0o002])
    def test_any_right_of_others_is_named(self, own: Path, name: str, mode: int) -> None:
        path = own / name
        path.chmod(path.stat().st_mode | mode)
        (message,) = checks.check_files()
        assert message.id == "sayso.W015"
        assert f"SAYSO_VAR: {path}." in message.msg
        assert f"chmod -R go= {own}" in (message.hint or "")

    def test_of_many_some_are_named(self, own: Path) -> None:
        for number in range(20):
            (own / f"{number}").touch(mode=0o644)
        (message,) = checks.check_files()
        assert message.msg.endswith(" and more.")
        assert message.msg.count(str(own)) == 5


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SAYSO_DEFAULT_TIMEOUT", -1.0, "sayso.E001"),
        ("SAYSO_APPROVE_ON_TIMEOUT", "both", "sayso.E015"),
        ("SAYSO_NOTIFY", "yes", "sayso.E016"),
        ("SAYSO_MESSAGE_DETAIL", "all", "sayso.E017"),
        ("SAYSO_LINKS", "public", "sayso.E019"),
        ("SAYSO_LINK_HOURS", 0.0, "sayso.E020"),
        ("SAYSO_CHAT_SCHEMES", ["slack", "ntfy://"], "sayso.E026"),
        ("SAYSO_DEFAULT_TIMEOUT", float("nan"), "sayso.E001"),
        ("SAYSO_RECHECK_INTERVAL", 0.0, "sayso.E002"),
        ("SAYSO_RECHECK_INTERVAL", float("inf"), "sayso.E002"),
        ("SAYSO_DATABASE_THREADS", 0, "sayso.E003"),
        ("SAYSO_RATE_LIMIT", -1.0, "sayso.E009"),
        ("SAYSO_ADDRESS_RATE_LIMIT", float("nan"), "sayso.E009"),
        ("SAYSO_SOCKETS_PER_USER", -1, "sayso.E009"),
        ("SAYSO_URL", "sayso.example.com", "sayso.E030"),
        ("SAYSO_URL", "ftp://sayso.example.com", "sayso.E030"),
        ("SAYSO_URL", "https://", "sayso.E030"),
        ("SAYSO_URL", "https://sayso.example.com:port", "sayso.E030"),
        ("SAYSO_URL", "https://ada:secret@sayso.example.com", "sayso.E030"),
        ("SAYSO_URL", "https://sayso.example.com/?a=b", "sayso.E030"),
        ("SAYSO_URL", "https://sayso.example.com/api/v1/", "sayso.E030"),
        ("SAYSO_URL", "https://sayso.example.com/a//b", "sayso.E030"),
        ("FORCE_SCRIPT_NAME", "sayso", "sayso.E032"),
        ("FORCE_SCRIPT_NAME", "/sayso/", "sayso.E032"),
        ("FORCE_SCRIPT_NAME", "//example.com", "sayso.E032"),
        ("EMAIL_TIMEOUT", None, "sayso.E031"),
        ("EMAIL_TIMEOUT", 0.0, "sayso.E031"),
        ("SAYSO_REQUESTS_PER_USER", -1, "sayso.E009"),
        ("SAYSO_BYTES_PER_USER", -1, "sayso.E009"),
        ("SAYSO_TRUSTED_PROXIES", ["10.0.0.0/8", "the proxy"], "sayso.E004"),
        ("SAYSO_CALLBACK_NETWORKS", ["10.0.0.0/8", "10.0.0.1/8"], "sayso.E005"),
        ("SAYSO_CALLBACK_NETWORKS", ["fd00::/8", "the intranet"], "sayso.E005"),
        ("SAYSO_CALLBACK_NETWORKS", ["0.0.0.0/0"], "sayso.W007"),
        ("SAYSO_CALLBACK_NETWORKS", ["::/0"], "sayso.W007"),
        ("SAYSO_CALLBACK_HOSTS", ["hooks.example.org", "*"], "sayso.W008"),
        ("SAYSO_CALLBACK_HOSTS", ["*.example.org", "https://hooks.example.org/"], "sayso.W008"),
        ("SAYSO_CALLBACK_HOSTS", ["localhost", "10.0.0.5", "[fd00::5]", "localhost:8000"], "sayso.W008"),
    ],
)
def test_impossible_values_are_reported(settings: Settings, name: str, value: object, expected: str) -> None:
    """Each names the variable at fault."""
    if name == "EMAIL_TIMEOUT" and django.VERSION >= (6, 1):
        smtp = {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": {"timeout": value}}
        settings.MAILERS = {"default": smtp}
    else:
        if name == "EMAIL_TIMEOUT":
            settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
            settings.EMAIL_HOST = "mail.example.org"
        setattr(settings, name, value)
    (message,) = checks.check_values()
    assert message.id == expected
    assert name in message.msg


@pytest.mark.django_db
@pytest.mark.one_stack
def test_a_chat_needs_the_extra(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SAYSO_NOTIFY = "on"
    monkeypatch.setitem(sys.modules, "apprise", None)  # as where it is not installed
    assert list(checks.check_chat(databases=["default"])) == []
    make.destination(make.group("team"), "chat", "slack://a/b/c")
    assert ids(checks.check_chat(databases=["default"])) == ["sayso.E025"]
    assert list(checks.check_chat()) == []


def test_the_values_of_an_untouched_installation_are_in_order() -> None:
    """Nothing is needed to start."""
    assert (
        list(checks.check_values()) == list(checks.check_secret_key()) == list(checks.check_processes()) == []
    )


def test_mail_that_stays_in_this_process_needs_no_timeout(settings: Settings) -> None:
    """As in the tests of a project."""
    local = "django.core.mail.backends.locmem.EmailBackend"
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": local}}
    else:
        settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_TIMEOUT = local, "mail.example.org", None
    assert list(checks.check_values()) == []


def test_mailers_without_a_timeout_are_named(settings: Settings) -> None:
    """As projects write them for Django 6.1; those that connect to nobody need none."""
    smtp = {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": {"timeout": 10}}
    settings.MAILERS = {"default": smtp, "log": {"BACKEND": "django.core.mail.backends.console.EmailBackend"}}
    assert list(checks.check_values()) == []
    settings.MAILERS = {"default": smtp | {"OPTIONS": {"host": "mail.example.org"}}}
    assert ids(checks.check_values()) == ["sayso.E031"]


def test_a_sender_that_mail_servers_refuse_is_named(settings: Settings) -> None:
    """Only where emails leave this computer."""
    smtp = "django.core.mail.backends.smtp.EmailBackend"
    assert list(checks.check_sender()) == []
    settings.MAILERS = {"default": {"BACKEND": smtp, "OPTIONS": {"timeout": 10}}}
    assert ids(checks.check_sender()) == ["sayso.W034"]
    settings.DEFAULT_FROM_EMAIL = "sayso@example.com"
    assert list(checks.check_sender()) == []


def test_two_path_prefixes_are_named(settings: Settings) -> None:
    settings.SAYSO_URL, settings.FORCE_SCRIPT_NAME = "https://example.com/sayso/", "/sayso"
    assert list(checks.check_values()) == []
    settings.FORCE_SCRIPT_NAME = "/approvals"
    assert ids(checks.check_values()) == ["sayso.W033"]


def test_what_believes_strangers_is_named(settings: Settings) -> None:
    assert list(checks.check_proxies()) == []
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert ids(checks.check_proxies()) == ["sayso.W031"]
    settings.SECURE_PROXY_SSL_HEADER = None
    settings.SAYSO_SERVER_BELIEVES = ["*"]
    assert ids(checks.check_proxies()) == ["sayso.W032"]


def test_that_links_can_not_be_made_is_said_before_deployment(settings: Settings) -> None:
    settings.SAYSO_URL = ""
    assert ids(checks.check_links()) == ["sayso.W030"]
    settings.SAYSO_URL = "https://example.com/sayso/"
    assert list(checks.check_links()) == list(checks.check_values()) == []


@pytest.mark.parametrize("key", ["short", "a" * 60])
def test_a_weak_key_is_reported_outside_debug(settings: Settings, key: str) -> None:
    """Sessions are as strong as the key; while developing nobody cares."""
    settings.SECRET_KEY = key
    assert ids(checks.check_secret_key()) == ["sayso.W001"]
    settings.DEBUG = True
    assert list(checks.check_secret_key()) == []


def test_a_key_that_others_may_read_is_reported(settings: Settings, tmp_path: Path) -> None:
    """The generated key is its owner's alone."""
    key = tmp_path / "secret_key"
    key.write_text(STRONG_KEY)
    key.chmod(0o644)
    settings.SAYSO_VAR = tmp_path
    assert ids(checks.check_secret_key()) == ["sayso.W002"]
    key.chmod(0o600)
    assert list(checks.check_secret_key()) == []


@pytest.mark.django_db
def test_a_generated_key_is_reported_where_there_are_many_computers(
    settings: Settings, tmp_path: Path, stack: Stack
) -> None:
    """With PostgreSQL another computer may answer, and it has generated another key."""
    (tmp_path / "secret_key").write_text(STRONG_KEY)
    (tmp_path / "secret_key").chmod(0o600)
    settings.SAYSO_VAR = tmp_path
    settings.SECRET_KEY = STRONG_KEY
    assert ids(checks.check_secret_key()) == ([] if stack.engine == "sqlite" else ["sayso.W003"])


@pytest.mark.every_stack
@pytest.mark.django_db
def test_one_computers_parts_are_reported_where_there_are_many_processes(
    settings: Settings, stack: Stack
) -> None:
    """The in-memory layer does not cross processes, and SQLite has one writer at a time."""
    expected = {
        "sqlite-memory": ["sayso.W005"],
        "sqlite-redis": ["sayso.W005"],
        "postgresql-memory": ["sayso.W004"],
    }
    settings.SAYSO_PROCESSES = 4
    assert ids(checks.check_processes()) == expected.get(stack.name, [])
    settings.SAYSO_PROCESSES = 1
    assert ids(checks.check_processes()) == (["sayso.W004"] if stack.name == "postgresql-memory" else [])


@pytest.mark.django_db
def test_missing_triggers_are_reported() -> None:
    """The audit table protects itself only while its triggers are there."""
    assert list(checks.check_triggers(databases=["default"])) == []
    with without_triggers():
        assert ids(checks.check_triggers(databases=["default"])) == ["sayso.W006"]


def test_triggers_are_looked_for_only_where_databases_are_checked() -> None:
    """`manage.py check` alone touches no database."""
    assert list(checks.check_triggers()) == []


def test_a_format_of_log_lines_that_there_is_not_is_named(settings: Settings) -> None:
    settings.SAYSO_LOG_FORMAT = "xml"
    assert ids(checks.check_values()) == ["sayso.E010"]


def test_a_token_for_the_metrics_that_could_be_guessed_is_named(settings: Settings) -> None:
    settings.SAYSO_METRICS_TOKEN = "prometheus"
    assert ids(check_metrics_token()) == ["sayso.W010"]
    settings.SAYSO_METRICS_TOKEN = STRONG_KEY
    assert list(check_metrics_token()) == []


def test_a_setting_that_there_is_not_is_named(settings: Settings) -> None:
    settings.SAYSO = {"HTTP_HOSTS": ["api.example.org"], "CALLBACK_HOSTS": []}
    assert list(checks.check_names()) == []
    settings.SAYSO = {"HTTP_HOST": ["api.example.org"]}
    (message,) = checks.check_names()
    assert (message.id, message.hint) == ("sayso.E040", "Did you mean 'HTTP_HOSTS'?")


@pytest.mark.processes
def test_a_production_installation_passes_the_deployment_checks(tmp_path: Path) -> None:
    """PostgreSQL, Redis, a strong key and TLS in front: `check --deploy` finds nothing."""
    environment = bare_environment() | {
        "SAYSO_VAR": str(tmp_path),
        "SAYSO_SECRET_KEY": django_settings.SECRET_KEY,
        "SAYSO_ALLOWED_HOSTS": "sayso.example.org",
        "SAYSO_TRUSTED_ORIGINS": "https://sayso.example.org",
        "SAYSO_TRUSTED_PROXIES": "10.0.0.1",
        "SAYSO_URL": "https://sayso.example.org",
        "EMAIL_URL": "smtp://mail.example.org",
        "EMAIL_FROM": "sayso@example.org",
        "DATABASE_URL": "postgresql://sayso@localhost/sayso",
        "REDIS_URL": "redis://localhost:6379",
    }
    checked = run_manage("check", "--deploy", "--fail-level", "WARNING", environment=environment)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.processes
def test_mistakes_in_the_environment_are_named(tmp_path: Path) -> None:
    """A bad value stops a command before it does anything, and names the variable."""
    environment = bare_environment() | {"SAYSO_VAR": str(tmp_path), "SAYSO_ENGINE": "steam"}
    result = run_manage("check", environment=environment)
    assert result.returncode == 1
    assert "sayso.E101" in result.stderr
    assert "local" in result.stderr
