"""The peer: Celery done well, a task for each check, with its own table and the settings that production wants.

One chain per order, late acknowledgement, no results, one kept HTTP connection and one database connection for each
worker thread; the next check is a message with a countdown. No Django, no models, no evidence: what a check costs there
at the least.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

import psycopg2
import requests
from celery import Celery

BROKER, DATABASE, PROVIDER = "BENCH_BROKER_URL", "BENCH_DATABASE_URL", "BENCH_PROVIDER_URL"
NEXT_IN_S = 600
TABLE = (
    "CREATE TABLE peer_orders (id bigint PRIMARY KEY, reference text NOT NULL, "
    "status text NOT NULL DEFAULT 'processing', tries integer NOT NULL DEFAULT 0, "
    "checked_at timestamptz, next_at timestamptz)"
)

app = Celery("celery_peer", broker=os.environ.get(BROKER, "memory://"), set_as_current=False)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    task_time_limit=120,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 3600},
    task_default_queue="check",
)

own = threading.local()


@app.task(name="check")
def check(order_id: int) -> None:
    """Read the order, ask, write what came back, and send the message of the next check."""
    database, session = connections()
    with database, database.cursor() as cursor:
        cursor.execute("SELECT reference FROM peer_orders WHERE id = %s AND status = 'processing'", [order_id])
        found = cursor.fetchone()
    if found is None:
        return
    params = {"bayi_kodu": "demo", "sifre": "demo-secret", "tahsilat_api_islem_id": found[0]}
    answer = session.get(os.environ[PROVIDER] + "/servis/tahsilat_kontrol.php", params=params, timeout=30)
    status = "processing" if answer.text.startswith("OK|1|") else "review"
    with database, database.cursor() as cursor:
        cursor.execute(
            "UPDATE peer_orders SET status = %s, tries = tries + 1, checked_at = now(), "
            "next_at = now() + interval '600 seconds' WHERE id = %s AND status = 'processing'",
            [status, order_id],
        )
    check.apply_async((order_id,), countdown=NEXT_IN_S)


def connections() -> tuple[psycopg2.extensions.connection, requests.Session]:
    """This thread's own two."""
    if not hasattr(own, "database"):
        own.database, own.session = psycopg2.connect(os.environ[DATABASE]), requests.Session()
    return own.database, own.session


def enqueue(order_ids: Iterable[int]) -> None:
    """A message for each, over one connection."""
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        for order_id in order_ids:
            check.apply_async((order_id,), producer=producer)
