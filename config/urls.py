"""Every URL of the hub."""

from django.contrib import admin
from django.urls import include, path, re_path

from apps.api.urls import door, nothing_here
from apps.panel.sign_in_views import set_up_login

urlpatterns = [
    path("admin/login/", set_up_login),  # one door for people: with a second factor, and counted tries
    path("admin/", admin.site.urls),
    path("api/v1/", include("apps.api.urls")),
    path("client/api/", include("apps.api.client_api")),
    path("servis/", include("apps.api.znet_door")),
    path("api/v2", include("apps.api.smm_door")),
    path("hooks/", include("apps.webhooks.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("apps.ops.urls")),
    path("", include("apps.panel.urls")),
    re_path(r"^api(?:/|$)", door(nothing_here)),
]
