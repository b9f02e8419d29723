"""Invoices as PDF: the same bytes whenever the same invoice is printed."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import typst

from aforo.lib.money import plain
from billing.models import BillingPeriod, Invoice, InvoiceLine
from catalog.pricing import is_plan_key
from catalog.pricing.words import money_words, number_words
from catalog.units import many, one

FOLDER = Path(__file__).parent / "typst"
# Archival, with text that can be searched and copied.
STANDARD: Literal["a-2u"] = "a-2u"
# A run without a space is allowed to break after so many characters.
RUN_MAX = 24
_RUN = re.compile(rf"(\S{{{RUN_MAX}}})(?=\S)")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff￾￿]")
_PER = {"1000": " per 1K", "1000000": " per 1M"}
MARKS = {Invoice.State.DRAFT: "DRAFT", Invoice.State.VOID: "VOID"}


class NotPrinted(Exception):
    """The invoice could not be made into a PDF."""


@functools.cache
def _fonts() -> typst.Fonts:
    """Return our font, then the system's for scripts that ours does not have."""
    return typst.Fonts(font_paths=[str(FOLDER / "fonts")])


def render(invoice: Invoice) -> bytes:
    """Return the invoice as a PDF/A file; drafts and voided ones are marked.

    Raises NotPrinted.
    """
    issued = invoice.issued_at or invoice.period.end_at
    data = json.dumps(document(invoice), ensure_ascii=False)
    try:
        return _compile(data, issued, archival=True)
    except typst.TypstError:
        # A character that no font has cannot be archived, but it can be printed.
        try:
            return _compile(data, issued, archival=False)
        except typst.TypstError as error:
            raise NotPrinted(str(error)) from error


def _compile(data: str, timestamp: dt.datetime, *, archival: bool) -> bytes:
    """Return the PDF of the data; the timestamp is all that it says of its making."""
    made: bytes = typst.compile(
        str(FOLDER / "invoice.typ"),
        root=str(FOLDER),
        font_paths=_fonts(),
        format="pdf",
        sys_inputs={"data": data},
        timestamp=int(timestamp.timestamp()),
        pdf_standards=[STANDARD] if archival else [],
    )
    return made


def digest(content: bytes) -> str:
    """Return the SHA-256 of a PDF in hex."""
    return hashlib.sha256(content).hexdigest()


def document(invoice: Invoice) -> dict[str, Any]:
    """Return every text and figure of an invoice, ready to be set."""
    currency = invoice.currency
    number = invoice.number or "Draft"
    tax = f"{invoice.tax_label or 'Tax'} {plain(invoice.tax_rate)} %"
    totals = [
        ["Subtotal", money_words(invoice.subtotal, currency)],
        [clean(tax), money_words(invoice.tax, currency)],
        ["Total", money_words(invoice.total, currency)],
    ]
    if invoice.credits_applied:
        totals.append(
            ["Prepaid credit applied", money_words(-invoice.credits_applied, currency)]
        )
    return {
        "title": f"Invoice {number}",
        "heading": "Invoice",
        "number": clean(number),
        "mark": MARKS.get(Invoice.State(invoice.state), ""),
        "seller": _party(invoice.seller),
        "buyer": _party(invoice.buyer),
        "labels": {"bill_to": "Bill to"},
        "facts": _facts(invoice),
        "columns": ["Description", "Quantity", "Unit price", f"Amount ({currency})"],
        "groups": _groups(invoice),
        "totals": totals,
        "due": ["Amount due", money_words(invoice.due, currency)],
        "notes": _notes(invoice),
        "footer": _footer(invoice),
        "page": "Page",
        "of": "of",
    }


def clean(text: str) -> str:
    """Return a text that can be set: no control characters, long runs may break."""
    return _RUN.sub("\\1\u200b", _UNPRINTABLE.sub("", text))


def _party(party: Mapping[str, str]) -> dict[str, Any]:
    """Return a name and the lines below it."""
    name = party.get("legal_name") or party.get("name") or ""
    lines = [line.strip() for line in party.get("address", "").splitlines()]
    if party.get("country"):
        lines.append(party["country"])
    if party.get("tax_id"):
        lines.append(f"Tax number {party['tax_id']}")
    if party.get("email"):
        lines.append(party["email"])
    return {"name": clean(name), "lines": [clean(line) for line in lines if line]}


def _day(day: dt.date) -> str:
    """Return a date without ambiguity, such as 1 Nov 2026."""
    return f"{day.day} {day:%b %Y}"


def _facts(invoice: Invoice) -> list[list[Any]]:
    """Return the dates of an invoice; instants are UTC."""
    issued = invoice.issued_at.astimezone(dt.UTC) if invoice.issued_at else None
    return [
        ["Issued", [_day(issued) if issued else "—"]],
        ["Due", [_day(invoice.due_on) if invoice.due_on else "—"]],
        ["Billing period", [*_span(invoice.period), *_zone(invoice.period)]],
        ["Currency", [invoice.currency]],
    ]


def _span(period: BillingPeriod) -> list[str]:
    """Return from when to when a period lasts: whole UTC days, or the instants."""
    start, end = (at.astimezone(dt.UTC) for at in (period.start_at, period.end_at))
    if start.time() == end.time() == dt.time():
        return [f"{_day(start)} – {_day(end - dt.timedelta(days=1))} (UTC)"]
    return [f"{_day(start)} {start:%H:%M} –", f"{_day(end)} {end:%H:%M} (UTC)"]


def _zone(period: BillingPeriod) -> list[str]:
    """Return whose midnight a period keeps, where that is not plain from UTC."""
    return [] if period.timezone == "UTC" else [f"months of {period.timezone}"]


def _groups(invoice: Invoice) -> list[dict[str, Any]]:
    """Return the lines under the product that each belongs to, in their order."""
    groups: list[dict[str, Any]] = []
    last = None
    rows = invoice.lines.select_related("subscription__product", "subscription__agent")
    for line in rows.order_by("position"):
        if line.subscription_id != last:
            last = line.subscription_id
            name = line.subscription.product.name
            if line.subscription.agent is not None:
                name = f"{name} · {line.subscription.agent.name}"
            groups.append({"name": clean(name), "lines": []})
        groups[-1]["lines"].append(_row(line, invoice.currency))
    return groups


def _row(line: InvoiceLine, currency: str) -> dict[str, Any]:
    """Return one line: one plain step fills the price, several stand below it."""
    steps: Sequence[Mapping[str, str]] = line.steps
    of_plan = is_plan_key(line.charge_key)
    plain_step = len(steps) == 1 and not of_plan and _is_plain(steps[0])
    single = steps[0] if plain_step else None
    price = ""
    if single is not None:
        price = money_words(Decimal(single["unit_amount"]), currency)
        price += _PER.get(single["per"], "")
    unit = one(line.unit) if line.quantity == 1 else many(line.unit)
    quantity = f"{number_words(line.quantity)} {unit}".strip()
    return {
        "name": clean(line.name),
        # What holds for the plan as a whole counts nothing.
        "quantity": "" if of_plan else clean(quantity),
        "price": price,
        "amount": figure(line.amount, currency),
        "steps": [
            [clean(step["label"]), money_words(Decimal(step["amount"]), currency)]
            for step in (() if single is not None else steps)
        ],
    }


def _is_plain(step: Mapping[str, str]) -> bool:
    """Say whether a step is units at one price, or a fixed amount."""
    if "unit_amount" not in step or Decimal(step["flat_amount"]):
        return False
    if step["label"] == "flat amount":
        return True
    worth = Decimal(step["quantity"]) * Decimal(step["unit_amount"])
    return worth == Decimal(step["amount"]) * Decimal(step["per"])


def figure(amount: Decimal, currency: str) -> str:
    """Return an amount without its currency, which the column says."""
    words = money_words(amount, currency)
    return re.sub(r"[^0-9.,−]", "", words)


def _notes(invoice: Invoice) -> list[str]:
    """Return what a reader of the figures may ask."""
    notes = [
        "Steps are exact; each line is rounded once, half up, to the currency's"
        " smallest unit."
    ]
    if invoice.credits_applied:
        notes.append("Prepaid credit was used as the usage came in.")
    return notes


def _footer(invoice: Invoice) -> str:
    """Return what stands at the foot of every page, besides its number."""
    seller = invoice.seller
    parts = [
        seller.get("legal_name") or seller.get("name", ""),
        f"Tax number {seller['tax_id']}" if seller.get("tax_id") else "",
        f"Invoice {invoice.number}" if invoice.number else "Draft, not an invoice",
    ]
    return clean(" · ".join(part for part in parts if part))
