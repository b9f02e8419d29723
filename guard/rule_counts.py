"""How often rules stopped calls, or would have: counted by doors, stored by hour."""

from __future__ import annotations

import collections
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Final

from aforo.lib import clock, ids, sql
from guard import rules
from guard.engine.decision import Decision, Outcome
from guard.wording import instant

HOUR_MS: Final = 3_600_000
KINDS: Final = ("denied", "throttled", "shadowed")

# Hour, customer, subscription, rule, kind.
Key = tuple[int, str, str, str, str]
Counts = collections.Counter[Key]

STORE = """
INSERT INTO guard_rulecount (id, created_at, tenant_id, hour, customer_id,
  subscription_id, rule, denied, throttled, shadowed)
VALUES (%(id)s, %(now)s, %(tenant)s, %(hour)s, %(customer)s, %(subscription)s,
  %(rule)s, %(denied)s, %(throttled)s, %(shadowed)s)
ON CONFLICT (tenant_id, hour, subscription_id, customer_id, rule) DO UPDATE SET
  denied = guard_rulecount.denied + excluded.denied,
  throttled = guard_rulecount.throttled + excluded.throttled,
  shadowed = guard_rulecount.shadowed + excluded.shadowed
"""


def keys_of(decision: Decision) -> Iterator[Key]:
    """Yield what a decision counts for; a plain pass counts for nothing."""
    facts = decision.facts
    if facts is None or not facts.subscription_id:
        return
    place = decision.now_ms // HOUR_MS, facts.customer_id, facts.subscription_id
    if decision.reason is not None and not decision.replayed:
        binding = decision.binding
        rule = rules.code(decision.reason.value, binding.unit if binding else "")
        kind = "denied" if decision.outcome == Outcome.DENY else "throttled"
        yield (*place, rule, kind)
    for one in decision.shadow:
        yield (*place, rules.code(one.name, one.unit), "shadowed")


def lines(counts: Counts) -> list[list[Any]]:
    """Return counts as a line of a file says them."""
    return [[*key, count] for key, count in counts.items()]


def store(tenant: uuid.UUID, said: Iterable[list[Any]]) -> None:
    """Add counts of a tenant's doors; in the order of their key, so that none wait."""
    sums: dict[tuple[Any, ...], collections.Counter[str]] = collections.defaultdict(
        collections.Counter
    )
    for hour, customer, subscription, rule, kind, count in said:
        place = (
            hour,
            ids.parse_public("sub", subscription),
            ids.parse_public("cus", customer),
            rule,
        )
        if None not in place:
            sums[place][kind] += count
    with sql.cursor() as cursor:
        for (hour, subscription, customer, rule), kinds in sorted(sums.items()):
            cursor.execute(
                STORE,
                {
                    "id": ids.new_id(),
                    "now": clock.now(),
                    "tenant": tenant,
                    "hour": instant(hour * HOUR_MS),
                    "customer": customer,
                    "subscription": subscription,
                    "rule": rule,
                    **{kind: kinds[kind] for kind in KINDS},
                },
            )
