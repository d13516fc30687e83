"""What a storm did and found, in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tests.faults.ledger import Report
from tests.faults.storm.known import Findings

SHOWN = 100


def show(
    told: Report,
    findings: Findings,
    *,
    surprises: Sequence[str],
    faults: Counter[str],
    ends: Mapping[str, Counter[str]],
    counts: Counter[str],
    troubles: Counter[str],
    letters: int,
    figures: Mapping[str, float],
) -> bool:
    """Print everything; whether nothing is wrong."""
    problems = [*told.problems, *findings.problems, *surprises]
    lost = sum(problem.startswith("lost") for problem in problems)
    doubled = sum(problem.startswith("doubled") for problem in problems)
    _line("faults", {"all": faults.total(), **_sorted(faults)})
    for name, part in ends.items():
        _line(name, _sorted(part))
    _line("runs", {"all": told.runs, **_sorted(Counter(findings.ends))})
    _line("versions of runs", _sorted(Counter(findings.versions)))
    _line("runs that failed of", _sorted(findings.failures))
    _line("sleeps", {"slept": findings.sleeps, "seen asleep": findings.seen_asleep})
    _line("waits cancelled by their runs", {"all": findings.waits_left})
    _line("requests", {"all": told.requests, **_sorted(told.outcomes)})
    _line(
        "told",
        {
            "decisions": told.decisions_told,
            "refusals": told.refusals_told,
            "waits": told.waits_told,
            "without an answer": told.decisions_unanswered,
        },
    )
    _line("people and programs", _sorted(counts))
    _line("messages", {**_sorted(findings.told), "taken by the mail server": letters})
    _line(
        "steps",
        {
            "performed": told.steps_performed,
            "again, as they allow": findings.repeated_as_allowed,
            "again, as people said": findings.repeated_as_told,
        },
    )
    _line("asked again because of", _sorted(troubles))
    _line("audit entries", {"all": told.entries})
    _line(
        "seconds that no fault explains",
        {
            "latest deadline": round(findings.latest_deadline, 1),
            "longest from an outcome to who waits": round(findings.longest_wait, 1),
            "latest to wake": round(findings.latest_to_wake, 1),
        },
    )
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    for problem in problems[:SHOWN]:
        print(f"PROBLEM {problem}")
    print(f"lost {lost}, doubled {doubled}, problems {len(problems)}")
    return not problems


def _line(name: str, figures: Mapping[str, object]) -> None:
    print(f"{name}: {', '.join(f'{what} {figure}' for what, figure in figures.items()) or 'none'}")


def _sorted(counter: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counter.items()))
