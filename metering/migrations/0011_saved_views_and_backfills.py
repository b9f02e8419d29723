"""Saved views of pages, and backfills of old usage by staff."""

from __future__ import annotations

import django.db.models.deletion
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
from aforo.core.protect import protect


class Migration(migrations.Migration):
    """A table of saved views, and two of backfills with their lines."""

    dependencies = [
        ("core", "0004_stamps_of_change"),
        ("metering", "0010_implicit_sessions"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Backfill",
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
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Being tried"),
                            ("checked", "Waits for confirmation"),
                            ("confirmed", "Confirmed"),
                            ("storing", "Being stored"),
                            ("done", "Done"),
                            ("failed", "Failed"),
                            ("cancelled", "Discarded"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                ("reason", models.CharField(max_length=300)),
                ("digest", models.CharField(max_length=64)),
                ("event_count", models.PositiveIntegerField()),
                ("unread", models.JSONField(default=list)),
                ("step_count", models.PositiveIntegerField(default=0)),
                ("done_count", models.PositiveIntegerField(default=0)),
                ("requested_label", models.CharField(max_length=200)),
                ("confirmed_label", models.CharField(blank=True, max_length=200)),
                ("confirmed_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("heartbeat_at", models.DateTimeField(null=True)),
                ("run", models.UUIDField(null=True)),
                ("trial", models.JSONField(null=True)),
                ("result", models.JSONField(null=True)),
                ("failure", models.CharField(blank=True, max_length=300)),
                (
                    "requested_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
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
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="BackfillPart",
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
                ("position", models.PositiveIntegerField()),
                ("lines", models.JSONField(default=list)),
                ("verdicts", models.JSONField(null=True)),
                (
                    "backfill",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="parts",
                        to="metering.backfill",
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
            options={
                "ordering": ["backfill", "position"],
            },
        ),
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
            options={
                "ordering": ["name"],
            },
        ),
        migrations.AddIndex(
            model_name="backfill",
            index=models.Index(fields=["tenant", "-id"], name="metering_bfl_newest"),
        ),
        migrations.AddIndex(
            model_name="backfill",
            index=models.Index(
                condition=models.Q(
                    ("state__in", ["queued", "running", "confirmed", "storing"])
                ),
                fields=["id"],
                name="metering_bfl_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="backfillpart",
            constraint=models.UniqueConstraint(
                fields=("backfill", "position"), name="metering_bfl_part_once"
            ),
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
        protect(
            "metering",
            only=["savedview", "backfill", "backfillpart"],
            leaf=["savedview", "backfillpart"],
        ),
    ]
