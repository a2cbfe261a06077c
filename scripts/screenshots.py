#!/usr/bin/env python3
"""Photographs every page of the panel over a shop full of demo data; makes the environment when it is missing.

All arguments are passed on to `_screenshots.py`; `--help` lists them.
"""

import sys

import _bootstrap


def main() -> None:
    """Prepares, then becomes the photographer."""
    _bootstrap.check_python()
    _bootstrap.ensure_environment(dev=True)
    _bootstrap.run([str(_bootstrap.ROOT / "scripts" / "_screenshots.py"), *sys.argv[1:]])


if __name__ == "__main__":
    main()
