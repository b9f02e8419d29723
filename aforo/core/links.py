"""Links of the tables that take a row for every event, checked once a statement.

A foreign key is checked row by row, with a look-up and a row lock for each: seven of
them cost the ledger half of its time. The rows of one statement link to a handful of
parents, so a trigger looks at each distinct parent once (docs/decisions/0005).
"""

from __future__ import annotations

from collections.abc import Mapping


def links_sql(table: str, targets: Mapping[str, str]) -> list[str]:
    """Return the statements that hold a table's links: {column: table linked to}.

    Only for tables whose rows are never changed. A row with an unknown parent, or
    one of another tenant, raises foreign_key_violation; so does deleting a parent
    that has rows: it waits for the inserts under way and holds up new ones, so that
    none slips through.
    """
    statements = [
        checks_sql(table, targets),
        f'CREATE TRIGGER links AFTER INSERT ON "{table}" REFERENCING NEW TABLE AS fresh'
        f' FOR EACH STATEMENT EXECUTE FUNCTION "{table}_links"()',
    ]
    for column, target in targets.items():
        statements += _parent(table, column, target)
    return statements


def checks_sql(table: str, targets: Mapping[str, str]) -> str:
    """Return the statement that makes, or makes anew, what looks at a table's rows."""
    checks = "\n".join(_check(table, *link) for link in targets.items())
    return f"""
CREATE OR REPLACE FUNCTION "{table}_links"() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
{checks}
  RETURN NULL;
END $$
"""


def more_links_sql(
    table: str, targets: Mapping[str, str], added: Mapping[str, str]
) -> list[str]:
    """Return the statements that hold further links of a table that has links_sql().

    `targets` are all of its links, those `added` among them.
    """
    statements = [checks_sql(table, targets)]
    for column, target in added.items():
        statements += _parent(table, column, target)
    return statements


def fewer_links_sql(
    table: str, targets: Mapping[str, str], dropped: Mapping[str, str]
) -> list[str]:
    """Return the statements that take back more_links_sql(): `targets` are left."""
    statements = [checks_sql(table, targets)]
    for column, target in dropped.items():
        name = f"{table}_{column}_kept"
        statements += [
            f'DROP TRIGGER "{name}" ON "{target}"',
            f'DROP FUNCTION "{name}"()',
        ]
    return statements


def _check(table: str, column: str, target: str) -> str:
    """Return the step that raises for a row whose parent its tenant does not have."""
    return f"""
  IF EXISTS (
    SELECT FROM (
      SELECT DISTINCT tenant_id, "{column}" AS id
      FROM fresh WHERE "{column}" IS NOT NULL
    ) AS linked
    WHERE NOT EXISTS (
      SELECT FROM "{target}" t
      WHERE t.tenant_id = linked.tenant_id AND t.id = linked.id
    )
  ) THEN
    RAISE EXCEPTION 'a row of {table} links to no row of {target} of its tenant'
      USING ERRCODE = 'foreign_key_violation',
        CONSTRAINT = '{table}_{column}_same_tenant';
  END IF;"""  # noqa: S608 - of our own names


def _parent(table: str, column: str, target: str) -> list[str]:
    """Return the statements that keep a parent while it has rows."""
    name = f"{table}_{column}"
    return [
        f"""
CREATE FUNCTION "{name}_kept"() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  LOCK TABLE "{table}" IN SHARE MODE;
  IF EXISTS (SELECT FROM "{table}" WHERE "{column}" = OLD.id) THEN
    RAISE EXCEPTION 'a row of {target} has rows of {table}'
      USING ERRCODE = 'foreign_key_violation', CONSTRAINT = '{name}_same_tenant';
  END IF;
  RETURN OLD;
END $$
""",
        f'CREATE TRIGGER "{name}_kept" BEFORE DELETE ON "{target}"'
        f' FOR EACH ROW EXECUTE FUNCTION "{name}_kept"()',
    ]
