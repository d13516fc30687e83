"""Turn errors of runs into errors of commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.models import User

from approvals.exceptions import ApprovalError
from approvals.management.screen import Refused, visible
from approvals.management.wording import refusal
from orchestration import queries
from orchestration.exceptions import OrchestrationError
from orchestration.models import Run


@contextmanager
def raise_as_refusal() -> Iterator[None]:
    """Turn an error within the block into one with exit status 1, which begins with its code."""
    try:
        yield
    except OrchestrationError as error:
        raise Refused(visible(f"{error.code}: {error.detail}")) from error
    except ApprovalError as error:
        raise refusal(error) from error


def find_run(person: User, text: str) -> Run:
    """Return the run whose id is, or begins with, this text, if the person may see it."""
    with raise_as_refusal():
        return queries.run_for(person.pk, queries.find_run_id(person.pk, text))
