"""What a metric is aggregated and priced for."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """The billing period for every metric there is."""

    dependencies = [("catalog", "0006_tools")]

    operations = [
        migrations.AddField(
            "metric",
            "window",
            models.CharField(
                max_length=8,
                choices=[
                    ("period", "Billing period"),
                    ("day", "Day"),
                    ("hour", "Hour"),
                    ("session", "Session"),
                    ("event", "Event"),
                ],
                default="period",
            ),
        )
    ]
