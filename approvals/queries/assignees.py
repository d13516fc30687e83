"""Who is named to decide: the ids of named users and groups, and whether enough of them may decide."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from approvals.domain.payloads import check_text, spot
from approvals.exceptions import InvalidRequest
from approvals.queries import deciders, permissions


def user_ids_of(
    users: Collection[Any], field: str, *, spots: bool = False, active: bool = True
) -> tuple[int, ...]:
    """Return the ids of users who are given as objects, ids or usernames.

    InvalidRequest names `field` and the first user who is unknown, or with `active` who may not log in; with
    `spots` also where in the field that is.
    """
    model = get_user_model()
    rows = model._default_manager.filter(is_active=True) if active else model._default_manager.all()
    return _ids_of(users, field, "user", rows, model.USERNAME_FIELD, spots=spots)


def group_ids_of(groups: Collection[Any], field: str, *, spots: bool = False) -> tuple[int, ...]:
    """Return the ids of groups that are given as objects, ids or names; refuses as `user_ids_of` does."""
    return _ids_of(groups, field, "group", Group.objects.all(), "name", spots=spots)


def names_known(names: Collection[str]) -> tuple[set[str], set[str]]:
    """Return those of these names that active users have, and those that groups have."""
    model = get_user_model()
    name, groups = model.USERNAME_FIELD, Group.objects.filter(name__in=names)
    users = model._default_manager.filter(is_active=True, **{f"{name}__in": names})
    return set(users.values_list(name, flat=True)), set(groups.values_list("name", flat=True))


def sort_names(texts: Sequence[str], field: str) -> tuple[list[str], list[str]]:
    """Return which of these names are users', and which are groups'; `user:NAME` and `group:NAME` say which.

    InvalidRequest names the field where a name is nobody's, or could be either's.
    """
    found: dict[str, list[str]] = {"user": [], "group": []}
    plain = []
    for text in texts:
        kind, _, name = text.partition(":")
        if name and kind in found:
            found[kind].append(name)
        else:
            plain.append(text)
    users, groups = names_known(plain)
    for name in plain:
        if name in users and name in groups:
            choice = f"write user:{name} or group:{name}."
            raise InvalidRequest(f"{field}: {name!r} is a user and a group: {choice}", field=field)
        if name not in users and name not in groups:
            raise InvalidRequest(f"{field}: there is no active user and no group {name!r}.", field=field)
        found["group" if name in groups else "user"].append(name)
    return found["user"], found["group"]


def check_deciders(audience: permissions.Audience, required: int) -> None:
    """Raise InvalidRequest where fewer people than required could ever decide; it names the field.

    The users in the audience are known to be active.
    """
    four_eyes = audience.four_eyes
    if required == 1 and not four_eyes and (audience.user_ids or not audience.assigned):
        return
    possible = deciders.count_deciders(audience)
    if possible >= required:
        return
    if four_eyes and possible == 0:
        who = "the requester and whoever has reassigned it" if audience.reassigned_by else "the requester"
        raise InvalidRequest(f"four_eyes needs somebody other than {who} who may decide.", field="four_eyes")
    if required == 1:
        raise InvalidRequest(
            "assignees must name somebody who may decide: of these, nobody may.", field="assignees"
        )
    raise InvalidRequest(f"required is {required}, but only {possible} may decide.", field="required")


def _ids_of(
    values: Collection[Any], field: str, word: str, rows: Any, name_field: str, *, spots: bool
) -> tuple[int, ...]:
    names = {check_text(value, field) for value in values if isinstance(value, str)}
    numbers = {_id_of(value, field, word, rows.model) for value in values if not isinstance(value, str)}
    by_name = dict(rows.filter(**{f"{name_field}__in": names}).values_list(name_field, "pk")) if names else {}
    by_id = set(rows.filter(pk__in=numbers).values_list("pk", flat=True)) if numbers else set()
    missing = sorted(names - set(by_name)) + sorted(str(number) for number in numbers - by_id)
    if missing:
        where = spot(field, [list(values).index(missing[0])]) if spots and missing[0] in values else field
        what = "active user" if word == "user" else word
        raise InvalidRequest(f"{where}: there is no {what} {missing[0]!r}.", field=where)
    return tuple(sorted({*by_name.values(), *by_id}))


def _id_of(value: Any, field: str, word: str, model: type[Any]) -> Any:
    """Return the id of a row of this model; those of other models are refused, whose ids may be the same."""
    if isinstance(value, model):
        return value.pk
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    if isinstance(value, UUID):
        return value
    raise InvalidRequest(f"{field}: {str(value)[:100]!r} is no {word}.", field=field)
