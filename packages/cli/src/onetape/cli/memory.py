"""Make a short program faster: freed memory is not returned to the system but used again."""

import sys
from typing import Final

#: Options of glibc's `mallopt`, numbered as in <malloc.h>.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
#: Maximum number of free bytes at the end of the heap that are not given back to the system.
_MAX_FREE_BYTES: Final = 256 << 20
#: Size in bytes above which a block of memory is mapped separately; glibc accepts no larger value.
_MAX_HEAP_BLOCK_BYTES: Final = 32 << 20


def keep_freed_memory() -> None:
    """Let new arrays reuse the memory of freed ones; for a process that ends soon.

    The C library gives each array over 128 KiB back to the system when it is freed, and the system
    clears every page of the next one. Other C libraries than glibc are left as they are.
    """
    if sys.platform != "linux":
        return
    import ctypes  # which NumPy has loaded already

    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, _MAX_HEAP_BLOCK_BYTES)
        set_option(_TRIM_THRESHOLD, _MAX_FREE_BYTES)
