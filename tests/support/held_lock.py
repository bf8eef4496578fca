"""Another process that keeps the write lock of a database file."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hold_write_lock(db: Path, *, is_readable: bool = True) -> Generator[None]:
    """Hold the write lock in another process while the block lasts.

    Args:
        db: The file.
        is_readable: Whether others may read the file meanwhile.
    """
    mode = "NORMAL" if is_readable else "EXCLUSIVE"
    holder = (
        "import apsw, sys; c = apsw.Connection(sys.argv[1]); c.setbusytimeout(20_000); "
        f"c.execute('PRAGMA locking_mode = {mode}'); c.execute('BEGIN IMMEDIATE'); "
        "print('held', flush=True); sys.stdin.read(); c.execute('ROLLBACK')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(db)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield
        other.communicate("")
