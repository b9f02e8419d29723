"""A backtest of a month's events over four plans: seconds and peak memory.

A private instance gets the events, their ledger entries and costs by INSERT … SELECT;
then a process of its own runs the backtest as a worker does, one customer after
another, and says how long it took and how much memory it had at most. Beside it, in
the same run: the statement that only reads the same rows into such a process.

    make bench-backtest args="--events 1000000 --customers 20"
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import json
import resource
import subprocess
import sys
import time
from typing import Any

import psycopg

from bench.frame import Figures, parser, run, speak_to
from tests import harness

EVENT = """
INSERT INTO metering_usageevent (id, tenant_id, customer_id, product_id, agent_id,
  event_id, body_hash, event_type, tool_name, status, request_id, correlation_id,
  session_key, occurred_at, received_at, flags, body)
SELECT uuidv7(), c.tenant_id, c.id, s.product_id, a.id,
  'event-' || n, '\\x00', 'llm.completion', '', '', '', '', '',
  p.start_at + (n %% 2500000) * interval '1 second', p.start_at, '{}',
  jsonb_build_object(
    'properties', jsonb_build_object('model', 'gpt-4o', 'provider', 'openai',
      'requestType', (ARRAY['live', 'batch', 'priority'])[n %% 3 + 1],
      'user', 'user-' || n %% 5000),
    'measurements', jsonb_build_object('input_tokens', (1500 + n %% 977)::text,
      'output_tokens', (300 + n %% 531)::text, 'cache_read_tokens', (n %% 500)::text,
      'tool_calls', (n %% 4)::text, 'web_searches', (n %% 2)::text))
FROM generate_series(1, %(events)s) n
JOIN (SELECT *, row_number() OVER (ORDER BY id) AS place FROM billing_customer) c
  ON c.place = n %% %(customers)s + 1
JOIN billing_subscription s ON s.customer_id = c.id
JOIN billing_agent a ON a.customer_id = c.id
JOIN billing_billingperiod p ON p.customer_id = c.id AND p.start_at < %(month)s
  AND p.end_at > %(month)s
"""
ENTRY = """
INSERT INTO billing_ledgerentry (id, tenant_id, customer_id, version, recorded_at,
  subscription_id, snapshot_id, usage_period_id, billing_period_id, kind, currency,
  amount, basis_id, quantities, amounts, occurred_at, event_id, event_type,
  tool_name, agent_id)
SELECT uuidv7(), e.tenant_id, e.customer_id, 0, e.received_at, s.id, n.id,
  p.id, p.id, 'usage', 'USD', 0.01,
  aforo_ledger_basis_id(e.tenant_id, '{input_tokens}', '[[]]'),
  '1', '0.01', e.occurred_at, e.id, e.event_type, '', e.agent_id
FROM metering_usageevent e
JOIN billing_subscription s ON s.customer_id = e.customer_id
JOIN billing_subscriptionsnapshot n ON n.subscription_id = s.id
JOIN billing_billingperiod p ON p.customer_id = e.customer_id
  AND p.start_at <= e.occurred_at AND p.end_at > e.occurred_at
"""
BASIS = """
INSERT INTO billing_ledgerbasis (id, created_at, tenant_id, charge_keys, steps)
SELECT aforo_ledger_basis_id(id, '{input_tokens}', '[[]]'), now(), id,
  '{input_tokens}', '[[]]' FROM core_tenant
"""
COST = """
INSERT INTO metering_costfact (id, tenant_id, customer_id, event_id, kind, provider,
  model, currency, amount, figures, unknown, occurred_at)
SELECT uuidv7(), tenant_id, customer_id, id, 'original', 'openai', 'gpt-4o',
  'USD', 0.0071, '', '', occurred_at
FROM metering_usageevent
"""
TABLES = ("metering_usageevent", "billing_ledgerentry", "metering_costfact")


def fill(running: harness.Instance, *, events: int, customers: int) -> float:
    """Make the month's events with what they led to; return the seconds it took."""
    started = time.perf_counter()
    values = {
        "events": events,
        "customers": customers,
        "month": last_month().replace(day=15),
    }
    with psycopg.connect(running.database_url, autocommit=True) as link:
        for statement in (EVENT, BASIS, ENTRY, COST):
            link.execute(statement, values if statement is EVENT else None)
        for table in TABLES:
            link.execute(f"ANALYZE {table}")
    return time.perf_counter() - started


def last_month() -> dt.date:
    """Return the first day of the last month that is over."""
    today = importlib.import_module("aforo.lib.clock").now().date()
    return (today.replace(day=1) - dt.timedelta(days=1)).replace(day=1)


def four_plans(tenant: Any) -> list[Any]:
    """Return the version that the customers have, and three that differ from it."""
    plans = importlib.import_module("catalog.plans")
    models = importlib.import_module("catalog.models")
    (own,) = models.PlanVersion.objects.filter(tenant=tenant)
    found = [own]
    for number in range(3):
        charges = [
            {**charge, "price": {**charge["price"]}} for charge in own.body["charges"]
        ]
        batch = {
            **charges[1],
            "key": "batch",
            "filter": {"requestType": "batch"},
            "price": {
                "model": "per_unit",
                "per": 1_000_000,
                "unit_amount": str(number),
            },
        }
        body = {"currency": "USD", "charges": [*charges, batch]}
        plan = plans.create_plan(
            product=own.plan.product,
            name=f"Other {number}",
            code=f"o{number}",
            actor=None,
        )
        draft = plans.save_draft(plan=plan, body=body, limits={}, actor=None)
        found.append(plans.publish(version=draft, actor=None))
    return found


def priced() -> dict[str, Any]:
    """Run the backtest in this process; return seconds, memory and what came out."""
    speak_to()
    jobs = importlib.import_module("metering.backtest_jobs")
    chosen = importlib.import_module("metering.backtest_plans")
    tenant = importlib.import_module("aforo.core.models").Tenant.objects.get()
    # The instance's own worker is woken too, and finds the lock taken.
    sql = importlib.import_module("aforo.lib.sql")
    sql.cursor().execute("SELECT pg_advisory_lock(%b)", [jobs.QUEUE.lock])
    made = jobs.request(
        tenant=tenant,
        month=last_month(),
        plans=[chosen.frozen_version(v) for v in four_plans(tenant)],
        customers=None,
        product=None,
        actor=None,
    )
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    jobs.run(seconds=1e9)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    made.refresh_from_db()
    assert made.state == "done", made.failure
    return {
        "seconds": round(seconds, 1),
        "cpu_s": round(after.ru_utime - before.ru_utime, 1),
        "peak_rss_mb": round(after.ru_maxrss / 1024),
        "events": made.result["events"],
        "bills": [plan["new"] for plan in made.result["plans"]],
    }


def read_only() -> dict[str, Any]:
    """Only read the same rows through the same cursor; return the seconds."""
    speak_to()
    history = importlib.import_module("metering.history")
    billing = importlib.import_module("billing.models")
    db = importlib.import_module("django.db")
    started, count = time.perf_counter(), 0
    for customer in billing.Customer.objects.all():
        middle = f"{last_month():%Y-%m}-15T00:00Z"
        period = customer.periods.get(start_at__lt=middle, end_at__gt=middle)
        keys = list(customer.subscriptions.values_list("pk", flat=True))
        args = [customer.pk, period.pk, period.pk, keys]
        with (
            db.transaction.atomic(),
            psycopg.ServerCursor(db.connection.connection, "bare") as rows,
        ):
            rows.execute(history.EVENTS, args, binary=True)
            while chunk := rows.fetchmany(history.FETCH):
                count += len(chunk)
    return {"seconds": round(time.perf_counter() - started, 1), "events": count}


def in_process(running: harness.Instance, what: str) -> dict[str, Any]:
    """Run a part of this module in a process of its own and return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.backtest", "--inner", what],
        cwd=harness.ROOT,
        env=harness.clean_env(
            AFORO_DATA_DIR=str(running.data_dir), AFORO_DB_ROLE="worker"
        ),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(running: harness.Instance, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one run against a private instance."""
    importlib.import_module("bench.world").make(customers=options.customers, days=80)
    filled = fill(running, events=options.events, customers=options.customers)
    bare = in_process(running, "read")
    found = in_process(running, "price")
    assert bare["events"] == found["events"] == options.events
    return {
        **found,
        "customers": options.customers,
        "plans": 4,
        "events_per_s": round(options.events / found["seconds"]),
        "read_s": bare["seconds"],
        "ratio_to_reading": round(found["seconds"] / bare["seconds"], 2),
        "filled_in_s": round(filled, 1),
    }


def tell(figures: Figures) -> None:
    """Say the figures in words."""
    print(
        f"{figures['events']:,} events of {figures['customers']} customers, four plans"
    )
    print(
        f"  backtest          {figures['seconds']:>8} s, {figures['cpu_s']} s of it CPU"
    )
    print(f"  reading alone     {figures['read_s']:>8} s")
    print(f"  peak memory       {figures['peak_rss_mb']:>8} MB")


def main() -> None:
    """Run the benchmark."""
    made = parser(__doc__, events=1_000_000, customers=20)
    made.add_argument("--inner", choices=["price", "read"], help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.inner:
        print(json.dumps(priced() if options.inner == "price" else read_only()))
        return
    run(options, measure, tell)


if __name__ == "__main__":
    main()
