"""How the back office writes dates and times."""

from __future__ import annotations
