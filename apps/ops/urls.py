"""Health pages: `/livez`, `/readyz`, `/statusz`; and `/metrics`."""

from django.urls import path

from apps.ops import views

app_name = "ops"
urlpatterns = [
    path("livez", views.livez, name="livez"),
    path("readyz", views.readyz, name="readyz"),
    path("statusz", views.statusz, name="statusz"),
    path("metrics", views.metrics, name="metrics"),
]
