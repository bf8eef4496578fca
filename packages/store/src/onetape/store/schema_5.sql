-- Version 5: the field's name for the time in which an exchange gets no request, and drills.

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
