"""Find the run that a command changes."""

from __future__ import annotations

from django.contrib.auth.models import User

from orchestration import selectors
from orchestration.management.refusals import told_as_refusal
from orchestration.models import Run


def named_run(person: User, text: str) -> Run:
    """The run whose id this is, or begins with this, if the person may see it."""
    with told_as_refusal():
        return selectors.run_for(person.pk, selectors.find_id(person.pk, text))
