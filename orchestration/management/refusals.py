"""What is refused of runs, as the error of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from approvals.exceptions import ApprovalError
from approvals.management.screen import Refused, visible
from approvals.management.wording import refusal
from orchestration.exceptions import OrchestrationError


@contextmanager
def raise_as_refusal() -> Iterator[None]:
    """Exit status 1; the error begins with its code."""
    try:
        yield
    except OrchestrationError as error:
        raise Refused(visible(f"{error.code}: {error.detail}")) from error
    except ApprovalError as error:
        raise refusal(error) from error
