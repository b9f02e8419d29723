"""The margin guard: nobody is served for long at a loss."""

from __future__ import annotations

from guard.margin.record import relevel, relevel_products
from guard.margin.release import release

__all__ = ["release", "relevel", "relevel_products"]
