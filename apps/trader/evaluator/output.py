"""Limits what strategies print: their stdout and stderr go to the trader's stderr by a pipe."""

import os
import select
import time
from typing import Final

#: Output that is passed on: this many bytes at once, and this many more for each second.
BURST_BYTES: Final = 65_536
BYTES_PER_SECOND: Final = 16_384
#: Bytes that can be written at once, without blocking, to a pipe that is writable.
_PIECE: Final = 4_096
#: Line in place of output that is dropped.
_CUT: Final = b"\n(the strategies print more than 16 KiB a second: the rest is dropped)\n"


class StrategyOutput:
    """A pipe in place of stdout and stderr, so that no slow reader blocks a strategy."""

    def __init__(self) -> None:
        """Send the output of this process and its children through the pipe from now on."""
        self._stderr = os.dup(2)
        self.descriptor, write = os.pipe()
        """Descriptor of the pipe's reading end; it is readable when there is output to pass on."""
        os.set_blocking(self.descriptor, False)
        for standard in (1, 2):
            os.dup2(write, standard)
        os.close(write)
        self._budget = float(BURST_BYTES)
        """Number of bytes that may be passed on now."""
        self._filled = time.monotonic()
        """Time when the budget was computed, monotonic seconds."""
        self._is_cut = False
        """Whether the last output was dropped, and the line about it printed."""

    def forward(self) -> None:
        """Write waiting output of the strategies to stderr, within the limit; drop the rest."""
        for _ in range(16):
            try:
                piece = os.read(self.descriptor, _PIECE)
            except BlockingIOError:
                return
            self._write(piece)

    def end(self) -> None:
        """Write waiting output, and connect stdout and stderr with the program's stderr again."""
        self.forward()
        for standard in (1, 2):
            os.dup2(self._stderr, standard)

    def close(self) -> None:
        """Close the descriptors that only the helper needs; called in a forked worker."""
        os.close(self._stderr)
        os.close(self.descriptor)

    def _write(self, piece: bytes) -> None:
        """Write output to stderr if the budget allows it; otherwise one line, once."""
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
