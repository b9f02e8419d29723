"""What the edge keeps of one customer: the records behind the fields of keys.py.

Short member names are what the Lua scripts read (MessagePack maps); instants are
milliseconds since 1970, money is whole micros. None means: no limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from aforo.lib.money import MICROS_MAX
from guard.engine import keys

ON_OUTAGE = ("open", "local", "closed")
ON_EXCEED = ("deny", "throttle", "bill", "alert")


class LimitTooLarge(ValueError):
    """A limit that the scripts could not compare exactly (above 2^53)."""


class Customer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Field `cust` of cfg: who pays."""

    id: str  # cus_…
    tenant_id: str = msgspec.field(name="ten")
    external_id: str | None = msgspec.field(name="x", default=None)
    state: str = msgspec.field(name="st")  # active or suspended
    currency: str = msgspec.field(name="cur")
    spend_cap: int | None = msgspec.field(name="cap", default=None)
    products: tuple[str, ...] = msgspec.field(name="p")  # subscribed, by prd_…
    bounds: tuple[int, ...] = msgspec.field(name="b")  # period ends, this and next
    throttled_until: int | None = msgspec.field(name="th", default=None)


class Credential(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Field c:<digest> of cfg: one secret."""

    id: str  # crd_…
    agent_id: str = msgspec.field(name="ag")
    client_id: str | None = msgspec.field(name="ci", default=None)
    revoked: bool = msgspec.field(name="rev", default=False)
    expires_at: int | None = msgspec.field(name="exp", default=None)
    products: tuple[str, ...] = msgspec.field(name="p")  # empty: all of the customer


class Agent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Field a:<agent id> of cfg: an app or an agent."""

    id: str  # agt_…
    state: str = msgspec.field(name="st")  # active or paused
    team_id: str = msgspec.field(name="tm")
    team_external_id: str | None = msgspec.field(name="tx", default=None)
    spend_cap: int | None = msgspec.field(name="cap", default=None)
    team_spend_cap: int | None = msgspec.field(name="tcap", default=None)
    throttled_until: int | None = msgspec.field(name="th", default=None)


class Exemption(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of the list in field `ov` of cfg: a limit that does not bind for a time."""

    id: str = msgspec.field(name="i")  # ovr_…
    limit: str = msgspec.field(name="l")  # a Reason
    agent_id: str | None = msgspec.field(name="a", default=None)  # None: all of them
    ends_at: int = msgspec.field(name="e")
    once: bool = msgspec.field(
        name="k", default=False
    )  # for the one call that takes it


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """A cumulative limit of a period on one unit."""

    metric: str = msgspec.field(name="m")  # tokens, requests, or a measurement
    limit: int = msgspec.field(name="l")
    on_exceed: str = msgspec.field(name="e")  # one of ON_EXCEED
    # Of keys.unit_key; config_fields() fills it in.
    unit_key: str = msgspec.field(name="k", default="")


class Repeats(msgspec.Struct, frozen=True, kw_only=True):
    """How often something may come in a window."""

    count: int = msgspec.field(name="n")
    seconds: int = msgspec.field(name="s")


class Loop(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When an agent goes in circles."""

    same_call: Repeats | None = msgspec.field(name="c", default=None)
    retries: Repeats | None = msgspec.field(name="r", default=None)
    errors: int | None = msgspec.field(name="e", default=None)  # in a row


class Subscription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Field s:<product id> of cfg: what the contract allows."""

    id: str  # sub_…
    state: str = msgspec.field(name="st")  # active, paused or cancelled
    starts_at: int = msgspec.field(name="from")
    ends_at: int | None = msgspec.field(name="to", default=None)
    requests_per_minute: int | None = msgspec.field(name="rpm", default=None)
    tokens_per_minute: int | None = msgspec.field(name="tpm", default=None)
    spend_cap: int | None = msgspec.field(name="cap", default=None)
    quotas: tuple[Quota, ...] = msgspec.field(name="q")
    estimate_prices: Mapping[str, int] = msgspec.field(name="ep")  # micros per 1e6
    default_estimate: int = msgspec.field(name="de")  # micros of one call
    wallet: bool = msgspec.field(name="w", default=False)  # the balance must cover it
    features: tuple[str, ...] = msgspec.field(name="f")
    on_outage: str = msgspec.field(name="oo")  # one of ON_OUTAGE
    max_call_s: int = msgspec.field(name="mc")
    throttle_model: str | None = msgspec.field(name="tmod", default=None)
    loop: Loop | None = msgspec.field(name="lo", default=None)
    # Reasons of rules that are judged and not enforced, quotas as reason|unit.
    shadow: Mapping[str, bool] | None = msgspec.field(name="sh", default=None)


class CustomerTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Field `cust` of use: what the customer has spent in the period."""

    spend: int = msgspec.field(name="m")  # micros, rounded up
    ends_at: int = msgspec.field(name="e")  # when this reads as zero
    available: int = msgspec.field(name="w")  # the wallet's micros, rounded down


class SubscriptionTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Field s:<subscription id> of use: what it used in the period."""

    spend: int = msgspec.field(name="m")
    quantities: Mapping[str, int] = msgspec.field(name="q")  # metric → rounded up


class ServiceKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A service key of a tenant, at svc."""

    id: str  # svk_…
    tenant_id: str = msgspec.field(name="ten")
    scopes: tuple[str, ...] = msgspec.field(name="s")
    revoked: bool = msgspec.field(name="rev", default=False)
    expires_at: int | None = msgspec.field(name="exp", default=None)


class Identity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where an id lives, at ids."""

    tag: str = msgspec.field(name="t")
    digest: str = msgspec.field(name="d", default="")  # of a client id's credential


pack = msgspec.msgpack.Encoder().encode


def _checked(name: str, limit: int | None) -> None:
    if limit is not None and not 0 <= limit <= MICROS_MAX:
        raise LimitTooLarge(f"{name} must be between 0 and 2^53; it is {limit}")


def _with_unit_keys(subscription: Subscription) -> Subscription:
    """Return the subscription whose quotas say where their unit is summed."""
    return msgspec.structs.replace(
        subscription,
        quotas=tuple(
            msgspec.structs.replace(quota, unit_key=keys.unit_key(quota.metric))
            for quota in subscription.quotas
        ),
    )


def config_fields(
    *,
    customer: Customer,
    credentials: Mapping[str, Credential],
    agents: Iterable[tuple[Agent, Iterable[str]]],
    subscriptions: Mapping[str, Subscription],
    products: Mapping[str, Iterable[str]],
    exemptions: Sequence[Exemption] = (),
    observe_until: int | None = None,
) -> dict[str, bytes]:
    """Return the fields of cfg.

    credentials by digest; agents with every name they go by; subscriptions by their
    field; products by id with every name. Until `observe_until` limits only report.
    Raises LimitTooLarge.
    """
    _checked("spend cap", customer.spend_cap)
    fields = {"cust": pack(customer)}
    for digest, credential in credentials.items():
        fields[keys.credential_field(digest)] = pack(credential)
    for agent, names in agents:
        _checked("spend cap of an agent", agent.spend_cap)
        _checked("spend cap of a team", agent.team_spend_cap)
        fields[keys.agent_field(agent.id)] = pack(agent)
        for name in names:
            fields[keys.agent_alias_field(name)] = agent.id.encode()
    for field, subscription in subscriptions.items():
        for name, limit in (
            ("requests per minute", subscription.requests_per_minute),
            ("tokens per minute", subscription.tokens_per_minute),
            ("spend cap", subscription.spend_cap),
            ("default estimate", subscription.default_estimate),
            *(
                (f"quota of {quota.metric}", quota.limit)
                for quota in subscription.quotas
            ),
            *((f"price of {u}", p) for u, p in subscription.estimate_prices.items()),
        ):
            _checked(name, limit)
        fields[field] = pack(_with_unit_keys(subscription))
    for product_id, names in products.items():
        for name in names:
            fields[keys.product_alias_field(name)] = product_id.encode()
    if exemptions:
        fields[keys.EXEMPTIONS_FIELD] = pack(exemptions)
    if observe_until is not None:
        fields[keys.OBSERVE_FIELD] = str(observe_until).encode()
    return fields


# Of subjects by id: severity (index of decision.MARGIN_LEVELS) and until when a block
# is released. Of subscriptions by id: thousandths by which limits a minute are
# multiplied and the level's key, inside the window and after it.
Margins = Mapping[str, tuple[int, int]]
Levels = Mapping[str, tuple[int, str, int, str]]


def totals_fields(
    *,
    customer: CustomerTotals,
    subscriptions: Mapping[str, SubscriptionTotals],
    margins: Margins | None = None,
    levels: Levels | None = None,
    spends: Mapping[str, int] | None = None,
) -> dict[str, bytes]:
    """Return the fields of use; subscriptions by id.

    `spends` are micros of the period by id of the agents and teams that a cap is on.
    """
    fields = {"cust": pack(customer)}
    if margins:
        fields["mg"] = pack(margins)
    if levels:
        fields["lv"] = pack(levels)
    for subscription_id, totals in subscriptions.items():
        fields[keys.usage_field(subscription_id)] = pack(totals)
    for subject_id, micros in (spends or {}).items():
        fields[keys.spend_field(subject_id)] = str(micros).encode()
    return fields
