"""From the bytes of a request to stored events and the answer."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from aforo.core import key_use
from aforo.core.service_calls import invalid_credentials
from aforo.lib import clock, crypto, http, ids
from aforo.lib.crash import crashpoint
from aforo.lib.errors import AforoError
from metering import (
    answers,
    cloudevents,
    directory,
    idempotency,
    identity,
    implicit,
    pool,
    shapes,
    store,
    wake,
)
from metering.answers import Answer, Verdict
from metering.directory import Book, Caller
from metering.envelope import Envelope
from metering.groups import Groups
from metering.identity import Event
from metering.pool import Connection
from metering.shapes import Draft
from metering.store import Stored

logger = logging.getLogger(__name__)

METHODS = ("POST",)
# Requests of up to so many events share a transaction with others.
GROUPED_MAX = 10


async def answer(*, headers: Mapping[str, str], query: str, body: bytes) -> Answer:
    """Return the answer to POST /v1/events; every refusal is an answer too.

    `headers` by lower-case name; `body` decoded and within its limit.
    """
    try:
        return await take(headers=headers, query=query, body=body)
    except AforoError as error:
        return answers.refusal(error)
    except psycopg.OperationalError as error:
        logger.warning("the store is away: %s", type(error).__name__)
        return answers.refusal(store.unavailable())


async def take(*, headers: Mapping[str, str], query: str, body: bytes) -> Answer:
    """Authenticate, read, check and store; see answer().

    Raises AforoError for a request that is refused as a whole.
    """
    http.refuse_key_in_url(query)
    caller = await authenticate(headers.get("authorization", ""))
    key = headers.get("idempotency-key")
    once = idempotency.wanted(key, caller, cloudevents.signed(headers, body))
    envelope = cloudevents.open_request(headers, body)
    judged = await prepare(caller, envelope.events)
    if once is None:
        return _render(await store_all(caller.tenant_id, judged), envelope)
    crashpoint("ingest.before")

    async def work(connection: Connection) -> Answer | Kept:
        earlier = await idempotency.find(connection, once)
        if earlier is not None:
            return answers.success(earlier, replayed=True)
        kept = await keep(connection, caller.tenant_id, judged)
        if envelope.is_batch or kept.is_clean:
            body = _render(kept.verdicts, envelope).body
            await idempotency.keep(connection, once, body)
        return kept

    result = await store.run(caller.tenant_id, work)
    if isinstance(result, Answer):
        return result
    if result.customers:
        wake.notify()
    return _render(result.verdicts, envelope)


async def store_all(tenant_id: UUID, judged: Sequence[Judged]) -> list[Verdict]:
    """Store what is an event, and return the verdict on everything, in order.

    What is accepted is durable when this returns. Small requests of one moment share
    a transaction. Raises AforoError: 409 in_flight, 503 store_unavailable.
    """
    if not any(isinstance(item, Event) for item in judged):
        return [item for item in judged if not isinstance(item, Event)]
    crashpoint("ingest.before")
    if len(judged) <= GROUPED_MAX:
        kept = await _groups.join(tenant_id, judged)
    else:
        kept = await _keep_alone(tenant_id, judged)
    if kept.customers:
        wake.notify()
    return kept.verdicts


def _render(verdicts: Sequence[Verdict], envelope: Envelope) -> Answer:
    """Return the answer to the events; a single one that was refused raises."""
    if envelope.is_batch:
        return answers.success(answers.batch(verdicts))
    return answers.success(answers.single(verdicts[0]))


async def authenticate(authorization: str) -> Caller:
    """Return who calls, by the Authorization header.

    Raises AforoError: 401 with one body for every bad secret, 403 for a service key
    without the scope. A wrong checksum asks no database.
    """
    given = http.authorization(authorization)
    if given is None:
        raise invalid_credentials()
    secret = given.password if isinstance(given, http.Basic) else given.token
    key = crypto.parse_key(secret)
    if key is None or (key.prefix == "cs") != isinstance(given, http.Basic):
        raise invalid_credentials()
    found = await directory.caller(key.prefix, key.digest)
    if found is None:
        raise invalid_credentials()
    own = found.credential
    if isinstance(given, http.Basic) and (own is None or own.client_id != given.user):
        raise invalid_credentials()
    if found.ends_at is not None and found.ends_at <= clock.now():
        logger.warning("a revoked or expired key was used: %s_…", key.text[:12])
        raise invalid_credentials()
    if own is None and "ingest" not in found.scopes:
        detail = "this service key lacks the scope ingest"
        raise AforoError("insufficient_scope", 403, detail)
    if found.key_id is not None and key_use.is_due(found.key_id):
        _note_use(found.tenant_id, found.key_id)
    return found


# Held until they are done: a loop keeps no hold of its tasks.
_notes: set[asyncio.Task[None]] = set()


def _note_use(tenant_id: UUID, key_id: UUID) -> None:
    """Note that a service key is used, beside the request, which does not wait."""
    statement = key_use.statement_for(tenant_id, key_id, clock.now())

    async def note() -> None:
        try:
            await pool.run_alone(statement)
        except psycopg.Error as error:
            logger.warning("the use of a key is not noted: %s", type(error).__name__)

    task = asyncio.create_task(note())
    _notes.add(task)
    task.add_done_callback(_notes.discard)


# An event, or the verdict on what is none.
Judged = AforoError | Event | dict[str, Any]


async def prepare(
    caller: Caller,
    raw_events: Sequence[object],
    *,
    age_max: dt.timedelta = identity.AGE_MAX,
) -> list[Judged]:
    """Return each event as it would be stored, or why it is refused."""
    drafts = [_read(raw) for raw in raw_events]
    book = await directory.book(caller.tenant_id, _names(caller, drafts))
    now = clock.now()
    return [_identify(draft, caller, book, now, age_max) for draft in drafts]


def _read(raw: object) -> Draft | AforoError:
    try:
        # Other forms than our own come read.
        return raw if isinstance(raw, AforoError | Draft) else shapes.read(raw)
    except AforoError as error:
        return error


def _identify(
    draft: Draft | AforoError,
    caller: Caller,
    book: Book,
    now: dt.datetime,
    age_max: dt.timedelta,
) -> Judged:
    try:
        if isinstance(draft, AforoError):
            return draft
        if draft.ignored:
            return answers.ignored(draft.ignored)
        return identity.identify(draft, caller, book, now, age_max=age_max)
    except AforoError as error:
        return error


def _names(caller: Caller, drafts: Sequence[Draft | AforoError]) -> dict[str, set[str]]:
    """Return all that must be looked up, by kind."""
    wanted: dict[str, set[str]] = {kind: set() for kind in directory.STATEMENTS}
    if caller.credential is not None:
        wanted["agent"].add(ids.public("agt", caller.credential.agent_id))
        wanted["customer"].add(ids.public("cus", caller.credential.customer_id))
    for draft in drafts:
        if isinstance(draft, Draft):
            for kind, name in draft.names.items():
                if kind in wanted:
                    wanted[kind].add(name)
    return wanted


@dataclass(slots=True)
class Kept:
    """What became of the events of one request."""

    verdicts: list[Verdict]
    customers: set[UUID]  # Who has new events.

    @property
    def is_clean(self) -> bool:
        """Whether nothing was refused."""
        return not any(isinstance(v, AforoError) for v in self.verdicts)


async def keep(
    connection: Connection, tenant_id: UUID, judged: Sequence[Judged]
) -> Kept:
    """Store the events and return the verdict on each, in their order.

    Of events with one id inside a request the first is stored; the others are
    compared with what the table holds then, as at any later time.
    """
    events = [item for item in judged if isinstance(item, Event)]
    foreign = await store.foreign_sessions(connection, events)
    firsts: dict[str, Event] = {}
    for event in events:
        if event.id not in foreign:
            firsts.setdefault(event.event_id, event)
    await implicit.assign(connection, tenant_id, list(firsts.values()))
    stored = (
        await store.insert(connection, tenant_id, list(firsts.values()))
        if firsts
        else {}
    )
    kept = Kept([], set())
    conflicts: list[tuple[Event, Stored]] = []
    for item in judged:
        if not isinstance(item, Event):
            kept.verdicts.append(item)
        elif item.id in foreign:
            kept.verdicts.append(_foreign_session())
        else:
            held = stored.get(item.event_id)
            kept.verdicts.append(answers.taken(item, held))
            if held is not None and held.id == item.id:
                kept.customers.add(item.customer_id)
            elif held is not None and held.body_hash != item.body_hash:
                conflicts.append((item, held))
    if conflicts:
        await store.record_conflicts(connection, tenant_id, conflicts)
    return kept


async def _keep_alone(tenant_id: UUID, judged: Sequence[Judged]) -> Kept:
    """Store the events of one request in a transaction of its own."""

    async def work(connection: Connection) -> Kept:
        return await keep(connection, tenant_id, judged)

    kept: Kept = await store.run(tenant_id, work)
    return kept


async def _keep_together(
    tenant_id: UUID, requests: Sequence[Sequence[Judged]]
) -> list[Kept]:
    """Store the events of many requests in one transaction, the answers apart."""
    received_at = max(
        item.received_at
        for judged in requests
        for item in judged
        if isinstance(item, Event)
    )
    for judged in requests:
        for item in judged:
            if isinstance(item, Event):
                item.received_at = received_at
    whole = await _keep_alone(tenant_id, [i for judged in requests for i in judged])
    parts: list[Kept] = []
    at = 0
    for judged in requests:
        verdicts = whole.verdicts[at : at + len(judged)]
        at += len(judged)
        # Whoever has new events is told of once, by any of the requests.
        parts.append(Kept(verdicts, whole.customers))
    return parts


def _is_away(error: Exception) -> bool:
    """Say whether a fault is the store's own: whoever asks next meets it too."""
    away = isinstance(error, AforoError) and error.status == 503
    return away or isinstance(error, psycopg.OperationalError)


_groups: Groups[UUID, Sequence[Judged], Kept] = Groups(
    _keep_together, _keep_alone, of_all=_is_away
)


def _foreign_session() -> AforoError:
    """Return the refusal of the session of another agent."""
    detail = "session_id: not known here"
    return AforoError("not_found", 404, detail, field="session_id")
