#!/usr/bin/env python3
"""Adds the column `provider_referans` and its index by hand, as `manage.py add_provider_referans`.

Harmless to repeat, and in any order with `manage.py migrate`. All arguments are passed on; `--help` lists them.
"""

import sys

import _bootstrap


def main() -> None:
    """Prepares, then becomes the management command."""
    _bootstrap.check_python()
    _bootstrap.ensure_environment(dev=False)
    _bootstrap.ensure_env_file(_bootstrap.ROOT)
    _bootstrap.run([str(_bootstrap.ROOT / "manage.py"), "add_provider_referans", *sys.argv[1:]])


if __name__ == "__main__":
    main()
