"""The API described: OpenAPI 3.1, and the page that shows it, from local files under the strict policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from ninja.openapi.docs import DocsBase

from approvals.web.edge.problems import Problem

if TYPE_CHECKING:
    from ninja import NinjaAPI

REFERENCES = "#/components/schemas/{model}"


class Documentation(DocsBase):
    """Swagger UI in a page of ours."""

    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        return render(request, "approvals/api.html", {"schema_url": self.get_openapi_url(api, kwargs)})


def complete_schema(schema: Any) -> Any:
    """Add to the schema what ninja does not know: problems, and that a session needs a CSRF token."""
    components = schema["components"]
    described = Problem.model_json_schema(ref_template=REFERENCES)
    components["schemas"] |= described.pop("$defs", {})
    components["schemas"]["Problem"] = described
    components.setdefault("securitySchemes", {})["CsrfToken"] = {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRFToken",
        "description": "The value of the cookie `csrftoken`; only with a session, and only where it changes "
        "something.",
    }
    for methods in schema["paths"].values():
        for method, operation in methods.items():
            responses = operation["responses"]
            operation["responses"] = {str(int(one)): responses[one] for one in sorted(responses, key=int)}
            if method != "get":
                operation["security"] = [_with_csrf(needed) for needed in operation.get("security", [])]
    return schema


def _with_csrf(needed: dict[str, Any]) -> dict[str, Any]:
    return {**needed, "CsrfToken": []} if "SessionCookie" in needed else needed
