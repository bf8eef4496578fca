"""Names of freqtrade's strategy interface, by what happens to a file that uses them.

Some are refused (with the text that describes the feature), some become settings, some have no
effect here.
"""

from typing import Final

_CODE_PER_ORDER: Final = "code per order or position"
_FREQAI: Final = "FreqAI"
#: Methods of freqtrade itself, which a strategy can override.
_INTERNAL: Final = (
    *("advise_all_indicators", "advise_entry", "advise_exit", "advise_indicators"),
    *("analyze", "analyze_pair", "analyze_ticker", "gather_informative_pairs"),
    *("ft_advise_signals", "ft_bot_cleanup", "ft_bot_start", "ft_check_timed_out"),
    *("ft_load_hyper_params", "ft_set_special_params_from_file", "load_params_from_file"),
    *("ft_stoploss_adjust", "ft_stoploss_reached", "stop_loss_reached"),
    *("get_entry_signal", "get_exit_signal", "get_latest_candle", "ignore_expired_candle"),
    *("min_roi_reached", "min_roi_reached_entry", "should_exit"),
    *("lock_pair", "unlock_pair", "unlock_reason", "is_pair_locked"),
)
#: Methods that freqtrade calls and that are refused, each with the feature it provides.
METHODS: Final = {
    **dict.fromkeys(_INTERNAL, "a method of freqtrade itself"),
    "adjust_entry_price": _CODE_PER_ORDER,
    "adjust_exit_price": _CODE_PER_ORDER,
    "adjust_order_price": _CODE_PER_ORDER,
    "adjust_trade_position": "additional entries and partial exits",
    "bot_loop_start": "code that does not read the candles",
    "bot_start": "code that does not read the candles",
    "check_buy_timeout": _CODE_PER_ORDER,
    "check_entry_timeout": _CODE_PER_ORDER,
    "check_exit_timeout": _CODE_PER_ORDER,
    "check_sell_timeout": _CODE_PER_ORDER,
    "confirm_trade_entry": _CODE_PER_ORDER,
    "confirm_trade_exit": _CODE_PER_ORDER,
    "custom_entry_price": _CODE_PER_ORDER,
    "custom_exit": _CODE_PER_ORDER,
    "custom_exit_price": _CODE_PER_ORDER,
    "custom_sell": _CODE_PER_ORDER,
    "custom_stake_amount": _CODE_PER_ORDER,
    "feature_engineering_expand_all": _FREQAI,
    "feature_engineering_expand_basic": _FREQAI,
    "feature_engineering_standard": _FREQAI,
    "leverage": "leverage",
    "order_filled": _CODE_PER_ORDER,
    "populate_any_indicators": _FREQAI,
    "populate_trades": "trades of others",
    "set_freqai_targets": _FREQAI,
}
#: Methods that freqtrade calls only where an attribute of the class is true.
SWITCHED: Final = {
    "use_custom_stoploss": ("custom_stoploss", "a stop that code moves per position"),
    "use_custom_roi": ("custom_roi", "a target that code moves per position"),
    "position_adjustment_enable": (
        "adjust_trade_position",
        "additional entries and partial exits",
    ),
    "can_short": ("can_short", "short positions"),
    "ignore_roi_if_entry_signal": (
        "ignore_roi_if_entry_signal",
        "targets that entry signals switch off",
    ),
    "ignore_roi_if_buy_signal": (
        "ignore_roi_if_buy_signal",
        "targets that entry signals switch off",
    ),
}
#: Attributes that become settings, or that the strategy's window depends on.
SETTINGS: Final = (
    *("timeframe", "ticker_interval", "stoploss", "minimal_roi", "protections"),
    *("trailing_stop", "trailing_stop_positive", "trailing_stop_positive_offset"),
    *("trailing_only_offset_is_reached", "exit_profit_only", "exit_profit_offset"),
    *("sell_profit_only", "sell_profit_offset", "max_open_trades", "startup_candle_count"),
)
#: Attributes of a strategy that hold the state of a running freqtrade.
RUNTIME_ATTRIBUTES: Final = {
    "wallets": "the balance of the account",
    "config": "freqtrade's configuration",
    "freqai": _FREQAI,
    "stake_currency": "freqtrade's configuration",
    "market_direction": "freqtrade's configuration",
    "lock_pair": "locks of pairs",
    "unlock_pair": "locks of pairs",
    "unlock_reason": "locks of pairs",
    "is_pair_locked": "locks of pairs",
}
#: Attributes, methods and inner classes that change nothing here.
WITHOUT_EFFECT: Final = frozenset(
    (
        *("order_types", "order_time_in_force", "unfilledtimeout"),
        *("ignore_buying_expired_candle_after", "process_only_new_candles"),
        *("stake_amount", "stake_currency", "max_entry_position_adjustment"),
        *("disable_dataframe_checks", "plot_config", "plot_annotations", "HyperOpt"),
    )
)
#: Every name whose value counts as the text of the class states it.
READ_NAMES: Final = frozenset((*SETTINGS, *METHODS, *SWITCHED)) | {
    method for method, _ in SWITCHED.values()
}
