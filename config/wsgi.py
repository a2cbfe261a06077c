"""The WSGI application, for gunicorn and waitress."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()

from apps.ops import watching  # noqa: E402 - models exist only after Django is set up

watching.start(in_children=True)
