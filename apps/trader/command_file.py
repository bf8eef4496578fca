"""Commands that a person writes into a file beside the database.

The file is named as the database with `-commands` behind it, and has a command in each line, such
as `exit BTC/USDT`. The first trader that looks stores the commands as rows and removes the file, in
one transaction: a second trader on the same database finds nothing.
"""

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from onetape.core.errors import StoreUnwritable, UsageError
from onetape.store.account_reading import read_traded
from onetape.store.controls import add_controls
from onetape.store.database import Store
from trader.command_rows import parse_command, rows_of

#: Bytes of the file that are read.
MOST_BYTES: Final = 4_096
#: A file whose last line has no end may still be written; it is read after so many wall seconds.
UNFINISHED_SECONDS: Final = 2.0


def command_file(database: Path) -> Path:
    """Return the file beside a database that commands are written into."""
    return database.with_name(f"{database.name}-commands")


def take_command_file(store: Store) -> list[str]:
    """Store the commands of the file beside a database, and remove it.

    Lines that are no command are left out; empty ones and those that begin with # are too.

    Returns:
        What to print: a line for each command, and for each line that is none.

    Raises:
        StoreError: the database cannot be read or written; the file stays.
        StoreUnwritable: the file cannot be removed; its commands are not stored.
    """
    path = command_file(store.path)
    if not _is_ready(path):
        return []
    printed: list[str] = []
    traded = read_traded(store)
    with store.write(durable=True) as connection:
        try:
            text = path.read_bytes()[:MOST_BYTES].decode("utf-8", "replace")
        except OSError:
            # Another trader has taken the file since the look.
            return []
        for line in (line.strip() for line in text.splitlines()):
            if not line or line.startswith("#"):
                continue
            try:
                command = parse_command(line)
                rows = rows_of(
                    traded,
                    command,
                    at_ms=time.time_ns() // 1_000_000,
                    given_by=f"the file {path.name}",
                )
            except UsageError as error:
                printed.append(f"{path.name}: {error}")
                continue
            add_controls(connection, rows)
            printed.append(f"{path.name}: {line}")
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            # The commands are not stored: they would be again with each look.
            raise StoreUnwritable(
                f"{path} cannot be removed ({error.strerror}); make its folder writable"
            ) from error
    return printed


def _is_ready(path: Path) -> bool:
    """Return whether there is a file that is written to its end."""
    # Mostly there is no file, and another trader may take it at any moment.
    with suppress(OSError):
        status = path.stat()
        if time.time() - status.st_mtime > UNFINISHED_SECONDS:
            return True
        return status.st_size > 0 and path.read_bytes().endswith(b"\n")
    return False
