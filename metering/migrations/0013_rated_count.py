"""How many events of an hourly sum have a price: without any, 0 is no revenue."""

from __future__ import annotations

from django.db import migrations, models

# Every priced event stands under the row that it was added to. Its tool may have been
# counted under another name than the ledger has; then the likeliest row gets it, and
# the count of the hour is right all the same. What is void was taken out again.
FILL = """
WITH priced AS (
  SELECT e.customer_id, date_trunc('hour', e.occurred_at AT TIME ZONE 'UTC')
      AT TIME ZONE 'UTC' AS hour, e.product_id, e.agent_id, e.team_id, e.event_type,
    left(COALESCE(e.body->'properties'->>'model', ''), 120) AS model,
    left(COALESCE(NULLIF(e.body->'properties'->>'provider', ''), f.provider), 60)
      AS provider, l.currency, l.tool_name AS priced_as, e.tool_name, count(*) AS rated
  FROM billing_ledgerentry l
  JOIN metering_usageevent e ON e.id = l.event_id
  JOIN metering_costfact f ON f.event_id = e.id AND f.kind = 'original'
  WHERE l.kind IN ('usage', 'adjustment')
    AND NOT EXISTS (SELECT FROM metering_eventvoid v WHERE v.event_id = e.id)
  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
numbered AS (SELECT row_number() OVER () AS number, * FROM priced),
placed AS (
  SELECT DISTINCT ON (n.number) r.id, n.rated
  FROM numbered n JOIN metering_usagerollup r
    ON (r.customer_id, r.hour, r.event_type, r.model, r.provider, r.currency)
      = (n.customer_id, n.hour, n.event_type, n.model, n.provider, n.currency)
    AND r.product_id IS NOT DISTINCT FROM n.product_id
    AND r.agent_id IS NOT DISTINCT FROM n.agent_id
    AND r.team_id IS NOT DISTINCT FROM n.team_id
  ORDER BY n.number, r.tool_name <> n.priced_as, r.tool_name <> n.tool_name, r.id)
UPDATE metering_usagerollup r SET rated_count = p.rated
FROM (SELECT id, sum(rated) AS rated FROM placed GROUP BY 1) AS p WHERE p.id = r.id
"""


class Migration(migrations.Migration):
    """A column with a default of the database's own, filled from the ledger."""

    dependencies = [
        ("billing", "0006_former_facets"),
        ("metering", "0012_queue_by_shard"),
    ]

    operations = [
        migrations.AddField(
            "usagerollup",
            "rated_count",
            models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
