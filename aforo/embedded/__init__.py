"""Postgres and Redis from wheels, and the process tree around them, without Django."""

from __future__ import annotations
