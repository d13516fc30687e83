"""The audit of versions: each run is of one, and was executed by nobody who does not know it."""

from __future__ import annotations

from tests.faults.storm.errands import BEGINNING
from tests.faults.storm.known import Findings, Known
from tests.faults.storm.records import Records


def audit_versions(findings: Findings, known: Known, records: Records) -> None:
    begun = {step.run_id for step in records.steps if step.key == BEGINNING}
    for run_id in known.errands.keys() & records.runs.keys():
        run = records.runs[run_id]
        findings.versions[f"version {run.version}"] += 1
        if run.version == 1 and run_id in begun:
            findings.problems.append(f"run {run_id} is of version 1, and did what only version 2 does")
        if run.version == 2 and run_id not in begun and run.status != "cancelled":
            findings.problems.append(f"lost: run {run_id} is of version 2, and has not begun as that does")
    for run_id, key, pid in sorted(_deeds(known, records)):
        run = records.runs[run_id]
        if pid in known.newest and known.newest[pid] < run.version:
            findings.problems.append(
                f"process {pid} executed {key} of run {run_id}, whose version {run.version} it does not know"
            )


def _deeds(known: Known, records: Records) -> set[tuple[str, str, str]]:
    """Run, step and process: as the record has it, and as whoever did it noted."""
    recorded = {(step.run_id, step.key, step.begun_by.rpartition(":")[2]) for step in records.steps}
    noted = {
        (note["run"], note["step"], str(note["effect"]).partition(" ")[0])
        for note in known.notes
        if note["what"] == "performed"
    }
    return {deed for deed in recorded | noted if deed[0] in known.errands and deed[0] in records.runs}
