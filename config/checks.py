"""System checks of what is this site's alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks

from approvals.checks import SETTINGS, Messages
from orchestration.conf import orchestration_settings


@checks.register(SETTINGS)
def check_apps_dir(**told: Any) -> Messages:
    """Check that nobody else can put code into the folder that apps are imported from."""
    folder = orchestration_settings().apps_dir
    if os.name == "posix" and settings.SAYSO_APPS and folder is not None:
        for path in filter(_others_may_write, _paths_of_code(folder, settings.SAYSO_APPS)):
            yield checks.Error(
                f"SAYSO_APPS_DIR: others may write {path}, and so change the code that this site executes.",
                hint=f"chmod -R go-w {folder}",
                id="sayso.E050",
            )
            return


def _paths_of_code(folder: Path, apps: Sequence[str]) -> Iterator[Path]:
    """Yield the folder, and all that the apps have in it."""
    if folder.is_dir():
        yield folder
        for package in sorted({folder / app.partition(".")[0] for app in apps}):
            if package.is_dir():
                yield package
                yield from (each for each in package.rglob("*") if each.exists())


def _others_may_write(path: Path) -> bool:
    about = path.stat()
    if about.st_mode & stat.S_IWOTH:
        return True
    return bool(about.st_mode & stat.S_IWGRP) and not _is_private_group(about.st_gid, about.st_uid)


def _is_private_group(group_id: int, owner_id: int) -> bool:
    """Tell whether the group is the owner's alone, as many systems make one for each account."""
    import grp
    import pwd

    try:
        group, owner = grp.getgrgid(group_id), pwd.getpwuid(owner_id)
    except KeyError:
        return False
    return group.gr_name == owner.pw_name and set(group.gr_mem) <= {owner.pw_name}
