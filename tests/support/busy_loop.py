"""Duration of a block, by the processor time that a parallel loop gets.

A busy machine gives less to both, and a machine that stands still gives nothing to either. On a
quiet one the processor seconds of the loop are wall seconds, so a limit in them is as strict.
"""

import mmap
import struct
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import Self

_LOOP = """
import mmap, os, struct, sys, time
with open(sys.argv[1], "r+b") as file:
    used = mmap.mmap(file.fileno(), 8)
parent = os.getppid()
while os.getppid() == parent:
    used[:] = struct.pack("d", time.process_time())
"""


class BusyLoop:
    """A process that loops without a pause while the block lasts."""

    def __init__(self) -> None:
        """Start the process, and wait until it loops."""
        self._file = tempfile.NamedTemporaryFile()  # noqa: SIM115 - closed with the block
        self._file.write(bytes(8))
        self._file.flush()
        self._used = mmap.mmap(self._file.fileno(), 8, access=mmap.ACCESS_READ)
        self._process = subprocess.Popen([sys.executable, "-S", "-c", _LOOP, self._file.name])
        while not self._read():
            assert self._process.poll() is None, "the busy loop has ended"
            time.sleep(0.005)
        self._first = 0.0

    @property
    def seconds(self) -> float:
        """Return the processor seconds that the loop got since the measurement began."""
        assert self._process.poll() is None, "the busy loop has ended"
        return self._read() - self._first

    def begin(self) -> None:
        """Begin to measure: `seconds` is 0 now."""
        self._first = self._read()

    def __enter__(self) -> Self:
        """Begin to measure."""
        self.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the loop."""
        self._process.kill()
        self._process.wait()
        self._used.close()
        self._file.close()

    def _read(self) -> float:
        return struct.unpack("d", self._used[:])[0]
