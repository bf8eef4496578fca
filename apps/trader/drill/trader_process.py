"""The trader of a drill: the real program as a separate process, with its own files."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

#: Command line of the trader of a drill, which ends with this process; flags follow.
COMMAND: Final = (sys.executable, "-m", "trader.drill.child", str(os.getpid()))
#: First characters of environment variables with settings; a drill's trader gets none of them.
_SETTINGS: Final = "TRADER__"
_KEYS: Final = ("ONETAPE_API_KEY", "ONETAPE_API_SECRET")
#: API key and secret of the trader at the simulator.
SIMULATOR_KEY: Final = "simulator"


class TraderProcess:
    """One process of the trader in a folder, with its output."""

    def __init__(self, program: Sequence[str], folder: Path) -> None:
        """Start the trader with live orders.

        Args:
            program: Command line of the trader, without its flags.
            folder: Folder with `trader.yaml` and the strategy; the database is created there.
        """
        self.lines: list[str] = []
        """Lines that the trader has printed so far, stderr included."""
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [*program, "--live", "--config", "trader.yaml"],
            cwd=folder,
            env=_make_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Return the number of the process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Return whether the process has not ended."""
        return self._process.poll() is None

    def has_line(self, *texts: str) -> bool:
        """Return whether a line that contains all of these texts was printed."""
        return any(all(text in line for text in texts) for line in list(self.lines))

    def kill(self) -> None:
        """Kill the trader at once (SIGKILL), as a power cut does."""
        self._process.kill()
        self._end()

    def stop(self, seconds: float) -> int | None:
        """Send SIGTERM; return the exit code, or None if the trader had to be killed."""
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None
        self._end()
        return code

    def close(self) -> None:
        """Kill the trader if it still runs, and close its output."""
        if self.is_running:
            self._process.kill()
        self._end()

    def _end(self) -> None:
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.lines.append(line.rstrip("\n"))


def _make_environment() -> dict[str, str]:
    """Return the environment of the trader: no settings of the user, the simulator's key."""
    secrets = {*_KEYS, *(f"{name}_FILE" for name in _KEYS)}
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_SETTINGS) and name not in secrets
    }
    return {**inherited, **dict.fromkeys(_KEYS, SIMULATOR_KEY), "PYTHONUNBUFFERED": "1"}
