"""The digest of a configuration depends exactly on the settings that a drill tests."""

from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from onetape.cli.common_settings import StrategySettings
from onetape.engine import AccountConfig, ExitConfig
from onetape.execution.risk_limits import RiskLimits
from trader.config_digest import compute_config_digest
from trader.settings import SymbolSettings, TraderSettings

PLAIN = TraderSettings()
GUARD = "trade_limit=2,lookback_period_candles=9,stop_duration_candles=4"


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAIN, mode="live", exchange="simulator", db=Path("x.db")),
        replace(PLAIN, account_name="mine", cash=Decimal(7), risk=RiskLimits(max_order=Decimal(9))),
        replace(PLAIN, symbols=[SymbolSettings(symbol=PLAIN.symbol)]),
        replace(PLAIN, account=AccountConfig(trading_hours="08:00-22:00", trading_days="mon")),
        replace(PLAIN, account=AccountConfig(stoploss_guard=GUARD)),
        replace(PLAIN, account=AccountConfig(fee_tier="vip0")),
    ],
)
def test_the_digest_ignores_exchange_account_balance_trading_hours_and_guards(
    other: TraderSettings,
) -> None:
    assert compute_config_digest(other) == compute_config_digest(PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAIN, symbol="ETH/USDT"),
        replace(PLAIN, timeframe="5m"),
        replace(PLAIN, strategy=StrategySettings(name="rsi", parameters={"period": "13"})),
        replace(PLAIN, account=AccountConfig(exits=ExitConfig(stop_loss=0.05))),
        replace(PLAIN, account=AccountConfig(sizing="equity_share", equity_share=0.5)),
        replace(PLAIN, max_open_trades=3),
    ],
)
def test_the_digest_depends_on_symbol_timeframe_strategy_exits_and_sizing(
    other: TraderSettings,
) -> None:
    assert compute_config_digest(other) != compute_config_digest(PLAIN)


@pytest.mark.parametrize("name", ["mine", "user/strategies/mine.py:Mine"])
def test_the_digest_depends_on_the_strategy_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "user" / "strategies" / "mine.py"
    file.parent.mkdir(parents=True)
    settings = replace(PLAIN, strategy=StrategySettings(name=name))
    digests: set[str] = set()
    for text in ("one", "two"):
        file.write_text(text, encoding="utf-8")
        digests.add(compute_config_digest(settings))
    file.unlink()
    digests.add(compute_config_digest(settings))
    assert len(digests) == 3
