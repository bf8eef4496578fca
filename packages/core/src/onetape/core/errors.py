"""Every error that Onetape raises on purpose, sorted by what the operator must do.

OnetapeError                1  report it: this one should not reach a user
├── LedgerCorrected            a person corrected the stored ledger; read it again
├── UsageError              2  fix the command line
├── ConfigurationError      3  fix a configuration file, the environment or a folder
│   └── StoreUnwritable        the database file or its folder may not be written
├── DataError               4  data is missing, damaged or doubtful
│   ├── CandleGapError         a range of candles has gaps
│   ├── RowsRefused            a source has no row that is a sound candle
│   └── StoreError             the database file cannot be used as it is
│       ├── StoreLocked        another process has locked it
│       ├── StoreFull          the disk has no space for it
│       ├── StoreDamaged       its pages are not those of a sound file
│       ├── StoreReplaced      its path leads to another file, or to none
│       └── StoreOfOtherMarket it holds candles of another market
├── ExchangeError           5  the exchange or the network
│   ├── ExchangeUnreachable    no usable response came; trying again later may help
│   └── ExchangeRefused        the exchange refused the request; trying again will not help
├── CheckFailed             6  a comparison that must hold does not
└── SafetyRefusal           7  going on could cost money; a person decides
    └── StoredOrderChanged     a stored order was changed meanwhile; read it again

The number is the exit code of a program that ends with the error; 0 means done, or stopped cleanly.
A class without a number has the exit code of the class above it.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import ClassVar


class OnetapeError(Exception):
    """Root of all errors of Onetape; its text is one line: the fault, its place and its remedy."""

    exit_code: ClassVar[int] = 1
    settings: tuple[str, ...] = ()
    """Dotted keys of the settings that the error is about, the likeliest first; may be empty."""

    def __init__(self, text: str = "", *, setting: str | tuple[str, ...] = ()) -> None:
        """Set the text of the error and the settings that it is about.

        Args:
            text: One line: the fault, its place and its remedy.
            setting: Dotted key of the invalid setting, or several keys whose values do not fit
                together. Programs print the place of the setting (flag, variable, line of a file)
                before the text.
        """
        super().__init__(text)
        self.settings = (setting,) if isinstance(setting, str) else setting


@contextmanager
def name_settings(*settings: str) -> Generator[None]:
    """Set `settings` of each `OnetapeError` that is raised inside the block."""
    try:
        yield
    except OnetapeError as error:
        error.settings = settings
        raise


class UsageError(OnetapeError):
    """A flag or argument that cannot be used; nothing was read or written."""

    exit_code = 2


class ConfigurationError(OnetapeError):
    """A setting, file or folder that cannot be used; nothing was written."""

    exit_code = 3


class StoreUnwritable(ConfigurationError):
    """The database file or its folder may not be written, or the file cannot be opened."""


class DataError(OnetapeError):
    """Data is missing, damaged, or not what was requested."""

    exit_code = 4


class CandleGapError(DataError):
    """Candles are missing inside a range; the text names the first gap and the repair command."""


class RowsRefused(DataError):
    """A source has rows, and none of them is a sound candle; the text has the commonest fault."""


class StoreError(DataError):
    """The database file is damaged, locked, read-only, too new, or no SQLite file."""


class StoreLocked(StoreError):
    """Another process had the database file locked for longer than a write waits."""


class StoreFull(StoreError):
    """The disk of the database file, or a quota on it, has no space left."""


class StoreDamaged(StoreError):
    """The database file is damaged: only a backup, or a repair by a person, helps."""


class StoreReplaced(StoreError):
    """The database file was deleted, emptied or replaced: its log may be that of another file."""


class StoreOfOtherMarket(StoreError):
    """The database file holds candles of another market than the requested one."""


class ExchangeError(OnetapeError):
    """The exchange or the network did not fulfil a request."""

    exit_code = 5


class ExchangeUnreachable(ExchangeError):
    """No usable response: refused, timed out, overloaded or cut short. Reads may be repeated."""


class ExchangeRefused(ExchangeError):
    """The exchange refused the request: blocked, unknown symbol, bad key. A retry will not help."""


class CheckFailed(OnetapeError):
    """Two results that must agree do not."""

    exit_code = 6


class SafetyRefusal(OnetapeError):
    """Going on could lose money or repeat an order, so the program stops for a person."""

    exit_code = 7


class LedgerCorrected(OnetapeError):
    """The stored ledger was corrected on a command of a person; the state in memory is outdated."""


class StoredOrderChanged(SafetyRefusal):
    """The stored order was changed meanwhile by another program or a person.

    No part of the intended change is stored. The present rows can be read again.
    """
