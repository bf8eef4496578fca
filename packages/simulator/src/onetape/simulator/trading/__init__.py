"""The exchange behind the market: one account, its orders, their matching, and a ledger of it all.

Nothing here does I/O or knows the time: every call says what time it is. Prices are whole ticks,
quantities whole steps, balances Decimals of eight digits; no float touches money.
"""
