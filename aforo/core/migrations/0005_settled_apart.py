"""Settled requests in a column of their own, beside the messages of the topics."""

from __future__ import annotations

from django.db import migrations, models

MOVE = """
UPDATE core_outboxmessage SET settled = messages -> 'settled',
  messages = messages - 'settled'
WHERE messages ? 'settled'
"""


class Migration(migrations.Migration):
    """The column, filled from the messages."""

    dependencies = [("core", "0004_stamps_of_change")]

    operations = [
        migrations.AddField("outboxmessage", "settled", models.JSONField(null=True)),
        migrations.RunSQL(MOVE, migrations.RunSQL.noop),
    ]
