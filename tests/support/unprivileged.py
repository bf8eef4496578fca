"""Helpers that make file permissions effective, also where the tests run as root."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Any user but root.
_NOBODY = 65_534


@contextmanager
def deny_folder(folder: Path) -> Generator[None]:
    """Deny every user access to a folder in the block, root included."""
    mode, user = folder.stat().st_mode, os.geteuid()
    folder.chmod(0)
    if user == 0:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(mode)


def make_unprivileged_command(command: list[str]) -> list[str]:
    """Return a command that may do no more than the mode of a file allows."""
    if os.geteuid() != 0:
        return command
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may write anywhere, and setpriv is not there to give that up")
    return [setpriv, "--bounding-set=-all", "--inh-caps=-all", *command]
