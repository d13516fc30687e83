"""The forms about a request: decide, answer, withdraw, reassign."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from django import forms
from django.contrib.auth.models import Group
from django.http import QueryDict

from approvals.deciding import COMMENT_LIMIT
from approvals.domain.lifecycle import RESPOND, Severity, Verdict
from approvals.domain.masking import HiddenHeaders
from approvals.domain.schemas import check_against, labels_of
from approvals.exceptions import ApprovalError
from approvals.fitting import RESPONSE_LIMIT
from approvals.web.pages.differences import Change, changes
from approvals.web.pages.forms.fields import OptionField, TextField, TicksField, as_json
from approvals.web.pages.forms.plain_form import PlainForm
from approvals.web.pages.forms.schema_reader import Option
from approvals.web.pages.json_values import ABSENT

# Up to so many choices or groups are shown as buttons or check boxes, more as a menu.
FEW = 12


def _text_area(label: str, rows: int, help_text: str = "", **attributes: str) -> TextField:
    widget = forms.Textarea(attrs={"rows": rows, **attributes})
    return TextField(
        required=False, max_length=COMMENT_LIMIT, label=label, help_text=help_text, widget=widget
    )


class DecisionForm(PlainForm):
    """Approve or reject an approval, with a comment; where the request allows it, with edited arguments.

    `cleaned_data`: `decision`, `comment`, and `arguments`, which is None unless they were changed.
    """

    decision = forms.ChoiceField(choices=[(verdict.value, verdict.name.title()) for verdict in Verdict])
    comment = _text_area("Note", 2)
    # Shows that the argument fields were on the page: an empty check box sends nothing itself.
    edits = forms.CharField(required=False, widget=forms.HiddenInput, initial="1")
    reviewed = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, request: Any, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.asked = request.arguments if request.final_arguments is None else request.final_arguments
        self.editable = request.editable
        if request.editable is not False and request.editable is not None:
            schema = request.editable if isinstance(request.editable, dict) else {}
            self._hidden = HiddenHeaders(self.asked)
            self.add_structure(schema, "arguments", self._hidden.value)

    @property
    def editing(self) -> bool:
        return self.structure is not None

    @property
    def arguments(self) -> dict[str, Any] | None:
        """The edited arguments, once the form is valid; None if nothing was changed."""
        edited = self.cleaned_data.get("arguments")
        return edited if isinstance(edited, dict) else None

    def changes(self) -> list[Change]:
        """List what approving now would change in the arguments."""
        return changes(self.asked, self.arguments) if self.is_valid() and self.arguments is not None else []

    @property
    def fingerprint(self) -> str:
        """A hash of the edited arguments; the form sends it back to show that these were reviewed."""
        return hashlib.sha256(as_json(self.arguments).encode()).hexdigest()

    @property
    def unreviewed(self) -> bool:
        """True if arguments were edited and the person has not yet seen the list of changes."""
        return self.arguments is not None and self.cleaned_data["reviewed"] != self.fingerprint

    def check_arguments(self) -> None:
        """Check the edited arguments against the request's schema, and show an error at its field."""
        if self.arguments is None or not isinstance(self.editable, dict):
            return
        try:
            check_against(self.editable, self.arguments, "arguments")
        except ApprovalError as error:
            self.add_refusal(error)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        cleaned["arguments"] = self._clean_arguments(cleaned)
        return cleaned

    def _clean_arguments(self, cleaned: Mapping[str, Any]) -> dict[str, Any] | None:
        if self.structure is None:
            return None
        if not cleaned.get("edits") or cleaned.get("decision") != Verdict.APPROVE:
            for name in self.structure.fields:
                self.errors.pop(name, None)
            return None
        self.drop_inactive_errors()
        if self.errors:
            return None
        value = self.structure_value(cleaned)
        if not isinstance(value, dict):
            self.add_error(*self.locate_error("arguments", "must be a JSON object."))
            return None
        value = self._hidden.restore(value)
        return value if changes(self.asked, value) else None


class PageDecisionForm(DecisionForm):
    """The form of a request's page: one note, which is the reason where its other button rejects.

    What matters much can only be approved with `read` ticked, for exactly what is approved then. Where the
    request takes a text instead, `takes_text`: `decision` may be "respond", and `answer` is that text, else
    None.
    """

    comment = _text_area("Note", 1, "If you reject, say why: the requester will read this.")
    answer = TextField(
        max_length=RESPONSE_LIMIT,
        label="Answer",
        help_text="The requester gets this text instead of a yes: nothing is done.",
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    read = forms.BooleanField(required=False, label="I have read what will happen")

    def __init__(self, request: Any, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(request, data, **options)
        self.wants_tick = request.severity == Severity.HIGH
        self.fields["read"].widget.attrs["required"] = True
        self.takes_text = RESPOND in request.decisions
        if self.takes_text:
            decision: Any = self.fields["decision"]
            decision.choices = [*decision.choices, (RESPOND, "Answer instead")]
        else:
            del self.fields["answer"]
        if request.reason_required:
            _require_reason(self.fields["comment"])

    def changes(self) -> list[Change]:
        """List the changes, also where nothing but the tick is missing."""
        only_the_tick = self.is_bound and not self.rearranged and set(self.errors) == {"read"}
        if only_the_tick and self.arguments is not None:
            return changes(self.asked, self.arguments)
        return super().changes()

    def clean(self) -> dict[str, Any]:
        # First: edited arguments are only read where nothing else is wrong.
        self._clean_words(self.cleaned_data)
        cleaned = super().clean()
        if not self.wants_tick or cleaned.get("decision") != Verdict.APPROVE:
            return cleaned
        if not self.errors and self.unreviewed:
            # What was ticked is not what will happen now.
            self.data = _without(self.data, self.add_prefix("read"))
        elif not cleaned.get("read"):
            self.add_error("read", f"“{self.fields['read'].label}” must be ticked before you approve.")
        return cleaned

    def _clean_words(self, cleaned: dict[str, Any]) -> None:
        """Leave out what this decision does not need: a text its reason, a vote the text."""
        if cleaned.get("decision") != RESPOND:
            self.errors.pop("answer", None)
            cleaned["answer"] = None
        elif self.has_error("comment", "required"):
            del self.errors["comment"]
            cleaned["comment"] = ""


class AnswerForm(PlainForm):
    """Answer a clarification: one choice or several, a form made from the schema, or text.

    `cleaned_data`: `answer`, a JSON value, and `comment`.
    """

    comment = _text_area("Note", 2)

    def __init__(self, request: Any, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        if request.schema is None:
            self.fields["answer"] = _answer_field(request)
        else:
            self.add_structure(request.schema, "answer")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        self.drop_inactive_errors()
        if self.structure is not None and not self.errors:
            cleaned["answer"] = self.structure_value(cleaned)
        elif cleaned.get("answer") is ABSENT:
            cleaned["answer"] = []
        return cleaned


class ReasonForm(PlainForm):
    """Why a request is withdrawn or a run is cancelled."""

    reason = _text_area("Reason", 2)


class TogetherForm(PlainForm):
    """Approve or reject several approvals, those that it is `about`, as they were asked, with one comment.

    `high`: one of them is of high severity; `read` then confirms, for an approval, that it was read.
    """

    decision = forms.ChoiceField(
        label="Decision", choices=[(verdict.value, verdict.name.title()) for verdict in Verdict]
    )
    comment = _text_area(
        "Note", 2, "Recorded with each. If you reject, say why: the requesters will read this."
    )
    read = forms.BooleanField(required=False, label="I have read what will happen")

    def __init__(self, about: Collection[Any], data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.high = any(request.severity == Severity.HIGH for request in about)
        self.fields["read"].widget.attrs["required"] = self.high
        if any(request.reason_required for request in about):
            _require_reason(self.fields["comment"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.high and cleaned.get("decision") == Verdict.APPROVE and not cleaned.get("read"):
            self.add_error("read", f"“{self.fields['read'].label}” must be ticked before you approve.")
        return cleaned


class MemberForm(TogetherForm):
    """Approve or reject one request of a group, where it is shown with the others."""

    comment = _text_area("Note", 1, "If you reject, say why: the requester will read this.")


class ReassignForm(PlainForm):
    """Who is to decide instead. `cleaned_data`: `users`, usernames, and `groups`, names of groups."""

    users = _text_area("People", 3, "Usernames, one a line.", spellcheck="false", autocapitalize="none")
    groups = forms.MultipleChoiceField(
        required=False,
        label="Groups",
        help_text="Their members may decide. Without any name or group, any reviewer may.",
    )

    def __init__(self, request: Any, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        users = [user.get_username() for user in request.assigned_users.all()]
        groups = [group.name for group in request.assigned_groups.all()]
        super().__init__(data, initial={"users": "\n".join(users), "groups": groups}, **options)
        there = [(name, name) for name in Group.objects.order_by("name").values_list("name", flat=True)]
        field = self.fields["groups"]
        field.choices = there  # type: ignore[attr-defined]  # as ChoiceFields have
        field.widget = (forms.CheckboxSelectMultiple if len(there) <= FEW else forms.SelectMultiple)(
            choices=there
        )

    def clean_users(self) -> list[str]:
        return str(self.cleaned_data["users"]).replace(",", " ").split()


class HandOnForm(PlainForm):
    """To whom a request is handed, and why. `cleaned_data`: `to`, a list of names, and `reason`."""

    to = TextField(
        label="To",
        help_text="Usernames or names of groups, one a line. They decide instead.",
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "autocapitalize": "none"}),
    )
    reason = _text_area("Reason", 1)

    def clean_to(self) -> list[str]:
        names = [line.strip() for line in str(self.cleaned_data["to"]).splitlines()]
        return [name for name in names if name]

    def add_refusal(self, error: ApprovalError) -> None:
        """Show what is wrong with the people and groups at the one field that names them."""
        if error.field in {"users", "groups", "to"}:
            rule = error.detail.removeprefix("to: ")
            self.add_error("to", rule[:1].upper() + rule[1:])
        else:
            super().add_refusal(error)


class CommentForm(PlainForm):
    """Something to say about a request, or to ask: `question` is the value of the other button."""

    text = TextField(
        label="Comment or question", max_length=COMMENT_LIMIT, widget=forms.Textarea(attrs={"rows": 2})
    )
    question = forms.BooleanField(required=False)


def _require_reason(comment: forms.Field) -> None:
    comment.required, comment.label = True, "Reason"
    comment.help_text = "Say why: nobody approves or rejects this without a reason."


def _without(data: Mapping[str, Any], name: str) -> QueryDict:
    rest = QueryDict(mutable=True)
    rest.update(data)
    rest.pop(name, None)
    return rest


def _answer_field(request: Any) -> forms.Field:
    label = "Your answer"
    if request.choices is None:
        return TextField(label=label, widget=forms.Textarea(attrs={"rows": 4}))
    options = [Option(value=value, label=text) for value, text in labels_of(request.choices).items()]
    if not request.multiple:
        return OptionField(options, label=label, few=FEW)
    return TicksField(options, label=label, help_text="Choose any number, or none.", required=False)
