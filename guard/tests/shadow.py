"""A slow, obvious model of the guard: plain lists, one rule after the other.

It predicts what check.lua answers from the instant that the script reports. It knows
nothing of hashes, packed windows or running sums: everything is added up anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


def passes(limit: int | None, value: int) -> bool:
    return limit is not None and value > limit


@dataclass
class ShadowHold:
    """One admitted request."""

    micros: int
    tokens: int
    until_ms: int
    decision_id: str
    state: str = "open"  # open, or used


@dataclass
class Shadow:
    """One customer with one subscription."""

    requests_per_minute: int | None
    tokens_per_minute: int | None
    token_quota: int | None
    spend_cap: int | None
    wallet: bool
    agent_cap: int | None = None
    team_cap: int | None = None
    spend: int = 0
    tokens_used: int = 0
    available: int = 0
    request_times: list[int] = field(default_factory=list)
    token_times: list[tuple[int, int]] = field(default_factory=list)
    holds: dict[str, ShadowHold] = field(default_factory=dict)
    # Reasons that are judged and not enforced, and those that the last call met.
    not_enforced: frozenset[str] = frozenset()
    would: list[str] = field(default_factory=list)
    same_calls: int | None = None  # equal calls within any minute
    call_times: list[tuple[int, str]] = field(default_factory=list)

    def in_flight(self, now_ms: int) -> list[ShadowHold]:
        for hold in self.holds.values():
            if hold.until_ms <= now_ms:
                hold.state = "used"
        return [hold for hold in self.holds.values() if hold.state == "open"]

    def verdict(
        self, *, request_id: str, micros: int, tokens: int, call: str, now_ms: int
    ) -> str:
        """Return the reason of the refusal, `replay`, or `allow`."""
        in_flight = self.in_flight(now_ms)
        self.would = []
        known = self.holds.get(request_id)
        if known is not None:
            return "replay" if known.state == "open" else "request_id.used"
        for reason in self.reasons(in_flight, micros, tokens, now_ms, call):
            if reason not in self.not_enforced:
                self.would = []
                return reason
            self.would.append(reason)
        return "allow"

    def reasons(
        self,
        in_flight: list[ShadowHold],
        micros: int,
        tokens: int,
        now_ms: int,
        call: str,
    ) -> Iterator[str]:
        """Yield every rule that the call does not fit, in their order."""
        second = now_ms // 1000
        recent = [at for at in self.request_times if at >= second - 60]
        recent_tokens = sum(n for at, n in self.token_times if at >= second - 60)
        held = sum(hold.micros for hold in in_flight)
        held_tokens = sum(hold.tokens for hold in in_flight)
        equal = [
            at
            for at, one in self.call_times
            if one == call and at >= now_ms // 6_000 - 10
        ]
        if call and passes(self.same_calls, len(equal) + 1):
            yield "loop.call.window"
        if passes(self.requests_per_minute, len(recent) + 1):
            yield "requests.subscription.minute"
        if passes(self.tokens_per_minute, recent_tokens + tokens):
            yield "tokens.subscription.minute"
        if self.token_quota is not None:
            so_far = self.tokens_used + held_tokens
            if so_far >= self.token_quota or so_far + tokens > self.token_quota:
                yield "quota.subscription.period"
        so_far = self.spend + held
        for scope, cap in (
            ("agent", self.agent_cap),
            ("team", self.team_cap),
            ("customer", self.spend_cap),
        ):
            if cap is not None and (so_far >= cap or so_far + micros > cap):
                yield f"spend_cap.{scope}.period"
        if self.wallet:
            left = self.available - held
            if left <= 0 or left < micros:
                yield "wallet.customer.balance"

    def admit(
        self,
        *,
        request_id: str,
        micros: int,
        tokens: int,
        call: str,
        now_ms: int,
        until_ms: int,
        decision_id: str,
    ) -> None:
        """Note an admitted request; a replay only counts.

        What a rule in shadow would have stopped does not count for that rule.
        """
        if "requests.subscription.minute" not in self.would:
            self.request_times.append(now_ms // 1000)
        if request_id in self.holds:
            return
        if "tokens.subscription.minute" not in self.would:
            self.token_times.append((now_ms // 1000, tokens))
        if "loop.call.window" not in self.would:
            self.call_times.append((now_ms // 6_000, call))
        self.holds[request_id] = ShadowHold(micros, tokens, until_ms, decision_id)

    def settle(self, request_id: str, *, micros: int, tokens: int) -> None:
        """Move a request from in flight to the totals, at its real size."""
        self.spend += micros
        self.tokens_used += tokens
        self.available -= micros
        hold = self.holds.setdefault(request_id, ShadowHold(0, 0, 0, ""))
        hold.state = "used"


@dataclass
class ShadowWindow:
    """Calls that may come `count` times in ten slices; every one is kept."""

    count: int
    slice_ms: int
    admitted: list[int] = field(default_factory=list)

    def live(self, at_ms: int) -> list[int]:
        """Return the slices of the calls that still count."""
        now = at_ms // self.slice_ms
        return sorted(
            n for at in self.admitted if (n := at // self.slice_ms) >= now - 10
        )

    def verdict(self, at_ms: int, reason: str) -> str:
        """Return the reason when the window is full, else count the call."""
        if len(self.live(at_ms)) >= self.count:
            return reason
        self.admitted.append(at_ms)
        return "allow"

    def frees_at(self, at_ms: int) -> int:
        """Return when one more call would fit."""
        live = self.live(at_ms)
        return (live[len(live) - self.count] + 11) * self.slice_ms
