"""The first moments of a program: until its imports are done, a signal ends it without a traceback.

Imports nothing slow, so that hardly a moment passes before the signals are set.
"""

import gc
import importlib
import os
import signal
from collections.abc import Callable
from typing import NoReturn

Handler = Callable[[int, object], None]


def start(module: str, stop: Handler | None = None) -> NoReturn:
    """Import a program's module and call its `run`.

    Args:
        module: Such as `backtester.main`.
        stop: What SIGTERM and Ctrl-C do during the import and until `run` decides; None: they end
            the process at once, as shells expect (143 and 130).
    """
    # A shell's background jobs are started with Ctrl-C ignored, and keep that.
    heard = [
        number
        for number in (signal.SIGTERM, signal.SIGINT)
        if signal.getsignal(number) != signal.SIG_IGN
    ]
    for number in heard:
        signal.signal(number, stop or signal.SIG_DFL)
    # NumPy's BLAS would start a thread for each core: 50 ms of the processor at each start, and
    # threads where a search forks. Nothing here multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imports leave no garbage worth a search, and what they made is not searched later either.
    gc.disable()
    run = importlib.import_module(module).run
    gc.freeze()
    gc.enable()
    if stop is None and signal.SIGINT in heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()
    raise SystemExit
