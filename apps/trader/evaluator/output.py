"""Passes the output of strategies to stderr, a few lines a second at most."""

import os
import select
import time
from typing import Final

#: Bytes that are passed on at once, and bytes more for each second; the rest is dropped.
BURST_BYTES: Final = 65_536
BYTES_PER_SECOND: Final = 16_384
#: Bytes that a pipe with room takes without waiting.
_PIECE: Final = 4_096
_CUT: Final = b"\n(the strategies print more than 16 KiB a second: the rest is dropped)\n"


class StrategyOutput:
    """A pipe in place of stdout and stderr, so that no slow reader blocks a strategy."""

    def __init__(self) -> None:
        """Send the output of this process and its children through the pipe from now on."""
        self._stderr = os.dup(2)
        self.descriptor, write = os.pipe()
        """Pipe that is readable when there is output to pass on."""
        os.set_blocking(self.descriptor, False)
        for standard in (1, 2):
            os.dup2(write, standard)
        os.close(write)
        self._budget = float(BURST_BYTES)
        self._filled = time.monotonic()
        self._is_cut = False

    def forward(self) -> None:
        """Write the strategy's waiting output to stderr, up to the limit of output."""
        for _ in range(16):
            try:
                piece = os.read(self.descriptor, _PIECE)
            except BlockingIOError:
                return
            self._write(piece)

    def end(self) -> None:
        """Connect stdout and stderr with the program's stderr again."""
        self.forward()
        for standard in (1, 2):
            os.dup2(self._stderr, standard)

    def close(self) -> None:
        """Close the descriptors that only the helper needs; called in a forked worker."""
        os.close(self._stderr)
        os.close(self.descriptor)

    def _write(self, piece: bytes) -> None:
        now = time.monotonic()
        refill = (now - self._filled) * BYTES_PER_SECOND
        self._budget, self._filled = min(self._budget + refill, BURST_BYTES), now
        if len(piece) <= self._budget:
            self._budget -= len(piece)
            self._is_cut = False
        elif self._is_cut:
            return
        else:
            self._is_cut, piece = True, _CUT
        # If no process reads stderr, the output is dropped.
        if select.select((), (self._stderr,), (), 0)[1]:
            os.write(self._stderr, piece)
