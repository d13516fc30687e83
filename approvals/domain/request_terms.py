"""What a request says about itself: each term once, with its type, limits, help, places and rule. Pure.

The gate, the bodies and answers of the API, rows and entries of the trail are made from RequestTerms. A new
term is declared there (and, at the end, with the type that callers give), gets a column in
approvals/models/requests.py with a migration, and the rule that uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import MISSING, dataclass, field, fields
from datetime import timedelta
from enum import Enum, Flag
from functools import partial
from typing import Any, TypeAlias, TypedDict, get_type_hints

from approvals.domain import term_rules as rules
from approvals.domain.escalation import MOST_STEPS, check_escalation
from approvals.domain.lifecycle import DEFAULT_ANSWER, REMOVED, Kind, Severity, Verdict, usual_decisions
from approvals.domain.payloads import LONGEST_DURATION, canonical, check_text
from approvals.domain.term_rules import (
    HIGHLIGHT_LIMIT,
    LINKS_LIMIT,
    METADATA_LIMIT,
    OMITTED,
    REMIND_AT,
    TITLE_LIMIT,
)
from approvals.exceptions import InvalidRequest

KEY_LIMIT = 200
URL_LIMIT = 2000
DETAILS_LIMIT = 100_000


Place = Flag("Place", "BODY ROW WIRE ENTRY POLICY MEANING")
"""Where a term is, as the same value under the same name. BODY: the body of `POST /requests`; WIRE: a request
as programs read it; ENTRY: the content of the first trail entry; POLICY: the policy that every entry names,
also after a removal; MEANING: what an answer stands for, so that another value asks another question."""

EVERYWHERE = Place.BODY | Place.ROW | Place.WIRE | Place.ENTRY | Place.MEANING

Rule: TypeAlias = Callable[[Any, Mapping[str, Any]], Any]
"""See approvals.domain.term_rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One term. `attribute` is its name in a command; `type` and `default` are those of what is recorded.

    `kind`: of which requests it is; None: of both. `omitted` is what holds where nothing is said (`...`: it
    must be said), `empty` what is recorded for None, and read as null (`...`: None itself). `removed` is what
    a row has once retention has taken the words away (`...`: it stays). `limits` are in pydantic's words.
    `large`: it may be, and lists leave it out. `since` is the first format of trail entries that has it;
    `sparse`: they have it only where something was said.
    What is neither text nor true or false nor a whole number has a `rule`.
    """

    name: str
    attribute: str
    type: Any
    default: Any
    help: str
    kind: Kind | None = None
    places: Place = EVERYWHERE
    omitted: Any
    empty: Any = ...
    removed: Any = ...
    limits: Mapping[str, Any] = field(default_factory=dict)
    large: bool = False
    since: int = 1
    sparse: bool = False
    rule: Rule | None = None

    def check(self, value: Any, said: Mapping[str, Any]) -> Any:
        """Return the value as a command has it; InvalidRequest begins with the term's name."""
        value = self.to_row(value)
        if self.rule is not None:
            return self.rule(value, said)
        if self.type is str:
            return check_text(value, self.name, max_length=self.limits["max_length"])
        if self.type is bool:
            fits, words = isinstance(value, bool), "true or false"
        else:
            least = self.limits.get("ge", 0)
            fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
            words = f"a whole number of at least {least}"
        if not fits:
            raise InvalidRequest(f"{self.name} must be {words}.", field=self.name)
        return value

    def to_row(self, value: Any) -> Any:
        """Return what a row has for a command's value."""
        if value is None and self.empty is not ...:
            return copy(self.empty)
        if isinstance(value, tuple):
            return list(value)
        return value.value if isinstance(value, Enum) else value

    def to_wire(self, value: Any) -> Any:
        """Return what programs read for a row's value."""
        return None if value == self.empty else value


def _term(help_: str, default: Any = MISSING, **about: Any) -> Any:
    """Make a field of RequestTerms; `about` is what Term says of it."""
    about = {"help": help_, **about}
    if isinstance(default, dict | list):
        return field(default_factory=partial(copy, default), metadata=about)
    return field(default=default, metadata=about)


_approval = partial(_term, kind=Kind.APPROVAL)
_clarification = partial(_term, kind=Kind.CLARIFICATION)
_BESIDE = EVERYWHERE & ~Place.MEANING
_POLICY = EVERYWHERE | Place.POLICY


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTerms:
    """The terms of a request, checked, as they are recorded."""

    title: str = _term(
        "One line.",
        limits={"min_length": 1, "max_length": TITLE_LIMIT},
        removed=REMOVED,
        rule=rules.check_title,
    )
    details: str = _term(
        "Markdown for the reviewer.",
        "",
        places=_BESIDE,
        limits={"max_length": DETAILS_LIMIT},
        removed="",
        large=True,
    )
    context: str = _term(
        "Markdown of what is worth knowing beside it, which its page shows folded: a conversation, a diff.",
        "",
        places=_BESIDE,
        limits={"max_length": DETAILS_LIMIT},
        removed="",
        large=True,
        since=5,
    )
    links: list[dict[str, str]] = _term(
        f"Links that its page shows, each with `title` and `url`, {LINKS_LIMIT} at most.",
        [],
        places=_BESIDE,
        limits={"max_length": LINKS_LIMIT},
        removed=[],
        large=True,
        since=5,
        rule=rules.check_links,
    )
    metadata: dict[str, str] = _term(
        f"Texts of your own by name, {METADATA_LIMIT} at most: given back with the outcome.",
        {},
        places=_BESIDE,
        removed={},
        large=True,
        since=5,
        rule=rules.check_metadata,
    )
    group: dict[str, str] = _term(
        "What belongs together, such as the tool calls of one turn of an agent: requests of one requester"
        " with the same `key`. `title` is one line, the same for all of them.",
        {},
        omitted=None,
        empty={},
        removed={},
        since=5,
        sparse=True,
        rule=rules.check_group,
    )
    severity: Severity = _term(
        "How much it matters: `high` is marked in lists and on its page, where whoever approves it first says"
        " that they have read what will happen.",
        Severity.NORMAL,
        places=_POLICY,
        since=5,
        rule=rules.check_severity,
    )
    required: int = _approval("Approvals needed; one rejection rejects.", 1, places=_POLICY, limits={"ge": 1})
    four_eyes: bool = _approval(
        "true: neither the requester nor anybody who reassigns it may decide.", False, places=_POLICY
    )
    decisions: list[str] = _approval(
        "How it may be decided: `approve` and `reject`, and with `respond` also by a text instead (`answer`),"
        " after which it is `answered` and not approved; only where one approval is enough.",
        usual_decisions(),
        removed=usual_decisions(),
        since=5,
        rule=rules.check_decisions,
    )
    reason_required: bool = _approval(
        "true: whoever approves or rejects it must say why (`comment`).", False, removed=False, since=5
    )
    on_timeout: Verdict | None = _approval(
        "What the deadline decides. `approve` only where one approval is enough and four eyes are not needed,"
        " unless this installation allows it.",
        None,
        places=_POLICY,
        omitted=Verdict.REJECT,
        empty="",
        rule=rules.check_on_timeout,
    )
    arguments: dict[str, Any] = _approval(
        "The exact action, as asked. Its SHA-256 is on record. 1 MiB at most.",
        {},
        removed={},
        large=True,
        rule=rules.check_arguments,
    )
    highlight: list[str] = _approval(
        f"Names of the `arguments` that matter most, {HIGHLIGHT_LIMIT} at most: lists show these in one line."
        " Empty: the first two.",
        [],
        places=_BESIDE,
        removed=[],
        limits={"max_length": HIGHLIGHT_LIMIT},
        since=5,
        rule=rules.check_highlight,
    )
    editable: bool | dict[str, Any] = _approval(
        "May the approver change `arguments`? true, or the JSON Schema that the changed ones must fit.",
        False,
        removed=False,
        large=True,
        rule=rules.check_editable,
    )
    choices: list[str] | dict[str, str] | None = _clarification(
        "Options to pick from: values, or an object with the label that people read for each.",
        None,
        removed=None,
        large=True,
        rule=rules.check_choices,
    )
    multiple: bool = _clarification(
        "true: any number of the choices; the answer is a list.", False, rule=rules.check_multiple
    )
    schema: dict[str, Any] | None = _clarification(
        "JSON Schema of a structured answer.", None, removed=None, large=True, rule=rules.check_answer_schema
    )
    default: Any = _clarification(
        f"The answer when the deadline passes. null: none; omitted, for free text: `{DEFAULT_ANSWER}`.",
        None,
        omitted=OMITTED,
        removed=None,
        large=True,
        rule=rules.check_default,
    )
    # How long a request waits: at most LONGEST_DURATION (payloads.py); 300 seconds where nothing is said, or
    # SAYSO_DEFAULT_TIMEOUT (config/settings.py).
    timeout: float | None = _term(
        "Seconds to the deadline. null: no deadline; omitted: this installation's default.",
        None,
        places=Place.BODY | Place.ENTRY,
        omitted=OMITTED,
        limits={"gt": 0, "le": LONGEST_DURATION},
        rule=rules.check_timeout,
    )
    escalation: list[dict[str, Any]] = _term(
        "Who decides it as well, or instead (`replace`), if it is still pending after a share of its time"
        f" (`after` below 1) or after seconds (1 or more). {MOST_STEPS} steps at most, in order, before the"
        " deadline.",
        [],
        places=_BESIDE,
        limits={"max_length": MOST_STEPS},
        removed=[],
        since=5,
        rule=check_escalation,
    )
    remind: float = _term(
        "The share of its time after which who may decide and has not is reminded, if people are told of"
        " requests by email. null or 0: never. Without a deadline, each day, three times at most.",
        REMIND_AT,
        places=_BESIDE,
        omitted=OMITTED,
        empty=0,
        limits={"ge": 0, "lt": 1},
        removed=REMIND_AT,
        since=5,
        rule=rules.check_remind,
    )
    confidential: bool = _term(
        "true: a message to people says only that something waits, and has no link that decides without"
        " log-in.",
        False,
        places=_BESIDE,
        removed=False,
        since=5,
    )
    key: str = _term(
        "Your name for this question: repeating is safe then, also with other `details`, `timeout`,"
        " `callback_url` or `origin`. Another question under the same key is a `key_conflict`.",
        "",
        places=Place.BODY | Place.ROW,
        omitted=None,
        empty="",
        limits={"min_length": 1, "max_length": KEY_LIMIT},
    )
    callback_url: str = _term(
        "Where the outcome is posted, signed (Standard Webhooks). Its host must be allowed here.",
        "",
        places=Place.BODY | Place.ROW | Place.ENTRY,
        omitted=None,
        empty="",
        limits={"min_length": 1, "max_length": URL_LIMIT},
        since=2,
    )
    origin: dict[str, str] = _term(
        "What asks: `kind`, `id` and `url`.",
        {},
        places=_BESIDE,
        omitted=None,
        empty={},
        rule=rules.check_origin,
    )
    requester_id: int | None = _term("Who asks, or on whose behalf.", None, name="requester", places=Place(0))
    user_ids: tuple[int, ...] = _term(
        "Who may decide. Omitted: any reviewer.", (), name="assignees", places=Place(0)
    )
    group_ids: tuple[int, ...] = ()


def _describe_terms() -> dict[str, Term]:
    types, described = get_type_hints(RequestTerms), {}
    for one in fields(RequestTerms):
        if one.metadata:
            default = ... if one.default is MISSING else one.default
            if one.default_factory is not MISSING:
                default = one.default_factory()
            about = {"name": one.name, "omitted": default, **one.metadata}
            term = Term(attribute=one.name, type=types[one.name], default=default, **about)
            described[term.name] = term
    return described


TERMS: Mapping[str, Term] = _describe_terms()
"""The terms by name."""


def terms_in(place: Place, kind: Kind | None = None) -> list[Term]:
    """Return the terms that are in this place; with a kind, those that such a request can say."""
    return [one for one in TERMS.values() if place in one.places and kind in (None, one.kind or kind)]


# Those that may take space: neither numbers nor one of a few words.
_FIXED = (bool, int, float, Verdict | None, Severity)
_MEASURED = [one for one in terms_in(Place.ROW | Place.ENTRY) if one.type not in _FIXED]


def help_of(kind: Kind) -> str:
    """Return what the terms of such a request mean, a line for each."""
    return "\n".join(f"{one.name}: {one.help}" for one in TERMS.values() if one.kind in (None, kind))


def check_terms(kind: Kind, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that a request of this kind says; InvalidRequest names the first term at fault.

    Who is named, and whether an outcome may be posted there, is not looked at: that is the installation's.
    """
    terms = terms_in(Place.BODY, kind)
    checked = {one.name: said.get(one.name, one.omitted) for one in terms}
    for one in terms:
        checked[one.name] = one.check(checked[one.name], checked)
    return checked


def size_of(asked: RequestTerms) -> int:
    """Return the stored size of the request's terms, in bytes."""
    values = ((one.type, getattr(asked, one.attribute)) for one in _MEASURED)
    return sum(len((value if type_ is str else canonical(value)).encode()) for type_, value in values)


class CommonTerms(TypedDict, total=False):
    """The terms of both kinds as callers give them, beside the title; TERMS says what they mean."""

    details: str
    context: str
    links: Sequence[Mapping[str, str]]
    metadata: Mapping[str, str]
    group: Mapping[str, str] | None
    severity: str
    requester: Any
    assignees: Collection[Any]
    timeout: float | timedelta | None
    escalation: Sequence[Mapping[str, Any]]
    remind: float | None
    confidential: bool
    key: str | None
    origin: dict[str, str] | None
    callback_url: str


class TermsOfApproval(TypedDict, total=False):
    """The terms of approvals alone."""

    arguments: dict[str, Any] | None
    highlight: Sequence[str]
    editable: bool | dict[str, Any]
    required: int
    four_eyes: bool
    decisions: Sequence[str]
    reason_required: bool
    on_timeout: str


class TermsOfClarification(TypedDict, total=False):
    """The terms of clarifications alone."""

    choices: Collection[str] | Mapping[str, str] | None
    multiple: bool
    schema: dict[str, Any] | None
    default: Any
