"""The data folder: secrets, lock, run file, sockets, ownership."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aforo.embedded import state
from aforo.embedded.process import Account
from aforo.tests.people import NOBODY, needs_root
from tests import harness


@pytest.fixture
def folder() -> Iterator[Path]:
    with harness.short_folder() as made:
        yield made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_drawn_once_and_only_their_owner_may_read_them(folder: Path):
    home = state.open_home(folder)

    first = state.load_secrets(home)

    assert state.load_secrets(home) == first
    assert mode(folder / "secrets.json") == 0o600
    assert len({first.postgres_password, first.aforo_password, first.secret_key}) == 3
    assert min(map(len, (first.postgres_password, first.secret_key))) >= 43


def test_a_damaged_secrets_file_is_named(folder: Path):
    home = state.open_home(folder)
    (folder / "secrets.json").write_text('{"secret_key": "x"')

    with pytest.raises(state.LauncherError, match=r"secrets\.json is damaged"):
        state.load_secrets(home)


def test_the_run_file_is_private_and_keeps_keys_that_others_wrote(folder: Path):
    state.update_run(folder, demo_logins=[{"role": "finance"}])
    state.update_run(folder, ready=True)
    state.update_run(folder, ready=False)

    assert state.read_run(folder) == {
        "demo_logins": [{"role": "finance"}],
        "ready": False,
    }
    assert mode(folder / "run.json") == 0o600


def test_a_half_written_run_file_reads_as_none(folder: Path):
    (folder / "run.json").write_text('{"ready": tr')

    assert state.read_run(folder) == {}


def test_a_folder_is_held_by_one_supervisor_at_a_time(folder: Path):
    state.update_run(folder, web_url="http://127.0.0.1:8000", pids={"supervisor": 7})
    assert not state.is_held(folder)

    with state.locked(folder):
        assert state.is_held(folder)
        with (
            pytest.raises(state.AlreadyRunning, match=r"at http.*:8000 \(process 7\)"),
            state.locked(folder),
        ):
            raise AssertionError("entered twice")

    assert not state.is_held(folder)


def test_sockets_stay_in_the_folder_while_the_path_fits(folder: Path):
    assert state.open_home(folder).sockets == folder / "run"


def test_sockets_of_a_long_path_move_to_a_private_folder_of_their_own(folder: Path):
    folder.chmod(0o755)  # so that `nobody` could get there, whoever runs the test
    home = state.open_home(folder / ("long-" * 20))

    assert home.services == home.data
    assert home.sockets.parent == Path("/tmp")
    assert mode(home.sockets) == 0o700
    assert len(os.fsencode(home.sockets / ".s.PGSQL.5432")) < 104
    assert state.open_home(home.data) == home
    home.sockets.rmdir()


def test_a_socket_folder_that_somebody_else_put_there_is_refused(folder: Path):
    trap = folder / "trap"
    trap.symlink_to("/etc")

    with pytest.raises(state.LauncherError, match="not ours"):
        state.make_private(trap, None)


@needs_root
def test_a_folder_of_another_user_is_refused_in_words(folder: Path):
    closed = folder / "data"
    closed.mkdir()
    folder.chmod(0o755)
    # Everything is imported before the change of user: our Python may be in a folder
    # that the other cannot read.
    script = (
        "import sys, os; from pathlib import Path; from aforo.embedded import state;"
        "os.setgid(65534); os.setuid(65534); state.open_home(Path(sys.argv[1]))"
    )

    answer = subprocess.run(
        [sys.executable, "-c", script, str(closed)],
        cwd=harness.ROOT,
        capture_output=True,
        text=True,
    )

    assert answer.returncode == 1
    assert "belongs to user 0" in answer.stderr


@needs_root
def test_root_runs_the_services_as_the_owner_of_the_folder(folder: Path):
    owner = pwd.getpwnam("daemon")
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    home = state.open_home(folder)
    assert home.account == Account(owner.pw_uid, owner.pw_gid)

    state.load_secrets(home)
    state.hand_over(home)

    assert (folder / "secrets.json").stat().st_uid == owner.pw_uid


@needs_root
def test_root_runs_the_services_as_nobody_for_an_owner_without_a_name(folder: Path):
    """As in a container with a folder of its host."""
    folder.chmod(0o755)
    os.chown(folder, 54321, 54321)

    home = state.open_home(folder)

    assert home.account == NOBODY
    assert home.services == folder


@needs_root
def test_root_runs_the_services_as_nobody_in_a_folder_of_its_own(folder: Path):
    folder.chmod(0o755)

    assert state.open_home(folder).account == NOBODY
    assert mode(folder) == 0o711


@needs_root
def test_root_keeps_the_services_outside_of_a_closed_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(state, "OUTSIDE", folder / "outside")
    folder.chmod(0o711)
    closed = folder / "root"
    closed.mkdir(mode=0o700)

    home = state.open_home(closed / "data")

    assert home.services.parent == folder / "outside"
    assert state.can_enter(home.services, NOBODY)
    assert state.open_home(closed / "data") == home


def test_secrets_hold_nothing_else(folder: Path):
    state.load_secrets(state.open_home(folder))

    names = set(json.loads((folder / "secrets.json").read_text()))

    assert names == {"postgres_password", "aforo_password", "secret_key"}
