"""Check what an answer may be: choices to pick from, or a JSON Schema that it must fit. Pure, without Django.

Neither schemas nor answers are trusted: nothing is fetched, no pattern backtracks, all work is bounded.
"""

from __future__ import annotations

from approvals.domain.schemas.choices import Choices, check_choice, check_choices, labels_of
from approvals.domain.schemas.validation import check_against, check_schema

__all__ = ["Choices", "check_against", "check_choice", "check_choices", "check_schema", "labels_of"]
