"""Which of the requests that were just opened are for this person: what a browser notifies them of."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from approvals import queries
from approvals.domain.lifecycle import Status
from approvals.exceptions import UnknownRequest
from approvals.web.pages.access import page, user_id

MOST_IDS = 50


@page(UnknownRequest)
@require_safe
def news(request: HttpRequest) -> HttpResponse:
    """List those of these requests that are pending and that this person may decide. It counts as no view."""
    ids = [pk for text in request.GET.getlist("id")[:MOST_IDS] if (pk := queries.id_or_none(text))]
    rows = [row for row in queries.requests_by_id(ids, light=True) if row.status == Status.PENDING]
    rights = queries.rights_among(user_id(request), rows)
    mine = sorted((row for row in rows if rights[row.pk].decide), key=lambda row: row.opened_at)
    return render(request, "approvals/_news.html", {"rows": mine})
