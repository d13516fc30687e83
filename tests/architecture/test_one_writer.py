"""Invariant 2, one writer: the record is written by approvals.writer alone."""

from __future__ import annotations

import ast
import re
from itertools import product as product_of

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import models
from django.utils import timezone

from approvals.models import Destination, HumanRequest, NewAddress, OnRecord, Preference
from tests.architecture.sources import product

WRITERS = (
    "approvals/writer/",
    "approvals/trail/seals/",
    "approvals/web/edge/tokens.py",
)

# Measures plain SQL and ORM beside the writer, on a database of its own.
MEASURING = "orchestration/benchmark/"

# Managers that write, and Django's ways around the ones that don't.
WRITING_NAMES = {"writing", "_base_manager", "save_base", "_raw_delete", "_do_update"}

RECORD = [model for model in apps.get_app_config("approvals").get_models() if issubclass(model, OnRecord)]
WRITES = ["create", "get_or_create", "update_or_create", "bulk_create", "bulk_update", "update", "delete"]


def test_only_the_writer_names_a_writing_manager() -> None:
    strangers = [
        source.at(node)
        for source in product()
        if not source.path.startswith((*WRITERS, MEASURING, "approvals/models/"))
        for node in source.nodes()
        if _names_a_writing_manager(node)
    ]
    assert strangers == []


def test_only_the_writer_writes_in_sets() -> None:
    """approvals.database.bulk goes past the managers; others may read by it."""
    strangers = [
        source.at(node)
        for source in product()
        if not source.path.startswith(WRITERS)
        for node in source.nodes()
        if _writes_a_set(node)
    ]
    assert strangers == []
    assert any(
        _writes_a_set(node)
        for source in product()
        if source.path.startswith(WRITERS)
        for node in source.nodes()
    )


def test_nobody_writes_the_record_in_sql_of_their_own() -> None:
    """SQL that changes a table of the record is neither in the writer nor beside it."""
    statement = re.compile(r"(INSERT\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE)\s+[\"`]?approvals_", re.IGNORECASE)
    strangers = [
        source.at(node)
        for source in product()
        if not source.path.startswith(MEASURING)
        for node in source.nodes()
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and statement.search(node.value)
    ]
    assert strangers == []


def test_the_writer_uses_the_writing_managers() -> None:
    """The confinement above is not empty: were the managers renamed, this would say so."""
    writers = [source for source in product() if source.path.startswith(WRITERS)]
    assert any(_names_a_writing_manager(node) for source in writers for node in source.nodes())


def test_every_model_of_the_app_is_on_record() -> None:
    """A model that is not would be writable by anybody; whoever adds one decides it here."""
    assert RECORD
    own = {m for m in apps.get_app_config("approvals").get_models() if m not in RECORD}
    assert own == {Destination, NewAddress, Preference}


@pytest.mark.parametrize("model", RECORD, ids=lambda model: model.__name__)
def test_the_default_manager_exposes_no_writes(model: type[models.Model]) -> None:
    """Neither on the manager nor on any queryset made from it."""
    manager = model._default_manager
    for rows, write in product_of((manager, manager.all(), manager.filter(pk=None)), WRITES):
        with pytest.raises((TypeError, AttributeError), match=f"written by|no attribute '{write}'"):
            getattr(rows, write)()


@pytest.mark.one_stack
@pytest.mark.django_db
def test_related_managers_expose_no_writes_either() -> None:
    """From a user or a group, and through the assignments of a request."""
    user, group = User.objects.create_user("somebody"), Group.objects.create(name="some")
    now = timezone.now()
    request = HumanRequest(kind="clarification", title="Which?", opened_at=now, changed_at=now)
    HumanRequest.writing.bulk_create([request])
    attempts = (
        lambda: user.requests_made.update(title="another"),
        lambda: user.requests_made.create(title="another"),
        lambda: user.requests_assigned.add(request),
        lambda: group.requests_assigned.add(request),
        lambda: request.assigned_users.add(user),
        lambda: request.responses.create(actor=user),
        lambda: request.entries.all().delete(),
        request.save,
        request.delete,
    )
    for attempt in attempts:
        with pytest.raises(TypeError, match=r"written by|never deleted"):
            attempt()


def _names_a_writing_manager(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in WRITING_NAMES
    return isinstance(node, ast.Constant) and node.value in WRITING_NAMES


def test_the_reader_of_sources_sees_such_names() -> None:
    """What the tests above look for is found where it stands."""
    tree = ast.parse("Response.writing.bulk_create(rows); getattr(Response, 'writing')")
    assert sum(_names_a_writing_manager(node) for node in ast.walk(tree)) == 2


def _writes_a_set(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "approvals.database.bulk"
    return (
        isinstance(node, ast.Attribute)
        and node.attr in {"insert", "insert_pairs", "update", "end_assignments", "remove"}
        and isinstance(node.value, ast.Name)
        and node.value.id == "bulk"
    )
