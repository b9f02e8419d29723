"""A draft counts its savings, so that two people never overwrite each other unseen."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Who saved a draft, when, and how often it was saved."""

    dependencies = [
        ("catalog", "0003_library_is_read_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            "planversion", "revision", models.PositiveIntegerField(default=0)
        ),
        migrations.AddField(
            "planversion", "saved_at", models.DateTimeField(null=True, blank=True)
        ),
        migrations.AddField(
            "planversion",
            "saved_by",
            models.ForeignKey(
                settings.AUTH_USER_MODEL,
                null=True,
                blank=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
            ),
        ),
    ]
