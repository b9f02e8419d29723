"""What one door process remembers between requests; all of it may be lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

from aforo.lib.errors import AforoError
from guard.engine.decision import CheckRequest, Decision, Outcome, Reason
from guard.engine.state import Identity, ServiceKey
from guard.outage import Breaker, Known, LocalLimits, Recent

# Revocation reaches every door within a second, so nothing is believed for longer.
FRESH_S: Final = 1.0
# Without store and record, what was true ten minutes ago still opens the door.
STALE_S: Final = 600.0
# A customer that the record does not have is not looked for again at once.
ABSENT_S: Final = 5.0
FAILURES_PER_MINUTE: Final = 100
# Refusals that say nothing of the caller.
_OF_THE_CALL: Final = frozenset({Reason.ESTIMATE_TOO_LARGE, Reason.REQUEST_ID_USED})


def subject(request: CheckRequest) -> Hashable:
    """Return what of a request decides whom it is for."""
    return (
        request.tag,
        request.tenant_id,
        request.digest,
        request.client_id,
        request.customer,
        request.agent,
        request.team,
        request.subscription,
        request.product,
        request.feature,
        request.tenant,
    )


class Failures:
    """Counts refused credentials per caller's address, a minute at a time."""

    def __init__(self, most: int = FAILURES_PER_MINUTE) -> None:
        self._most = most
        self._minute = 0
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def _turn(self) -> float:
        """Start a new minute when one begins; return the seconds left of this one."""
        minute, into = divmod(time.monotonic(), 60)
        if int(minute) != self._minute:
            self._minute = int(minute)
            self._counts.clear()
        return 60 - into

    def refuse_if_full(self, address: str) -> None:
        """Raise AforoError 429 for an address that failed too often."""
        with self._lock:
            left = self._turn()
            if self._counts.get(address, 0) < self._most:
                return
        raise AforoError(
            "too_many_attempts",
            429,
            "too many refused credentials from this address",
            retry_after=left,
        )

    def note(self, address: str) -> None:
        """Count one refusal."""
        with self._lock:
            self._turn()
            self._counts[address] = self._counts.get(address, 0) + 1


@dataclass(slots=True)
class Memory:
    """One process's caches, breaker and local limits."""

    service_keys: Recent[str, ServiceKey] = field(default_factory=Recent)
    identities: Recent[str, Identity] = field(default_factory=Recent)
    known: Recent[Hashable, Known] = field(default_factory=Recent)
    absent: Recent[str, bool] = field(default_factory=Recent)
    # Tags of customers that were judged: they exist.
    seen: Recent[str, bool] = field(default_factory=Recent)
    changes: Recent[str, dict[str, int]] = field(default_factory=Recent)
    failures: Failures = field(default_factory=Failures)
    breaker: Breaker = field(default_factory=Breaker)
    local: LocalLimits = field(default_factory=LocalLimits)

    def learn(self, request: CheckRequest, decision: Decision) -> None:
        """Remember whom a judged request was for, for the time of an outage.

        Who was refused for what it is, not for what it used, is known no more: a
        fault of the store must not let a revoked secret pass once again.
        """
        if decision.outcome == Outcome.DENY and not decision.limits:
            if decision.reason not in _OF_THE_CALL:
                self.known.drop(subject(request))
            return
        if decision.facts is not None and decision.facts.subscription_id:
            self.seen.put(request.tag, True)
            self.known.put(
                subject(request),
                Known(decision.facts, decision.limits, decision.estimate_micros),
            )
