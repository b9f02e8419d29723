"""What the guard is asked and answers, as OpenAPI shows it; guard.asking reads it."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework import serializers

from guard.asking import TEXT_MAX, TEXTS
from guard.engine.decision import Outcome, Reason
from guard.releasing import MEMBERS

_HELP: Final = {
    "api_key": "The payer's bearer key (with a service key only).",
    "client_id": "The payer's client id.",
    "agent_id": "The agent, by our id or yours.",
    "team_id": "Checked against the credential.",
    "customer_id": "The payer, by our id or yours; also spelt customerId.",
    "tenant_id": "Checked against the credential.",
    "subscription_id": "Checked against the credential.",
    "product_id": "Our id or the product's code; needed where several are possible.",
    "mcp_server_id": "The same, for MCP servers.",
    "feature": "A feature that the plan must include.",
    "tool_name": "What is called; kept with the decision.",
    "model": "Which model is called; kept with the decision.",
    "session_id": "Kept with the decision.",
    "parent_session_id": "Kept with the decision.",
    "request_id": "Makes the check idempotent; the usage event carries it too.",
    "correlation_id": "Stands in for request_id while it is unused.",
    "args_hash": "A hash of the call's arguments: equal calls of a tool are counted by"
    " it where the plan's loop guard is on.",
    "last_tool_status": "How the caller's last tool call ended: success, error or an"
    " HTTP status. Errors in a row are counted where the loop guard is on.",
}


class EstimateSchema(serializers.Serializer[Any]):
    """What the call is expected to use."""

    amount = serializers.DecimalField(
        38, 12, required=False, help_text="Money, in the customer's currency."
    )
    tokens = serializers.IntegerField(required=False, min_value=0)
    units = serializers.DictField(
        child=serializers.IntegerField(min_value=0),
        required=False,
        help_text="Quantities by measurement, such as output_tokens.",
    )


class LimitSchema(serializers.Serializer[Any]):
    """One limit after this call."""

    name = serializers.ChoiceField([reason.value for reason in Reason])
    unit = serializers.CharField()
    limit = serializers.CharField(help_text="A number; a decimal text for money.")
    used = serializers.CharField()
    remaining = serializers.CharField()
    reset_s = serializers.IntegerField(allow_null=True)


class EstimatedSchema(serializers.Serializer[Any]):
    """What was reserved."""

    amount = serializers.CharField()
    currency = serializers.CharField()
    defaulted = serializers.BooleanField(help_text="Nothing was said: the plan's own.")


class WouldSchema(serializers.Serializer[Any]):
    """What would have been decided, had the guard enforced."""

    decision = serializers.ChoiceField([Outcome.THROTTLE.value, Outcome.DENY.value])
    reason_code = serializers.ChoiceField([reason.value for reason in Reason])


class AnswerSchema(serializers.Serializer[Any]):
    """The call may go on."""

    decision = serializers.ChoiceField([Outcome.ALLOW.value, Outcome.THROTTLE.value])
    reason_code = serializers.CharField(allow_null=True)
    detail = serializers.CharField(allow_null=True)
    decision_id = serializers.CharField()
    hold_id = serializers.CharField(allow_null=True)
    hold_expires_at = serializers.DateTimeField(allow_null=True)
    customer_id = serializers.CharField()
    agent_id = serializers.CharField(allow_null=True)
    product_id = serializers.CharField()
    subscription_id = serializers.CharField()
    estimate = EstimatedSchema()
    limits = LimitSchema(many=True)
    throttle_model = serializers.CharField(allow_null=True)
    degraded = serializers.BooleanField(help_text="Judged without the store.")
    replayed = serializers.BooleanField(help_text="The first answer, again.")
    observe_only = serializers.BooleanField(
        help_text="A limit would have bound; the guard only observes."
    )
    would = WouldSchema(allow_null=True)
    request_id = serializers.CharField(allow_null=True)


class ProblemSchema(serializers.Serializer[Any]):
    """A refusal (application/problem+json)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField()
    detail = serializers.CharField()
    field = serializers.CharField(required=False)
    reason_code = serializers.CharField(required=False)
    decision = serializers.CharField(required=False)
    decision_id = serializers.CharField(required=False)
    limit = LimitSchema(required=False)
    limits = LimitSchema(many=True, required=False)
    retry_after = serializers.IntegerField(required=False)


class AskSchema(serializers.Serializer[Any]):
    """What is asked; every member is optional, unknown ones are refused."""

    estimate = EstimateSchema(required=False)
    ceiling = serializers.DecimalField(
        38, 12, required=False, help_text="The most the caller agrees to spend."
    )

    def get_fields(self) -> dict[str, Any]:
        """Return the text members before the others."""
        texts = {
            name: serializers.CharField(
                required=False, max_length=TEXT_MAX, help_text=_HELP[name]
            )
            for name in TEXTS
        }
        return {**texts, **super().get_fields()}


class ReleaseSchema(serializers.Serializer[Any]):
    """Which call did not happen, and who would have paid."""

    def get_fields(self) -> dict[str, Any]:
        """Return the members of a check that name a payer or a call."""
        return {
            name: serializers.CharField(
                required=False, max_length=TEXT_MAX, help_text=_HELP[name]
            )
            for name in TEXTS
            if name in MEMBERS
        }


class ReleasedSchema(serializers.Serializer[Any]):
    """A hold that reserves nothing any more."""

    hold_id = serializers.CharField()
    status = serializers.ChoiceField(["released"])
    already_released = serializers.BooleanField(help_text="By an earlier release.")


def _header(name: str, text: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, description=text)


AUTHZ_PARAMETERS: Final = [
    OpenApiParameter(
        "deny",
        str,
        description="403: a reached limit is 403 too, with X-Aforo-Status: 429.",
        enum=["403"],
    ),
    _header("X-API-Key", "The caller's key, where Authorization holds another one."),
    _header("X-Aforo-Service-Key", "The gateway's key; then the payer may be named."),
    _header("X-Request-Id", "The gateway's id of the request: becomes request_id."),
    _header("X-Aforo-Estimate", "Money, in the customer's currency."),
    _header("X-Aforo-Estimate-Tokens", "Tokens of the call."),
    _header("X-Aforo-Estimate-Units", "input_tokens=1800, output_tokens=600"),
    _header("X-Aforo-Ceiling", "The most the caller agrees to spend."),
    *(
        _header(f"X-Aforo-{name.replace('_', '-').title()}", _HELP[name])
        for name in TEXTS
        if name != "api_key"
    ),
]
ASK_EXAMPLES: Final = [
    OpenApiExample(
        "a caller's own key",
        {
            "product_id": "contract-reviewer",
            "request_id": "req_8f2c",
            "estimate": {"units": {"input_tokens": 1800, "output_tokens": 600}},
        },
        request_only=True,
    ),
    OpenApiExample(
        "a gateway with its service key",
        {
            "customerId": "cust_abc",
            "agent_id": "reviewer-a",
            "tool_name": "transform_data",
            "request_id": "req_8f2d",
            "estimate": {"amount": "0.05"},
            "ceiling": "0.10",
        },
        request_only=True,
    ),
]
_LIMIT: Final = {
    "name": "spend_cap.customer.period",
    "unit": "money",
    "limit": "25",
    "used": "24.9",
    "remaining": "0.1",
    "reset_s": 18720,
}
ALLOW_EXAMPLE: Final = OpenApiExample(
    "allowed",
    {
        "decision": "allow",
        "reason_code": None,
        "detail": None,
        "decision_id": "dec_agnvkk3t5v4xxnnhz6qmmp5xci",
        "hold_id": "hld_k3m9x2p7q1a8aebagbafaydqqcikbmga2dqpcaq",
        "hold_expires_at": "2026-03-31T19:04:00+00:00",
        "customer_id": "cus_agnvkk3t5v4xxnnhz6qmmp5xci",
        "agent_id": "agt_agnvkk3t5v4xxnnhz6qmmp5xci",
        "product_id": "prd_agnvkk3t5v4xxnnhz6qmmp5xci",
        "subscription_id": "sub_agnvkk3t5v4xxnnhz6qmmp5xci",
        "estimate": {"amount": "0.0144", "currency": "USD", "defaulted": False},
        "limits": [_LIMIT],
        "throttle_model": None,
        "degraded": False,
        "replayed": False,
        "observe_only": False,
        "would": None,
        "request_id": "req_8f2c",
    },
    response_only=True,
)
DENY_EXAMPLE: Final = OpenApiExample(
    "denied",
    {
        "type": "https://aforo.dev/problems/spend_cap",
        "title": "Limit reached",
        "status": 429,
        "code": "spend_cap",
        "detail": "Blocked: customer spend cap. $25.00 of $25.00 used. "
        "Resets 00:00 UTC (in 5 h 12 min).",
        "retry_after": 18720,
        "decision": "deny",
        "reason_code": "spend_cap.customer.period",
        "decision_id": "dec_agnvkk3t5v4xxnnhz6qmmp5xci",
        "limit": {**_LIMIT, "used": "25", "remaining": "0"},
        "limits": [{**_LIMIT, "used": "25", "remaining": "0"}],
    },
    response_only=True,
)
RELEASE_EXAMPLE: Final = OpenApiExample(
    "by the request's id",
    {"request_id": "req-7f3a", "customer_id": "cust_abc"},
    request_only=True,
)
RELEASED_EXAMPLE: Final = OpenApiExample(
    "released",
    {
        "hold_id": "hld_agnvkk3t5v4xxnnhz6qmmp5xci",
        "status": "released",
        "already_released": False,
    },
    response_only=True,
)
