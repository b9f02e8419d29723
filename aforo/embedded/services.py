"""The services of one data folder: those that the environment does not name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aforo.embedded import postgres, state, valkey
from aforo.embedded.process import Unit, pause, rotate


@dataclass(slots=True)
class Services:
    """Postgres and Redis of one data folder, as child processes of ours.

    The `…_settings` override what the bundled servers are started with.
    """

    home: state.Home
    secrets: state.Secrets
    postgres_settings: Mapping[str, str] = field(default_factory=dict)
    redis_settings: Mapping[str, str] = field(default_factory=dict)
    units: list[Unit] = field(default_factory=list)

    def start(self, wait: Callable[[float], None] = pause) -> None:
        """Start what DATABASE_URL and REDIS_URL do not name, and wait for it.

        Raises LauncherError; `wait` may raise to interrupt.
        """
        if not os.environ.get("DATABASE_URL"):
            unit = postgres.unit(self.home, self.secrets, self.postgres_settings)
            self._spawn(unit)
            postgres.wait_until_ready(self.home, self.secrets, wait, unit)
            postgres.provision(self.home, self.secrets)
        if not os.environ.get("REDIS_URL"):
            unit = valkey.unit(self.home, self.redis_settings)
            self._spawn(unit)
            valkey.wait_until_ready(self.home, wait, unit)

    def _spawn(self, unit: Unit) -> None:
        if unit.log:
            rotate(unit.log)
        self.units.append(unit)
        unit.start()

    @property
    def database_url(self) -> str:
        """The URL of the bundled Postgres, empty when another server is used."""
        started = any(unit.name == "postgres" for unit in self.units)
        return postgres.url(self.home, self.secrets) if started else ""

    @property
    def superuser_url(self) -> str:
        """The URL of the bundled Postgres' superuser, for tests that need one."""
        return postgres.superuser_url(self.home, self.secrets)

    @property
    def redis_url(self) -> str:
        """The URL of the bundled Redis, empty when another server is used."""
        started = any(unit.name == "redis" for unit in self.units)
        return valkey.url(self.home) if started else ""

    def facts(self) -> dict[str, Any]:
        """Return what settings.py reads from the run file."""
        return {
            "database_url": self.database_url,
            "redis_url": self.redis_url,
            "secret_key": self.secrets.secret_key,
        }

    def stop(self) -> None:
        """Stop the services, the last one started first."""
        for unit in reversed(self.units):
            unit.stop()


def open_services(
    data_dir: Path,
    *,
    postgres_settings: Mapping[str, str] | None = None,
    redis_settings: Mapping[str, str] | None = None,
) -> Services:
    """Return the services of a data folder, not yet started."""
    home = state.open_home(data_dir)
    return Services(
        home, state.load_secrets(home), postgres_settings or {}, redis_settings or {}
    )
