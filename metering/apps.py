"""App `metering`."""

from __future__ import annotations

from django.apps import AppConfig


class MeteringConfig(AppConfig):
    """App `metering`."""

    name = "metering"
    verbose_name = "Usage"

    def ready(self) -> None:
        """Let usage that waits hold back the invoices of its period."""
        from billing import hooks
        from metering import queue

        hooks.register_pending_check(queue.pending_before)
