"""Keeps a trader running after errors; `ERROR_RULES` has the reaction to each class of error.

Only a person (a signal), a broken strategy or setting, or a refusal for safety ends a trader. Every
other error degrades it: no entries until the error is over, exits and stops go on.

An error of the exchange ends one task, which runs again after a pause. An error of the database
file, or an unexpected one, ends all tasks: their memory may differ from the stored state, so it is
built again from the file, as at the start of the program.
"""

import asyncio
import contextlib
import os
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from enum import Enum
from typing import Any, Final

from msgspec import Struct

from onetape.cli.output import note
from onetape.cli.program import TRACEBACK_VARIABLE
from onetape.cli.stop import cancel_and_wait
from onetape.core.errors import (
    ConfigurationError,
    DataError,
    ExchangeError,
    ExchangeRefused,
    LedgerCorrected,
    SafetyRefusal,
    StoreDamaged,
    StoredOrderChanged,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreOfOtherMarket,
    StoreReplaced,
    StoreUnwritable,
    UsageError,
)
from onetape.core.message_text import format_error
from onetape.exchange.ccxt_errors import RateLimited
from trader.states import DATABASE, Problem, TraderStates

#: Pause before a task runs again after an error, wall seconds; doubles with each error in a row.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
#: Longest pause after an error of the database file, wall seconds; short, because the file may be
#: usable again at any moment, and an exit may wait for it.
LONGEST_DATABASE_PAUSE_SECONDS = 4.0
#: Source of problems that are neither of the exchange nor of the file, for `TraderStates`.
PROGRAM: Final = "program"
#: Source of problems of the search for exits while the file cannot be used (`exit_watch`).
EXITS: Final = "exits"


class Reaction(Enum):
    """What the trader does after an error; the values describe it."""

    RETRY = "the task runs again after a back-off"
    REBUILD = "all tasks end, and begin again from what is stored"
    HALT = "all tasks end, and the trader waits for a person"
    END = "the program ends with the exit code of the error"


class ErrorRule(Struct, frozen=True):
    """Reaction to the errors of one class and its subclasses."""

    error: type[Exception]
    reaction: Reaction
    measure: str = ""
    """Measure that the trader takes, for the printed line and the stored state."""
    remedy: str = ""
    """Remedy that a person should apply."""


_NO_ENTRIES: Final = "no entries meanwhile, exits go on"
_EXITS_WAIT: Final = "no entries meanwhile, exits follow as soon as the file can be written"
#: Rule for an exchange that refuses requests because of their rate.
RATE_LIMIT_RULE: Final = ErrorRule(
    RateLimited,
    Reaction.RETRY,
    f"{_NO_ENTRIES}; requests are sent again once it is over",
    "wait until it is over; "
    "if it comes again, end other programs that send requests from this address",
)
#: The rules; for an error, the first rule whose class fits holds.
ERROR_RULES: Final = (
    ErrorRule(
        LedgerCorrected,
        Reaction.REBUILD,
        "everything is built again from the database",
        "nothing needs to be done",
    ),
    ErrorRule(
        StoredOrderChanged,
        Reaction.REBUILD,
        f"{_NO_ENTRIES}; everything is built again from the database, a pending exit is sent again",
        "look at the tables orders, order_events and trades",
    ),
    ErrorRule(SafetyRefusal, Reaction.END),
    ErrorRule(StoreReplaced, Reaction.END),
    ErrorRule(StoreOfOtherMarket, Reaction.END),
    ErrorRule(
        StoreDamaged,
        Reaction.HALT,
        "nothing is traded and nothing is written any more",
        "stop the trader, restore a backup, start it again",
    ),
    ErrorRule(
        StoreLocked,
        Reaction.REBUILD,
        _EXITS_WAIT,
        "end the process that keeps the file locked, if this lasts",
    ),
    ErrorRule(StoreFull, Reaction.REBUILD, _EXITS_WAIT, "free some space, or raise the quota"),
    ErrorRule(
        StoreUnwritable, Reaction.REBUILD, _EXITS_WAIT, "make the file and its folder writable"
    ),
    ErrorRule(StoreError, Reaction.REBUILD, _EXITS_WAIT, "look at the disk, if this lasts"),
    ErrorRule(ConfigurationError, Reaction.END),
    ErrorRule(UsageError, Reaction.END),
    ErrorRule(DataError, Reaction.END),
    ErrorRule(
        ExchangeRefused,
        Reaction.RETRY,
        f"{_NO_ENTRIES}; the request is repeated until it succeeds",
        "check whether the exchange can be used from here, if this lasts",
    ),
    RATE_LIMIT_RULE,
    ErrorRule(
        ExchangeError,
        Reaction.RETRY,
        f"{_NO_ENTRIES}; the request is repeated until it succeeds",
        "check the network, if this lasts",
    ),
    ErrorRule(
        Exception,
        Reaction.REBUILD,
        f"{_NO_ENTRIES}; everything is built again from the database",
        f"please report it; {TRACEBACK_VARIABLE}=1 prints where it was raised",
    ),
)


class TaskEnded(Exception):
    """A task that should run until the trader stops has returned, or was cancelled by others."""


class Supervisor:
    """Runs the tasks of one trader in one event loop."""

    def __init__(self, states: TraderStates) -> None:
        """Initialise; no task runs yet.

        Args:
            states: States of the trader, which get the problems.
        """
        self._states = states
        self._pauses: dict[str, float] = {}
        """Length of the next pause of each task that has failed, seconds, by its name."""
        self._meanwhile: asyncio.Task[None] | None = None
        """Task that runs from an error until all tasks work again; None: they work."""
        self._ending: list[asyncio.Task[None]] = []
        """Cancelled tasks of `_meanwhile` that may not have ended yet."""
        self._pause_end = asyncio.Event()
        """Set to end the pauses after errors."""

    async def run(
        self, work: Callable[[], Awaitable[None]], meanwhile: Callable[[], Awaitable[object]]
    ) -> None:
        """Run `work` until it is cancelled, again and again where an error ends it.

        Args:
            work: Builds the trading tasks from the store, and runs them (`run_tasks`) forever.
            meanwhile: Called after an error, again and again, until `note_working` is called.

        Raises:
            OnetapeError: an error whose rule ends the program.
        """
        try:
            await self._run(work, meanwhile)
        finally:
            left = [self._meanwhile] if self._meanwhile is not None else []
            await cancel_and_wait(*left, *self._ending)

    async def _run(
        self, work: Callable[[], Awaitable[None]], meanwhile: Callable[[], Awaitable[object]]
    ) -> None:
        """Run `work` again after each error, with a pause; arguments and errors as of `run`."""
        while True:
            try:
                await work()
            except Exception as error:
                rule = find_error_rule(error)
                self._report(error, rule, task=PROGRAM)
                if rule.reaction is Reaction.HALT:
                    await asyncio.Event().wait()
                is_file = _choose_source(error, PROGRAM) == DATABASE
                if not is_file:
                    # The session renews its lease first, so the file could be written again.
                    self._states.clear_problem(DATABASE)
                if self._meanwhile is None:
                    self._meanwhile = asyncio.create_task(self.keep_running(meanwhile))
                longest = LONGEST_DATABASE_PAUSE_SECONDS if is_file else LONGEST_PAUSE_SECONDS
                await self._pause(PROGRAM, longest)

    async def keep_running(self, work: Callable[[], Awaitable[object]]) -> None:
        """Run work again and again while the session is built again; its errors are reported.

        Errors of the file are not, because the session reports them.
        """
        while True:
            try:
                await work()
            except Exception as error:
                rule = find_error_rule(error)
                if rule.reaction is not Reaction.END and _choose_source(error, EXITS) == EXITS:
                    self._report(error, rule, task=EXITS)
            await asyncio.sleep(FIRST_PAUSE_SECONDS)

    async def run_tasks(self, tasks: Mapping[str, Coroutine[Any, Any, None]]) -> None:
        """Run tasks at the same time; the first that ends, for any reason, ends them all.

        Args:
            tasks: Tasks by name; none of them returns by itself.

        Raises:
            TaskEnded: a task returned or was cancelled.
            Exception: the error that ended a task.
        """
        running = {asyncio.create_task(work, name=name): name for name, work in tasks.items()}
        try:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.cancelled():
                    raise TaskEnded(f"the task {running[task]!r} was cancelled")
                task.result()
                raise TaskEnded(f"the task {running[task]!r} ended by itself")
        finally:
            await cancel_and_wait(*running)

    async def repeat(
        self,
        name: str,
        step: Callable[[], Awaitable[None]],
        *,
        solves: bool = True,
        longest_pause: Callable[[], float] = lambda: LONGEST_PAUSE_SECONDS,
    ) -> None:
        """Run one step of a task again and again; after an error of the exchange, with a pause.

        Args:
            name: Name of the task, which is the source of its problems.
            step: Called each time; it waits itself between two steps.
            solves: Whether a step that returns proves that the last problem is over; otherwise
                `note_success` must be called.
            longest_pause: Returns the longest pause after an error, seconds.

        Raises:
            OnetapeError: an error whose rule is not `RETRY`.
        """
        while True:
            try:
                await step()
            except Exception as error:
                rule = find_error_rule(error)
                if rule.reaction is not Reaction.RETRY:
                    raise
                self._report(error, rule, task=name)
                await self._pause(name, longest_pause())
            else:
                if solves:
                    self.note_success(name)

    def note_success(self, name: str) -> None:
        """Note that a task works: its problem is over, and its next pause is short again."""
        has_failed = self._pauses.pop(name, None) is not None
        self._states.clear_problem(name)
        if has_failed:
            self.end_pauses()

    def end_pauses(self) -> None:
        """End the pauses of all tasks, because the exchange responds again."""
        self._pause_end.set()
        self._pause_end = asyncio.Event()

    def report(self, source: str, problem: Problem | None) -> None:
        """Report the problem of a source that raised no error; None: the problem is over."""
        if problem is None:
            self._states.clear_problem(source)
        else:
            self._states.report(source, problem)

    def has_problem(self, source: str) -> bool:
        """Return whether a source has reported a problem that lasts."""
        return self._states.has_problem(source)

    def note_working(self) -> None:
        """Note that the session runs and can write to the file: problems of both are over."""
        self._pauses.pop(PROGRAM, None)
        if self._meanwhile is not None:
            self._meanwhile.cancel()
            self._ending = [task for task in self._ending if not task.done()]
            self._ending.append(self._meanwhile)
            self._meanwhile = None
        self._states.clear_problem(EXITS)
        self._states.clear_problem(DATABASE)
        self._states.clear_problem(PROGRAM)

    def _report(self, error: Exception, rule: ErrorRule, *, task: str) -> None:
        """Report an error as a problem of its source; raise it if its rule ends the program."""
        if rule.reaction is Reaction.END:
            raise error
        if os.environ.get(TRACEBACK_VARIABLE):
            note("".join(traceback.format_exception(error)))
        problem = Problem(
            _format_reason(error, rule),
            rule.measure,
            rule.remedy,
            is_final=rule.reaction is Reaction.HALT,
        )
        self._states.report(_choose_source(error, task), problem)

    async def _pause(self, name: str, longest_seconds: float) -> None:
        seconds = min(self._pauses.get(name, FIRST_PAUSE_SECONDS), longest_seconds)
        self._pauses[name] = 2 * seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._pause_end.wait()


def find_error_rule(error: Exception) -> ErrorRule:
    """Return the first rule that fits an error."""
    return next(rule for rule in ERROR_RULES if isinstance(error, rule.error))


def _choose_source(error: Exception, task: str) -> str:
    return DATABASE if isinstance(error, StoreError | StoreUnwritable) else task


def _format_reason(error: Exception, rule: ErrorRule) -> str:
    """Return the text of an error without the remedy, which is for a program that has ended."""
    if rule.error is Exception:
        return f"unexpected {type(error).__name__}: {format_error(error)}"
    return format_error(error).partition("; ")[0]
