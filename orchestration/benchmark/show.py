"""A benchmark's findings in the terminal: tables, goals, progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from approvals.management.screen import Screen
from orchestration.benchmark.report import Cell, Check, Goal, Report, Table
from orchestration.benchmark.stage import Progress as Told
from orchestration.benchmark.words import cell, heading, number

_NAMED = 5


def show(report: Report, screen: Screen, *, judged: bool) -> None:
    """`judged`: whether this stack is the one that the goals are for."""
    for table in report.tables:
        screen.say(table.title, style="bold")
        _show_table(table, screen)
        screen.say("")
    for goal in report.goals:
        _show_goal(goal, screen, judged=judged)
    for note in report.notes:
        screen.say(note, style="dim")
    _show_check(report.check, screen)


@contextmanager
def progress_bar(console: Console, name: str) -> Iterator[Told]:
    """A bar on a terminal; elsewhere nothing."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=None)

        def told(done: int, expected: int) -> None:
            progress.update(task, completed=done, total=expected)

        yield told


def faults(check: Check) -> str:
    """Which waits went wrong, and how; "" if none did."""
    kinds = {"lost": check.lost, "resolved twice": check.doubled, "told what is not on record": check.wrong}
    return "; ".join(f"{kind}: {_some(ids)}" for kind, ids in kinds.items() if ids)


def _show_table(table: Table, screen: Screen) -> None:
    headings = [heading(column) for column in table.columns]
    rows: list[list[str | Text]] = [[_aligned(value) for value in row] for row in table.rows]
    if not screen.is_terminal:  # there, a table has no headings of its own
        rows.insert(0, list(headings))
    screen.table(headings, rows)


def _aligned(value: Cell) -> str | Text:
    return value if isinstance(value, str) else Text(cell(value), justify="right")


def _show_goal(goal: Goal, screen: Screen, *, judged: bool) -> None:
    measured = "not measured" if goal.measured is None else f"measured {number(goal.measured)} {goal.unit}"
    if not judged or goal.met is None:
        verdict, style = "not judged on this stack" if not judged else "", "dim"
    else:
        verdict, style = ("met", "green") if goal.met else ("NOT met", "red")
    screen.say(f"Goal: {goal.text}: {measured}{f', {verdict}' if verdict else ''}", style=style)


def _show_check(check: Check, screen: Screen) -> None:
    if check.passed:
        screen.say(f"Checked: {check.waits:,} waits, each resolved once, as recorded.", style="green")
    else:
        screen.say(f"WRONG: of {check.waits:,} waits {faults(check)}", style="red bold")


def _some(ids: tuple[str, ...]) -> str:
    rest = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + rest
