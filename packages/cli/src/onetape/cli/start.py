"""Start a program: set the signal handlers, then import the program's module and call its `run`.

Imports take long, and Ctrl-C during an import would print a traceback. This module imports nothing
slow, so the handlers are set almost at once.
"""

import gc
import importlib
import os
import signal
from collections.abc import Callable
from typing import Final, NoReturn

#: Signal handler: it gets the number of the signal and the current frame.
SignalHandler = Callable[[int, object], None]
#: Size of the frame of `_call_with_large_frame`, values of 8 bytes: 128 KiB.
_FRAME_VALUES: Final = 16_384


def start(module: str, stop: SignalHandler | None = None) -> NoReturn:
    """Import a program's module and call its `run`.

    Args:
        module: Name of the module, such as `trader.main`.
        stop: Handler of SIGTERM and Ctrl-C during the import, until `run` sets its own; None: both
            signals end the process at once, with the exit codes 143 and 130 that shells expect.
    """
    # A shell starts background jobs with Ctrl-C ignored; that is not changed.
    handled = [
        number
        for number in (signal.SIGTERM, signal.SIGINT)
        if signal.getsignal(number) != signal.SIG_IGN
    ]
    for number in handled:
        signal.signal(number, stop or signal.SIG_DFL)
    # NumPy's BLAS would start a thread for each core, which takes 50 ms of the processor and must
    # not be there when an optimization forks. No program multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    def import_and_run() -> None:
        run = _import_run(module)
        if stop is None and signal.SIGINT in handled:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()

    _call_with_large_frame(import_and_run)
    raise SystemExit


def _import_run(module: str) -> Callable[[], object]:
    """Return the function `run` of a module; garbage collection is off during the import."""
    # Imports leave hardly any garbage, and their objects need not be searched later either.
    gc.disable()
    run = importlib.import_module(module).run
    gc.freeze()
    gc.enable()
    return run


def _call_with_large_frame(function: Callable[[], None]) -> None:
    """Call a function in a large block of memory for frames, so that its calls are not slowed down.

    Python stores the frames of running functions in blocks of 16 KiB. If a loop runs at the end of
    a block, each call in the loop maps and unmaps a block, which takes 8 microseconds. The frame of
    this function is larger than a block, so Python makes a block of twice its size for it; the
    other half has space for the frames of `function` and its calls.
    """
    function()


# Unused memory costs nothing, because the system provides a page only when it is first written to.
_call_with_large_frame.__code__ = _call_with_large_frame.__code__.replace(
    co_stacksize=_FRAME_VALUES
)
