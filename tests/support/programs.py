"""Real programs as child processes of a test: their output lines and their exit codes."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

#: Time limit that only a program that hangs exceeds, also on a busy machine.
MAX_WAIT_SECONDS = 180.0


class Program:
    """A running program of Onetape, as a context manager that kills it at the end."""

    def __init__(self, name: str, *arguments: str, folder: Path, output: int | None = None) -> None:
        """Start the program in a folder.

        Args:
            name: Name of the console script.
            *arguments: Command line.
            folder: Working folder.
            output: Descriptor that is its stdout; `lines` stays empty. None: a pipe that is read.
        """
        # The interpreter's own folder holds the console scripts of the environment.
        script = Path(sys.executable).parent / name
        # Without bytecode CCXT takes seconds to import.
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}
        self._process = subprocess.Popen(
            [str(script), *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if output is None else output,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        """Text that the program has printed."""
        self.errors: list[str] = []
        """What it has printed on stderr."""
        self._news: queue.Queue[str | None] = queue.Queue()
        """Lines that `until` has not read yet, and None after the last one."""
        self._threads = [
            threading.Thread(target=self._read_output),
            threading.Thread(target=self._read_errors),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Return the process id of the program."""
        return self._process.pid

    def until(self, beginning: str, count: int = 1, *, inside: str = "") -> str:
        """Return the count-th next line with this beginning and with `inside` in it."""
        deadline = time.monotonic() + MAX_WAIT_SECONDS
        while True:
            try:
                line = self._news.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(
                    f"no line {beginning!r} in time; stdout {self.lines}, stderr {self.errors}"
                ) from None
            if line is None:
                self._news.put(None)
                raise AssertionError(
                    f"ended without a line {beginning!r}; stdout {self.lines}, stderr {self.errors}"
                )
            if line.startswith(beginning) and inside in line:
                count -= 1
                if count == 0:
                    return line

    def until_error(self, beginning: str) -> None:
        """Wait until a line with this beginning was printed on stderr."""
        deadline = time.monotonic() + MAX_WAIT_SECONDS
        while not any(line.startswith(beginning) for line in self.errors):
            if time.monotonic() > deadline:
                raise AssertionError(f"no line {beginning!r} in time; stderr {self.errors}")
            time.sleep(0.01)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program."""
        self._process.send_signal(number)

    def ends(self) -> int:
        """Wait for the program's end and return its exit code."""
        code = self._process.wait(MAX_WAIT_SECONDS)
        for thread in self._threads:
            thread.join()
        return code

    def __enter__(self) -> Self:
        """Return the program."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the program, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
        self.ends()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _read_output(self) -> None:
        for line in self._process.stdout or ():
            self.lines.append(line.rstrip("\n"))
            self._news.put(line.rstrip("\n"))
        self._news.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.errors.append(line.rstrip("\n"))
