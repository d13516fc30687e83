"""Examples in the documents, which tests run as they stand there."""

from __future__ import annotations

import re

from tests.processes import PROJECT


def examples(document: str, name: str) -> list[str]:
    """The code blocks of this document of docs/ below a comment of this name, in order."""
    text = (PROJECT / "docs" / document).read_text(encoding="utf-8")
    found = re.findall(rf"^<!-- {name} -->\n```\w+\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found, f"docs/{document} has no example {name!r}"
    return found
