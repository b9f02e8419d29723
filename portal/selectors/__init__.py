"""What the pages read: each function answers one question in few statements."""

from __future__ import annotations
