"""The decimals that a run's prices, amounts and money are shown with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import asdict

from onetape.core.digits import Digits, money_decimals, shown_decimals
from onetape.core.symbols import base_and_quote

if TYPE_CHECKING:
    from backtester.run import Backtest


def digits_by_symbol(backtest: "Backtest") -> dict[str, dict[str, int]]:
    """Return the decimals of each symbol, for the run's document."""
    return {part.tape.key.symbol: asdict(part.digits) for part in (backtest, *backtest.others)}


def digits_in(document: Mapping[str, Any], symbol: str) -> Digits:
    """Return the decimals of one symbol of a run's document.

    Manifests of older versions have none: then the prices of the trades show them.
    """
    known = document.get("digits", {}).get(symbol)
    if known is not None:
        return Digits(**known)
    own = [trade for trade in document["trades"] if (trade["symbol"] or symbol) == symbol]
    prices = [trade[name] for trade in own for name in ("entry_price", "exit_price") if trade[name]]
    quote = base_and_quote(symbol)[1]
    return Digits(
        price=shown_decimals(np.array(prices, dtype=np.float64)) if prices else 0,
        money=money_decimals(quote, document["metrics"]["start_cash"]),
    )
