"""The process that evaluates a strategy: its limits and its end."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hostile_strategies as hostile
from hostile_strategies import is_running, read_noted_processes, write_hostile
from loop_stalls import LoopStalls
from onetape.cli.common_settings import StrategySettings
from onetape.core.errors import ConfigurationError, UsageError
from onetape.strategies import evaluate_strategy, load_strategy
from onetape.strategies.testing import random_candles
from session_harness import make_evaluator
from trader.evaluator.process_evaluator import ProcessEvaluator
from trader.evaluator.processes import StrategyHelper
from trader.evaluator.results import Evaluation, EvaluationFailure

Run = Callable[[Any], Any]
CANDLES = random_candles(120, seed=1)
QUICK_SECONDS = 0.3
LONG_DEADLINE_SECONDS = 60.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@asynccontextmanager
async def load_evaluator(name: str) -> AsyncGenerator[ProcessEvaluator]:
    """Load a strategy in a worker; end it afterwards."""
    evaluator = make_evaluator(name)
    try:
        await evaluator.load()
        yield evaluator
    finally:
        await evaluator.close()


async def evaluate(
    evaluator: ProcessEvaluator, seconds: float = LONG_DEADLINE_SECONDS, rows: int = 1
) -> Evaluation | EvaluationFailure:
    return await evaluator.evaluate(CANDLES, {}, rows, seconds)


async def evaluate_signal(evaluator: ProcessEvaluator) -> int:
    found = await evaluate(evaluator)
    assert isinstance(found, Evaluation), found
    return int(found.signal[-1])


async def evaluate_failure(
    evaluator: ProcessEvaluator, seconds: float = LONG_DEADLINE_SECONDS
) -> EvaluationFailure:
    found = await evaluate(evaluator, seconds)
    assert isinstance(found, EvaluationFailure)
    return found


async def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("name", ["rsi", "macd", "bollinger", "donchian"])
def test_signals_and_values_equal_those_of_an_evaluation_in_this_process(
    run: Run, name: str
) -> None:
    async def scene() -> None:
        strategy = load_strategy(name)
        expected = evaluate_strategy(strategy, CANDLES)
        async with load_evaluator(name) as evaluator:
            found = await evaluate(evaluator, rows=3)
            assert isinstance(found, Evaluation)
            assert np.array_equal(found.signal, expected.signal)
            for row, view in zip((-3, -2, -1), found.views, strict=True):
                assert view.flat == strategy.describe(expected, row, holding=False)
                assert view.holding == strategy.describe(expected, row, holding=True)
                values = {key: column[row] for key, column in expected.indicators.items()}
                assert view.indicators == {
                    key: float(value) if np.isfinite(value) else None
                    for key, value in values.items()
                }

    run(scene())


#: Each with the kind of failure and words of its text; None: the signals come anyway.
ATTACKS: dict[str, tuple[str, str | None, str]] = {
    "loops forever": (hostile.ENDLESS, "late", "no signals within 0.3 s"),
    "sleeps longer than the deadline": (hostile.SLEEPS, "late", "no signals within 0.3 s"),
    "allocates 1.5 TB": (hostile.ALLOCATES, "failed", "Unable to allocate 1.36 TiB"),
    "passes its memory limit": (hostile.PASSES_LIMIT, "failed", "Unable to allocate 4.66 GiB"),
    "ends its process": (hostile.ENDS, "ended", "it ended its process with exit code 7"),
    "kills its process": (hostile.KILLED, "ended", "its process was ended by SIGKILL"),
    "closes all descriptors": (hostile.CLOSES, "ended", ""),
    "writes into the connection": (hostile.GARBAGE, "ended", ""),
    "raises KeyboardInterrupt": (hostile.INTERRUPTS, "failed", "KeyboardInterrupt"),
    "starts threads": (hostile.THREADS, None, ""),
    "prints": (hostile.PRINTS, None, ""),
    "signals its group and its parent": (hostile.SIGNALS, None, ""),
    "stops its parent": (hostile.STOPS_HELPER, None, ""),
    "kills its parent": (hostile.KILLS_HELPER, "ended", "the helper process ended"),
    "raises SystemExit": (hostile.EXITS, "failed", "SystemExit: 3"),
    "changes its working folder": (hostile.CHANGES_FOLDER, None, ""),
    "crashes": (hostile.CRASHES, "ended", "its process was ended by SIGSEGV"),
}


@pytest.mark.parametrize("what", ATTACKS)
def test_after_a_failure_of_a_strategy_the_event_loop_goes_on_and_evaluates_the_next_candle(
    run: Run, tmp_path: Path, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    attack, kind, words = ATTACKS[what]
    name = write_hostile(tmp_path, attack, condition=f"not (FOLDER / {'done'!r}).exists()")

    async def scene() -> None:
        async with load_evaluator(name) as evaluator:
            seconds = QUICK_SECONDS if kind == "late" else LONG_DEADLINE_SECONDS
            async with LoopStalls() as stalls:
                found = await evaluate(evaluator, seconds)
            assert stalls.longest_seconds < 0.25
            if kind is None:
                assert isinstance(found, Evaluation), found
            else:
                assert isinstance(found, EvaluationFailure)
                assert found.kind == kind
                assert words in found.text
            (tmp_path / "done").touch()
            assert await evaluate_signal(evaluator) == 1

    run(scene())
    assert capfd.readouterr().out == ""


def test_of_endless_output_of_a_strategy_a_part_reaches_stderr(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = write_hostile(tmp_path, f"print('first', flush=True); {hostile.FLOODS}")

    async def scene() -> None:
        # A separate helper: the helpers of other tests print elsewhere.
        helper = StrategyHelper()
        evaluator = ProcessEvaluator(StrategySettings(name=name), "1h", helper, memory_mb=4_096)
        try:
            await evaluator.load()
            assert await evaluate_signal(evaluator) == 1
        finally:
            await evaluator.close()
            helper.close()

    run(scene())
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("first\nxxxx")
    assert "the rest is dropped" in printed.err
    assert len(printed.err) < 1_000_000


def test_processes_that_a_strategy_leaves_running_are_ended_after_the_candle(
    run: Run, tmp_path: Path
) -> None:
    name = write_hostile(tmp_path, hostile.FORKS, condition="not (FOLDER / 'processes').exists()")

    async def scene() -> None:
        async with load_evaluator(name) as evaluator:
            assert await evaluate_signal(evaluator) == 1
            left = read_noted_processes(tmp_path)
            assert len(left) == 3
            await wait_until(lambda: not any(map(is_running, left)))
            assert await evaluate_signal(evaluator) == 1

    run(scene())


def test_a_late_worker_is_ended_together_with_its_child_processes(run: Run, tmp_path: Path) -> None:
    attack = f"{hostile.FORKS}\n            note_process()\n            {hostile.ENDLESS}"
    name = write_hostile(tmp_path, attack)

    async def scene() -> None:
        async with load_evaluator(name) as evaluator:
            for seconds in (2.0, 10.0, 50.0):
                (tmp_path / "processes").unlink(missing_ok=True)
                evaluation = asyncio.create_task(evaluate_failure(evaluator, seconds))
                await wait_until(
                    lambda task=evaluation: len(read_noted_processes(tmp_path)) == 4 or task.done()
                )
                # A busy machine may take longer to fork.
                if not evaluation.done():
                    break
            processes = read_noted_processes(tmp_path)
            assert len(processes) == 4
            assert all(map(is_running, processes))
            assert (await evaluation).kind == "late"
            await wait_until(lambda: not any(map(is_running, processes)))

    run(scene())


def test_a_hanging_worker_delays_no_other_worker(run: Run, tmp_path: Path) -> None:
    name = write_hostile(tmp_path, hostile.ENDLESS)

    async def scene() -> None:
        async with load_evaluator(name) as hanging, load_evaluator("rsi") as other:
            given_up = asyncio.create_task(evaluate_failure(hanging, 600.0))
            for _ in range(5):
                assert isinstance(await evaluate(other), Evaluation)
            assert not given_up.done()
            given_up.cancel()
            late = asyncio.create_task(evaluate_failure(hanging, 1.0))
            assert isinstance(await evaluate(other), Evaluation)
            assert (await late).kind == "late"
            assert isinstance(await evaluate(other), Evaluation)

    run(scene())


def test_a_helper_that_was_killed_is_started_again(run: Run) -> None:
    async def scene() -> None:
        helper = StrategyHelper()
        evaluator = ProcessEvaluator(make_evaluator("rsi").settings, "1h", helper, memory_mb=4_096)
        try:
            await evaluator.load()
            assert isinstance(await evaluate(evaluator), Evaluation)
            process_id = helper.process_id
            assert process_id is not None
            os.kill(process_id, signal.SIGKILL)
            found = await evaluate(evaluator)
            if isinstance(found, EvaluationFailure):  # it died in the middle of this evaluation
                assert found.kind == "ended"
                found = await evaluate(evaluator)
            assert isinstance(found, Evaluation)
        finally:
            await evaluator.close()
            helper.close()

    run(scene())


def test_a_killed_helper_takes_its_workers_with_it(run: Run, tmp_path: Path) -> None:
    name = write_hostile(tmp_path, f"note_process()\n            {hostile.ENDLESS}")

    async def scene() -> None:
        helper = StrategyHelper()
        settings = make_evaluator(name).settings
        evaluator = ProcessEvaluator(settings, "1h", helper, memory_mb=4_096)
        try:
            await evaluator.load()
            running = asyncio.create_task(evaluate_failure(evaluator))
            await wait_until(lambda: len(read_noted_processes(tmp_path)) == 1)
            assert helper.process_id is not None
            os.kill(helper.process_id, signal.SIGKILL)
            await wait_until(lambda: not any(map(is_running, read_noted_processes(tmp_path))))
            assert (await running).kind == "ended"
        finally:
            await evaluator.close()
            helper.close()

    run(scene())


def test_the_process_of_a_strategy_ends_first_when_memory_runs_out(
    run: Run, tmp_path: Path
) -> None:
    name = write_hostile(tmp_path, f"note_process()\n            {hostile.ENDLESS}")

    async def scene() -> None:
        async with load_evaluator(name) as evaluator:
            running = asyncio.create_task(evaluate_failure(evaluator))
            await wait_until(lambda: len(read_noted_processes(tmp_path)) == 1)
            (process_id,) = read_noted_processes(tmp_path)
            score = Path(f"/proc/{process_id}/oom_score_adj").read_text("ascii")  # noqa: ASYNC240
            running.cancel()
            assert int(score) == 1_000

    run(scene())


OWNER = """
import asyncio, sys
from session_harness import make_evaluator
from onetape.strategies.testing import random_candles

async def main():
    evaluator = make_evaluator(sys.argv[1])
    await evaluator.load()
    await evaluator.evaluate(random_candles(50, seed=1), {}, 1, 100.0)

asyncio.run(main())
"""


def test_the_process_of_a_strategy_ends_with_its_killed_trader(run: Run, tmp_path: Path) -> None:
    attack = f"{hostile.FORKS}\n            note_process()\n            {hostile.ENDLESS}"
    name = write_hostile(tmp_path, attack)

    async def scene() -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        owner = await asyncio.create_subprocess_exec(
            sys.executable, "-c", OWNER, name, env=environment
        )
        await wait_until(lambda: len(read_noted_processes(tmp_path)) == 4)
        owner.kill()
        await owner.wait()
        await wait_until(lambda: not any(map(is_running, read_noted_processes(tmp_path))))

    run(scene())


def test_a_changed_strategy_file_is_not_traded_after_a_restart_of_its_process(
    run: Run, tmp_path: Path
) -> None:
    name = write_hostile(tmp_path, hostile.ENDS, condition="len(CALLS) == 2")

    async def scene() -> None:
        async with load_evaluator(name) as evaluator:
            assert await evaluate_signal(evaluator) == 1
            assert (await evaluate_failure(evaluator)).kind == "ended"
            write_hostile(tmp_path, "pass")
            found = await evaluate_failure(evaluator)
            assert found.kind == "failed"
            assert "has changed since the trader was started" in found.text

    run(scene())


def test_a_strategy_that_cannot_be_loaded_is_refused_with_its_error(
    run: Run, tmp_path: Path
) -> None:
    async def load(name: str) -> None:
        async with load_evaluator(name):
            pass

    broken = tmp_path / "broken.py"
    for text, words in (
        ("import os\nos._exit(3)\n", "could not be loaded: it ended its process with exit code 3"),
        ("x = 1 / 0\n", "broken.py, line 1: ZeroDivisionError"),
    ):
        broken.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigurationError, match=words):
            run(load(str(broken)))
    with pytest.raises(UsageError, match="strategy 'none' does not exist"):
        run(load("none"))


def test_the_process_of_a_strategy_has_no_settings_no_sockets_and_no_ccxt(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = (
        "(FOLDER / 'seen').write_text(repr((sorted(os.environ), sorted(sys.modules), "
        "[os.readlink(f'/proc/self/fd/{fd}') for fd in range(100) "
        "if os.path.islink(f'/proc/self/fd/{fd}')])))"
    )
    monkeypatch.setenv("ONETAPE_KEY", "secret")
    monkeypatch.setenv("TRADER__CASH", "1")
    name = write_hostile(tmp_path, attack)

    async def scene() -> None:
        helper = StrategyHelper()
        evaluator = ProcessEvaluator(make_evaluator(name).settings, "1h", helper, memory_mb=4_096)
        try:
            await evaluator.load()
            assert await evaluate_signal(evaluator) == 1
        finally:
            await evaluator.close()
            helper.close()

    run(scene())
    environment, modules, files = eval((tmp_path / "seen").read_text())  # noqa: S307 - of our own
    assert not {name for name in environment if name.startswith(("ONETAPE_", "TRADER__"))}
    assert not {"ccxt", "apsw", "aiohttp", "typer"} & set(modules)
    assert sum(file.startswith("socket:") for file in files) == 1


def test_row_151_a_strategy_that_is_not_loaded_again_is_late_by_the_limit_of_loading(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write_hostile(tmp_path, hostile.ENDS)
    marker = tmp_path / "hangs"
    path = Path(name)
    hangs = f"import os\nwhile os.path.exists({str(marker)!r}): pass\n"
    path.write_text(hangs + path.read_text(encoding="utf-8"), encoding="utf-8")

    async def scene() -> None:
        async with load_evaluator(name) as evaluator:
            assert isinstance(await evaluate(evaluator), EvaluationFailure)
            marker.touch()
            monkeypatch.setattr("trader.evaluator.process_evaluator.LOAD_SECONDS", 1.0)
            found = await evaluate(evaluator, 6.0)
            assert isinstance(found, EvaluationFailure)
            assert (found.kind, found.text) == (
                "late",
                "its file was not loaded again within 1 s, in a new process",
            )

    run(scene())
