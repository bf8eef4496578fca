"""Degrades the trader while its stream stays down."""

import time
from typing import Final

from trader.market_status import MARKET_PROBLEM
from trader.states import Problem
from trader.stream_recorder import StreamRecorder
from trader.supervisor import Supervisor

#: Name under which the problem is reported to the trader's states.
OUTAGE_PROBLEM: Final = "stream outage"
#: Time after `stale_after_seconds` that a stream may take to open, or to be found quiet, seconds.
MARGIN_SECONDS: float = 15.0


class OutageNotice:
    """Reports a stream that has been down for too long, and the end of such an outage."""

    def __init__(
        self, recorder: StreamRecorder, supervisor: Supervisor, *, stale_after_seconds: float
    ) -> None:
        """Initialise; the outage counts from now, because the stream is not up yet.

        Args:
            recorder: Shows whether the stream is up, and why it was lost.
            supervisor: Supervisor that gets the problem.
            stale_after_seconds: Time without a frame after which a stream is quiet or lost.
        """
        self._recorder = recorder
        self._supervisor = supervisor
        self._notice_after_seconds = stale_after_seconds + MARGIN_SECONDS
        self._since = time.monotonic()
        self._problem: Problem | None = None
        """Problem reported for the present outage; None: no outage."""

    def report_outage(self) -> None:
        """Report an outage that has lasted, or its end; call it regularly."""
        recorder, now = self._recorder, time.monotonic()
        if recorder.live or recorder.is_quiet:
            self._since = now
            self._problem = None
        elif self._supervisor.has_problem(MARKET_PROBLEM):
            # A market that is not traded sends nothing: its problem is shown instead.
            self._problem = None
        elif self._problem is None and now - self._since >= self._notice_after_seconds:
            why = f": {recorder.lost_reason}" if recorder.lost_reason else ""
            self._problem = Problem(
                f"no market data from the stream for {self._notice_after_seconds:g} s{why}",
                "no entries meanwhile, exits take the first price, of REST too; the stream is "
                "opened again and again",
                "check the network and the status page of the exchange, if this lasts",
            )
        self._supervisor.report(OUTAGE_PROBLEM, self._problem)
