"""Move the write-ahead log into the file in a thread, so that no commit waits for the disk.

This move is SQLite's checkpoint. By default the commit that finds 1,000 pages in the log does it:
it writes the pages into the file and waits for two syncs, which takes a second on a busy disk. With
the thread, a commit waits for one sync only when the log begins again, which is rare because the
log may be longer.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

from onetape.core.errors import ConfigurationError, StoreError
from onetape.store.database import Store, open_store

#: Number of pages (16 MB) at which the write-ahead log is moved into the file.
LOG_PAGES: Final = 4_000
#: Minimum time between two checkpoints: while a reader keeps the log in use, more would be useless.
PAUSE_SECONDS: Final = 1.0


@contextmanager
def checkpoints_in_thread(store: Store) -> Generator[None]:
    """Run the checkpoints of a store in a thread, not in commits, while the block runs.

    The thread opens its own connection. Errors of a checkpoint are ignored here, because the next
    commit raises them as well.

    Args:
        store: The open database; only the calling thread uses it.
    """
    is_due, is_over = threading.Event(), threading.Event()
    with open_store(store.path, create=False) as own:
        own.log_limit_bytes, store.log_limit_bytes = store.log_limit_bytes, 2**62
        store.set_log_watch(lambda pages: is_due.set() if pages >= LOG_PAGES else None)
        thread = threading.Thread(target=_run, args=(own, is_due, is_over), name="checkpoints")
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            is_due.set()
            thread.join()


def _run(store: Store, is_due: threading.Event, is_over: threading.Event) -> None:
    """Checkpoint the database each time `is_due` is set, until `is_over` is set."""
    while True:
        is_due.wait()
        if is_over.is_set():
            return
        is_due.clear()
        # An error of the file is also raised at the next commit, whose thread reports it.
        with suppress(StoreError, ConfigurationError):
            store.checkpoint()
        is_over.wait(PAUSE_SECONDS)
