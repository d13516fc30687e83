"""What an answer may be: choices to pick from, or a JSON Schema that it must fit. Pure, without Django.

Whoever writes a schema, whoever answers it: nothing is fetched, no pattern backtracks, all work is bounded.
"""

from __future__ import annotations

from approvals.domain.schemas.choices import Choices, check_choice, check_choices, labelled
from approvals.domain.schemas.fitting import check_against, check_schema

__all__ = ["Choices", "check_against", "check_choice", "check_choices", "check_schema", "labelled"]
