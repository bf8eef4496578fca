"""Choose the folder of temporary files of tests: memory if the system has enough.

SQLite waits for the disk at each commit, many thousand times in a run. No test needs files that
outlive a failure of power: tests kill processes only.
"""

import os
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes a separate folder in it
#: The environment variable that sets the place of pytest's folders.
VARIABLE = "PYTEST_DEBUG_TEMPROOT"
#: A whole run leaves less than half of it at a time.
LEAST_BYTES = 4 * 2**30


def keep_files_in_memory(memory: Path = MEMORY) -> None:
    """Let pytest put the folders of tests into memory, unless it is small or a place is chosen."""
    if VARIABLE not in os.environ and _has_room(memory):
        os.environ[VARIABLE] = str(memory)


def _has_room(folder: Path) -> bool:
    """Return whether files in a folder can be many, be written and be run."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize >= LEAST_BYTES and not room.f_flag & os.ST_NOEXEC
