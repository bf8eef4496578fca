"""Compile installed packages once before the tests begin, instead of in each process."""

import compileall
from pathlib import Path

import pytest

INSTALLED = Path(pytest.__file__).parent.parent
#: The largest package of all; where it has been imported or compiled, the others have.
LARGEST = "ccxt"


def compile_installed(folder: Path = INSTALLED) -> bool:
    """Compile all packages of an environment that is new, and return whether it was.

    In the tests' first run, four processes would import and compile the same modules at once.
    """
    if (folder / LARGEST / "__pycache__").is_dir():
        return False
    # Some packages hold templates that are no Python; they stay as they are.
    compileall.compile_dir(str(folder), quiet=2, workers=0)
    return True
