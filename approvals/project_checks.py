"""System checks of the project that installs Sayso: each says what is missing, with the line to add."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections, models
from django.shortcuts import resolve_url
from django.template import TemplateDoesNotExist, loader
from django.urls import (
    NoReverseMatch,
    Resolver404,
    URLResolver,
    get_resolver,
    get_script_prefix,
    resolve,
    reverse,
)
from django.utils.module_loading import import_string

from approvals.checks import SETTINGS, Messages
from approvals.conf import approval_settings
from approvals.web.edge import mount

_APPS = ("django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "channels")
_ACCOUNT = {"groups", "user_permissions", "is_active", "is_superuser"}
_OURS = ("approvals.", "orchestration.")
_MIDDLEWARE = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
)
_PROCESSORS = (
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
)
_DJANGO_TEMPLATES = "django.template.backends.django.DjangoTemplates"


@checks.register(SETTINGS)
def check_parts(**told: Any) -> Messages:
    """Check that the apps and middleware are there on which pages, sockets and sessions stand."""
    missing = [each for each in _APPS if not apps.is_installed(each)]
    if missing:
        yield checks.Error(
            f"INSTALLED_APPS lacks {', '.join(missing)}.",
            hint=f"INSTALLED_APPS += {missing}",
            id="sayso.E041",
        )
    there = [import_string(each) for each in settings.MIDDLEWARE]
    for needed in _MIDDLEWARE:
        kind = import_string(needed)
        if not any(isinstance(each, type) and issubclass(each, kind) for each in there):
            yield checks.Error(f"MIDDLEWARE lacks {needed!r}.", hint=f'Add "{needed}",', id="sayso.E042")
    if not settings.USE_TZ:
        yield checks.Error(
            "USE_TZ is off: deadlines have a time zone.", hint="USE_TZ = True", id="sayso.E046"
        )


@checks.register(SETTINGS)
def check_accounts(**told: Any) -> Messages:
    """Check that the project's accounts have what permissions, groups and entries of the trail need."""
    model = get_user_model()
    names = {each.name for each in model._meta.get_fields()}
    if missing := sorted(_ACCOUNT - names):
        yield checks.Error(
            f"{settings.AUTH_USER_MODEL} lacks {', '.join(missing)}.",
            hint="Derive it from AbstractUser, or from AbstractBaseUser and PermissionsMixin with is_active.",
            id="sayso.E048",
        )
    if not isinstance(model._meta.pk, models.IntegerField | models.UUIDField):
        yield checks.Error(
            f"{settings.AUTH_USER_MODEL} has a primary key that is neither an integer nor a UUID.",
            hint="id = models.UUIDField(primary_key=True, default=uuid.uuid4)",
            id="sayso.E049",
        )


@checks.register(SETTINGS)
def check_channel_layer(**told: Any) -> Messages:
    """Check that there is the channel layer that carries hints."""
    name = approval_settings().channel_layer
    if name not in getattr(settings, "CHANNEL_LAYERS", {}):
        yield checks.Error(
            f"CHANNEL_LAYERS has no {name!r}, which carries hints between sockets and processes.",
            hint=f'CHANNEL_LAYERS = {{"{name}": {{"BACKEND": "channels.layers.InMemoryChannelLayer"}}}}'
            " with one process; channels_redis.pubsub.RedisPubSubChannelLayer with several.",
            id="sayso.E044",
        )


@checks.register()
def check_urls(**told: Any) -> Messages:
    """Check that the project's URLs include ours, and that its log-in page is one."""
    orchestrates = apps.is_installed("orchestration")
    line = f'path("sayso/", include("{"orchestration" if orchestrates else "approvals"}.urls")),'
    try:
        mount.root()
        if orchestrates:
            reverse("runs")
    except (ImproperlyConfigured, NoReverseMatch):
        yield checks.Error(
            f"{settings.ROOT_URLCONF} does not include Sayso's URLs.", hint=line, id="sayso.E043"
        )
    for name in sorted(_shared_names()):
        yield checks.Warning(
            f"The project has a URL named {name!r}, which Sayso has, too: links of one lead to the other.",
            hint="Name the project's own URL otherwise, or include it with a namespace.",
            id="sayso.W045",
        )
    if not _is_page(settings.LOGIN_URL):
        yield checks.Warning(
            f"LOGIN_URL is {settings.LOGIN_URL!r}, where there is no page: nobody can log in to the inbox.",
            hint="Name the project's log-in page; LOGIN_URL = \"sayso-login\" is Sayso's own.",
            id="sayso.W043",
        )


@checks.register()
def check_templates(**told: Any) -> Messages:
    """Check that our templates are found, and get what they show."""
    try:
        loader.get_template("approvals/base.html")
    except TemplateDoesNotExist:
        yield checks.Error(
            "TEMPLATES does not find those of apps.", hint='"APP_DIRS": True,', id="sayso.E045"
        )
    engines: list[Any] = [one for one in settings.TEMPLATES if one["BACKEND"] == _DJANGO_TEMPLATES]
    given = [name for one in engines for name in one.get("OPTIONS", {}).get("context_processors", ())]
    for needed in _PROCESSORS:
        if needed not in given:
            yield checks.Error(
                f"TEMPLATES lacks the context processor {needed!r}.", hint=f'"{needed}",', id="sayso.E047"
            )


@checks.register()
def check_runserver(**told: Any) -> Messages:
    """Check that `runserver`, where it is what runs, serves by ASGI: daphne's does, Django's own does not."""
    if sys.argv[1:2] == ["runserver"] and not apps.is_installed("daphne"):
        yield checks.Warning(
            "This runserver serves by WSGI: nothing is live, no run executes, no deadline is kept.",
            hint='INSTALLED_APPS = ["daphne", *INSTALLED_APPS], or use manage.py serve.',
            id="sayso.W050",
        )


@checks.register()
def check_asgi(**told: Any) -> Messages:
    """Check, by its text, that the project's ASGI module wraps its application."""
    name: str = getattr(settings, "ASGI_APPLICATION", "")
    module = name.rpartition(".")[0]
    if not module:
        guess = f"{settings.ROOT_URLCONF.rpartition('.')[0] or 'mysite'}.asgi.application"
        yield checks.Warning(
            "ASGI_APPLICATION is not set: `manage.py serve` does not know what to serve.",
            hint=f'ASGI_APPLICATION = "{guess}"',
            id="sayso.W041",
        )
        return
    wrapper = "orchestration.asgi" if apps.is_installed("orchestration") else "approvals.asgi"
    if (text := _source_of(module)) is not None and wrapper not in text:
        yield checks.Warning(
            f"{module} does not wrap its application: no sockets, no held answers, and no runs.",
            hint=f"At its end: import {wrapper}; application = {wrapper}.application(application)",
            id="sayso.W042",
        )


@checks.register(SETTINGS)
def check_sqlite(**told: Any) -> Messages:
    """Check that SQLite's transactions take their lock when they begin."""
    connection = connections[DEFAULT_DB_ALIAS]
    options = connection.settings_dict.get("OPTIONS", {})
    if connection.vendor == "sqlite" and options.get("transaction_mode") != "IMMEDIATE":
        yield checks.Warning(
            'SQLite is used without transaction_mode: two writers at a time fail with "database is locked".',
            hint='DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 20}',
            id="sayso.W044",
        )


def _shared_names() -> set[str]:
    """Return the names of URLs, outside of namespaces, that are ours and the project's."""
    ours: set[str] = set()
    others: set[str] = set()
    pending: list[Any] = list(get_resolver().url_patterns)
    while pending:
        each = pending.pop()
        if isinstance(each, URLResolver):
            pending += [] if each.namespace else each.url_patterns
        elif each.name:
            (ours if each.callback.__module__.startswith(_OURS) else others).add(each.name)
    return ours & others


def _is_page(name: str) -> bool:
    """Tell whether a URL, path or name leads to a page of this project, or to another site."""
    try:
        url = urlsplit(resolve_url(name))
        if not url.netloc:
            resolve(f"/{url.path.removeprefix(get_script_prefix())}")
    except (Resolver404, NoReverseMatch):
        return False
    return True


def _source_of(module: str) -> str | None:
    """Return a module's text without importing it; None where there is none."""
    try:
        spec = find_spec(module)
    except ImportError:
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin).read_text(encoding="utf-8")
