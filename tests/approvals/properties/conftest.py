"""All examples of a test are one company's, within one hour."""

from __future__ import annotations

import sys

import pytest

from approvals.writer import comments


@pytest.fixture(autouse=True)
def _nobody_says_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comments, "LIMIT", sys.maxsize)
