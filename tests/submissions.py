"""What a browser sends of a form: its HTML read as a page is, filled in as a person does, and serialised.

As browsers do: boxes that are not ticked send nothing, `<template>` is inert, text areas drop a first line
end and send `\\r\\n`, and one-line inputs drop line ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from django.http import QueryDict
from django.template.loader import render_to_string
from django.test import Client

from approvals.web.pages.forms import PlainForm

Control = dict[str, Any]


def post(client: Client, address: str, data: QueryDict) -> Any:
    """Send it as browsers do; the response."""
    return client.post(address, data.urlencode(), content_type="application/x-www-form-urlencoded")


class Page:
    """A form as a browser holds it. `fill` and `tick` name inputs by their names."""

    def __init__(self, html: str, about: str = "") -> None:
        """`about`: how a name in the form begins, where the page has several forms."""
        reader = _Reader()
        reader.feed(html)
        reader.close()
        forms = (form for form in reader.forms if any(one["name"].startswith(about) for one in form))
        self.controls = next(forms, [])

    @classmethod
    def of(cls, form: PlainForm) -> Page:
        """The fields of a form's schema as pages show them."""
        return cls(render_to_string("approvals/_part.html", {"part": form.bound_structure()}))

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(control["name"] for control in self.controls))

    def fill(self, name: str, value: str) -> Page:
        (control,) = (one for one in self.controls if one["name"] == name and "options" not in one)
        control["value"] = value
        return self

    def pick(self, name: str, *values: str) -> Page:
        """Choose from a menu or radio buttons, or tick just these boxes."""
        for control in self._called(name):
            if "options" in control:
                assert values[0] in control["options"], (values[0], control["options"])
                control["value"] = values[0]
            else:
                control["checked"] = control["value"] in values
        known = {
            value for control in self._called(name) for value in control.get("options", [control["value"]])
        }
        assert set(values) <= known, (values, known)
        return self

    def press(self, button: str, value: str) -> QueryDict:
        """What is sent with this button."""
        sent = self.sent()
        sent.appendlist(button, value)
        return sent

    def sent(self) -> QueryDict:
        data = QueryDict(mutable=True)
        for control in self.controls:
            if control["kind"] not in ("checkbox", "radio") or control["checked"]:
                data.appendlist(control["name"], control["value"])
        return data

    def _called(self, name: str) -> Iterator[Control]:
        found = [control for control in self.controls if control["name"] == name]
        assert found, f"no {name} among {self.names}"
        return iter(found)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[list[Control]] = [[]]
        self._inert = 0
        self._open: Control | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._inert += tag == "template"
        if tag == "form":
            self.forms.append([])
        if self._inert or tag not in {"input", "textarea", "select", "option"}:
            return
        if tag == "option":
            assert self._open is not None
            self._open["options"].append(given["value"])
            if "selected" in given or len(self._open["options"]) == 1:
                self._open["value"] = given["value"]
            return
        control: Control = {
            "name": given.get("name", ""),
            "kind": given.get("type", tag),
            "value": given.get("value", ""),
        }
        if control["kind"] in ("checkbox", "radio"):
            control |= {"value": given.get("value", "on"), "checked": "checked" in given}
        elif tag == "input" and control["kind"] != "hidden":
            control["value"] = control["value"].replace("\r", "").replace("\n", "")
            if control["kind"] in ("email", "url"):
                control["value"] = control["value"].strip()
        if tag == "select":
            control["options"] = []
        self.forms[-1].append(control)
        self._open = None if tag == "input" else control

    def handle_endtag(self, tag: str) -> None:
        self._inert -= tag == "template"
        if tag == "textarea" and self._open is not None:
            text = self._open["value"].replace("\r\n", "\n").replace("\r", "\n").removeprefix("\n")
            self._open["value"] = text.replace("\n", "\r\n")
        if tag in ("textarea", "select"):
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None and self._open["kind"] == "textarea":
            self._open["value"] += data
