"""Say in words what is wrong with this installation."""

from __future__ import annotations

import datetime as dt
import http.client
import shutil
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.core.management.base import BaseCommand

from aforo.core.models import JobSlot
from aforo.embedded import state
from aforo.lib import clock
from aforo.management.commands.prepare import pending_migrations
from guard import skew as skews
from metering import enrichment

DISK_FREE_BYTES_MIN = 1_000_000_000
POSTGRES_MIN = 180_000
BEAT_AGE_S_MAX = 60
SECRET_LENGTH_MIN = 32


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, and whether it is as it should be."""

    ok: bool
    about: str
    text: str


class Command(BaseCommand):
    """Look at every part; exit code 1 when anything is wrong."""

    help = "Check database, Redis, worker, clock, disk and settings, in words."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Print a line per finding."""
        problems = 0
        for finding in examine():
            problems += not finding.ok
            mark = "ok     " if finding.ok else "PROBLEM"
            self.stdout.write(f"{mark}  {finding.about:<9} {finding.text}")
        if problems:
            self.stdout.write(f"{problems} to put right.")
            raise SystemExit(1)


def examine() -> Iterator[Finding]:
    """Yield everything that can be found out; what hangs on a broken part is left."""
    yield secret_key(settings.SECRET_KEY)
    yield disk(shutil.disk_usage(_data_disk()).free)
    yield from web()
    database_ok = True
    for finding in database():
        database_ok &= finding.ok
        yield finding
    migrated = False
    if database_ok:
        finding = migrations()
        migrated = finding.ok
        yield finding
    broken = False
    for name, url in (
        ("guard", settings.GUARD_REDIS_URL),
        ("broker", settings.BROKER_URL),
    ):
        for finding in redis_server(name, url):
            broken |= not finding.ok
            yield finding
    if broken:
        return
    if database_ok:
        yield clocks()
    yield worker()
    yield memory()
    if migrated:
        yield beat(last_beat())


def memory() -> Finding:
    """Say how often rating had what it must know of customers in memory, today."""
    store = redis.Redis.from_url(settings.TOPICS_REDIS_URL, socket_timeout=5)
    try:
        hits, misses = enrichment.figures(store, clock.now().date())
    except redis.RedisError as error:
        return Finding(False, "rating", f"The figures of today do not come: {error}")
    finally:
        store.close()
    total = hits + misses
    if not total:
        return Finding(True, "rating", "nothing was rated today")
    text = f"{hits / total:.1%} of {total:,} look-ups of customers came from memory"
    return Finding(True, "rating", f"{text} today")


def _data_disk() -> Path:
    """Return a folder on the disk where the data are, or will be."""
    found: Path = settings.DATA_DIR
    return found if found.exists() else Path(settings.BASE_DIR)


def secret_key(key: str) -> Finding:
    """Judge the key that signs sessions."""
    if key == "unset":
        text = "There is no secret key: set AFORO_SECRET_KEY (`make up` draws one)."
        return Finding(False, "secret", text)
    if len(key) < SECRET_LENGTH_MIN:
        text = f"AFORO_SECRET_KEY has {len(key)} characters; use {SECRET_LENGTH_MIN}."
        return Finding(False, "secret", text)
    return Finding(True, "secret", "the secret key is set")


def disk(free: int) -> Finding:
    """Judge the room on the disk: a full one stops Postgres."""
    text = f"{free / 1e9:.1f} GB free"
    if free < DISK_FREE_BYTES_MIN:
        return Finding(False, "disk", f"Only {text}; keep at least 1 GB.")
    return Finding(True, "disk", text)


def web() -> Iterator[Finding]:
    """Yield whether the web server that the run file names answers."""
    url = state.read_run(settings.DATA_DIR).get("web_url", "")
    if not url:
        return
    parts = urllib.parse.urlsplit(url)
    link = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        link.request("GET", "/healthz")
        status = link.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        text = f"{url} does not answer ({error}): see logs/web.log, or `make up`."
        yield Finding(False, "web", text)
        return
    finally:
        link.close()
    if status >= 500:
        yield Finding(False, "web", f"{url}/healthz answers {status}.")
    else:
        yield Finding(True, "web", f"{url} answers")


def database() -> Iterator[Finding]:
    """Yield what is wrong with Postgres and with our rights in it."""
    if not settings.DATABASE_URL:
        text = "There is no database: run `make up`, or set DATABASE_URL."
        yield Finding(False, "database", text)
        return
    try:
        # Not through the pool, which tries for long and keeps the reason to itself.
        with psycopg.connect(settings.DATABASE_URL, connect_timeout=5) as link:
            row = link.execute(
                "SELECT session_user, current_setting('server_version_num')::int,"
                " current_setting('server_version'),"
                " current_setting('synchronous_commit'), current_setting('fsync'),"
                " (SELECT bool_or(rolsuper) FROM pg_roles"
                "   WHERE rolname IN (session_user, current_user))"
            ).fetchone()
    except psycopg.Error as error:
        yield Finding(False, "database", f"{_unreachable()} {_first_line(error)}")
        return
    assert row is not None
    user, number, version, commit, fsync, is_super = row
    if number < POSTGRES_MIN:
        text = f"Postgres {version} is too old: 18 is needed."
        yield Finding(False, "database", text)
    if is_super:
        text = (
            f"The login {user} is a superuser, for whom row-level security does not"
            " hold. Give Aforo a login with CREATEDB and CREATEROLE, no more."
        )
        yield Finding(False, "database", text)
    if commit == "off" or fsync == "off":
        text = (
            f"synchronous_commit is {commit} and fsync is {fsync}: accepted events"
            " could be lost. Turn both on."
        )
        yield Finding(False, "database", text)
    yield Finding(True, "database", f"Postgres {version} answers as {user}")


def _unreachable() -> str:
    """Say what to do about a database that does not answer."""
    bundled = (
        state.read_run(settings.DATA_DIR).get("database_url") == settings.DATABASE_URL
    )
    if bundled and not state.is_held(settings.DATA_DIR):
        return "The bundled Postgres is not running: `make up` starts it."
    return "Postgres cannot be reached: check DATABASE_URL."


def _first_line(error: Exception) -> str:
    """Return the first line of an error; the rest repeats the address."""
    lines = str(error).strip().splitlines()
    return f"({lines[0]})" if lines else f"({type(error).__name__})"


def migrations() -> Finding:
    """Judge whether the tables are those of this code."""
    pending = pending_migrations()
    if pending:
        text = f"{pending} migrations are pending: run `manage.py prepare`."
        return Finding(False, "database", text)
    return Finding(True, "database", "no migration is pending")


def redis_server(name: str, url: str) -> Iterator[Finding]:
    """Yield what is wrong with one Redis: it must keep all it was told."""
    about = "redis"
    try:
        with redis.Redis.from_url(url, socket_timeout=3, decode_responses=True) as link:
            link.ping()
            policy = link.config_get("maxmemory-policy").get("maxmemory-policy")
            kept = link.config_get("appendonly").get("appendonly")
            saves = link.config_get("save").get("save")
    except redis.ResponseError as error:
        # Managed servers refuse CONFIG.
        text = f"{name}: its settings cannot be read ({error}); it must be noeviction"
        yield Finding(True, about, f"{text} and persistent")
        return
    except redis.RedisError as error:
        text = f"Redis ({name}) cannot be reached: `make up`, or check REDIS_URL."
        yield Finding(False, about, f"{text} {_first_line(error)}")
        return
    if policy != "noeviction":
        text = (
            f"Redis ({name}) evicts keys ({policy}): set maxmemory-policy noeviction."
        )
        yield Finding(False, about, text)
    if kept != "yes" and not saves:
        text = f"Redis ({name}) forgets all at a restart: set appendonly yes."
        yield Finding(False, about, text)
    elif kept != "yes":
        text = f"Redis ({name}) only takes snapshots: set appendonly yes."
        yield Finding(False, about, text)
    yield Finding(True, about, f"{name} answers")


def clocks() -> Finding:
    """Judge the difference between Redis' clock, which limits go by, and Postgres'."""
    found = skews.measure()
    return skew(found.difference, found.took)


def skew(difference: dt.timedelta, took: dt.timedelta) -> Finding:
    """Judge a difference of clocks that took so long to read."""
    apart = max(abs(difference) - took, dt.timedelta(0)) / dt.timedelta(milliseconds=1)
    if apart > skews.SKEW_MAX / dt.timedelta(milliseconds=1):
        text = f"Redis and Postgres are {apart:.0f} ms apart: run NTP on both."
        return Finding(False, "clock", text)
    return Finding(True, "clock", f"Redis and Postgres are {apart:.0f} ms apart")


def worker() -> Finding:
    """Judge whether a Celery worker answers."""
    from aforo.celery import app  # Reads the broker's address as it is loaded.

    answers = app.control.ping(timeout=2)
    if not answers:
        text = "No worker answers: events are stored and not rated. `make up` runs one."
        return Finding(False, "worker", text)
    return Finding(True, "worker", f"{len(answers)} answers")


def last_beat() -> dt.datetime | None:
    """Return when scheduled work last reached a worker."""
    latest = JobSlot.objects.filter(job="beat").order_by("-slot").first()
    return latest.started_at if latest else None


def beat(last: dt.datetime | None) -> Finding:
    """Judge when scheduled work last reached a worker."""
    if last is None:
        text = "Beat has not run, so periods are not closed. `make up` runs it; its"
        return Finding(False, "beat", f"{text} first tick comes after 10 s.")
    age = (clock.now() - last).total_seconds()
    if age > BEAT_AGE_S_MAX:
        text = f"Beat's last tick is {age:.0f} s old: see logs/beat.log."
        return Finding(False, "beat", text)
    return Finding(True, "beat", f"last tick {age:.0f} s ago")
