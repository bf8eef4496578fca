"""Fold the write-ahead log into the file in a thread, so that no commit waits for the disk.

By default SQLite checkpoints in the commit that finds 1,000 pages in the log: that commit writes
the pages into the file and waits for two syncs, which takes a second if the disk is busy. With the
thread a commit only waits for one sync when the log begins again, which is rarer with a longer log.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

from onetape.core.errors import ConfigurationError, StoreError
from onetape.store.database import Store, open_store

#: Number of pages (16 MB) at which the write-ahead log is moved into the file.
LOG_PAGES: Final = 4_000
#: Least time between two checkpoints: a reader may prevent a restart of the log.
PAUSE_SECONDS: Final = 1.0


@contextmanager
def checkpoints_in_thread(store: Store) -> Generator[None]:
    """Run the checkpoints of a store in a thread during the block, and not in commits.

    Args:
        store: The open database; used by the thread that commits, as before.
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
    while True:
        is_due.wait()
        if is_over.is_set():
            return
        is_due.clear()
        # An error of the file is also raised at the next commit, whose thread reports it.
        with suppress(StoreError, ConfigurationError):
            store.checkpoint()
        is_over.wait(PAUSE_SECONDS)
