"""Costs keep what they have in common with others once, and the rest as short text.

Rewrites every cost in one statement: some minutes for millions of them, while nothing
is rated.
"""

from __future__ import annotations

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
from aforo.core.links import fewer_links_sql, more_links_sql
from aforo.core.protect import protect

FUNCTIONS = """
-- As metering.cost_bases.id_of: a version 8 UUID of the SHA-256 of tenant and parts.
CREATE FUNCTION aforo_cost_basis_id(tenant uuid, parts jsonb) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT encode(set_byte(set_byte(digest, 6, (get_byte(digest, 6) & 15) | 128),
    8, (get_byte(digest, 8) & 63) | 128), 'hex')::uuid
  FROM (
    SELECT substring(sha256(convert_to(tenant::text || parts::text, 'UTF8')) FOR 16)
  ) AS d (digest)
$$;
-- As catalog.cost_lines.cost_lines: the lines of a cost, one row each.
CREATE FUNCTION aforo_cost_lines(parts jsonb, figures text)
RETURNS TABLE (unit text, quantity numeric, price numeric, amount numeric, rate_id text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT p.part ->> 0, f.numbers[2 * p.place - 1]::numeric, (p.part ->> 1)::numeric,
    f.numbers[2 * p.place]::numeric, p.part ->> 2
  FROM (SELECT string_to_array(figures, ' ')) AS f (numbers)
  CROSS JOIN jsonb_array_elements(parts) WITH ORDINALITY AS p (part, place)
$$;
"""
NO_FUNCTIONS = """
DROP FUNCTION aforo_cost_lines(jsonb, text);
DROP FUNCTION aforo_cost_basis_id(uuid, jsonb);
"""
# Costs are never changed; what they say is the same after this.
OPEN = """
SET CONSTRAINTS ALL IMMEDIATE;  -- A table with checks to come cannot be altered.
ALTER TABLE metering_costfact DISABLE TRIGGER append_only_rows;
"""
SHUT = "ALTER TABLE metering_costfact ENABLE TRIGGER append_only_rows;"
FILL = f"""
{OPEN}
CREATE TEMP TABLE cost_lines ON COMMIT DROP AS
SELECT c.id, c.tenant_id, l.parts, l.figures
FROM metering_costfact c CROSS JOIN LATERAL (
  SELECT jsonb_agg(jsonb_build_array(line -> 0, line -> 2, line -> 4) ORDER BY place)
      AS parts,
    string_agg((line ->> 1) || ' ' || (line ->> 3), ' ' ORDER BY place) AS figures
  FROM jsonb_array_elements(c.lines) WITH ORDINALITY AS x (line, place)
) AS l WHERE c.lines <> '[]';
INSERT INTO metering_costbasis (id, created_at, tenant_id, parts)
SELECT aforo_cost_basis_id(tenant_id, parts), now(), tenant_id, parts
FROM (SELECT DISTINCT tenant_id, parts FROM cost_lines) AS b;
UPDATE metering_costfact f
SET basis_id = aforo_cost_basis_id(l.tenant_id, l.parts), figures = l.figures
FROM cost_lines l WHERE l.id = f.id;
DROP TABLE cost_lines;
{SHUT}
"""  # noqa: S608 - of our own statements
EMPTY = f"""
{OPEN}
UPDATE metering_costfact f SET lines = l.lines
FROM metering_costfact c JOIN metering_costbasis b ON b.id = c.basis_id
CROSS JOIN LATERAL (
  SELECT jsonb_agg(jsonb_build_array(part -> 0, numbers[2 * place - 1], part -> 1,
    numbers[2 * place], part -> 2) ORDER BY place) AS lines
  FROM (SELECT string_to_array(c.figures, ' ')) AS n (numbers)
  CROSS JOIN jsonb_array_elements(b.parts) WITH ORDINALITY AS p (part, place)
) AS l WHERE c.id = f.id;
{SHUT}
"""  # noqa: S608 - of our own statements
TABLE = "metering_costfact"
LINKS = {"customer_id": "billing_customer"}
ADDED = {"basis_id": "metering_costbasis"}


def _link(apps: Any, schema_editor: Any) -> None:
    """Hold the link to the basis as those to the customer are held."""
    for statement in more_links_sql(TABLE, LINKS | ADDED, ADDED):
        schema_editor.execute(statement)


def _unlink(apps: Any, schema_editor: Any) -> None:
    """Hold the links that there were before."""
    for statement in fewer_links_sql(TABLE, LINKS, ADDED):
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    """A table of bases, and costs that point there instead of telling all."""

    dependencies = [
        ("billing", "0008_packed_steps"),
        ("core", "0005_settled_apart"),
        ("metering", "0013_rated_count"),
    ]

    operations = [
        migrations.CreateModel(
            name="CostBasis",
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
                ("parts", models.JSONField()),
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
                "verbose_name_plural": "cost bases",
                "ordering": ["-created_at"],
            },
        ),
        protect("metering", append_only=["costbasis"], only=["costbasis"]),
        migrations.AddField(
            model_name="costfact",
            name="basis",
            field=aforo.lib.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="metering.costbasis",
            ),
        ),
        migrations.AddField(
            model_name="costfact",
            name="figures",
            field=models.TextField(blank=True, default=""),
        ),
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
        migrations.RunSQL(FILL, EMPTY),
        migrations.RemoveField(model_name="costfact", name="lines"),
        migrations.RunPython(_link, _unlink),
    ]
