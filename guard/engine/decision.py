"""Questions to the guard and its answers, as values."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

WARN_AT: Final = 80  # Percent of a quota or cap.
_WARNED: Final = ("quota.", "spend_cap.")


class Outcome(enum.StrEnum):
    """What becomes of the request."""

    ALLOW = "allow"
    THROTTLE = "throttle"
    DENY = "deny"


class Reason(enum.StrEnum):
    """Why a request was refused or throttled: <check>.<scope>.<window>.

    A state has no window and so no third part. Adding one means adding its status,
    code and words in guard/wording.py; docs/guard.md lists them all.
    """

    CREDENTIAL_UNKNOWN = "credential.unknown"
    CREDENTIAL_REVOKED = "credential.revoked"
    CREDENTIAL_EXPIRED = "credential.expired"
    IDENTITY_UNKNOWN = "identity.unknown"
    CUSTOMER_SUSPENDED = "customer.suspended"
    AGENT_PAUSED = "agent.paused"
    AGENT_THROTTLED = "agent.throttled"
    CUSTOMER_THROTTLED = "customer.throttled"
    PRODUCT_NOT_ENTITLED = "product.not_entitled"
    PRODUCT_AMBIGUOUS = "product.ambiguous"
    FEATURE_NOT_ENTITLED = "feature.not_entitled"
    SUBSCRIPTION_INACTIVE = "subscription.inactive"
    ESTIMATE_TOO_LARGE = "estimate.too_large"
    REQUEST_ID_USED = "request_id.used"
    LOOP_CALL = "loop.call.window"
    LOOP_REQUEST = "loop.request.window"
    LOOP_STREAK = "loop.agent.streak"
    REQUESTS_MINUTE = "requests.subscription.minute"
    TOKENS_MINUTE = "tokens.subscription.minute"
    QUOTA_PERIOD = "quota.subscription.period"
    SPEND_CAP_AGENT = "spend_cap.agent.period"
    SPEND_CAP_TEAM = "spend_cap.team.period"
    SPEND_CAP_SUBSCRIPTION = "spend_cap.subscription.period"
    SPEND_CAP_CUSTOMER = "spend_cap.customer.period"
    WALLET = "wallet.customer.balance"
    CEILING = "ceiling.request.call"
    OPEN_CALLS = "open_calls.customer.total"
    OUTAGE = "outage.store.now"
    MARGIN_SUBSCRIPTION = "margin.subscription.period"
    MARGIN_CUSTOMER = "margin.customer.period"
    MARGIN_AGENT = "margin.agent.period"
    MARGIN_PRODUCT = "margin.product.period"


# By the severity that the script counts in.
MARGIN_LEVELS = ("ok", "warn", "throttle", "block")


class CheckRequest(msgspec.Struct, frozen=True, gc=False):
    """One request to be judged, whoever asked.

    Texts are what the caller named, empty when nothing was; the script compares them
    with what the credential says.
    """

    tag: str  # the customer's hash tag
    request_id: str  # idempotency of the check, id of the hold
    decision_id: str
    tenant_id: str = ""  # that must own the customer; empty: the caller's own key
    digest: str = ""  # of the credential
    client_id: str = ""
    customer: str = ""
    agent: str = ""
    team: str = ""
    subscription: str = ""
    product: str = ""
    feature: str = ""
    tenant: str = ""
    session: str = ""  # the caller's own id of it
    # Set when request_id is a correlation id that stands in while it is unused.
    minted_id: str = ""
    amount_micros: int | None = None
    ceiling_micros: int | None = None
    tokens: int | None = None
    units: Mapping[str, int] = msgspec.field(default_factory=dict)
    dry_run: bool = False  # Only asked: nothing is held, counted or written.
    # What the loop guard counts; empty where the caller did not say.
    tool: str = ""
    args_hash: str = ""
    last_tool_status: str = ""


class Limit(msgspec.Struct, frozen=True, gc=False):
    """One limit that was looked at, after this request."""

    name: str  # a Reason
    unit: str  # requests, tokens, micros, calls or a measurement
    limit: int
    used: int
    reset_at_ms: int  # 0: it does not reset

    @property
    def remaining(self) -> int:
        """What is left, never below zero."""
        return max(0, self.limit - self.used)


class Facts(msgspec.Struct, frozen=True, gc=False):
    """Whom the request was found to be for."""

    tenant_id: str
    customer_id: str
    agent_id: str
    subscription_id: str
    product_id: str
    credential_id: str
    currency: str
    on_outage: str
    throttle_model: str
    credential_expires_at_ms: int  # 0: never
    config_version: int
    margin_level: str = "ok"  # One of MARGIN_LEVELS.
    spend_level: str = ""  # The key of the plan's level; empty where it has none.


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The guard's answer; expected refusals are values, not exceptions."""

    outcome: Outcome
    reason: Reason | None
    decision_id: str
    now_ms: int  # the server's clock when it was decided
    facts: Facts | None = None
    limits: tuple[Limit, ...] = ()
    retry_at_ms: int = 0  # 0: waiting does not help
    hold_key: bytes = b""
    hold_until_ms: int = 0
    estimate_micros: int = 0
    estimate_defaulted: bool = False
    replayed: bool = False
    degraded: bool = False
    # Observe-only: what would have been decided, had the guard enforced, and why.
    would: Outcome | None = None
    would_reason: Reason | None = None
    override_id: str = ""  # ovr_… that exempted the call from a limit
    # Rules in shadow that would have refused or slowed it: for reports, not callers.
    shadow: tuple[Limit, ...] = ()

    @property
    def binding(self) -> Limit | None:
        """The limit that refused or slowed the request, if one did."""
        named = [one for one in self.limits if one.name == self.reason]
        # Several quotas share a name: the one that is used up is meant.
        full = [one for one in named if one.remaining == 0]
        return next(iter(full or named), None)

    @property
    def nearly(self) -> Limit | None:
        """The first quota or cap of the period that is used to its warn line."""
        for one in self.limits:
            if one.used * 100 >= one.limit * WARN_AT and one.name.startswith(_WARNED):
                return one
        return None


class Cold(msgspec.Struct, frozen=True, gc=False):
    """The edge knows nothing of this customer yet: project it and ask again."""

    tag: str
