"""The bundled Postgres: made once, started as a unit, given its login and database."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from aforo.embedded import binaries
from aforo.embedded.process import Unit, end_left_over
from aforo.embedded.state import Home, LauncherError, Secrets, make_private

READY_S_MAX = 60  # recovery of a full max_wal_size takes seconds
STARTS_MAX = 8
LOGIN = "aforo"
DATABASE = "aforo"
# btree_gist: exclusion and temporal keys over scalars. The other is for operators.
EXTENSIONS = ("btree_gist", "pg_stat_statements")
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "shared_preload_libraries": "pg_stat_statements",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "synchronous_commit": "on",
    "fsync": "on",
}


def unit(home: Home, secrets: Secrets, settings: Mapping[str, str]) -> Unit:
    """Return Postgres ready to be started, making its folder the first time.

    `settings` overrides SETTINGS.
    """
    program = binaries.runnable(binaries.find_postgres(), home)
    data = home.services / "postgres"
    if not data.exists():
        _initialise(home, program, secrets)
    _check_version(data)
    pid_files = (data / "postmaster.pid", home.sockets / ".s.PGSQL.5432.lock")
    command = [str(program), "-D", str(data), "-k", str(home.sockets)]
    for name, value in {**SETTINGS, **settings}.items():
        command += ["-c", f"{name}={value}"]
    return Unit(
        name="postgres",
        command=command,
        log=home.logs / "postgres.log",
        env=_environment(),
        cwd=data,
        account=home.account,
        stop_signal=signal.SIGINT,  # fast: sessions are cut, files are closed
        stop_s=8.0,
        kill_signal=signal.SIGQUIT,  # at once, and the backends with it
        orphan_signal=signal.SIGINT,
        before=lambda: end_left_over(data, "postgres", pid_files, signal.SIGINT),
    )


def _environment() -> dict[str, str]:
    """Return a bare environment: PG* variables and locales of ours stay out."""
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


def _initialise(home: Home, program: Path, secrets: Secrets) -> None:
    """Make the cluster beside its place and move it there when it is whole."""
    fresh = home.services / "postgres.new"
    if fresh.exists():
        _remove(fresh)
    make_private(fresh, home.account)
    password = home.services / "postgres.pw"
    password.unlink(missing_ok=True)
    handle = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w") as out:
        out.write(secrets.postgres_password)
    if home.account:
        os.chown(password, home.account.uid, home.account.gid)
    command = [
        *(str(program.with_name("initdb")), "-D", str(fresh), "-U", "postgres"),
        *("--auth=scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--no-locale"),
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        "--data-checksums",
    ]
    try:
        answer = subprocess.run(  # noqa: S603 - our own command line
            command,
            capture_output=True,
            text=True,
            env=_environment(),
            cwd=fresh,
            user=home.account.uid if home.account else None,
            group=home.account.gid if home.account else None,
            extra_groups=[] if home.account else None,
            start_new_session=True,
        )
    finally:
        password.unlink()
    if answer.returncode:
        text = f"Postgres could not be set up: {answer.stderr.strip()}"
        if "user does not exist" in text:
            text += ". Give the user a name in /etc/passwd, or set DATABASE_URL."
        raise LauncherError(text)
    fresh.rename(home.services / "postgres")


def _remove(folder: Path) -> None:
    """Remove a cluster that was never finished."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    folder.rmdir()


def _check_version(data: Path) -> None:
    """Refuse a cluster of another major version in words."""
    found = (data / "PG_VERSION").read_text().strip()
    if found != str(binaries.POSTGRES_MAJOR):
        raise LauncherError(
            f"{data} was made by Postgres {found}; this is {binaries.POSTGRES_MAJOR}."
            " Move it with pg_upgrade, or choose another data folder."
        )


def wait_until_ready(
    home: Home, secrets: Secrets, pause: Callable[[float], None], unit: Unit
) -> None:
    """Return when Postgres takes connections.

    Raises LauncherError with the end of its log when it does not.
    """
    deadline = time.monotonic() + READY_S_MAX
    starts = 1
    while True:
        try:
            _connect(home, secrets, "postgres").close()
            return
        except psycopg.OperationalError as error:
            dead = not unit.alive and starts == STARTS_MAX
            if dead or time.monotonic() > deadline:
                raise LauncherError(
                    f"Postgres does not answer: {error}\n{unit.last_words()}"
                ) from error
        pause(0.1)
        if not unit.alive:
            # After a kill -9 the last backends still hold its memory: once more.
            pause(0.4)
            unit.start()
            starts += 1


def _connect(home: Home, secrets: Secrets, database: str) -> psycopg.Connection:
    """Return a superuser's connection: for setting up, never for the product."""
    return psycopg.connect(
        host=str(home.sockets),
        user="postgres",
        password=secrets.postgres_password,
        dbname=database,
        autocommit=True,
        connect_timeout=5,
    )


def provision(home: Home, secrets: Secrets) -> None:
    """Give the product its login, its database and the extensions it may not make.

    The login owns the schema and may make databases and roles; it is no superuser.
    """
    with _connect(home, secrets, "postgres") as link:
        login = sql.Identifier(LOGIN)
        if not _exists(link, "SELECT 1 FROM pg_roles WHERE rolname = %s", LOGIN):
            link.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD {}").format(
                    login, sql.Literal(secrets.aforo_password)
                )
            )
        has = "SELECT 1 FROM pg_database WHERE datname = %s"
        if not _exists(link, has, DATABASE):
            link.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(DATABASE), login
                )
            )
    # template1 too: a test database is made from it by the login.
    for database in ("template1", DATABASE):
        with _connect(home, secrets, database) as link:
            for extension in EXTENSIONS:
                link.execute(
                    sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(
                        sql.Identifier(extension)
                    )
                )


def _exists(link: psycopg.Connection, query: str, name: str) -> bool:
    return link.execute(query.encode(), [name]).fetchone() is not None


def url(home: Home, secrets: Secrets) -> str:
    """Return the DATABASE_URL of the product's login."""
    return _url(LOGIN, secrets.aforo_password, DATABASE, home)


def superuser_url(home: Home, secrets: Secrets) -> str:
    """Return the URL of the superuser, for the tests that need one."""
    return _url("postgres", secrets.postgres_password, "postgres", home)


def _url(user: str, password: str, database: str, home: Home) -> str:
    folder = urllib.parse.quote(str(home.sockets), safe="/")
    return f"postgres://{user}:{password}@/{database}?host={folder}"
