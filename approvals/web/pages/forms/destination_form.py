"""The forms that say where people and groups are told: one's own webhook or mail address, and any."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.encoding import punycode

from approvals.delivery import chat
from approvals.delivery.webhooks.targets import check_target, destination_reach
from approvals.domain.payloads import check_text
from approvals.domain.request_terms import URL_LIMIT
from approvals.domain.telling import EVENTS, LABEL_LIMIT, TOLD_TO_GROUPS, DestinationKind, told_unasked
from approvals.exceptions import InvalidRequest
from approvals.web.pages.forms.plain_form import PlainForm

# Of an address, by RFC 5321.
EMAIL_LIMIT = 254
KINDS = {
    DestinationKind.CHAT: "Chat: Slack, Teams, ntfy and others",
    DestinationKind.WEBHOOK: "Webhook: signed messages to a program",
    DestinationKind.EMAIL: "Email, for groups",
}


def _events_field(**options: Any) -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        label="Tell it about",
        choices=[(event.value, words[0].upper() + words[1:]) for event, words in EVENTS.items()],
        initial=told_unasked,
        widget=forms.CheckboxSelectMultiple,
        **options,
    )


def _label_field() -> forms.CharField:
    return forms.CharField(
        required=False,
        max_length=LABEL_LIMIT,
        help_text="To tell it from others.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class WebhookForm(PlainForm):
    """A webhook of one's own. `cleaned_data`: `address`, checked; `label`; `events`."""

    address = forms.CharField(
        label="Address",
        max_length=URL_LIMIT,
        help_text="https://… of a host that this installation allows. It is not shown again.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "inputmode": "url"}),
    )
    label = _label_field()
    events = _events_field()

    def clean_address(self) -> str:
        return _checked(DestinationKind.WEBHOOK, self.cleaned_data["address"])


class AddressForm(PlainForm):
    """Another mail address of one's own. `cleaned_data`: `address`; `label`; `events`."""

    address = forms.EmailField(
        label="Email address",
        max_length=EMAIL_LIMIT,
        help_text="A code is sent there. Nothing else is, before you enter it here.",
        widget=forms.EmailInput(attrs={"autocomplete": "email", "spellcheck": "false"}),
        error_messages={"invalid": "Email address must be one, such as ann@example.org."},
    )
    label = _label_field()
    events = _events_field()

    def clean_address(self) -> str:
        return _checked(DestinationKind.EMAIL, self.cleaned_data["address"])


class CodeForm(PlainForm):
    """The code that was sent to an address. `cleaned_data`: `code`, as it was typed."""

    code = forms.CharField(
        label="Code",
        max_length=40,
        help_text="The 8 digits of the message.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )


class EventsForm(PlainForm):
    """Of which events somewhere is told; of none, nothing is. `cleaned_data`: `events`."""

    events = _events_field(required=False)


class DestinationForm(WebhookForm):
    """Where a person or a group is told. `cleaned_data` has the fields of `Destination`; address as it is.

    With `stored`, of a destination that is changed, the address may be left empty: it stays as it is then.
    """

    kind = forms.ChoiceField(choices=[(kind.value, words) for kind, words in KINDS.items()])
    user = forms.CharField(
        required=False,
        label="For a person",
        help_text="A username.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )
    group = forms.CharField(
        required=False,
        label="For a group",
        help_text="The name of a group. Say this or a person.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    field_order = ("user", "group", "kind", "address", "label", "events")

    def __init__(self, *args: Any, stored: Any = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._stored = stored
        self.fields["events"].help_text = "Groups are told only about requests that they may decide."
        self.fields["address"].help_text = (
            "Such as slack://TokenA/TokenB/TokenC, https://hooks.example.org/sayso or team@example.org. It is"
            " encrypted, and not shown again."
        )
        if stored is not None:
            self.fields["address"].required = False
            self.fields["address"].help_text = "If empty, it stays as it is."
            for name in ("user", "group", "kind"):
                del self.fields[name]
            if stored.user_id is not None and stored.kind == DestinationKind.EMAIL:
                self.fields["address"].help_text = "It stays as it is: people enter the code of another one."

    def clean_address(self) -> str:
        address: str = self.cleaned_data["address"]
        stored = self._stored
        kind = stored.kind if stored is not None else self.data.get("kind", "")
        if address and stored is not None and stored.user_id is not None and kind == DestinationKind.EMAIL:
            raise ValidationError(
                "Address must be left empty: people enter the code of another one themselves."
            )
        return _checked(kind, address) if address else ""

    def clean_user(self) -> Any:
        name, people = self.cleaned_data["user"], get_user_model()
        if not name:
            return None
        found = people._default_manager.filter(**{people.USERNAME_FIELD: name, "is_active": True}).first()
        if found is None:
            raise ValidationError("There is no active account of this name.")
        return found

    def clean_group(self) -> Group | None:
        name = self.cleaned_data["group"]
        found = Group.objects.filter(name=name).first() if name else None
        if name and found is None:
            raise ValidationError("There is no group of this name.")
        return found

    def clean(self) -> dict[str, Any]:
        said: dict[str, Any] = super().clean() or self.cleaned_data
        if {"user", "group"} & self.errors.keys():
            return said
        stored = self._stored
        if stored is None and (said.get("user") is None) == (said.get("group") is None):
            raise ValidationError("Say for whom it is: a person or a group, one of them.")
        of_group = said.get("group") is not None if stored is None else stored.group_id is not None
        if stored is None and not of_group and said.get("kind") == DestinationKind.EMAIL:
            self.add_error("kind", "Kind: a person gets mail at the address of the account.")
        if of_group and "events" in said:
            said["events"] = [event for event in said["events"] if event in TOLD_TO_GROUPS]
            if not said["events"]:
                self.add_error("events", "Tell it about: groups are told of requests that they may decide.")
        return said


def _check_email(address: str) -> None:
    """Refuse what is no address, or has a domain that can be given to no mail server, as in IDNA."""
    validate_email(address)
    try:
        punycode(address.rpartition("@")[2])
    except UnicodeError:
        raise ValidationError("Address must have a domain that is one.") from None


def _checked(kind: str, address: str) -> str:
    """Return the address if such a destination can have it; ValidationError names the rule it breaks."""
    try:
        check_text(address, "address", max_length=URL_LIMIT, one_line=True)
        if kind == DestinationKind.WEBHOOK:
            check_target(address, destination_reach())
    except InvalidRequest as refusal:
        raise ValidationError(f"Address {refusal.detail.removeprefix('address').lstrip()}") from refusal
    if kind == DestinationKind.EMAIL:
        _check_email(address)
    if kind == DestinationKind.CHAT and (fault := chat.fault_of(address)):
        raise ValidationError(f"Address {fault}.")
    return address
