-- Version 2: the seed of a simulated file, disjoint gaps with new states, request bans, bounded quarantine,
-- the columnar cache, resampled candles.

-- Which of the simulator's markets a simulated file holds; NULL until a program stores it. TEXT,
-- because a seed may be any whole number.
ALTER TABLE store_kind ADD COLUMN seed TEXT;

-- Candles may also be built from a lower timeframe. Adding a word to a CHECK changes no stored row, so the
-- table is not copied: SQLite documents this way for it (ALTER TABLE, "other kinds of changes").
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(sql, '(''rest'', ''ws'', ''import'')', '(''rest'', ''ws'', ''import'', ''resample'')')
WHERE type = 'table' AND name = 'ohlcv_data';
PRAGMA writable_schema = RESET;

-- Ranges of candles that are missing, and why. The ranges of a series never overlap. A gap without
-- a row is "not fetched"; a gap with a row was requested at last_asked_ms and could not be proven.
ALTER TABLE gaps RENAME TO gaps_1;
CREATE TABLE gaps (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    from_timestamp INTEGER NOT NULL,
    to_timestamp INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('none at exchange', 'not fetched', 'unknown: import')),
    first_seen_ms INTEGER NOT NULL,
    last_asked_ms INTEGER NOT NULL,
    PRIMARY KEY (exchange, symbol, timeframe, from_timestamp),
    CHECK (to_timestamp > from_timestamp)
) STRICT, WITHOUT ROWID;

-- Version 1 let ranges overlap: those that do become one. What is proven stays whole, and what was
-- only requested is kept where it touches nothing proven; without its row it means the same.
WITH marked AS (
    SELECT *, state = 'none at exchange' AS proven,
        max(to_timestamp) OVER (
            PARTITION BY exchange, symbol, timeframe, state = 'none at exchange'
            ORDER BY from_timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS covered_to
    FROM gaps_1
), numbered AS (
    SELECT *, sum(covered_to IS NULL OR from_timestamp >= covered_to) OVER (
        PARTITION BY exchange, symbol, timeframe, proven ORDER BY from_timestamp
    ) AS island
    FROM marked
), merged AS (
    SELECT exchange, symbol, timeframe, proven, min(from_timestamp) AS from_timestamp,
        max(to_timestamp) AS to_timestamp, min(first_seen_ms) AS first_seen_ms,
        max(last_asked_ms) AS last_asked_ms
    FROM numbered GROUP BY exchange, symbol, timeframe, proven, island
)
INSERT INTO gaps
SELECT exchange, symbol, timeframe, from_timestamp, to_timestamp,
    iif(proven, 'none at exchange', 'not fetched'), first_seen_ms, last_asked_ms
FROM merged
WHERE proven OR NOT EXISTS (
    SELECT 1 FROM merged m WHERE m.proven AND m.exchange = merged.exchange
    AND m.symbol = merged.symbol AND m.timeframe = merged.timeframe
    AND m.from_timestamp < merged.to_timestamp AND m.to_timestamp > merged.from_timestamp
);
DROP TABLE gaps_1;

-- Until when no process on this file sends a request to an exchange, by the computer's time.
CREATE TABLE silences (
    exchange TEXT PRIMARY KEY CHECK (exchange <> ''),
    until_ms INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How many rows were refused. Of each series and fault, quarantine keeps only the first ones.
CREATE TABLE quarantine_counts (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    fault TEXT NOT NULL,
    refused INTEGER NOT NULL CHECK (refused > 0),
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL,
    PRIMARY KEY (exchange, symbol, timeframe, fault)
) STRICT, WITHOUT ROWID;
INSERT INTO quarantine_counts
SELECT exchange, symbol, timeframe, fault, count(*), min(seen_ms), max(seen_ms)
FROM quarantine GROUP BY exchange, symbol, timeframe, fault;

-- The columnar cache (cache.py): a row states that a file of this key next to the database holds exactly
-- the closed candles of [start, stop). The triggers take it back with the first of them that changes.
-- A span is a day for seconds, 30 days for minutes, 365 days for all that is longer.
CREATE TABLE chunks (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    start INTEGER NOT NULL,
    stop INTEGER NOT NULL,
    candles INTEGER NOT NULL CHECK (candles > 0),
    key BLOB NOT NULL CHECK (length(key) = 16),
    PRIMARY KEY (exchange, symbol, timeframe, start),
    CHECK (stop - start = CASE substr(timeframe, -1)
        WHEN 's' THEN 86400 WHEN 'm' THEN 2592000 ELSE 31536000 END),
    CHECK (start % (stop - start) = 0)
) STRICT, WITHOUT ROWID;

-- A row that is only replaced while it forms (closed = 0) takes nothing back: no file holds it.
CREATE TRIGGER ohlcv_data_insert_ends_chunk AFTER INSERT ON ohlcv_data
WHEN NEW.closed IS NOT 0
BEGIN
    DELETE FROM chunks WHERE exchange = NEW.exchange AND symbol = NEW.symbol
    AND timeframe = NEW.timeframe AND start = NEW.timestamp - NEW.timestamp
        % CASE substr(NEW.timeframe, -1)
            WHEN 's' THEN 86400 WHEN 'm' THEN 2592000 ELSE 31536000 END;
END;

CREATE TRIGGER ohlcv_data_delete_ends_chunk AFTER DELETE ON ohlcv_data
WHEN OLD.closed IS NOT 0
BEGIN
    DELETE FROM chunks WHERE exchange = OLD.exchange AND symbol = OLD.symbol
    AND timeframe = OLD.timeframe AND start = OLD.timestamp - OLD.timestamp
        % CASE substr(OLD.timeframe, -1)
            WHEN 's' THEN 86400 WHEN 'm' THEN 2592000 ELSE 31536000 END;
END;

-- UPDATE OR REPLACE that moves a forming row onto a closed one deletes that without a trigger.
CREATE TRIGGER ohlcv_data_update_ends_chunk AFTER UPDATE ON ohlcv_data
WHEN OLD.closed IS NOT 0 OR NEW.closed IS NOT 0
    OR (OLD.exchange, OLD.symbol, OLD.timeframe, OLD.timestamp)
        <> (NEW.exchange, NEW.symbol, NEW.timeframe, NEW.timestamp)
BEGIN
    DELETE FROM chunks WHERE exchange = OLD.exchange AND symbol = OLD.symbol
    AND timeframe = OLD.timeframe AND start = OLD.timestamp - OLD.timestamp
        % CASE substr(OLD.timeframe, -1)
            WHEN 's' THEN 86400 WHEN 'm' THEN 2592000 ELSE 31536000 END;
    DELETE FROM chunks WHERE exchange = NEW.exchange AND symbol = NEW.symbol
    AND timeframe = NEW.timeframe AND start = NEW.timestamp - NEW.timestamp
        % CASE substr(NEW.timeframe, -1)
            WHEN 's' THEN 86400 WHEN 'm' THEN 2592000 ELSE 31536000 END;
END;
