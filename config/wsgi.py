"""The WSGI application, for gunicorn and waitress."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from apps.common import tracing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

tracing.start(settings.OTEL_EXPORTER_OTLP_ENDPOINT)  # before the handler reads the list of middleware
application = get_wsgi_application()

from apps.ops import watching  # noqa: E402 - models exist only after Django is set up

watching.start(in_children=True)
