"""Forms of plans: publishing a version, and reading one from a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from aforo.lib import strict_json
from aforo.lib.errors import AforoError
from billing.models import Subscription
from catalog.models import Plan, PlanVersion

# A plan of a thousand charges takes less.
DOCUMENT_MAX = 512 * 1024
NEW, ALL, CHOSEN = "new", "all", "chosen"


class PublishForm(forms.Form):
    """Who gets a version, and the plan's name typed again."""

    who = forms.ChoiceField(
        label="Who gets it",
        choices=[
            (NEW, "New subscriptions only"),
            (ALL, "All subscriptions, at renewal"),
            (CHOSEN, "Chosen subscriptions, at renewal"),
        ],
        initial=NEW,
    )
    subscriptions = forms.MultipleChoiceField(required=False, label="Subscriptions")
    name = forms.CharField(
        label="Type the plan's name",
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(
        self, plan: Plan, current: Sequence[Subscription], *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.plan = plan
        self.current = {s.public_id: s for s in current}
        field = self.fields["subscriptions"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(key, str(s)) for key, s in self.current.items()]
        field.error_messages["invalid_choice"] = (
            "%(value)s is no subscription of this plan by now. Choose again."
        )
        self.fields["name"].help_text = f"It is “{plan.name}”."

    def clean_name(self) -> str:
        """Refuse another name than the plan's."""
        name: str = self.cleaned_data["name"]
        if name.strip() != self.plan.name:
            raise ValidationError(
                f"“{name}” is not the plan's name. Type “{self.plan.name}”."
            )
        return name

    def clean(self) -> dict[str, Any]:
        """Refuse a choice of nobody."""
        given = super().clean() or {}
        if given.get("who") == CHOSEN and given.get("subscriptions") == []:
            self.add_error(
                "subscriptions",
                "Nobody is chosen. Tick a subscription, or publish for new ones only.",
            )
        return given

    def chosen(self) -> list[Subscription]:
        """Return the subscriptions that get the version at their renewal."""
        who = self.cleaned_data["who"]
        if who == ALL:
            return list(self.current.values())
        if who == CHOSEN:
            return [self.current[key] for key in self.cleaned_data["subscriptions"]]
        return []


class ImportForm(forms.Form):
    """A version as JSON, from a file or pasted."""

    file = forms.FileField(
        required=False,
        label="File",
        widget=forms.FileInput({"accept": ".json,application/json"}),
    )
    text = forms.CharField(
        required=False,
        label="Or JSON",
        strip=False,
        widget=forms.Textarea({"rows": 18, "spellcheck": "false", "class": "mono"}),
        help_text="What Export JSON gives, or a plan's currency and charges alone.",
    )
    replace = forms.BooleanField(required=False, label="Replace the draft")

    def __init__(self, draft: PlanVersion | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.draft = draft
        if draft is None:
            del self.fields["replace"]
        else:
            self.fields["replace"].label = f"Replace the draft v{draft.number}"

    def clean_file(self) -> str:
        """Return the text of the file; empty without one."""
        file = self.cleaned_data["file"]
        if file is None:
            return ""
        if file.size > DOCUMENT_MAX:
            raise ValidationError(
                f"The file has {file.size:,} bytes; at most {DOCUMENT_MAX:,}."
            )
        try:
            text: str = file.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValidationError(
                "The file is no text in UTF-8. Choose a JSON file."
            ) from error
        return text

    def clean(self) -> dict[str, Any]:
        """Read the JSON of the file, or else the pasted one, and keep it as text."""
        given = super().clean() or {}
        if "file" in self.errors:
            return given
        text = given.get("file") or given.get("text") or ""
        if given.get("file"):
            # A file cannot be put back into its field: its text is kept instead.
            self.data = {name: self.data.get(name) for name in self.data}
            self.data |= {"text": text}
        if self.draft is not None and not given.get("replace"):
            self.add_error(
                "replace",
                f"v{self.draft.number} would be overwritten. Tick this to replace it.",
            )
        if not text.strip():
            self.add_error("text", "Choose a file, or paste JSON here.")
            return given
        try:
            given["document"] = document(text)
        except AforoError as error:
            self.add_error("text", error.detail)
        return given


def document(text: str) -> Mapping[str, Any]:
    """Return a JSON object; AforoError 422 `invalid_json` says where it is none."""
    if len(text) > DOCUMENT_MAX:
        raise _invalid(f"At most {DOCUMENT_MAX:,} characters.")
    try:
        found = strict_json.loads(text.encode())
    except (strict_json.StrictJsonError, UnicodeEncodeError) as error:
        raise _invalid(_where(text) or f"This is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise _invalid('An object is expected: {"currency": …, "charges": […]}.')
    if (path := strict_json.null_character(found)) is not None:
        raise _invalid(f"{path or 'A key'}: null characters are not allowed.")
    return found


def _where(text: str) -> str:
    """Return where a text stops being JSON, for people; empty when it does not."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return (
            f"This is not JSON: {error.msg[:1].lower()}{error.msg[1:]} in line"
            f" {error.lineno}, column {error.colno}."
        )
    except (RecursionError, ValueError):
        return ""
    return ""


def _invalid(detail: str) -> AforoError:
    """Return the refusal of a text."""
    return AforoError("invalid_json", 422, detail, field="text")
