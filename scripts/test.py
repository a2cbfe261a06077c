#!/usr/bin/env python3
"""Runs every check on this machine: makes the environment when it is missing, then hands over to `_checks.py`.

All arguments are passed on; `--help` lists them.
"""

import sys

import _bootstrap


def main() -> None:
    """Prepares, then becomes the checks."""
    _bootstrap.check_python()
    _bootstrap.ensure_environment(dev=True)
    _bootstrap.run([str(_bootstrap.ROOT / "scripts" / "_checks.py"), *sys.argv[1:]])


if __name__ == "__main__":
    main()
