"""How far a replay has come, kept in the data folder so that it can go on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from aforo.embedded.state import write_private

FILE = "demo-state.json"


@dataclass(slots=True)
class State:
    """The progress of one tenant's demo."""

    path: Path
    tenant: str  # Public id; the state of another tenant is not used.
    chunks_done: int = 0  # Of the history, from its beginning.
    # Places in the history of calls that the guard refused: they were never made.
    denied: set[int] = field(default_factory=set)
    laps: int = 0  # Of live traffic, begun.
    lap_ms: int = 0  # How far live traffic is in the recording.

    def save(self) -> None:
        """Write the file."""
        content = {
            "tenant": self.tenant,
            "chunks_done": self.chunks_done,
            "denied": sorted(self.denied),
            "laps": self.laps,
            "lap_ms": self.lap_ms,
        }
        write_private(self.path, json.dumps(content))


def load(data_dir: Path, tenant: str) -> State:
    """Return the progress of a tenant's demo, none when the file has none."""
    path = data_dir / FILE
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return State(path, tenant)
    if found["tenant"] != tenant:
        return State(path, tenant)
    return State(
        path,
        tenant,
        found["chunks_done"],
        set(found["denied"]),
        found["laps"],
        found["lap_ms"],
    )
