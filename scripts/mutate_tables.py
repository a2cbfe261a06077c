#!/usr/bin/env python3
"""Changes each row of the providers' tables in turn and looks whether a contract test notices; see `_mutants.py`.

All arguments are passed on; `--help` lists them.
"""

import sys

import _bootstrap


def main() -> None:
    """Prepares, then becomes the measurement."""
    _bootstrap.check_python()
    _bootstrap.ensure_environment(dev=True)
    _bootstrap.run([str(_bootstrap.ROOT / "scripts" / "_mutants.py"), *sys.argv[1:]])


if __name__ == "__main__":
    main()
