"""What a storm may not have done to its errands, beyond what every ledger is audited for.

Each run has ended as follows from its requests; what it did, it did once; nobody waited longer than the
faults and the re-check explain; whoever had to be told was told. The rest is in tests/faults/ledger.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tests.faults.storm import failures
from tests.faults.storm.errands import LEFT, Errand
from tests.faults.storm.interruptions import AGAIN, STOP, step_of
from tests.faults.storm.known import Findings, Known, Note, unexplained
from tests.faults.storm.records import Records, RequestRow, RunRow
from tests.faults.storm.sleeps import audit_sleeps
from tests.faults.storm.tellings import audit_tellings
from tests.faults.storm.versions import audit_versions

# What a process that was frozen does first, when it goes on, it had begun before; seconds, on busy cores.
THAWING = 15.0


def audit(known: Known, records: Records, *, bound: float) -> Findings:
    """`bound`: seconds in which deadlines take effect and waits end, where nothing is broken."""
    findings = Findings()
    _audit_keys(findings, known, records)
    _audit_ends(findings, known, records)
    _audit_effects(findings, known, records)
    audit_versions(findings, known, records)
    audit_sleeps(findings, known, records, bound)
    _audit_promptness(findings, known, records, bound)
    audit_tellings(findings, known, records, bound)
    return findings


def from_the_ice(notes: Sequence[Note], records: Records, thaws: Sequence[tuple[str, float]]) -> list[Note]:
    """Effects of calls that a process had begun before it was frozen, and that others had done by then.

    What it then wants to record is refused, which tells such a call from one that was begun afterwards; but
    nobody can call back a function that was called.
    """
    recorded = {(step.run_id, step.key): step.finished_at for step in records.steps}
    results = [step.result for step in records.steps]
    on_record = {result["effect"] for result in results if isinstance(result, dict) and "effect" in result}
    performed = [note for note in notes if note["what"] == "performed"]
    times = Counter((note["run"], note["step"]) for note in performed)
    return [
        note
        for note in performed
        if note["effect"] not in on_record
        and _was_frozen(str(note["effect"]).partition(" ")[0], note["at"], thaws)
        and (
            times[call := (note["run"], note["step"])] > 1 or (recorded.get(call) or note["at"]) < note["at"]
        )
    ]


def _was_frozen(pid: str, at: float, thaws: Sequence[tuple[str, float]]) -> bool:
    """Just before."""
    return any(pid == frozen and 0 <= at - thawed < THAWING for frozen, thawed in thaws)


# --- Nothing lost, nothing twice ---


def _audit_keys(findings: Findings, known: Known, records: Records) -> None:
    keys = [run.key for run in records.runs.values()]
    for run_id, errand in known.errands.items():
        if run_id not in records.runs:
            findings.problems.append(f"lost: run {run_id} of {errand.name}")
        elif keys.count(errand.key) != 1:
            findings.double(f"{errand.name} has {keys.count(errand.key)} runs")
    asked: dict[str, list[str]] = defaultdict(list)
    for request in records.requests.values():
        if not request.run_id:
            asked[request.key].append(request.id)
    for key, request_id in known.programs.items():
        if asked[key] != [request_id]:
            findings.double(f"{key} asked {request_id}; recorded: {asked[key]}")


def _audit_ends(findings: Findings, known: Known, records: Records) -> None:
    asked: dict[str, dict[str, RequestRow]] = defaultdict(dict)
    stopped = set()
    for request in records.requests.values():
        asked[request.run_id][request.title] = request
        if request.run_id and _says(request, STOP):
            stopped.add(request.run_id)
    for run_id, errand in known.errands.items():
        if (run := records.runs.get(run_id)) is None:
            continue
        findings.ends[run.status] = findings.ends.get(run.status, 0) + 1
        if run_id in known.resumed and not run.resumed:
            findings.problems.append(f"lost: the resumption of run {run_id} ({errand.name})")
        _count(findings, run, errand, asked[run_id])
        if wrong := _wrong_end(run, errand, asked[run_id], known.cancelled, stopped):
            findings.problems.append(f"run {run_id} ({errand.name}) {wrong}")


def _count(findings: Findings, run: RunRow, errand: Errand, asked: Mapping[str, RequestRow]) -> None:
    if run.status == "failed" and run.reason in ("error", "cancelled_itself", "step_failed"):
        findings.failures[errand.fails] += 1
    for question in errand.questions:
        if question.patience is not None and question.title in asked:
            findings.waits_left += 1


def _wrong_end(
    run: RunRow,
    errand: Errand,
    asked: Mapping[str, RequestRow],
    cancelled: Collection[str],
    stopped: Collection[str],
) -> str:
    if run.status == "cancelled":
        return "" if run.id in cancelled else "was cancelled, and nobody wanted that"
    if run.status == "failed" and run.reason == "interrupted":
        return "" if run.id in stopped else "was stopped at a step, and nobody said so"
    status, reason, told = _following(errand, asked)
    if (run.status, run.reason) != (status, reason):
        return f"is {run.status} ({run.reason}); what it was told makes it {status} ({reason}): {told}"
    if status == "failed" and errand.fails and (words := _words_missing(run, errand)):
        return words
    if status == "completed" and run.result != told:
        return f"has the result {run.result}, but was told {told}"
    return ""


def _following(errand: Errand, asked: Mapping[str, RequestRow]) -> tuple[str, str, list[Any]]:
    """How the run must have ended, and why, going by its requests; and what it was told on the way."""
    told: list[Any] = []
    for question in errand.questions:
        request = asked.get(question.title)
        if question.patience is not None and (request is None or request.status == "withdrawn"):
            # Where it was very short, nothing was asked.
            told.append(LEFT)
            continue
        if request is None or request.status == "pending":
            return "open", "", told
        told.append(request.status if request.kind == "approval" else request.answer)
        if request.status == "withdrawn":
            return "rejected", "withdrawn", told
        if request.kind == "approval" and not request.approved:
            return "rejected", "timed_out" if request.status == "timed_out" else "rejected", told
        if request.status == "timed_out" and request.kind == "clarification" and request.answer is None:
            return "failed", "timed_out", told
    if errand.fails:
        return "failed", failures.reason_of(errand.fails, errand.place), told
    return "completed", "", told


def _words_missing(run: RunRow, errand: Errand) -> str:
    """Of a run that has failed by itself: what the record should say of it, and does not."""
    if run.reason != failures.reason_of(errand.fails, errand.place):
        return ""
    words = failures.words_of(errand.fails, errand.place)
    return "" if words in run.error else f"has failed of {errand.fails}, but the record says {run.error!r}"


def _says(request: RequestRow, decision: str) -> bool:
    answer = request.answer
    return bool((answer.get("decision") if isinstance(answer, dict) else answer) == decision)


def _audit_effects(findings: Findings, known: Known, records: Records) -> None:
    """A step was performed once, and again only where that was allowed."""
    wanted_again: dict[tuple[str, str], int] = defaultdict(int)
    for request in records.requests.values():
        if request.run_id and _says(request, AGAIN):
            wanted_again[request.run_id, step_of(request.details)] += 1
    performed: dict[tuple[str, str], int] = defaultdict(int)
    for note in known.notes:
        if note["what"] == "performed":
            performed[note["run"], note["step"]] += 1
    for call, times in performed.items():
        _audit_repeats(findings, known.errands.get(call[0]), call, times - 1, wanted_again[call])
    for step in records.steps:
        call = (step.run_id, step.key)
        recorded = step.kind == "step" and step.status == "done" and step.run_id in known.errands
        if recorded and not performed[call] and not wanted_again[call]:
            findings.problems.append(f"lost: step {step.key} of run {step.run_id} had no effect")


def _audit_repeats(
    findings: Findings, errand: Errand | None, call: tuple[str, str], repeats: int, wanted: int
) -> None:
    if not repeats or errand is None:
        return
    if errand.repeatable:
        findings.repeated_as_allowed += repeats
        return
    findings.repeated_as_told += min(repeats, wanted)
    if repeats > wanted:
        findings.double(
            f"step {call[1]} of run {call[0]} had {repeats + 1} effects; {wanted} were wanted again"
        )


# --- In time ---


def _audit_promptness(findings: Findings, known: Known, records: Records, bound: float) -> None:
    told = {step.request_id: step.finished_at for step in records.steps if step.status == "done"}
    for note in known.notes:
        if note["what"] == "waited" and note["who"].startswith("Program "):
            told[note["request"]] = note["at"]
    for request in records.requests.values():
        if request.closed_at is None:
            continue
        if request.status == "timed_out" and request.deadline is not None:
            late = unexplained(request.deadline, request.closed_at, known.broken)
            findings.latest_deadline = max(findings.latest_deadline, late)
            if late > bound:
                findings.problems.append(f"late: the deadline of {request.id} took effect after {late:.1f} s")
        if (at := told.get(request.id)) is not None:
            waited = unexplained(request.closed_at, at, [*known.broken, *known.deserted])
            findings.longest_wait = max(findings.longest_wait, waited)
            if waited > bound:
                findings.problems.append(f"late: who waited for {request.id} was told after {waited:.1f} s")
