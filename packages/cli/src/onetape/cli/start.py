"""Start of a program: until its imports are done, a signal ends it without a traceback.

This module imports nothing slow, so that signals are handled almost at once.
"""

import gc
import importlib
import os
import signal
from collections.abc import Callable
from typing import Final, NoReturn

Handler = Callable[[int, object], None]
#: Values that the frame of `_call_with_room` has space for: 128 KiB.
_ROOM_VALUES: Final = 16_384


def start(module: str, stop: Handler | None = None) -> NoReturn:
    """Import a program's module and call its `run`.

    Args:
        module: Such as `trader.main`.
        stop: Handler of SIGTERM and Ctrl-C during the import and until `run` decides; None: both
            end the process at once, as shells expect (143 and 130).
    """
    # A shell's background jobs are started with Ctrl-C ignored, and stay so.
    handled = [
        number
        for number in (signal.SIGTERM, signal.SIGINT)
        if signal.getsignal(number) != signal.SIG_IGN
    ]
    for number in handled:
        signal.signal(number, stop or signal.SIG_DFL)
    # NumPy's BLAS would start a thread for each core: 50 ms of the processor at each start, and
    # threads where a search forks. Nothing here multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    def import_and_run() -> None:
        run = _import_run(module)
        if stop is None and signal.SIGINT in handled:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()

    _call_with_room(import_and_run)
    raise SystemExit


def _import_run(module: str) -> Callable[[], object]:
    """Return the function `run` of a module, imported without a search for cyclic garbage."""
    # Imports leave hardly any garbage, and their objects need no later search either.
    gc.disable()
    run = importlib.import_module(module).run
    gc.freeze()
    gc.enable()
    return run


def _call_with_room(function: Callable[[], None]) -> None:
    """Call a function whose calls do not cross from one block of frames to the next.

    Python keeps the frames of running functions in blocks of 16 KiB, and maps and unmaps a block
    each time a call begins or ends one: in a loop that happens to run at the end of a block, with
    every call, 8 microseconds each. A frame that is larger than a block gets a block of twice its
    size, and the other half of it is room for the frames behind.
    """
    function()


# Memory that is not used costs nothing: the system gives a page when it is first written to.
_call_with_room.__code__ = _call_with_room.__code__.replace(co_stacksize=_ROOM_VALUES)
