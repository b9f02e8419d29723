"""What doors' files say before the worker has stored them; see guard.journal."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

FILES_MAX: Final = 2_000
_decode = msgspec.json.Decoder().decode


def waiting_degraded(folder: Path, tenant_id: str) -> int:
    """Return how many degraded passes of a tenant wait in the spool to be stored.

    For pages: while Redis is away nobody collects. The newest files are read.
    """
    found = 0
    try:
        paths = sorted(folder.iterdir())[-FILES_MAX:]
    except OSError:
        return 0
    for path in paths:
        try:
            lines = path.read_bytes().splitlines()
        except OSError:
            continue  # Stored and removed, or closed under another name, just now.
        for line in lines:
            if b'"minute":' in line and b'"degraded":' in line:
                counted = _decode(line)
                if counted.get("tenant") == tenant_id:
                    found += counted["degraded"]
    return found
