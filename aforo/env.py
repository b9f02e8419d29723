"""Read settings from the environment; a bad value is an error, never a default."""

from __future__ import annotations

import os
import urllib.parse
from typing import Any, NamedTuple


class BadSetting(ValueError):
    """An environment variable holds a value that cannot be used."""


def text(name: str, default: str = "") -> str:
    """Return the variable's text, or the default when it is unset."""
    return os.environ.get(name, default)


def flag(name: str, default: bool) -> bool:
    """Return the variable as a boolean.

    Raises BadSetting when the text is neither yes nor no.
    """
    raw = os.environ.get(name)
    if raw is None or raw == "":
        return default
    lowered = raw.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise BadSetting(f"{name} must be yes or no; it is {raw!r}")


def integer(name: str, default: int) -> int:
    """Return the variable as an integer, or raise BadSetting."""
    raw = os.environ.get(name)
    if raw is None or raw == "":
        return default
    try:
        return int(raw)
    except ValueError as error:
        raise BadSetting(f"{name} must be a whole number; it is {raw!r}") from error


def postgres(url: str, role: str) -> dict[str, Any]:
    """Turn a postgres:// URL into a Django database, entered as one role.

    The login is the owner of the schema; `role` is taken on as the connection
    opens, so web processes are held by row-level security and workers are not
    (see docs/decisions/0002-database-roles.md).
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise BadSetting(
            f"DATABASE_URL must start with postgres://; got {parts.scheme!r}"
        )
    query = dict(urllib.parse.parse_qsl(parts.query))
    options: dict[str, Any] = {"prepare_threshold": 5}
    # A worker's process does one thing at a time: it keeps one connection, with its
    # prepared statements, from task to task.
    alone = role == "aforo_worker"
    if not alone:
        # The pool's pauses between attempts double up to reconnect_timeout; at its
        # default of five minutes a server that is back is ignored as long as it was
        # away.
        options["pool"] = {
            "min_size": 1,
            "max_size": 12,
            "timeout": 10,
            "reconnect_timeout": 10,
        }
    # Plans of the moment: one that was kept since the tables were small reads all of
    # them once they have grown, until statistics are gathered.
    options["options"] = "-c plan_cache_mode=force_custom_plan"
    if role:
        options["options"] += f" -c role={role}"
    host = query.pop("host", "") or urllib.parse.unquote(parts.hostname or "")
    options.update(query)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": urllib.parse.unquote(parts.path.lstrip("/")),
        "USER": urllib.parse.unquote(parts.username or ""),
        "PASSWORD": urllib.parse.unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 600 if alone else 0,  # 0 is required by the pool.
        "CONN_HEALTH_CHECKS": alone,
        "OPTIONS": options,
    }


class Smtp(NamedTuple):
    """A mail server."""

    host: str
    port: int
    user: str
    password: str
    is_tls: bool
    starts_tls: bool


def smtp(url: str) -> Smtp:
    """Read an smtp:// or smtps:// URL; without one nothing answers there.

    smtp goes on with STARTTLS unless the host is this machine.
    """
    parts = urllib.parse.urlsplit(url or "smtp://localhost:1")
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise BadSetting(f"AFORO_SMTP_URL must be smtp://host; got {parts.scheme!r}")
    secure = parts.scheme == "smtps"
    here = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    return Smtp(
        host=parts.hostname,
        port=parts.port or (465 if secure else 587),
        user=urllib.parse.unquote(parts.username or ""),
        password=urllib.parse.unquote(parts.password or ""),
        is_tls=secure,
        starts_tls=not secure and not here,
    )
