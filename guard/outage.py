"""While the store is away: a breaker, what was last known, and local limits."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from msgspec import structs

from aforo.lib.clock import now
from guard.engine.decision import CheckRequest, Decision, Facts, Limit, Outcome, Reason

FAULTS_MAX: Final = 5
FAULT_WINDOW_S: Final = 1.0
OPEN_S: Final = 1.0
KNOWN_S: Final = 600.0
WINDOW_S: Final = 60
KNOWN_MAX: Final = 50_000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Clock = Callable[[], float]


def _wall() -> float:
    return now().timestamp()


class Breaker:
    """Counts faults of the store; after five in a second it is skipped.

    It stays open until somebody who saw the store answer closes it.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._faults: collections.deque[float] = collections.deque(maxlen=FAULTS_MAX)
        self._lock = threading.Lock()
        self.is_open = False

    def fault(self) -> bool:
        """Note a fault; return whether it opened the breaker."""
        with self._lock:
            at = self._clock()
            self._faults.append(at)
            full = len(self._faults) == FAULTS_MAX
            opens = full and at - self._faults[0] <= FAULT_WINDOW_S
            opened = opens and not self.is_open
            self.is_open = self.is_open or opens
            return opened

    def close(self) -> None:
        """Let calls reach the store again."""
        with self._lock:
            self._faults.clear()
            self.is_open = False


class Recent(Generic[K, V]):
    """A bounded memory of values with their age; the oldest is dropped first."""

    def __init__(self, size: int = KNOWN_MAX, clock: Clock = time.monotonic) -> None:
        self._size, self._clock = size, clock
        self._values: dict[K, tuple[float, V]] = {}

    def put(self, key: K, value: V) -> None:
        """Remember a value as of now."""
        self._values.pop(key, None)
        self._values[key] = (self._clock(), value)
        while len(self._values) > self._size:
            # Another thread may have dropped it already.
            self._values.pop(next(iter(self._values)), None)

    def get(self, key: K, *, within_s: float) -> V | None:
        """Return the value unless it is older than that."""
        found = self._values.get(key)
        if found is None or self._clock() - found[0] > within_s:
            return None
        return found[1]

    def drop(self, key: K) -> None:
        """Forget one."""
        self._values.pop(key, None)

    def all(self, *, within_s: float) -> list[V]:
        """Return the values that are not older than that."""
        oldest = self._clock() - within_s
        return [value for at, value in list(self._values.values()) if at >= oldest]

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()


@dataclass(frozen=True, slots=True)
class Known:
    """What a door last learnt about a caller."""

    facts: Facts
    limits: tuple[Limit, ...]
    estimate_micros: int


@dataclass(slots=True)
class _Granted:
    """What one process let pass for one subscription since the store went away."""

    # Per second: [second, requests, tokens]; at most a minute of them.
    seconds: collections.deque[list[int]] = field(default_factory=collections.deque)
    used: collections.Counter[tuple[str, str]] = field(
        default_factory=collections.Counter
    )


class LocalLimits:
    """Limits of one process of several: each holds its share.

    Rates always hold. Where the plan says `local`, so does the last known remainder
    of quotas, caps and credit; `open` lets those pass and bills them afterwards.
    """

    def __init__(self, processes: int = 1, clock: Clock = _wall) -> None:
        self._processes, self._clock = processes, clock
        self._granted: dict[str, _Granted] = {}
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Start anew: the store is back."""
        with self._lock:
            self._granted.clear()

    def _share(self, limit: int) -> int:
        return max(1, limit // self._processes) if limit > 0 else 0

    def judge(self, request: CheckRequest, known: Known) -> Decision:
        """Return the degraded decision and count what it lets pass."""
        at = int(self._clock())
        tokens = request.tokens
        if tokens is None:
            tokens = sum(
                request.units.get(name, 0) for name in ("input_tokens", "output_tokens")
            )
        micros = request.amount_micros
        need = {
            **request.units,
            "requests": 1,
            "tokens": tokens,
            "micros": known.estimate_micros if micros is None else micros,
        }
        with self._lock:
            granted = self._granted.setdefault(known.facts.subscription_id, _Granted())
            while granted.seconds and granted.seconds[0][0] < at - WINDOW_S:
                granted.seconds.popleft()
            seen: list[Limit] = []
            for limit in known.limits:
                local = self._local(limit, granted, known.facts.on_outage, at)
                if local is None:
                    continue
                seen.append(local)
                if local.used + need.get(limit.unit, 0) > local.limit:
                    return self._decision(request, known, at, seen, local)
            if not granted.seconds or granted.seconds[-1][0] != at:
                granted.seconds.append([at, 0, 0])
            granted.seconds[-1][1] += 1
            granted.seconds[-1][2] += tokens
            for limit in known.limits:
                granted.used[limit.name, limit.unit] += need.get(limit.unit, 0)
        return self._decision(request, known, at, seen, None, need["micros"])

    def _local(
        self, limit: Limit, granted: _Granted, on_outage: str, at: int
    ) -> Limit | None:
        """Return this process's part of a limit; None where it is not held."""
        if limit.name in {Reason.REQUESTS_MINUTE, Reason.TOKENS_MINUTE}:
            column = 1 if limit.name == Reason.REQUESTS_MINUTE else 2
            used = sum(second[column] for second in granted.seconds)
            first = granted.seconds[0][0] if granted.seconds else at
            reset = (first + WINDOW_S + 1) * 1000
            most = self._share(limit.limit)
            return structs.replace(limit, limit=most, used=used, reset_at_ms=reset)
        # What repeats is known to the store alone.
        if on_outage != "local" or limit.name.startswith("loop."):
            return None
        used = granted.used[limit.name, limit.unit]
        return structs.replace(
            limit, limit=limit.remaining // self._processes, used=used
        )

    def _decision(
        self,
        request: CheckRequest,
        known: Known,
        at: int,
        seen: list[Limit],
        refused_by: Limit | None,
        micros: int = 0,
    ) -> Decision:
        retry = (refused_by.reset_at_ms or (at + 60) * 1000) if refused_by else 0
        return Decision(
            outcome=Outcome.DENY if refused_by else Outcome.ALLOW,
            reason=Reason(refused_by.name) if refused_by else None,
            decision_id=request.decision_id,
            now_ms=at * 1000,
            facts=known.facts,
            limits=tuple(seen),
            retry_at_ms=retry,
            estimate_micros=micros,
            estimate_defaulted=request.amount_micros is None,
            degraded=True,
        )
