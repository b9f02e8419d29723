"""Who pays, under what contract, and the books."""

from __future__ import annotations

from billing.models.accounts import Agent, AgentGrant, Credential, Customer, Team
from billing.models.books import (
    AgentTotal,
    CustomerBooks,
    GroupTotal,
    LedgerBasis,
    LedgerBatch,
    LedgerEntry,
    LevelChange,
    UsageTotal,
)
from billing.models.hierarchy import FormerFacets
from billing.models.invoices import Invoice, InvoiceCounter, InvoiceLine
from billing.models.subscriptions import (
    BillingPeriod,
    Subscription,
    SubscriptionSnapshot,
)
from billing.models.wallets import CreditGrant, Wallet, WalletEntry

__all__ = [
    "Agent",
    "AgentGrant",
    "AgentTotal",
    "BillingPeriod",
    "Credential",
    "CreditGrant",
    "Customer",
    "CustomerBooks",
    "FormerFacets",
    "GroupTotal",
    "Invoice",
    "InvoiceCounter",
    "InvoiceLine",
    "LedgerBasis",
    "LedgerBatch",
    "LedgerEntry",
    "LevelChange",
    "Subscription",
    "SubscriptionSnapshot",
    "Team",
    "UsageTotal",
    "Wallet",
    "WalletEntry",
]
