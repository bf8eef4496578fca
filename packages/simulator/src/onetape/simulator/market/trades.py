"""Invented trades of one bar, with the open, high, low, close and volume of the bar.

Four trades are at the open, high, low and close; all others are pairs (`minutes.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from onetape.simulator.market.bars import NO_BARS, Bars, compute_values, make_column
from onetape.simulator.market.minutes import Minutes
from onetape.simulator.market.outages import compute_minute_index
from onetape.simulator.market.prng import (
    BoolArray,
    HashArray,
    IntArray,
    extract_16_bits,
    hash_indices,
    make_key,
    rehash,
)
from onetape.simulator.market.symbols import SpotSymbol

#: Price in ticks, amount in steps, whether the taker buys; one row a trade.
_Columns = tuple[IntArray, IntArray, BoolArray]


@dataclass(frozen=True, slots=True)
class Trades:
    """Trades of one market, oldest first; all arrays have shape (n,)."""

    id: IntArray
    """Trade ids, rising by one from trade to trade."""
    time_ms: IntArray
    """Times of the trades, epoch milliseconds UTC; several trades may share one."""
    price: IntArray
    """Prices of the trades, in ticks."""
    amount: IntArray
    """Amounts of the trades, in steps."""
    buys: BoolArray
    """Whether the taker of each trade bought."""

    def __len__(self) -> int:
        """Return the number of trades."""
        return len(self.id)

    def __getitem__(self, rows: slice) -> "Trades":
        """Return the trades of a slice, as views of the same memory."""
        return Trades(
            self.id[rows], self.time_ms[rows], self.price[rows], self.amount[rows], self.buys[rows]
        )

    def iterate_rows(self) -> Iterator[tuple[int, int, int, int, bool]]:
        """Yield each trade's id, time, price, amount and whether the taker bought."""
        return zip(
            self.id.tolist(),
            self.time_ms.tolist(),
            self.price.tolist(),
            self.amount.tolist(),
            self.buys.tolist(),
            strict=True,
        )

    def select_until(self, now_ms: int) -> "Trades":
        """Return the trades up to and including a moment, epoch milliseconds."""
        return self[: int(np.searchsorted(self.time_ms, now_ms, side="right"))]

    def select_within(self, start_ms: int, end_ms: int) -> "Trades":
        """Return the trades of `[start_ms, end_ms)`, epoch milliseconds."""
        low, high = np.searchsorted(self.time_ms, (start_ms, end_ms))
        return self[int(low) : int(high)]

    def make_bar(self, timestamp: int) -> Bars:
        """Return the one candle of these trades, opened at `timestamp`; none without trades."""
        if not len(self):
            return NO_BARS
        value = compute_values(self.price, self.amount)
        cells = (
            timestamp,
            self.price[0],
            self.price.max(),
            self.price.min(),
            self.price[-1],
            self.amount.sum(),
            sum(value.tolist()),
            len(self),
            self.id[0],
            self.amount[self.buys].sum(),
            sum(value[self.buys].tolist()),
        )
        return Bars(*(make_column(int(cell)) for cell in cells))


_NONE: Final = np.empty(0, dtype=np.int64)
NO_TRADES: Final = Trades(_NONE, _NONE, _NONE, _NONE, _NONE.astype(np.bool_))


def make_minute_trades(seed: int, symbol: SpotSymbol, part: Minutes) -> Trades:
    """Return all trades of one minute of an invented market; empty without trades.

    The first trade comes at the very start of the minute, so a candle has a price from its open on.

    Args:
        seed: Seed of the market.
        symbol: Symbol of the market.
        part: Minute of the trades, one row (or none).
    """
    if not part.bars.volume.any():
        return NO_TRADES
    index = compute_minute_index(int(part.bars.timestamp[0]))
    return make_bar_trades(part, make_key(seed, symbol.id, "trades", index), 60)


def make_bar_trades(parts: Minutes, key: int, length_seconds: int) -> Trades:
    """Return all trades of one bar, the first at its very start; empty without trades.

    Args:
        parts: The bar and the amounts of its trades, one row (or none).
        key: Key of the random draws, from `prng.make_key`.
        length_seconds: Length of the bar.
    """
    bar = parts.bars
    if not bar.volume.any():
        return NO_TRADES
    count = int(bar.trades[0])
    noise = hash_indices(key, np.arange(count, dtype=np.int64))
    high_first = _is_high_first(bar, noise)
    pairs = _make_pairs(parts, noise, max(count // 2 - 2, 0))
    legs = _split_into_legs(bar, pairs, high_first)
    high = _make_special_trade(bar.high, parts.high_amount, buys=True)
    low = _make_special_trade(bar.low, parts.low_amount, buys=False)
    pieces = (
        _make_special_trade(bar.open, parts.first_amount, buys=bool(parts.first_buys[0])),
        legs[0],
        high if high_first else low,
        legs[1],
        low if high_first else high,
        legs[2],
        _make_special_trade(bar.close, parts.last_amount, buys=bool(parts.last_buys[0])),
    )
    length_ms = length_seconds * 1_000
    offsets = np.sort(rehash(noise) % np.uint64(length_ms)).astype(np.int64)
    offsets[0] = 0
    return Trades(
        np.arange(count, dtype=np.int64) + bar.first_id[0],
        offsets + bar.timestamp[0] * 1_000,
        np.concatenate([piece[0] for piece in pieces]),
        np.concatenate([piece[1] for piece in pieces]),
        np.concatenate([piece[2] for piece in pieces]),
    )


def _make_special_trade(price: IntArray, amount: IntArray, *, buys: bool) -> _Columns:
    traded = amount > 0
    return price[traded], amount[traded], np.array([buys])[traded]


def _is_high_first(bar: Bars, noise: HashArray) -> bool:
    """Return whether the high comes before the low, which is likely in a falling minute."""
    chance = int(extract_16_bits(noise[-1:], 3)[0])
    falling = bool(bar.close[0] < bar.open[0])
    return chance < (49_152 if falling else 16_384)


def _make_pairs(parts: Minutes, noise: HashArray, pairs: int) -> _Columns:
    """Return the pairs of trades: halves with one amount and mirrored prices."""
    low, high = parts.bars.low[0], parts.bars.high[0]
    pair_noise = noise[:pairs]
    price = low + (extract_16_bits(pair_noise, 0) * (high - low + 1) >> 16)
    buyers = pairs // 2
    amount = np.concatenate(
        (
            _share_out(int(parts.buy_lots[0]), extract_16_bits(pair_noise[:buyers], 1)),
            _share_out(int(parts.sell_lots[0]), extract_16_bits(pair_noise[buyers:], 1)),
        )
    )
    buys = np.arange(pairs) < buyers
    return (
        np.concatenate((price, low + high - price)),
        np.concatenate((amount, amount)),
        np.concatenate((buys, buys)),
    )


def _share_out(total: int, weights: IntArray) -> IntArray:
    """Return `total` in integer shares: 1 for each weight, and the rest in proportion to them."""
    if not len(weights):
        return weights
    running = np.cumsum(weights + 1)
    rest = total - len(weights)
    if int(running[-1]) * rest >= 2**63:
        # A day of many coins in steps of 1e-8 may not fit into 64 bits.
        exact = running.astype(object) * rest // int(running[-1])
        return np.diff(exact.astype(np.int64), prepend=0) + 1
    return np.diff(running * rest // running[-1], prepend=0) + 1


def _split_into_legs(bar: Bars, pairs: _Columns, high_first: bool) -> list[_Columns]:
    """Return the trades of the three legs: open to first extreme, to the other, and to close."""
    price, amount, buys = pairs
    high, low = bar.high[0], bar.low[0]
    begin, end = (high, low) if high_first else (low, high)
    coin = (amount + price) % 3
    lead = (coin == 0) & _make_within_mask(price, bar.open[0], begin)
    tail = (coin == 1) & _make_within_mask(price, end, bar.close[0])
    up = 1 if high_first else -1
    legs: list[_Columns] = []
    for chosen, direction in ((lead, up), (~lead & ~tail, -up), (tail, up)):
        order = np.argsort(price[chosen] * direction, kind="stable")
        legs.append((price[chosen][order], amount[chosen][order], buys[chosen][order]))
    return legs


def _make_within_mask(price: IntArray, one: np.int64, other: np.int64) -> BoolArray:
    return (price >= min(one, other)) & (price <= max(one, other))
