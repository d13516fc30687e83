"""What everybody was told, kept outside the database; and the audit that holds the database against it.

While faults happen, whoever asks, waits, decides, starts runs or performs steps notes in a `Ledger` what it
was told, the moment it was told: a JSON line each, in one file that any number of processes append to.

    ledger = Ledger(path)
    ledger.asked("ann", request_id)                        # acknowledged: it is on record
    ledger.decided("bob", request_id, "approve", outcome)  # acknowledged, with this outcome, as on the wire
    ledger.refused("eve", request_id, "already_decided", outcome)
    ledger.unanswered("bob", request_id, "approve")        # no answer came: it may be on record, or not
    ledger.waited("ann", request_id, outcome)              # what a wait was told, by poll, socket or call
    ledger.started("ann", run_id)                          # acknowledged: the run is on record
    ledger.performed(run_id, step_key, effect)             # a step's effect; its result: {"effect": effect}
    ledger.sleeps(run_id, step_key)                        # about to sleep, or to find that it has slept
    ledger.woke(run_id, step_key)                          # and on it goes
    ledger.ended("ann", run_id, status)                    # what a watcher was told of a run's end
    ledger.over("postgresql")                              # from now on nothing is in the way any more

Afterwards `audit(ledger, url)` reads the database by itself (no Django, no Sayso) and returns a `Report`:
counts, and `problems`, which is empty exactly when
- everything acknowledged is there; every request and run has come to its end (`resolved=False`: may be open);
- each request has one outcome, one closing entry that says the same, and everybody was told exactly that;
- each acknowledged decision is on record as it was made;
- each recorded answer of a run is its request's outcome, and no step was performed again past its record;
- each trail's chain holds: numbered without gaps, linked, hashed, its head in the request;
- with `prompt`: each wait was told within so many seconds of its request's end, and each timeout recorded
  within as many of its deadline; or of when what was in the way was over.

    report = audit(ledger, environment["DATABASE_URL"])  # or the path of an SQLite file
    assert report.sound, report
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

Note = dict[str, Any]
Row = dict[str, Any]

# SQLite's moments are whole milliseconds.
PRECISION = 0.002
FINISHED = {"completed", "rejected", "failed", "cancelled"}
# What one told outcome must have in common with the row.
TOLD = (
    "kind",
    "status",
    "approved",
    "answer",
    "arguments",
    "comment",
    "decided_by",
    "timed_out",
    "withdrawn",
)


class Ledger:
    """A file of notes. Every note is one write, so that processes and threads may share the file."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def asked(self, who: str, request_id: str) -> None:
        self._note(what="asked", who=who, request=request_id)

    def decided(self, who: str, request_id: str, said: Any, outcome: Mapping[str, Any]) -> None:
        """`said`: "approve", "reject", the answer itself, or "withdraw"."""
        self._note(what="decided", who=who, request=request_id, said=said, outcome=outcome)

    def refused(self, who: str, request_id: str, code: str, outcome: Mapping[str, Any] | None = None) -> None:
        self._note(what="refused", who=who, request=request_id, code=code, outcome=outcome)

    def unanswered(self, who: str, request_id: str, said: Any) -> None:
        self._note(what="unanswered", who=who, request=request_id, said=said)

    def waited(self, who: str, request_id: str, outcome: Mapping[str, Any]) -> None:
        self._note(what="waited", who=who, request=request_id, outcome=outcome)

    def started(self, who: str, run_id: str) -> None:
        self._note(what="started", who=who, run=run_id)

    def performed(self, run_id: str, step: str, effect: str) -> None:
        self._note(what="performed", run=run_id, step=step, effect=effect)

    def sleeps(self, run_id: str, step: str) -> None:
        self._note(what="sleeps", run=run_id, step=step)

    def woke(self, run_id: str, step: str) -> None:
        self._note(what="woke", run=run_id, step=step)

    def ended(self, who: str, run_id: str, status: str) -> None:
        self._note(what="ended", who=who, run=run_id, status=status)

    def over(self, fault: str) -> None:
        self._note(what="over", fault=fault)

    def notes(self) -> Iterator[Note]:
        """All of them, in the order in which they were written."""
        if self.path.exists():
            with self.path.open(encoding="utf-8") as lines:
                for line in lines:
                    yield json.loads(line)

    def _note(self, **note: Any) -> None:
        # The machine's clock, whatever the process takes for the time.
        line = json.dumps({"at": time.clock_gettime(time.CLOCK_REALTIME), **note}) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


@dataclass(slots=True, kw_only=True)
class Report:
    """What an audit counted and found. `lost` and `doubled` count problems of those kinds."""

    requests: int = 0
    resolved: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    decisions_told: int = 0
    refusals_told: int = 0
    decisions_unanswered: int = 0
    waits_told: int = 0
    runs: int = 0
    runs_finished: int = 0
    steps_performed: int = 0
    steps_repeated: int = 0
    """Performed again before their result was on record: at least once is what is promised until then."""
    entries: int = 0
    lost: int = 0
    doubled: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        outcomes = ", ".join(f"{status} {count}" for status, count in sorted(self.outcomes.items()))
        lines = [
            f"requests {self.requests}, resolved {self.resolved} ({outcomes})",
            f"decisions acknowledged {self.decisions_told}, without an answer {self.decisions_unanswered}",
            f"refusals told {self.refusals_told}, waits told {self.waits_told}",
            f"runs {self.runs}, finished {self.runs_finished}",
            f"steps performed {self.steps_performed}, again before their record {self.steps_repeated}",
            f"audit entries {self.entries}",
            f"lost {self.lost}, doubled {self.doubled}, problems {len(self.problems)}",
        ]
        return "\n".join([*lines, *self.problems[:50]])

    def problem(self, text: str) -> None:
        self.problems.append(text)

    def loss(self, text: str) -> None:
        self.lost += 1
        self.problem(f"lost: {text}")

    def double(self, text: str) -> None:
        self.doubled += 1
        self.problem(f"doubled: {text}")


def audit(
    ledger: Ledger, database: str | Path, *, resolved: bool = True, prompt: float | None = None
) -> Report:
    """Hold the database (a PostgreSQL URL, or the path of an SQLite file) against the ledger.

    `resolved` False: requests and runs may still be open. `prompt`: the seconds in which waits are told and
    deadlines take effect; None: however long it took.
    """
    report = Report()
    notes = list(ledger.notes())
    with _Database(database) as found:
        requests, runs = found.requests(), found.runs()
        report.requests, report.runs = len(requests), len(runs)
        _audit_presence(report, notes, requests, runs)
        _audit_ends(report, requests, found.closing_entries(), resolved=resolved)
        _audit_what_was_told(report, notes, requests)
        _audit_decisions(report, notes, requests, found.responses())
        _audit_runs(report, notes, runs, resolved=resolved)
        _audit_steps(report, notes, runs, found.steps(), requests)
        _audit_trails(report, requests, found.entries())
    if prompt is not None:
        _audit_promptness(report, notes, requests, prompt)
    return report


# --- Against the ledger ---


def _audit_presence(
    report: Report, notes: Sequence[Note], requests: Mapping[str, Row], runs: Mapping[str, Row]
) -> None:
    for note in notes:
        if note["what"] == "asked" and note["request"] not in requests:
            report.loss(f"request {note['request']}, which {note['who']} asked")
        if note["what"] == "started" and note["run"] not in runs:
            report.loss(f"run {note['run']}, which {note['who']} started")


def _audit_ends(
    report: Report, requests: Mapping[str, Row], closing: Mapping[str, list[str]], *, resolved: bool
) -> None:
    for request_id, row in requests.items():
        status, ends = row["status"], closing.get(request_id, [])
        if len(ends) > 1:
            report.double(f"request {request_id} was closed {len(ends)} times: {ends}")
        if status == "pending":
            if ends:
                report.problem(f"request {request_id} is pending, but its trail says {ends}")
            if resolved:
                report.loss(f"request {request_id} ({row['title']!r}) was never resolved")
            continue
        report.resolved += 1
        report.outcomes[status] += 1
        if not ends:
            report.loss(f"the closing entry of request {request_id}")
        elif ends[0] != status:
            report.problem(f"request {request_id} is {status}, but its trail says {ends[0]}")


def _audit_what_was_told(report: Report, notes: Sequence[Note], requests: Mapping[str, Row]) -> None:
    """Everybody who was told of an end was told this end."""
    counters = {"decided": "decisions_told", "refused": "refusals_told", "waited": "waits_told"}
    for note in notes:
        if (counter := counters.get(note["what"])) is None:
            continue
        setattr(report, counter, getattr(report, counter) + 1)
        told, row = note["outcome"], requests.get(note["request"])
        if told is None or told["status"] == "pending":
            if note["what"] == "waited":
                report.problem(f"{note['who']} waited for {note['request']} and was told {told}")
            continue
        if row is None:
            report.loss(f"request {note['request']}, of whose end {note['who']} was told")
            continue
        if differences := _differences(told, row):
            report.double(
                f"{note['who']} ({note['what']}) was told another end of {note['request']}: {differences}"
            )


def _differences(told: Mapping[str, Any], row: Row) -> list[str]:
    recorded = _outcome(row)
    differing = [
        f"{name}: told {told[name]!r}, recorded {recorded[name]!r}"
        for name in TOLD
        if told[name] != recorded[name]
    ]
    if told["decided_at"] is None or _moment(told["decided_at"]) != row["closed_at"]:
        differing.append(f"decided_at: told {told['decided_at']}, recorded {row['closed_at']}")
    return differing


def _outcome(row: Row) -> dict[str, Any]:
    status = row["status"]
    timed_out = status == "timed_out"
    approved = row["on_timeout"] == "approve" if timed_out else status == "approved"
    return {
        "kind": row["kind"],
        "status": status,
        "approved": approved if row["kind"] == "approval" and status != "pending" else None,
        "answer": _json(row["answer"]),
        "arguments": _json(row["arguments"] if row["final_arguments"] is None else row["final_arguments"]),
        "comment": row["comment"],
        "decided_by": row["decided_by"],
        "timed_out": timed_out,
        "withdrawn": status == "withdrawn",
    }


def _audit_decisions(
    report: Report,
    notes: Sequence[Note],
    requests: Mapping[str, Row],
    responses: Mapping[tuple[str, str | None], Row],
) -> None:
    """What was acknowledged is on record, as it was said."""
    for note in notes:
        if note["what"] == "unanswered":
            report.decisions_unanswered += 1
        if note["what"] != "decided":
            continue
        said, request_id = note["said"], note["request"]
        if said == "withdraw":
            if requests.get(request_id, {}).get("status") != "withdrawn":
                report.loss(f"the withdrawal of {request_id} by {note['who']}")
            continue
        response = responses.get((request_id, note["who"]))
        if response is None:
            report.loss(f"{said!r} by {note['who']} to {request_id}, which was acknowledged")
        elif said != (response["verdict"] or _json(response["answer"])):
            report.double(f"{note['who']} said {said!r} to {request_id}; recorded: {response}")


# --- In time ---


def _audit_promptness(
    report: Report, notes: Sequence[Note], requests: Mapping[str, Row], prompt: float
) -> None:
    over = [note["at"] for note in notes if note["what"] == "over"]
    for note in notes:
        row = requests.get(note.get("request", ""))
        if note["what"] == "waited" and row is not None and row["closed_at"] is not None:
            seconds = _seconds_late(row["closed_at"].timestamp(), note["at"], over)
            if seconds > prompt:
                report.problem(
                    f"late: {note['who']} was told of the end of {note['request']} after {seconds:.1f} s"
                )
    for request_id, row in requests.items():
        if row["status"] == "timed_out":
            seconds = _seconds_late(row["deadline"].timestamp(), row["closed_at"].timestamp(), over)
            if seconds > prompt:
                report.problem(f"late: the deadline of {request_id} took effect after {seconds:.1f} s")


def _seconds_late(due: float, done: float, over: Sequence[float]) -> float:
    """From when it was due, or the last that was in the way was over, until it was done."""
    return done - max([due, *(moment for moment in over if moment <= done)])


# --- Runs ---


def _audit_runs(report: Report, notes: Sequence[Note], runs: Mapping[str, Row], *, resolved: bool) -> None:
    for run_id, row in runs.items():
        if row["status"] in FINISHED:
            report.runs_finished += 1
        elif resolved:
            report.loss(f"run {run_id} ({row['orchestration']}) is still {row['status']}")
    for note in notes:
        if note["what"] == "ended" and note["run"] in runs and runs[note["run"]]["status"] != note["status"]:
            recorded = runs[note["run"]]["status"]
            report.double(f"{note['who']} was told that run {note['run']} {note['status']}; it {recorded}")


def _audit_steps(
    report: Report,
    notes: Sequence[Note],
    runs: Mapping[str, Row],
    steps: Mapping[tuple[str, str], Row],
    requests: Mapping[str, Row],
) -> None:
    performed: dict[tuple[str, str], list[Note]] = defaultdict(list)
    for note in notes:
        if note["what"] == "performed":
            performed[note["run"], note["step"]].append(note)
    for call, times in performed.items():
        report.steps_performed += len(times)
        report.steps_repeated += len(times) - 1
        _audit_step(report, call, times, runs.get(call[0]), steps.get(call))
    for (run_id, key), step in steps.items():
        if step["status"] == "done" and step["request_id"]:
            _audit_answer(report, run_id, key, step, requests.get(step["request_id"]))


def _audit_step(
    report: Report, call: tuple[str, str], times: Sequence[Note], run: Row | None, step: Row | None
) -> None:
    run_id, key = call
    if step is None or step["status"] not in {"done", "failed"}:
        if run is not None and run["status"] == "completed":
            report.loss(f"the record of step {key!r} of the completed run {run_id}")
        return
    recorded = step["finished_at"].timestamp()
    late = [note for note in times if note["at"] > recorded + PRECISION]
    if late:
        report.double(f"step {key!r} of run {run_id}: performed {len(late)} times past its record")
    result = _json(step["result"])
    if isinstance(result, dict) and "effect" in result:
        effects = [note["effect"] for note in times]
        if result["effect"] not in effects:
            report.problem(f"step {key!r} of run {run_id}: its record {result} is none of {effects}")


def _audit_answer(report: Report, run_id: str, key: str, step: Row, row: Row | None) -> None:
    if row is None:
        report.loss(f"request {step['request_id']}, which run {run_id} has an answer to")
    elif differences := _differences(_json(step["result"]), row):
        report.double(f"run {run_id} was told another end at {key!r}: {differences}")


# --- The trail ---


def _audit_trails(report: Report, requests: Mapping[str, Row], entries: Mapping[str, list[Row]]) -> None:
    for request_id, row in requests.items():
        trail = entries.get(request_id, [])
        report.entries += len(trail)
        if fault := _fault(row, trail):
            report.problem(f"the trail of request {request_id}: {fault}")


def _fault(row: Row, trail: Sequence[Row]) -> str:
    previous = ""
    for number, entry in enumerate(trail, 1):
        if entry["sequence"] != number:
            return f"entry {number} is missing"
        if entry["previous_hash"] != previous:
            return f"entry {number} is not linked"
        if _sha256(entry["canonical"]) != entry["hash"]:
            return f"entry {number} was changed"
        hashed = json.loads(entry["canonical"])
        for column in ("sequence", "event", "outcome", "previous"):
            if hashed[column] != entry[{"previous": "previous_hash"}.get(column, column)]:
                return f"entry {number}: its {column} is not what was hashed"
        if entry["content"] is not None and _sha256(entry["salt"] + entry["content"]) != hashed["content"]:
            return f"entry {number}: its content is not what was hashed"
        previous = entry["hash"]
    if (len(trail), previous) != (row["trail_length"], row["trail_head"]):
        return f"the request says {row['trail_length']} entries, there are {len(trail)}"
    return ""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# --- The database, as it is ---


class _Database:
    """Plain SQL over either database: ids as text, moments as datetimes."""

    def __init__(self, where: str | Path) -> None:
        self._where = str(where)

    def __enter__(self) -> _Database:
        self._connection: Any
        if self._where.startswith(("postgres://", "postgresql://")):
            self._connection = psycopg.connect(self._where, row_factory=dict_row)
            # What is audited is one moment.
            self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        else:
            self._connection = sqlite3.connect(self._where)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("BEGIN")
        return self

    def __exit__(self, *of: object) -> None:
        self._connection.close()

    def requests(self) -> dict[str, Row]:
        rows = self._rows(
            "SELECT r.id, r.kind, r.title, r.status, r.arguments, r.final_arguments, r.answer, r.comment,"
            " r.on_timeout, r.deadline, r.closed_at, r.trail_length, r.trail_head, u.username AS decided_by"
            " FROM approvals_humanrequest r LEFT JOIN auth_user u ON u.id = r.decided_by_id"
        )
        return {row["id"]: row for row in rows}

    def closing_entries(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for row in self._rows("SELECT request_id, outcome FROM approvals_auditentry WHERE outcome <> ''"):
            found[row["request_id"]].append(row["outcome"])
        return found

    def responses(self) -> dict[tuple[str, str | None], Row]:
        rows = self._rows(
            "SELECT s.request_id, s.verdict, s.answer, u.username"
            " FROM approvals_response s LEFT JOIN auth_user u ON u.id = s.actor_id"
        )
        return {(row["request_id"], row["username"]): row for row in rows}

    def entries(self) -> dict[str, list[Row]]:
        rows = self._rows(
            "SELECT e.request_id, e.sequence, e.event, e.outcome, e.previous_hash, e.hash, e.canonical,"
            " c.salt, c.content FROM approvals_auditentry e"
            " LEFT JOIN approvals_showncontent c ON c.entry_id = e.id ORDER BY e.request_id, e.sequence"
        )
        found: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            found[row["request_id"]].append(row)
        return found

    def runs(self) -> dict[str, Row]:
        rows = self._rows("SELECT id, orchestration, status FROM orchestration_run")
        return {row["id"]: row for row in rows}

    def steps(self) -> dict[tuple[str, str], Row]:
        rows = self._rows(
            "SELECT run_id, key, status, request_id, result, finished_at FROM orchestration_steprecord"
        )
        return {(row["run_id"], row["key"]): row for row in rows}

    def _rows(self, statement: str) -> Iterator[Row]:
        for row in self._connection.execute(statement):
            yield {name: _plain(name, row[name]) for name in row.keys()}  # noqa: SIM118  # sqlite3.Row


def _plain(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "id" or name.endswith("_id"):
        return str(value if isinstance(value, UUID) else UUID(value))
    return _moment(value) if name.endswith("_at") or name == "deadline" else value


def _moment(value: datetime | str) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _json(value: str | None) -> Any:
    return None if value is None else json.loads(value)
