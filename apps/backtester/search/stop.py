"""Ctrl-C and SIGTERM during a search: its processes end, and one line says how it goes on."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from onetape.cli.output import note
from onetape.cli.program import EXIT_INTERRUPTED

#: Ended by SIGTERM, as shells count it.
EXIT_TERMINATED: Final = 143


class _Terminated(BaseException):
    """SIGTERM came; no code of a strategy shall take it for a failure of its own."""


@contextmanager
def stoppable() -> Generator[None]:
    """Let both signals end what is inside with their exit codes, after all that has to be done.

    Raises:
        SystemExit: one of them came; it has been said.
    """

    def terminated(number: int, frame: object) -> None:
        del frame
        signal.signal(number, signal.SIG_IGN)  # the end is not to be interrupted by another
        raise _Terminated

    before = signal.getsignal(signal.SIGTERM)
    # Who started it may want it ignored.
    if before != signal.SIG_IGN:
        signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    except (KeyboardInterrupt, _Terminated) as error:
        note("backtester: stopped; it goes on where it was: run the same command again")
        is_term = isinstance(error, _Terminated)
        raise SystemExit(EXIT_TERMINATED if is_term else EXIT_INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)
