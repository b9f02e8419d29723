"""A customer on the edge, made by hand: what the tests of the engine start from."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import redis

from aforo.lib import crypto
from guard.engine import keys, settle, state
from guard.engine.check import check
from guard.engine.decision import CheckRequest, Decision

TENANT = "ten_acme"
PRODUCT = "prd_reviewer"
_numbers = itertools.count()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def subscription(**changes: Any) -> state.Subscription:
    values: dict[str, Any] = {
        "id": "sub_1",
        "state": "active",
        "starts_at": 0,
        "quotas": (),
        "estimate_prices": {"input_tokens": 3_000_000, "output_tokens": 15_000_000},
        "default_estimate": 10_000,
        "features": (),
        "on_outage": "open",
        "max_call_s": 900,
    }
    return state.Subscription(**{**values, **changes})


@dataclass
class Edge:
    """One customer with one agent and one credential, projected into a real Redis."""

    client: redis.Redis
    tag: str = field(default_factory=crypto.new_tag)
    digest: str = "d" * 64
    config_version: int = 1
    version: int = 1

    def project(
        self,
        *,
        customer: Mapping[str, Any] | None = None,
        credential: Mapping[str, Any] | None = None,
        agent: Mapping[str, Any] | None = None,
        subscriptions: Mapping[str, state.Subscription] | None = None,
        exemptions: Sequence[state.Exemption] = (),
        observe_until: int | None = None,
        **limits: Any,
    ) -> settle.Projected:
        """Project the configuration; `limits` are members of the subscription."""
        subs = subscriptions or {
            keys.subscription_field(PRODUCT): subscription(**limits)
        }
        products = sorted({field.split(":")[1] for field in subs})
        end = now_ms() + 3_600_000
        owner: dict[str, Any] = {
            "id": "cus_bob",
            "tenant_id": TENANT,
            "external_id": "cust_bob",
            "state": "active",
            "currency": "USD",
            "products": tuple(products),
            "bounds": (end, end + 3_600_000),
        }
        secret: dict[str, Any] = {
            "id": "crd_1",
            "agent_id": "agt_1",
            "client_id": "agt_client",
            "products": (),
        }
        who: dict[str, Any] = {
            "id": "agt_1",
            "state": "active",
            "team_id": "tem_1",
            "team_external_id": "legal",
        }
        fields = state.config_fields(
            customer=state.Customer(**{**owner, **(customer or {})}),
            credentials={
                self.digest: state.Credential(**{**secret, **(credential or {})})
            },
            agents=[
                (state.Agent(**{**who, **(agent or {})}), ["agt_1", "reviewer-a"]),
            ],
            subscriptions=subs,
            products={p: [p, f"code-of-{p}"] for p in products},
            exemptions=exemptions,
            observe_until=observe_until,
        )
        told = settle.project(
            self.client,
            settle.State(self.tag, config_version=self.config_version, config=fields),
        )
        if not self.client.exists(keys.totals_key(self.tag)):
            self.total()
        return told

    def total(
        self,
        *,
        spend: int = 0,
        available: int = 0,
        ends_in_ms: int = 3_600_000,
        version: int | None = None,
        settled: Iterable[str] = (),
        sub_spend: int = 0,
        spends: Mapping[str, int] | None = None,
        **quantities: int,
    ) -> settle.Projected:
        """Project totals."""
        fields = state.totals_fields(
            customer=state.CustomerTotals(
                spend=spend, ends_at=now_ms() + ends_in_ms, available=available
            ),
            subscriptions={
                "sub_1": state.SubscriptionTotals(
                    spend=sub_spend, quantities=quantities
                )
            },
            spends=spends,
        )
        return settle.project(
            self.client,
            settle.State(
                self.tag,
                version=self.version if version is None else version,
                totals=fields,
                settled=settled,
            ),
        )

    def age_windows(self, seconds: int) -> None:
        """Make every sliding minute older, as if time had passed."""
        key = keys.customer_keys(self.tag)[4]
        fields: Any = self.client.hgetall(key)
        self.client.delete(key)
        for name, raw in fields.items():
            kind, subscription, *slot = name.decode().split(":")
            numbers = msgspec.msgpack.decode(raw)
            if slot:
                numbers[0] -= seconds
                name = f"{kind}:{subscription}:{numbers[0] % 64}"
            else:
                numbers[1] -= seconds
            self.client.hset(key, name, msgspec.msgpack.encode(numbers))

    def request(self, **members: Any) -> CheckRequest:
        number = next(_numbers)
        base = CheckRequest(
            tag=self.tag,
            request_id=f"req-{number}",
            decision_id=f"dec_{number}",
            digest=self.digest,
        )
        return msgspec.structs.replace(base, **members)

    def ask(self, **members: Any) -> Decision:
        """Check once; the customer must be warm."""
        answer = check(self.client, self.request(**members))
        assert isinstance(answer, Decision)
        return answer

    def verdict(self, **members: Any) -> str:
        """Return the reason of a refusal, else the outcome."""
        decision = self.ask(**members)
        return str(decision.reason or decision.outcome)
