#!/bin/sh
# Starts the hub with its monitoring; the same as `python3 scripts/start.py`, with the same arguments.
exec python3 "$(dirname -- "$0")/start.py" "$@"
