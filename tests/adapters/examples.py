"""The examples of docs/agents.md, as programs."""

from __future__ import annotations

from typing import Any

from tests.processes import PROJECT


def run_example(heading: str, model: str = "", scripted: Any = None) -> dict[str, Any]:
    """Run the first Python block under a heading, with a scripted model if it names one; return its names."""
    section = (PROJECT / "docs" / "agents.md").read_text().partition(f"\n## {heading}\n")[2]
    code = section.partition("```python\n")[2].partition("```\n")[0]
    assert code
    assert model in code
    if model:
        code = code.replace(model, "SCRIPTED")
    scope: dict[str, Any] = {"__name__": "__main__", "SCRIPTED": scripted}
    exec(compile(code, f"docs/agents.md, {heading}", "exec"), scope)
    return scope
