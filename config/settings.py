"""Django's settings for this installation: the only reader of the environment.

Nothing is needed to start: without any variable everything lives under `var/` beside `manage.py`. Sayso's own
settings have their defaults in approvals/conf.py and orchestration/conf.py, which say how to add one.
"""

import os
import re
import secrets
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
import environ

from approvals.database.configuration import configure
from approvals.logs import formatter
from approvals.process.layers import channel_layers
from config.mailers import mailers

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(env.str("SAYSO_VAR", default=str(BASE_DIR / "var")))
VAR.mkdir(mode=0o700, parents=True, exist_ok=True)

# Sayso's settings, as far as the environment names them; more of them below.
SAYSO: dict[str, Any] = {"VAR": VAR}


def _list_of(variable: str, default: Sequence[str] = ()) -> list[str]:
    """Return the values of a variable, which are separated by commas and optional spaces."""
    values: list[str] = env.list(variable, cast=str.strip, default=list(default))
    return values


def _secret_key() -> str:
    """Return the installation's own key, which is made once and readable by its owner only."""
    path: Path = VAR / "secret_key"
    if not path.exists():
        handle, name = tempfile.mkstemp(prefix="secret_key.", dir=VAR)  # mode 0600
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(64))
        with suppress(FileExistsError):  # another process was first, and no one sees it half written
            path.hardlink_to(name)
        Path(name).unlink()
    return path.read_text().strip()


def _path_of(address: str) -> str | None:
    """Return an address's path without a slash at its end; None if it has none (checks say what is wrong)."""
    with suppress(ValueError):
        return urlsplit(address).path.rstrip("/") or None
    return None


def _keep_private(database: str) -> None:
    """Create a missing SQLite file for this account only; SQLite gives its other files the same mode."""
    if database != ":memory:" and not database.startswith("file:"):
        with suppress(OSError):  # SQLite says what is wrong
            os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


DEBUG = env.bool("SAYSO_DEBUG", default=False)
SECRET_KEY = env.str("SAYSO_SECRET_KEY", default="") or _secret_key()
# Former keys: their signatures stay valid, and callbacks are signed with each.
SECRET_KEY_FALLBACKS = _list_of("SAYSO_SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = _list_of("SAYSO_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
# The address of this installation, path prefix included: links in emails begin with it.
SAYSO["URL"] = env.str("SAYSO_URL", default="http://localhost:8000" if DEBUG else "")
# The path prefix below which a proxy serves this, as in https://example.com/sayso.
FORCE_SCRIPT_NAME = _path_of(env.str("FORCE_SCRIPT_NAME", default=SAYSO["URL"]))
CSRF_TRUSTED_ORIGINS = _list_of("SAYSO_TRUSTED_ORIGINS", default=[])
SAYSO["TRUSTED_PROXIES"] = _list_of("SAYSO_TRUSTED_PROXIES", default=[])
# Uvicorn's own variable: the proxies whose headers replace the peer's address before we see the request.
SAYSO["SERVER_BELIEVES"] = _list_of("FORWARDED_ALLOW_IPS", default=[])

ENGINE = env.str("SAYSO_ENGINE", default="local")

# Apps of one's own, with their orchestrations: from PYTHONPATH, or this folder.
SAYSO_APPS = _list_of("SAYSO_APPS", default=[])
SAYSO["APPS_DIR"] = Path(env.str("SAYSO_APPS_DIR", default=str(BASE_DIR / "apps"))).absolute()
if SAYSO_APPS and str(SAYSO["APPS_DIR"]) not in sys.path:
    sys.path.append(str(SAYSO["APPS_DIR"]))  # last: nothing there stands for a module that is installed

INSTALLED_APPS = [
    # Its `runserver` serves sockets; other commands need not import it.
    *(["daphne"] if sys.argv[1:2] == ["runserver"] else []),
    "config.admin_site.AdminSiteConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    # Where its package is missing, a check says so.
    *(["procrastinate.contrib.django"] if ENGINE == "procrastinate" and find_spec("procrastinate") else []),
    "approvals",
    "orchestration",
    "config.own_apps.OwnAppsConfig",
    *SAYSO_APPS,
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "config.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    # The rules of Sayso's own pages for all others: Django's admin, log-in, errors.
    "approvals.web.edge.own_pages.OwnPages",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# The database. One writer thread and a few readers per process; see approvals.database.threads.
DATABASE_THREADS = 8
DATABASE = configure(
    env.db_url("DATABASE_URL", default=f"sqlite:///{VAR / 'sayso.sqlite3'}"), DATABASE_THREADS
)
DATABASES = {"default": DATABASE}
if DATABASE["ENGINE"] == "django.db.backends.sqlite3":
    _keep_private(str(DATABASE["NAME"]))
DATABASE_ROUTERS = ["orchestration.engines.queue_router.QueueOnPostgreSQL"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The channel layer carries hints only: ids to look at again.
REDIS_URL = env.str("REDIS_URL", default="")
SAYSO["CHANNEL_PREFIX"] = env.str("SAYSO_CHANNEL_PREFIX", default="sayso")
CHANNEL_LAYERS = channel_layers(REDIS_URL, prefix=SAYSO["CHANNEL_PREFIX"])

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "inbox"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
WHITENOISE_STATIC_PREFIX = "/static/"
# Static files are served from the apps, compressed on the way: nothing to collect, nothing to build.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "approvals.web.edge.static_files.StaticFiles"},
}

_email = env.email_url("EMAIL_URL", default="consolemail://")
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env("EMAIL_FROM", default="webmaster@localhost")
# Seconds after which a silent mail server's connection is given up.
_email_timeout = env.float("EMAIL_TIMEOUT", default=10.0)
if django.VERSION >= (6, 1):
    MAILERS = mailers(_email, _email_timeout)
else:
    vars().update(_email)
    EMAIL_TIMEOUT = _email_timeout

# Security. SAYSO_TRUSTED_ORIGINS with https:// says that a TLS proxy stands in front.
BEHIND_TLS = any(origin.startswith("https://") for origin in CSRF_TRUSTED_ORIGINS)
SESSION_COOKIE_SECURE = BEHIND_TLS
CSRF_COOKIE_SECURE = BEHIND_TLS
# Only a trusted proxy can say that a request came by TLS (approvals.web.edge.proxies); without one,
# redirects would loop.
SECURE_SSL_REDIRECT = BEHIND_TLS and bool(SAYSO["TRUSTED_PROXIES"])
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = BEHIND_TLS
SECURE_HSTS_PRELOAD = BEHIND_TLS
SESSION_COOKIE_HTTPONLY = True
# Below a prefix: other applications on this host may have cookies of the same names.
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = FORCE_SCRIPT_NAME or "/"
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440

# Sayso's own settings: docs/deployment.md explains each.
SAYSO |= {"ENGINE": ENGINE, "DATABASE_THREADS": DATABASE_THREADS}
for _read, _variables in (
    (env.float, ["SAYSO_DEFAULT_TIMEOUT", "SAYSO_RECHECK_INTERVAL", "SAYSO_LEASE", "SAYSO_DRAIN"]),
    (env.float, ["SAYSO_RATE_LIMIT", "SAYSO_ADDRESS_RATE_LIMIT", "SAYSO_LOGIN_RATE_LIMIT"]),
    (env.float, ["SAYSO_LINK_HOURS"]),
    (env.int, ["SAYSO_SOCKETS_PER_USER", "SAYSO_SOCKETS_PER_ADDRESS", "SAYSO_WRITER_QUEUE"]),
    (env.int, ["SAYSO_REQUESTS_PER_USER", "SAYSO_BYTES_PER_USER"]),
    (env.str, ["SAYSO_APPROVE_ON_TIMEOUT", "SAYSO_SEAL_KEY", "SAYSO_METRICS_TOKEN"]),
    (env.str, ["SAYSO_NOTIFY", "SAYSO_MESSAGE_DETAIL", "SAYSO_LINKS"]),
    # SAYSO_COMMANDS is no variable: it lets orchestrations run programs.
    (
        _list_of,
        ["SAYSO_CALLBACK_HOSTS", "SAYSO_CALLBACK_NETWORKS", "SAYSO_HTTP_HOSTS", "SAYSO_HTTP_NETWORKS"],
    ),
    (_list_of, ["SAYSO_CLEANUP_DIRECTORIES", "SAYSO_EMAIL_RECIPIENTS", "SAYSO_CHAT_SCHEMES"]),
):
    SAYSO |= {name.removeprefix("SAYSO_"): _read(name) for name in _variables if name in env.ENVIRON}
# The name that process managers use. SQLite and the in-memory layer serve one process only.
SAYSO["PROCESSES"] = env.int("WEB_CONCURRENCY", default=1)
# Only our own job queue: no tasks are looked for in installed apps.
PROCRASTINATE_AUTODISCOVER_MODULE_NAME = ""

# Probes use plain HTTP, from inside the machine or cluster.
_below = re.escape(f"{FORCE_SCRIPT_NAME or ''}/".lstrip("/"))
SECURE_REDIRECT_EXEMPT = [f"^{_below}healthz/", f"^{_below}metrics$"]
# "text", "json", or "auto": text, and coloured where a terminal shows it.
SAYSO["LOG_FORMAT"] = env.str("SAYSO_LOG_FORMAT", default="auto")
_in_colours = SAYSO["LOG_FORMAT"] == "auto" and sys.stderr.isatty() and not env.str("NO_COLOR", default="")
# OpenTelemetry's own variables: where spans go. Everything else about them is for its SDK to read.
_traces = env.str("OTEL_TRACES_EXPORTER", default="")
if not _traces and any(
    env.str(name, default="")
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
):
    _traces = "otlp"
if env.bool("OTEL_SDK_DISABLED", default=False):
    _traces = ""
SAYSO["TRACE_EXPORTERS"] = [name.strip() for name in _traces.split(",") if name.strip() not in {"", "none"}]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": formatter(SAYSO["LOG_FORMAT"], colors=_in_colours)},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "daphne": {"level": "WARNING"},
        # It would log whole URLs, with secrets in their query strings.
        "httpx": {"level": "WARNING"},
        # It would log addresses of chats; our own lines say what failed.
        "apprise": {"level": "CRITICAL"},
        "django.channels.server": {"level": "CRITICAL"},
        # Django gives them handlers of their own, which are removed here.
        "django": {"handlers": []},
        "django.server": {"handlers": [], "propagate": True, "level": "CRITICAL"},
        # They log a line or more a second during an outage, which our own lines report once.
        "psycopg.pool": {"level": "ERROR"},
        "channels_redis.pubsub": {"level": "CRITICAL"},
        # It would log the start and end of every job; our own lines report runs.
        "procrastinate": {"level": "WARNING"},
    },
}
