"""Clients of the guard's Redis, each with the patience of who asks."""

from __future__ import annotations

import functools
from typing import Final

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MaxConnectionsError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry

from guard import wire

PROJECT_TIMEOUT_S: Final = 5.0
# A page that somebody waits for goes on without the figure.
PAGE_TIMEOUT_S: Final = 0.25
# First words of replies that say the store is unfit, whatever class they come as.
_UNFIT: Final = (
    "READONLY",
    "LOADING",
    "OOM",
    "MISCONF",
    "BUSY",
    "CLUSTERDOWN",
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "MASTERDOWN",
    "NOREPLICAS",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
)
# Said without a first word of its own.
_FULL: Final = "max number of clients reached"
_KINDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (BusyLoadingError, "LOADING"),
    (ReadOnlyError, "READONLY"),
    (OutOfMemoryError, "OOM"),
    # Before CLUSTERDOWN, whose class it specialises.
    (MasterDownError, "MASTERDOWN"),
    (ClusterDownError, "CLUSTERDOWN"),
    # A cluster that moves slots: one server is known here, and it is not the one.
    # MOVED before ASK, whose class it specialises.
    (MovedError, "MOVED"),
    (AskError, "ASK"),
    (TryAgainError, "TRYAGAIN"),
    (NoPermissionError, "NOPERM"),
    (MaxConnectionsError, "busy"),
    (redis.TimeoutError, "timeout"),
    (TimeoutError, "timeout"),
    (redis.ConnectionError, "unreachable"),
    (OSError, "unreachable"),
)


def fault_kind(error: Exception) -> str | None:
    """Return the kind of a fault of the store, or None for a mistake of ours."""
    for cls, kind in _KINDS:
        if isinstance(error, cls):
            return kind
    if isinstance(error, ResponseError):
        word = str(error).partition(" ")[0].rstrip(":,")
        if _FULL in str(error):
            return "unreachable"
        return word if word in _UNFIT else None
    return "error" if isinstance(error, RedisError) else None


def _no_retry() -> Retry:
    """Return the policy of a request: what fails, fails at once."""
    return Retry(NoBackoff(), 0)


@functools.cache
def for_checks() -> redis.Redis:
    """Return the client of the blocking door: short patience, no retry."""
    return redis.Redis.from_url(
        settings.GUARD_REDIS_URL,
        socket_timeout=settings.GUARD_TIMEOUT_S,
        socket_connect_timeout=settings.GUARD_TIMEOUT_S,
        retry=_no_retry(),
    )


@functools.cache
def for_projection() -> redis.Redis:
    """Return the client that writes state: patient, for whole batches."""
    return redis.Redis.from_url(
        settings.GUARD_REDIS_URL,
        socket_timeout=PROJECT_TIMEOUT_S,
        socket_connect_timeout=1,
        health_check_interval=1,
    )


@functools.cache
def for_pages() -> redis.Redis:
    """Return the client of pages, which only read: more patient than a request."""
    return redis.Redis.from_url(
        settings.GUARD_REDIS_URL,
        socket_timeout=PAGE_TIMEOUT_S,
        socket_connect_timeout=PAGE_TIMEOUT_S,
        retry=_no_retry(),
    )


def for_async_checks() -> wire.Client:
    """Return a client for one event loop: short patience, no retry."""
    return wire.Client(settings.GUARD_REDIS_URL, timeout_s=settings.GUARD_TIMEOUT_S)
