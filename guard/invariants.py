"""The laws of edge state: what Redis holds is what Postgres says."""

from __future__ import annotations

from aforo.lib.invariants import Invariant

INVARIANTS: list[Invariant] = []
