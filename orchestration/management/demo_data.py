"""The data of `demo`: two people, and sample orchestrations that wait for them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User

from approvals.conf import approval_settings
from approvals.management.installation import is_embedded
from approvals.management.screen import Refused
from approvals.process.files import make_private_folder, open_private
from orchestration import queries
from orchestration.conf import orchestration_settings
from orchestration.manager import OrchestrationManager
from orchestration.models import OPEN
from orchestration.policies.allowlists import ACCOUNTS, unlimited
from orchestration.ready_made.disk import DEMO_FILES

OWNER, REVIEWER = "owner", "reviewer"
# A group that the samples name: an account and a role have the name "reviewer", so it names nobody.
DEMO = "Demo people"
# Recipient of the sample plan's email.
EVERYBODY = "everybody@example.org"
# Roles: groups that migrations create, as README describes them.
REQUESTERS, REVIEWERS, AUDITORS = "requester", "reviewer", "auditor"

# Without characters that look alike.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_FILES = {
    "videos/all-hands-raw.mp4": 4_200_000,
    "backups/database-2024.dump": 2_600_000,
    "downloads/installer-old.iso": 1_900_000,
    "logs/access.log.1": 640_000,
    "notes/ideas.txt": 2_100,
}


def require_embedded() -> None:
    """Raise Refused unless the database is the embedded one: people and samples are added to it."""
    if not is_embedded():
        raise Refused("`demo` is for the embedded database only: it would add people to yours. Use `serve`.")


def demo_people() -> list[tuple[str, str, str]]:
    """Create or update both people; return the name, the new password, and what each may do.

    Raises Refused if their names are taken.
    """
    _require_free_names()
    return [
        _person(OWNER, "starts runs and decides what they ask", [REQUESTERS]),
        _person(REVIEWER, "decides, reads everything, opens the admin", [REVIEWERS, AUDITORS], staff=True),
    ]


def allow_samples() -> None:
    """Add what the samples do to this process's allow-lists."""
    allowed = orchestration_settings()
    settings.SAYSO_CLEANUP_DIRECTORIES = [*allowed.cleanup_directories, str(_directory())]
    settings.SAYSO_EMAIL_RECIPIENTS = [*(allowed.email_recipients or [ACCOUNTS]), EVERYBODY]


def start_samples() -> list[str]:
    """Queue the samples for the server, except those that still wait from an earlier `demo`; return all."""
    owner = get_user_model()._default_manager.get(username=OWNER)
    known = queries.list_runs(owner.pk)
    for name, given in _samples().items():
        prefix = f"demo-{name}-"
        earlier = [run for run in known if run.key.startswith(prefix)]
        if not any(run.status in OPEN for run in earlier):
            with unlimited():  # the lists of the server that executes it apply
                OrchestrationManager().start(name, given, owner, key=f"{prefix}{len(earlier) + 1}")
    return [*_samples()]


def _samples() -> Mapping[str, dict[str, Any]]:
    return {
        "plan": {
            "task": "Invite everybody to the summer party",
            "steps": [
                {
                    "agent": "person",
                    "action": "Where shall we celebrate?",
                    "arguments": {
                        "choices": ["On the roof", "By the lake", "In the office"],
                        "timeout": 86_400,
                    },
                },
                {
                    "agent": "email",
                    "action": "send",
                    "arguments": {
                        "to": [EVERYBODY],
                        "subject": "Summer party",
                        "body": "Friday at six. Bring friends.",
                    },
                },
            ],
        },
        "checklist": {
            "title": "Release 2.4",
            "items": [
                {"title": "All tests are green", "assignees": [DEMO]},
                {
                    "title": "Last night's backup can be restored",
                    "details": "Restore it into `staging` and open **one order** there.",
                    "assignees": [DEMO],
                    "four_eyes": True,
                },
                "Customers know of the maintenance window",
            ],
        },
        "disk_cleanup": {"directory": str(_files())},
    }


def _files() -> Path:
    """Make a directory with files that can be removed."""
    directory = _directory()
    for name, size in _FILES.items():
        file = directory / name
        if not file.exists():
            make_private_folder(file.parent)
            with os.fdopen(open_private(file), "wb") as content:
                content.write(bytes(size))
    return directory


def _directory() -> Path:
    return approval_settings().var.absolute() / DEMO_FILES


def _require_free_names() -> None:
    strangers = (
        get_user_model()._default_manager.filter(username__in=[OWNER, REVIEWER]).exclude(groups__name=DEMO)
    )
    if stranger := strangers.first():
        raise Refused(
            f"There is an account {stranger.get_username()!r} that `demo` did not make, so it leaves"
            " everything as it is. Use `serve`."
        )


def _person(username: str, may: str, roles: list[str], *, staff: bool = False) -> tuple[str, str, str]:
    """Create or update one person; their other groups stay, because earlier samples may wait for these."""
    password = "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))
    person, _ = User.objects.get_or_create(username=username)
    person.is_active, person.is_staff, person.is_superuser = True, staff, False
    person.set_password(password)
    person.save()
    person.groups.add(*(Group.objects.get_or_create(name=name)[0] for name in (DEMO, *roles)))
    return username, password, f"{may} ({' and '.join(roles)})"
