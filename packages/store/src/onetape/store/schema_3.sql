-- Version 3: accounts with a stored start balance, what a session's settings were, whether the
-- simulator's candles in a simulated file are invented or recorded, what proves a gap, the rank of
-- values, and refused rows that are kept once.

-- Each account trades one symbol with one strategy. start_balance is a TEXT decimal in `currency`; it
-- is written once. NULL only for accounts of an earlier version, until the next trader starts on them.
CREATE TABLE accounts (
    account TEXT PRIMARY KEY CHECK (account <> ''),
    mode TEXT NOT NULL CHECK (mode IN ('paper', 'live')),
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    strategy TEXT NOT NULL,
    currency TEXT NOT NULL,
    start_balance TEXT
        CHECK (CAST(start_balance AS REAL) > 0 AND CAST(start_balance AS REAL) <= 1e15),
    opened_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER accounts_start_balance_stays BEFORE UPDATE OF start_balance ON accounts
WHEN OLD.start_balance IS NOT NULL AND NEW.start_balance IS NOT OLD.start_balance
BEGIN
    SELECT RAISE(ABORT, 'the start balance of an account never changes');
END;

-- An account of an earlier version belongs to what its newest session traded.
INSERT INTO accounts
SELECT account, mode, exchange, symbol, timeframe, strategy,
    substr(symbol, instr(symbol, '/') + 1), NULL, opened_ms
FROM (
    SELECT *, min(started_ms) OVER (PARTITION BY account) AS opened_ms,
        row_number() OVER (PARTITION BY account ORDER BY started_ms DESC, session) AS place
    FROM sessions WHERE account <> ''
)
WHERE place = 1;

-- Fees, sizing and exits of a session, and what differs from the account's session before, in words.
ALTER TABLE sessions ADD COLUMN rules TEXT CHECK (rules IS NULL OR json_valid(rules));
ALTER TABLE sessions ADD COLUMN changes TEXT;

-- Of a simulated file: whether its simulator invents the market or replays recorded candles; NULL
-- until a program has read a simulator.
ALTER TABLE store_kind ADD COLUMN origin TEXT CHECK (origin IN ('invented', 'recorded'));

-- The recorded candles of a simulated file whose origin is 'recorded'; digest is their sha256.
CREATE TABLE recordings (
    symbol TEXT PRIMARY KEY CHECK (symbol <> ''),
    timeframe TEXT NOT NULL,
    digest TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Ranges of candles that are missing, and why. The ranges of a series never overlap. A gap without a
-- row was never requested. answers counts the responses that held both neighbours of the range and
-- nothing in it; answered_ms and window_timestamp are the market time of the first of them and the
-- time from which it was requested. since_ms is when the present state began.
ALTER TABLE gaps RENAME TO gaps_2;
CREATE TABLE gaps (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    from_timestamp INTEGER NOT NULL,
    to_timestamp INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN
        ('none at exchange', 'no trades', 'accepted', 'unproven', 'unknown: import')),
    since_ms INTEGER NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    last_asked_ms INTEGER NOT NULL,
    answers INTEGER NOT NULL DEFAULT 0 CHECK (answers >= 0),
    answered_ms INTEGER,
    window_timestamp INTEGER,
    reason TEXT,
    PRIMARY KEY (exchange, symbol, timeframe, from_timestamp),
    CHECK (to_timestamp > from_timestamp),
    CHECK ((state = 'accepted') = (reason IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- Version 2 called a gap "none at exchange" after two responses within a second, and did not check
-- whether they held its neighbours: such rows are unproven now, with no response that counts.
INSERT INTO gaps
SELECT exchange, symbol, timeframe, from_timestamp, to_timestamp,
    iif(state = 'unknown: import', state, 'unproven'), last_asked_ms, first_seen_ms, last_asked_ms,
    0, NULL, NULL, NULL
FROM gaps_2;
DROP TABLE gaps_2;

-- Candles that REST gave less than a minute after their close, and not again later: such a value ranks
-- lower than any other of REST (ranks.py). Most are the newest of their series.
CREATE TABLE early_reads (
    exchange TEXT NOT NULL,
    symbol TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    PRIMARY KEY (exchange, symbol, timeframe, timestamp)
) STRICT, WITHOUT ROWID;

-- The rank of a late value of REST. NULL: the source decides it. Of revisions of version 2, seen_ms shows
-- how long after the close REST was read; a month is taken for its longest.
ALTER TABLE revisions ADD COLUMN rank INTEGER;
UPDATE revisions SET rank = iif(
    seen_ms / 1000 - timestamp >= 60 + max(CAST(timeframe AS INTEGER), 1)
        * CASE substr(timeframe, -1) WHEN 's' THEN 1 WHEN 'm' THEN 60 WHEN 'h' THEN 3600
            WHEN 'd' THEN 86400 WHEN 'w' THEN 604800 ELSE 2678400 END, 4, 2)
WHERE source = 'rest';

-- A refused row is kept once, with how often it came. seen_ms is when it came first.
ALTER TABLE quarantine ADD COLUMN last_seen_ms INTEGER;
ALTER TABLE quarantine ADD COLUMN times INTEGER NOT NULL DEFAULT 1;
ALTER TABLE quarantine ADD COLUMN timestamp INTEGER;
UPDATE quarantine SET (seen_ms, last_seen_ms, times) = (
    SELECT min(q.seen_ms), max(q.seen_ms), count(*) FROM quarantine q
    WHERE q.exchange = quarantine.exchange AND q.symbol = quarantine.symbol
    AND q.timeframe = quarantine.timeframe AND q.fault = quarantine.fault
    AND q.payload = quarantine.payload
);
DELETE FROM quarantine WHERE id NOT IN (
    SELECT min(id) FROM quarantine GROUP BY exchange, symbol, timeframe, fault, payload
);
UPDATE quarantine_counts SET refused = (
    SELECT count(*) FROM quarantine q WHERE q.exchange = quarantine_counts.exchange
    AND q.symbol = quarantine_counts.symbol AND q.timeframe = quarantine_counts.timeframe
    AND q.fault = quarantine_counts.fault
)
WHERE refused <= 1000 AND EXISTS (
    SELECT 1 FROM quarantine q WHERE q.exchange = quarantine_counts.exchange
    AND q.symbol = quarantine_counts.symbol AND q.timeframe = quarantine_counts.timeframe
    AND q.fault = quarantine_counts.fault
);
CREATE UNIQUE INDEX quarantine_once ON quarantine (exchange, symbol, timeframe, fault, payload);
