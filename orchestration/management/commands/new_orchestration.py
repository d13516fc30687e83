"""The command `new_orchestration`."""

from __future__ import annotations

import keyword
from argparse import ArgumentParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.apps import apps

from approvals.management.screen import Misuse, Refused, ScreenCommand
from orchestration.catalog import orchestrations
from orchestration.conf import orchestration_settings
from orchestration.management.new_app import write_app

NAME_LIMIT = 50


class Command(ScreenCommand):
    help = (
        "Write an app with an orchestration that runs, and its test, into the folder SAYSO_APPS_DIR (apps/"
        " beside manage.py), and say what to set to install it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="of the app and its orchestration, such as refunds")
        parser.add_argument("--directory", type=Path, help="the folder, instead of SAYSO_APPS_DIR")

    def handle(self, *, name: str, directory: Path | None, **options: Any) -> None:
        usual = orchestration_settings().apps_dir
        folder = directory or usual
        if folder is None:
            raise Misuse("NAME: this project has no SAYSO_APPS_DIR; say where to write with --directory.")
        check_name(name)
        _check_free(name, folder)
        try:
            line = write_app(folder.absolute(), name, names_folder=folder != usual)
        except OSError as error:
            raise Refused(f"{folder} can't be written: {error.strerror}") from error
        for path in sorted((folder / name).iterdir()):
            self.screen.say(f"Written: {path}")
        self.screen.say(line)


def check_name(name: str) -> None:
    """Raise Misuse for what is no name of a module."""
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii() or len(name) > NAME_LIMIT:
        raise Misuse(
            f"NAME: {name!r} is no name for a Python module: letters, digits and underscores, at most"
            f" {NAME_LIMIT}, no digit first, and no keyword."
        )
    if name != name.lower():
        raise Misuse(f"NAME: {name!r} has capital letters; modules have none.")


def _check_free(name: str, folder: Path) -> None:
    if (folder / name).exists():
        raise Refused(f"NAME: there is {folder / name} already.")
    if name in orchestrations():
        raise Refused(f"NAME: there is an orchestration {name!r} already.")
    if name in {app.label for app in apps.get_app_configs()} or find_spec(name) is not None:
        raise Refused(f"NAME: there is a module {name!r} already, which the app would hide, or be hidden by.")
