"""Where each page of the console is."""

from __future__ import annotations

from django.urls import URLPattern, path

from portal.views import devui

urlpatterns: list[URLPattern] = [
    path("dev/ui", devui.gallery, name="dev-ui"),
]
