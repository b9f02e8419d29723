"""Indexes of events and costs that take half the room and half the writes."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """The same look-ups by rising keys, and by one index of costs instead of two."""

    dependencies = [("metering", "0014_cost_bases")]

    operations = [
        migrations.RemoveIndex("usageevent", "metering_event_newest"),
        migrations.RemoveIndex("usageevent", "metering_event_feed"),
        migrations.AddIndex(
            "usageevent",
            models.Index(fields=["tenant", "id"], name="metering_event_newest"),
        ),
        migrations.AddIndex(
            "usageevent",
            models.Index(fields=["customer", "id"], name="metering_event_feed"),
        ),
        migrations.RemoveConstraint("costfact", "metering_cost_once"),
        migrations.AlterField(
            "costfact",
            "event",
            models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="costs",
                to="metering.usageevent",
            ),
        ),
        migrations.AddConstraint(
            "costfact",
            models.UniqueConstraint(
                models.F("event"),
                models.Case(
                    models.When(kind="original", then=None), default=models.F("id")
                ),
                nulls_distinct=False,
                name="metering_cost_once",
            ),
        ),
    ]
