#!/usr/bin/env python3
"""Installs what Celery Beat runs (`--show` only prints it, `--reset` puts it back), as `manage.py setup_periodic_task`.

All arguments are passed on; `--help` lists them. Needs the tables: run `manage.py migrate`, or `start.py`, once before.
"""

import sys

import _bootstrap


def main() -> None:
    """Prepares, then becomes the management command."""
    _bootstrap.check_python()
    _bootstrap.ensure_environment(dev=False)
    _bootstrap.ensure_env_file(_bootstrap.ROOT)
    _bootstrap.run([str(_bootstrap.ROOT / "manage.py"), "setup_periodic_task", *sys.argv[1:]])


if __name__ == "__main__":
    main()
