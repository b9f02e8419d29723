"""The proof of the hourly sums: worked out again from events, ledger and costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from aforo.lib.invariants import rows

# Where an event is counted. The tool is left out: an event keeps the name that its tool
# had in the registry on the day it was rated, which no fact repeats.
NOBODY = "'00000000-0000-0000-0000-000000000000'::uuid"
PLACE = f"""
  e.customer_id, date_trunc('hour', e.occurred_at AT TIME ZONE 'UTC')
    AT TIME ZONE 'UTC' AS hour, COALESCE(e.product_id, {NOBODY}) AS product,
  COALESCE(e.agent_id, {NOBODY}) AS agent, COALESCE(e.team_id, {NOBODY}) AS team,
  e.event_type, left(COALESCE(e.body->'properties'->>'model', ''), 120) AS model,
  left(COALESCE(NULLIF(e.body->'properties'->>'provider', ''), f.provider), 60)
    AS provider
"""
SUMMED_PLACE = f"""
  customer_id, hour, COALESCE(product_id, {NOBODY}) AS product,
  COALESCE(agent_id, {NOBODY}) AS agent, COALESCE(team_id, {NOBODY}) AS team,
  event_type, model, provider
"""
# A usage block that was in doubt when it came: a replay may have read it since, and its
# measurements are not repeated in the stored body.
DOUBTFUL = "COALESCE(e.body->'reading'->>'refused', '') <> ''"
NAMES = "customer_id, hour, product, agent, team, event_type, model, provider"
COUNTS = f"""
WITH costs AS (
  SELECT event_id, sum(amount) AS cost, count(amount) AS known,
    CASE WHEN count(DISTINCT currency) > 1 THEN 'several' ELSE max(currency) END
      AS currency, max(provider) FILTER (WHERE kind = 'original')
      AS provider
  FROM metering_costfact GROUP BY 1),
facts AS (
  SELECT {PLACE}, e.status, e.body->'measurements' AS m, f.cost, f.known, f.currency,
    {DOUBTFUL} AS doubtful
  FROM metering_usageevent e JOIN costs f ON f.event_id = e.id
  WHERE NOT EXISTS (SELECT FROM metering_eventvoid v WHERE v.event_id = e.id)),
kept AS (
  SELECT {NAMES}, ARRAY[count(*),
    count(*) FILTER (WHERE status IN ('FAILED', 'TIMEOUT', 'RATE_LIMITED')),
    COALESCE(sum(trunc((m->>'input_tokens')::numeric)), 0),
    COALESCE(sum(trunc((m->>'output_tokens')::numeric)), 0),
    COALESCE(sum(trunc((m->>'cache_read_tokens')::numeric)), 0),
    sum(trunc(COALESCE((m->>'tool_duration_ms')::numeric, 0)
      + COALESCE((m->>'latency_ms')::numeric, 0))),
    count(*) FILTER (WHERE known = 0)] AS counts,
    COALESCE(sum(cost), 0) AS cost, array_agg(DISTINCT currency) AS currencies,
    bool_or(doubtful) AS doubtful
  FROM facts GROUP BY {NAMES}),
summed AS (
  SELECT {NAMES}, ARRAY[sum(events), sum(errors), sum(input), sum(output),
    sum(cached), sum(duration), sum(unknown)] AS counts, sum(cost) AS cost,
    array_agg(DISTINCT currency) AS currencies
  FROM (
    SELECT {SUMMED_PLACE}, event_count AS events, error_count AS errors,
      input_tokens AS input, output_tokens AS output, cache_read_tokens AS cached,
      duration_ms AS duration, cost_unknown_count AS unknown, cost, currency::text
    FROM metering_usagerollup) AS parts
  GROUP BY {NAMES})
SELECT customer_id, hour, event_type, model, k.counts, k.cost, s.counts, s.cost
FROM kept k FULL JOIN summed s USING ({NAMES})
WHERE NOT COALESCE(k.doubtful, false)
  AND (COALESCE(k.counts, array_fill(0::numeric, ARRAY[7]))
    <> COALESCE(s.counts, array_fill(0::numeric, ARRAY[7]))
  -- A cost in another currency is turned into the row's at the rate of its day.
  OR (COALESCE(k.cost, 0) <> COALESCE(s.cost, 0)
    AND (k.currencies IS NULL OR k.currencies = s.currencies)))
LIMIT 100
"""  # noqa: S608 - only constants of this module
REVENUE = f"""
WITH kept AS (
  SELECT {PLACE}, l.currency::text AS currency, l.amount AS revenue,
    -- An event is priced once, and a void mirrors that.
    CASE WHEN l.kind IN ('usage', 'adjustment') THEN 1
      WHEN l.kind = 'reversal' THEN -1 ELSE 0 END AS rated
  FROM billing_ledgerentry l
  JOIN metering_usageevent e ON e.id = l.event_id
  JOIN metering_costfact f ON f.event_id = e.id AND f.kind = 'original'),
summed AS (
  SELECT {SUMMED_PLACE}, currency::text AS currency, revenue, rated_count AS rated
  FROM metering_usagerollup)
SELECT customer_id, hour, event_type, model, k.revenue, s.revenue, k.rated, s.rated
FROM (SELECT {NAMES}, currency, sum(revenue) AS revenue, sum(rated) AS rated
    FROM kept GROUP BY {NAMES}, currency) k
FULL JOIN (SELECT {NAMES}, currency, sum(revenue) AS revenue, sum(rated) AS rated
    FROM summed GROUP BY {NAMES}, currency) s USING ({NAMES}, currency)
WHERE COALESCE(k.revenue, 0) <> COALESCE(s.revenue, 0)
  OR COALESCE(k.rated, 0) <> COALESCE(s.rated, 0)
LIMIT 100
"""  # noqa: S608 - only constants of this module
QUANTITIES = f"""
WITH kept AS (
  SELECT e.customer_id, m.key AS name, sum(m.value::numeric) AS quantity
  FROM metering_usageevent e
  JOIN metering_costfact f ON f.event_id = e.id AND f.kind = 'original',
    jsonb_each_text(e.body->'measurements') AS m
  WHERE m.key NOT IN ('input_tokens', 'output_tokens', 'cache_read_tokens')
    AND NOT EXISTS (SELECT FROM metering_eventvoid v WHERE v.event_id = e.id)
  GROUP BY 1, 2),
summed AS (
  SELECT r.customer_id, m.key AS name, sum(m.value::numeric) AS quantity
  FROM metering_usagerollup r, jsonb_each_text(r.more) AS m GROUP BY 1, 2)
SELECT COALESCE(k.customer_id, s.customer_id), COALESCE(k.name, s.name), k.quantity,
  s.quantity
FROM kept k FULL JOIN summed s USING (customer_id, name)
WHERE COALESCE(k.quantity, 0) <> COALESCE(s.quantity, 0)
  AND NOT EXISTS (SELECT FROM metering_usageevent e
    WHERE e.customer_id = COALESCE(k.customer_id, s.customer_id) AND {DOUBTFUL})
LIMIT 100
"""  # noqa: S608 - only constants of this module


def sums_equal_facts() -> Iterator[str]:
    """Return hourly sums that differ from what the facts give, hour by hour."""
    for customer, hour, kind, model, kept, cost, summed, its_cost in rows(COUNTS):
        yield (
            f"customer {customer}, {hour} {kind} {model}: the events give"
            f" {_listed(kept)} and cost {cost}, the hourly sums {_listed(summed)}"
            f" and cost {its_cost}"
        )
    for customer, hour, kind, model, kept, summed, priced, counted in rows(REVENUE):
        yield (
            f"customer {customer}, {hour} {kind} {model}: the ledger has {kept} of"
            f" {priced or 0} events, the hourly sums {summed} of {counted or 0}"
        )
    for customer, name, kept, summed in rows(QUANTITIES):
        yield f"customer {customer}: {name} {kept} in events, {summed} in hourly sums"


def _listed(counts: Sequence[Decimal] | None) -> str:
    """Return events, errors, tokens (in, out, cached), ms and unknown costs."""
    return "/".join(str(count) for count in counts) if counts else "nothing"
