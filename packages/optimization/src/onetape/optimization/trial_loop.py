"""The loop of an optimization: the sampler proposes a batch, processes evaluate it, repeat.

Results are stored one by one, and the sampler gets those of a whole batch.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from onetape.core.errors import UsageError
from onetape.optimization.details import DETAILED_TRIALS
from onetape.optimization.evaluate import Job
from onetape.optimization.folder import FolderResults, ResultsInMemory
from onetape.optimization.ranking import TrialResult
from onetape.optimization.samplers import Sampler
from onetape.optimization.search_plan import SearchPlan
from onetape.optimization.space import ParameterSet, format_parameter_value
from onetape.optimization.user_metrics import decode_failure

#: Number of failures that are shown one by one; further ones are only counted.
FAILURES_SHOWN: Final = 5


class Pool(Protocol):
    """Evaluates jobs, by processes of this computer or by the workers of a cluster."""

    def map_unordered(self, jobs: Sequence[Job]) -> Iterable[tuple[int, bytes | None]]:
        """Yield the index and the result of each job, in the order in which they are done.

        A result is None where the job killed its process, or where the code raised.
        """
        ...


class OptimizationDisplay(NamedTuple):
    """Display of a running optimization."""

    done: Callable[[int], object]
    """Function that shows the number of finished combinations."""
    note: Callable[[str], object]
    """Function that shows a line of text."""


class TrialLoop:
    """Evaluates the combinations that a sampler proposes; adds their results to the sampler."""

    def __init__(
        self,
        plan: SearchPlan,
        sampler: Sampler | None,
        results: FolderResults | ResultsInMemory,
        record: Callable[[Sequence[ParameterSet]], None],
        max_count: int | None,
    ) -> None:
        """Prepare the loop; nothing is proposed yet.

        Args:
            plan: Plan to which proposed combinations are added.
            sampler: Proposes combinations; None: the plan has all of them already.
            results: Earlier results; new ones are added.
            record: Writes trials into the ledger, before they are evaluated.
            max_count: Maximum number of combinations to evaluate; None: all that are proposed.
        """
        self._plan = plan
        self._sampler = sampler
        self._results = results
        self._record = record
        self._max_count = max_count
        self._batch: list[ParameterSet] | None = None
        self._is_new: list[bool] = []
        self._shown = self._planned_failures = 0
        self.earlier = 0
        """Number of combinations whose result an earlier optimization had stored."""

    def prepare(self) -> int:
        """Propose the first batch; return the number of its combinations without a result."""
        self._propose()
        return sum(not self._results.has(point) for point in self._collect_new_points())

    def run(self, pool: Pool, display: OptimizationDisplay) -> None:
        """Evaluate batch after batch until the sampler has no more."""
        if self._batch is None:
            self._propose()
        done = 0
        while self._batch:
            for failed in self._plan.failed[self._planned_failures :]:
                self._show(display, failed)
            self._planned_failures = len(self._plan.failed)
            done = self._evaluate(pool, display, done)
            if self._sampler is None or len(self._plan.points) == self._max_count:
                break
            # A repeated combination has its result; a refused one has none, even if one is stored.
            self._sampler.add_results(
                [
                    self._results.get(point) if self._plan.has(point) else None
                    for point in self._batch
                ]
            )
            self._propose()

    def _propose(self) -> None:
        if self._sampler is None:
            self._batch, self._is_new = self._plan.points, [True] * len(self._plan.points)
            return
        self._batch, self._is_new = self._sampler.propose(), []
        for point in self._batch:
            is_full = self._max_count is not None and len(self._plan.points) >= self._max_count
            self._is_new.append(not is_full and self._plan.add(point))

    def _collect_new_points(self) -> list[ParameterSet]:
        pairs = zip(self._batch or (), self._is_new, strict=True)
        return [point for point, new in pairs if new]

    def _evaluate(self, pool: Pool, display: OptimizationDisplay, done: int) -> int:
        """Evaluate the new combinations of the batch; return how many are done in all.

        Raises:
            UsageError: a metric of the user gave no number; earlier results are stored.
        """
        points = self._collect_new_points()
        first = len(self._plan.points) - len(points)
        jobs = [
            Job(point, has_details=first + number < DETAILED_TRIALS)
            for number, point in enumerate(points)
            if not self._results.has(point)
        ]
        self.earlier += len(points) - len(jobs)
        done += len(points) - len(jobs)
        self._record(points)
        for index, line in pool.map_unordered(jobs):
            failure = decode_failure(line)
            if failure is not None:
                shown = format_parameters(jobs[index].parameters)
                raise UsageError(
                    f"rank: {shown}: {failure}; return a finite number for every backtest, also "
                    "for one without trades"
                )
            result = self._results.add(line or _encode_killed_result(jobs[index].parameters))
            done += 1
            display.done(done)
            if "error" in result:
                self._show(display, result)
        return done

    def _show(self, display: OptimizationDisplay, result: TrialResult) -> None:
        self._shown += 1
        if self._shown <= FAILURES_SHOWN:
            display.note(format_failure_line(result))
        elif self._shown == FAILURES_SHOWN + 1:
            display.note("backtester: more combinations fail; the result has all of them")


def format_failure_line(result: TrialResult) -> str:
    """Return the error of a combination, in one line."""
    return f"backtester: {format_parameters(result['parameters'])}: {result['error']}"


def format_parameters(parameters: ParameterSet) -> str:
    """Return the parameters of a combination: `fast 5, slow 20`."""
    return ", ".join(
        f"{name} {format_parameter_value(value)}" for name, value in parameters.items()
    )


def _encode_killed_result(parameters: ParameterSet) -> bytes:
    text = "the process that tried it was killed; it may need more memory than there is"
    return msgspec.json.encode({"parameters": parameters, "error": text})
