"""Signal handling: a termination signal ends the program and its worker processes."""

import contextlib
import signal
from collections.abc import Generator
from contextlib import contextmanager

from onetape.backtest.parallel import ENDING_SIGNALS


class _EndSignal(BaseException):
    """Raised for a signal; a BaseException, so that `except Exception` in a strategy ignores it."""

    def __init__(self, number: int) -> None:
        """Store the number of the signal."""
        super().__init__(number)
        self.number = number


@contextmanager
def exit_on_signal(message: str) -> Generator[None]:
    """Exit from the block on Ctrl-C, SIGTERM or SIGHUP, after the block's cleanup.

    A second SIGTERM or SIGHUP ends the process at once, in case a strategy has caught the first.

    Args:
        message: Line that is printed after a signal.

    Raises:
        SystemExit: a signal came; the exit code is 128 + the signal's number, as in shells.
    """
    from onetape.cli.output import note

    def raise_end(number: int, frame: object) -> None:
        del frame
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        raise _EndSignal(number)

    found = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    # A signal that the parent process has set to be ignored, as nohup does, stays ignored.
    before = {number: handler for number, handler in found.items() if handler != signal.SIG_IGN}
    for number in before:
        signal.signal(number, raise_end)
    try:
        yield
    except (KeyboardInterrupt, _EndSignal) as error:
        with contextlib.suppress(OSError):  # The terminal may be closed.
            note(f"backtester: {message}")
        number = error.number if isinstance(error, _EndSignal) else signal.SIGINT
        raise SystemExit(128 + number) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
