"""System checks of the engine and of what agents may run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core import checks

ENGINES = ("local",)


@checks.register()
def check_engine(**kwargs: Any) -> list[checks.CheckMessage]:
    if settings.SAYSO_ENGINE in ENGINES:
        return []
    return [
        checks.Error(
            f"SAYSO_ENGINE is {settings.SAYSO_ENGINE!r}.",
            hint=f"Known engines: {', '.join(ENGINES)}.",
            id="sayso.E101",
        )
    ]


@checks.register()
def check_commands(**kwargs: Any) -> list[checks.CheckMessage]:
    """What the agent `command` may run must be programs that are there."""
    return list(_programs_not_found())


def _programs_not_found() -> Iterator[checks.CheckMessage]:
    for program in settings.SAYSO_COMMANDS:
        if not isinstance(program, str) or shutil.which(program) is None:
            yield checks.Warning(
                f"SAYSO_COMMANDS names {program!r}, which is no program on this computer.", id="sayso.W101"
            )
