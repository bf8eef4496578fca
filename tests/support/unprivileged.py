"""Commands that file permissions stop, also where the tests run as root."""

import os
import shutil

import pytest


def unprivileged(command: list[str]) -> list[str]:
    """Return a command that may do no more than the mode of a file allows."""
    if os.geteuid() != 0:
        return command
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may write anywhere, and setpriv is not there to give that up")
    return [setpriv, "--bounding-set=-all", "--inh-caps=-all", *command]
