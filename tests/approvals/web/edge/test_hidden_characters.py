"""Nothing hides on a page: hidden characters are shown by their code points, whatever page they are on."""

from __future__ import annotations

import re
from html import escape, unescape

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from approvals import deciding
from approvals.domain.characters import has_hidden, hidden_runs
from approvals.domain.lifecycle import Kind
from approvals.web.edge.hidden_characters import MOST_IN_PAGE, MOST_IN_TEXT, STAND_IN, mark_page, visible
from orchestration.models import Message, Run, RunStatus
from tests import factories as make
from tests.approvals.domain.test_characters import HIDING, WRITTEN
from tests.effort import effort


@pytest.mark.parametrize(
    "code", ["202E", "200B", "2066", "FEFF", "00AD", "E0041", "0007", "0085", "2028", "3164"]
)
def test_characters_that_hide_or_turn_text_are_shown_by_their_codes(code: str) -> None:
    disguised = visible(f"Bank{chr(int(code, 16))}x")
    assert chr(int(code, 16)) not in disguised
    assert f">U+{code}</span>" in disguised


@pytest.mark.parametrize("text", WRITTEN)
def test_ordinary_text_stays_itself(text: str) -> None:
    assert visible(text) == text
    assert mark_page(f"<p title='{text}'>{text}</p>") == f"<p title='{text}'>{text}</p>"


def test_a_run_is_one_mark_that_tells_how_many() -> None:
    assert ">U+200B × 340,000</span>" in visible("a" + "\u200b" * 340_000 + "b")
    assert visible("\u202e\u200b\u200b").count("<span") == 2
    mixed = visible("a" + "\u200b\u200c\u2060\ufeff" * 1_000)
    assert 'title="U+200B, U+200C, U+2060, …">4,000 hidden characters</span>' in mixed
    assert mixed.count("<span") == 1


def test_marks_do_not_make_a_page_much_larger_than_its_texts() -> None:
    """Characters that stand alone are marked one by one up to a limit, then by a sign each."""
    text = "a\u200b" * 300_000
    for marked, most in [(visible(text), MOST_IN_TEXT), (mark_page(f"<p>{text}</p>"), MOST_IN_PAGE)]:
        assert marked.count("<span") == most
        assert marked.count(STAND_IN) == 300_000 - most
        assert len(marked) < len(text) + 200_000


@effort(300)
@given(st.text(st.sampled_from("ab<>&'\" \n1म👨" + HIDING)))
def test_nothing_hides_in_any_text(text: str) -> None:
    """What is marked and the rest say the text, and nothing of it is markup."""
    for html in (visible(text), mark_page(f'<p title="{escape(text)}">{escape(text)}</p>')):
        assert not has_hidden(html)
        marks = re.compile(r'<span class="odd" title="[^<>"]*">[^<>]*</span>')
        rest = unescape(marks.sub("", re.sub(r"^<p title=\"[^\"]*\">|</p>$", "", html)))
        assert "<p" not in rest or "<p" in text
        kept = "".join(text[i] for i in _seen(text))
        assert rest == kept


def _seen(text: str) -> list[int]:
    hidden = {at for first, after in hidden_runs(text) for at in range(first, after)}
    return [at for at in range(len(text)) if at not in hidden]


@pytest.mark.parametrize(
    ("html", "marked"),
    [
        ("<title>a\u200b</title>", "<title>a[U+200B]</title>"),
        ('<option value="a\u200b">a\u200b</option>', '<option value="a\u200b">a[U+200B]</option>'),
        ('<a title="a\u200b>" href="/?a\u200b">x</a>', '<a title="a[U+200B]>" href="/?a\u200b">x</a>'),
        ("<b aria-label='a\u200b'>x</b>", "<b aria-label='a[U+200B]'>x</b>"),
        ("<textarea>a\u200b</textarea>", "<textarea>a\u200b</textarea>"),
        ("<script>'a\u200b'</script>", "<script>'a\u200b'</script>"),
        ('<input value="a\u200b">', '<input value="a\u200b">'),
        ("<!-- a\u200b -->", "<!-- a\u200b -->"),
    ],
)
def test_where_no_mark_can_stand_it_is_text_and_inputs_stay_as_they_are(html: str, marked: str) -> None:
    """What is sent back must be what it was."""
    assert mark_page(html) == marked


DISGUISED = "to\u202eb\u200bc\u3164d"


@pytest.mark.django_db
@pytest.mark.one_stack
def test_every_page_marks_the_texts_of_others() -> None:
    """Titles, details, options, arguments, names, reasons, messages; pages and admin, forms and lists."""
    boss = make.user("boss", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(boss)
    run = _run_that_said_something(boss)
    approval = make.approval(
        f"Pay {DISGUISED}",
        details=f"**Pay** {DISGUISED}\n\n```\n{DISGUISED}\n```\n[x](http://a.example '{DISGUISED}')",
        arguments={DISGUISED: [DISGUISED]},
        editable=True,
        assignees=[boss],
        origin={"kind": DISGUISED},
        key=DISGUISED,
    )
    question = make.clarification(f"Which {DISGUISED}?", choices=[DISGUISED, "other"], assignees=[boss])
    schema = {"properties": {DISGUISED: {"enum": [DISGUISED, "x"], "description": DISGUISED}}}
    form = make.clarification("Form", schema=schema, default={DISGUISED: "x"}, assignees=[boss])
    decided = make.earlier(Kind.APPROVAL, title=DISGUISED, user_ids=[boss.pk])
    deciding.decide(make.actor(boss), decided, "reject", comment=f"No {DISGUISED}")
    kinds = {approval: "approval", decided: "approval", question: "clarification", form: "clarification"}
    pages = ["/", "/runs/", f"/runs/{run}/", f"/admin/orchestration/run/{run}/change/", "/admin/"]
    pages += [f"/requests/{request}/" for request in kinds]
    pages += [f"/admin/approvals/{kind}/{request}/change/" for request, kind in kinds.items()]
    pages += [f"/admin/approvals/{kind}/" for kind in ("approval", "clarification", "auditentry")]
    for page in pages:
        response = client.get(page)
        assert response.status_code == 200, page
        inputs = re.compile(
            r"<textarea.*?</textarea>|<script.*?</script>|(?:value|href|data-[a-z-]+)=\"[^\"]*\"", re.DOTALL
        )
        html = inputs.sub("", response.content.decode())
        assert not has_hidden(html), page
        assert "U+202E" in html or page == "/admin/", page


def _run_that_said_something(owner: User) -> str:
    now = timezone.now()
    run = Run.objects.create(
        orchestration="checklist",
        title=DISGUISED,
        owner=owner,
        input={"name": DISGUISED},
        status=RunStatus.FAILED,
        error=DISGUISED,
        created_at=now,
        changed_at=now,
        finished_at=now,
    )
    Message.objects.create(run=run, agent=DISGUISED, text=DISGUISED, complete=True, said_at=now)
    return str(run.pk)
