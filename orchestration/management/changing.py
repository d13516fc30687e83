"""Find the run that a command changes."""

from __future__ import annotations

from django.contrib.auth.models import User

from orchestration import queries
from orchestration.management.refusals import raise_as_refusal
from orchestration.models import Run


def find_run(person: User, text: str) -> Run:
    """The run whose id this is, or begins with this, if the person may see it."""
    with raise_as_refusal():
        return queries.run_for(person.pk, queries.find_run_id(person.pk, text))
