"""Guards of voids: rows of one tenant that are never changed."""

from __future__ import annotations

from django.db import migrations

from aforo.core.protect import protect


class Migration(migrations.Migration):
    """Row-level security and append-only grants of voids."""

    dependencies = [("metering", "0006_event_voids")]

    operations = [
        protect(
            "metering",
            only=["eventvoid"],
            append_only=["eventvoid"],
            leaf=["eventvoid"],
        )
    ]
