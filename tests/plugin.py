"""Starts a real Postgres and Redis for the whole run, before Django is set up.

Loaded by `-p tests.plugin` in pyproject.toml: pytest-django reads the settings so
early that a conftest would be too late. With pytest-xdist the first process owns the
services and every worker gets a database and a block of Redis numbers of its own.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import psycopg
import pytest

from aforo.embedded import services

REDIS_DBS_PER_WORKER = 16
REDIS_DBS = 256
_started: list[tuple[services.Services, Path]] = []


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Give this process its services before pytest-django loads the settings."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker:
        number = int(worker.removeprefix("gw")) + 1
        os.environ["AFORO_REDIS_DB_OFFSET"] = str(number * REDIS_DBS_PER_WORKER)
        return
    # Never the servers of whoever runs the tests.
    os.environ.pop("DATABASE_URL", None)
    os.environ.pop("REDIS_URL", None)
    # A folder of its own, short enough for sockets and open to `nobody`: two runs at
    # a time never meet.
    folder = Path(tempfile.mkdtemp(prefix="aforo-test-"))
    # This cluster never outlives the run, so it need not survive a crash; the tests
    # of crashes start instances of their own with the real settings.
    quick = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
    running = services.open_services(
        folder,
        postgres_settings=quick,
        redis_settings={"databases": str(REDIS_DBS), "enable-debug-command": "local"},
    )
    _started.append((running, folder))
    try:
        running.start()
        _allow_flush(running)
    except BaseException:
        _stop()
        raise
    (folder / "static").mkdir()  # WhiteNoise warns when it is missing.
    os.environ["AFORO_DATA_DIR"] = str(folder)
    os.environ["AFORO_SECRET_KEY"] = running.secrets.secret_key
    os.environ["AFORO_TEST_SUPERUSER_URL"] = running.superuser_url
    os.environ["DATABASE_URL"] = running.database_url
    os.environ["REDIS_URL"] = running.redis_url


def _allow_flush(running: services.Services) -> None:
    """Let the login of this cluster empty append-only tables between tests.

    Only a superuser may give this right; an installation has nobody who holds it.
    """
    with psycopg.connect(running.superuser_url, autocommit=True) as link:
        link.execute("GRANT SET ON PARAMETER session_replication_role TO aforo")


def _stop() -> None:
    while _started:
        running, folder = _started.pop()
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


def pytest_unconfigure() -> None:
    """Stop the services that this process started."""
    _stop()
