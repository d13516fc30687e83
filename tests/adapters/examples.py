"""The examples of docs/agents.md, as programs."""

from __future__ import annotations

from typing import Any

from tests.processes import PROJECT


def run_example(heading: str, replace: str, by: Any, **names: Any) -> dict[str, Any]:
    """Run the first Python block under a heading with `by` instead of what it has there; return its names."""
    section = (PROJECT / "docs" / "agents.md").read_text().partition(f"\n## {heading}\n")[2]
    code = section.partition("```python\n")[2].partition("```\n")[0]
    assert replace in code
    scope: dict[str, Any] = {"__name__": "__main__", "SCRIPTED": by, **names}
    exec(compile(code.replace(replace, "SCRIPTED"), f"docs/agents.md, {heading}", "exec"), scope)
    return scope
