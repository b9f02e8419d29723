"""Saved views: the filters of a page under a name."""

from __future__ import annotations

import django.db.models.deletion
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.ids
from aforo.core.protect import protect


class Migration(migrations.Migration):
    """A table of saved views, each name once for its owner, or once for all."""

    dependencies = [
        ("core", "0003_memberships_elsewhere"),
        ("metering", "0009_rollups_by_team_and_provider"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="SavedView",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=aforo.lib.ids.new_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=aforo.lib.clock.now, editable=False),
                ),
                (
                    "page",
                    models.CharField(
                        choices=[("usage", "Usage")], default="usage", max_length=20
                    ),
                ),
                ("name", models.CharField(max_length=80)),
                ("query", models.CharField(blank=True, max_length=2000)),
                ("shared", models.BooleanField(default=False)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="core.tenant",
                    ),
                ),
            ],
            options={"ordering": ["name"]},
        ),
        migrations.AddConstraint(
            model_name="savedview",
            constraint=models.UniqueConstraint(
                models.F("tenant"),
                models.F("owner"),
                models.F("page"),
                django.db.models.functions.text.Lower("name"),
                condition=models.Q(("shared", False)),
                name="metering_view_own_name",
            ),
        ),
        migrations.AddConstraint(
            model_name="savedview",
            constraint=models.UniqueConstraint(
                models.F("tenant"),
                models.F("page"),
                django.db.models.functions.text.Lower("name"),
                condition=models.Q(("shared", True)),
                name="metering_view_shared_name",
            ),
        ),
        protect("metering", only=["savedview"], leaf=["savedview"]),
    ]
