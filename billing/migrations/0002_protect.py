"""Row-level security, append-only books, issued invoices that never change."""

from __future__ import annotations

from django.db import migrations

from aforo.core.protect import protect

BOOKS_SQL = """
ALTER TABLE billing_customerbooks ADD CONSTRAINT billing_customerbooks_same_tenant
  FOREIGN KEY (tenant_id, customer_id) REFERENCES billing_customer (tenant_id, id);
"""

INVOICES_SQL = """
CREATE FUNCTION aforo_keep_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state = 'draft' THEN
    RETURN COALESCE(NEW, OLD);
  END IF;
  IF TG_OP = 'UPDATE' AND NEW.state IN ('finalised', 'void')
     AND (to_jsonb(NEW) - 'state' - 'pdf_digest')
       = (to_jsonb(OLD) - 'state' - 'pdf_digest') THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'an issued invoice never changes'
    USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER issued_invoices BEFORE UPDATE OR DELETE ON billing_invoice
  FOR EACH ROW EXECUTE FUNCTION aforo_keep_invoice();

CREATE FUNCTION aforo_keep_invoice_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE line billing_invoiceline := COALESCE(NEW, OLD);
BEGIN
  IF (SELECT state FROM billing_invoice WHERE id = line.invoice_id) = 'draft' THEN
    RETURN line;
  END IF;
  RAISE EXCEPTION 'lines of an issued invoice never change'
    USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER issued_lines BEFORE INSERT OR UPDATE OR DELETE ON billing_invoiceline
  FOR EACH ROW EXECUTE FUNCTION aforo_keep_invoice_line();
CREATE TRIGGER issued_invoices_table BEFORE TRUNCATE ON billing_invoice
  FOR EACH STATEMENT EXECUTE FUNCTION aforo_refuse_change();
CREATE TRIGGER issued_lines_table BEFORE TRUNCATE ON billing_invoiceline
  FOR EACH STATEMENT EXECUTE FUNCTION aforo_refuse_change();
"""

# Who a caller's own secret belongs to; see core 0002.
LOOKUPS_SQL = """
CREATE FUNCTION aforo_find_credential(wanted text)
RETURNS TABLE (id uuid, tenant_id uuid, customer_id uuid, agent_id uuid,
               client_id text, product_ids uuid[], expires_at timestamptz,
               revoked_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT c.id, c.tenant_id, c.customer_id, c.agent_id, c.client_id, c.product_ids,
         c.expires_at, c.revoked_at
  FROM billing_credential c WHERE c.digest = wanted
$$;
"""


class Migration(migrations.Migration):
    """Guards of the books."""

    dependencies = [("billing", "0001_tables"), ("catalog", "0002_protect")]

    operations = [
        protect(
            "billing",
            append_only=[
                "ledgerentry",
                "ledgerbatch",
                "subscriptionsnapshot",
                "walletentry",
            ],
            hot=["ledgerentry"],
            leaf=[
                "agentgrant",
                "customerbooks",
                "invoicecounter",
                "invoiceline",
                "ledgerbatch",
                "ledgerentry",
                "usagetotal",
                "walletentry",
            ],
        ),
        migrations.RunSQL(BOOKS_SQL, migrations.RunSQL.noop),
        migrations.RunSQL(INVOICES_SQL, migrations.RunSQL.noop),
        migrations.RunSQL(LOOKUPS_SQL, migrations.RunSQL.noop),
    ]
