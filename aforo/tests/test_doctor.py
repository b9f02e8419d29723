"""`manage.py doctor` names what is wrong, in words, and says so by its exit code."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from psycopg import sql

from aforo.core.tasks import beat
from aforo.embedded import state
from aforo.lib import clock
from aforo.management.commands import doctor
from tests import harness

NOWHERE = "postgres://aforo:guess@/aforo?host=/nowhere"


def run_doctor(**env: str) -> tuple[int, str]:
    """Run the command as somebody at a terminal would, in an empty data folder."""
    with harness.short_folder() as folder:
        instance = harness.Instance(folder)
        answer = instance.manage("doctor", **env)
        return answer.returncode, answer.stdout + answer.stderr


def words(findings: Iterator[doctor.Finding]) -> str:
    """Return what a doctor would print of problems only."""
    return " ".join(finding.text for finding in findings if not finding.ok)


def test_an_installation_where_nothing_was_started_says_what_to_do():
    code, printed = run_doctor()

    assert code == 1
    assert "There is no database: run `make up`, or set DATABASE_URL." in printed
    assert "There is no secret key" in printed
    assert "Redis (guard) cannot be reached" in printed
    assert "Traceback" not in printed


def test_a_bundled_postgres_that_does_not_run_is_told_from_a_wrong_address():
    with harness.short_folder() as folder:
        state.update_run(folder, database_url=NOWHERE, secret_key="k" * 43)

        printed = harness.Instance(folder).manage("doctor").stdout

    assert "The bundled Postgres is not running: `make up` starts it." in printed
    assert "secret key is set" in printed

    _, elsewhere = run_doctor(DATABASE_URL=NOWHERE)
    assert "Postgres cannot be reached: check DATABASE_URL." in elsewhere


def test_a_superuser_is_refused(superuser_url: str):
    code, printed = run_doctor(DATABASE_URL=superuser_url)

    assert code == 1
    assert "The login postgres is a superuser" in printed


def test_pending_migrations_are_counted():
    url = os.environ["DATABASE_URL"]
    name = f"doctor_{os.getpid()}"
    quoted = sql.Identifier(name)
    with psycopg.connect(url, autocommit=True) as link:
        link.execute(sql.SQL("CREATE DATABASE {}").format(quoted))
        link.execute(
            sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(quoted)
        )
        try:
            _, printed = run_doctor(DATABASE_URL=url.replace("/aforo?", f"/{name}?"))
        finally:
            link.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(quoted))

    assert "accepted events could be lost" in printed
    assert "synchronous_commit is off" in printed


@pytest.mark.django_db
def test_a_database_that_is_up_to_date_has_no_pending_migration():
    assert doctor.migrations() == doctor.Finding(
        True, "database", "no migration is pending"
    )


@pytest.fixture
def lax_redis() -> Iterator[str]:
    """The run's Redis, told to evict and to forget for as long as the test lasts."""
    url = os.environ["REDIS_URL"]
    with redis.Redis.from_url(url) as link:
        link.config_set("maxmemory-policy", "allkeys-lru")
        link.config_set("appendonly", "no")
        yield url
        link.config_set("maxmemory-policy", "noeviction")
        link.config_set("appendonly", "yes")


def test_a_redis_that_evicts_and_forgets_is_named(lax_redis: str):
    said = words(doctor.redis_server("guard", lax_redis))

    assert "Redis (guard) evicts keys (allkeys-lru)" in said
    assert "Redis (guard) forgets all at a restart: set appendonly yes." in said


def test_a_redis_that_keeps_everything_is_well():
    findings = list(doctor.redis_server("broker", os.environ["REDIS_URL"]))

    assert findings == [doctor.Finding(True, "redis", "broker answers")]


def test_a_redis_that_is_not_there_is_named():
    url = f"unix://{tempfile.gettempdir()}/no-such.sock"

    said = words(doctor.redis_server("broker", url))

    assert said.startswith("Redis (broker) cannot be reached: `make up`, or check")


@pytest.mark.django_db
def test_clocks_of_one_machine_agree():
    assert doctor.clocks().ok


@pytest.mark.parametrize(
    ("apart_ms", "took_ms", "ok"),
    [(0, 0, True), (500, 0, True), (501, 0, False), (-501, 0, False), (700, 300, True)],
)
def test_clocks_may_differ_by_half_a_second_beyond_what_reading_took(
    apart_ms: int, took_ms: int, ok: bool
):
    finding = doctor.skew(
        dt.timedelta(milliseconds=apart_ms), dt.timedelta(milliseconds=took_ms)
    )

    assert finding.ok == ok


def test_a_worker_that_does_not_answer_is_named():
    assert doctor.worker().text.startswith("No worker answers: events are stored")


def test_a_beat_that_never_ran_or_stopped_is_named():
    stopped = clock.now() - dt.timedelta(seconds=3600)

    assert doctor.beat(None).text.startswith("Beat has not run")
    assert "Beat's last tick is 3600 s old" in doctor.beat(stopped).text
    assert doctor.beat(clock.now()).ok


@pytest.mark.parametrize(("free", "ok"), [(999_999_999, False), (1_000_000_000, True)])
def test_a_disk_with_less_than_a_gigabyte_is_a_problem(free: int, ok: bool):
    assert doctor.disk(free).ok == ok


@pytest.mark.parametrize(
    ("key", "says"), [("unset", "no secret key"), ("short", "has 5 characters")]
)
def test_a_missing_or_short_secret_key_is_a_problem(key: str, says: str):
    finding = doctor.secret_key(key)

    assert not finding.ok
    assert says in finding.text


def test_a_web_server_that_does_not_answer_is_named(tmp_path: Path, settings):
    settings.DATA_DIR = tmp_path
    state.update_run(tmp_path, web_url="http://127.0.0.1:1")

    assert "http://127.0.0.1:1 does not answer" in words(doctor.web())


@pytest.mark.crash
def test_a_running_instance_is_well_and_its_broken_parts_are_named(
    instance: harness.Instance,
):
    deadline = time.monotonic() + 90  # Beat's first tick takes 10 s.
    answer = instance.manage("doctor")
    while answer.returncode and time.monotonic() < deadline:
        answer = instance.manage("doctor")
    assert answer.returncode == 0, answer.stdout + instance.logs()
    assert "PROBLEM" not in answer.stdout
    assert f"{instance.url} answers" in answer.stdout

    worker = psutil.Process(instance.pids["worker"])
    worker.suspend()
    answer = instance.manage("doctor")
    worker.resume()

    assert answer.returncode == 1
    problems = [line for line in answer.stdout.splitlines() if "PROBLEM" in line]
    assert len(problems) == 1, problems
    assert "No worker answers" in problems[0]


@pytest.mark.django_db(transaction=True)
def test_beat_is_read_from_where_its_task_leaves_its_sign():
    assert doctor.last_beat() is None

    beat()

    assert doctor.beat(doctor.last_beat()).ok
