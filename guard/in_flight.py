"""What a customer's open holds reserve: calls let through that no usage has settled."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
from redis.exceptions import RedisError

from guard import stores
from guard.engine import keys

# Holds that ran out and that no check has given back yet: read at most so many.
ENDED_MAX = 1_000
MICROS = Decimal(1_000_000)
_USED = b"u"  # What stands where a hold was settled, released or expired.


@dataclass(frozen=True, slots=True)
class InFlight:
    """How many calls are open, and what they reserve of the customer's money."""

    calls: int
    amount: Decimal


def of_customer(tag: str) -> InFlight | None:
    """Return what a customer's open holds reserve; None when Redis does not answer.

    The same figure that a check compares with the wallet and the customer's cap: holds
    that ran out count no more. It only reads; three round trips.
    """
    store = stores.for_pages()
    held, ends, sums = keys.hold_keys(tag)
    try:
        seconds, micros = store.time()
        now_ms = seconds * 1000 + micros // 1000
        open_calls, micros_held = store.hmget(sums, ["n", "m"])
        ended: Any = store.zrangebyscore(ends, "-inf", now_ms, 0, ENDED_MAX)
        gone: Any = store.hmget(held, ended) if ended else []
    except (RedisError, OSError):
        return None
    over = [msgspec.msgpack.decode(one) for one in gone if one not in (None, _USED)]
    calls = int(open_calls or 0) - len(over)
    amount = int(micros_held or 0) - sum(int(one["m"]) for one in over)
    return InFlight(max(calls, 0), Decimal(max(amount, 0)) / MICROS)
