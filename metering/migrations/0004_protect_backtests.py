"""Row-level security of backtests."""

from __future__ import annotations

from django.db import migrations

from aforo.core.protect import protect


class Migration(migrations.Migration):
    """Guards of backtests."""

    dependencies = [("metering", "0003_backtests")]

    operations = [
        protect("metering", only=["backtest", "backtestrow"], leaf=["backtestrow"])
    ]
