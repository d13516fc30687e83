"""The forms that people fill in, for the pages and the admin alike.

They turn what a browser sends into the values that approvals.deciding takes, and put what that refuses on the
field at fault. What is allowed is not decided here. `rules` reads a JSON Schema, `building` makes `parts` of
it, `structures` is the whole of them; `plain` is the base of all forms, `requests` has those about requests.
"""

from __future__ import annotations

from approvals.web.pages.forms.plain_form import PlainForm
from approvals.web.pages.forms.request_forms import AnswerForm, DecisionForm, ReasonForm, ReassignForm

__all__ = ["AnswerForm", "DecisionForm", "PlainForm", "ReasonForm", "ReassignForm"]
