#!/usr/bin/env python3
"""Adds the column `provider_referans` and its index by hand, as `manage.py add_provider_referans`.

Harmless to repeat, and in any order with `manage.py migrate`. All arguments are passed on; `--help` lists them.
"""

import _bootstrap

if __name__ == "__main__":
    _bootstrap.run_management_command("add_provider_referans")
