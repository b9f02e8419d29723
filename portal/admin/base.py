"""What every model's admin shares: roles, the tenant, the audit, refusals."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin, ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import BinaryField, DateTimeField, Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.http import urlencode

from aforo.core import audit
from aforo.core.models import Role
from aforo.core.roles import STAFF
from aforo.lib import ids
from aforo.lib.errors import AforoError
from portal.context import acting_tenant
from portal.pages import may

# How many rows one confirmed action may take on.
ACTION_MAX = 500

Act = Callable[[HttpRequest, Any], str | None]


class Instant(forms.DateTimeInput):
    """The browser's own picker of an instant, in UTC."""

    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__({"step": "1"}, format="%Y-%m-%dT%H:%M:%S")


class Refusable(ModelForm):  # type: ignore[type-arg]
    """A form that shows the refusal of the function that it was handed to."""

    refusal: AforoError | None = None

    def clean(self) -> dict[str, Any] | None:
        """Put the refusal next to its field, or on top."""
        cleaned = super().clean()
        if self.refusal is not None:
            field = self.refusal.field if self.refusal.field in self.fields else None
            self.add_error(field, ValidationError(self.refusal.detail))
        return cleaned


class TenantAdmin(ModelAdmin):  # type: ignore[type-arg]
    """Rows of the tenant (row-level security sees to it), permissions by role.

    `add_roles` and `change_roles` say who may; nobody deletes unless
    `delete_roles` says so. A change is written into the audit.
    """

    form = Refusable
    add_roles: ClassVar[tuple[Role, ...]] = ()
    change_roles: ClassVar[tuple[Role, ...]] = ()
    delete_roles: ClassVar[tuple[Role, ...]] = ()
    # Fields that can be given when a row is made and never changed afterwards.
    fixed: ClassVar[tuple[str, ...]] = ()
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    formfield_overrides: ClassVar[dict[Any, Any]] = {
        DateTimeField: {"form_class": forms.DateTimeField, "widget": Instant}
    }

    class Media:
        js = ("js/admin.js",)

    list_per_page = 50

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Tell whether the person sees the app at all."""
        return may(request, STAFF)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Every member of the staff sees everything."""
        return may(request, STAFF)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Tell whether the person's role adds rows."""
        return may(request, self.add_roles)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tell whether the person's role changes rows."""
        return may(request, self.change_roles)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tell whether the person's role deletes rows; most never go."""
        return may(request, self.delete_roles)

    def get_readonly_fields(
        self, request: HttpRequest, obj: Any = None
    ) -> tuple[str, ...]:
        """Return what is fixed once the row exists."""
        own = tuple(super().get_readonly_fields(request, obj))
        return own if obj is None else (*own, *self.fixed)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        """Return what is below a row; a new one has nothing below it."""
        return () if obj is None else super().get_inlines(request, obj)

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,
        change: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return the form; after a refusal it says why."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        refusal = getattr(request, "refusal", None)
        if refusal is None:
            return form
        return type(form.__name__, (form,), {"refusal": refusal})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Save in a transaction of its own; a refusal is shown in the form."""
        try:
            with transaction.atomic():
                return super().changeform_view(
                    request, object_id, form_url, extra_context
                )
        except AforoError as error:
            request.refusal = error  # type: ignore[attr-defined]
            return super().changeform_view(request, object_id, form_url, extra_context)

    def save_model(
        self, request: HttpRequest, obj: Any, form: Any, change: bool
    ) -> None:
        """Make the row by the app's own function, or change it."""
        if change:
            self.change(request, obj, form)
            return
        if hasattr(obj, "tenant_id"):
            obj.tenant = acting_tenant(request)
        made = self.make(request, obj, form)
        obj.__dict__.update(made.__dict__)

    def make(self, request: HttpRequest, obj: Any, form: Any) -> Model:
        """Store a new row and return it."""
        obj.save()
        made: Model = obj
        return made

    def change(self, request: HttpRequest, obj: Any, form: Any) -> None:
        """Store a change."""
        obj.save()

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        """Return the row with the tenant that checks of constraints need."""
        row = super().save_form(request, form, change)
        if not change and hasattr(row, "tenant_id"):
            row.tenant = acting_tenant(request)
        return row

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Leave the audit to the function that made the row."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Write a change into the audit: which fields."""
        fields = [
            f for part in message for f in part.get("changed", {}).get("fields", [])
        ]
        if fields:
            audit.from_request(
                request,
                action=f"{obj._meta.model_name}.changed",
                target=obj,
                changes={"fields": [None, ", ".join(fields)]},
            )

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Write deletions into the audit."""
        for row in queryset:
            name = f"{row._meta.model_name}.deleted"
            audit.from_request(request, action=name, target=row)

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Lead to the audit of the row."""
        public = _public_id(self.model, object_id)
        return redirect(f"/audit?{urlencode({'object': public})}")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search the named fields, and find our own ids."""
        own = ids.parse_public(
            getattr(self.model, "public_prefix", ""), search_term.strip()
        )
        if own:
            return queryset.filter(pk=own), False
        return super().get_search_results(request, queryset, search_term)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return the actions that the person's role may take."""
        found: dict[str, Any] = super().get_actions(request)
        return {
            name: entry
            for name, entry in found.items()
            if may(request, getattr(entry[0], "roles", STAFF))
        }


class ReadOnlyAdmin(TenantAdmin):
    """Rows that the product writes: seen, never touched by hand."""

    def get_readonly_fields(
        self, request: HttpRequest, obj: Any = None
    ) -> tuple[str, ...]:
        """Every field that can be read."""
        fields = self.model._meta.fields
        return tuple(f.name for f in fields if not isinstance(f, BinaryField))


def _public_id(model: type[Model], pk: str) -> str:
    """Return a row's outside id, or its plain one."""
    prefix = getattr(model, "public_prefix", "")
    try:
        return ids.public(prefix, uuid.UUID(pk)) if prefix else pk
    except ValueError:
        return pk


def confirmed(
    label: str, roles: tuple[Role, ...], act: Act, *, warning: str = ""
) -> Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponseBase | None]:
    """Return an action that asks first and then acts on every chosen row.

    `act` returns what to say (None: nothing special) or raises AforoError, which is
    said for that row and leaves it as it was.
    """

    def run(
        admin: Any, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponseBase | None:
        rows = list(queryset[:ACTION_MAX])
        if "confirmed" not in request.POST:
            return _ask(admin, request, rows, label, warning)
        done = 0
        for row in rows:
            try:
                with transaction.atomic():
                    act(request, row)
                done += 1
            except AforoError as error:
                messages.error(request, f"{row}: {error.detail}")
        if done:
            messages.success(request, f"{label}: {done} of {len(rows)} done.")
        return None

    run.__name__ = label.lower().replace(" ", "_")
    run.short_description = label  # type: ignore[attr-defined]
    run.roles = roles  # type: ignore[attr-defined]
    return run


def _ask(
    admin: Any, request: HttpRequest, rows: list[Any], label: str, warning: str
) -> HttpResponse:
    """Show what an action would do, and to which rows."""
    context = {
        **admin.admin_site.each_context(request),
        "title": f"{label}?",
        "label": label,
        "warning": warning,
        "rows": rows,
        "opts": admin.model._meta,
        "action": request.POST.get("action", ""),
        "checkbox": ACTION_CHECKBOX_NAME,
    }
    return render(request, "admin/confirm_action.html", context)


def leading(
    label: str, roles: tuple[Role, ...], url: Callable[[Any], str]
) -> Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponseBase | None]:
    """Return an action on one row that the console has a page for."""

    def run(
        admin: Any, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponseBase | None:
        rows = list(queryset[:2])
        if len(rows) != 1:
            messages.info(request, f"{label}: choose one row.")
            return None
        return redirect(url(rows[0]))

    run.__name__ = label.lower().replace(" ", "_")
    run.short_description = label  # type: ignore[attr-defined]
    run.roles = roles  # type: ignore[attr-defined]
    return run
