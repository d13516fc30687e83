"""Django's settings of the benchmark's own processes, where Sayso is installed in a project.

The checkout's site has settings that read the environment; a project's do not, and would lead to its own
database. These read what the command hands to its processes.
"""

import secrets

import environ

from approvals.database.configuration import configure
from approvals.process.layers import channel_layers

env = environ.Env()

VAR = env.str("SAYSO_VAR", default="var")
REDIS_URL = env.str("REDIS_URL", default="")
THREADS = 8
SAYSO = {
    "VAR": VAR,
    "CHANNEL_PREFIX": env.str("SAYSO_CHANNEL_PREFIX", default="sayso"),
    "DATABASE_THREADS": THREADS,
    "RATE_LIMIT": env.float("SAYSO_RATE_LIMIT", default=0),
    "ADDRESS_RATE_LIMIT": env.float("SAYSO_ADDRESS_RATE_LIMIT", default=0),
    "SOCKETS_PER_USER": env.int("SAYSO_SOCKETS_PER_USER", default=0),
    "SOCKETS_PER_ADDRESS": env.int("SAYSO_SOCKETS_PER_ADDRESS", default=0),
}
SECRET_KEY = env.str("SAYSO_SECRET_KEY", default=secrets.token_urlsafe(64))
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.admin",
    "channels",
    "approvals",
    "orchestration",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
ROOT_URLCONF = "orchestration.urls"
ASGI_APPLICATION = "orchestration.own_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
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
DATABASES = {
    "default": configure(env.db_url("DATABASE_URL", default=f"sqlite:///{VAR}/sayso.sqlite3"), THREADS)
}
CHANNEL_LAYERS = channel_layers(REDIS_URL, prefix=SAYSO["CHANNEL_PREFIX"])
LOGIN_URL = "/"
STATIC_URL = "static/"
USE_TZ = True
