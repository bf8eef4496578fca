"""Signal handling: a termination signal ends the program and its worker processes."""

import contextlib
import signal
from collections.abc import Generator
from contextlib import contextmanager

from onetape.backtest.parallel import ENDING_SIGNALS


class _Ended(BaseException):
    """A signal came; no code of a strategy shall take it for a failure of its own."""

    def __init__(self, number: int) -> None:
        """Take which."""
        super().__init__(number)
        self.number = number


@contextmanager
def stoppable(words: str) -> Generator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end what is inside, after all that has to be done.

    A second SIGTERM or SIGHUP ends the process at once: a strategy may keep the first.

    Args:
        words: The line that is printed then.

    Raises:
        SystemExit: a signal came; the exit code is 128 and the signal's number, as shells count.
    """
    from onetape.cli.output import note

    def ended(number: int, frame: object) -> None:
        del frame
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        raise _Ended(number)

    found = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    # The process that started this one may have set a signal to be ignored, as nohup does.
    before = {number: handler for number, handler in found.items() if handler != signal.SIG_IGN}
    for number in before:
        signal.signal(number, ended)
    try:
        yield
    except (KeyboardInterrupt, _Ended) as error:
        with contextlib.suppress(OSError):  # The terminal may be closed.
            note(f"backtester: {words}")
        number = error.number if isinstance(error, _Ended) else signal.SIGINT
        raise SystemExit(128 + number) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
