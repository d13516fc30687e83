"""The audit of sleeps: each run slept once, for as long as it was to, and not much longer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from tests.faults.storm.known import Findings, Known, Note, unexplained
from tests.faults.storm.records import Records, StepRow

# The clocks agree: it is one machine's. The record has microseconds.
PRECISION = 0.002


def audit_sleeps(findings: Findings, known: Known, records: Records, bound: float) -> None:
    """`bound`: seconds in which a run wakes, where nothing is broken."""
    began = _moments(known.notes, "sleeps")
    woke = _moments(known.notes, "woke")
    slept = {(step.run_id, step.key): step for step in records.steps if step.kind == "sleep"}
    findings.seen_asleep = len(known.asleep)
    for call, ends in known.asleep.items():
        if call not in slept:
            findings.problems.append(f"lost: the sleep {call[1]} of run {call[0]}")
        elif {*ends, slept[call].due_at} != {slept[call].due_at}:
            moments = f"{sorted(ends)}, then at {slept[call].due_at}"
            findings.double(f"the sleep {call[1]} of run {call[0]} was to end at {moments}")
    for run_id, errand in known.errands.items():
        run = records.runs.get(run_id)
        for index, question in enumerate(errand.questions):
            call = (run_id, f"nap-{index}")
            if call in slept:
                _audit_sleep(findings, call, slept[call], question.nap, began[call], woke[call])
                _audit_waking(findings, known, slept[call], bound)
            elif question.nap and run is not None and run.status == "completed":
                findings.problems.append(f"lost: run {run_id} never slept at {call[1]}")


def _audit_sleep(
    findings: Findings,
    call: tuple[str, str],
    step: StepRow,
    seconds: float,
    began: Sequence[float],
    woke: Sequence[float],
) -> None:
    due = step.due_at or 0.0
    what = f"the sleep {call[1]} of run {call[0]}"
    if not began:
        findings.problems.append(f"{what} is on record, and its run knows nothing of it")
    elif due < min(began) + seconds - PRECISION:
        findings.problems.append(f"{what} was to end {min(began) + seconds - due:.3f} s early")
    if step.status != "done":
        if woke:
            findings.problems.append(f"{what} is {step.status}, and its run woke")
        return
    findings.sleeps += 1
    early = [due - moment for moment in (*woke, step.finished_at or 0.0) if moment < due - PRECISION]
    if early:
        findings.problems.append(f"{what} ended {max(early):.3f} s before its moment")


def _audit_waking(findings: Findings, known: Known, step: StepRow, bound: float) -> None:
    if step.status != "done" or step.due_at is None or step.finished_at is None:
        return
    late = unexplained(step.due_at, step.finished_at, [*known.broken, *known.deserted])
    findings.latest_to_wake = max(findings.latest_to_wake, late)
    if late > bound:
        findings.problems.append(f"late: the sleep {step.key} of run {step.run_id} ended after {late:.1f} s")


def _moments(notes: Sequence[Note], what: str) -> dict[tuple[str, str], list[float]]:
    moments: dict[tuple[str, str], list[float]] = defaultdict(list)
    for note in notes:
        if note["what"] == what:
            moments[note["run"], note["step"]].append(note["at"])
    return moments
