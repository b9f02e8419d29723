"""Agents and teams may have a spend cap of their own."""

from __future__ import annotations

from django.db import migrations, models

import aforo.lib.models


class Migration(migrations.Migration):
    """A nullable amount on both, within what the edge can compare."""

    dependencies = [
        ("billing", "0010_ledger_bases"),
        ("core", "0005_settled_apart"),
    ]

    operations = [
        migrations.AddField(
            model_name="agent",
            name="spend_cap",
            field=aforo.lib.models.MoneyField(
                blank=True, decimal_places=12, max_digits=38, null=True
            ),
        ),
        migrations.AddField(
            model_name="team",
            name="spend_cap",
            field=aforo.lib.models.MoneyField(
                blank=True, decimal_places=12, max_digits=38, null=True
            ),
        ),
        migrations.AddConstraint(
            model_name="agent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("spend_cap__isnull", True),
                    models.Q(("spend_cap__gte", 0), ("spend_cap__lte", 9000000000)),
                    _connector="OR",
                ),
                name="billing_agent_spend_cap_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="team",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("spend_cap__isnull", True),
                    models.Q(("spend_cap__gte", 0), ("spend_cap__lte", 9000000000)),
                    _connector="OR",
                ),
                name="billing_team_spend_cap_range",
            ),
        ),
    ]
