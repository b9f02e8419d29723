"""Backfills as jobs: tried, confirmed by somebody, stored part by part, taken over.

A part is stored in one transaction and its verdicts are kept after it; a worker that
dies between the two stores it again, and each event is a duplicate then. One backfill
at a time: rating keeps the other workers.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import psycopg
from celery import current_app
from django.db import transaction
from django.db.models import F

from aforo.core import audit
from aforo.core.models import Tenant, User
from aforo.lib import clock, ids, sql, strict_json
from aforo.lib.errors import AforoError
from metering import backfill_files, backfill_trial, backfilling, voiding
from metering.backfill_trial import Verdicts
from metering.background import background
from metering.directory import Caller
from metering.identity import Event
from metering.models import Backfill, BackfillPart
from metering.pipeline import STORE_FAULTS

log = logging.getLogger(__name__)
State = Backfill.State

TASK = "metering.run_backfills"
PART = 500
# A worker gives way to other tasks after so long, between two steps.
SLICE_S = 20.0
# Without a sign of life for so long, a backfill is taken over.
STALE = dt.timedelta(seconds=60)
# One that nobody confirms is discarded, and its lines are forgotten.
KEEP = dt.timedelta(days=7)
# The lock of the one worker that is on it; it goes with its connection.
LOCK = 0x61666F726F66


class _Stopped(Exception):
    """The backfill was discarded or taken over."""


@transaction.atomic
def request(
    *, tenant: Tenant, data: bytes, name: str, reason: str, actor: User
) -> Backfill:
    """Store a file for the workers to try; nothing of it counts yet.

    Raises AforoError 422 as backfill_files.read, and `reason_required`.
    """
    why = voiding.checked_reason(reason)
    text = backfill_files.read(data)
    _forget_old(tenant)
    made = Backfill.objects.create(
        tenant=tenant,
        name=name[:200],
        reason=why,
        digest=text.digest,
        event_count=len(text.events),
        unread=text.unread,
        requested_by=actor,
        requested_label=str(actor),
    )
    BackfillPart.objects.bulk_create(
        BackfillPart(
            tenant=tenant,
            backfill=made,
            position=start // PART,
            lines=text.events[start : start + PART],
        )
        for start in range(0, len(text.events), PART)
    )
    audit.record(
        tenant=tenant,
        actor=actor,
        action="backfill.tried",
        target=made,
        changes={"events": [None, made.event_count]},
        reason=why,
    )
    transaction.on_commit(_wake)
    return made


def _forget_old(tenant: Tenant) -> None:
    """Discard what nobody confirmed for days."""
    old = Backfill.objects.filter(
        tenant=tenant, state=State.CHECKED, created_at__lt=clock.now() - KEEP
    )
    for found in old:
        _forget(found)
    old.update(state=State.CANCELLED, finished_at=clock.now())


def _forget(found: Backfill) -> None:
    """Empty the lines of a backfill: what was sent is not ours to keep twice."""
    BackfillPart.objects.filter(backfill=found).update(lines=[])


@transaction.atomic
def confirm(*, backfill: Backfill, typed: str, actor: User) -> None:
    """Let a tried backfill be stored; `typed` is the number of events it adds.

    Raises AforoError: 409 `not_checked`, 422 `not_confirmed`, `nothing_to_store`.
    """
    found = _locked(backfill, State.CHECKED, "not_checked", "it was not tried yet")
    wanted = accepted(found)
    if not wanted:
        detail = "None of these events would be stored: nothing to confirm."
        raise AforoError("nothing_to_store", 422, detail)
    if typed.replace(",", "").replace(" ", "") != str(wanted):
        detail = f"Type the number of events that will be stored: {wanted}."
        raise AforoError("not_confirmed", 422, detail, field="typed")
    found.state, found.done_count = State.CONFIRMED, 0
    found.step_count = BackfillPart.objects.filter(backfill=found).count()
    found.confirmed_label, found.confirmed_at = str(actor), clock.now()
    found.save()
    audit.record(
        tenant=found.tenant_id,
        actor=actor,
        action="backfill.confirmed",
        target=found,
        changes={"events": [None, wanted]},
        reason=found.reason,
    )
    transaction.on_commit(_wake)


@transaction.atomic
def discard(*, backfill: Backfill, actor: User) -> None:
    """Forget a tried backfill; raises AforoError 409 `not_checked`."""
    found = _locked(backfill, State.CHECKED, "not_checked", "it does not wait any more")
    found.state, found.finished_at = State.CANCELLED, clock.now()
    found.save(update_fields=["state", "finished_at"])
    _forget(found)
    audit.record(
        tenant=found.tenant_id, actor=actor, action="backfill.discarded", target=found
    )


def _locked(backfill: Backfill, state: State, code: str, detail: str) -> Backfill:
    """Return the row, locked, if it is in a state."""
    rows = Backfill.objects.select_for_update(of=("self",))
    found = rows.get(pk=backfill.pk)
    if found.state != state:
        raise AforoError(code, 409, f"Nothing was done: {detail}.")
    return found


def accepted(backfill: Backfill) -> int:
    """Return how many events a tried backfill would add."""
    return int((backfill.trial or {}).get("counts", {}).get("accepted", 0))


def _wake() -> None:
    """Tell a worker; a lost message costs the beat's patience."""
    try:
        current_app.send_task(TASK, retry=False)
    except Exception as error:
        # Whatever the transport raises: the backfill is stored.
        log.warning("workers were not woken: %s", type(error).__name__)


def waiting(now: dt.datetime) -> bool:
    """Tell whether a backfill is queued, or has no sign of life."""
    rows = Backfill.objects.filter(state__in=Backfill.OPEN_STATES)
    return any(
        state in (State.QUEUED, State.CONFIRMED) or beat is None or beat < now - STALE
        for state, beat in rows.values_list("state", "heartbeat_at")
    )


def run(*, seconds: float = SLICE_S) -> bool:
    """Work on what is asked for, oldest first, for so long; say if any is left."""
    until = time.monotonic() + seconds
    rows = Backfill.objects.filter(state__in=Backfill.OPEN_STATES).order_by("pk")
    with _alone() as alone:
        while alone and time.monotonic() < until:
            found = rows.first()
            if found is None:
                return False
            _run(found)
        return alone and rows.exists()


@contextlib.contextmanager
def _alone() -> Iterator[bool]:
    """Hold the lock of backfills; yield whether it was free."""
    with sql.cursor() as cursor:
        row = cursor.execute("SELECT pg_try_advisory_lock(%b)", [LOCK]).fetchone()
    got = bool(row and row[0])
    try:
        yield got
    finally:
        if got:
            # A connection that is lost has given the lock up.
            with contextlib.suppress(psycopg.Error):
                sql.cursor().execute("SELECT pg_advisory_unlock(%b)", [LOCK])


def _run(found: Backfill) -> None:
    """Try a backfill, or store one that was confirmed."""
    storing = found.state in (State.CONFIRMED, State.STORING)
    found.run = ids.new_id()
    found.state = State.STORING if storing else State.RUNNING
    found.heartbeat_at = clock.now()
    found.save(update_fields=["run", "state", "heartbeat_at"])
    try:
        (_store if storing else _try)(found)
    except _Stopped:
        log.info("backfill %s was taken over", found.pk)
    except STORE_FAULTS:
        raise  # It stays open, and is taken over.
    except Exception as error:
        log.exception("backfill %s failed", found.pk)
        Backfill.objects.filter(pk=found.pk, run=found.run).update(
            state=State.FAILED,
            failure=f"{type(error).__name__}: {error}"[:300],
            finished_at=clock.now(),
        )


def _tick(found: Backfill, **changes: Any) -> None:
    """Give a sign of life; raises _Stopped when another worker has it."""
    ours = Backfill.objects.filter(pk=found.pk, run=found.run)
    if not ours.update(heartbeat_at=clock.now(), **changes):
        raise _Stopped


def _lines(part: BackfillPart) -> list[tuple[int, Any]]:
    """Return the events of a part with their lines."""
    return [(line, strict_json.loads(text.encode())) for line, text in part.lines]


def _caller(found: Backfill) -> Caller:
    """Return as whom staff brings events in: as the tenant's own backend does."""
    return Caller(found.tenant_id, frozenset({"backfill"}), None, None)


def _try(found: Backfill) -> None:
    """Find out what the events would do, and keep it for somebody to confirm."""
    parts = list(BackfillPart.objects.filter(backfill=found).order_by("position"))
    whole = Verdicts([], defaultdict(int), [])
    seen: set[str] = set()
    for part in parts:
        judged = backfill_trial.judge(_caller(found), _lines(part))
        _merge(whole, judged, seen)
        _tick(found, step_count=len(parts), done_count=part.position + 1)
    of_customers: dict[uuid.UUID, list[tuple[int, Event]]] = defaultdict(list)
    for line, event in whole.events:
        of_customers[event.customer_id].append((line, event))
    steps = len(parts) + len(of_customers)
    periods: list[dict[str, Any]] = []
    unpriced: list[list[Any]] = []
    for number, (key, events) in enumerate(sorted(of_customers.items()), start=1):
        made, without = backfill_trial.effects(found.tenant_id, key, events)
        periods += made
        unpriced += without
        _tick(found, step_count=steps, done_count=len(parts) + number)
    trial = {
        "counts": dict(whole.counts),
        "faults": sorted([*found.unread, *whole.faults]),
        "unpriced": sorted(unpriced),
        "periods": sorted(periods, key=lambda row: (row["customer"], row["from"])),
    }
    _tick(found, trial=trial, state=State.CHECKED)


def _merge(whole: Verdicts, part: Verdicts, seen: set[str]) -> None:
    """Add what was found out of a part; an id of an earlier part is a duplicate."""
    for name, count in part.counts.items():
        whole.counts[name] += count
    for line, event in part.events:
        if event.event_id in seen:
            whole.counts["accepted"] -= 1
            whole.counts["duplicate"] += 1
        else:
            seen.add(event.event_id)
            whole.events.append((line, event))
    whole.faults.extend(part.faults)


def _store(found: Backfill) -> None:
    """Store the parts that are left, and write down the end."""
    parts = BackfillPart.objects.filter(backfill=found).order_by("position")
    for part in parts.filter(verdicts__isnull=True):
        lines = _lines(part)
        raws = [raw for _, raw in lines]
        kept = background.run(backfilling.keep(_caller(found), raws))
        part.verdicts = [
            _verdict(line, verdict)
            for (line, _), verdict in zip(lines, kept.verdicts, strict=True)
        ]
        part.lines = []
        with transaction.atomic():
            part.save(update_fields=["verdicts", "lines"])
            _tick(found, done_count=F("done_count") + 1)
    counts: dict[str, int] = dict.fromkeys(
        ("accepted", "duplicate", "ignored", "rejected"), 0
    )
    for verdicts in parts.values_list("verdicts", flat=True):
        for _, status, *_ in verdicts or ():
            counts[status] += 1
    counts["rejected"] += len(found.unread)
    with transaction.atomic():
        _tick(found, state=State.DONE, result=counts, finished_at=clock.now())
        backfilling.tell(
            tenant=found.tenant,
            sent=found.event_count + len(found.unread),
            refused=counts["rejected"],
            reason=found.reason,
            actor_label=found.confirmed_label,
        )


def _verdict(line: int, verdict: Any) -> list[Any]:
    """Return what became of a line as it is kept."""
    if isinstance(verdict, AforoError):
        return [line, "rejected", verdict.code, backfill_trial.said(verdict), ""]
    detail = verdict.get("reason", "")
    return [line, verdict["status"], "", detail, verdict.get("id", "")]
