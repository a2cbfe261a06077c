"""What to do about a Python environment that does not fit; imports nothing that may be missing."""

from __future__ import annotations

import platform
import sys


def why_not_imported(error: ImportError) -> str:
    """What to do about a package that is missing or does not fit this machine."""
    sentence = (
        f"A package cannot be imported ({error}). Delete the folder of the environment (.venv) and start again, or: "
        "pip install -r requirements.txt -c constraints.txt"
    )
    if sys.platform == "win32" and platform.machine() == "ARM64":
        return f"{sentence}. On ARM64 Windows use the x64 Python: winget install Python.Python.3.12 --architecture x64"
    return sentence
