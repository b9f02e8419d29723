"""Messages on their way: claimed, sent side by side, tried again, logged.

The queue is the table: a message is due when its `next_at` has come. Sending happens
outside of transactions, by threads that touch no database, so a receiver that hangs
keeps neither rows locked nor other receivers waiting. At least once: a worker that
dies while it sends leaves a lease that runs out.
"""

from __future__ import annotations

import collections
import datetime as dt
import logging
import random
import time
import uuid
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models import F

from aforo.lib import clock, sql
from guard import outbound, webhooks
from guard.models import Delivery, WebhookEndpoint
from guard.outbound import Answer

logger = logging.getLogger(__name__)

# Waits before the second to the tenth attempt: 75 h 35 min in all, with jitter.
WAITS_S: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
ATTEMPTS_MAX: Final = len(WAITS_S) + 1
JITTER: Final = 0.1
# A message whose worker died is sent again after this.
LEASE: Final = dt.timedelta(seconds=60)
THREADS: Final = 16
PER_ENDPOINT: Final = 4
RUN_S: Final = 30.0
LOCK: Final = 0x61666F726F03
# The log of a message that is replayed again and again.
LOGGED_MAX: Final = 40
GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Ticket:
    """One attempt, with all that it takes to send it."""

    delivery_id: uuid.UUID
    endpoint_id: uuid.UUID | None
    url: str
    email: str
    type: str
    body: str
    headers: dict[str, str]


def wait_before(attempt: int) -> dt.timedelta | None:
    """Return the wait before the attempt after this one; None: it was the last."""
    if attempt >= ATTEMPTS_MAX:
        return None
    spread = random.uniform(1 - JITTER, 1 + JITTER)
    return dt.timedelta(seconds=WAITS_S[attempt - 1] * spread)


def claim(now: dt.datetime, *, most: int, full: set[uuid.UUID]) -> list[Ticket]:
    """Take messages that are due; `full` endpoints have enough under way."""
    if most <= 0:
        return []
    with transaction.atomic():
        due = Delivery.objects.select_for_update(skip_locked=True, of=("self",))
        rows = list(
            due.filter(next_at__lte=now)
            .exclude(endpoint_id__in=full)
            .select_related("endpoint")
            .order_by("next_at")[:most]
        )
        Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(
            next_at=now + LEASE, attempt_count=F("attempt_count") + 1
        )
        return [_ticket(row, now) for row in rows]


def _ticket(row: Delivery, now: dt.datetime) -> Ticket:
    """Return what an attempt needs, signed at this moment."""
    endpoint, headers = row.endpoint, {}
    if endpoint is not None:
        keys = webhooks.secrets_of(endpoint, now)
        headers = webhooks.headers(row.public_id, row.body.encode(), keys, now)
    return Ticket(
        delivery_id=row.pk,
        endpoint_id=row.endpoint_id,
        url=endpoint.url if endpoint else "",
        email=row.email,
        type=row.type,
        body=row.body,
        headers=headers,
    )


def send(ticket: Ticket) -> Answer:
    """Send one message once; no database."""
    if ticket.email:
        return _mail(ticket)
    return outbound.post(
        ticket.url,
        ticket.body.encode(),
        ticket.headers,
        allow_private=settings.WEBHOOK_PRIVATE,
    )


def _mail(ticket: Ticket) -> Answer:
    """Send an e-mail: the body's first line is its subject."""
    began = time.monotonic()
    subject, _, text = ticket.body.partition("\n")
    message = EmailMessage(
        subject, text.lstrip("\n"), to=[ticket.email], connection=get_connection()
    )
    try:
        message.send()
    except OSError as error:
        why = f"the mail server did not take it ({type(error).__name__})"
        return Answer(None, _ms(began), why)
    return Answer(250, _ms(began))


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


@transaction.atomic
def record(ticket: Ticket, answer: Answer, now: dt.datetime) -> None:
    """Log an attempt and say when the next one is due, if any.

    Lock order: the endpoint, then its message, as whoever changes an endpoint does.
    """
    endpoint = None
    if ticket.endpoint_id is not None:
        rows = WebhookEndpoint.objects.select_for_update()
        endpoint = rows.get(pk=ticket.endpoint_id)
    row = Delivery.objects.select_for_update().get(pk=ticket.delivery_id)
    attempt = {
        "at": now.isoformat(timespec="milliseconds"),
        "status": answer.status,
        "ms": answer.took_ms,
        "error": answer.error,
    }
    row.attempts = [*row.attempts, attempt][-LOGGED_MAX:]
    pause = wait_before(row.attempt_count)
    if answer.is_taken:
        row.state, row.delivered_at, row.next_at = Delivery.State.DELIVERED, now, None
    elif pause is None or answer.status == GONE:
        row.state, row.next_at = Delivery.State.FAILED, None
    else:
        row.next_at = now + pause
    if endpoint is not None and not endpoint.enabled:
        row.next_at = None
    row.save(update_fields=["attempts", "state", "delivered_at", "next_at"])
    if endpoint is not None:
        _note(endpoint, answer, now, is_last=row.state == Delivery.State.FAILED)


def _note(
    endpoint: WebhookEndpoint, answer: Answer, now: dt.datetime, *, is_last: bool
) -> None:
    """Note how the endpoint does; disable it when it takes nothing for long."""
    if answer.is_taken:
        endpoint.failing_since, endpoint.last_success_at = None, now
        endpoint.save(update_fields=["failing_since", "last_success_at"])
        return
    if endpoint.failing_since is None:
        endpoint.failing_since = now
        endpoint.save(update_fields=["failing_since"])
    if answer.status == GONE:
        webhooks.disable(endpoint, "it answered 410 Gone.")
    elif is_last and now - endpoint.failing_since >= dt.timedelta(hours=60):
        hours = (now - endpoint.failing_since) // dt.timedelta(hours=1)
        webhooks.disable(endpoint, f"it took nothing for {hours} hours.")


def run(seconds: float = RUN_S) -> int:
    """Send what is due until nothing is, or the time is over; return how many.

    One worker at a time, held by an advisory lock, so that receivers that hang never
    take more than one worker's time from rating.
    """
    with sql.cursor() as cursor:
        taken = cursor.execute("SELECT pg_try_advisory_lock(%b)", [LOCK]).fetchone()
        if taken is None or not taken[0]:
            return 0
        try:
            return _run(seconds)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%b)", [LOCK])


def _run(seconds: float) -> int:
    """Keep some attempts under way until nothing is due."""
    ends, done = time.monotonic() + seconds, 0
    flying: dict[Future[Answer], Ticket] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        while True:
            if time.monotonic() < ends:
                for ticket in _next(flying):
                    flying[pool.submit(send, ticket)] = ticket
            if not flying:
                return done
            finished, _ = wait(flying, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in finished:
                record(flying.pop(future), _result(future), clock.now())
                done += 1


def _next(flying: dict[Future[Answer], Ticket]) -> list[Ticket]:
    """Claim what may start beside what is under way."""
    busy = collections.Counter(t.endpoint_id for t in flying.values() if t.endpoint_id)
    full = {key for key, count in busy.items() if count >= PER_ENDPOINT}
    return claim(clock.now(), most=min(PER_ENDPOINT, THREADS - len(flying)), full=full)


def _result(future: Future[Answer]) -> Answer:
    """Return an attempt's answer; a fault of ours is logged and tried again."""
    try:
        return future.result()
    except Exception:
        logger.exception("a message could not be sent")
        return Answer(None, 0, "a fault of the sender")


def due(now: dt.datetime) -> bool:
    """Tell whether something waits to be sent."""
    return Delivery.objects.filter(next_at__lte=now).exists()


@transaction.atomic
def replay(delivery: Delivery) -> Delivery:
    """Send a message again, with the same id and ten more attempts.

    Raises AforoError 409 `endpoint_disabled`.
    """
    row = Delivery.objects.select_for_update(of=("self",)).get(pk=delivery.pk)
    if row.endpoint is not None:
        webhooks.require_enabled(row.endpoint)
    row.state, row.attempt_count = Delivery.State.WAITING, 0
    row.next_at, row.delivered_at = clock.now(), None
    row.save(update_fields=["state", "attempt_count", "next_at", "delivered_at"])
    return row


def told(row: Delivery) -> dict[str, Any]:
    """Return a message as the API shows it."""
    return {
        "id": row.public_id,
        "type": row.type,
        "endpoint_id": row.endpoint.public_id if row.endpoint else None,
        "state": row.state,
        "attempts": row.attempts,
        "next_attempt_at": row.next_at and row.next_at.isoformat(),
        "created_at": row.created_at.isoformat(),
        "delivered_at": row.delivered_at and row.delivered_at.isoformat(),
        "body": row.body,
    }
