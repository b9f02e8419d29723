"""A slow, obvious model of the guard: plain lists, one rule after the other.

It predicts what check.lua answers from the instant that the script reports. It knows
nothing of hashes, packed windows or running sums: everything is added up anew.
"""

from __future__ import annotations

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

    def in_flight(self, now_ms: int) -> list[ShadowHold]:
        for hold in self.holds.values():
            if hold.until_ms <= now_ms:
                hold.state = "used"
        return [hold for hold in self.holds.values() if hold.state == "open"]

    def verdict(self, *, request_id: str, micros: int, tokens: int, now_ms: int) -> str:
        """Return the reason of the refusal, `replay`, or `allow`."""
        in_flight = self.in_flight(now_ms)
        known = self.holds.get(request_id)
        if known is not None:
            return "replay" if known.state == "open" else "request_id.used"
        second = now_ms // 1000
        recent = [at for at in self.request_times if at >= second - 60]
        recent_tokens = sum(n for at, n in self.token_times if at >= second - 60)
        held = sum(hold.micros for hold in in_flight)
        held_tokens = sum(hold.tokens for hold in in_flight)
        if passes(self.requests_per_minute, len(recent) + 1):
            return "requests.subscription.minute"
        if passes(self.tokens_per_minute, recent_tokens + tokens):
            return "tokens.subscription.minute"
        if self.token_quota is not None:
            so_far = self.tokens_used + held_tokens
            if so_far >= self.token_quota or so_far + tokens > self.token_quota:
                return "quota.subscription.period"
        so_far = self.spend + held
        for scope, cap in (
            ("agent", self.agent_cap),
            ("team", self.team_cap),
            ("customer", self.spend_cap),
        ):
            if cap is not None and (so_far >= cap or so_far + micros > cap):
                return f"spend_cap.{scope}.period"
        if self.wallet:
            left = self.available - held
            if left <= 0 or left < micros:
                return "wallet.customer.balance"
        return "allow"

    def admit(
        self,
        *,
        request_id: str,
        micros: int,
        tokens: int,
        now_ms: int,
        until_ms: int,
        decision_id: str,
    ) -> None:
        """Note an admitted request; a replay only counts."""
        self.request_times.append(now_ms // 1000)
        if request_id in self.holds:
            return
        self.token_times.append((now_ms // 1000, tokens))
        self.holds[request_id] = ShadowHold(micros, tokens, until_ms, decision_id)

    def settle(self, request_id: str, *, micros: int, tokens: int) -> None:
        """Move a request from in flight to the totals, at its real size."""
        self.spend += micros
        self.tokens_used += tokens
        self.available -= micros
        hold = self.holds.setdefault(request_id, ShadowHold(0, 0, 0, ""))
        hold.state = "used"
