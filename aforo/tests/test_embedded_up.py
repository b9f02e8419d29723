"""`manage.py up`: one process tree that comes up, heals, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from psycopg import sql

from aforo.embedded.process import LOGS_KEPT, rotate
from aforo.tests.people import as_normal_user
from tests import harness

pytestmark = pytest.mark.crash
PARTS = {"supervisor", "postgres", "redis", "web", "worker", "beat"}


@pytest.fixture(scope="module")
def shared() -> Iterator[harness.Instance]:
    """One instance for the tests that leave it running."""
    with harness.short_folder() as folder:
        running = harness.Instance(
            folder, args=("--no-demo", "--postgres", "work_mem=7MB")
        )
        running.start()
        yield running
        running.stop()


def answers(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/healthz", timeout=10) as answer:
        return bool(answer.status == 200)


def wait_for_pool(instance: harness.Instance) -> None:
    """Return when the worker has forked the processes that do its work."""
    deadline = time.monotonic() + 30
    while "worker" not in instance.pids or len(instance.tree("worker")) < 2:
        assert time.monotonic() < deadline, instance.logs()
        time.sleep(0.1)


def test_everything_runs_and_says_where(shared: harness.Instance):
    assert set(shared.pids) == PARTS
    assert answers(shared.url)
    printed = shared.output.read_text()
    assert f"Open {shared.url}" in printed
    assert all(f"  {name}" in printed for name in PARTS - {"supervisor"})


def test_a_setting_of_postgres_is_passed_on(shared: harness.Instance):
    with psycopg.connect(shared.database_url) as link:
        assert link.execute("SHOW work_mem").fetchone() == ("7MB",)


def test_only_this_machine_can_reach_it(shared: harness.Instance):
    listening = {
        link.laddr.ip
        for process in shared.tree()
        for link in process.net_connections(kind="inet")
        if link.status == psutil.CONN_LISTEN
    }

    assert listening == {"127.0.0.1"}


@pytest.mark.parametrize("name", sorted(PARTS - {"supervisor"}))
def test_a_part_that_is_killed_is_started_again(shared: harness.Instance, name: str):
    old = shared.kill9(name)

    shared.wait_for_restart(name, old)

    assert set(shared.pids) == PARTS
    wait_until_all_answer(shared)


def wait_until_all_answer(instance: harness.Instance) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(instance.database_url).close()
            redis.Redis.from_url(instance.redis_url).ping()
            assert answers(instance.url)
            return
        except (OSError, psycopg.OperationalError, redis.RedisError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_a_second_start_in_the_same_folder_is_refused(shared: harness.Instance):
    answer = shared.manage("up", "--data-dir", str(shared.data_dir))

    assert answer.returncode == 1
    assert f"already runs in {shared.data_dir} at {shared.url}" in answer.stderr
    assert answers(shared.url)


def test_a_port_that_is_taken_is_refused_in_words():
    with socket.socket() as taken, harness.short_folder() as folder:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        second = harness.Instance(folder, args=("--no-demo", "--port", port))

        with pytest.raises(RuntimeError, match=f"Port {port} is taken"):
            second.start()
        second.stop()


@pytest.mark.parametrize("setting", ["shared_buffers", "=1GB", "a b=1", "-c=1"])
def test_a_setting_that_is_none_is_refused_in_words(
    shared: harness.Instance, setting: str
):
    answer = shared.manage("up", f"--postgres={setting}")

    assert answer.returncode != 0
    assert f"“{setting}” is not NAME=VALUE, as in work_mem=16MB" in answer.stderr


def test_one_ctrl_c_stops_everything_and_the_data_is_there_at_the_next_start(
    instance: harness.Instance,
):
    tree = instance.tree()
    with psycopg.connect(instance.database_url) as link:
        link.execute("CREATE TABLE mark AS SELECT 7 AS n")

    assert instance.stop() == 0

    assert psutil.wait_procs(tree, timeout=1)[1] == []
    assert instance.run["ready"] is False
    assert instance.pids == {}
    # Postgres and Redis closed their files: nothing to recover.
    assert not (instance.data_dir / "postgres/postmaster.pid").exists()
    assert not (instance.data_dir / "redis/redis.pid").exists()

    instance.start()
    with psycopg.connect(instance.database_url) as link:
        assert link.execute("SELECT n FROM mark").fetchone() == (7,)


def test_a_second_ctrl_c_does_not_wait(
    instance: harness.Instance,
):
    tree = instance.tree()
    assert instance.process is not None
    os.kill(instance.pids["web"], signal.SIGSTOP)  # It will not drain.

    instance.process.send_signal(signal.SIGINT)
    started = time.monotonic()
    while "Stopping" not in instance.output.read_text():
        time.sleep(0.02)
    instance.process.send_signal(signal.SIGINT)
    instance.process.wait(timeout=20)

    # One request alone would have waited 5 s for the web server.
    assert time.monotonic() - started < 4.5
    assert psutil.wait_procs(tree, timeout=5)[1] == []


def test_kill_9_of_the_supervisor_leaves_no_process(
    instance: harness.Instance,
):
    wait_for_pool(instance)
    tree = instance.tree()

    psutil.Process(instance.pids["supervisor"]).kill()

    assert psutil.wait_procs(tree, timeout=20)[1] == []
    instance.start()
    assert answers(instance.url)


def test_kill_9_of_the_whole_tree_leaves_no_process_and_it_starts_again(
    instance: harness.Instance,
):
    wait_for_pool(instance)
    tree = instance.tree()

    instance.kill_tree()

    assert psutil.wait_procs(tree, timeout=5)[1] == []
    assert (instance.data_dir / "postgres/postmaster.pid").exists()
    assert instance.run["ready"] is True  # A lie of the dead.
    instance.start()
    assert answers(instance.url)


def test_servers_of_the_environment_are_used_and_not_started(superuser_url: str):
    url, redis_url = os.environ["DATABASE_URL"], os.environ["REDIS_URL"]
    name = f"external_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as link:
        link.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    theirs = {
        "DATABASE_URL": url.replace("/aforo?", f"/{name}?"),
        "REDIS_URL": redis_url,
        "AFORO_REDIS_DB_OFFSET": "200",
    }

    with harness.short_folder() as folder:
        instance = harness.Instance(folder, env=theirs)
        instance.start()
        try:
            assert set(instance.pids) == PARTS - {"postgres", "redis"}
            assert answers(instance.url)
            assert not (folder / "postgres").exists()
            assert (instance.database_url, instance.redis_url) == ("", "")
        finally:
            instance.stop()
    with psycopg.connect(superuser_url, autocommit=True) as link:
        link.execute(
            sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
        )


def test_a_normal_user_runs_it_in_a_folder_of_his_own():
    with harness.short_folder() as folder:
        options = as_normal_user(folder)
        instance = harness.Instance(folder, env={"HOME": str(folder)}, **options)
        instance.start()
        try:
            uid = options.get("user", os.geteuid())
            assert {p.uids().effective for p in instance.tree()} == {uid}
            assert answers(instance.url)
        finally:
            instance.stop()


def test_a_program_that_cannot_start_is_named_with_its_last_words():
    with harness.short_folder() as folder:
        broken = harness.Instance(folder, env={"AFORO_LOG_LEVEL": "NONSENSE"})

        with pytest.raises(RuntimeError, match="NONSENSE"):
            broken.start()

        assert broken.process is not None
        assert broken.process.returncode == 1
        broken.stop()


def test_logs_of_the_last_runs_are_kept(tmp_path: Path):
    log = tmp_path / "web.log"
    for run in range(LOGS_KEPT + 3):
        rotate(log)
        log.write_text(str(run))

    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {
        "web.log": "5",
        "web.1.log": "4",
        "web.2.log": "3",
        "web.3.log": "2",
    }


def test_python_that_is_too_old_is_named_by_make(tmp_path: Path):
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\n[ $1 = --version ] && echo Python 3.9.2\nexit 1\n")
    old.chmod(0o755)
    (tmp_path / "Makefile").write_bytes((harness.ROOT / "Makefile").read_bytes())

    answer = subprocess.run(
        ["make", f"PYTHON={old}", ".venv/.python"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert answer.returncode != 0
    assert "Python 3.11 or newer is needed" in answer.stderr
    assert "Python 3.9.2" in answer.stderr
    assert not (tmp_path / ".venv").exists()
