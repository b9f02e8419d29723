"""The statements with which the facts of customers are read."""

from __future__ import annotations

CUSTOMERS = """
SELECT c.id, c.tenant_id, t.tag AS tenant_tag, c.tag, c.external_id, c.state,
  c.currency, c.timezone, c.spend_cap, b.version, b.config_version,
  b.projected_version, b.projected_config_version, p.start_at, p.end_at,
  p.id AS period_id
FROM billing_customer c
JOIN core_tenant t ON t.id = c.tenant_id
JOIN billing_customerbooks b ON b.customer_id = c.id
LEFT JOIN billing_billingperiod p
  ON p.customer_id = c.id AND p.start_at <= %(now)s AND p.end_at > %(now)s
WHERE c.id = ANY(%(ids)s)
"""
CREDENTIALS = """
SELECT customer_id, id, digest, agent_id, client_id, product_ids, expires_at,
  revoked_at
FROM billing_credential
WHERE customer_id = ANY(%(ids)s)
  AND (revoked_at IS NULL OR revoked_at > %(ended)s)
  AND (expires_at IS NULL OR expires_at > %(ended)s)
"""
AGENTS = """
SELECT a.customer_id, a.id, a.external_id, a.state, t.id AS team_id,
  t.external_id AS team_external_id, a.spend_cap, t.spend_cap AS team_spend_cap
FROM billing_agent a JOIN billing_team t ON t.id = a.team_id
WHERE a.customer_id = ANY(%(ids)s) OR a.id = ANY(%(agents)s)
"""
# The snapshot in force, and the instant from which the contract has no plan.
SUBSCRIPTIONS = """
SELECT s.customer_id, s.id, s.product_id, s.agent_id, s.state, s.started_at,
  n.plan_version_id, n.overrides, p.code, p.features, p.max_call_s,
  (SELECT min(e.effective_from) FROM billing_subscriptionsnapshot e
   WHERE e.subscription_id = s.id AND e.plan_version_id IS NULL
     AND e.effective_from > %(now)s) AS ends_at
FROM billing_subscription s
JOIN catalog_product p ON p.id = s.product_id
JOIN LATERAL (
  SELECT plan_version_id, overrides FROM billing_subscriptionsnapshot n
  WHERE n.subscription_id = s.id AND n.effective_from <= %(now)s
  ORDER BY n.effective_from DESC LIMIT 1) n ON true
WHERE s.customer_id = ANY(%(ids)s) AND s.state <> 'cancelled'
  AND n.plan_version_id IS NOT NULL
ORDER BY s.id
"""
# What margins are at that are not OK, those of the customers' products too.
MARGINS = """
SELECT m.customer_id, m.scope, m.subject_id, m.period_id, m.level, m.released_until
FROM guard_marginlevel m
WHERE m.customer_id = ANY(%(ids)s) AND m.level IN ('warn', 'throttle', 'block')
"""
PRODUCT_MARGINS = """
SELECT s.customer_id, m.scope, m.subject_id, m.level, n.overrides, n.plan_version_id
FROM guard_marginlevel m
JOIN billing_subscription s ON s.product_id = m.subject_id AND s.state <> 'cancelled'
JOIN LATERAL (
  SELECT n.overrides, n.plan_version_id FROM billing_subscriptionsnapshot n
  WHERE n.subscription_id = s.id AND n.effective_from <= %(now)s
  ORDER BY n.effective_from DESC LIMIT 1) n ON n.plan_version_id IS NOT NULL
WHERE m.scope = 'product' AND m.level IN ('warn', 'throttle', 'block')
  AND s.customer_id = ANY(%(ids)s)
"""
TOTALS = """
SELECT u.customer_id, u.subscription_id, u.currency, u.spend, u.event_count,
  u.token_count, u.state, n.plan_version_id
FROM billing_usagetotal u
JOIN billing_subscriptionsnapshot n ON n.id = u.snapshot_id
WHERE u.period_id = ANY(%(periods)s)
"""
WALLETS = """
SELECT customer_id, currency, balance + overdraft_limit AS available, enforced
FROM billing_wallet WHERE customer_id = ANY(%(ids)s)
"""
SETTLED = """
SELECT o.customer_id, o.settled
FROM core_outboxmessage o JOIN billing_customerbooks b USING (customer_id)
WHERE o.customer_id = ANY(%(ids)s) AND o.version > b.projected_version
  AND o.settled IS NOT NULL
"""
# What people decided that is in force; observe-only holds for all of a tenant.
DECIDED = """
SELECT o.customer_id, o.id, o.kind, o.agent_id, o.name, o.ends_at
FROM guard_override o
WHERE o.customer_id = ANY(%(ids)s) AND o.ends_at > %(now)s AND o.ended_at IS NULL
  AND o.used_at IS NULL AND o.kind <> 'snooze'
UNION ALL
SELECT c.id, o.id, 'observe', NULL, '', o.ends_at
FROM guard_observeonly o JOIN billing_customer c ON c.tenant_id = o.tenant_id
WHERE c.id = ANY(%(ids)s) AND o.ends_at > %(now)s AND o.ended_at IS NULL
ORDER BY 2
"""
