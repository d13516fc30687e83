"""The terminal inbox: what it lists, what it decides, what it refuses, and how it says so."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError

from approvals import gate, queries
from approvals.domain.lifecycle import Outcome, Status
from approvals.management import people
from approvals.management.answering import (
    choice_numbers,
    flat_properties,
    options_of,
    parse_answer,
    parse_choices,
    parse_property,
)
from approvals.management.screen import Misuse, Refused, one_line, visible
from approvals.management.wording import duration, outcome_sentence
from approvals.models import ApiToken, AuditEntry
from approvals.web.edge import tokens
from approvals.web.edge.tokens import Scope
from tests import factories as make
from tests.conftest import Manage
from tests.marks import both_databases
from tests.processes import run_manage
from tests.stacks import Stack


@pytest.fixture(autouse=True)
def nobody_on_this_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests has no account, and no say in their outcome."""
    monkeypatch.setattr(people, "computer_user", lambda: "")


@pytest.fixture
def rita() -> User:
    return make.reviewer("rita")


def run(*arguments: str, **options: Any) -> str:
    """What a command prints where there is no terminal."""
    output = io.StringIO()
    call_command(*arguments, stdout=output, **options)
    return output.getvalue()


def refusal(*arguments: str, **options: Any) -> CommandError:
    with pytest.raises(CommandError) as caught:
        run(*arguments, **options)
    return caught.value


@pytest.mark.one_stack
@pytest.mark.django_db
class TestRequests:
    @both_databases
    def test_what_is_due_first_comes_first(self, rita: User) -> None:
        """One line each: id, kind, status, deadline, requester, title."""
        later = make.approval("Later", timeout=900, requester=rita)
        sooner = make.clarification("Sooner", timeout=60)
        lines = [line.split("\t") for line in run("requests").splitlines()]
        assert [line[0] for line in lines] == [sooner, later]
        assert [line[1:3] + line[4:] for line in lines] == [
            ["clarification", "pending", "-", "Sooner"],
            ["approval", "pending", "rita", "Later"],
        ]

    def test_json_is_the_wire_format(self, rita: User) -> None:
        request_id = make.approval(arguments={"order": 812})
        (request,) = json.loads(run("requests", "--json"))
        assert request == queries.on_the_wire(queries.request_for(rita.pk, request_id))

    def test_other_states_are_listed_on_demand(self, rita: User) -> None:
        request_id = make.approval()
        run("decide", request_id, "reject")
        assert run("requests") == ""
        assert request_id in run("requests", "--status", "rejected")
        assert request_id in run("requests", "--status", "all")

    def test_an_unknown_state_names_the_known_ones(self, rita: User) -> None:
        assert "timed_out" in str(refusal("requests", "--status", "bogus"))

    def test_one_lists_as_many_as_one_asks_for_and_learns_that_there_are_more(self, rita: User) -> None:
        first, second = make.approval("First", timeout=60), make.approval("Second", timeout=90)
        told = io.StringIO()
        listed = run("requests", "--limit", "1", stderr=told)
        assert [line.split("\t")[0] for line in listed.splitlines()] == [first]
        assert "--limit shows more" in told.getvalue()
        assert second in run("requests", "--limit", "2", stderr=(whole := io.StringIO()))
        assert whole.getvalue() == ""
        for limit in ("0", "10001", "-1"):
            error = refusal("requests", "--limit", limit)
            assert (error.returncode, str(error)) == (2, "--limit must be from 1 to 10000.")

    @both_databases
    def test_mine_is_what_the_person_may_decide_in_any_state(self, rita: User) -> None:
        """Somebody else's to decide, and one's own question of four eyes, are left out."""
        make.reviewer("ruth")
        mine = make.approval("Mine")
        make.approval("Asked by me", requester=rita, assignees=[make.user("sam")])
        make.approval("Four eyes", requester=rita, four_eyes=True)
        closed = make.approval("Closed")
        run("decide", closed, "approve", "--as", "rita")
        assert {line.split("\t")[0] for line in run("requests", "--as", "rita", "--mine").splitlines()} == {
            mine
        }
        both = run("requests", "--as", "rita", "--mine", "--status", "all")
        assert {line.split("\t")[0] for line in both.splitlines()} == {mine, closed}

    @both_databases
    def test_only_what_the_person_may_see_is_listed(self, rita: User) -> None:
        make.approval(assignees=[make.user("sam")])
        assert run("requests", "--as", "rita") == ""
        assert run("requests", "--as", "sam") != ""

    def test_a_terminal_gets_a_table(self, rita: User) -> None:
        """Colours, a heading, the whole id to copy."""
        request_id = make.approval(timeout=30)
        table = run("requests", force_color=True)
        assert "\x1b[" in table
        assert "Asked by" in table
        assert request_id in table
        assert "!" in table
        assert "severity high" not in table
        make.approval(timeout=None, severity="high")
        assert "! severity high" in run("requests", force_color=True)

    def test_nothing_waiting_is_said_kindly(self, rita: User) -> None:
        assert "Nothing waits for you." in run("requests", force_color=True)

    def test_titles_cannot_act_on_the_terminal(self, rita: User) -> None:
        """What turns the reading direction is shown, not obeyed."""
        make.approval("Pay \u202e001 EUR")
        assert "Pay \\u202e001 EUR" in run("requests", force_color=True)


@pytest.mark.one_stack
@pytest.mark.django_db
class TestDecide:
    @both_databases
    def test_approving_is_recorded_as_this_persons_command(self, rita: User) -> None:
        """The trail has the channel and the command, and no address, because there is no peer."""
        request_id = make.approval()
        assert run("decide", request_id, "approve", "--comment", "Fine.").startswith("Approved by rita at ")
        entry = AuditEntry.objects.get(request_id=request_id, event="decided")
        assert (entry.actor, entry.channel, entry.address) == (rita, "command", None)
        assert entry.user_agent == "manage.py decide"

    def test_rejecting_keeps_the_reason(self, rita: User) -> None:
        request_id = make.approval()
        output = run("decide", request_id, "reject", "--comment", "Too much.", "--json")
        outcome = json.loads(output)
        assert (outcome["status"], outcome["comment"]) == ("rejected", "Too much.")
        assert gate.outcome(request_id).comment == "Too much."

    def test_arguments_can_be_edited_where_the_request_allows_it(self, rita: User, tmp_path: Path) -> None:
        request_id = make.approval(arguments={"amount": 12}, editable=True)
        file = tmp_path / "edited.json"
        file.write_text('{"amount": 10}')
        run("decide", request_id, "approve", "--arguments", f"@{file}")
        assert gate.outcome(request_id).arguments == {"amount": 10}

    def test_edited_arguments_are_refused_elsewhere(self, rita: User) -> None:
        request_id = make.approval(arguments={"amount": 12})
        error = refusal("decide", request_id, "approve", "--arguments", '{"amount": 10}')
        assert isinstance(error, Refused)
        assert str(error).startswith("invalid: ")
        assert gate.outcome(request_id).status == Status.PENDING

    def test_a_vote_that_is_not_enough_says_so(self, rita: User) -> None:
        make.reviewer("ruth")
        request_id = make.approval(required=2)
        assert "more are needed" in run("decide", request_id, "approve", "--as", "rita")
        assert run("decide", request_id, "approve", "--as", "ruth").startswith("Approved")

    def test_the_second_to_decide_learns_who_did(self, rita: User) -> None:
        make.reviewer("ruth")
        request_id = make.approval()
        run("decide", request_id, "approve", "--as", "rita")
        error = refusal("decide", request_id, "reject", "--as", "ruth")
        assert error.returncode == 1
        assert str(error).startswith("already_decided: ")
        assert "Approved by rita" in str(error)

    def test_comments_cannot_act_on_the_terminal(self, rita: User) -> None:
        """Escape sequences of others are written out."""
        make.reviewer("ruth")
        request_id = make.approval()
        run("decide", request_id, "approve", "--as", "rita", "--comment", "ok\x1b[2J")
        assert "ok\\x1b[2J" in str(refusal("decide", request_id, "reject", "--as", "ruth"))

    @pytest.mark.parametrize("request_id", ["nonsense", "01890000-0000-7000-8000-000000000000"])
    def test_an_unknown_request_is_refused(self, rita: User, request_id: str) -> None:
        assert str(refusal("decide", request_id, "approve")).startswith("unknown_request: ")

    def test_a_foreign_request_is_refused_and_the_attempt_recorded(self, rita: User) -> None:
        """What may not be seen does not exist; its own trail knows better."""
        request_id = make.approval(assignees=[make.user("sam")])
        assert str(refusal("decide", request_id, "approve", "--as", "rita")).startswith("unknown_request: ")
        assert AuditEntry.objects.filter(request_id=request_id, event="refused", actor=rita).exists()

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ('{"amount":\n 12,}', "line 2, column"),
            ("[1]", "must be a JSON object"),
            ("@/nowhere/at/all.json", "cannot read '/nowhere/at/all.json'"),
            ('{"amount": NaN}', "NaN is not a JSON number"),
        ],
    )
    def test_what_is_no_json_is_misuse_and_says_where(self, rita: User, text: str, words: str) -> None:
        error = refusal("decide", make.approval(editable=True), "approve", "--arguments", text)
        assert isinstance(error, Misuse)
        assert error.returncode == 2
        assert words in str(error)


@pytest.mark.one_stack
@pytest.mark.django_db
class TestAnswer:
    @both_databases
    def test_text_is_taken_as_it_is(self, rita: User) -> None:
        request_id = make.clarification()
        assert run("answer", request_id, "4711").endswith(": 4711\n")
        assert gate.outcome(request_id).answer == "4711"

    def test_an_empty_answer_is_an_answer(self, rita: User) -> None:
        request_id = make.clarification()
        run("answer", request_id, "")
        assert gate.outcome(request_id).answer == ""

    def test_several_choices_are_a_json_array(self, rita: User) -> None:
        request_id = make.clarification(choices=["a", "b", "c"], multiple=True)
        run("answer", request_id, '["a", "c"]')
        assert gate.outcome(request_id).answer == ["a", "c"]

    def test_one_of_several_choices_may_stand_alone(self, rita: User) -> None:
        request_id = make.clarification(choices=["a", "b"], multiple=True)
        run("answer", request_id, "b")
        assert gate.outcome(request_id).answer == ["b"]

    def test_a_form_is_answered_in_json(self, rita: User) -> None:
        schema = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
        request_id = make.clarification(schema=schema)
        assert refusal("answer", request_id, "three").returncode == 2
        assert str(refusal("answer", request_id, '{"count": "three"}')).startswith("invalid: ")
        run("answer", request_id, '{"count": 3}')
        assert gate.outcome(request_id).answer == {"count": 3}

    def test_an_answer_outside_the_choices_is_refused_with_its_field(self, rita: User) -> None:
        request_id = make.clarification(choices=["a", "b"])
        error = refusal("answer", request_id, "z")
        assert "(answer" in str(error)
        assert gate.outcome(request_id).status == Status.PENDING

    def test_a_foreign_request_is_refused_and_the_attempt_recorded(self, rita: User) -> None:
        request_id = make.clarification(assignees=[make.user("sam")])
        assert str(refusal("answer", request_id, "x", "--as", "rita")).startswith("unknown_request: ")
        assert AuditEntry.objects.filter(request_id=request_id, event="refused", actor=rita).exists()


def beginning_of(request_id: str, other_id: str) -> str:
    """Return the characters with which only the first of the ids begins."""
    shared = next(
        place for place, pair in enumerate(zip(request_id, other_id, strict=True)) if len({*pair}) > 1
    )
    return request_id[: max(shared + 1, 4)]


@pytest.mark.one_stack
@pytest.mark.django_db
class TestComment:
    @both_databases
    def test_a_question_is_recorded_as_this_persons_command(self, rita: User) -> None:
        request_id = make.approval()
        assert (
            run("comment", request_id[:18], "Which customer?", "--question") == "The question is on record.\n"
        )
        entry = AuditEntry.objects.get(request_id=request_id, event="questioned")
        assert (entry.actor, entry.channel, entry.user_agent) == (rita, "command", "manage.py comment")
        assert run("comment", request_id, "ACME.") == "The comment is on record.\n"
        assert gate.outcome(request_id).status == Status.PENDING

    def test_json_is_what_programs_read(self, rita: User) -> None:
        request_id = make.approval()
        said = json.loads(run("comment", request_id, "Two orders.", "--json"))
        (read,), _ = queries.comments_on(UUID(request_id), after=0, limit=9)
        assert said == queries.comment_on_the_wire(read)
        assert (said["author"], said["text"], said["question"]) == ("rita", "Two orders.", False)

    def test_refusals_begin_with_their_code(self, rita: User) -> None:
        foreign = make.approval(assignees=[make.user("sam")])
        assert str(refusal("comment", foreign, "Hm?", "--as", "rita")).startswith("unknown_request: ")
        assert str(refusal("comment", make.approval(), " ", "--as", "rita")).startswith("invalid: text ")


@pytest.mark.one_stack
@pytest.mark.django_db
class TestReassign:
    @both_databases
    def test_users_and_groups_are_named_and_the_reason_is_on_the_trail(self, rita: User) -> None:
        sam, leads = make.user("sam"), make.group("leads", make.user())
        request_id = make.approval(assignees=[rita])
        told = run(
            "reassign", request_id[:18], "--to", "leads", "sam", "--reason", "I am away.", "--as", "rita"
        )
        assert told == "Reassigned. It is now decided by: sam, group leads.\n"
        asked = queries.request_for(sam.pk, request_id)
        assert asked.assignees == [sam, leads]
        entry = AuditEntry.objects.get(request_id=request_id, event="reassigned")
        assert (entry.actor, entry.user_agent) == (rita, "manage.py reassign")
        assert json.loads(entry.shown.content)["reason"] == "I am away."

    def test_a_name_that_is_a_users_and_a_groups_must_be_said_which(self, rita: User) -> None:
        kim, group = make.user("kim"), make.group("kim", make.user())
        request_id = make.approval(assignees=[rita])
        error = refusal("reassign", request_id, "--to", "kim", "--as", "rita")
        assert (error.returncode, str(error)) == (
            2,
            "--to: 'kim' is a user and a group: write user:kim or group:kim.",
        )
        run("reassign", request_id, "--to", "group:kim", "rita", "--as", "rita")
        assert queries.request_for(rita.pk, request_id).assignees == [rita, group]
        run("reassign", request_id, "--to", "user:kim", "--as", "rita")
        assert queries.request_for(kim.pk, request_id).assignees == [kim]

    def test_any_reviewer_is_named_by_an_option(self, rita: User) -> None:
        request_id = make.approval(assignees=[rita])
        told = run("reassign", request_id, "--reviewers", "--as", "rita")
        assert told == "Reassigned. It is now decided by: any reviewer.\n"
        assert queries.request_for(rita.pk, request_id).assignees == []

    def test_a_name_that_is_nobodys_is_misuse_and_leaves_everything(self, rita: User) -> None:
        make.user("gone", is_active=False)
        request_id = make.approval(assignees=[rita])
        for name in ("nobody", "gone", "role:leads"):
            error = refusal("reassign", request_id, "--to", "rita", name, "--as", "rita")
            assert (error.returncode, str(error)) == (
                2,
                f"--to: there is no active user and no group {name!r}.",
            )
        assert str(refusal("reassign", request_id, "--to", "user:gone", "--as", "rita")).startswith(
            "invalid: "
        )
        assert refusal("reassign", request_id, "--as", "rita").returncode == 1
        assert queries.request_for(rita.pk, request_id).assignees == [rita]

    def test_refusals_begin_with_their_code(self, rita: User) -> None:
        closed = make.approval(assignees=[rita])
        run("decide", closed, "approve", "--as", "rita")
        error = str(refusal("reassign", closed, "--to", "rita", "--as", "rita"))
        assert error.startswith("already_decided: ")
        assert "Approved by rita" in error
        free = make.approval()
        assert str(refusal("reassign", free, "--to", "rita", "--as", "rita")).startswith("not_permitted: ")


@both_databases
@pytest.mark.django_db
class TestShortIds:
    @pytest.mark.parametrize("form", [str, str.upper, lambda text: text.replace("-", "")])
    def test_the_first_characters_are_enough_where_no_other_id_begins_so(
        self, rita: User, form: Callable[[str], str]
    ) -> None:
        """To decide and to answer; whatever others may see does not count."""
        approval, question = make.approval(), make.clarification()
        make.approval(assignees=[make.user("sam")])
        run("decide", form(beginning_of(approval, question)), "approve", "--as", "rita")
        run("answer", form(beginning_of(question, approval)), "4711", "--as", "rita")
        assert gate.outcome(approval).status == Status.APPROVED
        assert gate.outcome(question).answer == "4711"

    def test_where_several_begin_so_they_are_listed_the_newest_first(self, rita: User) -> None:
        older, newer = make.approval("Pay \u202e001"), make.approval("Deploy")
        hidden = make.approval("Hidden", assignees=[make.user("sam")])
        shared = newer[:4]
        error = refusal("decide", shared, "approve", "--as", "rita")
        assert error.returncode == 2
        assert str(error).splitlines() == [
            f"ID must be longer: the ids of several requests begin with {shared!r}.",
            f"  {newer} Deploy",
            f"  {older} Pay \\u202e001",
        ]
        assert hidden not in str(error)
        assert refusal("answer", shared, "x", "--as", "rita").returncode == 2
        assert gate.outcome(newer).status == gate.outcome(older).status == Status.PENDING

    def test_of_many_the_first_are_listed(self, rita: User) -> None:
        ids = [make.approval(f"Number {number}") for number in range(12)]
        lines = str(refusal("decide", ids[0][:4], "approve")).splitlines()
        assert [line.split()[0] for line in lines[1:]] == [*reversed(ids[2:]), "…"]

    @pytest.mark.parametrize("text", ["", "-", "019", "0-1-9", " 01 "])
    def test_what_is_too_short_names_the_rule(self, rita: User, text: str) -> None:
        make.approval()
        error = refusal("decide", text, "approve")
        assert (error.returncode, str(error)) == (2, "ID must be an id, or its first characters, at least 4.")


@pytest.mark.one_stack
@pytest.mark.django_db
class TestWhoActs:
    def test_an_unknown_account_is_misuse_and_names_the_known_ones(self, rita: User) -> None:
        error = refusal("requests", "--as", "nobody")
        assert (error.returncode, str(error)) == (2, "There is no account 'nobody'. Accounts: rita.")

    def test_an_inactive_account_does_not_act(self, rita: User) -> None:
        make.user("gone", is_active=False)
        assert "not active" in str(refusal("requests", "--as", "gone"))

    def test_without_accounts_the_error_says_how_to_make_one(self) -> None:
        assert "createsuperuser" in str(refusal("requests"))

    def test_the_account_named_like_the_computers_user_comes_first(
        self, rita: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make.user("root", is_superuser=True)
        monkeypatch.setattr(people, "computer_user", lambda: "rita")
        assert people.acting_person(None) == rita

    def test_the_only_superuser_comes_next(self, rita: User) -> None:
        boss = make.user("boss", is_superuser=True)
        assert people.acting_person(None) == boss

    def test_among_equals_one_must_be_named(self, rita: User) -> None:
        make.user("sam")
        error = refusal("requests")
        assert (error.returncode, "Accounts: rita, sam." in str(error)) == (2, True)


class TestWords:
    @pytest.mark.parametrize(
        ("length", "words"),
        [
            (timedelta(0), "0 s"),
            (timedelta(seconds=59), "59 s"),
            (timedelta(minutes=4, seconds=10), "4 min 10 s"),
            (timedelta(days=2, hours=3, minutes=4), "2 d 3 h"),
        ],
    )
    def test_durations_have_two_units_at_most(self, length: timedelta, words: str) -> None:
        assert duration(length) == words

    def test_a_timeout_says_what_it_means(self) -> None:
        """Approved, rejected, answered by default, or nothing at all."""
        sentences = [
            outcome_sentence(Outcome(request_id="x", kind=kind, status="timed_out", timed_out=True, **more))
            for kind, more in (
                ("approval", {"approved": True}),
                ("approval", {"approved": False}),
                ("clarification", {"answer": "later"}),
                ("clarification", {}),
            )
        ]
        assert sentences == [
            "Timed out; approved by default.",
            "Timed out; rejected by default.",
            "Timed out; the answer is 'later'.",
            "Timed out; there is no answer.",
        ]

    def test_nothing_that_acts_or_hides_reaches_a_terminal(self) -> None:
        assert visible("a\x1b[31mb\u202ec\x00\ud800") == "a\\x1b[31mb\\u202ec\\x00\\ud800"
        assert visible("Grüße, 日本\n\tx") == "Grüße, 日本\n\tx"
        assert one_line("a\tb\nc\\") == "a\\tb\\nc\\\\"


class TestTypedAnswers:
    CHOICES = ["old.log", "huge.iso", "notes"]

    @pytest.mark.parametrize(
        ("typed", "picked"),
        [
            ("2", ["huge.iso"]),
            ("1,3", ["old.log", "notes"]),
            ("1-2", ["old.log", "huge.iso"]),
            ("3 1", ["old.log", "notes"]),
            ("notes", ["notes"]),
            ("all", ["old.log", "huge.iso", "notes"]),
            ("none", []),
        ],
    )
    def test_choices_are_typed_by_number_or_text(self, typed: str, picked: list[str]) -> None:
        assert parse_choices(typed, self.CHOICES) == picked

    @pytest.mark.parametrize("typed", ["", "0", "4", "1-9", "2-1", "iso", "1;2"])
    def test_what_names_no_choice_picks_none(self, typed: str) -> None:
        with pytest.raises(ValueError, match=r"choice|list"):
            parse_choices(typed, self.CHOICES)

    def test_a_number_never_stands_for_another_number(self) -> None:
        """Where choices are numbers themselves, their numbers differ from all of them."""
        assert choice_numbers(["3", "2", "1"]) == ["#1", "#2", "#3"]
        assert parse_choices("3", ["3", "2", "1"]) == ["3"]
        assert parse_choices("#3", ["3", "2", "1"]) == ["1"]

    def test_labels_are_offered_and_values_picked(self) -> None:
        regions = {"eu": "Europe", "7": "Africa"}
        assert choice_numbers(regions) == ["#1", "#2"]
        picked = [parse_choices(one, regions) for one in ("#1", "Africa", "eu", "7")]
        assert picked == [["eu"], ["7"], ["eu"], ["7"]]
        asked = {"schema": None, "choices": regions, "multiple": False}
        assert [parse_answer(one, asked) for one in ("Europe", "eu", "Asia")] == ["eu", "eu", "Asia"]

    def test_flat_forms_are_asked_field_by_field(self) -> None:
        flat = {"type": "object", "properties": {"count": {"type": "integer"}, "sure": {"type": "boolean"}}}
        assert list(flat_properties(flat) or ()) == ["count", "sure"]
        assert flat_properties({"type": "array"}) is None
        assert flat_properties({**flat, "oneOf": []}) is None
        assert flat_properties({"type": "object", "properties": {"deep": {"type": "object"}}}) is None

    def test_a_field_of_which_no_more_is_said_takes_any_json(self) -> None:
        rule = {"title": "Result"}
        schema = {"type": "object", "properties": {"result": rule}}
        assert flat_properties(schema) == {"result": rule}
        assert parse_property('{"paid": [812]}', rule) == {"paid": [812]}
        with pytest.raises(ValueError, match="Type JSON"):
            parse_property("paid", rule)

    def test_a_field_of_some_texts_is_picked_from_a_list(self) -> None:
        assert options_of({"type": "string", "enum": ["again", "stop"]}) == ["again", "stop"]
        assert options_of({"type": "string"}) is None
        assert options_of({"enum": [1, 2]}) is None

    @pytest.mark.parametrize(
        ("typed", "kind", "value"),
        [("3", "integer", 3), ("1.5", "number", 1.5), ("yes", "boolean", True), ("no", "boolean", False)],
    )
    def test_fields_have_their_schemas_type(self, typed: str, kind: str, value: object) -> None:
        assert parse_property(typed, {"type": kind}) == value

    @pytest.mark.parametrize("kind", ["integer", "number", "boolean"])
    def test_what_does_not_fit_is_asked_again(self, kind: str) -> None:
        with pytest.raises(ValueError, match="Type"):
            parse_property("perhaps", {"type": kind})


@pytest.mark.one_stack
@pytest.mark.django_db
class TestCreateToken:
    def issued(self, *arguments: str) -> tuple[str, str]:
        """What standard output and standard error got."""
        errors = io.StringIO()
        output = run("create_token", *arguments, stderr=errors)
        return output, errors.getvalue()

    def test_standard_output_gets_the_token_and_nothing_else(self, rita: User) -> None:
        """So that TOKEN=$(manage.py create_token …) works."""
        output, told = self.issued("rita", "--name", "deploy", "--scope", "decide", "--scope", "read")
        assert output.count("\n") == 1
        bearer = tokens.bearer(output.strip())
        assert bearer is not None
        assert bearer.user_id == rita.pk
        assert bearer.scopes == {Scope.DECIDE, Scope.READ}
        assert "Token 'deploy' for rita: decide and read; holds until it is revoked." in told
        assert output.strip() not in told

    def test_without_scopes_it_may_ask_and_read_and_that_is_said(self, rita: User) -> None:
        output, told = self.issued("rita", "--name", "deploy")
        bearer = tokens.bearer(output.strip())
        assert bearer is not None
        assert bearer.scopes == {Scope.ASK, Scope.READ}
        assert "ask and read, because no --scope was given" in told

    def test_days_may_be_counted(self, rita: User) -> None:
        _, told = self.issued("rita", "--name", "deploy", "--expires-in", "1.5")
        token = ApiToken.objects.get()
        assert token.expires_at - token.created_at == timedelta(hours=36)
        assert f"holds until {token.expires_at:%Y-%m-%d %H:%M:%S} UTC" in told

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("nobody", "--name", "x"), "There is no account 'nobody'. Accounts: rita."),
            (("gone", "--name", "x"), "The account 'gone' is not active."),
            (("rita", "--name", " "), "--name: "),
            (("rita", "--name", "two\nlines"), "--name: "),
            (("rita",), "--name"),
            (("rita", "--name", "x", "--scope", "rule"), "'ask', 'decide', 'read'"),
            (("rita", "--name", "x", "--expires-in", "0"), "--expires-in: "),
            (("rita", "--name", "x", "--expires-in=-1"), "--expires-in: "),
            (("rita", "--name", "x", "--expires-in", "nan"), "--expires-in: "),
            (("rita", "--name", "x", "--expires-in", "inf"), "--expires-in: "),
            (("rita", "--name", "x", "--expires-in", "99999"), "must be between 0 seconds and 100 years"),
            (("rita", "--name", "x", "--expires-in", "soon"), "--expires-in"),
        ],
    )
    def test_misuse_is_named_and_issues_nothing(
        self, rita: User, arguments: tuple[str, ...], words: str
    ) -> None:
        make.user("gone", is_active=False)
        error = refusal("create_token", *arguments)
        assert words in str(error)
        assert not ApiToken.objects.exists()

    def test_names_cannot_act_on_the_terminal(self, rita: User) -> None:
        """Direction marks are no control characters: the row may have them, the screen shows them."""
        _, told = self.issued("rita", "--name", "de\u202eploy", "--force-color")
        assert "\u202e" not in told


@pytest.mark.processes
@pytest.mark.one_stack
@pytest.mark.django_db
class TestProcesses:
    def test_refusals_go_to_standard_error_with_status_1_and_misuse_with_2(
        self, manage: Manage, rita: User
    ) -> None:
        """Scripts can tell the three apart."""
        request_id = make.approval()
        for arguments, status in (
            ((request_id, "approve", "--as", "rita"), 0),
            ((request_id, "reject", "--as", "rita"), 1),
            ((request_id, "approve", "--as", "nobody"), 2),
            ((request_id, "perhaps"), 2),
        ):
            assert manage("decide", *arguments).wait() == status

    def test_a_database_without_tables_names_the_remedy(
        self, manage: Manage, stack: Stack, tmp_path: Path
    ) -> None:
        process = manage("requests", environment=stack.environment | {"SAYSO_VAR": str(tmp_path)})
        assert process.wait() == 1
        assert "manage.py migrate" in process.output.text
        assert "Traceback" not in process.output.text

    def test_a_database_that_is_away_is_said_plainly(self, manage: Manage, stack: Stack) -> None:
        away = {"DATABASE_URL": "postgresql://sayso@127.0.0.1:9/sayso"}
        process = manage("requests", environment=stack.environment | away)
        assert process.wait() == 1
        assert "unavailable: " in process.output.text
        assert "Traceback" not in process.output.text

    @pytest.mark.processes
    def test_a_token_is_alone_on_standard_output(self, stack: Stack, rita: User) -> None:
        """As a shell takes it; misuse has status 2 and leaves it empty."""

        def issue(username: str) -> subprocess.CompletedProcess[str]:
            return run_manage("create_token", username, "--name", "deploy", environment=stack.environment)

        done = issue("rita")
        assert done.returncode == 0, done.stderr
        assert tokens.bearer(done.stdout.removesuffix("\n")) is not None
        assert "Token 'deploy' for rita" in done.stderr
        wrong = issue("nobody")
        assert (wrong.returncode, wrong.stdout) == (2, "")
