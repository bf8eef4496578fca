"""Default signal handlers for child processes of tests that run under nohup or in background."""

import signal
from types import FrameType

#: Signals that nohup ignores, and that a shell without job control ignores for background jobs.
_IGNORED_BY_SHELLS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


def give_children_default_signals() -> None:
    """Start child processes with default signal handlers; this process still ignores its signals.

    A child inherits an ignored signal and keeps it, as it should, but tests send these signals to
    children. A handler that does nothing ignores a signal too, and no child inherits a handler.
    """
    for number in _IGNORED_BY_SHELLS:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, _ignore)


def _ignore(number: int, frame: FrameType | None) -> None:
    del number, frame
