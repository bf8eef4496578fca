-- Version 5: the field's name for the time in which an exchange gets no request.

-- Until when no process on this file sends a request to an exchange, by the computer's time.
ALTER TABLE silences RENAME TO rate_limit_bans;
