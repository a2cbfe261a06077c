"""The Celery application: `celery -A celery_app worker`, `celery -A celery_app beat`."""

import os

from celery import Celery
from celery.signals import worker_process_init
from django.conf import settings

from apps.common import tracing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("orderhub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_process_init.connect(weak=False)
def follow_tasks(**_: object) -> None:
    """Traces of this child; a thread that sends them would not survive the fork."""
    tracing.start(settings.OTEL_EXPORTER_OTLP_ENDPOINT)
