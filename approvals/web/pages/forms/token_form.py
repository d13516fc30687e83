"""The form that makes an API token."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from approvals.web.edge.tokens import DEFAULT_SCOPES, NAME_LIMIT, Scope
from approvals.web.pages.forms.plain_form import PlainForm

SECONDS_A_DAY = 86_400

ALLOWS = {
    Scope.ASK: "open and withdraw requests, start runs, and read what it asked",
    Scope.READ: "read everything that you may see",
    Scope.DECIDE: "decide and answer in your name",
}


class TokenForm(PlainForm):
    """Name, scopes and end of a token. `cleaned_data`: `lifetime` in seconds, None without an end."""

    name = forms.CharField(
        max_length=NAME_LIMIT,
        help_text="What it is for. The trail shows the name.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, f"{scope.value}: {words}") for scope, words in ALLOWS.items()],
        initial=[scope.value for scope in DEFAULT_SCOPES],
        widget=forms.CheckboxSelectMultiple,
        label="Scopes",
    )
    lifetime = forms.FloatField(
        required=False,
        label="Days until it expires",
        help_text="If empty, it is valid until it is revoked.",
        widget=forms.NumberInput(attrs={"min": "0", "step": "any", "autocomplete": "off"}),
    )

    def clean_lifetime(self) -> float | None:
        days: float | None = self.cleaned_data["lifetime"]
        if days is not None and days <= 0:
            raise ValidationError("Days until it expires must be more than 0.")
        return None if days is None else days * SECONDS_A_DAY


class TokenForAnyoneForm(TokenForm):
    """The same, with the account that the token acts as. `cleaned_data`: `user`, an account."""

    user = forms.CharField(
        label="Acts as", help_text="Username", widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    field_order = ("user", "name", "scopes", "lifetime")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # The words for oneself do not fit another account.
        self.fields["scopes"].choices = [  # type: ignore[attr-defined]  # as ChoiceFields have
            (scope.value, f"{scope.value}: {words.replace('you ', 'it ').replace('your', 'its')}")
            for scope, words in ALLOWS.items()
        ]

    def clean_user(self) -> User:
        people = get_user_model()
        named = people._default_manager.filter(**{people.USERNAME_FIELD: self.cleaned_data["user"]}).first()
        if named is None:
            raise ValidationError("There is no account of this name.")
        return named
