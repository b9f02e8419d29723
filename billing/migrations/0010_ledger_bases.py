"""Entries keep what they have in common with others once, and the rest as short text.

Rewrites the ledger in one statement: some minutes for millions of entries, while
nothing is rated. What an entry says, and with it the chain of digests, stays the same.
"""

from __future__ import annotations

from typing import Any

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
import aforo.lib.models
from aforo.core.links import fewer_links_sql, more_links_sql
from aforo.core.protect import protect

FUNCTIONS = """
-- As billing.ledger_bases.id_of: a version 8 UUID of the SHA-256 of the content.
CREATE FUNCTION aforo_ledger_basis_id(tenant uuid, charge_keys varchar[], steps jsonb)
RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT encode(set_byte(set_byte(digest, 6, (get_byte(digest, 6) & 15) | 128),
    8, (get_byte(digest, 8) & 63) | 128), 'hex')::uuid
  FROM (
    SELECT substring(sha256(convert_to(tenant::text
      || jsonb_build_array(to_jsonb(charge_keys), steps)::text, 'UTF8')) FOR 16)
  ) AS d (digest)
$$;
-- As aforo.lib.money.figures_of: the numbers of a text, with the books' 12 places.
CREATE FUNCTION aforo_figures(figures text) RETURNS numeric[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT string_to_array(figures, ' ')::numeric(38, 12)[]
$$;
"""
NO_FUNCTIONS = """
DROP FUNCTION aforo_figures(text);
DROP FUNCTION aforo_ledger_basis_id(uuid, varchar[], jsonb);
"""
# The steps that a basis tells: as many as charges, and without quantities and amounts.
# Not in pg_temp, which is never searched for functions.
SHARED = """
CREATE FUNCTION aforo_shared_steps(charge_keys varchar[], steps jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
  SELECT steps WHERE jsonb_array_length(steps) = cardinality(charge_keys)
    AND NOT EXISTS (SELECT FROM jsonb_array_elements(steps) AS s (step)
      WHERE jsonb_typeof(step -> 0) = 'array')
$$;
CREATE FUNCTION aforo_figures_text(numbers numeric[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(string_agg(trim_scale(n)::text, ' ' ORDER BY place), '')
  FROM unnest(numbers) WITH ORDINALITY AS x (n, place)
$$;
"""
FILL = f"""
{SHARED}
SET CONSTRAINTS ALL IMMEDIATE;  -- A table with checks to come cannot be altered.
INSERT INTO billing_ledgerbasis (id, created_at, tenant_id, charge_keys, steps)
SELECT aforo_ledger_basis_id(tenant_id, charge_keys, steps), now(), tenant_id,
  charge_keys, steps
FROM (SELECT DISTINCT tenant_id, charge_keys,
    aforo_shared_steps(charge_keys, steps) AS steps
  FROM billing_ledgerentry) AS b;
ALTER TABLE billing_ledgerentry
  ALTER COLUMN charge_keys TYPE uuid USING aforo_ledger_basis_id(
    tenant_id, charge_keys, aforo_shared_steps(charge_keys, steps)),
  ALTER COLUMN quantities TYPE text USING aforo_figures_text(quantities),
  ALTER COLUMN amounts TYPE text USING aforo_figures_text(amounts),
  ALTER COLUMN steps DROP NOT NULL,
  ALTER COLUMN steps TYPE jsonb
    USING CASE WHEN aforo_shared_steps(charge_keys, steps) IS NULL THEN steps END;
ALTER TABLE billing_ledgerentry RENAME COLUMN charge_keys TO basis_id;
ALTER TABLE billing_ledgerentry RENAME COLUMN steps TO own_steps;
DROP FUNCTION aforo_shared_steps(varchar[], jsonb);
DROP FUNCTION aforo_figures_text(numeric[]);
"""  # noqa: S608 - of our own statements
EMPTY = """
CREATE FUNCTION aforo_basis_keys(basis uuid) RETURNS varchar[] LANGUAGE sql STABLE AS
  $$ SELECT charge_keys FROM billing_ledgerbasis WHERE id = basis $$;
CREATE FUNCTION aforo_basis_steps(basis uuid) RETURNS jsonb LANGUAGE sql STABLE AS
  $$ SELECT steps FROM billing_ledgerbasis WHERE id = basis $$;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE billing_ledgerentry
  ALTER COLUMN own_steps TYPE jsonb
    USING coalesce(own_steps, aforo_basis_steps(basis_id)),
  ALTER COLUMN own_steps SET NOT NULL,
  ALTER COLUMN basis_id TYPE varchar(80)[] USING aforo_basis_keys(basis_id),
  ALTER COLUMN quantities TYPE numeric(38, 12)[] USING aforo_figures(quantities),
  ALTER COLUMN amounts TYPE numeric(38, 12)[] USING aforo_figures(amounts);
ALTER TABLE billing_ledgerentry RENAME COLUMN basis_id TO charge_keys;
ALTER TABLE billing_ledgerentry RENAME COLUMN own_steps TO steps;
DROP FUNCTION aforo_basis_keys(uuid);
DROP FUNCTION aforo_basis_steps(uuid);
"""
TABLE = "billing_ledgerentry"
LINKS = {
    "customer_id": "billing_customer",
    "subscription_id": "billing_subscription",
    "snapshot_id": "billing_subscriptionsnapshot",
    "usage_period_id": "billing_billingperiod",
    "billing_period_id": "billing_billingperiod",
    "agent_id": "billing_agent",
    "team_id": "billing_team",
}
ADDED = {"basis_id": "billing_ledgerbasis"}


def _link(apps: Any, schema_editor: Any) -> None:
    """Hold the link to the basis as the others are held."""
    for statement in more_links_sql(TABLE, LINKS | ADDED, ADDED):
        schema_editor.execute(statement)


def _unlink(apps: Any, schema_editor: Any) -> None:
    """Hold the links that there were before."""
    for statement in fewer_links_sql(TABLE, LINKS, ADDED):
        schema_editor.execute(statement)


STATE = [
    migrations.RemoveField("ledgerentry", "charge_keys"),
    migrations.AddField(
        "ledgerentry",
        "basis",
        aforo.lib.fields.TenantForeignKey(
            db_constraint=False,
            db_index=False,
            on_delete=django.db.models.deletion.PROTECT,
            related_name="+",
            to="billing.ledgerbasis",
        ),
        preserve_default=False,
    ),
    migrations.AlterField("ledgerentry", "quantities", aforo.lib.models.FiguresField()),
    migrations.AlterField("ledgerentry", "amounts", aforo.lib.models.FiguresField()),
    migrations.RenameField("ledgerentry", "steps", "own_steps"),
    migrations.AlterField("ledgerentry", "own_steps", models.JSONField(null=True)),
]


class Migration(migrations.Migration):
    """A table of bases, and entries that point there instead of telling all."""

    dependencies = [
        ("billing", "0009_agents_and_levels"),
        ("core", "0005_settled_apart"),
    ]

    operations = [
        migrations.CreateModel(
            name="LedgerBasis",
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
                    "charge_keys",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=80)
                    ),
                ),
                ("steps", models.JSONField(null=True)),
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
                "verbose_name_plural": "ledger bases",
                "ordering": ["-created_at"],
            },
        ),
        protect("billing", append_only=["ledgerbasis"], only=["ledgerbasis"]),
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(FILL, EMPTY)],
            state_operations=STATE,
        ),
        migrations.RunPython(_link, _unlink),
    ]
