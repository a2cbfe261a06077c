"""Settings, URLs and process entry points of the order hub; imports apps, and no app imports it."""

from celery_app import app as celery_app

__all__ = ["celery_app"]
