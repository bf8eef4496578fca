-- Version 6: files of commands are stored once, even where the program ends between the commit and the removal.

-- Files of commands next to the database whose lines are rows of `controls`: the name that a trader gave the
-- file when it took it, and when that was (the computer's time, epoch milliseconds).
CREATE TABLE command_files (
    name TEXT PRIMARY KEY CHECK (name <> ''),
    stored_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Settings of accounts that have new names: `fee_coin` is `fee_currency` with `base` for `received`, and
-- `cool_down_bars` is `cooldown_bars`.
UPDATE sessions SET rules = json_remove(
    json_set(
        rules, '$.fee_currency', replace(json_extract(rules, '$.fee_coin'), 'received', 'base')
    ),
    '$.fee_coin'
) WHERE json_type(rules, '$.fee_coin') IS NOT NULL;
UPDATE sessions SET rules = json_remove(
    json_set(rules, '$.cooldown_bars', json_extract(rules, '$.cool_down_bars')),
    '$.cool_down_bars'
) WHERE json_type(rules, '$.cool_down_bars') IS NOT NULL;

-- When the candles of a gap were last requested from the exchange.
ALTER TABLE gaps RENAME COLUMN last_asked_ms TO last_requested_ms;
