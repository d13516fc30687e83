"""A term of a request is declared once: what carries it along takes it from approvals.domain.request_terms.

A new one touches that description, the model with its migration, the rule that uses it, and the pages that
show it in a way of its own.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from approvals import gate
from approvals.domain import questions
from approvals.domain.lifecycle import Kind
from approvals.domain.request_terms import TERMS, Place, RequestTerms, terms_in
from approvals.models import HumanRequest
from approvals.writer.chain import FORMAT
from tests.architecture.sources import Source, product
from tests.processes import PROJECT, Process
from tests.stacks import Stack

# The description with its rules; schemas are of JSON Schema's words.
HOME = ("approvals/domain/request_terms.py", "approvals/domain/term_rules.py", "approvals/domain/schemas/")
# What every term passes on its way from who asks to the record and back. The rest of the product shows terms,
# and uses them, one by one.
WAY = (
    "approvals/gate.py",
    "approvals/domain/",
    "approvals/queries/",
    "approvals/trail/",
    "approvals/web/api/",
    "approvals/writer/",
)

# Which terms these files name, and why they must; also where the word stands for something else.
RULES: Mapping[str, tuple[str, str]] = {
    "approvals/gate.py": (
        "people, keys, the installation's default timeout, its callback hosts; what a deadline may approve",
        (
            "title arguments assignees requester key origin timeout callback_url default required four_eyes"
            " on_timeout escalation decisions"
        ),
    ),
    "approvals/domain/questions.py": (
        "assignees as they were named; four eyes that come from elsewhere; how questions were compared once",
        "assignees four_eyes title arguments timeout default",
    ),
    "approvals/domain/escalation.py": ("steps in the time that there is", "escalation timeout"),
    "approvals/domain/lookalikes.py": ("`title` of a JSON Schema", "title"),
    "approvals/domain/masking.py": ("`key` of a header", "key"),
    "approvals/queries/assignees.py": (
        "whether enough people may decide; `group` of people",
        "assignees required four_eyes group",
    ),
    "approvals/queries/escalation.py": (
        "whether enough people are left; what is next",
        "four_eyes escalation",
    ),
    "approvals/queries/named_in_steps.py": ("the names in steps", "escalation"),
    "approvals/queries/people_reads.py": ("four eyes are read along", "four_eyes"),
    "approvals/queries/permissions.py": (
        "who may decide: four eyes; `requester` allows",
        "four_eyes requester",
    ),
    "approvals/queries/highlights.py": ("arguments that matter, for lists", "arguments highlight"),
    "approvals/queries/inbox.py": (
        "people are read along; who votes where several do; `key` of a group",
        "requester required key",
    ),
    "approvals/queries/search.py": ("what is searched", "requester arguments"),
    "approvals/queries/tellings.py": ("when to remind", "remind"),
    "approvals/queries/lookups.py": ("what a key finds, what a run has asked", "key origin"),
    "approvals/queries/request_rows.py": ("who asked is read along; four eyes", "requester four_eyes"),
    "approvals/queries/requests.py": (
        "people are read along; what one origin has asked",
        "requester origin",
    ),
    "approvals/queries/serialization.py": (
        "people by name, those of steps, too; an outcome's arguments and verdict; what askers get back",
        "requester assignees arguments on_timeout origin escalation context links metadata",
    ),
    "approvals/queries/visibility.py": (
        "what a shortened id may mean, for people; what else an origin asks",
        "title origin",
    ),
    "approvals/queries/notices.py": ("who asked, by name; `group` of people", "requester group"),
    "approvals/queries/preferences.py": ("`group` of people", "group"),
    "approvals/queries/quorum.py": ("how many must approve, and whether others", "required four_eyes"),
    "approvals/queries/large_columns.py": ("arguments are of the question and of the outcome", "arguments"),
    "approvals/trail/verification/checker.py": (
        "`arguments` of a response; whether the run that asked is there",
        "arguments origin",
    ),
    "approvals/trail/verification/replay.py": (
        "what removals leave, what a deadline answers",
        "title arguments default assignees",
    ),
    "approvals/trail/verification/rows.py": (
        "facts of entries; the key of a group; when the next step is due; what may be answered with a text",
        "arguments multiple origin group key callback_url requester assignees escalation decisions",
    ),
    "approvals/trail/exports/formats.py": ("`title` of a text", "title"),
    "approvals/trail/seals/records.py": ("`key` that signs", "key"),
    "approvals/web/api/asking.py": ("people by name", "title assignees requester"),
    "approvals/web/api/requests.py": (
        "decisions, the trail in words; finding by a key, also of a group",
        "arguments required requester key group",
    ),
    "approvals/web/api/several.py": (
        "many decisions; what one origin has asked",
        "arguments origin decisions",
    ),
    "approvals/web/api/schemas.py": (
        "an example of each kind; some have forms of their own; many decisions",
        (
            "title details arguments highlight timeout key choices group origin assignees default escalation"
            " decisions"
        ),
    ),
    "approvals/web/api/validation.py": ("choices have two forms", "choices"),
    "approvals/web/api/wire.py": (
        "an example; people by name, those of steps, too; a group's form; an outcome's arguments",
        "title details arguments highlight on_timeout group origin requester assignees default escalation",
    ),
    "approvals/writer/batch.py": (
        "closing: votes that count, what a deadline decides; when the next step is due",
        "required four_eyes on_timeout default key arguments escalation",
    ),
    "approvals/writer/callbacks.py": (
        "posts there; `key` that signs; `group` of a pattern",
        "callback_url key group",
    ),
    "approvals/writer/chain.py": (
        "facts, which outlast what was asked, and the rest that a removal leaves",
        "key requester origin assignees multiple callback_url",
    ),
    "approvals/writer/metrics.py": (
        "counts decisions, and what deadlines decided",
        "on_timeout default decisions",
    ),
    "approvals/writer/removal.py": (
        "the host of a callback stays; what was approved",
        "callback_url arguments",
    ),
    "approvals/writer/rows.py": ("what a key finds; votes that count", "key required"),
    "approvals/writer/rules/changing.py": (
        "what is shown of a viewed request; assignees that change; deadlines that move",
        "title details arguments assignees timeout",
    ),
    "approvals/writer/rules/deciding.py": (
        "votes, edits and reasons; a run withdraws what it asked",
        "required editable arguments origin decisions reason_required",
    ),
    "approvals/writer/rules/escalating.py": ("whom a step names", "assignees escalation"),
    "approvals/writer/rules/opening.py": (
        "deadlines, keys, also of groups, the hash of arguments; four eyes that come from elsewhere",
        "title key timeout origin group arguments four_eyes",
    ),
    "approvals/writer/rules/refusals.py": ("whether a key had asked before", "key"),
    "approvals/writer/rules/removing.py": ("what a removal leaves", "multiple callback_url"),
}


def named_in(source: Source) -> set[str]:
    """The terms that the source names, as a text or as an attribute.

    As keywords such words are mostly somebody else's, as in `field(default=…)`.
    """
    found: Iterator[str] = (
        str(node.value) if isinstance(node, ast.Constant) else node.attr
        for node in source.nodes()
        if isinstance(node, ast.Constant | ast.Attribute)
    )
    return TERMS.keys() & set(found)


def test_a_term_is_named_by_the_description_and_by_rules_only() -> None:
    """Whoever names one elsewhere on its way takes it from the description, or says here why not."""
    sources = [one for one in product() if one.path.startswith(WAY) and not one.path.startswith(HOME)]
    strange = {one.path: named_in(one) - set(RULES.get(one.path, ("", ""))[1].split()) for one in sources}
    assert {path: names for path, names in strange.items() if names} == {}


def test_no_exception_outlives_its_use() -> None:
    named = {one.path: named_in(one) for one in product()}
    idle = {path: set(names.split()) - named.get(path, set()) for path, (_, names) in RULES.items()}
    assert {path: names for path, names in idle.items() if names} == {}


def test_terms_have_the_columns_that_they_say() -> None:
    """A limit of the description is no longer than the column, and only those in a row have one."""
    columns = {column.name: column for column in HumanRequest._meta.concrete_fields}
    in_rows = {term.name for term in terms_in(Place.ROW)}
    assert in_rows <= columns.keys()
    for name in in_rows:
        assert columns[name].max_length in (None, 16, TERMS[name].limits.get("max_length")), name


def test_callers_may_give_every_term_of_the_kind() -> None:
    """The types for callers, at the end of the description, are of the same terms."""
    given = {
        Kind.APPROVAL: gate.ApprovalTerms.__optional_keys__,
        Kind.CLARIFICATION: gate.ClarificationTerms.__optional_keys__,
    }
    for kind, keywords in given.items():
        said = {one.name for one in TERMS.values() if one.kind in (None, kind)} - {"title"}
        assert said <= keywords
        assert not {one.name for one in TERMS.values() if one.kind not in (None, kind)} & keywords


def test_every_format_of_the_trail_is_one_that_is_known() -> None:
    assert all(1 <= term.since <= FORMAT for term in TERMS.values())


@pytest.mark.parametrize("page", ["event_driven_orchestration.md", "api.md", "audit.md"])
def test_documents_name_every_term_that_is_theirs(page: str) -> None:
    text = (PROJECT / "docs" / page).read_text(encoding="utf-8")
    places = {"audit.md": Place.ENTRY}.get(page, Place.BODY)
    assert [
        term.name for term in terms_in(places) if f"`{term.name}`" not in text and term.name != "title"
    ] == []


@pytest.mark.processes
@pytest.mark.django_db
@pytest.mark.one_stack
def test_a_new_term_goes_all_the_way(stack: Stack, tmp_path: Path) -> None:
    """Declared, and with a column, it is asked for over HTTP and by the gate, checked, compared, recorded,
    vouched for, shown, and removed; what was asked without it keeps its fingerprint."""
    command = [sys.executable, "-m", "tests.architecture.new_term"]
    environment = stack.fresh_environment(tmp_path)
    with Process(command, environment=environment, name="new term") as process:
        assert process.wait(90) == 0, process.output.text
    report = json.loads(process.output.text.splitlines()[-1])
    plain = questions.fingerprint(gate.meaning(Kind.APPROVAL, "Refund", {}))
    assert report == {
        "over HTTP": {"type": "string", "maxLength": 20, "default": "normal", "title": "Urgency"},
        "asked over HTTP": "high",
        "asked by a program": "high",
        "too long": "urgency must have at most 20 characters, not 21.",
        "another question": ["urgency"],
        "fingerprint without it": plain,
        "in the first entry": "high",
        "faults": [],
        "faults after a change": ["The urgency of the row is not what was shown or said."],
        "once removed": "normal",
    }


def test_the_description_is_that_of_a_command() -> None:
    """A command has every term, whatever else it has."""
    assert {term.attribute for term in TERMS.values()} <= set(RequestTerms.__slots__)
