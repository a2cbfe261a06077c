#!/usr/bin/env python3
"""Kills, freezes and cuts off the hub's processes under load: prepares, then hands over to `tests.chaos.run`.

All arguments are passed on; `--help` lists them.
"""

import os
import sys

import _bootstrap


def main() -> None:
    """Prepares, then becomes the run, with keys of its own: `.env` does not count."""
    _bootstrap.check_python()
    _bootstrap.ensure_environment(dev=True)
    os.environ.update(_bootstrap.random_secrets())
    _bootstrap.run(["-m", "tests.chaos.run", *sys.argv[1:]])


if __name__ == "__main__":
    main()
