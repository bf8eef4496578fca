"""The one place where errors of SQLite are read: each becomes one of ours, with its remedy."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import apsw

from onetape.core.errors import (
    OnetapeError,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreUnwritable,
)


@contextmanager
def translated(path: Path) -> Generator[None]:
    """Turn every error of SQLite inside into one of ours that names the file and the remedy."""
    try:
        yield
    except OnetapeError:
        raise
    except apsw.NotADBError as error:
        raise StoreError(f"{path} is no SQLite database; choose another file with --db") from error
    except apsw.CorruptError as error:
        raise StoreDamaged(
            f"{path} is damaged ({error}); nothing was changed; restore a backup of it"
        ) from error
    except apsw.BusyError as error:
        raise StoreLocked(
            f"{path} stayed locked by another process; end that process, or try again"
        ) from error
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError, apsw.AuthError) as error:
        raise StoreUnwritable(
            f"cannot write {path} ({error}); make the file and its folder writable, "
            "or choose another file with --db"
        ) from error
    except apsw.FullError as error:
        raise StoreFull(f"{path}: the disk is full; free some space and run again") from error
    except apsw.IOError as error:
        raise StoreError(
            f"{path} could not be read or written ({error}); look at the disk and its quota, then "
            "run again"
        ) from error
    except apsw.Error as error:
        raise StoreError(f"{path}: {error}") from error
