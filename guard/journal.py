"""What doors decided: spooled to files at once, stored by the worker in batches.

A file survives the death of the door, and a time without Redis or Postgres. Refusals,
throttles and degraded passes are kept one by one, ordinary passes are counted.
"""

from __future__ import annotations

import collections
import datetime as dt
import itertools
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from django.db import transaction

from aforo.core import key_use
from aforo.core.tenancy import enter
from aforo.lib import clock, ids, sql
from billing import credentials
from guard import latency, noting, rule_counts, wording
from guard.asking import Ask
from guard.engine.decision import Decision as Judged
from guard.engine.decision import Outcome
from guard.judging import Verdict
from guard.models import Decision
from guard.signals import decisions_stored

logger = logging.getLogger(__name__)

ROTATE_S: Final = 0.5
# No file is written to when it is older; so one of this age is complete.
COMPLETE_S: Final = 5.0
WARNED_MAX: Final = 10_000  # warnings remembered; beyond, they are noted anew
NOTES_MAX: Final = 2_000  # one by one in a file; beyond, they are only counted
FILES_PER_RUN: Final = 200
LOCK: Final = 0x61666F726F02

COUNT_SQL = """
INSERT INTO guard_doorcount
  (id, created_at, tenant_id, minute, allowed, throttled, denied, degraded, warned,
  observed, latency)
VALUES (%(id)s, %(now)s, %(tenant)s, %(minute)s, %(allow)s, %(throttle)s, %(deny)s,
  %(degraded)s, %(warned)s, %(observed)s, %(latency)s)
ON CONFLICT (tenant_id, minute) DO UPDATE SET
  allowed = guard_doorcount.allowed + excluded.allowed,
  throttled = guard_doorcount.throttled + excluded.throttled,
  denied = guard_doorcount.denied + excluded.denied,
  degraded = guard_doorcount.degraded + excluded.degraded,
  warned = guard_doorcount.warned + excluded.warned,
  observed = guard_doorcount.observed + excluded.observed,
  latency = coalesce((SELECT array_agg(coalesce(a, 0) + coalesce(b, 0) ORDER BY step)
    FROM unnest(guard_doorcount.latency, excluded.latency)
      WITH ORDINALITY AS t (a, b, step)), '{}')
"""
EXEMPTION_USED = """
UPDATE guard_override SET used_at = %(at)s
WHERE id = %(id)s AND kind = 'once' AND used_at IS NULL
"""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Journal:
    """The spool of one door process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._file: int | None = None
        self._path = folder
        self._opened = 0.0
        self._notes = 0
        self._counts: collections.Counter[tuple[str, int, str]] = collections.Counter()
        self._rules: dict[str, rule_counts.Counts] = {}
        # When a credential was last seen, by tenant, in milliseconds; service keys.
        self._used: dict[str, dict[str, int]] = {}
        self._keys: dict[str, dict[str, int]] = {}
        self._latency: dict[tuple[str, int], list[int]] = {}
        # Who was warned in this minute, and of which limit: once is enough.
        self._warned: set[tuple[str, str, str]] = set()
        self._warned_minute = 0

    def _is_news(self, decision: Judged, minute: int) -> bool:
        """Tell whether a warning was not yet noted in this minute."""
        facts, limit = decision.facts, decision.nearly
        if facts is None or limit is None:
            return False
        if minute != self._warned_minute or len(self._warned) >= WARNED_MAX:
            self._warned.clear()
            self._warned_minute = minute
        key = (facts.customer_id, facts.agent_id, limit.name)
        if key in self._warned:
            return False
        self._warned.add(key)
        return True

    def _count(self, decision: Judged, latency_us: int) -> bool:
        """Count a decision; return whether it is worth a line of its own."""
        assert decision.facts is not None, "nobody's decisions are not counted"
        tenant, minute = decision.facts.tenant_id, decision.now_ms // 60_000
        counts = self._counts
        counts[tenant, minute, decision.outcome.value] += 1
        steps = self._latency.get((tenant, minute))
        if steps is None:
            steps = self._latency[tenant, minute] = [0] * latency.STEPS
        steps[latency.step(latency_us)] += 1
        if decision.degraded:
            counts[tenant, minute, "degraded"] += 1
        if decision.outcome != Outcome.ALLOW:
            return True
        if decision.would is not None:
            counts[tenant, minute, "observed"] += 1
            return True
        if decision.nearly is not None:
            counts[tenant, minute, "warned"] += 1
            if self._is_news(decision, minute):
                return True
        return decision.degraded or bool(decision.override_id or decision.shadow)

    def note(self, verdict: Verdict, ask: Ask, latency_us: int) -> None:
        """Spool a decision; a full disk is logged and never stops a check."""
        decision = verdict.decision
        if key := verdict.service_key:
            with self._lock:
                used = self._keys.setdefault(verdict.request.tenant_id, {})
                used[key] = decision.now_ms
        if decision.facts is None:
            return  # Nobody's: an unknown customer.
        with self._lock:
            tenant = decision.facts.tenant_id
            if key := decision.facts.credential_id:
                self._used.setdefault(tenant, {})[key] = decision.now_ms
            is_told = self._count(decision, latency_us)
            if (
                decision.outcome != Outcome.ALLOW
                or decision.degraded
                or decision.shadow
            ):
                counts = self._rules.setdefault(tenant, collections.Counter())
                counts.update(rule_counts.keys_of(decision))
            try:
                if is_told and (decision.degraded or self._notes < NOTES_MAX):
                    self._write(noting.note(verdict, ask, latency_us))
                    self._notes += 1
                self._rotate_if_due()
            except OSError:
                logger.exception("a decision could not be spooled")

    def rotate(self) -> None:
        """Close the file of this moment, if it is due."""
        with self._lock:
            self._rotate_if_due()

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            stamp = time.time_ns()
            name = f"{stamp}-{os.getpid()}-{next(self._numbers)}.open"
            self._path = self._folder / name
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
        os.write(self._file, _encode(line) + b"\n")

    def _rotate_if_due(self) -> None:
        if time.monotonic() - self._opened < ROTATE_S:
            return
        for (tenant, minute, kind), count in self._counts.items():
            self._write({"tenant": tenant, "minute": minute, kind: count})
        for (tenant, minute), steps in self._latency.items():
            self._write({"tenant": tenant, "minute": minute, "latency": steps})
        for tenant, used in self._used.items():
            self._write({"tenant": tenant, "used": used})
        for tenant, used in self._keys.items():
            self._write({"tenant": tenant, "keys": used})
        for tenant, counts in self._rules.items():
            if counts:
                said = rule_counts.lines(counts)
                self._write({"tenant": tenant, "rules": said})
        self._counts.clear()
        self._rules.clear()
        self._used.clear()
        self._keys.clear()
        self._latency.clear()
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._path.rename(self._path.with_suffix(".jsonl"))
        self._opened, self._notes = time.monotonic(), 0


def _complete(folder: Path) -> Iterable[Path]:
    """Return the files that nobody writes to any more, oldest first."""
    limit = time.time_ns() - int(COMPLETE_S * 1e9)
    found = [
        path
        for path in folder.iterdir()
        if path.suffix == ".jsonl"
        or (path.suffix == ".open" and int(path.name.partition("-")[0]) < limit)
    ]
    return sorted(found)[:FILES_PER_RUN]


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return what a file says; a line that a death cut short is left out."""
    found = []
    for line in path.read_bytes().splitlines():
        try:
            found.append(_decode(line))
        except msgspec.DecodeError:
            logger.warning("%s has a broken line", path.name)
    return found


def _id(prefix: str, text: str | None) -> uuid.UUID | None:
    return ids.parse_public(prefix, text) if text else None


def _decision(tenant: uuid.UUID, line: dict[str, Any]) -> Decision:
    return Decision(
        id=uuid.UUID(line["id"]),
        tenant_id=tenant,
        customer_id=_id("cus", line["customer"]),
        agent_id=_id("agt", line["agent"]),
        credential_id=_id("crd", line["credential"]),
        subscription_id=_id("sub", line.get("subscription")),
        decision=line["decision"],
        reason_code=line["reason_code"],
        degraded=line["degraded"],
        observed=line.get("observed", False),
        warned=line.get("warned", False),
        request_id=line["request_id"],
        inputs=line["inputs"],
        checks=line["checks"],
        shadow=line.get("shadow", []),
        latency_us=line["latency_us"],
        decided_at=wording.instant(line["decided_at_ms"]),
    )


def _count(tenant: uuid.UUID, line: dict[str, Any]) -> None:
    kinds = ("allow", "throttle", "deny", "degraded", "warned", "observed")
    with sql.cursor() as cursor:
        cursor.execute(
            COUNT_SQL,
            {
                "id": ids.new_id(),
                "now": clock.now(),
                "tenant": tenant,
                "minute": wording.instant(line["minute"] * 60_000),
                **{kind: line.get(kind, 0) for kind in kinds},
                "latency": line.get("latency", []),
            },
        )


def _take_exemptions(notes: Iterable[Decision]) -> None:
    """Note which exemptions for one call were taken, so that the lists show it."""
    with sql.cursor() as cursor:
        for note in notes:
            key = _id("ovr", note.inputs.get("override"))
            if key is not None:
                cursor.execute(EXEMPTION_USED, {"id": key, "at": note.decided_at})


def _times(prefix: str, used: Mapping[str, int]) -> dict[uuid.UUID, dt.datetime]:
    """Return when keys were last asked with, as a line of a file says it."""
    return {
        key: wording.instant(at_ms)
        for name, at_ms in used.items()
        if (key := _id(prefix, name))
    }


def collect(folder: Path) -> int:
    """Store what doors spooled; return how many decisions.

    One worker at a time, held by a lock until its files are removed. Decisions carry
    their id, so a file that is read twice (the worker died before it removed it)
    stores them once; its counts would be added twice.
    """
    if not folder.is_dir():
        return 0
    with sql.cursor() as cursor:
        taken = cursor.execute("SELECT pg_try_advisory_lock(%b)", [LOCK]).fetchone()
        if taken is None or not taken[0]:
            return 0
        try:
            return _collect(folder)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%b)", [LOCK])


def _tell(tenant: uuid.UUID, notes: Sequence[Decision]) -> None:
    """Say after the commit that a tenant's doors reported."""
    found = [note.pk for note in notes]
    transaction.on_commit(
        lambda: decisions_stored.send(sender=None, tenant_id=tenant, decision_ids=found)
    )


def _collect(folder: Path) -> int:
    """Store and remove the files that are complete."""
    stored = 0
    for path in _complete(folder):
        by_tenant: dict[uuid.UUID, list[dict[str, Any]]] = collections.defaultdict(list)
        for line in _lines(path):
            tenant = _id("ten", line["tenant"])
            if tenant is not None:
                by_tenant[tenant].append(line)
        with transaction.atomic():
            for tenant, lines in sorted(by_tenant.items()):
                enter(tenant_id=tenant)
                notes = [_decision(tenant, one) for one in lines if "id" in one]
                Decision.objects.bulk_create(notes, ignore_conflicts=True)
                _take_exemptions(notes)
                _tell(tenant, notes)
                for one in lines:
                    if "minute" in one:
                        _count(tenant, one)
                    elif "rules" in one:
                        rule_counts.store(tenant, one["rules"])
                    elif "used" in one:
                        credentials.note_used(_times("crd", one["used"]))
                    elif "keys" in one:
                        key_use.note_used(_times("svk", one["keys"]))
                stored += len(notes)
        path.unlink()
    return stored
