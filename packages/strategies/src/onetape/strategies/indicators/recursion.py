"""Recursions with a change of direction, such as Parabolic SAR, over a window of fixed length.

The value at bar i is that of a recursion which started at bar i - memory + 1. Running each of these
recursions would take `memory` passes. But two recursions whose states become equal, to the last
bit, stay equal. So a few reference recursions are run to their end, and each other recursion only
until its state equals that of a reference; from there on both have equal values.
"""

from collections.abc import Callable

import numpy as np

from onetape.core.candles import FloatArray, IntArray

#: Columns of a recursion: its state after a bar, the value at that bar included.
State = tuple[FloatArray, ...]
#: Recursions run at a time.
_CHUNK_ROWS = 65_536


def run_windows(
    count: int,
    memory: int,
    start: Callable[[IntArray], State],
    advance: Callable[[State, IntArray], State],
) -> State:
    """Return the state at each bar of a recursion over the last `memory` bars.

    A bar with fewer than `memory` bars up to it gets the state of a recursion over all of them.

    Args:
        count: Number of bars.
        memory: Bars of a window, at least 2.
        start: Returns the states of recursions after their first bars, by the bars' indices.
        advance: Returns the states after one more bar, by states and the new bars' indices.

    Returns:
        The columns of the states, each of shape (count,).
    """
    references, following = _compute_references(count, memory, start, advance)
    # A window begins in a block of `memory` bars and, but for the block's first, ends in the next.
    found = tuple(column.copy() for column in following)
    firsts = np.arange(memory - 1, count, memory)
    for result, column in zip(found, references, strict=True):
        result[:memory] = column[:memory]
        result[firsts] = column[firsts]
    starts = np.arange(max(count - memory + 1, 0))
    starts = starts[starts % memory != 0]
    for first in range(0, len(starts), _CHUNK_ROWS):
        chunk = starts[first : first + _CHUNK_ROWS]
        ends, state = _run_remaining_windows(chunk, memory, references, following, start, advance)
        for result, column in zip(found, state, strict=True):
            result[ends] = column
    return found


def _compute_references(
    count: int,
    memory: int,
    start: Callable[[IntArray], State],
    advance: Callable[[State, IntArray], State],
) -> tuple[State, State]:
    """Return the states of recursions that start at every `memory`-th bar.

    A block is the `memory` bars from such a start, and each recursion runs over two blocks. The
    first columns hold, for each bar, the state of the recursion that starts with the bar's block;
    the second columns that of the recursion that starts with the block before.
    """
    bars = np.arange(0, count, memory)
    state = start(bars)
    references = tuple(np.full(count, np.nan) for _ in state)
    following = tuple(np.full(count, np.nan) for _ in state)
    for step in range(2 * memory):
        if step:
            bars = bars + 1
            inside = int(np.searchsorted(bars, count))
            bars = bars[:inside]
            if inside == 0:
                break
            state = advance(tuple(column[:inside] for column in state), bars)
        for result, column in zip(references if step < memory else following, state, strict=True):
            result[bars] = column
    return references, following


def _run_remaining_windows(
    starts: IntArray,
    memory: int,
    references: State,
    following: State,
    start: Callable[[IntArray], State],
    advance: Callable[[State, IntArray], State],
) -> tuple[IntArray, State]:
    """Return last bars and states of the windows whose state never equals that of a reference."""
    bars, state = starts, start(starts)
    blocks = starts // memory
    for step in range(memory):
        if step:
            bars = bars + 1
            state = advance(state, bars)
        is_own = bars // memory == blocks
        apart = np.zeros(len(bars), dtype=np.bool_)
        for column, mine, next_ones in zip(state, references, following, strict=True):
            reference = np.where(is_own, mine[bars], next_ones[bars])
            apart |= (column != reference) & ~(np.isnan(column) & np.isnan(reference))
        if not apart.all():
            bars, blocks = bars[apart], blocks[apart]
            state = tuple(column[apart] for column in state)
        if len(bars) == 0:
            break
    return bars, state
