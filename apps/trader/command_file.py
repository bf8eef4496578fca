"""Commands that a person writes into a file beside the database.

The file is named as the database with `-commands` behind it, and has a command in each line, such
as `exit BTC/USDT`. The first trader that looks gives the file another name, which is never used
again, so that lines that are added from then on begin another one. A moment later a trader stores
its commands as rows, and that name with them, in one transaction. Only then is the file removed:
one that is still there, because the program ended in between, is known by its name.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from onetape.core.errors import StoreUnwritable, UsageError
from onetape.store.account_reading import read_traded
from onetape.store.accounts import Account
from onetape.store.connection import Connection
from onetape.store.controls import add_command_file, add_controls, is_command_file_stored
from onetape.store.copying import flush
from onetape.store.database import Store
from trader.command_rows import parse_command, rows_of

#: Bytes of the file that are read.
MOST_BYTES: Final = 4_096
#: A file whose last line has no end may still be written; it is read after so many wall seconds.
UNFINISHED_SECONDS: Final = 2.0
#: A renamed file is read after so many wall seconds: who had opened it before may still write.
SETTLED_SECONDS: Final = 0.2


def command_file(database: Path) -> Path:
    """Return the file beside a database that commands are written into."""
    return database.with_name(f"{database.name}-commands")


def taken_files(database: Path) -> list[Path]:
    """Return the command files beside a database that have another name, the oldest first."""
    start = f"{command_file(database).name}-taken"
    return sorted(one for one in database.parent.iterdir() if one.name.startswith(start))


def take_command_file(store: Store) -> list[str]:
    """Store the commands of files that were renamed before; rename the command file.

    Lines that are no command are left out; empty ones and those that begin with # are too.

    Returns:
        What to print: a line for each command, and for each line that is none.

    Raises:
        StoreError: the database cannot be read or written; the file stays, and nothing is stored.
        StoreUnwritable: the file cannot be renamed; nothing is stored.
    """
    path = command_file(store.path)
    printed: list[str] = []
    for taken in taken_files(store.path):
        if _is_settled(taken):
            printed += _store_commands(store, path.name, taken)
    if _is_ready(path):
        _rename(store, path)
    return printed


def _new_name(path: Path) -> Path:
    """Return a name that no command file has had; later ones sort behind it."""
    return path.with_name(f"{path.name}-taken-{time.time_ns():020d}-{uuid4().hex[:8]}")


def _rename(store: Store, path: Path) -> None:
    """Give the command file a name that was never used."""
    # The write lock: of two traders one renames it.
    with store.write():
        try:
            if path.exists():
                path.rename(_new_name(path))
                # After a power cut it must not have its first name again.
                flush(path.parent)
        except OSError as error:
            raise StoreUnwritable(
                f"{path} cannot be renamed ({error.strerror}); make its folder writable"
            ) from error


def _store_commands(store: Store, name: str, path: Path) -> list[str]:
    """Store the commands of a renamed file, if they are not, then remove it; return what to print.

    Args:
        store: The open database.
        name: That the file had first.
        path: Of the file.
    """
    traded = read_traded(store)
    printed: list[str] = []
    with store.write(durable=True) as connection:
        # Another trader may have stored them since the look, or this one before it was killed.
        if path.exists() and not is_command_file_stored(connection, path.name):
            printed = _add_commands(connection, traded, name, path)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if printed:
            printed.append(
                f"{path} cannot be removed ({error.strerror}); its commands are stored and will "
                "not be carried out again"
            )
    return printed


def _add_commands(
    connection: Connection, traded: Sequence[Account], name: str, path: Path
) -> list[str]:
    """Add the commands of a file inside a transaction; return what to print."""
    printed: list[str] = []
    now_ms = time.time_ns() // 1_000_000
    text = path.read_bytes()[:MOST_BYTES].decode("utf-8", "replace")
    for line in (line.strip() for line in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        try:
            command = parse_command(line)
            rows = rows_of(traded, command, at_ms=now_ms, given_by=f"the file {name}")
        except UsageError as error:
            printed.append(f"{name}: {error}")
            continue
        add_controls(connection, rows)
        printed.append(f"{name}: {line}")
    add_command_file(connection, path.name, stored_ms=now_ms)
    return printed


def _is_settled(path: Path) -> bool:
    """Return whether there is a renamed file that nobody writes to any more."""
    with suppress(OSError):
        # A rename changes this time; one after now is of a clock that was set back.
        age = time.time() - path.stat().st_ctime
        return not 0 <= age < SETTLED_SECONDS and _is_ready(path)
    return False


def _is_ready(path: Path) -> bool:
    """Return whether there is a file that is written to its end."""
    # Mostly there is no file, and another trader may take it at any moment.
    with suppress(OSError):
        status = path.stat()
        if time.time() - status.st_mtime > UNFINISHED_SECONDS:
            return True
        return status.st_size > 0 and path.read_bytes().endswith(b"\n")
    return False
