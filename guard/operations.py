"""What a check needs from outside: operations, their answers, and their faults."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from guard.engine import scripts


class StoreFault(Exception):
    """Redis cannot answer; kind says how (timeout, READONLY, …)."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class RecordFault(Exception):
    """Postgres cannot answer, or not in time."""


class Fields(msgspec.Struct, frozen=True, gc=False):
    """Operation: HMGET of a key. Answer: list of bytes or None."""

    key: str
    names: tuple[str, ...]


class Run(msgspec.Struct, frozen=True, gc=False):
    """Operation: a script. Answer: its reply."""

    call: scripts.Call


class Warm(msgspec.Struct, frozen=True, gc=False):
    """Operation: project one customer. Answer: whether the record has it."""

    tag: str
    digest: str  # that leads to the tenant, or '' when tenant_id does
    tenant_id: str


@dataclass(frozen=True, slots=True)
class Record:
    """Operation: read a customer from the record. Answer: Snapshot or None."""

    warm: Warm


@dataclass(frozen=True, slots=True)
class RecordKey:
    """Operation: read a service key. Answer: ServiceKey or None."""

    digest: str


@dataclass(frozen=True, slots=True)
class RecordIdentity:
    """Operation: find where an id lives. Answer: Identity or None."""

    tenant_id: str
    field: str


@dataclass(frozen=True, slots=True)
class Changes:
    """Operation: what changed lately. Answer: customer id → config version."""


Operation = Fields | Run | Warm | Record | RecordKey | RecordIdentity | Changes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a projection of one customer would write."""

    config: Mapping[str, bytes]
    totals: Mapping[str, bytes]
    config_version: int


Flow = Generator[Operation, Any, Any]
