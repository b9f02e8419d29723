"""What rating remembers of a customer is stamped when it changes."""

from __future__ import annotations

from django.db import migrations

from aforo.core.stamps import scope_sql, stamped_sql

# An agent or a team is known to its own customer, and to those it is granted to.
AGENT = """
SELECT customer_id AS scope FROM changed
UNION ALL SELECT g.customer_id FROM billing_agentgrant g JOIN changed c
  ON c.id = g.agent_id
"""
TEAM = """
SELECT customer_id AS scope FROM changed
UNION ALL SELECT g.customer_id FROM billing_agentgrant g
  JOIN billing_agent a ON a.id = g.agent_id JOIN changed c ON c.id = a.team_id
"""
TABLES = {
    "billing_customer": scope_sql("id"),
    "billing_team": TEAM,
    "billing_agent": AGENT,
    "billing_agentgrant": scope_sql("customer_id"),
    "billing_subscription": scope_sql("customer_id"),
    "billing_subscriptionsnapshot": scope_sql("customer_id"),
    "billing_billingperiod": scope_sql("customer_id"),
}


class Migration(migrations.Migration):
    """By customer."""

    dependencies = [
        ("billing", "0004_spend_level"),
        ("core", "0004_stamps_of_change"),
    ]

    # One operation: Django copies its picture of all models for each.
    operations = [
        migrations.RunSQL(
            [
                *(
                    statement
                    for table, scopes in TABLES.items()
                    for statement in stamped_sql(table, scopes)
                ),
                # Its balance moves with every batch; what is remembered is that it
                # is there.
                *stamped_sql(
                    "billing_wallet",
                    scope_sql("customer_id"),
                    events=("INSERT", "DELETE"),
                ),
            ],
            migrations.RunSQL.noop,
        )
    ]
