"""Costs that are in the hourly sums already, counted by agent and period."""

from __future__ import annotations

from django.db import migrations

COSTS = """
INSERT INTO billing_agenttotal (id, created_at, tenant_id, customer_id, period_id,
  subscription_id, agent_id, currency, charges, cost, cost_unknown_count)
SELECT gen_random_uuid(), now(), r.tenant_id, r.customer_id, p.id, NULL, r.agent_id,
  r.currency, '{}', sum(r.cost), sum(r.cost_unknown_count)
FROM metering_usagerollup r
JOIN billing_billingperiod p ON p.customer_id = r.customer_id
  AND p.start_at <= r.hour AND p.end_at > r.hour
GROUP BY r.tenant_id, r.customer_id, p.id, r.agent_id, r.currency
"""
UNCOUNT = "DELETE FROM billing_agenttotal WHERE subscription_id IS NULL"


class Migration(migrations.Migration):
    """Rows of billing's, out of sums of metering's."""

    dependencies = [
        ("metering", "0015_lighter_indexes"),
        ("billing", "0009_agents_and_levels"),
    ]

    operations = [migrations.RunSQL(COSTS, UNCOUNT)]
