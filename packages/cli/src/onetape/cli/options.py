"""Flags that several programs take, worded once."""

from pathlib import Path
from typing import Annotated

import typer

Symbol = Annotated[
    str | None, typer.Option("--symbol", "-p", metavar="BASE/QUOTE", help="Spot symbol.")
]
Exchange = Annotated[
    str | None,
    typer.Option(metavar="ID", help="CCXT exchange id, or simulator for the offline one."),
]
Symbols = Annotated[
    list[str] | None,
    typer.Option("--symbol", "-p", metavar="BASE/QUOTE", help="Spot symbol; repeat for several."),
]
Exchanges = Annotated[
    list[str] | None,
    typer.Option(
        "--exchange",
        metavar="ID",
        help="CCXT exchange id, or simulator for the offline one; repeat for several.",
    ),
]
Timeframes = Annotated[
    list[str] | None,
    typer.Option(
        "--timeframe", "-t", metavar="NAME", help="Such as 1m, 1h or 1d; repeat for several."
    ),
]
OneTimeframe = Annotated[
    str | None,
    typer.Option("--timeframe", "-t", "-i", metavar="NAME", help="Such as 1m, 1h or 1d."),
]
Timerange = Annotated[
    str | None,
    typer.Option(metavar="START-END", help="As in freqtrade: 20240101-20240201."),
]
StrategyName = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        "-s",
        metavar="NAME",
        help="rsi, macd, sma_cross ..., your own by name, or FILE.py:Class.",
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="A strategy parameter; repeat for several."),
]
Cash = Annotated[float | None, typer.Option(metavar="AMOUNT", help="Start, in quote currency.")]
Fee = Annotated[float | None, typer.Option(metavar="RATIO", help="Per trade; 0.001 is 0.1 %.")]
MakerFee = Annotated[
    float | None,
    typer.Option(metavar="RATIO", help="The same for targets.  [default: as --fee]"),
]
FeeCoin = Annotated[
    str | None,
    typer.Option(metavar="KIND", help="What a buy's fee is paid in: quote, or received."),
]
Slippage = Annotated[
    float | None,
    typer.Option(metavar="BPS", help="How much worse an order fills; 5 is 0.05 % of the price."),
]
SpreadBps = Annotated[
    float | None,
    typer.Option(metavar="BPS", help="Between bid and ask; an order pays half of it."),
]
VolumeImpact = Annotated[
    float | None,
    typer.Option(
        metavar="RATIO", help="Lost by an order as large as the last candle's volume; else a share."
    ),
]
Sizing = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="What an entry spends: all_in, or quote_amount=500, base_amount=1, equity_share=0.5, "
        "risk_per_trade=0.01, volatility_target=0.2.",
    ),
]
StopLoss = Annotated[
    float | None,
    typer.Option(metavar="RATIO", help="Sell this far under the entry; 0.05 is 5 %."),
]
TakeProfit = Annotated[
    float | None,
    typer.Option(metavar="RATIO", help="Sell this far over the entry; 0.05 is 5 %."),
]
Target = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CANDLES=RATIO",
        help="Take profit that falls: 0=0.02,24=0.005 is 2 %, and 0.5 % from candle 24 on.",
    ),
]
TrailingStop = Annotated[
    float | None,
    typer.Option(metavar="RATIO", help="Sell this far under the highest price since the entry."),
]
TimeStop = Annotated[
    int | None, typer.Option(metavar="CANDLES", help="Sell this many candles after the entry.")
]
CoolDown = Annotated[
    int | None,
    typer.Option(metavar="CANDLES", help="Enter nothing for so many candles after an exit."),
]
Reentry = Annotated[
    str | None,
    typer.Option(
        metavar="RULE",
        help="After an exit: new_signal lets each run of BUYs enter once, while_signal any BUY.",
    ),
]
Database = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Database file.  [default: data/onetape.db]"),
]
SimulatorUrl = Annotated[str | None, typer.Option(metavar="URL", help="Where a simulator listens.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
