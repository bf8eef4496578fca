"""Start the three apps as separate processes, as a user would; the demo uses it.

No process is left when a block or call ends.
"""

import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

from onetape.core.errors import OnetapeError

#: Time in which an app must stop after SIGTERM, seconds.
STOP_TIMEOUT_SECONDS = 10.0


class ProgramFailed(OnetapeError):
    """An app that the demo started ended with an error; the text is the app's own."""

    def __init__(self, app: str, exit_code: int, text: str) -> None:
        """Make the text from the app's name, its exit code and the last line of its output."""
        last = text.strip().splitlines()[-1] if text.strip() else "it printed nothing"
        super().__init__(f"{app} ended with exit code {exit_code}: {last}")


def run_json(app: str, *arguments: str) -> dict[str, Any]:
    """Run an app to its end and return the document it prints with --json.

    Raises:
        ProgramFailed: the app ended with another exit code than 0.
    """
    done = subprocess.run(  # noqa: S603 - our own apps, no shell
        [*_make_command(app), *arguments, "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ProgramFailed(app, done.returncode, done.stderr)
    return cast("dict[str, Any]", json.loads(done.stdout))


class RunningProgram:
    """An app that runs until it is stopped."""

    def __init__(self, app: str, process: "subprocess.Popen[str]") -> None:
        """Take a process that was just started."""
        self._app = app
        self._process = process

    def iterate_lines(self) -> Iterator[str]:
        """Yield the lines that the app prints, until it ends."""
        for line in self._process.stdout or ():
            yield line.rstrip("\n")

    def stop(self) -> None:
        """Send SIGTERM and wait for a clean end.

        Raises:
            ProgramFailed: the app ended with another exit code than 0.
        """
        self._process.terminate()
        _, errors = self._process.communicate(timeout=STOP_TIMEOUT_SECONDS)
        self.check(errors)

    def check(self, errors: str = "") -> None:
        """Raise if the app ended by itself with an error.

        Raises:
            ProgramFailed: the app ended with another exit code than 0.
        """
        if self._process.poll():
            text = errors or (self._process.stderr.read() if self._process.stderr else "")
            raise ProgramFailed(self._app, self._process.returncode, text)


@contextmanager
def run_program(app: str, *arguments: str) -> Generator[RunningProgram]:
    """Run an app while the block lasts; afterwards it is ended in any case."""
    process = subprocess.Popen(  # noqa: S603 - our own apps, no shell
        [*_make_command(app), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield RunningProgram(app, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _make_command(app: str) -> list[str]:
    return [sys.executable, "-m", f"{app}.main"]
