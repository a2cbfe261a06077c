#!/usr/bin/env python3
"""Installs what Celery Beat runs (`--show` only prints it, `--reset` puts it back), as `manage.py setup_periodic_task`.

All arguments are passed on; `--help` lists them. Needs the tables: run `manage.py migrate`, or `start.py`, once before.
"""

import _bootstrap

if __name__ == "__main__":
    _bootstrap.run_management_command("setup_periodic_task")
