"""Two ways to perform what a check needs: waiting on asyncio, or blocking."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import logging
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import redis
from django.conf import settings
from django.db import close_old_connections

from aforo.lib import clock
from guard import record, stores
from guard.engine import scripts
from guard.memory import STALE_S, Memory
from guard.operations import (
    Changes,
    Fields,
    Operation,
    Record,
    RecordFault,
    RecordIdentity,
    RecordKey,
    Run,
    StoreFault,
    Warm,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")

RECORD_THREADS: Final = 4
# A look-up is at most this many statements.
LOOK_UP_STATEMENTS: Final = 2
WARM_S: Final = 3.0
# After the record failed to answer, how long nobody asks it again.
RECORD_PAUSE_S: Final = 1.0
PROBE_S: Final = 1.0
# What changed so long before the store went away is projected again: a store that
# lost its last seconds has not got all that it was told.
CATCH_UP_WITHIN: Final = dt.timedelta(minutes=10)
# A change may commit after the projection that it began before.
CATCH_UP_OVERLAP: Final = dt.timedelta(seconds=5)


def _record_call(operation: Operation) -> tuple[Callable[[], Any], float]:
    """Return the blocking call of an operation on Postgres, and its patience."""
    patience_s = settings.GUARD_LOOKUP_S * LOOK_UP_STATEMENTS
    match operation:
        case Warm():
            return lambda: record.warm(operation), WARM_S
        case Record(warm):
            return lambda: record.snapshot(warm), patience_s
        case RecordKey(digest):
            return lambda: record.service_key(digest), patience_s
        case RecordIdentity(tenant_id, field):
            return lambda: record.identity(tenant_id, field), patience_s
        case Changes():
            return record.changes, patience_s
    raise AssertionError(f"{operation} is no operation on the record")


class Recovery:
    """Closes the breaker once the store answers and knows what changed meanwhile."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._running = threading.Lock()
        self._stopped = threading.Event()
        self._away_since = clock.now()
        self._caught_up_at: dt.datetime | None = None

    def start(self) -> None:
        """Probe the store in the background until it is back; once at a time."""
        if self._running.acquire(blocking=False):
            threading.Thread(target=self._run, name="recovery", daemon=True).start()

    def stop(self) -> None:
        """End the probing, if it is under way, and wait for its end."""
        self._stopped.set()
        with self._running:
            self._stopped.clear()

    def _run(self) -> None:
        self._away_since = clock.now()
        try:
            while not self._is_back():
                self._hear_of_changes()
                if self._stopped.wait(PROBE_S):
                    return
            if self._memory.breaker.is_open:
                self._memory.local.forget()
                self._memory.breaker.close()
        finally:
            self._running.release()

    def _hear_of_changes(self) -> None:
        """Let doors know whose configuration changed while the store is away."""
        try:
            self._memory.changes.put("all", record.changes())
        except RecordFault:
            pass  # What was heard last stands.
        finally:
            close_old_connections()

    def _is_back(self) -> bool:
        """Return whether the store takes writes and has what changed."""
        try:
            # A store that is read-only or full answers PING, so a write is tried.
            stores.for_checks().set("aforo:guard:probe", "1", px=1000)
            # Idle connections may lead to a peer that is gone without a word.
            stores.for_projection().connection_pool.disconnect(inuse_connections=False)
            self._catch_up()
        except RecordFault:
            # Without the record nothing can have changed either.
            return True
        except redis.RedisError:
            return False
        except Exception:
            # Whatever it is, the next probe may find it gone; this thread must live.
            logger.exception("the store could not be probed")
            return False
        finally:
            close_old_connections()
        return True

    def _catch_up(self) -> None:
        """Project what changed, since the last time when that is not long ago.

        A store that comes and goes is not asked for the same work each time.
        """
        now = clock.now()
        since = self._away_since - CATCH_UP_WITHIN
        if self._caught_up_at is not None:
            since = max(since, self._caught_up_at - CATCH_UP_OVERLAP)
        record.catch_up(since)
        known = self._memory.service_keys.all(within_s=STALE_S)
        record.catch_up_service_keys({key.tenant_id for key in known})
        self._caught_up_at = now


def note_fault(memory: Memory, recovery: Recovery, error: Exception) -> StoreFault:
    """Count a fault of the store; return it as the flow knows it.

    What is no fault of the store is raised again: it is ours.
    """
    kind = stores.fault_kind(error)
    if kind is None:
        raise error
    if memory.breaker.fault():
        logger.error("the guard's store is skipped: %s", kind)
        recovery.start()
    elif kind != "timeout":
        # Where calls are too few to open the breaker, what the store was not told
        # must reach it all the same; one that is only slow has been told.
        recovery.start()
    return StoreFault(kind)


class Blocking:
    """Performs operations one after the other, in the caller's thread."""

    def __init__(self, memory: Memory, recovery: Recovery, client: redis.Redis) -> None:
        self._memory, self._recovery, self._client = memory, recovery, client
        self._warming: dict[str, threading.Lock] = {}

    def run(self, flow: Generator[Operation, Any, T]) -> T:
        """Return what the flow returns."""
        answer: Any = None
        fault: Exception | None = None
        try:
            while True:
                operation = flow.throw(fault) if fault else flow.send(answer)
                answer = fault = None
                try:
                    answer = self._perform(operation)
                except (StoreFault, RecordFault) as error:
                    fault = error
        except StopIteration as end:
            result: T = end.value
            return result

    def _perform(self, operation: Operation) -> Any:
        if isinstance(operation, Fields | Run):
            return self._ask_store(operation)
        call, _ = _record_call(operation)
        if not isinstance(operation, Warm):
            return call()
        with self._warming.setdefault(operation.tag, threading.Lock()):
            try:
                return call()
            finally:
                self._warming.pop(operation.tag, None)

    def _ask_store(self, operation: Fields | Run) -> Any:
        if self._memory.breaker.is_open:
            # It may have opened again just as the last probing ended.
            self._recovery.start()
            raise StoreFault("skipped")
        try:
            if isinstance(operation, Run):
                return scripts.run(self._client, operation.call)
            return self._client.hmget(operation.key, list(operation.names))
        except (redis.RedisError, OSError) as error:
            raise note_fault(self._memory, self._recovery, error) from error


class Waiting:
    """Performs operations for one event loop; Postgres is asked in threads."""

    def __init__(self, memory: Memory, recovery: Recovery) -> None:
        self._memory, self._recovery = memory, recovery
        self._client = stores.for_async_checks()
        self._threads = ThreadPoolExecutor(RECORD_THREADS, "record")
        self._warming: dict[str, asyncio.Future[Any]] = {}
        self._changes: asyncio.Future[Any] | None = None
        self._record_rests_until = 0.0

    async def run(self, flow: Generator[Operation, Any, T]) -> T:
        """Return what the flow returns."""
        answer: Any = None
        fault: Exception | None = None
        try:
            while True:
                operation = flow.throw(fault) if fault else flow.send(answer)
                answer = fault = None
                try:
                    if isinstance(operation, Fields | Run):
                        answer = await self._ask_store(operation)
                    else:
                        answer = await self._ask_record(operation)
                except (StoreFault, RecordFault) as error:
                    fault = error
        except StopIteration as end:
            result: T = end.value
            return result

    def close(self) -> None:
        """Close the connections and threads of this loop."""
        self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask_store(self, operation: Fields | Run) -> Any:
        if self._memory.breaker.is_open:
            # It may have opened again just as the last probing ended.
            self._recovery.start()
            raise StoreFault("skipped")
        try:
            if isinstance(operation, Run):
                return await scripts.run_async(self._client, operation.call)
            return await self._client.hmget(operation.key, list(operation.names))
        except (redis.RedisError, OSError) as error:
            raise note_fault(self._memory, self._recovery, error) from error

    async def _ask_record(self, operation: Operation) -> Any:
        call, patience_s = _record_call(operation)
        if time.monotonic() < self._record_rests_until:
            raise RecordFault("the record did not answer a moment ago")
        if isinstance(operation, Warm):
            future = self._warming.get(operation.tag)
            if future is None:
                future = self._submit(call)
                self._warming[operation.tag] = future
                future.add_done_callback(
                    lambda _: self._warming.pop(operation.tag, None)
                )
        elif isinstance(operation, Changes):
            future = self._asked_changes(call)
        else:
            future = self._submit(call)
            if isinstance(operation, RecordKey):
                heard = functools.partial(self._heard_key, operation.digest)
                future.add_done_callback(heard)
        try:
            # Shielded: others may wait for the same answer.
            async with asyncio.timeout(patience_s):
                return await asyncio.shield(future)
        except TimeoutError as error:
            self._record_rests_until = time.monotonic() + RECORD_PAUSE_S
            raise RecordFault("the record did not answer in time") from error

    def _asked_changes(self, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """Return the one look for what changed; its answer counts however late."""
        if self._changes is None or self._changes.done():
            self._changes = self._submit(call)
            self._changes.add_done_callback(self._heard_changes)
        return self._changes

    def _heard_changes(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._memory.changes.put("all", future.result())

    def _heard_key(self, digest: str, future: asyncio.Future[Any]) -> None:
        """Believe the record of a service key, also when nobody waits any more."""
        if not future.cancelled() and future.exception() is None and future.result():
            self._memory.service_keys.put(digest, future.result())

    def _submit(self, call: Callable[[], Any]) -> asyncio.Future[Any]:
        def run() -> Any:
            try:
                return call()
            finally:
                close_old_connections()

        return asyncio.get_running_loop().run_in_executor(self._threads, run)
