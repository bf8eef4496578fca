"""Commands that a person writes into a file beside the database.

The file is named as the database with `-commands` behind it, and has a command in each line, such
as `exit BTC/USDT`. The first trader that looks renames the file, so that lines that are added from
then on begin another one. A moment later a trader stores its commands as rows and removes it, in
one transaction: a second trader on the same database finds nothing.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
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
#: A renamed file is read after so many wall seconds: who had opened it before may still write.
SETTLED_SECONDS: Final = 0.2


def command_file(database: Path) -> Path:
    """Return the file beside a database that commands are written into."""
    return database.with_name(f"{database.name}-commands")


def renamed_file(database: Path) -> Path:
    """Return what the command file beside a database is called while it waits to be read."""
    return database.with_name(f"{database.name}-commands-taken")


def take_command_file(store: Store) -> list[str]:
    """Rename the command file beside a database, or store the commands of the renamed one.

    Lines that are no command are left out; empty ones and those that begin with # are too.

    Returns:
        What to print: a line for each command, and for each line that is none.

    Raises:
        StoreError: the database cannot be read or written; the file stays.
        StoreUnwritable: the file cannot be renamed or removed; its commands are not stored.
    """
    path, renamed = command_file(store.path), renamed_file(store.path)
    if _is_ready(path):
        # One at a time, or one file that was renamed would replace another.
        with store.write(), _naming_folder(path):
            if path.exists() and not renamed.exists():
                path.rename(renamed)
    return _store_commands(store, path.name, renamed) if _is_settled(renamed) else []


def _store_commands(store: Store, name: str, path: Path) -> list[str]:
    """Store the commands of a file and remove it; return what to print, with this name of it."""
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
                    given_by=f"the file {name}",
                )
            except UsageError as error:
                printed.append(f"{name}: {error}")
                continue
            add_controls(connection, rows)
            printed.append(f"{name}: {line}")
        # Where it stays, nothing is stored: the commands would be again with each look.
        with _naming_folder(path):
            path.unlink(missing_ok=True)
    return printed


@contextmanager
def _naming_folder(path: Path) -> Generator[None]:
    """Raise an error of the system as one that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreUnwritable(
            f"{path} cannot be removed ({error.strerror}); make its folder writable"
        ) from error


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
