"""Where providers post to."""

from django.urls import path

from apps.webhooks.views import provider_webhook

app_name = "webhooks"
urlpatterns = [path("providers/<str:token>/", provider_webhook, name="provider")]
