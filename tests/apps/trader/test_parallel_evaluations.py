"""Evaluations of one strategy for several symbols whose candles close at the same time."""

import asyncio
import random
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hostile_strategies as hostile
from hostile_strategies import read_noted_processes, write_hostile
from onetape.core.candles import Candles
from onetape.strategies import evaluate_strategy, load_strategy
from onetape.strategies.testing import random_candles
from session_harness import make_evaluator
from trader.evaluator.messages import HEADER
from trader.evaluator.process_evaluator import ProcessEvaluator
from trader.evaluator.processes import WorkerConnection
from trader.evaluator.results import Evaluation, EvaluationFailure

Run = Callable[[Any], Any]
LONG_DEADLINE_SECONDS = 60.0
#: Series of different markets. One is longer than what a socket takes at once.
SERIES = [random_candles(count, seed=count) for count in (120, 121, 20_000, 122, 123, 124)]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


async def evaluate(
    evaluator: ProcessEvaluator, candles: Candles, seconds: float = LONG_DEADLINE_SECONDS
) -> Evaluation | EvaluationFailure:
    return await evaluator.evaluate(candles, {}, 1, seconds)


async def run_with_evaluator(name: str, scene: Callable[[ProcessEvaluator], Any]) -> None:
    evaluator = make_evaluator(name)
    try:
        await evaluator.load()
        await scene(evaluator)
    finally:
        await evaluator.close()


def test_each_symbol_gets_its_own_signals_whichever_evaluation_is_abandoned(
    run: Run, random_seed: int
) -> None:
    draw = random.Random(random_seed)  # noqa: S311 - a test
    strategy = load_strategy("rsi")
    expected = [evaluate_strategy(strategy, candles).signal for candles in SERIES]

    async def scene(evaluator: ProcessEvaluator) -> None:
        for _ in range(60):
            order = draw.sample(range(len(SERIES)), len(SERIES))
            tasks: dict[int, asyncio.Task[Evaluation | EvaluationFailure]] = {}
            for number in order:
                tasks[number] = asyncio.create_task(evaluate(evaluator, SERIES[number]))
                for _ in range(draw.choice((0, 0, 1, 3, 10))):
                    await asyncio.sleep(0)
            given_up = set(draw.sample(order, draw.choice((0, 0, 1, 2))))
            for _ in range(draw.choice((0, 1, 3, 10, 30))):
                await asyncio.sleep(0)
            for number in given_up:
                tasks[number].cancel()
            for number, task in tasks.items():
                with suppress(asyncio.CancelledError):
                    found = await task
                    assert isinstance(found, Evaluation)
                    assert np.array_equal(found.signal, expected[number])
                    continue
                assert number in given_up

    run(run_with_evaluator("rsi", scene))


def test_the_process_goes_on_with_the_next_symbol_while_the_trader_is_busy(
    run: Run, tmp_path: Path
) -> None:
    sent = tmp_path / "sent"
    name = write_hostile(
        tmp_path,
        "while not (FOLDER / 'sent').exists(): time.sleep(0.001)\n            note_process()",
    )

    async def scene(evaluator: ProcessEvaluator) -> None:
        tasks = [asyncio.create_task(evaluate(evaluator, SERIES[number])) for number in (0, 1)]
        await asyncio.sleep(0)
        # The first evaluation must not be over before the second one is sent.
        sent.touch()
        deadline = time.monotonic() + 60
        while len(read_noted_processes(tmp_path)) < 2:
            assert time.monotonic() < deadline, "the second evaluation waited for the trader"
            time.sleep(0.001)  # noqa: ASYNC251 - the loop is held up on purpose
        for candles, found in zip(SERIES[:2], await asyncio.gather(*tasks), strict=True):
            assert isinstance(found, Evaluation)
            assert len(found.signal) == len(candles)

    run(run_with_evaluator(name, scene))


def test_a_late_evaluation_does_not_shorten_the_deadline_of_the_next_one(
    run: Run, tmp_path: Path
) -> None:
    name = write_hostile(tmp_path, hostile.ENDLESS, condition="len(candles) == 120")

    async def scene(evaluator: ProcessEvaluator) -> None:
        late = asyncio.create_task(evaluate(evaluator, SERIES[0], 0.3))
        others = [asyncio.create_task(evaluate(evaluator, SERIES[number])) for number in (1, 2, 3)]
        failure = await late
        assert isinstance(failure, EvaluationFailure)
        assert failure.kind == "late"
        for candles, found in zip(SERIES[1:], await asyncio.gather(*others), strict=False):
            assert isinstance(found, Evaluation)
            assert len(found.signal) == len(candles)

    run(run_with_evaluator(name, scene))


def test_processes_that_a_strategy_leaves_running_are_found_after_the_last_evaluation(
    run: Run, tmp_path: Path
) -> None:
    name = write_hostile(tmp_path, hostile.FORKS, condition="len(candles) == 120")

    async def scene(evaluator: ProcessEvaluator) -> None:
        tasks = [asyncio.create_task(evaluate(evaluator, candles)) for candles in SERIES[:2]]
        assert all(isinstance(found, Evaluation) for found in await asyncio.gather(*tasks))
        deadline = time.monotonic() + 60
        while any(map(hostile.is_running, read_noted_processes(tmp_path))):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    run(run_with_evaluator(name, scene))


def test_a_complete_reply_is_returned_without_a_wait() -> None:
    connection, theirs = socket.socketpair()
    status, their_status = socket.socketpair()
    with theirs, their_status:
        worker = WorkerConnection(connection, status)
        theirs.sendall(HEADER.pack(5) + b"first" + HEADER.pack(6) + b"second")
        for reply in (b"first", b"second"):
            with pytest.raises(StopIteration) as returned:
                worker.call(b"", LONG_DEADLINE_SECONDS).send(None)
            assert returned.value.value == reply
        worker.close()


def test_a_reply_that_arrives_in_parts_is_returned_complete(run: Run) -> None:
    async def scene() -> None:
        connection, theirs = socket.socketpair()
        status, their_status = socket.socketpair()
        with theirs, their_status:
            worker = WorkerConnection(connection, status)
            message = HEADER.pack(5) + b"reply"
            for cut in range(len(message)):
                theirs.sendall(message[:cut])
                waiting = asyncio.create_task(worker.call(b"", LONG_DEADLINE_SECONDS))
                await asyncio.sleep(0)
                theirs.sendall(message[cut:])
                assert await waiting == b"reply"
            worker.close()

    run(scene())
