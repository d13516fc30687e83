"""Rows in sets: what is written is what is read, whatever it is, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import DataError, IntegrityError, models, transaction
from django.test.utils import isolate_apps
from hypothesis import given
from hypothesis import strategies as st

from approvals.database import bulk
from approvals.database.fields import new_id
from approvals.database.pipeline import execute, together
from approvals.models import AuditEntry, HumanRequest, ShownContent

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)


def row(**fields: Any) -> dict[str, Any]:
    given = {"id": new_id(), "kind": "clarification", "title": "Which?", "opened_at": NOW, "changed_at": NOW}
    return vars(HumanRequest(**{**given, **fields}))


def entry(request_id: Any, sequence: int) -> dict[str, Any]:
    made = AuditEntry(
        request_id=request_id, sequence=sequence, event="opened", channel="program", recorded_at=NOW, format=2
    )
    return vars(made)


def add_together(*batches: list[dict[str, Any]]) -> None:
    with transaction.atomic(), together():
        for batch in batches:
            bulk.insert(HumanRequest, batch)


@pytest.mark.parametrize(
    "text", ["", "plain", "ünïcode 🙂", 'quotes " and \\ back', "line\nbreak\ttab", "{}[],%s$1", "\x1f\x7f"]
)
def test_text_comes_back_as_it_went_in(text: str) -> None:
    values = {"title": text[:200], "details": text, "arguments": {text: [text, None, 1.5, -0.0, 1e16, True]}}
    added = row(**values, deadline=NOW + timedelta(days=1))
    bulk.insert(HumanRequest, [added])
    (read,) = bulk.read(HumanRequest, [added["id"]])()
    by_django = HumanRequest.objects.get(pk=added["id"])
    fields = [field.attname for field in HumanRequest._meta.concrete_fields]
    assert {name: getattr(read, name) for name in fields} == {name: added[name] for name in fields}
    assert {name: getattr(by_django, name) for name in fields} == {name: added[name] for name in fields}
    assert repr(read.arguments) == repr(added["arguments"])


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))
def test_any_text_is_found_among_others(text: str) -> None:
    statement = f"SELECT said FROM (SELECT CAST(%s AS text) AS said) given WHERE {bulk.among('said')}"
    assert execute(statement, [text, bulk.values(["another", text])]).rows() == [(text,)]
    assert execute(statement, [text, bulk.values([f"{text}x"])]).rows() == []


@isolate_apps("approvals")
def test_a_field_of_somebody_else_s_model_converts_its_values_itself() -> None:
    class Theirs(models.Model):
        said = models.JSONField()

        class Meta:
            app_label = "approvals"

        def __str__(self) -> str:
            return str(self.said)

    selected = bulk.select(Theirs, "said", "id")
    assert list(selected.restore([('{"a": [1]}', 1, "more"), ("null", 2, "more")])) == [
        ({"a": [1]}, 1, "more"),
        (None, 2, "more"),
    ]
    assert list(selected.restore([])) == []


def test_nothing_takes_no_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        bulk.insert(HumanRequest, [])
        bulk.update(HumanRequest, [], ("status",))


def test_each_row_gets_values_of_its_own() -> None:
    rows = [row(title=f"Question {number}") for number in range(3)]
    bulk.insert(HumanRequest, rows)
    for number, each in enumerate(rows):
        each["title"], each["answer"] = f"Changed {number}", {"number": number}
    bulk.update(HumanRequest, rows, ("title", "answer"))
    kept = {each.pk: (each.title, each.answer) for each in HumanRequest.objects.all()}
    assert kept == {each["id"]: (each["title"], each["answer"]) for each in rows}


def test_an_update_of_a_row_that_is_not_there_fails_and_changes_nothing() -> None:
    rows = [row(), row()]
    bulk.insert(HumanRequest, rows[:1])
    with pytest.raises(DataError, match="1 rows of those that were locked"), transaction.atomic():
        bulk.update(HumanRequest, [{**each, "title": "Other"} for each in rows], ("title",))
    assert HumanRequest.objects.get().title == "Which?"


def test_an_update_of_a_row_that_has_moved_on_fails_and_changes_nothing() -> None:
    rows = [row(), row(status="answered", closed_at=NOW)]
    bulk.insert(HumanRequest, rows)
    changed = [{**each, "status": "withdrawn", "closed_at": NOW} for each in rows]
    with pytest.raises(DataError, match="1 rows of those that were locked"), transaction.atomic():
        bulk.update(HumanRequest, changed, ("status", "closed_at"), still="pending")
    kept = {each.pk: each.status for each in HumanRequest.objects.all()}
    assert kept == {rows[0]["id"]: "pending", rows[1]["id"]: "answered"}


def test_rows_beside_others_name_those_they_came_with() -> None:
    asked = [row(), row()]
    bulk.insert(HumanRequest, asked)
    keys = [(asked[0]["id"], 1), (asked[1]["id"], 1), (asked[0]["id"], 2)]
    rows = [{**entry(*key), "salt": "s", "content": "{} {}".format(*key)} for key in keys]
    bulk.insert_pairs(AuditEntry, ShownContent, rows, link="entry", by=("request", "sequence"))
    shown = ShownContent.objects.select_related("entry").order_by("entry_id")
    assert [(each.entry.request_id, each.entry.sequence) for each in shown] == keys
    assert [each.content for each in shown] == ["{} {}".format(*key) for key in keys]


@pytest.mark.stacks("postgresql-redis")
def test_too_long_a_text_is_refused_not_cut() -> None:
    """SQLite limits no text."""
    with pytest.raises(DataError, match="too long"):
        bulk.insert(HumanRequest, [row(title="x" * 201)])


def test_an_error_in_the_midst_undoes_all_and_leaves_the_connection_usable() -> None:
    first, second = row(), row()
    with pytest.raises(IntegrityError):
        add_together([first], [second, second], [row()])
    assert HumanRequest.objects.count() == 0
    bulk.insert(HumanRequest, [first])
    assert HumanRequest.objects.count() == 1


def test_ids_that_nobody_has_are_not_found() -> None:
    assert bulk.read(HumanRequest, [uuid4()])() == []
    assert bulk.read(HumanRequest, [])() == []


def test_each_statement_together_sees_what_those_before_it_did() -> None:
    added = row()
    with transaction.atomic(), together():
        bulk.insert(HumanRequest, [added])
        found = bulk.read(HumanRequest, [added["id"]])
        assert [each.pk for each in found()] == [added["id"]]
