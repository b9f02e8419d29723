"""Every address: the API, the back office, and the console's pages."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from portal.admin import site

urlpatterns: list[URLPattern | URLResolver] = [
    path("v1/", include("catalog.api.urls")),
    path("v1/", include("guard.api_urls")),
    path("v1/", include("metering.api_urls")),
    path("admin/", site.urls),
    path("", include("portal.urls")),
]

handler400 = "portal.views.errors.bad_request"
handler403 = "portal.views.errors.forbidden"
handler404 = "portal.views.errors.not_found"
handler500 = "portal.views.errors.server_error"
