"""Invoices on paper: readable, the same bytes again, and nothing typed is markup."""

from __future__ import annotations

import io
import re
from decimal import Decimal

import pytest
from pypdf import PdfReader

from billing import pdf
from billing.models import Invoice, InvoiceLine
from billing.tests.cast import (
    DAY,
    GROWTH,
    NOVEMBER,
    OCTOBER,
    Cast,
    close_month,
    event,
    make_cast,
    per_call,
    subscribe,
    use,
    with_fee,
)
from billing.tests.test_invoice_month import a_month_of_usage

pytestmark = pytest.mark.django_db


def pages(content: bytes) -> list[str]:
    """Return the text of each page, without the breaks inside long words."""
    reader = PdfReader(io.BytesIO(content))
    return [page.extract_text().replace("\u200b", "") for page in reader.pages]


def issued(cast: Cast, body=None) -> Invoice:
    """Return an issued invoice of the cast's October."""
    subscribe(cast, body or with_fee("200"))
    use(cast, [event(OCTOBER + DAY) for _ in range(3)])
    (invoice,) = close_month()
    return invoice


def draft(cast: Cast, *, lines: int, currency: str = "USD") -> Invoice:
    """Return a draft with so many lines beside an issued invoice."""
    subscription = issued(cast).lines.all()[0].subscription
    invoice = Invoice.objects.create(
        tenant=cast.tenant,
        customer=cast.customer,
        period=Invoice.objects.get().period,
        currency="KWD" if currency == "USD" else currency,
        seller={"name": "Seller"},
        buyer={"name": "Buyer"},
        subtotal=Decimal(1_234_567),
        total=Decimal(1_234_567),
        due=Decimal(1_234_567),
    )
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            tenant=cast.tenant,
            invoice=invoice,
            position=n,
            subscription=subscription,
            charge_key=f"c{n}",
            name=f"Charge number {n}",
            quantity=Decimal(n),
            unit="calls",
            exact_amount=Decimal(n),
            amount=Decimal(n),
        )
        for n in range(1, lines + 1)
    )
    return invoice


def test_an_invoice_says_who_owes_whom_what_for_when():
    cast = make_cast()
    cast.tenant.legal_name = "Lumen Labs Ltd"
    cast.tenant.address = "14 Harbour Street\nDublin"
    cast.tenant.tax_id = "IE3412345AB"
    cast.tenant.tax_label, cast.tenant.tax_rate = "VAT", Decimal(21)
    cast.tenant.save()
    cast.customer.legal_name, cast.customer.tax_id = "Acme GmbH", "DE811907980"
    cast.customer.save()
    invoice = issued(cast)
    (page,) = pages(pdf.render(invoice))
    for text in (
        "Lumen Labs Ltd",
        "14 Harbour Street",
        "Tax number IE3412345AB",
        "Acme GmbH",
        "Tax number DE811907980",
        "INV-2026-0001",
        "1 Nov 2026",
        "1 Dec 2026",
        "1 Oct 2026 – 31 Oct 2026 (UTC)",
        "Monthly fee",
        "VAT 21 %",
        "$42.01",
        "$242.04",
        "Amount due",
        "Page 1 of 1",
    ):
        assert text in page, text


def test_tier_steps_are_printed_in_words():
    cast = make_cast()
    subscribe(cast, GROWTH)
    a_month_of_usage(cast)
    (invoice,) = close_month()
    (page,) = pages(pdf.render(invoice))
    assert "first 10,000,000 × $3.00 per 1M" in page
    assert "next 50,000,000 × $2.50 per 1M" in page
    assert "1,000,000 of 1,000,000 included" in page
    assert "raised to the minimum of $0.50 per event" in page


def test_the_same_invoice_gives_the_same_bytes():
    invoice = issued(make_cast())
    first = pdf.render(invoice)
    assert pdf.render(Invoice.objects.get(pk=invoice.pk)) == first
    assert pdf.digest(first) == invoice.pdf_digest


def test_it_is_archival_and_says_when_it_was_issued():
    invoice = issued(make_cast())
    reader = PdfReader(io.BytesIO(pdf.render(invoice)))
    assert reader.metadata is not None
    assert reader.metadata.title == "Invoice INV-2026-0001"
    assert reader.metadata.creation_date == invoice.issued_at
    assert reader.xmp_metadata is not None
    conformance = reader.xmp_metadata.stream.get_data().decode()
    assert "<pdfaid:part>2</pdfaid:part>" in conformance
    assert "<pdfaid:conformance>U</pdfaid:conformance>" in conformance


def test_nothing_that_people_typed_is_markup():
    cast = make_cast()
    nasty = '#read("/etc/passwd") *bold* $x^2$ [a](b) <script> \\ "quoted" @ref'
    cast.customer.legal_name = nasty
    cast.customer.address = "#sys.inputs\n= Heading\n- item"
    cast.customer.save()
    body = per_call()
    body["charges"][0]["name"] = "#import *calls* //comment"
    (page,) = pages(pdf.render(issued(cast, body)))
    flat = " ".join(page.split())
    assert '#read("/etc/passwd")' in flat
    assert "*bold* $x^2$ [a](b) <script>" in flat
    assert "#sys.inputs" in flat
    assert "#import *calls* //comment" in flat


def test_two_hundred_lines_repeat_the_header_and_count_the_pages():
    invoice = draft(make_cast(), lines=200)
    found = pages(pdf.render(invoice))
    assert len(found) > 3
    for number, page in enumerate(found, start=1):
        assert f"Page {number} of {len(found)}" in page
    assert all("Description" in page for page in found[:-1])
    assert "Amount due" in found[-1]
    text = "\n".join(found)
    printed = {int(n) for n in re.findall(r"Charge number (\d+)", text)}
    assert printed == set(range(1, 201))


def test_a_draft_is_marked_and_has_no_number():
    (page,) = pages(pdf.render(draft(make_cast(), lines=3)))
    assert "DRAFT" in page
    assert "Draft, not an invoice" in page


def test_a_void_invoice_is_marked_and_keeps_its_number():
    invoice = issued(make_cast())
    invoice.state = Invoice.State.VOID
    invoice.save(update_fields=["state"])
    (page,) = pages(pdf.render(invoice))
    assert "VOID" in page
    assert "INV-2026-0001" in page


@pytest.mark.parametrize(
    ("currency", "line", "due"),
    [
        ("JPY", "3", "¥1,234,567"),
        ("KWD", "3.000", "KWD 1,234,567.000"),
        ("EUR", "3.00", "€1,234,567.00"),
    ],
)
def test_amounts_have_the_places_of_their_currency(currency, line, due):
    (page,) = pages(pdf.render(draft(make_cast(), lines=3, currency=currency)))
    assert f"Amount ({currency})" in page
    assert due in page
    assert line in page.split()


def test_names_of_any_script_and_length_are_printed():
    cast = make_cast()
    cast.customer.legal_name = "Żółć Ελλάδα Компания " + "Unbroken" * 20
    cast.customer.save()
    (page,) = pages(pdf.render(issued(cast)))
    flat = "".join(page.split())
    assert "ŻółćΕλλάδαКомпания" in flat
    assert "Unbroken" * 20 in flat


def test_characters_that_no_font_has_do_not_stop_the_invoice():
    cast = make_cast()
    cast.customer.legal_name = "Tofu \U0001f9ff \x00 \U000e0041 Ltd"
    cast.customer.save(update_fields=[])
    invoice = issued(cast)
    invoice.buyer = {**invoice.buyer, "legal_name": cast.customer.legal_name}
    (page,) = pages(pdf.render(invoice))
    assert "Tofu" in page


def test_times_are_told_where_midnight_is_not_utcs():
    cast = make_cast(timezone="Europe/Berlin")
    subscribe(cast, with_fee("200"), at=OCTOBER + DAY)
    invoice = close_and_find(cast)
    (page,) = pages(pdf.render(invoice))
    assert "30 Sep 2026 22:00" in page
    assert "31 Oct 2026 23:00 (UTC)" in page
    assert "months of Europe/Berlin" in page


def close_and_find(cast: Cast) -> Invoice:
    """Close what ended before November and return the customer's invoice."""
    close_month(NOVEMBER)
    return Invoice.objects.get(customer=cast.customer)


def test_terms_of_the_whole_plan_are_lines_without_a_quantity():
    cast = make_cast()
    body = {**with_fee("200"), "minimum": "500"}
    body["discounts"] = [{"name": "Launch offer", "percent": "10"}]
    (text,) = pages(pdf.render(issued(cast, body)))
    words = " ".join(text.split())
    assert "Launch offer −20.00" in words
    assert "10 % of $200.03" in words
    assert re.search(r"Minimum spend 319\.97", words)
    assert "minimum spend $500.00, $180.027 used" in words
