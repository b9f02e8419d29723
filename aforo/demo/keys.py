"""The demo's secrets, kept in a file that only its owner may read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aforo.core import service_keys
from aforo.core.models import ServiceKey, Tenant, User
from aforo.embedded.state import write_private
from aforo.lib import crypto

FILE = "demo-keys.json"


@dataclass(slots=True)
class Keyring:
    """The service key that the demo calls with, and the secrets of its agents."""

    path: Path
    service_key: str = ""
    agents: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add_agent(self, external_id: str, client_id: str | None, secret: str) -> None:
        """Keep the secret of an app or agent: it is shown nowhere else again."""
        self.agents[external_id] = {"client_id": client_id, "secret": secret}

    def ensure_service_key(self, tenant: Tenant, actor: User | None) -> None:
        """Have a live key of the tenant, a new one when the file has none."""
        known = ServiceKey.objects.filter(
            tenant=tenant, digest=crypto.hash_key(self.service_key)
        ).first()
        if known is not None and known.is_live:
            return
        _, self.service_key = service_keys.issue(
            tenant=tenant,
            name="Demo traffic",
            scopes=["ingest", "check"],
            actor=actor,
        )
        self.save()

    def save(self) -> None:
        """Write the file."""
        content = {"service_key": self.service_key, "agents": self.agents}
        write_private(self.path, json.dumps(content, indent=1))


def open_keyring(data_dir: Path) -> Keyring:
    """Return the keyring of a data folder, empty when there is none."""
    path = data_dir / FILE
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return Keyring(path)
    return Keyring(path, found["service_key"], found["agents"])
