"""The audit of messages: everybody who had to be told was told, once, and nobody else was.

What people hear of is fixed before the storm (errands.py), and so are their rights. Where anything was broken
meanwhile, a message may have come late, or twice under the same Message-ID; it may never have been lost, and
never have gone to anybody else.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from itertools import pairwise
from math import inf

from tests.faults.storm.errands import ASKER, AWAY, HEARS, PEOPLE, QUIET, STANDIN
from tests.faults.storm.known import Findings, Known, unexplained
from tests.faults.storm.letters import Letter
from tests.faults.storm.records import NotificationRow, Records, RequestRow

ASKING = ("opened", "reminder")
# So many messages come by themselves to one person in an hour, which is longer than a storm; the rest in one.
ALONE_IN_AN_HOUR = 200


def audit_tellings(findings: Findings, known: Known, records: Records, bound: float) -> None:
    """`bound`: seconds in which people are told, where nothing is broken."""
    of_each: dict[tuple[str, str], list[NotificationRow]] = defaultdict(list)
    for row in records.notifications:
        of_each[row.request_id, row.event].append(row)
    for request in records.requests.values():
        for event in (*ASKING, "closed"):
            rows = of_each.pop((request.id, event), [])
            _audit_audience(findings, known, request, event, rows, bound)
    for (request_id, event), rows in of_each.items():
        findings.problems.append(f"{_names(rows)} told of {event} of {request_id}, which nobody hears of")
    _audit_letters(findings, known, records, bound)
    _audit_relief(findings, records)


def _audit_audience(
    findings: Findings,
    known: Known,
    request: RequestRow,
    event: str,
    rows: Sequence[NotificationRow],
    bound: float,
) -> None:
    """Those who are told are those who have to be: all of them, or, where it was over before, nobody."""
    due, told = _due(known, request, event), {row.person for row in rows}
    if strangers := told - due:
        findings.problems.append(f"told of {event} of {request.id}, and not to be: {sorted(strangers)}")
    if len(rows) > len(told):
        findings.double(f"{event} of {request.id} was told {len(rows)} times to {sorted(told)}")
    if (told or _had_to_be_told(known, request, event, bound)) and (
        missing := _missing(request, event, due, told)
    ):
        findings.problems.append(f"lost: {sorted(missing)} were not told of {event} of {request.id}")


def _due(known: Known, request: RequestRow, event: str) -> Set[str]:
    if event == "closed":
        those = set() if request.closed_by_asker else {request.requester}
    elif question := known.questions.get(request.title):
        those = {person for person in PEOPLE if question.may_decide(person)}
    else:
        those = {ASKER}  # what an interrupted run asks its owner
    return {person for person in those if event in HEARS.get(person, ())}


def _had_to_be_told(known: Known, request: RequestRow, event: str, bound: float) -> bool:
    """Whether it was so long enough, undisturbed, for somebody to notice."""
    if event == "closed":
        return request.closed_at is not None
    closed = inf if request.closed_at is None else request.closed_at
    return event == "opened" and unexplained(request.opened_at, closed, _obstacles(known)) > bound


def _missing(request: RequestRow, event: str, due: Set[str], told: Set[str]) -> Set[str]:
    """Who was left out. Of several who must approve, those who have voted are not reminded."""
    return set() if event == "reminder" and request.required > 1 else due - told


# --- Each message ---


def _audit_letters(findings: Findings, known: Known, records: Records, bound: float) -> None:
    letters: dict[str, list[Letter]] = defaultdict(list)
    for letter in known.letters:
        letters[letter.id].append(letter)
    alone = Counter(row.person for row in records.notifications if not row.together)
    for row in records.notifications:
        findings.told[f"{row.event} {row.status}{' together' if row.together else ''}"] += 1
        own = letters.pop(row.id, [])
        if not row.together or alone[row.person] < ALONE_IN_AN_HOUR:
            _audit_letters_of(findings, known, row, records.requests[row.request_id], own, bound)
    for id_, others in letters.items():
        findings.problems.append(
            f"{len(others)} messages {id_!r} to {others[0].person}, of which nothing is known"
        )


def _audit_letters_of(
    findings: Findings,
    known: Known,
    row: NotificationRow,
    request: RequestRow,
    letters: Sequence[Letter],
    bound: float,
) -> None:
    what = f"{row.event} of {row.request_id} to {row.person} ({row.id})"
    wrong = {(one.person, one.request_id) for one in letters} - {(row.person, row.request_id)}
    if wrong:
        findings.problems.append(f"told to others: {what} went to {sorted(wrong)}")
    if row.person == QUIET and (letters or row.status != "waiting"):
        findings.problems.append(f"told in quiet hours: {what} is {row.status}")
    if row.person != QUIET and row.status not in ("delivered", "moot"):
        findings.problems.append(f"lost: {what} is {row.status}")
    if row.status == "delivered" and not letters:
        findings.problems.append(f"lost: {what} is said to be sent, and never came")
    if row.status == "moot" and letters and not _was_broken(known, letters[0].at, inf):
        findings.problems.append(f"{what} is said to have no point, and came")
    for first, second in pairwise(letters):
        findings.told["again under the same Message-ID"] += 1
        if not _was_broken(known, first.at, second.at):
            findings.double(f"{what} came again after {second.at - first.at:.1f} s")
    if row.event in ASKING and request.closed_at is not None:
        for letter in letters:
            late = unexplained(request.closed_at, letter.at, _obstacles(known))
            if letter.at > request.closed_at and late > bound:
                findings.problems.append(f"late: {what} came {late:.1f} s after it was closed")


# --- Who decided by a link, and for whom ---


def _audit_relief(findings: Findings, records: Records) -> None:
    """Each link that was used has decided, as its person; the stand-in decides for who is away alone."""
    by_link = Counter((row.request_id, str(row.person)) for row in records.responses if row.channel == "link")
    used = Counter((row.request_id, row.person) for row in records.notifications if row.used)
    if by_link != used:
        findings.double(f"links used and decisions by link differ: {used - by_link}, {by_link - used}")
    for row in records.responses:
        findings.told["decisions by link"] += row.channel == "link"
        findings.told["decisions on behalf"] += row.on_behalf_of is not None
        if row.on_behalf_of != (AWAY if row.person == STANDIN else None):
            findings.problems.append(f"{row.person} decided {row.request_id} on behalf of {row.on_behalf_of}")


def _obstacles(known: Known) -> Sequence[tuple[float, float]]:
    return [*known.broken, *known.deserted]


def _was_broken(known: Known, since: float, until: float) -> bool:
    """Whether anything was between these moments, or what had been begun then was nobody's."""
    return any(began <= until and over >= since for began, over in _obstacles(known))


def _names(rows: Sequence[NotificationRow]) -> list[str]:
    return sorted({row.person for row in rows})
