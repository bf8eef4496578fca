"""The text of the trader's commands fits the terminal, and looks as documented."""

from collections.abc import Callable

import pytest

from onetape.cli import output, tables
from traded_accounts import DATABASE, CommandResult, TradedAccount

Run = Callable[..., CommandResult]


@pytest.fixture
def busy(account: TradedAccount) -> TradedAccount:
    """Return an account with a past, a position, a problem and long texts."""
    account.candles((57_000, 58_000, 56_000, 57_500), (57_500, 59_000, 57_000, 58_250.5))
    account.fill("buy", "0.01735", "57576.54", 0, fee="0.99895297")
    account.fill("sell", "0.01735", "60252.18", 0.5, fee="0.01", fee_currency="BNB")
    account.fill("buy", "0.01735", "57500", 1, fee="0.00001735", fee_currency="BTC")
    account.order("sell", 2, reason="stop loss at 54,625 in the candle of 2024-03-01 01:00")
    account.add_pending_exit(2, "54625")
    account.state(
        "degraded",
        "data/onetape.db stayed locked by another process; no entries meanwhile",
        "end the process that keeps the file locked, if this lasts",
        hours=2,
    )
    return account


@pytest.mark.parametrize("width", [60, 160])
@pytest.mark.parametrize(
    "command", ["status", "trades", "profit", "accounts", "logs --since 2024-03-01"]
)
def test_no_line_is_wider_than_the_terminal(
    trader: Run, busy: TradedAccount, monkeypatch: pytest.MonkeyPatch, command: str, width: int
) -> None:
    del busy
    for module in (output, tables):
        monkeypatch.setattr(module, "get_terminal_width", lambda: width)
    with TradedAccount(DATABASE.resolve(), "paper binance ETH/BTC 1h", symbol="ETH/BTC") as other:
        other.fill("buy", "1", "0.05", 0)
        lines = trader(*command.split()).out.splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) > 3


def test_status_is_printed_as_documented(trader: Run, busy: TradedAccount) -> None:
    del busy
    lines = trader("status").out.splitlines()
    head, _, duration = lines[0].partition(" (")
    assert head == "test: degraded since 2024-03-01 02:00"
    assert duration.endswith("days)")
    shown = {line[2:17].strip(): line[17:] for line in lines[1:-2]}
    assert shown["reason"].startswith("data/onetape.db stayed locked by another process")
    assert shown["what to do"] == "end the process that keeps the file locked, if this lasts"
    assert shown["market"] == "binance BTC/USDT 1h, paper"
    assert shown["strategy"] == "rsi (period 14)"
    assert shown["process"].startswith("process 12 on host, lease renewed ")
    assert shown["last candle"].startswith("closed 2024-03-01 02:00, ")
    assert shown["last decision"] == "none in this session"
    assert shown["position"] == (
        "0.01733265 BTC, bought at 57,500.0 USDT on 2024-03-01 01:00; price now 58,250.5 (+1.31%)"
    )
    assert shown["protection"] == "stop loss 54,625.0, target 63,250.0"
    assert shown["pending exit"] == "stop loss at 54625, decided 2024-03-01 02:00"
    assert shown["profit"] == (
        "realised +45.42 USDT in 1 round trip; unrealised +12.01 USDT; "
        "fees 0.01 BNB, 0.00001735 BTC, 0.99895297 USDT; equity 1,057.43 USDT (+5.74%)"
    )
    assert lines[-1] == "database: data/onetape.db; 1 trader: 1 degraded; times are UTC"


def test_tables_are_printed_as_documented(trader: Run, busy: TradedAccount) -> None:
    del busy
    assert trader("trades").out.splitlines() == [
        "date              symbol    side      amount     price              fee  order",
        "2024-03-01 00:00  BTC/USDT  buy   0.01735000  57,576.5  0.99895297 USDT  test-1",
        "2024-03-01 00:30  BTC/USDT  sell  0.01735000  60,252.2         0.01 BNB  test-2",
        "2024-03-01 01:00  BTC/USDT  buy   0.01735000  57,500.0   0.00001735 BTC  test-3",
        "database: data/onetape.db; 3 fills; times are UTC",
    ]
    assert trader("profit").out.splitlines() == [
        "day         round trips  won  profit, USDT                  fees paid",
        "2024-03-01            1    1        +45.42  0.01 BNB, 0.99895297 USDT",
        "total                 1    1        +45.42  0.01 BNB, 0.99895297 USDT",
        "open positions: unrealised +12.01 USDT, not part of the table",
        "",
        "database: data/onetape.db; 1 account; days of UTC",
    ]
    head, row, last = trader("accounts").out.splitlines()
    assert head.split("  ")[0] == "account"
    assert " ".join(row.split()) == (
        "test binance BTC/USDT rsi 2024-03-01 1,057.43 USDT +5.74% +1.20% 1 + open "
        "0.01 BNB, 0.00001735 BTC, 0.99895297 USDT"
    )
    assert last.startswith("database: data/onetape.db; 1 account by return; buy and hold: from")
