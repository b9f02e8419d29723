"""Long work over customers as jobs: asked for, done in turns, taken over, cancelled.

What is done of a customer is committed with the count of those that are done, so a
worker that dies loses what it had in hand. One job of a queue runs at a time: rating
always keeps the other workers.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import psycopg
from celery import current_app
from django.db import transaction
from django.db.models import F

from aforo.core import audit
from aforo.core.models import User
from aforo.lib import clock, ids, sql
from aforo.lib.errors import AforoError
from metering.models.jobs import Job, JobRow
from metering.pipeline import STORE_FAULTS

log = logging.getLogger(__name__)
State = Job.State
J = TypeVar("J", bound=Job)

# A worker gives way to other tasks after so long, between two parts of the work.
SLICE_S = 20.0
# How often a long part looks whether the job was cancelled.
LOOK_S = 2.0
# Without a sign of life for so long, a running job is taken over.
STALE = dt.timedelta(seconds=30)


class _Stopped(Exception):
    """The job was cancelled or taken over."""


class _TimeIsUp(Exception):
    """The slice is over; the job stays running and goes on in the next one."""


@dataclass(slots=True)
class Turn(Generic[J]):
    """One worker's time on one job: what is left, and how to keep what is done."""

    job: J
    run_id: uuid.UUID
    until: float  # Of time.monotonic().
    rows: type[JobRow]
    looked_at: float = field(default_factory=time.monotonic)

    def left(self) -> Iterator[JobRow]:
        """Yield the customers that are still to be done, in the order of their rows."""
        mine = self.rows._default_manager.filter(**{self.rows.job_field: self.job})
        keys = mine.filter(JobRow.LEFT).order_by("pk").values_list("pk", flat=True)
        for key in list(keys):
            yield mine.select_related("customer").get(pk=key)

    def look(self) -> None:
        """Raise what ends the turn, seconds after the job was cancelled."""
        if time.monotonic() - self.looked_at >= LOOK_S:
            self.looked_at = time.monotonic()
            if not self._ours().exists():
                raise _Stopped

    @contextlib.contextmanager
    def keeping(self, row: JobRow) -> Iterator[None]:
        """Keep the figures that are set inside, in one transaction with their effects.

        The job is locked first, so whoever was followed by another writes nothing.
        """
        with transaction.atomic():
            self.locked()
            yield
            row.save(update_fields=["figures"])
            mine = self.rows._default_manager.filter(**{self.rows.job_field: self.job})
            type(self.job)._default_manager.filter(pk=self.job.pk).update(
                done_count=F("customer_count") - mine.filter(JobRow.LEFT).count(),
                heartbeat_at=clock.now(),
            )
        if time.monotonic() > self.until:
            raise _TimeIsUp

    def locked(self) -> J:
        """Return the job locked; raise what ends the turn when it is not ours."""
        found: J | None = self._ours().select_for_update(of=("self",)).first()
        if found is None:
            raise _Stopped
        return found

    def _ours(self) -> Any:
        """Return the job as long as this worker is on it."""
        rows = type(self.job)._default_manager
        return rows.filter(pk=self.job.pk, run=self.run_id, state=State.RUNNING)


@dataclass(frozen=True, slots=True)
class Queue(Generic[J]):
    """The jobs of one kind, and how a worker does them."""

    name: str  # In words, such as "cost run".
    jobs: type[J]
    rows: type[JobRow]
    task: str  # Of Celery; it calls run().
    # The lock of the one worker that is on them; it goes with its connection.
    lock: int
    # Does the customers that are left.
    work: Callable[[Turn[J]], None]
    # Makes the result of the figures of all customers.
    summarise: Callable[[J, Iterable[Mapping[str, Any]]], dict[str, Any]]

    def add(
        self,
        made: J,
        customers: Iterable[uuid.UUID],
        *,
        action: str,
        changes: Mapping[str, list[Any]],
        audit_label: str = "",
    ) -> J:
        """Store a job and its customers for the workers, in the caller's transaction.

        `action` and `changes` are for the audit, under `audit_label` if there is one.
        """
        keys = list(customers)
        made.customer_count = len(keys)
        made.requested_label = audit_label or str(made.requested_by or "Aforo")
        made.save(force_insert=True)
        one = {"tenant_id": made.tenant_id, f"{self.rows.job_field}_id": made.pk}
        self.rows._default_manager.bulk_create(
            [self.rows(**one, customer_id=key) for key in keys], batch_size=1_000
        )
        audit.record(
            tenant=made.tenant_id,
            actor=made.requested_by,
            actor_label=audit_label,
            action=action,
            target=made,
            changes={**changes, "customers": [None, len(keys)]},
        )
        transaction.on_commit(self._wake)
        return made

    def _wake(self) -> None:
        """Tell a worker; a lost message costs the beat's patience."""
        try:
            current_app.send_task(self.task, retry=False)
        except Exception as error:
            # Whatever the transport raises: the job is stored.
            log.warning("workers were not woken: %s", type(error).__name__)

    @transaction.atomic
    def cancel(self, job_id: uuid.UUID, *, actor: User | None) -> J:
        """Stop a job that waits or runs; what was done of it is not shown.

        Raises AforoError 409 `<name>_over`.
        """
        rows = self.jobs._default_manager.select_for_update(of=("self",))
        found = rows.get(pk=job_id)
        code = self.name.replace(" ", "_")
        if not found.is_open:
            detail = f"The {self.name} is {State(found.state).label.lower()} already."
            raise AforoError(f"{code}_over", 409, detail)
        before = found.state
        found.state = State.CANCELLED
        found.finished_at = clock.now()
        found.save(update_fields=["state", "finished_at"])
        audit.record(
            tenant=found.tenant_id,
            actor=actor,
            action=f"{code}.cancelled",
            target=found,
            changes={"state": [before, found.state]},
        )
        return found

    def waiting(self, now: dt.datetime) -> bool:
        """Tell whether a job is queued, or runs without a sign of life."""
        return any(
            state == State.QUEUED or beat is None or beat < now - STALE
            for state, beat in self._open().values_list("state", "heartbeat_at")
        )

    def run(self, *, seconds: float = SLICE_S) -> bool:
        """Work on what is asked for, oldest first, for so long; say if any is left.

        Idempotent: one worker at a time has the lock, others return at once. A job
        whose worker died goes on where that one was.
        """
        until = time.monotonic() + seconds
        with self.alone() as alone:
            while alone and time.monotonic() < until:
                found = self._open().order_by("pk").first()
                if found is None:
                    return False
                self.turn(found, until)
            return alone and self._open().exists()

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Hold the queue's lock; yield whether it was free."""
        with sql.cursor() as cursor:
            got = cursor.execute("SELECT pg_try_advisory_lock(%b)", [self.lock])
            row = got.fetchone()
        is_free = bool(row and row[0])
        try:
            yield is_free
        finally:
            if is_free:
                # A connection that is lost has given the lock up.
                with contextlib.suppress(psycopg.Error):
                    sql.cursor().execute("SELECT pg_advisory_unlock(%b)", [self.lock])

    def turn(self, found: J, until: float) -> None:
        """Do the customers of one job that are left, until it is time to stop."""
        run_id = ids.new_id()
        if not self._claim(found, run_id):
            return
        turn = Turn(found, run_id, until, self.rows)
        try:
            self.work(turn)
            self._finish(turn)
        except _TimeIsUp:
            return
        except _Stopped:
            log.info("%s %s was stopped", self.name, found.pk)
        except STORE_FAULTS:
            raise  # It stays running, and is taken over.
        except Exception as error:
            log.exception("%s %s failed", self.name, found.pk)
            turn._ours().update(
                state=State.FAILED,
                failure=f"{type(error).__name__}: {error}"[:300],
                finished_at=clock.now(),
            )

    def _open(self) -> Any:
        """Return the jobs that wait or run."""
        return self.jobs._default_manager.filter(state__in=Job.OPEN_STATES)

    def _claim(self, found: J, run_id: uuid.UUID) -> bool:
        """Make this worker the one that is on a job; False when it is over."""
        now = clock.now()
        claimed: int = (
            self._open()
            .filter(pk=found.pk)
            .update(
                state=State.RUNNING,
                run=run_id,
                heartbeat_at=now,
                started_at=found.started_at or now,
            )
        )
        return bool(claimed)

    def _finish(self, turn: Turn[J]) -> None:
        """Write the result and the end in one transaction."""
        with transaction.atomic():
            locked = turn.locked()
            mine = self.rows._default_manager.filter(
                **{self.rows.job_field: turn.job}
            ).order_by("pk")
            figures = (row.figures or {} for row in mine.iterator(200))
            locked.result = self.summarise(turn.job, figures)
            locked.state = State.DONE
            locked.finished_at = clock.now()
            locked.save(update_fields=["result", "state", "finished_at"])
