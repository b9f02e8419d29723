"""Makes shops in the Aforo that AFORO_DATA_DIR names, and prints what to call them.

Run by tests.scenarios.stage: `python -m tests.scenarios.seed '[{"limits": {}}, …]'`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import django


def main(wanted: list[dict[str, Any]]) -> None:
    """Make a shop for each description and print them as JSON."""
    from aforo.core import service_keys
    from billing import accounts
    from tests.factories import add_cost, make_shop

    made = []
    for options in wanted:
        cap = options.pop("customer_cap", None)
        scopes = options.pop("scopes", None)
        costs = options.pop("costs", {})
        shop = make_shop(**options)
        secret = shop.service_secret
        for model, amount in costs.items():
            add_cost(
                shop.tenant, model=model, unit="input_uncached_tokens", amount=amount
            )
        if scopes is not None:
            _, secret = service_keys.issue(
                tenant=shop.tenant, name="backend", scopes=scopes, actor=None
            )
        if cap is not None:
            accounts.set_spend_cap(customer=shop.customer, amount=cap, actor=None)
        made.append(
            {
                "tenant_id": str(shop.tenant.pk),
                "customer_id": str(shop.customer.pk),
                "external_id": shop.customer.external_id,
                "subscription_id": str(shop.subscription.pk),
                "secret": shop.secret,
                "service_secret": secret,
            }
        )
    print(json.dumps(made))


if __name__ == "__main__":
    django.setup()
    main(json.loads(sys.argv[1]))
