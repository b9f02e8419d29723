"""One queue row for a shard of the customers instead of one for each of them."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

# As metering.queue.shard_of: the last three bits of the id.
FILL = """
UPDATE metering_pendingevents SET customer_ids = ARRAY[customer_id],
  shard = get_byte(uuid_send(customer_id), 15) % 8
"""


class Migration(migrations.Migration):
    """The queue's columns; what waits goes on waiting."""

    dependencies = [("metering", "0011_saved_views_and_backfills")]

    operations = [
        migrations.RemoveIndex("pendingevents", "metering_pending_queue"),
        migrations.AddField(
            "pendingevents",
            "shard",
            models.PositiveSmallIntegerField(default=0),
            preserve_default=False,
        ),
        migrations.AddField(
            "pendingevents",
            "customer_ids",
            ArrayField(models.UUIDField(), default=list),
            preserve_default=False,
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.RemoveField("pendingevents", "customer"),
    ]
