"""The folders of the programs below the working folder: data, configuration, the user's files."""

import contextlib
import os
from pathlib import Path
from typing import Final

from onetape.core.symbols import SIMULATOR_ID

#: The user's own files: settings, strategies and metrics.
USER_FOLDER: Final = Path("user")
#: The commented settings files that come with the code.
CONFIG_FOLDER: Final = Path("config")
#: Databases with candles, runs and accounts, unless --db names another file.
DATA_FOLDER: Final = Path("data")


def choose_database_path(db: Path | None, exchange: str, *, is_sandbox: bool = False) -> Path:
    """Return the database file: the one the user named, or the default for this kind of exchange.

    If the default is chosen and the data folder exists, its mode is changed to 0700, because git
    creates folders that every user of the computer can read.

    Args:
        db: The file that the user named; None: the default.
        exchange: CCXT exchange id, or `simulator`.
        is_sandbox: Whether the test network of the exchange is used; its candles are stored in a
            separate file.
    """
    if db is not None:
        return db
    _make_private(DATA_FOLDER)
    if exchange == SIMULATOR_ID:
        return DATA_FOLDER / "simulator.db"
    return DATA_FOLDER / ("sandbox.db" if is_sandbox else "onetape.db")


def _make_private(folder: Path) -> None:
    # The store creates a missing folder as private; a folder of another owner stays unchanged.
    with contextlib.suppress(OSError):
        status = folder.stat()
        if status.st_uid == os.geteuid() and status.st_mode & 0o077:
            folder.chmod(0o700)
