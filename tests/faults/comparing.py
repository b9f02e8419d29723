"""Compares edge and record of the Aforo that AFORO_DATA_DIR names, again and again.

Run by tests.faults: `python -m tests.faults.comparing SECONDS`; prints as JSON how
often it compared, what it called drift, and what the invariant I-30 said.
"""

from __future__ import annotations

import json
import sys
import time

import django


def main(seconds: float) -> None:
    """Compare every customer until the time is over, and print what was found."""
    from billing.models import Customer
    from guard import drift, invariants

    customers = sorted(Customer.objects.values_list("pk", flat=True))
    found, told, rounds = [], [], 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen = drift.reconcile(customers)
        rounds += 1
        if seen.is_any:
            found.append(str(seen))
        told += list(invariants.edge_equals_record())
    print(json.dumps({"rounds": rounds, "drift": found, "breaks": told}))


if __name__ == "__main__":
    django.setup()
    main(float(sys.argv[1]))
