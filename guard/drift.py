"""Edge and record compared: what differs is repaired, and said.

Both move while they are read, so the order matters. First the edge is read and then one
state of the record: whatever commits meanwhile puts the record ahead and proves
nothing. What looks wrong is judged again with the customer's books locked: then the
record stands still, nobody may raise a version, and a restriction that is under way
has either committed or gone. Only a repair that is written under that lock can never
take back what somebody has just forbidden.
"""

from __future__ import annotations

import enum
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
import redis
from django.db import OperationalError, transaction
from msgspec import structs

from aforo.lib import clock, sql
from guard import agent_facts, facts, projection, stores
from guard.engine import keys, settle, state
from guard.facts import CustomerFacts

logger = logging.getLogger(__name__)

# Books that a long transaction holds are compared the next time.
LOCK_MS: Final = 2_000

LOCK = "SELECT customer_id FROM billing_customerbooks WHERE customer_id = %b FOR UPDATE"
TENANTS = "SELECT id FROM core_tenant"


class Kind(enum.StrEnum):
    """How an edge differs from its record."""

    WRONG = "wrong"  # other totals, configuration or ids at the same version
    LOST = "lost"  # an older version than was written, or none
    AHEAD = "ahead"  # a version that the record does not have
    DUE = "due"  # right when it was written; a period or contract has turned since


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the edge was from the record before it was repaired."""

    customers: int  # that were compared
    wrong: int = 0
    lost: int = 0
    ahead: int = 0
    micros: int = 0  # by which running sums of holds were off
    service_keys: int = 0  # of tenants, that the edge had otherwise

    @property
    def is_any(self) -> bool:
        """Whether anything had to be repaired that no passing of time explains."""
        return self != Drift(self.customers)


class Look(NamedTuple):
    """What the edge has of one customer."""

    config: dict[bytes, bytes]
    totals: dict[bytes, bytes]
    identities: list[bytes | None]  # in the order of the record's

    @property
    def versions(self) -> tuple[int, int]:
        """Versions of configuration and totals; −1 where there is none."""
        return int(self.config.get(b"v", -1)), int(self.totals.get(b"v", -1))


def _look(client: redis.Redis, tags: Iterable[str]) -> dict[str, Look]:
    """Return what the edge has of customers, without their ids, by tag."""
    wanted = list(tags)
    with client.pipeline(transaction=False) as pipe:
        for tag in wanted:
            pipe.hgetall(keys.config_key(tag))
            pipe.hgetall(keys.totals_key(tag))
        replies = iter(pipe.execute())
    return {tag: Look(next(replies), next(replies), []) for tag in wanted}


def _with_identities(
    client: redis.Redis, looks: Mapping[str, Look], found: Sequence[CustomerFacts]
) -> dict[str, Look]:
    """Add where the edge says that the ids of the record live."""
    named = [customer for customer in found if customer.identities]
    with client.pipeline(transaction=False) as pipe:
        for customer in named:
            place = keys.identities_key(customer.tenant_tag)
            pipe.hmget(place, list(customer.identities))
        replies = pipe.execute()
    told = {c.tag: reply for c, reply in zip(named, replies, strict=True)}
    return {
        tag: look._replace(identities=told.get(tag, [])) for tag, look in looks.items()
    }


def _rest(fields: Mapping[bytes, bytes]) -> dict[str, bytes]:
    """Return the fields but for the version."""
    return {name.decode(): value for name, value in fields.items() if name != b"v"}


def _totals_kind(told: Mapping[str, bytes], right: Mapping[str, bytes]) -> Kind | None:
    """Compare totals of the same version: those of a period that is over are dead."""
    if told == right:
        return None
    try:
        ends_at = msgspec.msgpack.decode(
            told["cust"], type=state.CustomerTotals
        ).ends_at
    except (KeyError, msgspec.DecodeError):
        return Kind.WRONG
    return Kind.DUE if ends_at <= agent_facts.milliseconds(clock.now()) else Kind.WRONG


def _timeless(fields: Mapping[str, bytes], now_ms: int) -> dict[str, Any]:
    """Return configuration without what only the passing of time takes from it."""
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        if name.startswith("c:"):
            credential = msgspec.msgpack.decode(value, type=state.Credential)
            if credential.revoked or (credential.expires_at or now_ms + 1) <= now_ms:
                continue  # Forgotten a day after its end.
        if name == "cust":
            customer = msgspec.msgpack.decode(value, type=state.Customer)
            kept[name] = structs.replace(customer, bounds=())
        else:
            kept[name] = value
    return kept


def _config_kind(told: Mapping[str, bytes], right: Mapping[str, bytes]) -> Kind | None:
    """Compare configuration of the same version."""
    if told == right:
        return None
    now_ms = agent_facts.milliseconds(clock.now())
    try:
        is_due = _timeless(told, now_ms) == _timeless(right, now_ms) and all(
            # What is refused must be at the edge for as long as the record has it.
            told.get(name) == value
            for name, value in right.items()
            if name.startswith("c:")
        )
    except msgspec.DecodeError:
        return Kind.WRONG
    return Kind.DUE if is_due else Kind.WRONG


def _kind(look: Look, customer: CustomerFacts) -> Kind | None:
    """Return how the edge differs from the record; None when it does not."""
    config_version, version = look.versions
    if config_version > customer.config_version or version > customer.version:
        return Kind.AHEAD
    projected = customer.projected_config_version, customer.projected_version
    if config_version < projected[0] or version < projected[1]:
        return Kind.LOST
    kinds = []
    if version == customer.version:
        kinds.append(_totals_kind(_rest(look.totals), customer.totals))
    if config_version == customer.config_version:
        kinds.append(_config_kind(_rest(look.config), customer.config))
        if look.identities != list(customer.identities.values()):
            kinds.append(Kind.WRONG)
    return next((kind for kind in (Kind.WRONG, Kind.DUE) if kind in kinds), None)


def _candidates(client: redis.Redis, customer_ids: Sequence[uuid.UUID]) -> set[Any]:
    """Return the customers that look as if edge and record differed."""
    tags = projection.tags(customer_ids)
    looks = _look(client, tags)
    with sql.snapshot():
        found = facts.read(customer_ids)
    looks = _with_identities(client, looks, found)
    odd = [c for c in found if c.tag in looks and _kind(looks[c.tag], c) is not None]
    # What was projected while we read is no loss: the record is read already.
    again = _with_identities(client, _look(client, [c.tag for c in odd]), odd)
    return {c.id for c in odd if _kind(again[c.tag], c) is not None}


def _settle(client: redis.Redis, customer_id: uuid.UUID) -> Kind | None:
    """Compare one customer while its books stand still, and repair what differs."""
    with transaction.atomic():
        with sql.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
            cursor.execute(LOCK, [customer_id])
        found = facts.read([customer_id])
        if not found:
            return None
        looks = _look(client, [found[0].tag])
        kind = _kind(_with_identities(client, looks, found)[found[0].tag], found[0])
        if kind is not None:
            projection.write(client, found, config=True, repair=True)
        return kind


def reconcile(customer_ids: Sequence[uuid.UUID]) -> Drift:
    """Compare the edge of customers with the record, repair it, and say by how much.

    As worker or owner. Raises redis.RedisError when the store does not answer.
    """
    client = stores.for_projection()
    kinds: dict[Kind, int] = dict.fromkeys(Kind, 0)
    micros = 0
    # A contract that turned a moment ago is projected by the beat.
    due = set(projection.behind(clock.now()))
    for start in range(0, len(customer_ids), projection.CHUNK):
        chunk = customer_ids[start : start + projection.CHUNK]
        for customer_id in sorted(_candidates(client, chunk) - due):
            try:
                kind = _settle(client, customer_id)
            except OperationalError as error:
                logger.info("the books of %s are busy: %s", customer_id, error)
                continue
            if kind is not None:
                kinds[kind] += 1
                logger.warning("edge of customer %s: %s", customer_id, kind)
        for tag in projection.tags(chunk):
            micros += abs(settle.recount(client, tag).drift_micros)
    return Drift(
        len(customer_ids),
        kinds[Kind.WRONG],
        kinds[Kind.LOST],
        kinds[Kind.AHEAD],
        micros,
        _service_keys(client),
    )


def _service_keys(client: redis.Redis) -> int:
    """Compare every service key, and project the tenants of those that differ."""
    with sql.cursor() as cursor:
        tenants = [row[0] for row in cursor.execute(TENANTS).fetchall()]
    count = 0
    for start in range(0, len(tenants), projection.CHUNK):
        chunk = tenants[start : start + projection.CHUNK]
        count += projection.repair_service_keys(client, chunk)
    return count
