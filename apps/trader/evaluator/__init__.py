"""Evaluates strategies in other processes, so that their code cannot block or change the trader.

The trader (`evaluator`, `processes`) starts one helper process (`helper`), which forks a worker
(`worker`) for each strategy. Trader and worker exchange `messages` over a socket.
"""
