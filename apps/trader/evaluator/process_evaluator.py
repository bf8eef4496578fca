"""Evaluates one strategy in its worker process, within a deadline, and replaces a failed worker."""

import asyncio
import time
from collections import deque
from typing import Final, Literal

import msgspec
import numpy as np
from msgspec import Struct

from onetape.cli.common_settings import StrategySettings
from onetape.cli.stop import cancel_and_wait
from onetape.core import errors
from onetape.core.candles import Candles
from onetape.core.errors import ConfigurationError, OnetapeError
from onetape.core.folders import USER_FOLDER
from onetape.strategies import Higher
from trader.evaluator.messages import (
    EvaluationReply,
    FailureReply,
    LoadedStrategy,
    LoadRequest,
    Reply,
    decode_reply,
    encode,
    make_evaluate_request,
)
from trader.evaluator.processes import (
    HelperEnded,
    StrategyHelper,
    WorkerConnection,
    WorkerEnded,
    WorkerLate,
)
from trader.evaluator.results import Evaluation, EvaluationFailure

#: Maximum time to load a strategy, wall seconds: it may import large libraries, and the lookback of
#: a function is measured.
LOAD_SECONDS: Final = 60.0
#: Interval of checks for processes left running while evaluations follow each other, wall seconds.
CHECK_SECONDS: Final = 1.0
#: Number of the strategy in requests; a worker has one strategy.
_STRATEGY_KEY: Final = 1


class LoadTimeout(ConfigurationError):
    """The strategy was not loaded within `LOAD_SECONDS`."""


class _Request(Struct, eq=False):
    """A request to evaluate the strategy, before its reply."""

    message: bytes
    """The encoded request with its length."""
    worker: WorkerConnection | None = None
    """Worker that the request was sent to; None: it was not sent yet."""
    unsent: bytes = b""
    """Rest of the message that the worker's pipe could not take yet."""


class ProcessEvaluator:
    """Evaluates one strategy; its worker process is replaced when it is late or ends."""

    def __init__(
        self,
        settings: StrategySettings,
        timeframe: str,
        helper: StrategyHelper,
        *,
        memory_mb: int,
    ) -> None:
        """Prepare; no process is started yet.

        Args:
            settings: Name and parameters of the strategy.
            timeframe: The traded CCXT timeframe.
            helper: Helper process that forks the worker.
            memory_mb: Address space that the worker may use, MB.
        """
        self.settings = settings
        """Name and parameters of the strategy."""
        self._timeframe = timeframe
        self._helper = helper
        self._memory_mb = memory_mb
        self._lock = asyncio.Lock()
        """Held by the evaluation that runs: one at a time, each with its own time limit."""
        self._waiting = deque[_Request]()
        """Requests whose evaluation has not begun, in their order."""
        self._worker: WorkerConnection | None = None
        """Connection to the worker process; None: none runs."""
        self._busy: WorkerConnection | None = None
        """Worker that evaluates now; None: no worker does."""
        self._unclaimed: WorkerConnection | None = None
        """A worker whose reply is not awaited any more: it cannot be used again; or None."""
        self._checked = 0.0
        """Time when the last check for left processes began, monotonic seconds."""
        self._check: asyncio.Task[bool] | None = None
        """Check whether processes are left running, awaited before the next evaluation; or None."""
        self._loaded: LoadedStrategy | None = None
        """Facts of the strategy; None: not loaded yet."""
        self._has_evaluated = False

    @property
    def strategy(self) -> LoadedStrategy:
        """Return name, parameters and lookback of the loaded strategy.

        Raises:
            ConfigurationError: the strategy is not loaded yet.
        """
        if self._loaded is None:
            raise self._make_strategy_error("is not loaded yet")
        return self._loaded

    @property
    def has_evaluated(self) -> bool:
        """Return whether the strategy has returned usable signals before."""
        return self._has_evaluated

    async def load(self) -> LoadedStrategy:
        """Load the strategy in a new worker process; return its facts.

        Raises:
            UsageError: no such strategy or parameter, or a value that it does not allow.
            ConfigurationError: the strategy's file cannot be used, or has changed since the first
                time.
        """
        try:
            return await self._load()
        except WorkerEnded as error:
            raise self._make_strategy_error(f"could not be loaded: {error}") from error
        except BaseException:
            # A worker that is late would use a processor until the end of the program.
            await self._discard_worker()
            raise

    async def _load(self) -> LoadedStrategy:
        """Load the strategy; raise the errors of `load`, or WorkerEnded."""
        await self._discard_worker()
        request = LoadRequest(
            _STRATEGY_KEY,
            self.settings.name,
            dict(self.settings.parameters),
            str(USER_FOLDER),
            self._timeframe,
        )
        try:
            try:
                reply = await self._call(encode(request), LOAD_SECONDS)
            except HelperEnded:
                # The helper ended while it started the worker; another helper runs now.
                await self._discard_worker()
                reply = await self._call(encode(request), LOAD_SECONDS)
        except WorkerLate:
            raise LoadTimeout(
                f"strategy {self.settings.name}: its file, or the function that was called to "
                f"measure its lookback, has not returned within {LOAD_SECONDS:.0f} s; look for a "
                "loop without an end, or for slow work such as a download, and move slow work out "
                "of the file"
            ) from None
        if isinstance(reply, FailureReply):
            raise _parse_error(reply)
        if not isinstance(reply, LoadedStrategy):
            raise self._make_strategy_error("could not be loaded: its process sent something else")
        if self._loaded is not None and reply != self._loaded:
            await self._discard_worker()
            raise self._make_strategy_error(
                "has changed since the trader was started, and its process had to be started "
                "again; restart the trader"
            )
        self._loaded = reply
        return reply

    async def evaluate(
        self, candles: Candles, higher: Higher, rows: int, seconds: float
    ) -> Evaluation | EvaluationFailure:
        """Evaluate the strategy once; return the signals, or the reason why there are none.

        It raises no OnetapeError: a failure is returned, with its error.

        Args:
            candles: Closed candles, oldest first, at least one.
            higher: Candles of each higher timeframe of the strategy.
            rows: Number of candles to decide on, the last ones of `candles`.
            seconds: Maximum time of the strategy, wall seconds, without the start of a worker.
        """
        request = _Request(encode(make_evaluate_request(_STRATEGY_KEY, candles, higher, rows)))
        self._send_ahead(request)
        self._waiting.append(request)
        try:
            await self._lock.acquire()
        except BaseException:
            self._unclaimed = request.worker or self._unclaimed
            raise
        finally:
            self._waiting.remove(request)
        try:
            return await self._evaluate(request, len(candles), rows, seconds)
        finally:
            self._lock.release()

    def _send_ahead(self, request: _Request) -> None:
        """Send a request to a worker that still evaluates, if all earlier requests were sent to it.

        So the worker goes on with it at once, without waiting for the trader.
        """
        worker = self._busy
        are_sent = all(one.worker is worker and not one.unsent for one in self._waiting)
        if worker is not None and worker is not self._unclaimed and are_sent:
            request.worker, request.unsent = worker, worker.send_now(request.message)

    def _send(self, request: _Request) -> None:
        """Send the request whose turn it is, unless the worker has it already."""
        worker = self._worker
        if worker is not None and request.worker is not worker:
            request.worker, request.unsent = worker, worker.send_now(request.message)
        # No message may be sent after a message that was sent only in part.
        self._busy = None if request.unsent else worker

    async def _evaluate(
        self, request: _Request, candles: int, rows: int, seconds: float
    ) -> Evaluation | EvaluationFailure:
        """Evaluate while the lock is held: load the strategy if needed, send, read the reply."""
        try:
            if not await self._is_ready():
                await self._load()
            self._send(request)
            try:
                reply = await self._call(request.unsent, seconds)
            finally:
                self._busy = None
        except WorkerLate:
            await self._discard_worker()
            return self._make_failure("late", f"no signals within {seconds:g} s")
        except WorkerEnded as error:
            await self._discard_worker()
            return self._make_failure("ended", str(error))
        except LoadTimeout:
            text = f"its file was not loaded again within {LOAD_SECONDS:.0f} s, in a new process"
            return self._make_failure("late", text)
        except OnetapeError as error:
            await self._discard_worker()
            return EvaluationFailure("failed", str(error), error)
        except BaseException:
            await self._discard_worker()
            raise
        self._begin_check()
        if isinstance(reply, FailureReply):
            return EvaluationFailure("failed", reply.text, _parse_error(reply))
        found = _parse_evaluation(reply, candles, rows)
        if found is None:
            await self._discard_worker()
            return self._make_failure("ended", "its process sent something that is not a reply")
        self._has_evaluated = True
        return found

    def _begin_check(self) -> None:
        """Begin a check for processes left running, unless an evaluation follows at once."""
        now = time.monotonic()
        if self._worker is None or (self._waiting and now - self._checked < CHECK_SECONDS):
            return
        self._checked = now
        self._helper.resume()
        self._check = asyncio.create_task(self._worker.is_clean())

    async def close(self) -> None:
        """End the worker process."""
        await self._discard_worker()

    async def _is_ready(self) -> bool:
        """Return whether the worker can be used: it runs, and no process is left running."""
        if self._worker is None or self._worker is self._unclaimed:
            return False
        if self._check is None:
            return True
        check, self._check = self._check, None
        return await check

    async def _call(self, message: bytes, seconds: float) -> Reply:
        """Send a message, and return the reply; without a worker, start one first.

        Args:
            message: The message; empty: it was sent already.
            seconds: Maximum time of the worker, wall seconds.
        """
        if self._worker is None:
            try:
                self._worker = self._helper.start_worker(self._memory_mb)
            except OSError as error:
                text = f"no process could be started: {error.strerror or error}"
                raise WorkerEnded(text) from error
        try:
            return decode_reply(await self._worker.call(message, seconds))
        except msgspec.DecodeError as error:
            raise WorkerEnded("its process sent something that is not a reply") from error

    async def _discard_worker(self) -> None:
        """End the worker process; the next evaluation starts a new one."""
        if self._check is not None:
            await cancel_and_wait(self._check)
            self._check = None
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _make_strategy_error(self, text: str) -> ConfigurationError:
        return ConfigurationError(f"strategy {self.settings.name} {text}")

    def _make_failure(self, kind: Literal["late", "ended"], text: str) -> EvaluationFailure:
        return EvaluationFailure(kind, text, self._make_strategy_error(f"{kind}: {text}"))


def _parse_evaluation(reply: Reply, candles: int, rows: int) -> Evaluation | None:
    """Return the evaluation of a reply; None: it does not fit the request."""
    if not isinstance(reply, EvaluationReply) or len(reply.views) != rows:
        return None
    signal = np.frombuffer(reply.signal, np.int8)
    if len(signal) != candles or np.abs(signal).max(initial=0) > 1:
        return None
    if reply.levels is None:
        return Evaluation(signal, reply.views)
    try:
        levels = reply.levels.decode()
    except ValueError:
        return None
    prices = (levels.stop, levels.target, levels.limit)
    columns = [one for one in prices if one is not None]
    is_valid = all(len(one) == candles and not (one <= 0).any() for one in columns)
    is_valid &= levels.expiry_candles > 0
    return Evaluation(signal, reply.views, levels) if is_valid else None


def _parse_error(failure: FailureReply) -> OnetapeError:
    """Return the error that a worker has sent, of its class in `onetape.core.errors`."""
    kind = getattr(errors, failure.kind, ConfigurationError)
    if not (isinstance(kind, type) and issubclass(kind, OnetapeError)):
        kind = ConfigurationError
    return kind(failure.text, setting=failure.settings)
