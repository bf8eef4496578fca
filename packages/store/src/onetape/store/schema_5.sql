-- Version 5: the field's name for the time in which an exchange gets no request, drills, where the stops
-- of live positions are, and late symbols.

-- Until when no process on this file sends a request to an exchange, by the computer's time.
ALTER TABLE silences RENAME TO rate_limit_bans;

-- Configurations that were tried against the simulator (trader drill): the digest of the settings, when
-- the drill was over (epoch milliseconds), whether it passed, and what was seen (JSON).
CREATE TABLE drills (
    id INTEGER PRIMARY KEY,
    config_digest TEXT NOT NULL CHECK (config_digest <> ''),
    finished_ms INTEGER NOT NULL,
    is_passed INTEGER NOT NULL CHECK (is_passed IN (0, 1)),
    results TEXT NOT NULL CHECK (json_valid(results))
) STRICT;
CREATE INDEX drills_by_config ON drills (config_digest, id);

-- Where the stop of a live position is: at the exchange, watched by the running trader ('here'), or
-- nowhere. entry_order_id names the position. price is a TEXT decimal; unprotected_ms is how long the
-- position had no stop at the exchange, until updated_ms. Times are market time.
CREATE TABLE stop_states (
    entry_order_id TEXT PRIMARY KEY REFERENCES orders (client_order_id),
    place TEXT NOT NULL CHECK (place IN ('exchange', 'here', 'none')),
    price TEXT,
    reason TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    unprotected_ms INTEGER NOT NULL CHECK (unprotected_ms >= 0),
    updated_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Symbols that were late for the entries of their account at one open (epoch seconds): those entries waited so
-- long, wall clock, then went on without them. session is that of the late symbol; noted_ms is market time.
CREATE TABLE latecomers (
    session TEXT NOT NULL REFERENCES sessions (session),
    timestamp INTEGER NOT NULL,
    noted_ms INTEGER NOT NULL,
    waited_seconds REAL NOT NULL CHECK (waited_seconds >= 0),
    reason TEXT NOT NULL,
    PRIMARY KEY (session, timestamp)
) STRICT, WITHOUT ROWID;

-- Candles of an exchange's test network are no real ones: they have files of their own.
ALTER TABLE store_kind ADD COLUMN is_sandbox INTEGER NOT NULL DEFAULT 0
    CHECK (is_sandbox IN (0, 1));
