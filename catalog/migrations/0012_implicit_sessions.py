"""Whether a product's calls that name no session get one of their credential."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Off for every product there is: a session may have a price."""

    dependencies = [("catalog", "0011_costs_are_stamped")]

    operations = [
        migrations.AddField(
            "product",
            "implicit_sessions",
            models.BooleanField("session by credential and pause", default=False),
        )
    ]
