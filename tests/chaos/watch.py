"""Run with the hub's settings beside it: asks the invariants every few seconds; a line of JSON each time."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict

import django


def main(every_s: float) -> None:
    """Look for ever; a database that does not answer is asked again."""
    from django.db import DatabaseError, connection

    from apps.ops.invariants import violations

    while True:
        try:
            broken = [asdict(found) for found in violations(connection)]
        except DatabaseError:
            connection.close()
        else:
            sys.stdout.write(json.dumps({"broken": broken}, default=str) + "\n")
            sys.stdout.flush()
        time.sleep(every_s)


if __name__ == "__main__":
    django.setup()
    main(float(sys.argv[1]))
