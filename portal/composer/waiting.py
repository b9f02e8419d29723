"""Charges that were added and not begun: nothing about them is wrong yet."""

from __future__ import annotations

from portal.composer.models import MODELS
from portal.composer.typed import Charge, Price, Typed


def waiting(typed: Typed) -> list[Charge]:
    """Return the charges into which nothing was typed, whatever model was chosen.

    One that a discount names is in use and does not wait.
    """
    named = {uid for row in typed.terms.discounts for uid in row.charges}
    return [c for c in typed.charges if c.uid not in named and _is_untouched(c)]


def _is_untouched(charge: Charge) -> bool:
    """Tell whether a charge is as the button or the choice of a model made it."""
    texts = [charge.name, charge.unit, charge.metric, charge.key]
    texts += charge.bounds.values()
    texts += [text for row in charge.filters for text in row]
    return not any(text.strip() for text in texts) and _is_fresh(charge.price)


def _is_fresh(price: Price) -> bool:
    """Tell whether a price is as its form starts; choices such as per do not count."""
    form = MODELS.get(price.model)
    if form is None:
        return False
    chosen = {param.name for param in form.params if param.kind == "choice"}
    start = form.start()
    typed = {n: t.strip() for n, t in price.values.items() if n not in chosen}
    tiers = [
        text.strip()
        for tier in price.tiers
        for text in (tier.up_to, tier.unit_amount, tier.flat_amount)
    ]
    return (
        all(text in ("", start.values.get(name, "")) for name, text in typed.items())
        and not any(tiers)
        and all(price.rows.get(n, rows) == rows for n, rows in start.rows.items())
        and (price.inner is None or _is_fresh(price.inner))
    )
