"""What the built-in agents and `disk_cleanup` may reach: lists in the settings, empty unless somebody fills
them.

What counts are the lists of the process that executes a step, whoever began its run. A person who runs
`manage.py orchestrate` may do all of this without Sayso: what they begin needs no list while that very
process executes it.
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
    """Without lists, and so the runs of a runtime that is started in here."""
    token = _limited.set(False)
    try:
        yield
    finally:
        _limited.reset(token)


def clean_context() -> Context:
    """A context with nothing of this one but whether there are lists."""
    context = Context()
    context.run(_limited.set, _limited.get())
    return context


def is_checked_at_start() -> bool:
    """Whether runs execute in processes like this one, so that a start may be refused by its lists."""
    return orchestration_settings().engine == LOCAL


def check_program(program: str) -> None:
    allowed = orchestration_settings().commands
    if _limited.get() and program not in allowed:
        raise NotAllowed(
            f"arguments.program: {program!r} may not be run here. The setting SAYSO_COMMANDS allows: "
            f"{', '.join(allowed) or 'nothing'}.",
            field="arguments.program",
        )


def http_reach() -> Reach:
    """Which URLs the agent `http` may request."""
    limited, configured = _limited.get(), orchestration_settings()
    return Reach(
        field="arguments.url",
        setting="SAYSO_HTTP",
        hosts=configured.http_hosts if limited else None,
        networks=configured.http_networks if limited else None,
    )


def check_directory(path: str | bytes) -> None:
    """NotAllowed unless `path`, with its links resolved, is in one of SAYSO_CLEANUP_DIRECTORIES.

    What is refused is the same whether it exists or not.
    """
    if not _limited.get():
        return
    real = os.path.realpath(os.fsencode(path))
    if not any(_is_below(real, directory) for directory in orchestration_settings().cleanup_directories):
        raise NotAllowed(
            f"directory: {os.fsdecode(path)!r} is outside of what may be cleaned up here"
            " (SAYSO_CLEANUP_DIRECTORIES).",
            field="directory",
        )


def check_recipients(addresses: Collection[str]) -> None:
    """NotAllowed unless each is in SAYSO_EMAIL_RECIPIENTS. Asks the database."""
    if not _limited.get():
        return
    allowed = orchestration_settings().email_recipients or (ACCOUNTS,)
    patterns = {_normalize(each) for each in allowed if each != ACCOUNTS}
    others = [each for each in addresses if not _is_listed(_normalize(each), patterns)]
    known = _accounts(others) if others and ACCOUNTS in allowed else frozenset()
    for index, address in enumerate(addresses):
        if address in others and _normalize(address) not in known:
            raise NotAllowed(
                f"arguments.to[{index}]: {address!r} may not be written to here: it is in no entry of"
                " SAYSO_EMAIL_RECIPIENTS, by default the addresses of active accounts.",
                field=f"arguments.to[{index}]",
            )


def _is_below(real: bytes, directory: str) -> bool:
    """A relative path would depend on where the process was started: it allows nothing."""
    above = os.path.realpath(os.fsencode(directory))
    return directory.startswith("/") and (real + b"/").startswith(above.rstrip(b"/") + b"/")


def _is_listed(address: str, patterns: Collection[str]) -> bool:
    return address in patterns or f"*@{address.rpartition('@')[2]}" in patterns


def _accounts(addresses: Collection[str]) -> frozenset[str]:
    """Those of active accounts among them."""
    users = get_user_model()
    field = users.get_email_field_name()
    found = users._default_manager.annotate(spelled=Lower(field)).filter(
        is_active=True, spelled__in={_normalize(each) for each in addresses}
    )
    return frozenset(_normalize(each) for each in found.values_list(field, flat=True) if each)


def _normalize(address: str) -> str:
    """Case makes no difference, in ASCII: other letters may become these, and be another mailbox."""
    return address.lower() if address.isascii() else address
