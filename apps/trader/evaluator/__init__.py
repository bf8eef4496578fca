"""Evaluates strategies: code of a user in another process, built-in strategies in the trader's.

In its own process a user's code cannot block or change the trader. The trader (`evaluator`,
`processes`) starts one helper process (`helper`), which forks a worker (`worker`) for each
strategy; trader and worker exchange `messages` over a socket. `built_in` evaluates without a
process. Both give the same `results`, by the same calls (`strategy_calls`).
"""
