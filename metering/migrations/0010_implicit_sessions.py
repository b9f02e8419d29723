"""From when to when implicit sessions run."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
from aforo.core.protect import protect


def _link(target: str) -> aforo.lib.fields.TenantForeignKey:
    """Return a link to a row of the same tenant."""
    return aforo.lib.fields.TenantForeignKey(
        db_constraint=False,
        db_index=False,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to=target,
    )


class Migration(migrations.Migration):
    """A table of its own, guarded as the others."""

    dependencies = [
        ("billing", "0006_former_facets"),
        ("catalog", "0012_implicit_sessions"),
        ("core", "0004_stamps_of_change"),
        ("metering", "0009_rollups_by_team_and_provider"),
    ]

    operations = [
        migrations.CreateModel(
            name="ImplicitSession",
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
                ("key", models.CharField(max_length=255)),
                ("started_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("credential", _link("billing.credential")),
                ("customer", _link("billing.customer")),
                ("product", _link("catalog.product")),
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
                "ordering": ["-started_at"],
                "indexes": [
                    models.Index(
                        fields=["credential", "product", "last_at"],
                        name="metering_implicit_running",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("customer", "key"), name="metering_implicit_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("last_at__gte", models.F("started_at"))),
                        name="metering_implicit_order",
                    ),
                ],
            },
        ),
        protect("metering", leaf=["implicitsession"], only=["implicitsession"]),
    ]
