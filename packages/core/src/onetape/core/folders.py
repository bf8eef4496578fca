"""The folders of an installation: candles and runs, configuration, and the user's own files."""

import contextlib
import os
from pathlib import Path
from typing import Final

from onetape.core.symbols import SIMULATOR_ID

#: The user's own files, which git ignores.
USER_FOLDER: Final = Path("user")
CONFIG_FOLDER: Final = Path("config")
DATA_FOLDER: Final = Path("data")


def choose_database_path(db: Path | None, exchange: str, *, is_sandbox: bool = False) -> Path:
    """Return the database file: the named one, or the default file for this kind of exchange.

    The data folder of a checkout is readable by every user; the call makes it private.

    Args:
        db: The file named by the user; None: the default.
        exchange: CCXT exchange id, or `simulator`.
        is_sandbox: Whether it is the exchange's test network, whose candles are not the real ones.
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
