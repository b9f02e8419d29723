"""Row-level security and append-only events and costs."""

from __future__ import annotations

from django.db import migrations

from aforo.core.protect import protect


class Migration(migrations.Migration):
    """Guards of usage."""

    dependencies = [("metering", "0001_tables"), ("billing", "0002_protect")]

    operations = [
        protect(
            "metering",
            append_only=["usageevent", "costfact"],
            hot=["usageevent", "costfact"],
            leaf=[
                "costfact",
                "eventconflict",
                "pendingevents",
                "session",
                "unrateable",
                "usageevent",
                "usagerollup",
            ],
        )
    ]
