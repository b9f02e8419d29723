"""Where each page of the console is."""

from __future__ import annotations

from django.urls import URLPattern, path

from portal.views import audit, auth, devui, health, profile, search, setup, team

urlpatterns: list[URLPattern] = [
    path("login", auth.sign_in, name="login"),
    path("login/code", auth.sign_in_code, name="login-code"),
    path("logout", auth.sign_out, name="logout"),
    path("setup", setup.first_run, name="setup"),
    path("join/<str:token>", team.join, name="join"),
    path("profile", profile.profile, name="profile"),
    path("profile/theme", profile.theme, name="theme"),
    path("profile/password", profile.password, name="password"),
    path("profile/second-step", profile.second_factor_on, name="second-step"),
    path("profile/second-step/off", profile.second_factor_off, name="second-step-off"),
    path("settings/team", team.members, name="team"),
    path("settings/team/invite", team.invite, name="team-invite"),
    path("settings/team/invitations/<uuid:pk>", team.withdraw, name="team-withdraw"),
    path("settings/team/<uuid:pk>/role", team.change_role, name="team-role"),
    path("settings/team/<uuid:pk>/deactivate", team.deactivate, name="team-deactivate"),
    path("settings/team/<uuid:pk>/reactivate", team.reactivate, name="team-reactivate"),
    path("audit", audit.entries, name="audit"),
    path("audit.csv", audit.entries_csv, name="audit-csv"),
    path("search", search.results, name="search"),
    path("healthz", health.healthz, name="healthz"),
    path("dev/ui", devui.gallery, name="dev-ui"),
]
