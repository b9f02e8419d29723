"""The laws of tenancy and of append-only tables."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps

from aforo.lib.invariants import Invariant, rows


def append_only() -> Iterator[str]:
    """Every append-only table refuses changes by trigger and by grant."""
    for model in apps.get_models():
        if not getattr(model, "append_only", False):
            continue
        table = model._meta.db_table
        triggers = rows(
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = to_regclass(%(t)s)"
            " AND tgname IN ('append_only_rows', 'append_only_table')"
            " AND tgenabled IN ('O', 'A')",
            t=table,
        )[0][0]
        if triggers != 2:
            yield f"{table} has {triggers} of its 2 triggers"
        for role in ("aforo_web", "aforo_worker"):
            for privilege in ("UPDATE", "DELETE", "TRUNCATE"):
                granted = rows(
                    "SELECT has_table_privilege(%(r)s, to_regclass(%(t)s), %(p)s)",
                    r=role,
                    t=table,
                    p=privilege,
                )[0][0]
                if granted:
                    yield f"{role} may {privilege} {table}"


def tenancy() -> Iterator[str]:
    """Every table with a tenant forces row-level security."""
    for model in apps.get_models():
        fields = {f.name: f for f in model._meta.local_fields}
        tenant = fields.get("tenant")
        if tenant is None:
            continue
        table = model._meta.db_table
        state = rows(
            "SELECT relrowsecurity, relforcerowsecurity,"
            " (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid)"
            " FROM pg_class c WHERE c.oid = to_regclass(%(t)s)",
            t=table,
        )[0]
        if not (state[0] and state[1] and state[2] >= 2):
            yield f"{table} is not confined to the tenant"


INVARIANTS = [
    Invariant("I-3", "Books are only ever added to", append_only),
    Invariant("I-37", "Tenants see their own rows only", tenancy),
]
