"""What somebody does about an event that has no price, in one sentence a reason."""

from __future__ import annotations

from metering.models import Unrateable

Reason = Unrateable.Reason
ADVICE = {
    Reason.UNKNOWN_METRIC: "Define a metric with this field on the metrics page, or"
    " correct the name where it is sent and amend the event; then replay.",
    Reason.NO_SUBSCRIPTION: "Give the customer a plan of this product that starts"
    " before the event, or resume the paused contract; then replay.",
    Reason.AMBIGUOUS_PRODUCT: "Name the product in the events that are sent; amend this"
    " one with productId.",
    Reason.UNKNOWN_PRODUCT: "Make a product with this code, or amend the event with the"
    " right one; then replay.",
    Reason.INCONSISTENT: "Totals include their parts: correct the numbers where they"
    " are made, and amend the event. Until then it counts and costs as it was sent.",
    Reason.UNKNOWN_COST: "Enter a cost rate for the model or tool that was in force at"
    " the event's time; then replay.",
    Reason.NEGATIVE_QUANTITY: "Usage is never negative: void the event that was too"
    " much instead, and void this one.",
    Reason.TOO_PRECISE: "Send at most 12 decimals; amend the event with a rounded"
    " quantity.",
    Reason.OUT_OF_RANGE: "Check the unit of the quantity and amend the event.",
    Reason.INVALID_PROPERTY: "The metric counts a property that is no number here:"
    " correct the property and amend the event.",
    Reason.TOO_MANY_UNIQUE: "The metric counts more distinct values than a period"
    " holds: count events instead, in a new version of the plan; then replay.",
    Reason.USAGE_AMBIGUOUS: "Amend the event: leave the usage block out and send the"
    " measurements that you know to be right, or send the provider's block whole, with"
    " its own total. Replay helps only once Aforo reads the block otherwise.",
    Reason.USAGE_MISSING: "The provider's last figures did not come: amend the event"
    " with your own count as measurements beside the block, output_tokens among them,"
    " or with the whole stream. Replay alone finds nothing new.",
    Reason.USAGE_NOT_READ: "Send measurements beside the provider's usage block, or"
    " update Aforo when it reads the block; then replay or amend.",
    Reason.QUARANTINED: "Rating it failed: read the detail, repair what it names (or"
    " report it), then replay; the event was not counted yet.",
}

# Reasons that only another body puts right: replaying the same one finds the same.
NEED_AMENDING = frozenset(
    {Reason.INCONSISTENT, Reason.USAGE_AMBIGUOUS, Reason.USAGE_MISSING}
)


def advice(reason: str) -> str:
    """Return the sentence for a reason; empty for one that is not listed."""
    return ADVICE.get(Reason(reason), "") if reason in Reason.values else ""
