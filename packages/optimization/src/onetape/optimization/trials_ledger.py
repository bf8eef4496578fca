"""Append-only ledger of trials: all combinations that were ever evaluated on a market.

One file per exchange and symbol, across strategies and timeframes. The file lies outside the
folders of results, so deleting results does not lower the number of trials. Trials are written
before they are evaluated.
"""

import base64
import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from onetape.core.errors import ConfigurationError
from onetape.core.message_text import format_os_error

#: Number of bytes of a trial's digest.
_TRIAL_BYTES: Final = 8
#: Maximum number of trials in a line, so that a line is shorter than the block that is read to find
#: the end of the last line.
_TRIALS_PER_LINE: Final = 10_000


class TrialCounts(Struct, frozen=True):
    """Numbers of trials on a market."""

    market: int
    """Number of trials of all strategies on this exchange and symbol."""
    strategy: int
    """Number of trials of this strategy on this exchange and symbol."""
    looks: int
    """Number of looks at the out-of-sample part, this one included."""


class _LedgerLine(Struct, omit_defaults=True):
    """A line of the ledger: some trials of a strategy, or one look at an out-of-sample part."""

    strategy: str
    timeframe: str
    trials: str = ""
    """Digests of the trials, base64."""
    look: str = ""
    """Digest of the choice that was evaluated out of sample."""
    start: int = 0
    """Start of the out-of-sample part, epoch seconds."""
    end: int = 0
    """End of the out-of-sample part, exclusive, epoch seconds."""


class TrialsLedger:
    """Ledger of the trials on one market."""

    def __init__(self, root: Path, exchange: str, symbol: str) -> None:
        """Read the stored trials of the market.

        Raises:
            ConfigurationError: the file cannot be read, or a line is invalid.
        """
        self.path = root / f"{exchange}_{symbol.replace('/', '-')}.jsonl"
        self._trials: dict[bytes, str] = {}
        self._looks: dict[str, tuple[int, int]] = {}
        try:
            content = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise self._make_write_error(error) from error
        for line in content[: content.rfind(b"\n") + 1].splitlines():
            try:
                self._read(msgspec.json.decode(line, type=_LedgerLine))
            except (msgspec.DecodeError, ValueError) as error:
                raise ConfigurationError(
                    f"{self.path} has an invalid line ({error}); move the file to another folder: "
                    "the number of trials begins again at 0"
                ) from error

    def record_trials(self, strategy: str, timeframe: str, digests: Iterable[bytes]) -> None:
        """Append trials that the ledger does not have.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        new = [digest for digest in dict.fromkeys(digests) if digest not in self._trials]
        for at in range(0, len(new), _TRIALS_PER_LINE):
            packed = base64.b64encode(b"".join(new[at : at + _TRIALS_PER_LINE])).decode()
            self._append(_LedgerLine(strategy, timeframe, trials=packed))

    def record_look(
        self, strategy: str, timeframe: str, choice: bytes, start: int, end: int
    ) -> None:
        """Append a look at an out-of-sample part, unless the ledger has it.

        Args:
            strategy: Name of the strategy.
            timeframe: Timeframe of the candles.
            choice: Digest of the combinations and the criteria of the choice.
            start: Start of the out-of-sample part, epoch seconds.
            end: End of the part, exclusive.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        if choice.hex() not in self._looks:
            self._append(_LedgerLine(strategy, timeframe, look=choice.hex(), start=start, end=end))

    def count_trials(self, strategy: str, start: int, end: int) -> TrialCounts:
        """Return the numbers of trials, and the looks at parts that overlap a range."""
        of_strategy = sum(name == strategy for name in self._trials.values())
        looks = sum(first < end and last > start for first, last in self._looks.values())
        return TrialCounts(len(self._trials), of_strategy, looks)

    def _read(self, entry: _LedgerLine) -> None:
        packed = base64.b64decode(entry.trials, validate=True)
        for at in range(0, len(packed), _TRIAL_BYTES):
            self._trials.setdefault(packed[at : at + _TRIAL_BYTES], entry.strategy)
        if entry.look:
            self._looks.setdefault(entry.look, (entry.start, entry.end))

    def _append(self, entry: _LedgerLine) -> None:
        line = msgspec.json.encode(entry) + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                _append_whole(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._make_write_error(error) from error
        self._read(entry)

    def _make_write_error(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"{self.path} cannot be written: {format_os_error(error)}; "
            "run this in a folder of your own"
        )


def compute_trial_digest(identity: Mapping[str, Any], parameters: Mapping[str, Any]) -> bytes:
    """Return the digest of a trial: the parameters, and all inputs of its result."""
    content = msgspec.json.encode([identity, parameters], order="sorted")
    return hashlib.blake2b(content, digest_size=_TRIAL_BYTES).digest()


def _append_whole(descriptor: int, line: bytes) -> None:
    """Append a whole line or nothing; an incomplete last line of a killed process is cut off."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, min(size, 1 << 20), max(0, size - (1 << 20)))
    end = size - len(tail) + tail.rfind(b"\n") + 1 if tail else 0
    if end != size:
        os.ftruncate(descriptor, end)
    try:
        while line:
            line = line[os.write(descriptor, line) :]
    except BaseException:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, end)
        raise
