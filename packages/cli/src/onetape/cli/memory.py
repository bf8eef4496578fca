"""Memory of a short program: freed memory stays with the process and is used again."""

import sys
from typing import Final

#: Names of glibc's <malloc.h>.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
#: Bytes that may lie free at the end of the heap.
_MOST_FREE: Final = 256 << 20
#: Larger blocks get separate maps; glibc accepts no larger threshold.
_LARGEST_BLOCK: Final = 32 << 20


def keep_freed_memory() -> None:
    """Let new arrays reuse the memory of freed ones; for a process that ends soon.

    The C library gives each array over 128 KiB back to the system when it is freed, and the system
    clears every page of the next one. Other C libraries than glibc are left as they are.
    """
    if sys.platform != "linux":
        return
    # NumPy has loaded it.
    import ctypes

    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, _LARGEST_BLOCK)
        set_option(_TRIM_THRESHOLD, _MOST_FREE)
