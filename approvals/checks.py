"""System checks of this installation's settings, run by `manage.py check` and at start."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from ipaddress import ip_network
from itertools import islice
from typing import Any, TypeAlias

from django.conf import global_settings, settings
from django.core import checks
from django.db import connections

from approvals import links, queries
from approvals.conf import approval_settings, channel_layer_is_in_memory, setting_names, tells_people
from approvals.database import triggers
from approvals.delivery import chat
from approvals.delivery.webhooks import targets
from approvals.process import files

_WEAK_LENGTH = 50
_WEAK_VARIETY = 5
_WORDS = {
    "approve_on_timeout": ("E015", ("single", "any")),
    "notify": ("E016", ("on", "off")),
    "message_detail": ("E017", ("title", "summary", "full")),
    "links": ("E019", ("login", "personal")),
}
_NAMED_AT_MOST = 5
_LOG_FORMATS = ("auto", "text", "json")
_LIMITS = (
    "rate_limit",
    "address_rate_limit",
    "login_rate_limit",
    "sockets_per_user",
    "sockets_per_address",
    "writer_queue",
    "requests_per_user",
    "bytes_per_user",
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_SMTP = ".smtp.EmailBackend"

# The tag of what all our commands check before they start: settings, not pages and URLs.
SETTINGS = "sayso"

Messages: TypeAlias = Iterator[checks.CheckMessage]


@checks.register(SETTINGS)
def check_values(**told: Any) -> Messages:
    configured = approval_settings()
    yield from check_number("SAYSO_DEFAULT_TIMEOUT", configured.default_timeout, "E001")
    yield from _check_words()
    yield from check_number("SAYSO_LINK_HOURS", configured.link_hours, "E020")
    yield from check_number("SAYSO_RECHECK_INTERVAL", configured.recheck_interval, "E002")
    yield from check_number("SAYSO_DATABASE_THREADS", configured.database_threads, "E003")
    for name in _LIMITS:
        value = getattr(configured, name)
        yield from check_number(f"SAYSO_{name.upper()}", value, "E009", rule="0 or more", zero_allowed=True)
    yield from _check_trusted_proxies()
    yield from check_networks("SAYSO_CALLBACK_NETWORKS", configured.callback_networks, "E005", "W007")
    yield from check_hosts("SAYSO_CALLBACK_HOSTS", configured.callback_hosts, "hooks.example.org", "W008")
    yield from _check_chat_schemes()
    yield from _check_log_format()
    yield from _check_own_url()
    yield from _check_script_name()
    yield from _check_email_timeouts()


@checks.register(SETTINGS)
def check_names(**told: Any) -> Messages:
    """Check that the dictionary SAYSO names settings that there are."""
    known = setting_names()
    for name in sorted(set(getattr(settings, "SAYSO", {})) - known):
        meant = get_close_matches(name.upper(), known, n=1)
        yield checks.Error(
            f"SAYSO: there is no setting {name!r}.",
            hint=f"Did you mean {meant[0]!r}?" if meant else "docs/deployment.md lists all settings.",
            id="sayso.E040",
        )


@checks.register(checks.Tags.security, deploy=True)
def check_links(**told: Any) -> Messages:
    """Check that the installation knows its address: without it, it sends no links."""
    if not links.are_set_up():
        yield checks.Warning(
            "SAYSO_URL is not set: nobody can reset a forgotten password.",
            hint="Set it to the address that people use, such as https://sayso.example.com.",
            id="sayso.W030",
        )


@checks.register(SETTINGS)
def check_notify(**told: Any) -> Messages:
    """Check that what people are told can have a link to the request."""
    if tells_people() and not links.are_set_up():
        yield checks.Error(
            "SAYSO_NOTIFY is on, but SAYSO_URL is not set: nobody is told about requests.",
            hint="Set SAYSO_URL to the address that people use, such as https://sayso.example.com.",
            id="sayso.E018",
        )


@checks.register(checks.Tags.database)
def check_chat(*, databases: Sequence[str] | None = None, **told: Any) -> Messages:
    """Check that what writes to chats is installed where somebody is told by one."""
    if "default" not in (databases or ()) or not tells_people() or chat.is_installed():
        return
    if queries.is_chat_used():
        yield checks.Error(
            "Somebody is to be told by chat, but the extra `chat` is not installed.",
            hint="pip install 'sayso[chat]'",
            id="sayso.E025",
        )


@checks.register(checks.Tags.compatibility, deploy=True)
def check_sender(**told: Any) -> Messages:
    """Check that emails come from an address of the installation's own."""
    if settings.DEFAULT_FROM_EMAIL == global_settings.DEFAULT_FROM_EMAIL and _sends_by_smtp():
        yield checks.Warning(
            f"Emails come from {settings.DEFAULT_FROM_EMAIL}, which most mail servers refuse.",
            hint="Set EMAIL_FROM, or DEFAULT_FROM_EMAIL in a project of your own.",
            id="sayso.W034",
        )


@checks.register(SETTINGS, checks.Tags.security)
def check_proxies(**told: Any) -> Messages:
    """Check for settings other than SAYSO_TRUSTED_PROXIES that trust headers of proxies."""
    if settings.SECURE_PROXY_SSL_HEADER:
        yield checks.Warning(
            "SECURE_PROXY_SSL_HEADER is set: Django trusts that header from anybody who connects.",
            hint="Leave it out. X-Forwarded-Proto is trusted from SAYSO_TRUSTED_PROXIES.",
            id="sayso.W031",
        )
    if approval_settings().server_believes:
        yield checks.Warning(
            "FORWARDED_ALLOW_IPS is set: uvicorn replaces the peer's address by that of X-Forwarded-For,"
            " which the trail and the limits then use.",
            hint="Start uvicorn with --no-proxy-headers, and name proxies in SAYSO_TRUSTED_PROXIES.",
            id="sayso.W032",
        )


@checks.register(SETTINGS, checks.Tags.security)
def check_secret_key(**told: Any) -> Messages:
    """Check that the secret key, which signs sessions and links, is strong and private."""
    if not settings.DEBUG and _is_weak(settings.SECRET_KEY):
        yield checks.Warning(
            "The secret key is weak: sessions could be forged.",
            hint=f"Set at least {_WEAK_LENGTH} random characters; Sayso's own site can make them itself.",
            id="sayso.W001",
        )
    path = approval_settings().var / "secret_key"
    if not path.exists():
        return
    if path.stat().st_mode & 0o077:
        yield checks.Warning(
            f"Other accounts of this computer can read {path}.", hint=f"chmod 600 {path}", id="sayso.W002"
        )
    if not _is_sqlite() and not settings.DEBUG and path.read_text().strip() == settings.SECRET_KEY:
        yield checks.Warning(
            "The secret key is in a file of this computer, which other computers of this installation lack.",
            hint="Set SAYSO_SECRET_KEY to the same value everywhere.",
            id="sayso.W003",
        )


@checks.register(checks.Tags.security, deploy=True)
def check_files(**told: Any) -> Messages:
    """Check that only this account can read the installation's files, such as the database and keys."""
    folder = approval_settings().var
    if found := list(islice(files.find_exposed(folder), _NAMED_AT_MOST + 1)):
        named = ", ".join(str(path) for path in found[:_NAMED_AT_MOST])
        more = " and more" if len(found) > _NAMED_AT_MOST else ""
        yield checks.Warning(
            f"Other accounts of this computer have access to files in SAYSO_VAR: {named}{more}.",
            hint=f"chmod -R go= {folder}",
            id="sayso.W015",
        )


@checks.register(SETTINGS)
def check_processes(**told: Any) -> Messages:
    """Check for combinations that are slow or wrong with several processes or computers."""
    if settings.DEBUG:
        return
    configured = approval_settings()
    if channel_layer_is_in_memory() and not _is_sqlite():
        yield checks.Warning(
            "PostgreSQL is used with the in-memory channel layer: other processes see decisions only"
            f" every {configured.recheck_interval:g} s.",
            hint="Set REDIS_URL.",
            id="sayso.W004",
        )
    if _is_sqlite() and configured.processes > 1:
        yield checks.Warning(
            f"SQLite is used with {configured.processes} processes: it has one writer at a time.",
            hint="Set DATABASE_URL to a PostgreSQL database, or WEB_CONCURRENCY to 1.",
            id="sayso.W005",
        )


@checks.register(checks.Tags.database)
def check_triggers(*, databases: Sequence[str] | None = None, **told: Any) -> Messages:
    """Check that the triggers protect the audit table."""
    for connection in map(connections.__getitem__, databases or ()):
        tables = connection.introspection.table_names()
        if triggers.TABLE in tables and (faults := triggers.faults(connection)):
            yield checks.Warning(
                f"The audit table is not protected: {', '.join(faults)}.",
                hint="Run `manage.py migrate`, which installs the triggers.",
                id="sayso.W006",
            )


def check_number(
    name: str, value: float, check_id: str, *, rule: str = "a positive number", zero_allowed: bool = False
) -> Messages:
    """Check that a setting is a finite number, and positive or, if allowed, zero."""
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero_allowed):
        yield checks.Error(f"{name} must be {rule}, not {value!r}.", id=f"sayso.{check_id}")


def _check_words() -> Messages:
    configured = approval_settings()
    for name, (check_id, words) in _WORDS.items():
        value = getattr(configured, name)
        if value not in words:
            named = " or ".join(words)
            yield checks.Error(
                f"SAYSO_{name.upper()} must be {named}, not {value!r}.", id=f"sayso.{check_id}"
            )


def _check_trusted_proxies() -> Messages:
    for address in approval_settings().trusted_proxies:
        try:
            ip_network(address)
        except ValueError as error:
            yield checks.Error(
                f"SAYSO_TRUSTED_PROXIES: {error}.",
                hint="IP addresses or networks such as 10.0.0.0/8, separated by commas.",
                id="sayso.E004",
            )


def check_networks(setting: str, entries: Iterable[str], invalid: str, everything: str) -> Messages:
    """Check networks: the error `invalid`, or the warning `everything` for a network of all addresses."""
    for text in entries:
        network = targets.parse_network(text)
        if network is None:
            yield checks.Error(
                f"{setting}: {text!r} is not a network.",
                hint="Networks such as 10.0.0.0/8, separated by commas.",
                id=f"sayso.{invalid}",
            )
        elif network.prefixlen == 0:
            yield checks.Warning(
                f"{setting}: {text} allows all addresses, this computer's own services included.",
                hint="List the private networks that are allowed; public addresses need not be listed.",
                id=f"sayso.{everything}",
            )


def check_hosts(setting: str, entries: Iterable[str], example: str, invalid: str) -> Messages:
    """Check hosts and patterns of hosts: the warning `invalid` for other text."""
    for text in entries:
        if not targets.is_pattern(text):
            yield checks.Warning(
                f"{setting}: {text!r} is not a host, and allows none.",
                hint=f"Hosts without a port, such as {example} or *.example.org, separated by commas.",
                id=f"sayso.{invalid}",
            )


def _check_chat_schemes() -> Messages:
    for scheme in approval_settings().chat_schemes:
        if not _SCHEME.fullmatch(scheme):
            yield checks.Error(
                f"SAYSO_CHAT_SCHEMES: {scheme!r} is not how an address begins.",
                hint="Names such as slack or ntfys, without ://, separated by commas.",
                id="sayso.E026",
            )


def _check_log_format() -> Messages:
    if (form := approval_settings().log_format) not in _LOG_FORMATS:
        yield checks.Error(
            f"SAYSO_LOG_FORMAT can't be {form!r}.",
            hint=f"One of {', '.join(_LOG_FORMATS)}.",
            id="sayso.E010",
        )


def _check_own_url() -> Messages:
    url = approval_settings().url
    if url and (fault := links.fault_of(url)):
        yield checks.Error(
            f"SAYSO_URL {fault}.",
            hint="The address that people use, such as https://sayso.example.com or https://example.com/sayso.",
            id="sayso.E030",
        )


def _check_script_name() -> Messages:
    name = settings.FORCE_SCRIPT_NAME
    if name and not links.is_prefix(name):
        yield checks.Error(
            f"FORCE_SCRIPT_NAME can't be {name!r}.",
            hint="A path such as /sayso, which begins with a slash and does not end with one.",
            id="sayso.E032",
        )
    elif name and links.are_set_up() and links.prefix() != name:
        yield checks.Warning(
            f"FORCE_SCRIPT_NAME is {name}, but SAYSO_URL {approval_settings().url} has another path.",
            hint="Leave FORCE_SCRIPT_NAME out: it follows from SAYSO_URL.",
            id="sayso.W033",
        )


def _check_email_timeouts() -> Messages:
    for timeout in _timeouts_of_mail():
        if timeout is None or not math.isfinite(timeout) or timeout <= 0:
            yield checks.Error(
                f"EMAIL_TIMEOUT must be a positive number, not {timeout!r}: else a mail server that does not"
                " answer is waited for without end.",
                hint="EMAIL_TIMEOUT = 10; in MAILERS of Django 6.1 it is the option timeout.",
                id="sayso.E031",
            )


def _sends_by_smtp() -> bool:
    mailers = getattr(settings, "MAILERS", None)
    if mailers is None:
        return str(settings.EMAIL_BACKEND).endswith(_SMTP)
    return any(each["BACKEND"].endswith(_SMTP) for each in mailers.values())


def _timeouts_of_mail() -> list[float | None]:
    """Return the timeout of each mailer that uses SMTP; none where nobody has set mail up."""
    mailers = getattr(settings, "MAILERS", None)
    if mailers is None:
        set_up = _sends_by_smtp() and settings.EMAIL_HOST != global_settings.EMAIL_HOST
        return [settings.EMAIL_TIMEOUT] if set_up else []
    smtp = [each for each in mailers.values() if each["BACKEND"].endswith(_SMTP)]
    return [each.get("OPTIONS", {}).get("timeout") for each in smtp]


def _is_weak(key: str) -> bool:
    """Tell whether a key is weak; that of a new project is named by Django's own check, security.W009."""
    return len(key) < _WEAK_LENGTH or len(set(key)) < _WEAK_VARIETY


def _is_sqlite() -> bool:
    return connections["default"].vendor == "sqlite"
