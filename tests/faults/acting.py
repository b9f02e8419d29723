"""Changes something in the Aforo that AFORO_DATA_DIR names, as its seller would.

Run by tests.faults: `python -m tests.faults.acting WHAT CUSTOMER`; prints as JSON when
the change was committed, in seconds since 1970.
"""

from __future__ import annotations

import json
import sys
import time

import django


def main(what: str, customer_id: str) -> None:
    """Do one thing to the only agent, credential or service key of a customer."""
    from aforo.core import service_keys
    from aforo.core.models import ServiceKey
    from billing import accounts, credentials
    from billing.models import Agent, Credential, Customer

    customer = Customer.objects.get(pk=customer_id)
    if what == "revoke-credential":
        credential = Credential.objects.get(customer=customer)
        credentials.revoke(credential=credential, actor=None)
    elif what == "revoke-service-key":
        key = ServiceKey.objects.get(tenant=customer.tenant_id)
        service_keys.revoke(key=key, actor=None)
    elif what == "pause-agent":
        accounts.pause_agent(agent=Agent.objects.get(customer=customer), actor=None)
    else:
        raise SystemExit(f"unknown: {what}")
    print(json.dumps({"committed_at": time.time()}))


if __name__ == "__main__":
    django.setup()
    main(*sys.argv[1:])
