"""A kernel lock that ends with its process: if it is free, the process that held it has ended.

The lock is one byte of the file `DATABASE-locks` (POSIX, `lockf`). Child processes do not inherit
it. Closing the file once would release all locks of the process on it, so the file stays open until
the process ends.
"""

import errno
import fcntl
import hashlib
import os
import struct
import sys
import threading
from pathlib import Path
from typing import Final

#: Errors of `lockf` if another process holds the lock.
_TAKEN: Final = (errno.EAGAIN, errno.EACCES)
#: struct flock of 64-bit Linux: type, whence, start, length, process.
_FLOCK: Final = "hhqqi4x"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

_guard = threading.Lock()
#: Open lock files of this process, by process id (a fork has none) and path.
_files: dict[tuple[int, str], int] = {}
#: Locked bytes of this process, by process id, path and offset: the kernel does not refuse a second
#: lock of the same process.
_held: set[tuple[int, str, int]] = set()


class ProcessLock:
    """One named lock of a database; a new instance does not hold it."""

    def __init__(self, database: Path, name: str) -> None:
        """Initialise; no file is opened yet.

        Args:
            database: Path of the database file; the lock file is `DATABASE-locks`.
            name: Name of the lock, such as that of a lease.
        """
        self._path = f"{os.path.realpath(database)}-locks"
        digest = hashlib.sha256(name.encode()).digest()
        # Bytes after the end of a file can be locked too, so the lock file stays empty.
        self._offset = int.from_bytes(digest[:6], "big")
        self.identity: str | None = None
        """Text that identifies the boot of the computer and the lock file; None: not held.

        The holder stores it with its lease. If another process gets the lock and finds the same
        identity stored, the holder of the lease has ended.
        """
        self.is_taken = False
        """Whether another holder, perhaps in this process, had the lock at the last `acquire`."""

    def acquire(self) -> bool:
        """Take the lock if it is free; return whether this instance holds it now.

        Returns:
            False: the lock is held elsewhere (`is_taken`), or the file system has no locks.
        """
        pid = os.getpid()
        with _guard:
            key = (pid, self._path, self._offset)
            self.is_taken = key in _held
            if self.is_taken:
                return False
            try:
                descriptor = _open(pid, self._path)
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._offset)
            except OSError as error:
                self.is_taken = error.errno in _TAKEN
                return False
            _held.add(key)
            self.identity = _read_identity(descriptor)
            return True

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self.identity is None:
            return
        pid = os.getpid()
        with _guard:
            fcntl.lockf(_files[pid, self._path], fcntl.LOCK_UN, 1, self._offset)
            _held.discard((pid, self._path, self._offset))
            self.identity = None

    def is_held(self, identity: str | None) -> bool | None:
        """Return whether the process that stored an identity of this lock still holds it.

        The lock is only tested, not taken: another process can acquire it meanwhile.

        Args:
            identity: Stored identity of the lock's holder; None: no identity is stored.

        Returns:
            None if it is not known: the identity is of another computer or boot, the file system
            has no locks, or the system is not Linux.
        """
        if identity is None or sys.platform != "linux" or not Path(self._path).exists():
            return None
        pid = os.getpid()
        with _guard:
            if (pid, self._path, self._offset) in _held:
                return True
            try:
                descriptor = _open(pid, self._path)
                if _read_identity(descriptor) != identity:
                    return None
                lock = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, self._offset, 1, 0)
                found = fcntl.fcntl(descriptor, fcntl.F_GETLK, lock)
            except OSError:
                return None
        return struct.unpack(_FLOCK, found)[0] != fcntl.F_UNLCK


def _open(pid: int, path: str) -> int:
    descriptor = _files.get((pid, path))
    if descriptor is None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _files[pid, path] = descriptor
    return descriptor


def _read_identity(descriptor: int) -> str:
    try:
        boot = _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        # Not Linux: no two processes share this identity, so nothing is proven by it.
        boot = os.urandom(16).hex()
    return f"boot {boot} file {os.fstat(descriptor).st_ino}"
