"""A process in which requests have one term more, `urgency`: only the description and the model say so.

Prints what has become of it as JSON.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from typing import Any
from uuid import UUID

DECLARED = """
    urgency: str = _term("How soon.", "normal", limits={"max_length": 20}, removed="normal", since=6)
    requester_id: """
COLUMN = """
    urgency = models.CharField(max_length=20, default="normal")
    status = """
ADDITIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "approvals.domain.request_terms": (
        ("\n    requester_id: ", DECLARED),
        (
            "\n    details: str\n    context: str",
            "\n    details: str\n    urgency: str\n    context: str",
        ),
    ),
    "approvals.models.requests": (("\n    status = ", COLUMN),),
}


class _Changed(SourceFileLoader):
    def get_data(self, path: str) -> bytes:
        source = super().get_data(path).decode()
        for before, after in ADDITIONS[self.name]:
            assert before in source, (self.name, before)
            source = source.replace(before, after, 1)
        return source.encode()

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self.get_data(self.path), self.path)  # no compiled one is read or kept


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname not in ADDITIONS:
            return None
        found = PathFinder.find_spec(fullname, path)
        assert found is not None
        assert found.origin is not None
        return importlib.util.spec_from_loader(fullname, _Changed(fullname, found.origin))


def report() -> dict[str, Any]:
    from django.db import connection

    from approvals import deciding, queries
    from approvals.database.clock import database_now
    from approvals.domain.commands import Actor, Channel, Purge
    from approvals.exceptions import InvalidRequest, KeyConflict
    from approvals.models import AuditEntry, HumanRequest
    from approvals.trail.verification import verify_request
    from approvals.web.api import asking
    from approvals.web.api.schemas import ApprovalQuestion
    from approvals.writer import queue
    from tests import factories as make

    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE approvals_humanrequest ADD COLUMN urgency varchar(20) NOT NULL DEFAULT 'normal'"
        )
    person = make.reviewer("ada")
    actor = make.actor(person, Channel.API)
    body = {"kind": "approval", "title": "Refund", "urgency": "high"}
    over_http, _ = asking.ask(actor, ApprovalQuestion.model_validate(body))
    by_program = make.approval("Refund", urgency="high", key="k")
    plain = make.approval("Refund", key="plain")
    found: dict[str, Any] = {
        "over HTTP": ApprovalQuestion.model_json_schema()["properties"]["urgency"],
        "asked over HTTP": queries.on_the_wire(HumanRequest.objects.get(pk=over_http))["urgency"],
        "asked by a program": queries.on_the_wire(HumanRequest.objects.get(pk=by_program))["urgency"],
        "fingerprint without it": HumanRequest.objects.get(pk=plain).fingerprint,
    }
    found["over HTTP"].pop("description")
    try:
        make.approval("Refund", urgency="x" * 21)
    except InvalidRequest as error:
        found["too long"] = error.detail
    try:
        make.approval("Refund", urgency="low", key="k")
    except KeyConflict as error:
        found["another question"] = list(error.differs)
    opened = AuditEntry.objects.get(request_id=by_program, sequence=1)
    found["in the first entry"] = json.loads(opened.shown.content)["urgency"]
    found["faults"] = [fault.detail for fault in verify_request(UUID(by_program))]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE approvals_humanrequest SET urgency = 'low' WHERE title = 'Refund'")
    found["faults after a change"] = [fault.detail for fault in verify_request(UUID(by_program))]
    deciding.decide(Actor.program(), over_http, "approve")
    later = database_now() + timedelta(seconds=1)
    queue.submit(Purge(request_id=over_http, actor=Actor.program(), before=later)).result()
    found["once removed"] = HumanRequest.objects.get(pk=over_http).urgency
    return found


def main() -> None:
    sys.meta_path.insert(0, _Finder())
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    import django

    django.setup()
    print(json.dumps(report()))


if __name__ == "__main__":
    main()
