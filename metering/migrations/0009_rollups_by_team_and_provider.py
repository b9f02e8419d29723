"""Hourly sums by team and provider too, with every measurement; views of sessions."""

from __future__ import annotations

import django.contrib.postgres.indexes
from django.db import migrations, models

# Worked out again from the facts: the old rows do not say team or provider. A tool
# stands under the name it has in the registry now; a cost in another currency is turned
# into that of the price at the rate of its day.
REBUILD = """
SET CONSTRAINTS ALL IMMEDIATE;  -- A table with checks to come cannot be altered.
DELETE FROM metering_usagerollup;
WITH costs AS (
  SELECT event_id, sum(amount) AS cost, max(currency) AS currency,
    max(provider) FILTER (WHERE kind = 'original') AS provider
  FROM metering_costfact GROUP BY 1),
money AS (
  SELECT l.event_id, sum(l.amount) AS revenue, max(l.currency) AS currency,
    (array_agg(s.product_id))[1] AS product_id
  FROM billing_ledgerentry l JOIN billing_subscription s ON s.id = l.subscription_id
  WHERE l.event_id IS NOT NULL GROUP BY 1),
facts AS (
  SELECT e.*, e.body->'measurements' AS m, c.provider, l.revenue,
    c.currency AS cost_currency, COALESCE(l.currency, c.currency) AS currency,
    CASE WHEN COALESCE(l.currency, c.currency) = c.currency THEN c.cost
      ELSE COALESCE(round(c.cost * direct.rate, 12), round(c.cost / inverse.rate, 12))
    END AS cost,
    COALESCE(CASE WHEN e.tool_name = '' THEN '' END, own.name, other.name, e.tool_name)
      AS tool
  FROM metering_usageevent e
  JOIN costs c ON c.event_id = e.id
  LEFT JOIN money l ON l.event_id = e.id
  LEFT JOIN LATERAL (SELECT rate FROM core_fxrate x WHERE x.tenant_id = e.tenant_id
    AND x.base = c.currency AND x.quote = l.currency AND x.valid_from <= e.occurred_at
    ORDER BY x.valid_from DESC LIMIT 1) direct ON true
  LEFT JOIN LATERAL (SELECT rate FROM core_fxrate x WHERE x.tenant_id = e.tenant_id
    AND x.base = l.currency AND x.quote = c.currency AND x.valid_from <= e.occurred_at
    ORDER BY x.valid_from DESC LIMIT 1) inverse ON true
  LEFT JOIN catalog_tool own ON own.name = e.tool_name
    AND own.product_id = COALESCE(l.product_id, e.product_id)
  LEFT JOIN LATERAL (SELECT t.name FROM catalog_toolname n
    JOIN catalog_tool t ON t.id = n.tool_id
    WHERE n.name = e.tool_name AND t.product_id = COALESCE(l.product_id, e.product_id)
      AND (n.valid_from IS NULL OR n.valid_from <= e.occurred_at)
      AND (n.valid_to IS NULL OR n.valid_to > e.occurred_at) LIMIT 1) other ON true),
kept AS (
  SELECT tenant_id, customer_id, date_trunc('hour', occurred_at AT TIME ZONE 'UTC')
      AT TIME ZONE 'UTC' AS hour, product_id, agent_id, team_id, event_type,
    left(COALESCE(body->'properties'->>'model', ''), 120) AS model,
    left(COALESCE(NULLIF(body->'properties'->>'provider', ''), provider), 60)
      AS provider, tool, currency, status, m, revenue, cost
  FROM facts),
sums AS (
  SELECT tenant_id, customer_id, hour, product_id, agent_id, team_id, event_type, model,
    provider, tool, currency, count(*) AS events,
    count(*) FILTER (WHERE status IN ('FAILED', 'TIMEOUT', 'RATE_LIMITED')) AS errors,
    COALESCE(sum(trunc((m->>'input_tokens')::numeric)), 0) AS input,
    COALESCE(sum(trunc((m->>'output_tokens')::numeric)), 0) AS output,
    COALESCE(sum(trunc((m->>'cache_read_tokens')::numeric)), 0) AS cached,
    sum(trunc(COALESCE((m->>'tool_duration_ms')::numeric, 0)
      + COALESCE((m->>'latency_ms')::numeric, 0))) AS duration,
    COALESCE(sum(revenue), 0) AS revenue, COALESCE(sum(cost), 0) AS cost,
    count(*) FILTER (WHERE cost IS NULL) AS unknown
  FROM kept GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
quantities AS (
  SELECT customer_id, hour, product_id, agent_id, team_id, event_type, model, provider,
    tool, currency, q.key AS name, sum(q.value::numeric) AS quantity
  FROM kept, jsonb_each_text(m) AS q
  WHERE q.key NOT IN ('input_tokens', 'output_tokens', 'cache_read_tokens')
    AND q.value::numeric <> 0
  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
more AS (
  SELECT customer_id, hour, product_id, agent_id, team_id, event_type, model, provider,
    tool, currency, jsonb_object_agg(name, quantity) AS more
  FROM quantities GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
INSERT INTO metering_usagerollup (
  id, created_at, tenant_id, customer_id, hour, product_id, agent_id, team_id,
  event_type, model, provider, tool_name, currency, event_count, error_count,
  input_tokens, output_tokens, cache_read_tokens, duration_ms, revenue, cost,
  cost_unknown_count, more)
SELECT gen_random_uuid(), now(), s.tenant_id, s.customer_id, s.hour, s.product_id,
  s.agent_id, s.team_id, s.event_type, s.model, s.provider, s.tool, s.currency,
  s.events, s.errors, s.input, s.output, s.cached, s.duration, s.revenue, s.cost,
  s.unknown, COALESCE(q.more, '{}')
FROM sums s LEFT JOIN more q ON (q.customer_id, q.hour, q.event_type, q.model,
    q.provider, q.tool, q.currency) = (s.customer_id, s.hour, s.event_type, s.model,
    s.provider, s.tool, s.currency)
  AND q.product_id IS NOT DISTINCT FROM s.product_id
  AND q.agent_id IS NOT DISTINCT FROM s.agent_id
  AND q.team_id IS NOT DISTINCT FROM s.team_id
"""
# Views and not tables: exact at any moment, and no row more for an event.
VIEWS = """
CREATE VIEW mcp_session_summary WITH (security_invoker = true) AS
SELECT s.id AS session_id, s.tenant_id, s.customer_id, s.agent_id,
  (s.started_at AT TIME ZONE 'UTC')::date AS date, s.state, s.tool_invocation_count,
  (SELECT round(avg((e.body->'measurements'->>'tool_duration_ms')::numeric), 3)
   FROM metering_usageevent e
   WHERE e.customer_id = s.customer_id AND e.session_key = s.key
     AND e.session_key <> '' AND e.event_type = 'mcp.tool_invoked'
  ) AS avg_tool_duration_ms,
  s.input_tokens + s.output_tokens AS total_tokens,
  round((s.event_count - s.error_count)::numeric / NULLIF(s.event_count, 0), 6)
    AS success_rate
FROM metering_session s;
CREATE VIEW mcp_tool_invocations WITH (security_invoker = true) AS
SELECT tenant_id, customer_id, product_id, agent_id, team_id,
  (hour AT TIME ZONE 'UTC')::date AS date, tool_name, currency,
  sum(event_count) AS invocation_count, sum(error_count) AS error_count,
  sum(COALESCE((more->>'tool_duration_ms')::numeric, 0)) AS total_duration_ms,
  sum(input_tokens + output_tokens) AS total_tokens, sum(revenue) AS revenue,
  sum(cost) AS cost, sum(cost_unknown_count) AS cost_unknown_count
FROM metering_usagerollup WHERE tool_name <> ''
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;
GRANT SELECT ON mcp_session_summary, mcp_tool_invocations TO aforo_web, aforo_worker;
"""
NO_VIEWS = "DROP VIEW mcp_tool_invocations; DROP VIEW mcp_session_summary"
KEY = [
    "customer",
    "hour",
    "product_id",
    "agent_id",
    "team_id",
    "event_type",
    "model",
    "provider",
    "tool_name",
    "currency",
]


class Migration(migrations.Migration):
    """New dimensions of the hourly sums, filled from the facts."""

    dependencies = [
        ("metering", "0008_cost_runs"),
        ("billing", "0004_spend_level"),
        ("catalog", "0006_tools"),
        ("core", "0001_tables"),
    ]

    operations = [
        migrations.AddField("usagerollup", "team_id", models.UUIDField(null=True)),
        migrations.AddField(
            "usagerollup",
            "provider",
            models.CharField(max_length=60, blank=True, default=""),
        ),
        migrations.AddField("usagerollup", "more", models.JSONField(default=dict)),
        migrations.RemoveConstraint("usagerollup", "metering_rollup_once"),
        migrations.RunSQL(REBUILD, migrations.RunSQL.noop),
        migrations.AddConstraint(
            "usagerollup",
            models.UniqueConstraint(
                fields=KEY, nulls_distinct=False, name="metering_rollup_once"
            ),
        ),
        migrations.AddIndex(
            "costfact",
            django.contrib.postgres.indexes.BrinIndex(
                fields=["occurred_at"], name="metering_cost_span"
            ),
        ),
        migrations.AddIndex(
            "costfact",
            models.Index(
                fields=["tenant", "occurred_at"],
                condition=models.Q(reported__isnull=False),
                name="metering_cost_reported",
            ),
        ),
        migrations.RunSQL(VIEWS, NO_VIEWS),
    ]
