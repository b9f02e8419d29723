"""People: users, what they may do in a tenant, and how they are invited."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models

from aforo.lib.models import BaseModel, TenantModel


class Role(models.TextChoices):
    """What a member of a tenant may do."""

    OWNER = "owner", "Owner"
    PRODUCT_MANAGER = "product_manager", "Product manager"
    FINANCE = "finance", "Finance"
    OPERATIONS = "operations", "Operations"
    VIEWER = "viewer", "Viewer"
    DEVELOPER = "developer", "Developer"


class UserManager(BaseUserManager):  # type: ignore[type-arg]
    """Makes users by e-mail address."""

    def create_user(self, *, email: str, password: str | None, **extra: Any) -> User:
        """Create a user; the address is compared without regard to case."""
        user: User = self.model(email=email.strip().lower(), **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def get_by_natural_key(self, username: str | None) -> User:
        """Return the user of an e-mail address."""
        found: User = self.get(email=(username or "").strip().lower())
        return found


class User(AbstractBaseUser, PermissionsMixin, BaseModel):
    """A person who signs in; memberships say where and as what."""

    public_prefix = "usr"

    class Theme(models.TextChoices):
        """How the pages look."""

        SYSTEM = "system", "Like the system"
        LIGHT = "light", "Light"
        DARK = "dark", "Dark"

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False, editable=False)
    theme = models.CharField(max_length=6, choices=Theme.choices, default=Theme.SYSTEM)
    shortcuts = models.BooleanField("keyboard shortcuts", default=True)
    # Encrypted with the secret key; empty when the second factor is off.
    totp_secret = models.CharField(max_length=255, blank=True, editable=False)
    totp_confirmed_at = models.DateTimeField(null=True, blank=True, editable=False)
    # The last 30-second step that was used, so that no code works twice.
    totp_last_step = models.BigIntegerField(default=0, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ["email"]

    def __str__(self) -> str:
        return self.name or self.email


class Membership(TenantModel):
    """One person's role in one tenant."""

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices)
    # The customer whose people the developer belongs to; null for staff.
    customer_id = models.UUIDField(null=True, blank=True)
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ["user__email"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "user"], name="core_membership_once"
            ),
            models.CheckConstraint(
                condition=models.Q(role="developer", customer_id__isnull=False)
                | (~models.Q(role="developer") & models.Q(customer_id__isnull=True)),
                name="core_membership_developer_has_customer",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} as {self.get_role_display()}"


class Invitation(TenantModel):
    """A one-time link that makes somebody a member."""

    email = models.EmailField()
    role = models.CharField(max_length=16, choices=Role.choices)
    token_digest = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.email} as {self.get_role_display()}"
