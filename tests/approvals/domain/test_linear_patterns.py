"""Patterns with look-ahead, as producers of schemas write them, match on RE2 what they match elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.domain.payloads import FlawError
from approvals.domain.schemas import check_schema
from approvals.domain.schemas.patterns import Pattern
from approvals.exceptions import InvalidRequest
from tests.effort import effort

EMAIL = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
HOST = (
    r"^(?=.{1,253}\.?$)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[-0-9a-zA-Z]{0,61}[0-9a-zA-Z])?)*\.?$"
)
DURATION = r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$"
DECIMAL = r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"
PLACES = r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d{0,2}0*$"
BOTH = r"^(?!^[-+.]*$)[+-]?0*(?:\d{0,6}|(?=[\d.]{1,9}0*$)\d{0,6}\.\d{0,2}0*$)"
DIGITS = r"^(?!^[-+.]*$)[+-]?0*(?:\d{0,4}|(?=[\d.]{1,5}0*$)\d*\.\d*0*$)"
EMOJI = (
    r"^(?=[\s\S]*[\p{Extended_Pictographic}\p{Regional_Indicator}\u20E3])"
    r"[\p{Extended_Pictographic}\p{Emoji_Component}]+$"
)


def elsewhere(pattern: str) -> Callable[[str], bool]:
    """What a backtracking engine says, whose `$` is the very end, as JavaScript's is."""
    compiled = re.compile(re.sub(r"(?<!\\)\$", r"\\Z", pattern), re.ASCII)
    return lambda text: compiled.search(text) is not None


@pytest.mark.parametrize(
    ("pattern", "alphabet"),
    [(EMAIL, "a.@-+1"), (HOST, "a.-1"), (DURATION, "PTWYMDHS12.,"), (DECIMAL, "+-.01"), (PLACES, "+-.01")],
    ids=["zod's e-mail", "zod's host name", "zod's duration", "pydantic's Decimal", "with decimal places"],
)
def test_the_same_texts_match(pattern: str, alphabet: str) -> None:
    known, linear = elsewhere(pattern), Pattern(pattern)

    @effort(300)
    @given(st.text(alphabet, max_size=12))
    def check(text: str) -> None:
        assert linear.found_in(text) == known(text)

    check()


look = st.sampled_from(["(?=a)", "(?!b)", "(?=.*c$)", "(?![a(?=]b)", "(?=a|b)", r"(?!\(?)", ""])
body = st.sampled_from(["[abc]*$", "a|b", "(a|b)+", "", "(?:a(?:b)?)c", "a{1,2}$"])


@effort(300)
@given(st.builds("^{}{}{}".format, look, look, body), st.text("abc(?=", max_size=6))
def test_leading_look_ahead_is_one_more_pattern(pattern: str, text: str) -> None:
    """Wherever it can be taken apart; what can't is refused, and never taken for something else."""
    try:
        linear = Pattern(pattern)
    except FlawError:
        assert "|" in pattern, "only where alternatives stand outside of groups"
        return
    assert linear.found_in(text) == elsewhere(pattern)(text)


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (EMAIL, ["ann@example.org", "a.b+c@x.example.org"], [".a@b.org", "a..b@c.org", "a@b", "a@b.org\n"]),
        (
            BOTH,
            ["1240.50", "-0.1", "000123456.1200", "+5", ".5"],
            ["1234567", "1.234", "abc", "", "-", "1.2.3"],
        ),
        (DIGITS, ["1234", "0.001", "12.34", "1.5000"], ["12345", "123.45", "abc", ".", "1..2"]),
        (EMOJI, ["👍", "👍🏽", "🇳🇱", "1️⃣", "❤️"], ["a", "1", "", "👍a"]),
        (r"^\u20AC\d+$", ["€5"], ["5", "u20AC5"]),
        (r"^[\u{1F600}-\u{1F64F}]$", ["😀"], ["u"]),
    ],
    ids=["e-mail", "digits and places", "digits", "emoji", "code unit", "code point"],
)
def test_known_patterns_match_what_is_meant(pattern: str, good: list[str], bad: list[str]) -> None:
    """pydantic's own texts let anything in once they count digits: what they mean is what is taken."""
    compiled = Pattern(pattern)
    assert [text for text in good if not compiled.found_in(text)] == []
    assert [text for text in bad if compiled.found_in(text)] == []


@pytest.mark.parametrize(
    "pattern", ["a(?=b)", "^a(?!b)", "(?<=a)b", r"(a)\1", "^(?=a)*b", "^(?!a)b|c", "^(?="]
)
def test_any_other_look_around_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidRequest, match="linear time"):
        check_schema({"type": "string", "pattern": pattern})
