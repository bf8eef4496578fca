-- Version 1. Only ohlcv_data.timestamp is in seconds; every other time is in milliseconds (_ms).
-- Booked prices, amounts and fees are TEXT decimals; trades_view gives them as REAL.

-- What kind of candles this file holds. The first candle decides, and a file never holds both kinds.
CREATE TABLE store_kind (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    simulated INTEGER NOT NULL CHECK (simulated IN (0, 1))
) STRICT;

CREATE TABLE ohlcv_data (
    exchange TEXT NOT NULL CHECK (exchange <> ''),
    symbol TEXT NOT NULL CHECK (symbol <> ''),
    timeframe TEXT NOT NULL CHECK (timeframe <> ''),
    timestamp INTEGER NOT NULL CHECK (timestamp BETWEEN 0 AND 32503680000),
    open REAL NOT NULL CHECK (open > 0 AND open < 1e15),
    high REAL NOT NULL CHECK (high >= open AND high >= close AND high < 1e15),
    low REAL NOT NULL CHECK (low > 0 AND low <= open AND low <= close),
    close REAL NOT NULL CHECK (close > 0 AND close < 1e15),
    volume REAL NOT NULL CHECK (volume >= 0 AND volume < 1e18),
    closed INTEGER CHECK (closed IN (0, 1)),
    source TEXT CHECK (source IN ('rest', 'ws', 'import')),
    UNIQUE (exchange, symbol, timeframe, timestamp),
    PRIMARY KEY (exchange, symbol, timeframe, timestamp)
) STRICT, WITHOUT ROWID;

CREATE TABLE revisions (
    id INTEGER PRIMARY KEY,
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL,
    source TEXT,
    old_open REAL NOT NULL, old_high REAL NOT NULL, old_low REAL NOT NULL,
    old_close REAL NOT NULL, old_volume REAL NOT NULL,
    new_open REAL NOT NULL, new_high REAL NOT NULL, new_low REAL NOT NULL,
    new_close REAL NOT NULL, new_volume REAL NOT NULL,
    accepted INTEGER NOT NULL DEFAULT 0 CHECK (accepted IN (0, 1))
) STRICT;
CREATE INDEX revisions_by_series ON revisions (exchange, symbol, timeframe, timestamp);

CREATE TRIGGER ohlcv_data_kinds_never_meet BEFORE INSERT ON ohlcv_data
WHEN EXISTS (SELECT 1 FROM store_kind WHERE simulated <> (NEW.exchange = 'simulator'))
BEGIN
    SELECT RAISE(ABORT, 'simulated and real candles may not share a file');
END;

-- After, not before: a row that OR IGNORE drops must decide nothing.
CREATE TRIGGER ohlcv_data_first_row_decides_kind AFTER INSERT ON ohlcv_data
WHEN NOT EXISTS (SELECT 1 FROM store_kind)
BEGIN
    INSERT INTO store_kind (only_row, simulated) VALUES (1, NEW.exchange = 'simulator');
END;

-- A closed candle is never overwritten: a different value is kept as a revision, the insert ignored.
CREATE TRIGGER ohlcv_data_closed_stays BEFORE INSERT ON ohlcv_data
WHEN EXISTS (
    SELECT 1 FROM ohlcv_data WHERE exchange = NEW.exchange AND symbol = NEW.symbol
    AND timeframe = NEW.timeframe AND timestamp = NEW.timestamp AND closed = 1
)
BEGIN
    INSERT INTO revisions (
        exchange, symbol, timeframe, timestamp, seen_ms, source,
        old_open, old_high, old_low, old_close, old_volume,
        new_open, new_high, new_low, new_close, new_volume
    )
    SELECT exchange, symbol, timeframe, timestamp,
        CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), NEW.source,
        open, high, low, close, volume,
        NEW.open, NEW.high, NEW.low, NEW.close, NEW.volume
    FROM ohlcv_data WHERE exchange = NEW.exchange AND symbol = NEW.symbol
    AND timeframe = NEW.timeframe AND timestamp = NEW.timestamp
    AND (open <> NEW.open OR high <> NEW.high OR low <> NEW.low OR close <> NEW.close
         OR volume <> NEW.volume)
    -- The same late value seen again is the same revision.
    AND NOT EXISTS (
        SELECT 1 FROM revisions r WHERE r.exchange = NEW.exchange AND r.symbol = NEW.symbol
        AND r.timeframe = NEW.timeframe AND r.timestamp = NEW.timestamp
        AND r.new_open = NEW.open AND r.new_high = NEW.high AND r.new_low = NEW.low
        AND r.new_close = NEW.close AND r.new_volume = NEW.volume AND r.accepted = 0
    );
    SELECT RAISE(IGNORE);
END;

CREATE TABLE ticker_data (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    bid REAL CHECK (bid > 0 AND bid < 1e15),
    ask REAL CHECK (ask > 0 AND ask < 1e15),
    last REAL CHECK (last > 0 AND last < 1e15),
    PRIMARY KEY (exchange, symbol, timestamp_ms)
) STRICT, WITHOUT ROWID;

-- Steps, minimums and fees as the exchange stated them when a program last loaded its markets.
CREATE TABLE markets (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    price_step TEXT,
    amount_step TEXT,
    min_amount TEXT NOT NULL,
    min_notional TEXT NOT NULL,
    seen_ms INTEGER NOT NULL,
    PRIMARY KEY (exchange, symbol)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    session TEXT PRIMARY KEY,
    app TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('paper', 'live')),
    account TEXT NOT NULL,
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    strategy TEXT NOT NULL,
    parameters TEXT NOT NULL CHECK (json_valid(parameters)),
    code_digest TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    end_reason TEXT
) STRICT, WITHOUT ROWID;

-- When a session had no market data: candles that closed in that time were read afterwards.
CREATE TABLE blind_intervals (
    session TEXT NOT NULL REFERENCES sessions (session),
    from_ms INTEGER NOT NULL,
    to_ms INTEGER,
    reason TEXT NOT NULL,
    PRIMARY KEY (session, from_ms)
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    token INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row for each closed candle a session decided on.
CREATE TABLE decisions (
    decision TEXT PRIMARY KEY,
    session TEXT NOT NULL REFERENCES sessions (session),
    timestamp INTEGER NOT NULL,
    signal INTEGER NOT NULL CHECK (signal IN (-1, 0, 1)),
    indicators TEXT NOT NULL CHECK (json_valid(indicators)),
    gates TEXT NOT NULL CHECK (json_valid(gates)),
    action TEXT NOT NULL CHECK (action IN ('BUY', 'SELL', 'HOLD')),
    decided_ms INTEGER NOT NULL,
    UNIQUE (session, timestamp)
) STRICT, WITHOUT ROWID;

-- Every order from intent to final state.
CREATE TABLE orders (
    client_order_id TEXT PRIMARY KEY,
    exchange_order_id TEXT,
    session TEXT NOT NULL REFERENCES sessions (session),
    mode TEXT NOT NULL CHECK (mode IN ('paper', 'live')),
    account TEXT NOT NULL,
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    type TEXT NOT NULL,
    amount TEXT,
    price TEXT,
    status TEXT NOT NULL
        CHECK (status IN ('intent', 'open', 'closed', 'canceled', 'rejected', 'expired', 'unknown')),
    decision TEXT REFERENCES decisions (decision),
    signal_timestamp INTEGER,
    decided_ms INTEGER NOT NULL,
    bid REAL,
    ask REAL,
    intended_price TEXT,
    sent_ms INTEGER,
    acknowledged_ms INTEGER,
    finished_ms INTEGER,
    reason TEXT NOT NULL,
    strategy TEXT NOT NULL,
    parameters TEXT NOT NULL CHECK (json_valid(parameters)),
    code_digest TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_by_account ON orders (account, symbol, decided_ms);

CREATE TABLE trades (
    id INTEGER PRIMARY KEY,
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    exchange_trade_id TEXT NOT NULL,
    client_order_id TEXT NOT NULL REFERENCES orders (client_order_id),
    session TEXT NOT NULL REFERENCES sessions (session),
    mode TEXT NOT NULL CHECK (mode IN ('paper', 'live')),
    account TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    price TEXT NOT NULL CHECK (CAST(price AS REAL) > 0 AND CAST(price AS REAL) < 1e15),
    amount TEXT NOT NULL CHECK (CAST(amount AS REAL) > 0 AND CAST(amount AS REAL) < 1e18),
    fee TEXT NOT NULL CHECK (abs(CAST(fee AS REAL)) < 1e15),
    fee_currency TEXT NOT NULL,
    executed_ms INTEGER NOT NULL,
    UNIQUE (exchange, symbol, mode, account, exchange_trade_id)
) STRICT;
CREATE INDEX trades_by_account ON trades (account, symbol, executed_ms);

CREATE VIEW trades_view AS
SELECT id, exchange, symbol, exchange_trade_id, client_order_id, session, mode, account, side,
    CAST(price AS REAL) AS price, CAST(amount AS REAL) AS amount, CAST(fee AS REAL) AS fee,
    fee_currency, executed_ms
FROM trades;

-- Ranges of candles that are missing, and why.
CREATE TABLE gaps (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    from_timestamp INTEGER NOT NULL,
    to_timestamp INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('none at exchange', 'not fetched', 'unknown')),
    first_seen_ms INTEGER NOT NULL,
    last_asked_ms INTEGER NOT NULL,
    PRIMARY KEY (exchange, symbol, timeframe, from_timestamp),
    CHECK (to_timestamp > from_timestamp)
) STRICT, WITHOUT ROWID;

-- Rows that were refused, with what the exchange sent.
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY,
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    seen_ms INTEGER NOT NULL,
    source TEXT NOT NULL,
    fault TEXT NOT NULL,
    payload TEXT NOT NULL
) STRICT;
