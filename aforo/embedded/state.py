"""The data folder: who may enter it, its secrets, its lock and its run file."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import secrets
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aforo.embedded.process import Account

# sun_path holds 108 bytes with its NUL; the longest name in the folder is
# Postgres' ".s.PGSQL.5432", and macOS allows 104.
SOCKET_FOLDER_BYTES_MAX = 85
OUTSIDE = Path("/var/lib/aforo")


class LauncherError(RuntimeError):
    """Something that the person at the terminal can put right; the text says how."""


class AlreadyRunning(LauncherError):
    """Another supervisor holds the data folder."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where one instance keeps its things, and as whom its services run."""

    data: Path  # run.json, secrets.json, logs, static and media files
    services: Path  # the folders of Postgres and Redis; `data` unless out of reach
    sockets: Path
    account: Account | None  # None: as ourselves

    @property
    def logs(self) -> Path:
        """The folder of the logs."""
        return self.data / "logs"


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is drawn once for an instance and kept in a file only its owner reads."""

    postgres_password: str
    aforo_password: str
    secret_key: str


def can_enter(folder: Path, account: Account) -> bool:
    """Say whether the account may pass through a folder and all above it."""
    for part in (folder, *folder.parents):
        found = part.stat()
        if found.st_uid == account.uid:
            allowed = found.st_mode & stat.S_IXUSR
        elif found.st_gid == account.gid:
            allowed = found.st_mode & stat.S_IXGRP
        else:
            allowed = found.st_mode & stat.S_IXOTH
        if not allowed:
            return False
    return True


def service_account(data: Path) -> Account | None:
    """Choose who runs the services: Postgres refuses root.

    The owner of the data folder if that is a user other than root, else `nobody`.
    """
    if os.geteuid() != 0:
        return None
    found = data.stat()
    # A container may know nothing of the owner of a mounted folder; initdb asks.
    if found.st_uid != 0 and _is_known(found.st_uid):
        return Account(found.st_uid, found.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise LauncherError(
            "Postgres refuses root, and this machine has no user `nobody` to run it:"
            " run as a normal user, or set DATABASE_URL to a server."
        ) from error
    return Account(nobody.pw_uid, nobody.pw_gid)


def _is_known(uid: int) -> bool:
    """Say whether the machine has a name for a user."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def open_home(data_dir: Path) -> Home:
    """Make the folders of an instance, or find them.

    Raises LauncherError when the data folder belongs to somebody else.
    """
    data = data_dir.resolve()
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LauncherError(
            f"The data folder {data} cannot be made: {error}."
        ) from error
    if os.geteuid() not in {0, data.stat().st_uid}:
        owner = data.stat().st_uid
        raise LauncherError(
            f"The data folder {data} belongs to user {owner}, and you are user"
            f" {os.geteuid()}. Run as that user, or set AFORO_DATA_DIR to a folder"
            " of your own."
        )
    account = service_account(data)
    data.chmod(0o711 if account else 0o700)
    (data / "logs").mkdir(exist_ok=True, mode=0o700)
    services = data
    if account and not can_enter(data, account):
        # Below a closed folder such as /root: Postgres could never get there.
        services = OUTSIDE / _short_hash(data)
        services.mkdir(parents=True, exist_ok=True, mode=0o711)
        services.chmod(0o711)
    return Home(data, services, _socket_folder(data, services, account), account)


def _short_hash(data: Path) -> str:
    return hashlib.sha256(os.fsencode(data)).hexdigest()[:12]


def _socket_folder(data: Path, services: Path, account: Account | None) -> Path:
    """Return a folder short enough for unix sockets, that only the services own."""
    folder = services / "run"
    if len(os.fsencode(folder)) > SOCKET_FOLDER_BYTES_MAX:
        folder = Path("/tmp") / f"aforo-{_short_hash(data)}"  # noqa: S108 - checked below
    make_private(folder, account)
    return folder


def make_private(folder: Path, account: Account | None) -> None:
    """Make a 0700 folder of the account's.

    Raises LauncherError when something else is there: anybody may write to /tmp.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if account:
            os.chown(folder, account.uid, account.gid)
    found = folder.lstat()
    owner = account.uid if account else os.geteuid()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {owner, os.geteuid()}:
        raise LauncherError(f"{folder} exists and is not ours; remove it.")
    if found.st_uid != owner and account:
        os.chown(folder, account.uid, account.gid)
    folder.chmod(0o700)


def write_private(path: Path, text: str) -> None:
    """Replace a file at once by one that only its owner may read."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with open(handle, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    os.replace(name, path)


def load_secrets(home: Home) -> Secrets:
    """Read the instance's secrets, drawing them the first time."""
    path = home.data / "secrets.json"
    try:
        return Secrets(**json.loads(path.read_text()))
    except FileNotFoundError:
        drawn = Secrets(*(secrets.token_urlsafe(32) for _ in range(3)))
    except (TypeError, ValueError) as error:
        raise LauncherError(f"{path} is damaged: {error}.") from error
    fields = {name: getattr(drawn, name) for name in Secrets.__slots__}
    write_private(path, json.dumps(fields, indent=1))
    return drawn


def read_run(data: Path) -> dict[str, Any]:
    """Return the run file of a data folder, empty when there is none."""
    try:
        loaded: dict[str, Any] = json.loads((data / "run.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return loaded


def update_run(data: Path, **changes: Any) -> None:
    """Merge keys into the run file, also while another process does the same."""
    with open(data / "run.lock", "a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        write_private(data / "run.json", json.dumps(read_run(data) | changes, indent=1))


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the data folder; the kernel lets go of it even after a kill -9.

    Raises AlreadyRunning when another process holds it.
    """
    with open(data / "lock", "a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            run = read_run(data)
            where = f" at {run['web_url']}" if run.get("web_url") else ""
            pid = run.get("pids", {}).get("supervisor", "unknown")
            raise AlreadyRunning(
                f"Aforo already runs in {data}{where} (process {pid})."
            ) from error
        yield


def is_held(data: Path) -> bool:
    """Say whether a supervisor runs in the data folder."""
    if not (data / "lock").exists():
        return False
    try:
        with locked(data):
            return False
    except AlreadyRunning:
        return True


def hand_over(home: Home) -> None:
    """Give what root made in somebody's data folder to that somebody."""
    found = home.data.stat()
    if os.geteuid() != 0 or found.st_uid == 0:
        return
    for path in home.data.rglob("*"):
        if path.lstat().st_uid == 0:
            os.chown(path, found.st_uid, found.st_gid, follow_symlinks=False)
