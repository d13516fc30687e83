"""The command `orchestrations`."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from approvals.management.screen import Screen, ScreenCommand, visible
from orchestration import catalog
from orchestration.catalog import Orchestration


class Command(ScreenCommand):
    help = (
        "List the orchestrations that this process knows: what they do, which input they take, where they"
        " come from. Without a terminal, one line each: name, version, title, fields and module, separated"
        " by tabs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="as one JSON array")

    def handle(self, *, json: bool, **options: Any) -> None:
        known = [_describe(each) for each in catalog.orchestrations().values()]
        if json:
            self.screen.json(known)
        elif self.screen.is_terminal:
            _show(self.screen, known)
        else:
            self.screen.table((), [_line(each) for each in known])
        for module, error in catalog.not_imported().items():
            self.progress.say(f"{module} could not be imported: {error}", style="red")


def _describe(entry: Orchestration) -> dict[str, Any]:
    return {
        "name": entry.name,
        "version": entry.version,
        "title": entry.title or entry.label,
        "description": entry.description,
        "fields": {
            name: {"type": kind, "required": name in entry.input_schema.get("required", ())}
            for name, kind in entry.fields.items()
        },
        "module": entry.function.__module__,
        "app": catalog.app_of(entry),
    }


def _line(entry: Mapping[str, Any]) -> list[str]:
    version = str(entry["version"])
    return [entry["name"], version, entry["title"], ", ".join(_fields(entry)), entry["module"]]


def _fields(entry: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {field['type']}{'' if field['required'] else ' (optional)'}"
        for name, field in entry["fields"].items()
    ]


def _show(screen: Screen, known: list[dict[str, Any]]) -> None:
    screen.table(("Orchestration", "Input", "From"), [_row(each) for each in known])
    screen.say("Start one with: manage.py orchestrate NAME --input JSON", style="dim")


def _row(entry: Mapping[str, Any]) -> list[str | Text]:
    name = Text(visible(entry["name"]), style="bold")
    if entry["version"] > 1:
        name.append(f" (version {entry['version']})", style="not bold")
    name.append(f"\n{visible(entry['description'])}\n", style="not bold dim")
    origin = entry["module"] if entry["app"] is None else f"{entry['module']}\napp {entry['app']}"
    return [name, "\n".join(_fields(entry)) or "-", origin]
