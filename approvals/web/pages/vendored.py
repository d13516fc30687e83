"""Files of other packages that our pages load, served from where those are installed, apps or not."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import condition, require_safe

# By name: the package, the path in it, and the content type.
FILES = {
    "htmx.js": ("django_htmx", "static/django_htmx/htmx-2.min.js", "text/javascript"),
    "swagger-ui.js": ("ninja", "static/ninja/swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": ("ninja", "static/ninja/swagger-ui.css", "text/css"),
}
# Seconds for which a browser does not ask again.
KEPT = 3_600


@cache
def content(name: str) -> bytes:
    package, path, _ = FILES[name]
    return files(package).joinpath(path).read_bytes()


def _tag(request: HttpRequest, name: str) -> str | None:
    return f'"{_fingerprint(name)}"' if name in FILES else None


@cache
def _fingerprint(name: str) -> str:
    return sha256(content(name)).hexdigest()[:20]


@require_safe
@gzip_page
@cache_control(max_age=KEPT, public=True)
@condition(etag_func=_tag)
def vendored(request: HttpRequest, name: str) -> HttpResponse:
    """Send the file of this name, compressed where the browser takes it."""
    if name not in FILES:
        raise Http404(f"There is no file {name!r}.")
    return HttpResponse(content(name), content_type=f"{FILES[name][2]}; charset=utf-8")
