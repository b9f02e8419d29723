"""A function that reads the steps of ledger entries, packed or as they were before."""

from __future__ import annotations

from django.db import migrations

# catalog.pricing.unpack_steps in SQL: each step as [kind, quantity, price, amount, …].
# Rows are never changed: what was written before stays a list of steps.
STEPS = """
CREATE FUNCTION aforo_steps(packed jsonb, quantity numeric, amount numeric)
RETURNS SETOF jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT step FROM jsonb_array_elements(
    CASE WHEN jsonb_typeof(packed -> 0) = 'string' THEN
      jsonb_build_array(
        jsonb_build_array(packed -> 0, trim_scale(quantity)::text, packed -> 1,
          trim_scale(amount)::text)
        || (packed - 1 - 0))
    ELSE packed END) AS step
$$
"""
NO_STEPS = "DROP FUNCTION aforo_steps(jsonb, numeric, numeric)"


class Migration(migrations.Migration):
    """Columns stay as they are; what is in `steps` may be shorter from now on."""

    dependencies = [("billing", "0007_sealed_periods")]

    operations = [migrations.RunSQL(STEPS, NO_STEPS)]
