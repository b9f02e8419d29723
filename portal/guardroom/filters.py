"""Filters of the decisions, all in the address: state, reason, customer, agent."""

from __future__ import annotations

import django_filters
from django.db.models import Q, QuerySet

from aforo.lib import ids
from billing.models import Agent, Customer
from guard.engine.decision import Reason
from guard.models import Decision
from portal.filters import empty_model, text_box
from portal.ui import states

STATES = {
    "deny": Q(decision="deny"),
    "throttle": Q(decision="throttle"),
    "warn": Q(warned=True),
    "observed": Q(observed=True),
    "degraded": Q(degraded=True),
}


class DecisionFilter(django_filters.FilterSet):  # type: ignore[misc]
    """What the tail of decisions is narrowed to."""

    state = django_filters.ChoiceFilter(
        choices=[(name, states.describe(name).word) for name in STATES],
        label="State",
        empty_label="Any",
        method="filter_state",
    )
    reason = django_filters.ChoiceFilter(
        choices=[(reason.value, reason.value) for reason in Reason],
        field_name="reason_code",
        label="Reason",
        empty_label="Any reason",
    )
    customer = django_filters.CharFilter(
        label="Customer", method="filter_subject", widget=text_box("Name or id")
    )
    agent = django_filters.CharFilter(
        label="Agent", method="filter_subject", widget=text_box("Name or id")
    )
    Meta = empty_model(Decision)

    def filter_state(
        self, rows: QuerySet[Decision], name: str, value: str
    ) -> QuerySet[Decision]:
        """Keep decisions of one state."""
        return rows.filter(STATES[value])

    def filter_subject(
        self, rows: QuerySet[Decision], name: str, value: str
    ) -> QuerySet[Decision]:
        """Keep decisions of customers, or agents, by name, their id or ours."""
        model = Customer if name == "customer" else Agent
        own = ids.parse_public(model.public_prefix, value)
        match = Q(name__icontains=value) | Q(external_id=value)
        if own:
            match |= Q(pk=own)
        found = model._default_manager.filter(match).values("pk")
        return rows.filter(**{f"{name}_id__in": found})

    @property
    def is_filtered(self) -> bool:
        """Whether the address names any filter."""
        return any(self.data.get(name) for name in self.filters)
