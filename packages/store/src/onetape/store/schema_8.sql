-- Version 8: views of fills and of round trips, and columns with names of the field.

-- Number of responses that had both neighbours of a gap and no candle in it, and the market time of the first.
ALTER TABLE gaps RENAME COLUMN answers TO responses;
ALTER TABLE gaps RENAME COLUMN answered_ms TO first_response_ms;

-- Minimum amount of a sell in the market when the sell was filled, a TEXT decimal, base currency: less than that
-- is no position. NULL: an earlier version wrote the row.
ALTER TABLE trades RENAME COLUMN least_amount TO min_sell_amount;

-- The rows of `trades`, with numbers in place of TEXT decimals. Each is a fill: one execution of an order.
DROP VIEW trades_view;
CREATE VIEW fills AS
SELECT id, exchange, symbol, exchange_trade_id, client_order_id, session, mode, account, side,
    CAST(price AS REAL) AS price, CAST(amount AS REAL) AS amount, CAST(fee AS REAL) AS fee,
    fee_currency, executed_ms, CAST(min_sell_amount AS REAL) AS min_sell_amount
FROM trades;

-- One row for each position of an account, from its first buy to its last sell. entry_order_id is the client order
-- id of the order that opened the position. Amounts are in base currency, prices and profit in quote currency.
-- closed_ms, profit: NULL while the position is open. profit is net of fees in base or quote currency; `fills` has
-- fees in other currencies. A buy belongs to the position that the next sell reduces.
CREATE VIEW round_trips AS
WITH with_next_sell AS (
    SELECT f.*, (
        SELECT o.entry_order_id FROM trades s
        JOIN orders o ON o.client_order_id = s.client_order_id
        WHERE s.account = f.account AND s.symbol = f.symbol AND s.mode = f.mode
            AND s.exchange = f.exchange AND s.side = 'sell'
            AND (s.executed_ms, s.id) >= (f.executed_ms, f.id)
        ORDER BY s.executed_ms, s.id LIMIT 1
    ) AS sold_entry
    FROM fills f
),
with_entry AS (
    SELECT *, substr(symbol, 1, instr(symbol, '/') - 1) AS base,
        substr(symbol, instr(symbol, '/') + 1) AS quote,
        coalesce(sold_entry, first_value(client_order_id) OVER (
            PARTITION BY account, mode, exchange, symbol, sold_entry
            ORDER BY side, executed_ms, id
        )) AS entry_order_id
    FROM with_next_sell
),
with_last_minimum AS (
    SELECT *, first_value(min_sell_amount) OVER (
        PARTITION BY account, mode, exchange, symbol, entry_order_id
        ORDER BY side DESC, executed_ms DESC, id DESC
    ) AS last_minimum
    FROM with_entry
),
sums AS (
    SELECT account, mode, exchange, symbol, entry_order_id, max(last_minimum) AS last_minimum,
        min(executed_ms) FILTER (WHERE side = 'buy') AS opened_ms,
        max(executed_ms) FILTER (WHERE side = 'sell') AS last_sell_ms,
        sum(amount) FILTER (WHERE side = 'buy') AS bought,
        ifnull(sum(amount) FILTER (WHERE side = 'sell'), 0.0) AS sold,
        sum(price * amount) FILTER (WHERE side = 'buy') AS paid,
        sum(price * amount) FILTER (WHERE side = 'sell') AS received,
        ifnull(sum(fee) FILTER (WHERE fee_currency = base), 0.0) AS fee_base,
        ifnull(sum(fee) FILTER (WHERE fee_currency = quote), 0.0) AS fee_quote
    FROM with_last_minimum
    GROUP BY account, mode, exchange, symbol, entry_order_id
    HAVING bought > 0
),
with_end AS (
    SELECT s.*, CASE WHEN bought - fee_base - sold < max(
        -- A rest below a billionth of the amount bought is a rounding error.
        ifnull(last_minimum, ifnull(max(
            CAST(min_amount AS REAL), ifnull(CAST(amount_step AS REAL), 0.0)
        ), 0.0)), bought * 1e-9
    ) THEN last_sell_ms END AS closed_ms
    FROM sums s LEFT JOIN markets m ON m.exchange = s.exchange AND m.symbol = s.symbol
)
SELECT account, mode, exchange, symbol, entry_order_id, opened_ms, closed_ms, bought, sold,
    paid / bought AS entry_price, received / nullif(sold, 0.0) AS exit_price, fee_base, fee_quote,
    CASE WHEN closed_ms IS NOT NULL THEN received - paid - fee_quote END AS profit
FROM with_end;
