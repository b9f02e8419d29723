"""The forms of sign-in, profile, setup and team."""

from __future__ import annotations

import zoneinfo
from typing import Any

from django import forms
from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError

from aforo.core.models import Role, User
from aforo.core.roles import STAFF
from aforo.lib import money

EMAIL = {"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}
NEW_PASSWORD = forms.PasswordInput({"autocomplete": "new-password"})
CODE = {
    "autocomplete": "one-time-code",
    "inputmode": "numeric",
    "maxlength": "8",
    "spellcheck": "false",
}
STRENGTH_HINT = "At least 10 characters. A password manager's suggestion is best."


class SignInForm(forms.Form):
    """E-mail and password; both can be pasted."""

    email = forms.EmailField(label="E-mail", widget=forms.EmailInput(EMAIL))
    password = forms.CharField(
        strip=False, widget=forms.PasswordInput({"autocomplete": "current-password"})
    )


class CodeForm(forms.Form):
    """The six digits of an authenticator app."""

    code = forms.CharField(
        label="Six-digit code",
        max_length=8,
        widget=forms.TextInput(CODE),
        help_text="From your authenticator app; it changes every 30 seconds.",
    )


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a person may change about themselves without a password."""

    class Meta:
        model = User
        fields = ("name", "shortcuts")
        labels = {"shortcuts": "Single-key shortcuts (?, and g followed by a letter)"}


class NewPasswordMixin(forms.Form):
    """A new password, judged by the validators with what is known of the person."""

    password = forms.CharField(
        strip=False, widget=NEW_PASSWORD, help_text=STRENGTH_HINT
    )

    def person(self) -> User:
        """Return whom the password must not resemble."""
        raise NotImplementedError

    def clean_password(self) -> str:
        """Refuse a password that is short, common or like the person's name."""
        password: str = self.cleaned_data["password"]
        password_validation.validate_password(password, self.person())
        return password


class PasswordForm(NewPasswordMixin):
    """A change of one's password: the one in force first."""

    current = forms.CharField(
        label="Current password",
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "current-password"}),
    )
    field_order = ("current", "password")

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.fields["password"].label = "New password"

    def person(self) -> User:
        """Return the person who changes the password."""
        return self.user

    def clean_current(self) -> str:
        """Refuse a current password that is not right."""
        current: str = self.cleaned_data["current"]
        if not self.user.check_password(current):
            raise ValidationError("This is not your current password.")
        return current


class SetupForm(NewPasswordMixin):
    """The first tenant and its owner."""

    organisation = forms.CharField(max_length=120, label="Organisation")
    legal_name = forms.CharField(
        max_length=200, required=False, help_text="If it differs. Printed on invoices."
    )
    address = forms.CharField(
        label="Legal address",
        widget=forms.Textarea({"rows": 3, "autocomplete": "street-address"}),
        help_text="One line each, as it should stand on invoices.",
    )
    currency = forms.ChoiceField(
        choices=[(code, code) for code in sorted(money.CURRENCIES)], initial="USD"
    )
    timezone = forms.ChoiceField(
        label="Time zone",
        choices=[(zone, zone) for zone in sorted(zoneinfo.available_timezones())],
        initial="UTC",
        help_text="Where a billing month begins and ends.",
    )
    name = forms.CharField(max_length=120, label="Your name")
    email = forms.EmailField(label="Your e-mail", widget=forms.EmailInput(EMAIL))
    start = forms.ChoiceField(
        choices=[("clean", "Start clean"), ("demo", "Load demo data")], initial="clean"
    )

    def clean_email(self) -> str:
        """Refuse an address that has an account already."""
        email: str = self.cleaned_data["email"].strip().lower()
        if User.objects.filter(email=email).exists():
            raise ValidationError(f"{email} has an account already; use another one.")
        return email

    def person(self) -> User:
        """Return the owner to be."""
        given = self.cleaned_data
        return User(email=given.get("email", ""), name=given.get("name", ""))

    field_order = (
        "organisation",
        "legal_name",
        "address",
        "currency",
        "timezone",
        "name",
        "email",
        "password",
        "start",
    )


def staff_roles() -> list[tuple[str, str]]:
    """Return the roles that a tenant's own people can have."""
    return [(role.value, str(role.label)) for role in STAFF]


class InviteForm(forms.Form):
    """Whom to invite, and as what."""

    email = forms.EmailField(
        label="E-mail", widget=forms.EmailInput({"autocomplete": "off"})
    )
    role = forms.ChoiceField(choices=staff_roles, initial=Role.VIEWER)

    def clean_email(self) -> str:
        """Return the address in lower case, as accounts keep it."""
        email: str = self.cleaned_data["email"]
        return email.strip().lower()


class JoinForm(NewPasswordMixin):
    """The account of somebody who was invited."""

    name = forms.CharField(max_length=120, label="Your name")
    field_order = ("name", "password")

    def __init__(self, email: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.email = email

    def person(self) -> User:
        """Return the member to be."""
        return User(email=self.email, name=self.cleaned_data.get("name", ""))
