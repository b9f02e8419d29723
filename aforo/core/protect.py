"""Migration steps that guard tables: roles, row-level security, append-only rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.migrations.operations import RunPython

from aforo.core.links import links_sql

# Both roles are taken on with SET ROLE by the login that owns the schema; neither
# can log in, and none is a superuser. Roles belong to the whole server, so two
# databases may be set up at once: who comes second finds them there.
ROLES_SQL = """
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['aforo_web', 'aforo_worker'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', name);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
      END;
    END IF;
    IF NOT pg_has_role(current_user, name, 'SET') THEN
      EXECUTE format('GRANT %I TO %I', name, current_user);
    END IF;
  END LOOP;
END $$;
GRANT USAGE ON SCHEMA public TO aforo_web, aforo_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public
  TO aforo_web, aforo_worker;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO aforo_web, aforo_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO aforo_web, aforo_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
  GRANT USAGE, SELECT ON SEQUENCES TO aforo_web, aforo_worker;

CREATE OR REPLACE FUNCTION aforo_tenant() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('aforo.tenant', true), '')::uuid $$;
CREATE OR REPLACE FUNCTION aforo_user() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('aforo.user', true), '')::uuid $$;
CREATE OR REPLACE FUNCTION aforo_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'rows of % are never changed or deleted', TG_TABLE_NAME
    USING ERRCODE = 'integrity_constraint_violation';
END $$;
"""


def _tenant_sql(table: str, column: str, visible: str) -> list[str]:
    """Return the statements that confine a table to the tenant of the transaction."""
    own = visible or f"{column} = (SELECT aforo_tenant())"
    return [
        f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY',
        f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY',
        f'CREATE POLICY tenant_rows ON "{table}" TO aforo_web USING ({own})'
        f" WITH CHECK ({column} = (SELECT aforo_tenant()))",
        f'CREATE POLICY all_rows ON "{table}" TO aforo_worker, CURRENT_USER'
        " USING (true) WITH CHECK (true)",
    ]


def _linkable_sql(table: str) -> str:
    """Return UNIQUE (tenant_id, id): what composite foreign keys point at."""
    return (
        f'ALTER TABLE "{table}" ADD CONSTRAINT "{table}_tenant_id_key"'
        " UNIQUE (tenant_id, id)"
    )


def _links_of(model: Any) -> dict[str, str]:
    """Return the columns of a model's TenantForeignKey fields and what they link to."""
    return {
        field.column: field.related_model._meta.db_table
        for field in model._meta.local_fields
        if type(field).__name__ == "TenantForeignKey"
    }


def _foreign_keys_sql(table: str, targets: Mapping[str, str]) -> list[str]:
    """Return the composite foreign keys of a table."""
    return [
        f'ALTER TABLE "{table}" ADD CONSTRAINT "{table}_{column}_same_tenant"'
        f' FOREIGN KEY (tenant_id, "{column}") REFERENCES "{target}" (tenant_id, id)'
        for column, target in targets.items()
    ]


def _append_only_sql(table: str) -> list[str]:
    """Return the grants and triggers that let a table only grow."""
    return [
        f'REVOKE UPDATE, DELETE, TRUNCATE ON "{table}" FROM aforo_web, aforo_worker',
        f'CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON "{table}"'
        " FOR EACH ROW EXECUTE FUNCTION aforo_refuse_change()",
        f'CREATE TRIGGER append_only_table BEFORE TRUNCATE ON "{table}"'
        " FOR EACH STATEMENT EXECUTE FUNCTION aforo_refuse_change()",
    ]


def protect(
    app_label: str,
    *,
    append_only: Sequence[str] = (),
    hot: Sequence[str] = (),
    leaf: Sequence[str] = (),
    visible: dict[str, str] | None = None,
    only: Sequence[str] | None = None,
) -> RunPython:
    """Return the operation that guards the app's tables.

    Every model with a tenant gets UNIQUE (tenant_id, id), composite foreign keys and
    row-level security; `append_only` names the models (lower case) whose rows are
    never changed; `hot` those of them that take a row for every event, whose links
    are checked by statement (see aforo.core.links); `leaf` those that no other row
    links to (they need no UNIQUE (tenant_id, id)); `visible` gives a model's own
    condition for what the web role may see; `only` names the models that a later
    migration adds, when the app's others are guarded already.
    """

    def forward(apps: Any, schema_editor: Any) -> None:
        models = [
            model
            for model in apps.get_app_config(app_label).get_models()
            if only is None or model._meta.model_name in only
        ]
        statements: list[str] = []
        for model in models:
            linked = model._meta.model_name not in leaf
            if linked and any(f.name == "tenant" for f in model._meta.local_fields):
                statements.append(_linkable_sql(model._meta.db_table))
        for model in models:
            name, table = model._meta.model_name, model._meta.db_table
            if any(f.name == "tenant" for f in model._meta.local_fields):
                links = links_sql if name in hot else _foreign_keys_sql
                statements += links(table, _links_of(model))
                own = (visible or {}).get(name, "")
                statements += _tenant_sql(table, "tenant_id", own)
            if name in append_only:
                statements += _append_only_sql(table)
        for statement in statements:
            schema_editor.execute(statement)

    return RunPython(forward, _no_way_back)


def _no_way_back(apps: Any, schema_editor: Any) -> None:
    """Leave the guards: dropping the tables drops them too."""
