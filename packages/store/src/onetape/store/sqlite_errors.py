"""Translate errors of SQLite into errors of Onetape, which name the file and the remedy."""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from onetape.core.errors import (
    OnetapeError,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreUnwritable,
)
from onetape.store.connection import DatabaseConnection, keep_log_on_close

#: Errors of the operating system that SQLite reports as a disk I/O error.
_NO_SPACE: Final = frozenset({errno.EDQUOT, errno.EFBIG, errno.ENOSPC})
_UNWRITABLE: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


@contextmanager
def translating_sqlite_errors(
    path: Path, connection: DatabaseConnection | None = None
) -> Generator[None]:
    """Raise an Onetape error in place of each SQLite error of the block.

    Args:
        path: Path of the file.
        connection: Connection that raises the error; None: the cause of an I/O error is not known.
    """
    try:
        yield
    except OnetapeError:
        raise
    except apsw.NotADBError as error:
        raise StoreError(
            f"{path} is not a SQLite database; choose another file with --db"
        ) from error
    except apsw.CorruptError as error:
        if connection is not None:
            keep_log_on_close(path, connection)
        raise StoreDamaged(
            f"{path} is damaged ({error}); nothing was changed; restore a backup of it"
        ) from error
    except apsw.BusyError as error:
        raise StoreLocked(
            f"{path} stayed locked by another process; end that process, or try again"
        ) from error
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError, apsw.AuthError) as error:
        raise _make_unwritable_error(path, str(error)) from error
    except apsw.FullError as error:
        raise StoreFull(f"{path}: the disk is full; free some space and run again") from error
    except apsw.IOError as error:
        raise _make_io_error(path, connection, error) from error
    except apsw.Error as error:
        raise StoreError(f"{path}: {error}") from error


def _make_unwritable_error(path: Path, reason: str) -> StoreUnwritable:
    return StoreUnwritable(
        f"cannot write {path} ({reason}); make the file and its folder writable, "
        "or choose another file with --db"
    )


def _make_io_error(
    path: Path, connection: DatabaseConnection | None, error: apsw.IOError
) -> OnetapeError:
    """Return the error for an I/O error; the operating system's text is clearer than SQLite's."""
    number = 0 if connection is None else connection.system_errno
    if number in _NO_SPACE:
        return StoreFull(
            f"{path}: nothing more can be written ({os.strerror(number)}); "
            "free some space, or raise the quota, and run again"
        )
    if number in _UNWRITABLE:
        return _make_unwritable_error(path, os.strerror(number))
    return StoreError(
        f"{path} could not be read or written ({error}); "
        "look at the disk and its quota, then run again"
    )
