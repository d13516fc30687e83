"""What `new_orchestration` writes: an app with an orchestration that runs, its test, and a line about it."""

from __future__ import annotations

from pathlib import Path
from string import Template

_ORCHESTRATIONS = Template('''\
"""The orchestration `$name`. Change it to what you need; see docs/event_driven_orchestration.md of Sayso."""

from orchestration import Run, orchestration


@orchestration("$name")
async def $name(run: Run, *, order: int, amount: str) -> str:
    """Ask for an approval and a reason, then act."""
    await run.approve(f"{amount} for order {order}", arguments={"order": order, "amount": amount})
    reason = await run.ask("Why?", choices=["duplicate", "damaged"])
    await run.say("$name", f"Going on because: {reason}")
    return await run.step("act", act, order, amount)  # recorded: never runs twice


def act(order: int, amount: str) -> str:
    """Have the effect. What it returns is recorded, and must be JSON."""
    return f"{amount} for order {order}: done"
''')

_TESTS = Template('''\
"""Tests of the orchestration `$name`; see docs/testing.md of Sayso."""

from django.test import SimpleTestCase

from orchestration.testing import answer, approve, reject, run_orchestration

INPUT = {"order": 812, "amount": "12.40"}


class ${title}Tests(SimpleTestCase):
    def test_it_acts_once_it_is_approved(self) -> None:
        run = run_orchestration("$name", INPUT, people=[approve(), answer("damaged")])

        self.assertEqual(run.result, "12.40 for order 812: done")

    def test_it_does_not_act_where_it_is_rejected(self) -> None:
        run = run_orchestration("$name", INPUT, people=[reject("No.")])

        self.assertEqual(run.status, "rejected")
        self.assertEqual(run.steps, [])
''')

_HEADING = "# Orchestrations of this installation\n\n"
_LINE = Template(
    "- `$name`: set `SAYSO_APPS=$name`$folder (more than one: with commas), then start it with"
    ' `manage.py orchestrate $name --input \'{"order": 812, "amount": "12.40"}\'`;'
    " test it with `manage.py test $name`.\n"
)


def write_app(folder: Path, name: str, *, names_folder: bool) -> str:
    """Write the app `name` into this folder, and a line about it into the folder's README.md; return that.

    `names_folder`: the line names SAYSO_APPS_DIR, because the folder is not where apps are looked for by
    default. Raises FileExistsError, and OSError where the folder can't be written.
    """
    app = folder / name
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    app.mkdir(mode=0o755)
    words = {"name": name, "title": name.title().replace("_", "")}
    (app / "__init__.py").write_text(f'"""The orchestration `{name}`."""\n', encoding="utf-8")
    (app / "orchestrations.py").write_text(_ORCHESTRATIONS.substitute(words), encoding="utf-8")
    (app / "tests.py").write_text(_TESTS.substitute(words), encoding="utf-8")
    line = _LINE.substitute(words, folder=f" and `SAYSO_APPS_DIR={folder}`" if names_folder else "")
    readme = folder / "README.md"
    said = readme.read_text(encoding="utf-8") if readme.exists() else _HEADING
    readme.write_text(said + line, encoding="utf-8")
    return line.strip().removeprefix("- ")
