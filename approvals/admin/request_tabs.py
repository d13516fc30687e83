"""The tabs of the list of requests: all, and each kind, with the same search and filters."""

from __future__ import annotations

from django.http import HttpRequest
from django.urls import reverse

from approvals.domain.lifecycle import LEGAL_MOVES, Kind, Status
from approvals.web.pages.wording import KINDS

# The model of each tab, and its label.
TABS = {"humanrequest": "All", **{kind.value: f"{noun}s" for kind, noun in KINDS.items()}}
# Places in one list, and filters that only the list of all requests has.
NOT_SHARED = ("p", "e", "kind", "open_at", "opened_in", "without")


def tabs_of(request: HttpRequest, current: str) -> list[tuple[str, str, bool]]:
    """Return label, address and whether it is the `current` model's, for each tab."""
    return [(label, _address(request, model), model == current) for model, label in TABS.items()]


def _address(request: HttpRequest, model: str) -> str:
    shared = request.GET.copy()
    for name in NOT_SHARED:
        shared.pop(name, None)
    if model in set(Kind) and shared.get("status") not in {Status.PENDING, *LEGAL_MOVES[Kind(model)]}:
        shared.pop("status", None)
    query = f"?{shared.urlencode()}" if shared else ""
    return reverse(f"admin:approvals_{model}_changelist") + query
