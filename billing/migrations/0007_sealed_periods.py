"""An index of the finalised periods of a customer."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Until when a customer is closed, without its tenant's other periods."""

    dependencies = [("billing", "0006_former_facets")]

    operations = [
        migrations.AddIndex(
            "billingperiod",
            models.Index(
                fields=["customer", "end_at"],
                condition=models.Q(state="finalised"),
                name="billing_period_sealed",
            ),
        ),
    ]
