"""Which characters hide something, and where the same ones belong to what people write."""

# ruff: noqa: RUF001 - letters of many scripts

from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.domain.characters import has_hidden, hidden_runs, skeleton
from tests.effort import effort

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ZERO_WIDTH = (
    "\u00ad\u034f\u180e\u200b\u200c\u200d\u2060\u2061\u2064\ufe00\ufe0f\ufeff\U000e0041\U000e0100\U0001d173"
)
BLANK = "\u115f\u1160\u1680\u2000\u2003\u200a\u205f\u2800\u3164\uffa0\U0001d159"
HIDING = BIDI + ZERO_WIDTH + BLANK

WRITTEN = [
    *("👨‍👩‍👧", "🏳️‍🌈", "👩🏽‍🤝‍👨🏿", "👁️‍🗨️", "1️⃣", "☺️", "✔︎", "❤️‍🔥", "👩‍⚕️"),
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    *("می‌خواهم", "کتاب‌ها", "ه‍", "क्‍ष", "क्‌ष", "ന്‍", "ශ්‍රී", "র‍্য", "葛\U000e0100城", "ᠠ᠋"),
    *("Zoë", "日本語　です", "1 240,00 €", "tab\tand\nline", "line\r\nline", "שלום"),
]

# Anything that is not hidden by itself, among it letters after which joiners have no place.
plain = st.text(st.sampled_from("abc 1.é日ש"), max_size=4)


@pytest.mark.parametrize("text", WRITTEN)
def test_what_people_write_has_nothing_hidden(text: str) -> None:
    """Joiners and variation selectors within emoji and in scripts that need them are part of the text."""
    assert not has_hidden(text)


@pytest.mark.parametrize(
    "text",
    [
        *("a\u200d", "a\u200db", "\u200da", "x\ufe0f", "1\ufe0f", "1\ufe0f2", "👨\u200da", "👨\u200d"),
        *(
            "👨\u200d\u200d👩",
            "❤\ufe0f\ufe0f",
            "می\u200c\u200cخ",
            "a\u200cم",
            "अ\u200dआ",
            "葛\U000e0100\U000e0101",
        ),
        *("\U0001f3f4\U000e0067", "a\rb", "\r", "日\u200d本", "שלו\u200dם", "a\U000e0067\U000e007f"),
    ],
)
def test_the_same_characters_hide_where_they_have_no_place(text: str) -> None:
    assert has_hidden(text)


@effort(300)
@given(before=plain, hiding=st.text(st.sampled_from(HIDING), min_size=1), after=plain)
def test_every_run_among_ordinary_text_is_found_whole(before: str, hiding: str, after: str) -> None:
    assert list(hidden_runs(before + hiding + after)) == [(len(before), len(before) + len(hiding))]


@effort(300)
@given(st.characters(categories=["Cc", "Cf", "Zl", "Zp"], exclude_characters="\t\n"), plain, plain)
def test_every_format_and_control_character_is_found(character: str, before: str, after: str) -> None:
    """But for signs that are drawn, such as the Arabic number sign."""
    drawn = {"\u06dd", "\u070f", "\u08e2", "\U000110bd", "\U000110cd", *map(chr, range(0x600, 0x606))}
    if character not in drawn | {"\u0890", "\u0891"} and not (character == "\r" and after[:1] == "\n"):
        assert has_hidden(before + character + after)


@effort(300)
@given(before=plain, hiding=st.text(st.sampled_from(HIDING + " \t\u00a0")), after=plain)
def test_texts_that_differ_in_nothing_seen_have_one_skeleton(before: str, hiding: str, after: str) -> None:
    assert skeleton(before + hiding + after) == skeleton(before + after)


@effort(300)
@given(st.text())
def test_normal_forms_have_one_skeleton(text: str) -> None:
    hidden = not skeleton(text)
    assert skeleton(unicodedata.normalize("NFD", text)) == skeleton(text)
    assert hidden or skeleton(unicodedata.normalize("NFKC", text)) == skeleton(text)


MARKS = "\u0300\u0323\u0301\u0344\u0f73\u3099\uff9e\u0345\u05b0"


@effort(500)
@given(st.text(st.sampled_from(f"a\u00e9\u1e69\uac00\u1100\u1161\ufb01 \u200b{MARKS}")), st.randoms())
def test_skeletons_are_equal_where_normal_forms_are(text: str, chance: random.Random) -> None:
    other = "".join(chance.sample(text, len(text)))
    for form in ("NFD", "NFC", "NFKD", "NFKC"):
        assert skeleton(unicodedata.normalize(form, text)) == skeleton(text)
    if not has_hidden(text) and " " not in text:
        equal = unicodedata.normalize("NFKC", text) == unicodedata.normalize("NFKC", other)
        assert (skeleton(text) == skeleton(other)) == equal


def test_marks_by_the_hundred_thousand_take_no_longer_than_letters() -> None:
    """A whole normal form would take minutes for them, in which no other thread gets on."""
    marks = "\u0300\u0323" * 300_000
    assert skeleton(f"a{marks}") == "a" + "\u0323" * 300_000 + "\u0300" * 300_000


@pytest.mark.parametrize("text", [*HIDING, HIDING, "", " ", " \u3164\n"])
def test_what_is_not_seen_has_an_empty_skeleton(text: str) -> None:
    assert skeleton(text) == ""


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("a", "A"), ("1.0", "10"), ("é", "e"), ("", "a")])
def test_texts_that_differ_keep_skeletons_that_differ(one: str, other: str) -> None:
    assert skeleton(one) != skeleton(other)
