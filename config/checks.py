"""System checks of what is this site's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks

from approvals.checks import Messages


@checks.register()
def check_apps_dir(**told: Any) -> Messages:
    """Check that nobody else can put code into the folder that apps are imported from."""
    folder: Path = settings.SAYSO_APPS_DIR
    if settings.SAYSO_APPS and folder.is_dir() and _others_may_write(folder):
        yield checks.Error(
            f"SAYSO_APPS_DIR: others may write {folder}, and with it the code that this site executes.",
            hint=f"chmod go-w {folder}",
            id="sayso.E040",
        )


def _others_may_write(folder: Path) -> bool:
    if os.name != "posix":
        return False
    about = folder.stat()
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
