#!/usr/bin/env python3
"""Starts the hub on this machine: makes the environment and `.env` when missing, then hands over to `apps.ops.start`.

All arguments are passed on; `--help` lists them.
"""

import sys

import _bootstrap


def main() -> None:
    """Prepares, then becomes the hub."""
    _bootstrap.check_python()
    arguments = sys.argv[1:]
    _bootstrap.ensure_environment(dev=False)
    if not {"-h", "--help"}.intersection(arguments):
        _bootstrap.ensure_env_file(_bootstrap.ROOT)
    _bootstrap.run(["-P", "-m", "apps.ops.start", *arguments])


if __name__ == "__main__":
    main()
