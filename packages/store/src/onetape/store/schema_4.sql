-- Version 4: the events of each order, exits that a position still owes, the states of a trader,
-- controls, candles that only the stream has closed, corrections of decisions, and leases that prove
-- whether their process lives.

-- What happened to each order, oldest first. A row is never changed: the row of the table orders is
-- what the events of that order add up to.
CREATE TABLE order_events (
    id INTEGER PRIMARY KEY,
    client_order_id TEXT NOT NULL REFERENCES orders (client_order_id),
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL CHECK (json_valid(payload)),
    source TEXT NOT NULL
) STRICT;
CREATE INDEX order_events_by_order ON order_events (client_order_id, id);
CREATE TRIGGER order_events_are_not_changed BEFORE UPDATE ON order_events
BEGIN
    SELECT RAISE(ABORT, 'order events are never changed');
END;
CREATE TRIGGER order_events_are_not_deleted BEFORE DELETE ON order_events
BEGIN
    SELECT RAISE(ABORT, 'order events are never deleted');
END;

-- Exits of a position that were decided and are not filled yet. entry_order_id names the position: it
-- is the client order id of the order that opened it. An obligation ends when the exit is filled or
-- the position is closed in another way.
CREATE TABLE exit_obligations (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    entry_order_id TEXT NOT NULL,
    cause TEXT NOT NULL,
    signal_timestamp INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    ended_ms INTEGER,
    end_reason TEXT
) STRICT;
CREATE UNIQUE INDEX exit_obligations_open ON exit_obligations (account, exchange, symbol, entry_order_id)
WHERE ended_ms IS NULL;

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

-- Commands to traders, oldest first; what holds now is what the rows of a scope add up to.
CREATE TABLE controls (
    id INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    verb TEXT NOT NULL CHECK (verb IN ('pause', 'resume', 'exit', 'flatten', 'halt')),
    at_ms INTEGER NOT NULL,
    given_by TEXT NOT NULL
) STRICT;

-- Candles that the stream closed and that were not compared with REST yet. closed_by says what proved
-- the end of the candle.
CREATE TABLE stream_closes (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    closed_by TEXT NOT NULL,
    closed_ms INTEGER NOT NULL,
    PRIMARY KEY (exchange, symbol, timeframe, timestamp)
) STRICT, WITHOUT ROWID;

-- When a candle that a decision rested on was corrected later, and what the correction changed.
ALTER TABLE decisions ADD COLUMN corrected_ms INTEGER;
ALTER TABLE decisions ADD COLUMN correction TEXT;

-- Which process holds a lease: enough to prove on the same computer that the process has ended.
-- renewed_ms is when the lease was renewed last, by the computer's time.
ALTER TABLE leases ADD COLUMN renewed_ms INTEGER;
ALTER TABLE leases ADD COLUMN boot_id TEXT;
ALTER TABLE leases ADD COLUMN pid_namespace TEXT;
ALTER TABLE leases ADD COLUMN pid INTEGER;
ALTER TABLE leases ADD COLUMN process_started TEXT;
