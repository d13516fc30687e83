"""The API's outer edge: every answer that is no answer is a problem, whatever went wrong and wherever.

Routers raise; nobody below makes a problem by hand. What is outside of every router (unknown addresses, wrong
methods, bodies that are too large) is answered here, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeAlias

from django.core.exceptions import DisallowedHost, SuspiciousOperation, TooManyFieldsSent
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern, URLResolver, re_path
from django.views.decorators.http import require_safe
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.operation import Operation
from ninja.params.models import QueryModel

from approvals.database.threads import LOST
from approvals.exceptions import ApprovalError
from approvals.web.api.authentication import AUTHENTICATION, SAFE_METHODS
from approvals.web.api.bodies import StrictJson, read_body
from approvals.web.api.documentation import Documentation, complete_schema
from approvals.web.api.validation import errors_of
from approvals.web.edge.fair_shares import meter
from approvals.web.edge.own_pages import own_page
from approvals.web.edge.problems import InvalidFields, Unauthenticated, problem, problem_of

logger = logging.getLogger(__name__)

View: TypeAlias = Callable[..., HttpResponseBase]

# Beyond this many, faults are not told one by one: the answer would be many times what was sent.
MOST_FAULTS = 100


class Api(NinjaAPI):
    """An API of Sayso's: strict bodies, two kinds of authentication, problems, a description."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            auth=AUTHENTICATION,
            parser=StrictJson(),
            docs=Documentation(),
            docs_decorator=require_safe,
            **options,
        )
        self.add_decorator(_check_parameters)
        self.refuses(ApprovalError)
        self.add_exception_handler(HttpError, _answer_http_error)
        self.add_exception_handler(ValidationError, _of_validation)
        self.add_exception_handler(Http404, _not_found)
        self.add_exception_handler(SuspiciousOperation, answer_malformed)
        self.add_exception_handler(Exception, _answer_failure)

    def refuses(self, error: type[Exception]) -> None:
        """Answer errors of this class, which have `code`, `detail` and `field`, by the problem they are."""
        self.add_exception_handler(error, _answer_refusal)

    def validation_error_from_error_contexts(self, error_contexts: Any) -> ValidationError:
        if sum(one.pydantic_validation_error.error_count() for one in error_contexts) > MOST_FAULTS:
            raise InvalidFields([("", f"More than {MOST_FAULTS} fields break their rules.")])
        return super().validation_error_from_error_contexts(error_contexts)

    def get_openapi_schema(self, **options: Any) -> Any:
        return complete_schema(super().get_openapi_schema(**options))

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def _get_urls(self) -> list[URLResolver | URLPattern]:
        urls = super()._get_urls()
        for url in urls:
            if isinstance(url, URLPattern):
                url.callback = own_page(_answer_as_api(url.callback))
        return [*urls, re_path("", own_page(_answer_as_api(_not_found)))]


def answer_malformed(request: HttpRequest, error: Any) -> HttpResponse:
    """Answer a request that Django can't read with the problem that says why."""
    if isinstance(error, DisallowedHost):
        return problem("invalid", "This installation goes by other names than this call's `Host`.")
    if isinstance(error, TooManyFieldsSent):
        return problem("invalid", "The address has too many parameters.")
    return problem("invalid", "The call is malformed.")


def _check_parameters(view: View) -> View:
    """Have the view refuse parameters that it does not know, or that come twice.

    A filter with a typing error in its name would otherwise filter nothing, and nobody would notice.
    """
    models = view._ninja_operation.models  # type: ignore[attr-defined]  # ninja keeps it there
    known = {
        name for model in models if issubclass(model, QueryModel) for name in model.__ninja_flatten_map__
    }

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if errors := list(_parameters_at_fault(request, known)):
            raise InvalidFields(errors)
        return view(request, *args, **kwargs)

    return checked


def _parameters_at_fault(request: HttpRequest, known: Collection[str]) -> Iterator[tuple[str, str]]:
    for name, values in request.GET.lists():
        shown = name[:100]
        if name not in known:
            yield shown, f"{shown!r} is no parameter here."
        elif len(values) > 1:
            yield shown, f"{shown} is given more than once."


def _answer_as_api(view: View) -> View:
    """Have errors that the view leaves to Django answered as problems."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with meter(request):
            try:
                if request.method not in SAFE_METHODS:
                    read_body(request)
                response = view(request, *args, **kwargs)
            except ApprovalError as error:
                response = problem_of(error)
            except Http404:
                response = _not_found(request)
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            response = _with_allow(response)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    answered.csrf_exempt = True  # type: ignore[attr-defined]  # sessions are checked where they count
    return answered


def _with_allow(response: HttpResponseBase) -> HttpResponse:
    refusal = problem("method_not_allowed", f"This address takes {response['Allow']}.")
    refusal["Allow"] = response["Allow"]
    return refusal


def _answer_refusal(request: HttpRequest, error: Any) -> HttpResponse:
    return problem_of(error)


def _answer_http_error(request: HttpRequest, error: Any) -> HttpResponse:
    """Answer errors that ninja raises by itself: no authentication, or a body that can't be parsed."""
    if isinstance(error.__cause__, ApprovalError):
        return problem_of(error.__cause__)
    if isinstance(error, AuthenticationError):
        return problem_of(Unauthenticated("Show a token in `Authorization: Bearer …`, or log in."))
    return _answer_failure(request, error)


def _of_validation(request: HttpRequest, error: Any) -> HttpResponse:
    return problem_of(InvalidFields(errors_of(error)))


def _not_found(request: HttpRequest, error: object = None) -> HttpResponse:
    return problem("not_found", "There is nothing at this address.")


def _answer_failure(request: HttpRequest, error: Any) -> HttpResponse:
    """Nothing that anybody foresaw: the log has the details, the caller has none."""
    logger.error("api_failed method=%s path=%s", request.method, request.path, exc_info=error)
    if isinstance(error, LOST):
        return problem("unavailable", "The database does not answer. Repeating is safe; try again.")
    return problem("internal", "Something went wrong here. It is in the log of this installation.")
