"""Run a program whose stderr is a terminal of 80 columns."""

import os
import pty
import subprocess
from collections.abc import Sequence
from pathlib import Path


def run_in_terminal(command: Sequence[str | Path], folder: Path) -> tuple[bytes, str]:
    """Return stdout of a program that ends well, and its output in the terminal."""
    master, slave = pty.openpty()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=slave,
        check=True,
        timeout=60,
    )
    os.close(slave)
    drawn = os.read(master, 100_000).decode()
    os.close(master)
    return done.stdout, drawn
