-- Version 4: the events of each order, exits that are decided and not filled, the states of a trader,
-- controls, candles that only the stream has closed, corrections of decisions, and leases that prove
-- whether their process lives.

-- What happened to each order, oldest first. A row is never changed: the row of the table orders is
-- what the events of that order add up to.
CREATE TABLE order_events (
    client_order_id TEXT NOT NULL REFERENCES orders (client_order_id),
    number INTEGER NOT NULL CHECK (number > 0),
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL CHECK (json_valid(payload)),
    source TEXT NOT NULL,
    PRIMARY KEY (client_order_id, number)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER order_events_are_not_changed BEFORE UPDATE ON order_events
BEGIN
    SELECT RAISE(ABORT, 'order events are never changed');
END;
CREATE TRIGGER order_events_are_not_deleted BEFORE DELETE ON order_events
BEGIN
    SELECT RAISE(ABORT, 'order events are never deleted');
END;

-- Exits of a position that were decided and are not filled yet. entry_order_id names the position: it
-- is the client order id of the order that opened it. cause is the type of the exit order; level is the
-- price of the stop or target, a TEXT decimal. An obligation ends when its exit is filled, when
-- the market refuses it, or when the position is closed in another way.
CREATE TABLE exit_obligations (
    obligation TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('paper', 'live')),
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    entry_order_id TEXT NOT NULL REFERENCES orders (client_order_id),
    cause TEXT NOT NULL CHECK (cause IN
        ('market', 'time_stop', 'stop_loss', 'trailing_stop', 'target', 'command')),
    signal_timestamp INTEGER NOT NULL,
    level TEXT,
    created_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    ended_ms INTEGER,
    end_reason TEXT,
    CHECK ((ended_ms IS NULL) = (end_reason IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX exit_obligations_open
ON exit_obligations (account, mode, exchange, symbol, entry_order_id) WHERE ended_ms IS NULL;

-- Orders of live trading may also be sent without a response yet, and proven absent. Adding words to a
-- CHECK changes no stored row (as in version 2).
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(sql, '''expired'', ''unknown'')', '''expired'', ''unknown'', ''sent'', ''absent'')')
WHERE type = 'table' AND name = 'orders';
PRAGMA writable_schema = RESET;

-- Which position an order closes (the client order id of the order that opened it), which obligation it
-- fulfils, and the candle that filled it (its open, epoch seconds).
ALTER TABLE orders ADD COLUMN entry_order_id TEXT REFERENCES orders (client_order_id);
ALTER TABLE orders ADD COLUMN obligation TEXT REFERENCES exit_obligations (obligation);
ALTER TABLE orders ADD COLUMN filled_timestamp INTEGER;
-- What the exchange has filled, and the sum of the stored fills: TEXT decimals, base currency.
ALTER TABLE orders ADD COLUMN filled TEXT NOT NULL DEFAULT '0';
ALTER TABLE orders ADD COLUMN booked TEXT NOT NULL DEFAULT '0';
ALTER TABLE orders ADD COLUMN is_cancel_requested INTEGER NOT NULL DEFAULT 0
    CHECK (is_cancel_requested IN (0, 1));
CREATE INDEX orders_by_entry ON orders (entry_order_id);

-- What the market let one sell at least when a sell was filled, a TEXT decimal, base currency: less than
-- that is no position. NULL: an earlier version wrote the row.
ALTER TABLE trades ADD COLUMN least_amount TEXT;

-- Earlier versions wrote the entry of a stop or target into its client order id. Of other sells it is
-- the last buy before.
UPDATE orders SET entry_order_id = (
    SELECT o.client_order_id FROM orders o WHERE o.client_order_id
        = substr(orders.client_order_id, 1, instr(orders.client_order_id, '-exit-') - 1)
)
WHERE side = 'sell' AND instr(client_order_id, '-exit-') > 1;
UPDATE orders SET entry_order_id = (
    SELECT t.client_order_id FROM trades t
    WHERE t.account = orders.account AND t.mode = orders.mode AND t.exchange = orders.exchange
    AND t.symbol = orders.symbol AND t.side = 'buy' AND t.executed_ms <= orders.decided_ms
    ORDER BY t.executed_ms DESC, t.id DESC LIMIT 1
)
WHERE side = 'sell' AND entry_order_id IS NULL;
-- A sell that is not over is an exit that is still due: if its order is lost, another order is sent.
INSERT OR IGNORE INTO exit_obligations (obligation, account, mode, exchange, symbol, entry_order_id,
    cause, signal_timestamp, level, created_ms, reason)
SELECT 'migrated-' || client_order_id, account, mode, exchange, symbol, entry_order_id, type,
    signal_timestamp, iif(type = 'market', NULL, intended_price), decided_ms, reason
FROM orders
WHERE side = 'sell' AND status IN ('intent', 'open', 'unknown') AND entry_order_id IS NOT NULL
    AND type IN ('market', 'time_stop', 'stop_loss', 'trailing_stop', 'target')
ORDER BY decided_ms DESC;
UPDATE orders SET obligation = 'migrated-' || client_order_id
WHERE EXISTS (
    SELECT 1 FROM exit_obligations e WHERE e.obligation = 'migrated-' || orders.client_order_id
);
-- A stop or target filled in the candle that reached it, all other orders in the first one with a trade
-- after the candle of their signal.
UPDATE orders SET filled_timestamp = iif(type <> 'market', signal_timestamp, (
    SELECT timestamp FROM ohlcv_data c
    WHERE c.exchange = orders.exchange AND c.symbol = orders.symbol
    AND c.timeframe = orders.timeframe AND c.timestamp > orders.signal_timestamp
    AND NOT (c.volume = 0 AND c.high = c.low AND EXISTS (
        SELECT 1 FROM ohlcv_data v WHERE v.exchange = c.exchange AND v.symbol = c.symbol
        AND v.timeframe = c.timeframe AND v.volume > 0
    ))
    ORDER BY timestamp LIMIT 1
))
WHERE status = 'closed';
-- Earlier versions filled an order whole, with one trade.
UPDATE orders SET (filled, booked) = (t.amount, t.amount) FROM trades t
WHERE t.client_order_id = orders.client_order_id;
INSERT INTO order_events
SELECT client_order_id, 1, decided_ms, 'intended', '{"type":"intended"}', 'migration' FROM orders;
INSERT INTO order_events
SELECT client_order_id, 2, executed_ms, 'fill', json_object('type', 'fill',
    'trade_id', exchange_trade_id, 'price', price, 'amount', amount, 'fee', fee,
    'fee_currency', fee_currency), 'migration'
FROM trades;
INSERT INTO order_events
SELECT client_order_id, 3, ifnull(finished_ms, decided_ms), 'status',
    json_object('type', 'status', 'status', status, 'filled', filled), 'migration'
FROM orders WHERE status NOT IN ('intent', 'unknown');

-- Each change of a trader's state, with its reason and what a person should do.
CREATE TABLE trader_states (
    id INTEGER PRIMARY KEY,
    session TEXT NOT NULL REFERENCES sessions (session),
    at_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('trading', 'degraded', 'halted')),
    reason TEXT NOT NULL,
    remedy TEXT NOT NULL
) STRICT;
CREATE INDEX trader_states_by_session ON trader_states (session, id);

-- Commands of a person to the trader of an account, oldest first; what holds now is what the rows of an
-- account add up to. symbol is the one that an exit is for; NULL: every symbol of the account. at_ms is
-- the computer's time. done_ms is the market time at which the trader closed the positions, or found
-- none, for `exit` and `flatten`, or read its settings again, for `reload`.
CREATE TABLE controls (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    verb TEXT NOT NULL CHECK (verb IN ('pause', 'resume', 'exit', 'halt', 'flatten', 'reload')),
    symbol TEXT,
    applies_to_open INTEGER NOT NULL DEFAULT 0 CHECK (applies_to_open IN (0, 1)),
    at_ms INTEGER NOT NULL,
    given_by TEXT NOT NULL,
    done_ms INTEGER
) STRICT;
CREATE INDEX controls_by_account ON controls (account, id);

-- Candles that have the value of the stream's closing mark and were not compared with REST yet.
-- closed_ms is the market time of the mark.
CREATE TABLE stream_closes (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    closed_ms INTEGER NOT NULL,
    PRIMARY KEY (exchange, symbol, timeframe, timestamp)
) STRICT, WITHOUT ROWID;

-- When a candle that a decision rested on was corrected later, or when the strategy returned no signal
-- for it, and what the signal of a second evaluation changes; NULL with a time: the decision is to be
-- evaluated again.
ALTER TABLE decisions ADD COLUMN corrected_ms INTEGER;
ALTER TABLE decisions ADD COLUMN correction TEXT;
CREATE INDEX decisions_to_evaluate_again ON decisions (session)
WHERE corrected_ms IS NOT NULL AND correction IS NULL;

-- When a lease was renewed last, by the computer's time: a lease from a clock that was ahead does
-- not count. kernel_lock names the lock of the kernel that the holder keeps as long as its process
-- lives; a process that gets the lock has proof that the holder has ended.
ALTER TABLE leases ADD COLUMN renewed_ms INTEGER;
ALTER TABLE leases ADD COLUMN kernel_lock TEXT;

-- When a session had no market data: candles that closed in that time were read afterwards.
ALTER TABLE blind_intervals RENAME TO data_outages;

-- Live orders: what was ordered, the price of a stop that rests on the exchange (TEXT decimals), and whether the
-- order is that stop: it protects a position and is no exit that was decided.
ALTER TABLE orders ADD COLUMN ordered_amount TEXT;
ALTER TABLE orders ADD COLUMN stop_price TEXT;
ALTER TABLE orders ADD COLUMN is_protection INTEGER NOT NULL DEFAULT 0
    CHECK (is_protection IN (0, 1));

-- The first eight characters of the client order ids of this file, so that an order of a backup that
-- was restored is known to be ours.
CREATE TABLE installation (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    tag TEXT NOT NULL CHECK (length(tag) = 8)
) STRICT;

-- Accounts with real orders: the exchange's own id of the account, and what it held when the first
-- session began (JSON, currency to TEXT decimal). confirmed_ms: a person has confirmed the first entry.
CREATE TABLE live_accounts (
    account TEXT PRIMARY KEY,
    exchange TEXT NOT NULL,
    exchange_account TEXT NOT NULL,
    baseline TEXT NOT NULL CHECK (json_valid(baseline)),
    opened_ms INTEGER NOT NULL,
    confirmed_ms INTEGER
) STRICT, WITHOUT ROWID;

-- Differences between this file and the account at the exchange that a person has to judge. subject
-- is the currency, or the id of the order or trade; answer is adopt, forget or keep, once given.
CREATE TABLE account_differences (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    document TEXT NOT NULL CHECK (json_valid(document)),
    seen_ms INTEGER NOT NULL,
    answer TEXT CHECK (answer IN ('adopt', 'forget', 'keep')),
    answered_ms INTEGER,
    ended_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX account_differences_open
ON account_differences (account, kind, subject) WHERE ended_ms IS NULL;

-- Money of an account that an open order to buy may spend: no other order may.
CREATE TABLE reservations (
    client_order_id TEXT PRIMARY KEY REFERENCES orders (client_order_id),
    account TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('paper', 'live')),
    amount TEXT NOT NULL CHECK (CAST(amount AS REAL) > 0 AND CAST(amount AS REAL) <= 1e15),
    reserved_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX reservations_by_account ON reservations (account, mode);

-- What the losses of an account are measured from, and the limits that it has passed
-- (onetape.execution.risk_state, JSON). cleared_by: who cleared the last ones.
CREATE TABLE risk_states (
    account TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (json_valid(state)),
    updated_ms INTEGER NOT NULL,
    cleared_ms INTEGER,
    cleared_by TEXT,
    CHECK ((cleared_ms IS NULL) = (cleared_by IS NULL))
) STRICT, WITHOUT ROWID;
