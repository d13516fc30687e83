"""Allow-lists of what the built-in agents and `disk_cleanup` may reach, from the settings; empty by default.

The lists of the process that executes a step apply, whoever started its run. Runs that a person starts by
`manage.py orchestrate` need no list while that same process executes them: the person could do all of it
without Sayso.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar

from django.contrib.auth import get_user_model
from django.db.models.functions import Lower

from approvals.delivery.webhooks.targets import Reach
from orchestration.conf import LOCAL, orchestration_settings
from orchestration.exceptions import NotAllowed

# In SAYSO_EMAIL_RECIPIENTS: the addresses of active accounts.
ACCOUNTS = "accounts"

_limited: ContextVar[bool] = ContextVar("limited", default=True)


@contextmanager
def unlimited() -> Iterator[None]:
    """Apply no lists within the block, nor to runs of a runtime that is started in it."""
    token = _limited.set(False)
    try:
        yield
    finally:
        _limited.reset(token)


def clean_context() -> Context:
    """Return an empty context that keeps only whether lists apply."""
    context = Context()
    context.run(_limited.set, _limited.get())
    return context


def is_checked_at_start() -> bool:
    """Tell whether runs execute in processes like this one, so that its lists apply when a run starts."""
    return orchestration_settings().engine == LOCAL


def check_program(program: str) -> None:
    """Raise NotAllowed unless SAYSO_COMMANDS names the program."""
    allowed = orchestration_settings().commands
    if _limited.get() and program not in allowed:
        raise NotAllowed(
            f"arguments.program: {program!r} may not be run here. The setting SAYSO_COMMANDS allows: "
            f"{', '.join(allowed) or 'nothing'}.",
            field="arguments.program",
        )


def http_reach() -> Reach:
    """Return which URLs the agent `http` may request."""
    limited, configured = _limited.get(), orchestration_settings()
    return Reach(
        field="arguments.url",
        setting="SAYSO_HTTP",
        hosts=configured.http_hosts if limited else None,
        networks=configured.http_networks if limited else None,
    )


def check_directory(path: str | bytes) -> None:
    """Raise NotAllowed unless `path`, with links resolved, is in one of SAYSO_CLEANUP_DIRECTORIES.

    The error does not tell whether the path exists.
    """
    if not _limited.get():
        return
    real = os.path.realpath(os.fsencode(path))
    if not any(_is_below(real, directory) for directory in orchestration_settings().cleanup_directories):
        raise NotAllowed(
            f"directory: {os.fsdecode(path)!r} is outside of the directories that may be cleaned up here"
            " (SAYSO_CLEANUP_DIRECTORIES).",
            field="directory",
        )


def check_recipients(addresses: Collection[str]) -> None:
    """Raise NotAllowed unless all addresses are in SAYSO_EMAIL_RECIPIENTS. Reads the database."""
    if not _limited.get():
        return
    allowed = orchestration_settings().email_recipients or (ACCOUNTS,)
    patterns = {_normalize(each) for each in allowed if each != ACCOUNTS}
    others = [each for each in addresses if not _is_listed(_normalize(each), patterns)]
    known = _accounts(others) if others and ACCOUNTS in allowed else frozenset()
    for index, address in enumerate(addresses):
        if address in others and _normalize(address) not in known:
            raise NotAllowed(
                f"arguments.to[{index}]: {address!r} may not get email from here: no entry of"
                " SAYSO_EMAIL_RECIPIENTS allows it. By default, active accounts may.",
                field=f"arguments.to[{index}]",
            )


def _is_below(real: bytes, directory: str) -> bool:
    """Tell whether a path is in a directory; a relative directory allows nothing."""
    above = os.path.realpath(os.fsencode(directory))
    return directory.startswith("/") and (real + b"/").startswith(above.rstrip(b"/") + b"/")


def _is_listed(address: str, patterns: Collection[str]) -> bool:
    return address in patterns or f"*@{address.rpartition('@')[2]}" in patterns


def _accounts(addresses: Collection[str]) -> frozenset[str]:
    """Return those of the addresses that belong to active accounts."""
    users = get_user_model()
    field = users.get_email_field_name()
    found = users._default_manager.annotate(spelled=Lower(field)).filter(
        is_active=True, spelled__in={_normalize(each) for each in addresses}
    )
    return frozenset(_normalize(each) for each in found.values_list(field, flat=True) if each)


def _normalize(address: str) -> str:
    """Lower-case an ASCII address; other letters may become ASCII ones, and mean another mailbox."""
    return address.lower() if address.isascii() else address
