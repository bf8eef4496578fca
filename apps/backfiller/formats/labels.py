"""Label columns: columns that name the market, timeframe or exchange of each row of a table.

An imported table is of one series. Its labels show if it is not, or if it is of another market.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from backfiller.formats.column_roles import simplify_column_name
from backfiller.formats.file_names import has_quote_suffix, is_contract_name
from backfiller.formats.row_blocks import RowBlock, TableNotes
from backfiller.formats.table_kinds import make_futures_response_error
from onetape.core.errors import DataError
from onetape.core.message_text import format_count
from onetape.core.printable import escape_unprintable

#: Kind of a label column by its simplified name.
_LABELS: Final = {
    "symbol": "market", "pair": "market", "market": "market", "ticker": "market",
    "instrument": "market", "instrumentname": "market", "instid": "market",
    "productid": "market", "tradingpair": "market", "currencypair": "market",
    "interval": "timeframe", "timeframe": "timeframe", "tf": "timeframe", "period": "timeframe",
    "per": "timeframe", "granularity": "timeframe", "resolution": "timeframe",
    "exchange": "exchange", "exchangeid": "exchange", "venue": "exchange",
}  # fmt: skip
#: A symbol of CCXT for a contract, such as BTC/USDT:USDT.
_CONTRACT: Final = re.compile(r"[^/:]+/[^/:]+:.+")
#: A second code of a coin that some exchanges use.
_OTHER_CODES: Final = {"BTC": "XBT", "DOGE": "XDG"}
#: Maximum number of values that the error for several values prints.
_PRINTED: Final = 3


def find_label_columns(header: Sequence[str]) -> dict[str, int]:
    """Return the positions of the label columns, by column name."""
    return {
        name: index for index, name in enumerate(header) if simplify_column_name(name) in _LABELS
    }


def collect_label_values(columns: Mapping[str, Iterable[object]]) -> dict[str, frozenset[str]]:
    """Return the distinct values of label columns, by column name, without empty cells.

    Args:
        columns: The values of each column, by column name.
    """
    return {
        name: frozenset(str(value).strip() for value in values if value is not None) - {"", "nan"}
        for name, values in columns.items()
    }


def list_pair_spellings(symbols: Iterable[str]) -> frozenset[str]:
    """Return spellings of a market without a separator, such as BTCUSD and USDBTC.

    Args:
        symbols: Symbols of the market, such as `BTC/USD` and `XBT/USD`.
    """
    names: set[str] = set()
    for symbol in symbols:
        base, _, quote = symbol.partition("/")
        for code in (base, _OTHER_CODES.get(base, base)):
            names |= {_simplify_pair_name(code + quote), _simplify_pair_name(quote + code)}
    return frozenset(names)


def _simplify_pair_name(text: str) -> str:
    return re.sub(r"[\W_]", "", text).upper()


class LabelCheck(Struct):
    """Refuses a table whose labels are of several series or of another market than the import's.

    `add_block` is called with each block of the table, then `finish` once.
    """

    source: str
    symbol: str
    """Symbol under which the table is imported."""
    pairs: frozenset[str]
    """Spellings of the market in the rows, as `list_pair_spellings` returns them."""
    is_symbol_flag: bool
    """Whether a flag gives the market, so that it counts even if rows name another one."""
    is_spot: bool
    """Whether a flag states that these are candles of a spot market."""
    found: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Distinct values of each label column in the blocks so far."""

    def add_block(self, block: RowBlock) -> None:
        """Add the labels of one block of rows to `found`.

        Raises:
            DataError: the rows so far are of several series.
        """
        for name, values in block.labels.items():
            known = self.found[name] = self.found.get(name, frozenset()) | values
            if len(known) > 1:
                raise self._make_several_values_error(name, known)

    def finish(self, notes: TableNotes) -> None:
        """Compare the market that the labels name with the market of the import.

        Args:
            notes: Its labels are compared too; receives a note if a flag overrides the labels.

        Raises:
            DataError: a label names a contract, or another market and no --symbol is given.
        """
        for name, values in (self.found | notes.labels).items():
            if _LABELS.get(simplify_column_name(name), "market") != "market":
                continue
            for value in values:
                self._compare(escape_unprintable(name)[:40], value, notes)

    def _compare(self, name: str, value: str, notes: TableNotes) -> None:
        """Compare one value of the market column `name` with the market of the import."""
        shown = escape_unprintable(value)[:40]
        if not self.is_spot and (_CONTRACT.fullmatch(value) or is_contract_name(value)):
            raise make_futures_response_error(self.source, f"{name} {shown}")
        pair = _simplify_pair_name(value.rpartition(":")[2].removeprefix("t"))
        if pair in self.pairs or not has_quote_suffix(pair):
            return
        if not self.is_symbol_flag:
            raise DataError(
                f"{self.source} is of {self.symbol} by its name, and its field {name!r} is "
                f"{shown}; name the right one with --symbol"
            )
        notes.add(f"its field {name!r} is {shown}; --symbol {self.symbol} is used")

    def _make_several_values_error(self, name: str, values: frozenset[str]) -> DataError:
        kind = _LABELS[simplify_column_name(name)]
        shown = ", ".join(escape_unprintable(value)[:40] for value in sorted(values)[:_PRINTED])
        return DataError(
            f"{self.source}: its column {escape_unprintable(name)[:40]!r} has rows "
            f"of {format_count(len(values), kind)} ({shown}), and a table is of one; "
            "write each to a separate file"
        )
