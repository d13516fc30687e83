"""What may be recorded: every value that no database, browser or hash can carry is refused at the edge."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from approvals.domain.payloads import (
    BYTES_LIMIT,
    DEPTH_LIMIT,
    LARGEST_INTEGER,
    LONGEST_DURATION,
    canonical,
    check_json,
    check_text,
    digest,
    read_canonical,
    seconds,
    spot,
)
from approvals.exceptions import InvalidAnswer, InvalidRequest
from tests.effort import effort

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
# Half of them where they are not stable, or at one of the ends.
floats = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(2**52, 10**22)
    | st.floats(-(10**22), -(2**52))
)
whole = st.integers(-LARGEST_INTEGER, LARGEST_INTEGER)


def json_with(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    scalars = st.none() | st.booleans() | numbers | texts
    return st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=30)


def is_stable(number: float) -> bool:
    return not 2**53 <= abs(number) < 10**21


values = json_with(whole | floats.filter(is_stable))
any_values = json_with(whole | floats)


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class OldStyle(str, enum.Enum):  # noqa: UP042 -- its str() is "OldStyle.ON", not its value
    ON = "on"


# --- JSON ---


@effort()
@given(values)
def test_json_comes_back_equal_and_detached(value: Any) -> None:
    """The copy equals the value and shares no list or dict with it."""
    copy = check_json(value, "answer")
    assert copy == value
    assert json.dumps(copy) == json.dumps(value)
    assert not _containers(copy) & _containers(value)


@effort()
@given(values)
def test_the_size_is_that_of_the_compact_utf8_text(value: Any) -> None:
    """Exactly as many bytes as the compact text has are enough; one less is not."""
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    check_json(value, "answer", max_bytes=size)
    with pytest.raises(InvalidRequest, match="larger than"):
        check_json(value, "answer", max_bytes=size - 1)


def test_relatives_of_json_types_become_plain() -> None:
    """Tuples, ordered dicts and enumerations are recorded as what they stand for."""
    copy = check_json(
        OrderedDict(colour=Colour.RED, level=Level.HIGH, old=OldStyle.ON, pair=(1, True)), "arguments"
    )
    assert copy == {"colour": "red", "level": 3, "old": "on", "pair": [1, True]}
    assert [type(child) for child in (copy, *copy.values())] == [dict, str, int, str, list]
    assert copy["pair"][1] is True


@pytest.mark.parametrize(
    ("value", "where", "rule"),
    [
        ({"items": [0, 1, 2, {"name": "a\0b"}]}, "arguments.items[3].name", "U+0000"),
        ({"name": "\ud800"}, "arguments.name", "lone surrogate"),
        ({"a\0": 1}, 'arguments["a\\u0000"]', "key that contains U+0000"),
        ({"in": {"\udfff": 1}}, 'arguments.in["\\udfff"]', "key that contains a lone surrogate"),
        ({"x": float("nan")}, "arguments.x", "finite"),
        ([float("inf")], "arguments[0]", "finite"),
        ({"wei": 1e18}, "arguments.wei", r"2\*\*53.*as a string"),
        ({"of": [1, {"wei": -1e18}]}, "arguments.of[1].wei", "as a string"),
        ([2.0**53], "arguments[0]", "as a string"),
        ([999999999999999868928.0], "arguments[0]", "as a string"),
        ([[float("-inf")]], "arguments[0][0]", "finite"),
        ({"a": {1: 2}}, "arguments.a", "key that is int"),
        ({None: 2}, "arguments", "keys must be strings"),
        ({True: 2}, "arguments", "key that is bool"),
        ({"total": 2**53}, "arguments.total", "as a string"),
        ({"total": -(2**53)}, "arguments.total", "as a string"),
        ({"two words": 10**400}, 'arguments["two words"]', "as a string"),
        ({"price": decimal.Decimal("1.10")}, "arguments.price", "Decimal.*as a string"),
        ([datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)], "arguments[0]", "datetime.*as a string"),
        ([datetime.timedelta(1)], "arguments[0]", "timedelta.*as a string"),
        ([uuid.UUID(int=1)], "arguments[0]", "UUID.*as a string"),
        ({"tags": {"a"}}, "arguments.tags", "set.*a list"),
        ([b"bytes"], "arguments[0]", "bytes"),
        (object(), "arguments", "object"),
        ([range(3)], "arguments[0]", "range"),
    ],
)
def test_what_json_cannot_carry_is_refused_at_its_spot(value: Any, where: str, rule: str) -> None:
    """The error names the path and the rule, and is itself safe to send."""
    with pytest.raises(InvalidRequest, match=rule.replace("+", r"\+")) as refusal:
        check_json(value, "arguments")
    assert refusal.value.field == where
    assert refusal.value.detail.startswith(where)
    refusal.value.detail.encode()


def test_the_largest_exact_integers_pass() -> None:
    """Up to 2**53-1 every integer is exact everywhere; from 1e21 on, floats are written as floats."""
    numbers = [LARGEST_INTEGER, -LARGEST_INTEGER, float(LARGEST_INTEGER), 1e21, -1e21, 1e300]
    assert check_json(numbers, "x") == numbers


def test_nesting_ends_at_its_limit() -> None:
    """64 levels pass, the 65th is refused where it begins."""
    assert check_json(nested(DEPTH_LIMIT), "answer") == nested(DEPTH_LIMIT)
    with pytest.raises(InvalidRequest, match="nested deeper than 64") as refusal:
        check_json(nested(DEPTH_LIMIT + 1), "answer")
    assert refusal.value.field == "answer" + "[0]" * DEPTH_LIMIT


def test_values_without_end_are_refused() -> None:
    """Cycles, towers and shared references that would unfold without bound cost no more than the limits."""
    cycle: list[Any] = []
    cycle.append(cycle)
    bomb: Any = "x" * 100
    for _ in range(60):
        bomb = [bomb] * 10
    with pytest.raises(InvalidRequest, match="nested"):
        check_json(cycle, "answer")
    with pytest.raises(InvalidRequest, match="nested"):
        check_json(nested(100_000), "answer")
    with pytest.raises(InvalidRequest, match="larger than 1,048,576 bytes") as refusal:
        check_json(bomb, "answer")
    assert refusal.value.field == "answer"


def test_a_megabyte_is_the_most() -> None:
    """Counted in bytes, not characters."""
    check_json("x" * (BYTES_LIMIT - 2), "answer")
    for much in ("x" * (BYTES_LIMIT - 1), "é" * (BYTES_LIMIT // 2), {"k" * BYTES_LIMIT: 1}):
        with pytest.raises(InvalidRequest, match="larger than"):
            check_json(much, "answer")


def test_an_answer_is_refused_as_an_answer() -> None:
    """The caller says which error it is."""
    with pytest.raises(InvalidAnswer):
        check_json({1}, "answer", error=InvalidAnswer)


# --- Text ---


def test_text_comes_back_unchanged() -> None:
    """Nothing is stripped or normalised."""
    assert check_text("  Zwölf\r\nBoxkämpfer 🥊 ", "details") == "  Zwölf\r\nBoxkämpfer 🥊 "
    assert check_text("", "details") == ""
    assert type(check_text(Colour.RED, "details")) is str


@pytest.mark.parametrize(
    ("value", "options", "rule"),
    [
        (None, {}, "must be text, not nothing"),
        (5, {}, "must be text, not int"),
        (b"x", {}, "must be text, not bytes"),
        ("a\0", {}, "U\\+0000"),
        ("\ud83d", {}, "lone surrogate"),
        ("", {"required": True}, "must not be empty"),
        (" \t\u2003", {"required": True}, "must not be empty"),
        ("x" * 201, {"max_length": 200}, "at most 200 characters, not 201"),
        ("a\nb", {"one_line": True}, "one line"),
        ("a\u2028b", {"one_line": True}, "one line"),
        ("a\x85b", {"one_line": True}, "one line"),
        ("\x1b[31mred", {"one_line": True}, "control characters"),
    ],
)
def test_text_that_cannot_be_is_refused(value: Any, options: dict[str, Any], rule: str) -> None:
    """The error names the field and the rule."""
    with pytest.raises(InvalidRequest, match=rule) as refusal:
        check_text(value, "title", **options)
    assert refusal.value.field == "title"


def test_the_longest_text_passes() -> None:
    """The limit itself is allowed, and counted in characters."""
    assert check_text("ü" * 200, "title", max_length=200, one_line=True, required=True) == "ü" * 200


# --- Durations ---


@pytest.mark.parametrize(("value", "expected"), [(0, 0.0), (300, 300.0), (0.5, 0.5), (LONGEST_DURATION,) * 2])
def test_durations_are_floats(value: float, expected: float) -> None:
    """Zero means at once."""
    assert seconds(value, "timeout", none_allowed=False) == expected
    assert isinstance(seconds(value, "timeout", none_allowed=False), float)


@pytest.mark.parametrize(
    "value",
    [-1, -0.001, float("nan"), float("inf"), float("-inf"), 10**400, LONGEST_DURATION + 1, True, "5", [], 1j],
)
def test_impossible_durations_are_refused(value: Any) -> None:
    """Negative, not a number, without end, or not numeric at all."""
    with pytest.raises(InvalidRequest) as refusal:
        seconds(value, "timeout", none_allowed=True)
    assert refusal.value.field == "timeout"


def test_no_duration_only_where_that_means_something() -> None:
    """None is a value where the caller says so."""
    assert seconds(None, "timeout", none_allowed=True) is None
    with pytest.raises(InvalidRequest, match="not nothing"):
        seconds(None, "timeout", none_allowed=False)


# --- Canonical form ---


@effort()
@given(any_values)
def test_what_is_accepted_has_one_canonical_text_whoever_reads_it(value: Any) -> None:
    """Any JSON there is: it is refused, or what is read from its canonical text has the same text."""
    refusal = refusal_of(lambda: check_json(value, "answer"))
    if refusal is None:
        assert canonical(json.loads(canonical(value))) == canonical(value)
    else:
        assert "as a string" in refusal[0]


@effort()
@given(any_values)
def test_what_was_accepted_before_is_read_as_it_was(value: Any) -> None:
    """Trails have numbers that are no longer accepted: read as floats, they have the same text."""
    assert read_canonical(canonical(value)) == value
    assert canonical(read_canonical(canonical(value))) == canonical(value)


@pytest.mark.parametrize("text", ["1" * 22, "-" + "1" * 400])
def test_a_number_that_no_float_is_written_as_stays_what_it_is(text: str) -> None:
    """It has no canonical form, and nothing of ours was written so."""
    assert read_canonical(text) == int(text)
    with pytest.raises(ValueError, match="integer"):
        canonical(read_canonical(text))


@effort()
@given(st.dictionaries(texts, values))
def test_equal_values_have_equal_texts(value: dict[str, Any]) -> None:
    """Neither the order of keys nor whether a number is written as integer or float changes the text."""
    backwards = dict(reversed(value.items()))
    assert canonical(backwards) == canonical(value)
    assert canonical(json.loads(canonical(value), parse_int=float)) == canonical(value)


@effort()
@given(any_values)
def test_every_text_is_the_one_that_the_library_of_the_rfc_writes(value: Any) -> None:
    """Also where the compiled encoder, which is faster, writes it."""
    assert canonical(value) == rfc8785.dumps(value).decode()


def test_the_canonical_form_is_rfc_8785() -> None:
    """Sorted keys, shortest numbers, no spaces, characters as they are; the digest is over its UTF-8."""
    text = canonical({"b": [1.0, 1e16, -0.0, None], "a": "é\n"})
    assert text == '{"a":"é\\n","b":[1,10000000000000000,0,null]}'
    assert digest("é") == "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c"


# --- Where ---


def test_spots_read_like_code() -> None:
    """Names by dot, indexes in brackets, anything else quoted, cut short and safe to send."""
    assert spot("a", ["items", 3, "größe", "two words", ""]) == 'a.items[3].größe["two words"][""]'
    assert spot("a", ["x" * 1000]) == f"a.{'x' * 40}…"
    spot("a", ["\ud800"]).encode()


def refusal_of(check: Callable[[], object]) -> tuple[str, str | None] | None:
    try:
        check()
    except InvalidRequest as refusal:
        return refusal.detail, refusal.field
    return None


def _containers(value: Any) -> set[int]:
    if isinstance(value, dict):
        return {id(value)}.union(*map(_containers, value.values()))
    if isinstance(value, list):
        return {id(value)}.union(*map(_containers, value))
    return set()
