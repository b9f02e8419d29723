"""Reasons why a usage block has no price."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """More reasons for events without a price."""

    dependencies = [
        ("metering", "0004_protect_backtests"),
    ]

    operations = [
        migrations.AlterField(
            model_name="unrateable",
            name="reason",
            field=models.CharField(
                choices=[
                    ("unknown_metric", "No metric uses a measurement"),
                    ("no_subscription", "No subscription at that time"),
                    ("ambiguous_product", "Several products and none named"),
                    ("unknown_product", "The product is not known"),
                    ("inconsistent_measurements", "The measurements contradict"),
                    ("unknown_cost", "The price needs a cost that is not known"),
                    ("negative_quantity", "A quantity is negative"),
                    ("too_precise", "A quantity has too many decimals"),
                    ("number_out_of_range", "A quantity is too large"),
                    ("invalid_property", "A property cannot be counted"),
                    ("too_many_unique", "Too many distinct values"),
                    ("usage_not_read", "The provider's usage block is not known"),
                    ("usage_ambiguous", "The usage block can be read in two ways"),
                    ("usage_missing", "The provider sent no final usage"),
                    ("quarantined", "Rating it failed"),
                ],
                max_length=32,
            ),
        ),
    ]
