"""Django settings, driven by the environment; docs/settings.md lists every variable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aforo import env

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"

# Where the embedded Postgres and Redis, the secrets and the run file live.
DATA_DIR = Path(env.text("AFORO_DATA_DIR", str(BASE_DIR / ".aforo"))).resolve()


def _run_file() -> dict[str, Any]:
    """Return what the embedded services wrote about themselves, if they did."""
    path = DATA_DIR / "run.json"
    try:
        loaded: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, PermissionError, json.JSONDecodeError):
        return {}
    return loaded


_run = _run_file()

DEBUG = env.flag("AFORO_DEBUG", False)
SECRET_KEY = env.text("AFORO_SECRET_KEY") or _run.get("secret_key", "") or "unset"
ALLOWED_HOSTS = env.text("AFORO_ALLOWED_HOSTS", "127.0.0.1,localhost").split(",")
CSRF_TRUSTED_ORIGINS = [o for o in env.text("AFORO_TRUSTED_ORIGINS").split(",") if o]

# web: row-level security applies. worker: sees every tenant. Empty: the owner,
# for migrations and management commands.
DATABASE_ROLE = env.text("AFORO_DB_ROLE")
DATABASE_URL = env.text("DATABASE_URL") or _run.get("database_url", "")
REDIS_URL = env.text("REDIS_URL") or _run.get("redis_url", "")
_role = {"": "", "web": "aforo_web", "worker": "aforo_worker"}[DATABASE_ROLE]
DATABASES = {
    "default": env.postgres(
        DATABASE_URL or "postgres://aforo@127.0.0.1:1/aforo?connect_timeout=1", _role
    )
}

# One server, four databases: guard state, broker, channel layer and cache never
# mix. Point them at separate servers when one is not enough.


def _redis_db(number: int) -> str:
    """Return the Redis URL with another database number.

    AFORO_REDIS_DB_OFFSET moves all four: several instances may share one server.
    """
    number += env.integer("AFORO_REDIS_DB_OFFSET", 0)
    base = REDIS_URL or "redis://127.0.0.1:1/0"
    if base.startswith("unix://"):
        return f"{base.split('?')[0]}?db={number}"
    return (
        f"{base.rsplit('/', 1)[0]}/{number}"
        if base.count("/") > 2
        else f"{base}/{number}"
    )


GUARD_REDIS_URL = env.text("AFORO_GUARD_REDIS_URL") or _redis_db(0)
BROKER_URL = env.text("AFORO_BROKER_URL") or _redis_db(1)
# How long a check waits for the guard's Redis before it is judged without.
GUARD_TIMEOUT_S = env.integer("AFORO_GUARD_TIMEOUT_MS", 25) / 1000
# How long a statement of a door may take when Postgres stands in for Redis.
GUARD_LOOKUP_S = env.integer("AFORO_GUARD_LOOKUP_MS", 50) / 1000
# How many door processes share the limits while the guard's Redis is away.
GUARD_DOORS = env.integer("AFORO_GUARD_DOORS", 1)
# Where doors spool what they decided until the worker stores it.
GUARD_JOURNAL_DIR = DATA_DIR / "journal"
# Proxies whose X-Forwarded-For is believed.
TRUSTED_PROXIES = [p for p in env.text("AFORO_TRUSTED_PROXIES").split(",") if p]
CHANNELS_REDIS_URL = env.text("AFORO_CHANNELS_REDIS_URL") or _redis_db(2)
CACHE_REDIS_URL = env.text("AFORO_CACHE_REDIS_URL") or _redis_db(3)
TOPICS_REDIS_URL = env.text("AFORO_TOPICS_REDIS_URL") or _redis_db(4)

INSTALLED_APPS = [
    "aforo.core",
    "catalog",
    "billing",
    "guard",
    "metering",
    "portal",
    "aforo",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_filters",
    "django_htmx",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "csp",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "aforo.core.tenancy.TenantMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "aforo.urls"
ASGI_APPLICATION = "aforo.asgi.application"
WSGI_APPLICATION = "aforo.wsgi.application"

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
                "portal.context.shell",
            ],
        },
    },
]

AUTH_USER_MODEL = "core.User"
LOGIN_URL = "/login"
CSRF_FAILURE_VIEW = "portal.views.errors.csrf_failure"
LOGIN_REDIRECT_URL = "/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
_PASSWORDS = "django.contrib.auth.password_validation"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"{_PASSWORDS}.UserAttributeSimilarityValidator"},
    {
        "NAME": f"{_PASSWORDS}.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": f"{_PASSWORDS}.CommonPasswordValidator"},
]

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": CACHE_REDIS_URL,
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        # A socket waits 5 s for a message; the client's own limit, also 5 s unless
        # told otherwise, would close every quiet page's socket.
        "CONFIG": {"hosts": [{"address": CHANNELS_REDIS_URL, "socket_timeout": 15}]},
    }
}

# A plan of many tiers is one form: 20 charges of 30 tiers have 2,000 boxes.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
FORMAT_MODULE_PATH = "aforo.formats"

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = DATA_DIR / "static"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
# Documents that can be made again (invoice PDFs) and exports.
MEDIA_ROOT = DATA_DIR / "media"

# Usage that is under way when a period ends still joins its invoice for this long.
INVOICE_GRACE_S = env.integer("AFORO_INVOICE_GRACE_S", 3_600)
INVOICE_DUE_DAYS = env.integer("AFORO_INVOICE_DUE_DAYS", 30)

# Whether webhooks may go to http:// and to private addresses: for tests, and for
# receivers in one's own network.
WEBHOOK_PRIVATE = env.flag("AFORO_WEBHOOK_PRIVATE", False)
# Where alerts go out: smtp://user:password@host:587 (STARTTLS) or smtps://…:465.
# Without it no e-mail leaves this server.
SMTP_URL = env.text("AFORO_SMTP_URL")
_smtp = env.smtp(SMTP_URL)
EMAIL_HOST, EMAIL_PORT = _smtp.host, _smtp.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _smtp.user, _smtp.password
EMAIL_USE_SSL, EMAIL_USE_TLS = _smtp.is_tls, _smtp.starts_tls
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("AFORO_MAIL_FROM", "aforo@localhost")
# How links in e-mails and webhooks begin, such as https://aforo.example.com.
PUBLIC_URL = env.text("AFORO_PUBLIC_URL").rstrip("/")

# HTTPS is the proxy's; AFORO_HTTPS says that it is there.
HTTPS = env.flag("AFORO_HTTPS", False)
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_NAME = "__Host-aforo" if HTTPS else "aforo"
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "aforo_csrf"
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Aforo API",
    "DESCRIPTION": "Meter, price, guard and bill AI agents and MCP servers.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}
    },
    "filters": {"redact": {"()": "aforo.lib.crypto.RedactSecrets"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["redact"],
        }
    },
    "root": {"handlers": ["stderr"], "level": env.text("AFORO_LOG_LEVEL", "INFO")},
    "loggers": {"django.request": {"level": "ERROR"}},
}
