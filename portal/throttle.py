"""Slow down guessing: failures counted per account and address, in the cache."""

from __future__ import annotations

import hashlib
import logging

import redis
from django.core.cache import cache

FAILURES_MAX = 5
# One address that tries many accounts is stopped too.
ADDRESS_FAILURES_MAX = 50
WINDOW_S = 15 * 60

log = logging.getLogger(__name__)


def _keys(account: str, ip: str) -> tuple[tuple[str, int], ...]:
    """Return each counter with its limit; accounts are kept as digests."""
    digest = hashlib.sha256(account.strip().lower().encode()).hexdigest()[:32]
    return (
        (f"signin:{digest}:{ip}", FAILURES_MAX),
        (f"signin:{ip}", ADDRESS_FAILURES_MAX),
    )


def is_blocked(account: str, ip: str) -> bool:
    """Tell whether too many attempts failed in the last 15 minutes.

    Without Redis nobody is locked out: the password still has to be right.
    """
    try:
        return any(int(cache.get(key, 0)) >= limit for key, limit in _keys(account, ip))
    except redis.RedisError:
        log.warning("sign-in attempts cannot be counted: Redis does not answer")
        return False


def note_failure(account: str, ip: str) -> None:
    """Count one failed attempt."""
    try:
        for key, _ in _keys(account, ip):
            cache.add(key, 0, WINDOW_S)
            cache.incr(key)
    except (redis.RedisError, ValueError):
        # ValueError: the counter expired between the two calls.
        log.warning("a failed sign-in was not counted")


def forget(account: str, ip: str) -> None:
    """Start the account's count anew after a success."""
    try:
        cache.delete(_keys(account, ip)[0][0])
    except redis.RedisError:
        log.warning("sign-in attempts were not reset: Redis does not answer")
