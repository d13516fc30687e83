"""Find the run that a command changes."""

from __future__ import annotations

from django.contrib.auth.models import User

from orchestration import queries
from orchestration.management.refusals import told_as_refusal
from orchestration.models import Run


def named_run(person: User, text: str) -> Run:
    """The run whose id this is, or begins with this, if the person may see it."""
    with told_as_refusal():
        return queries.run_for(person.pk, queries.find_id(person.pk, text))
