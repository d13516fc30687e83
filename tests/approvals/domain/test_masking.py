"""No secret of a known shape stays in the text of an error, whatever surrounds it; other words do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.domain.masking import MASK, HiddenHeaders, hide_headers, mask
from approvals.management.wording import facts
from approvals.web.pages.differences import changes
from tests.effort import effort

WORDS = st.sampled_from(
    ["", " ", "\n", ", ", "failed: ", "GET ", '{"error": "', "(", "'", "» ", "https://example.org/ "]
)
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
KEY = st.text(LETTERS, min_size=20, max_size=40)
SECRET = st.text(LETTERS + "!$%^*+~._-", min_size=8, max_size=30).map(lambda text: f"Q9{text}")
SHAPES = (
    "postgres://sayso:{}@db.internal:5432/sayso",
    "https://{}@api.example.org/path?a=b@c",
    "redis://:a/{}@10.0.0.1:6379/0",
    "Authorization: Bearer {}",
    "authorization: Basic {}",
    "'Authorization': 'Token {}'",
    "[(b'authorization', b'Basic {}')]",
    "AccountName=store;AccountKey={};EndpointSuffix=example.org",
    '"X-Api-Key": "{}"',
    "Cookie: a=1; sessionid={}",
    "Bearer {}",
    "password={}",
    "DB_PASSWORD='{}'",
    'connection to "host=db password={} user=x" failed',
    '{{"client_secret": "{}"}}',
    "{{'access_token': '{}'}}",
    "aws_secret_access_key = '{}'",
    "https://example.org/callback?token={}&state=1",
    "https://maps.example.org/?key={}",
    "password: {}",
)
TOKENS = (
    "sk-{}",
    "sk-proj-{}",
    "sk_live_{}",
    "ghp_{}",
    "gho_{}",
    "github_pat_{}",
    "glpat-{}",
    "xoxb-{}",
    "xoxp-1-2-{}",
    "AIza{}",
    "eyJ{}.eyJ0.c2ln",
    "hf_{}",
    "sayso_{}",
    "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
    "-----BEGIN RSA PRIVATE KEY-----\n{}",
    "-----BEGIN OPENSSH PRIVATE KEY-----\\n{}\\n",
    "dop_v1_{}",
    "https://hooks.slack.com/services/{}",
    "https://api.telegram.org/bot1234567:AA{}/sendMessage",
)


@effort(500)
@given(WORDS, st.sampled_from(SHAPES), SECRET, st.sampled_from(["", " ", "\n", "' failed", ", twice"]))
def test_what_is_named_as_a_secret_is_masked(before: str, shape: str, secret: str, after: str) -> None:
    masked = mask(before + shape.format(secret) + after)
    assert secret not in masked
    assert MASK in masked
    assert mask(masked) == masked


@effort(300)
@given(WORDS, st.sampled_from(TOKENS), KEY, st.sampled_from(["", " ", "\n", "'", ", twice", "."]))
def test_what_looks_like_a_secret_is_masked(before: str, shape: str, secret: str, after: str) -> None:
    masked = mask(before + shape.format(secret) + after)
    assert secret not in masked
    assert mask(masked) == masked


@effort(100)
@given(st.text(LETTERS[26:], min_size=16, max_size=16), WORDS)
def test_access_key_ids_are_masked(key: str, before: str) -> None:
    assert key not in mask(f"{before}AKIA{key.upper()}")


@pytest.mark.parametrize(
    "text",
    [
        "arguments.password: is required. Known names: user, password.",
        "The password is wrong.",
        "Bearer authentication is required",
        "token: expected a number",
        "task-force-seven reports: ask-me-anything-now",
        "GET http://127.0.0.1:8000/users/a@example.org was answered with 404",
        "write to ana@example.org and ben@example.org",
        "KeyError: 'order'",
        "There is no program 'no-such-program' here.",
        "https://example.org:8080/path?page=2#part",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert mask(text) == text


def test_the_place_stays_readable() -> None:
    text = (
        'OperationalError: connection to "postgres://app:hunter2@db:5432/x" failed: password=hunter2 rejected'
    )
    assert mask(text) == (
        f'OperationalError: connection to "postgres://{MASK}@db:5432/x" failed: password={MASK} rejected'
    )


@effort(100)
@given(st.text(max_size=200))
def test_any_text_can_be_masked(text: str) -> None:
    assert mask(mask(text)) == mask(text)


NAMES = st.sampled_from(
    [
        "Authorization",
        "COOKIE",
        "x-api-key",
        "X_Auth_Token",
        "headers",
        "Headers",
        "X-Session-Token",
        "name",
        "value",
        "url",
        "to",
    ]
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.text(max_size=8),
        st.sampled_from([MASK, "Cookie", "Cookie: a", "X: b\nX-Token: c\rd"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@effort(300)
@given(VALUES)
def test_what_is_hidden_to_be_edited_comes_back_exactly(value: object) -> None:
    hidden = HiddenHeaders(value)
    assert hidden.restore(hidden.value) == value


@effort(300)
@given(
    st.sampled_from(["Authorization", "proxy-authorization", "Cookie", "X-Api-Key", "set_cookie"]),
    SECRET,
    VALUES,
)
def test_a_secret_header_is_hidden_at_any_depth(name: str, secret: str, beside: object) -> None:
    value = {
        "steps": [{"arguments": {"headers": {"X-Kind": "test", name: f"Bearer {secret}"}, "to": [beside]}}]
    }
    shown = hide_headers(value)
    assert shown["steps"][0]["arguments"]["headers"] == {"X-Kind": "test", name: MASK}
    assert secret not in str(shown["steps"][0]["arguments"]["headers"])


def test_among_headers_more_names_tell() -> None:
    value = {"headers": {"X-My-Secret": "a", "Idempotency-Key": "b"}, "secretary": "c", "token_limit": 7}
    assert hide_headers(value) == {**value, "headers": {"X-My-Secret": MASK, "Idempotency-Key": "b"}}


def test_that_a_secret_header_was_changed_is_told_without_its_value() -> None:
    before, after = ({"headers": {"X-My-Secret": text, "X-Kind": text}} for text in "ab")
    assert [(change.path, change.before, change.after) for change in changes(before, after)] == [
        ("headers.X-My-Secret", MASK, MASK),
        ("headers.X-Kind", "a", "b"),
    ]


def test_a_terminal_shows_no_secret_header_either() -> None:
    request: dict[str, Any] = {
        "requester": None,
        "assignees": {"users": [], "groups": []},
        "deadline": None,
        "severity": "high",
        "required": 1,
        "details": "",
        "arguments": {"headers": {"Cookie": "a=1", "X-Kind": "test"}},
    }
    assert facts(request)["arguments"] == {"headers": {"Cookie": MASK, "X-Kind": "test"}}
    assert facts(request)["severity"] == "high"


@pytest.mark.parametrize(
    "shape",
    [
        lambda secret: {"X-Plain": "a", "X-Api-Key": secret},
        lambda secret: {"X-Plain": "a", "X-Api-Key": ["b", secret]},
        lambda secret: [["X-Plain", "a"], ["Authorization", secret]],
        lambda secret: [{"name": "X-Plain", "value": "a"}, {"name": "Authorization", "value": secret}],
        lambda secret: [{"key": "X-Plain", "value": "a"}, {"key": "X-My-Token", "value": secret}],
        lambda secret: [f"Authorization: {secret}", "X-Plain: a"],
        lambda secret: f"X-Plain: a\r\nCookie: {secret}\r\n",
    ],
)
def test_headers_are_hidden_however_they_are_written(shape: Callable[[str], Any]) -> None:
    """In what is shown, in what changes, and in what is edited, which comes back exactly."""
    asked = {"request_headers": shape("Bearer sesame"), "sent": True}
    other = {"request_headers": shape("Bearer mellon"), "sent": True}
    hidden = HiddenHeaders(asked)
    told = changes(asked, other)
    for seen in (hide_headers(asked), hidden.value, told):
        assert MASK in str(seen)
        assert "sesame" not in str(seen)
        assert "mellon" not in str(seen)
    assert "X-Plain" in str(hide_headers(asked))
    assert hidden.restore(hidden.value) == asked


@pytest.mark.parametrize("name", ["Authorization", "Cookie"])
@pytest.mark.parametrize("whole", [{"kind": "%s"}, ["plain", "%s"], [{"a": {"b": "%s"}}]])
def test_what_a_secret_header_is_made_of_is_no_change_that_is_shown(name: str, whole: Any) -> None:
    before, after = ({name: json.loads(json.dumps(whole).replace("%s", text))} for text in ("old", "new"))
    assert [(change.before, change.after) for change in changes(before, after)] == [(MASK, MASK)]


@effort(300)
@given(VALUES, VALUES)
def test_changes_between_any_values_can_be_told(before: object, after: object) -> None:
    assert bool(changes(before, after)) == bool(changes(after, before))
