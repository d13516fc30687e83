"""What is on record can't lose what it names, also where SQL is used by hand."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import ProtectedError

from approvals.deciding import decide
from approvals.models import HumanRequest, Response
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


def decided() -> tuple[User, str]:
    person = factories.reviewer()
    request_id = factories.approval()
    decide(factories.actor(person), request_id, "approve")
    assert Response.objects.get(request_id=request_id).actor == person
    return person, request_id


def delete(table: str, condition: str, value: int | str) -> None:
    """Delete by hand what nothing of Django's own refers to."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM auth_user_user_permissions")
        cursor.execute(f"DELETE FROM {table} WHERE {condition} = %s", [value])


def test_a_person_who_has_decided_can_t_be_deleted() -> None:
    person, _ = decided()
    with pytest.raises(ProtectedError):
        person.delete()
    with pytest.raises(IntegrityError):
        delete("auth_user", "id", person.pk)
    assert User.objects.filter(pk=person.pk).exists()


def test_a_request_that_was_decided_can_t_be_deleted() -> None:
    _, request_id = decided()
    with pytest.raises(DatabaseError):
        delete("approvals_humanrequest", "id", request_id.replace("-", ""))
    assert HumanRequest.objects.filter(pk=request_id).exists()


def test_an_entry_that_has_a_content_can_t_be_deleted() -> None:
    decided()
    with pytest.raises(DatabaseError):
        delete("approvals_auditentry", "sequence", 2)
