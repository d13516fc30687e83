"""Escalation: who decides a request as well, or instead, if it is still pending later. Pure.

A step is a JSON object: `{"after": 0.5, "users": [3], "groups": [7], "replace": false}`. On record, users and
groups are named by their ids; before that, in any way in which assignees are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from approvals.domain.payloads import LONGEST_DURATION
from approvals.exceptions import InvalidRequest

MOST_STEPS = 10

Step: TypeAlias = dict[str, Any]

_FIELDS = ("after", "users", "groups", "replace")


def check_escalation(steps: Any, said: Mapping[str, Any]) -> list[Step]:
    """Return the steps with all their fields; InvalidRequest where one is not due in order, in the time."""
    checked, timeout, before = check_steps(steps), said["timeout"], 0.0
    for at, step in enumerate(checked):
        field = f"escalation[{at}].after"
        if timeout is None and step["after"] < 1:
            raise _invalid(field, "must be seconds, 1 or more: a share of the time needs a deadline")
        seconds = _seconds(step, timeout)
        if timeout is not None and seconds >= timeout:
            raise _invalid(field, f"must be before the deadline, which is after {timeout:g} seconds")
        if seconds <= before:
            raise _invalid(field, "must be later than the step before")
        before = seconds
    return checked


def check_steps(steps: Any) -> list[Step]:
    """Return the steps with all their fields; when each is due is not looked at."""
    if isinstance(steps, str | Mapping) or not isinstance(steps, Collection):
        raise InvalidRequest("escalation must be a list of steps.", field="escalation")
    if len(steps) > MOST_STEPS:
        raise InvalidRequest(
            f"escalation must have at most {MOST_STEPS} steps, not {len(steps):,}.", field="escalation"
        )
    return [_check_step(step, f"escalation[{at}]") for at, step in enumerate(steps)]


def steps_that_fit(steps: Sequence[Step], timeout: float | None, *, anybody: bool) -> list[Step]:
    """Return the steps of a policy that a request with this time to its deadline can have.

    `anybody`: any reviewer may decide it, so that nobody can be added.
    """
    return list(_fitting(steps, timeout, anybody=anybody))


def moment_of(step: Mapping[str, Any], opened_at: datetime, deadline: datetime | None) -> datetime | None:
    """Return when the step is due; None: never, for a share of the time needs a deadline."""
    after = step["after"]
    if after >= 1:
        return opened_at + timedelta(seconds=after)
    return None if deadline is None else opened_at + (deadline - opened_at) * after


def next_moment(
    steps: Sequence[Mapping[str, Any]], done: int, opened_at: datetime, deadline: datetime | None
) -> datetime | None:
    """Return when the next step is due after so many; None: there is none."""
    return moment_of(steps[done], opened_at, deadline) if done < len(steps) else None


def _fitting(steps: Sequence[Step], timeout: float | None, *, anybody: bool) -> Iterator[Step]:
    before = 0.0
    for step in steps:
        if (anybody and not step["replace"]) or (timeout is None and step["after"] < 1):
            continue
        seconds = _seconds(step, timeout)
        if before < seconds and (timeout is None or seconds < timeout):
            before, anybody = seconds, False
            yield step


def _check_step(step: Any, field: str) -> Step:
    if not isinstance(step, Mapping):
        raise _invalid(field, "must be an object with after, users, groups and replace")
    for name in step:
        if name not in _FIELDS:
            raise _invalid(f"{field}.{str(name)[:40]}", f"is no field of a step: {', '.join(_FIELDS)} are")
    after = _check_after(step.get("after"), f"{field}.after")
    users, groups = (_check_names(step.get(name, ()), f"{field}.{name}") for name in ("users", "groups"))
    if not users and not groups:
        raise _invalid(field, "must name somebody, in users or groups")
    replace = step.get("replace", False)
    if not isinstance(replace, bool):
        raise _invalid(f"{field}.replace", "must be true or false")
    return {"after": after, "users": users, "groups": groups, "replace": replace}


def _check_after(after: Any, field: str) -> int | float:
    least = 0.0
    if isinstance(after, timedelta):
        after, least = after.total_seconds(), 1.0
    number = isinstance(after, int | float) and not isinstance(after, bool)
    if not number or not least <= after <= LONGEST_DURATION or not after:
        raise _invalid(
            field,
            "must be a share of the time (above 0 and below 1), or seconds (1 or more, at most 100 years)",
        )
    return int(after) if after == int(after) else float(after)


def _check_names(names: Any, field: str) -> list[Any]:
    if isinstance(names, str | Mapping) or not isinstance(names, Collection):
        raise _invalid(field, "must be a list")
    return list(names)


def _seconds(step: Step, timeout: float | None) -> float:
    """Return how long after its opening a request's step is due; `timeout` is there for a share of it."""
    after: float = step["after"]
    return after * (timeout or 0.0) if after < 1 else after


def _invalid(field: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {rule}.", field=field)
