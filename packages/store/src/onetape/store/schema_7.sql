-- Version 7: what accounts at exchanges were last found to have, with all positions complete.

-- Amounts by currency, as decimal text, in readings of an account in which no coins of a position were missing
-- and no executed order was of unknown origin; `read_ms` is the exchange's time of the reading, epoch milliseconds.
CREATE TABLE compared_balances (
    exchange TEXT NOT NULL,
    exchange_account TEXT NOT NULL,
    currency TEXT NOT NULL,
    total TEXT NOT NULL,
    read_ms INTEGER NOT NULL,
    PRIMARY KEY (exchange, exchange_account, currency)
) STRICT, WITHOUT ROWID;
