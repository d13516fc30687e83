"""The forms that people fill in, for the pages and the admin alike.

They turn what a browser sends into the values that approvals.deciding takes, and show its refusals at the
field at fault. What is allowed is decided there, not here.

From a JSON Schema to fields: `schema_reader` reads the schema, `builder` makes the tree of `parts`, `fields`
and `datetime_fields` hold the values. `plain_form` is the base of all forms, `request_forms` has those about
requests, `token_form` makes API tokens, `preference_form` is about one's own pages, `delegation_form` about
who decides for whom, `destination_form` about where people and groups are told.
"""

from __future__ import annotations

from approvals.web.pages.forms.delegation_form import DelegationForm
from approvals.web.pages.forms.destination_form import (
    AddressForm,
    CodeForm,
    DestinationForm,
    EventsForm,
    WebhookForm,
)
from approvals.web.pages.forms.plain_form import PlainForm
from approvals.web.pages.forms.preference_form import PreferenceForm
from approvals.web.pages.forms.request_forms import (
    AnswerForm,
    CommentForm,
    DecisionForm,
    HandOnForm,
    MemberForm,
    PageDecisionForm,
    ReasonForm,
    ReassignForm,
    TogetherForm,
)
from approvals.web.pages.forms.token_form import TokenForAnyoneForm, TokenForm

__all__ = [
    "AddressForm",
    "AnswerForm",
    "CodeForm",
    "CommentForm",
    "DecisionForm",
    "DelegationForm",
    "DestinationForm",
    "EventsForm",
    "HandOnForm",
    "MemberForm",
    "PageDecisionForm",
    "PlainForm",
    "PreferenceForm",
    "ReasonForm",
    "ReassignForm",
    "TogetherForm",
    "TokenForAnyoneForm",
    "TokenForm",
    "WebhookForm",
]
