"""Settled requests beside the messages of the topics, and these as text."""

from __future__ import annotations

from django.db import migrations, models

MOVE = """
UPDATE core_outboxmessage SET settled = messages -> 'settled',
  messages = messages - 'settled'
WHERE messages ? 'settled'
"""


class Migration(migrations.Migration):
    """The column, filled from the messages, and their index."""

    dependencies = [("core", "0004_stamps_of_change")]

    operations = [
        migrations.AddField("outboxmessage", "settled", models.JSONField(null=True)),
        migrations.RunSQL(MOVE, migrations.RunSQL.noop),
        migrations.AlterField("outboxmessage", "messages", models.TextField()),
        migrations.AddIndex(
            "outboxmessage",
            models.Index(
                fields=["customer_id", "version"],
                condition=models.Q(settled__isnull=False),
                name="core_outbox_settled",
            ),
        ),
    ]
