# `make help` prints the verbs: every target with a `##` comment is one.
.DEFAULT_GOAL := help
APP ?= trader
SECONDS ?= 600

.PHONY: help
help: ## Print these verbs
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 18

.PHONY: setup
setup: ## Install everything, and set the git filter that keeps addresses out of uv.lock
	git config filter.uvlock.clean 'python3 tools/clean_lock.py'
	git config filter.uvlock.smudge cat
	git config filter.uvlock.required true
	uv sync
	git add uv.lock

.PHONY: test
test: ## Run the tests
	uv run pytest

.PHONY: explore
explore: ## Run the tests with random seeds for SECONDS=600; print the command that repeats each failure
	uv run python tools/explore.py $(SECONDS)

.PHONY: replay
replay: ## Read every recorded candle file through store and simulator (some minutes)
	ONETAPE_FULL_REPLAY=1 uv run pytest tests/apps/backfiller/test_replayed_files.py \
		tests/apps/backfiller/test_candle_files.py

.PHONY: stress
stress: ## Kill the store at every write, and let many processes write to it for 30 s
	ONETAPE_STRIKES=1000000 ONETAPE_CROWD_SECONDS=30 uv run pytest -rP \
		tests/packages/store/test_crash.py tests/packages/store/test_migrations.py \
		tests/packages/store/test_many_processes.py

.PHONY: reservations
reservations: ## Let 10 processes send 10,000 random orders on one account: no money is spent twice
	ONETAPE_SPENDERS=10 ONETAPE_SPENDER_ORDERS=10000 \
		uv run pytest -n 0 tests/packages/store/test_reservations.py

.PHONY: streams
streams: ## 1,000 stream faults, 100,000 fuzzed frames, latency, memory (half an hour)
	ONETAPE_STREAM_FAULTS=1000 ONETAPE_FUZZED_FRAMES=100000 ONETAPE_PROOF_CANDLES=400 \
		uv run pytest -rP -n 0 tests/apps/trader/test_stream_faults.py \
		tests/apps/trader/test_candle_proof.py tests/packages/websocket/test_fuzzed_frames.py
	uv run python benchmarks/stream.py latency > benchmarks/results/stream.json
	uv run python benchmarks/stream.py memory

.PHONY: soak
soak: ## Trade with real orders on a stepped simulator through 1,000 lost connections (an hour)
	ONETAPE_RECONNECTIONS=1000 uv run pytest -rP -n 0 tests/apps/trader/live/test_long_run.py

.PHONY: lint
lint: ## Check style and format with ruff
	uv run ruff check
	uv run ruff format --check

.PHONY: format
format: ## Format the code and fix what ruff can fix
	uv run ruff check --fix
	uv run ruff format

.PHONY: types
types: ## Check types with pyright (strict; it needs node)
	uv run pyright

.PHONY: imports
imports: ## Check the order of imports between packages
	uv run lint-imports

.PHONY: lock
lock: ## Check that uv.lock and requirements/ equal what git holds
	uv lock
	uv run python tools/verify_lock.py
	uv run python tools/export_requirements.py --check

.PHONY: requirements
requirements: ## Write requirements/ from uv.lock
	uv run python tools/export_requirements.py

.PHONY: services
services: ## Start each service of docker-compose.yml as a plain process, offline
	uv run python tools/check_services.py

.PHONY: parity
parity: ## Trade a month of one and of five symbols on paper, late frames shuffled, and compare it with the backtest (half an hour)
	uv run python benchmarks/parity.py --save /tmp/onetape-parity.jsonl > benchmarks/results/parity.json
	uv run python benchmarks/tables.py

.PHONY: live-parity
live-parity: ## Trade a month with real orders on a stepped simulator, and compare it with the backtest (half an hour)
	ONETAPE_LIVE_PARITY_HOURS=720 uv run pytest -n 2 --dist load tests/apps/trader/live/test_live_parity.py \
		tests/apps/trader/live/test_live_differences.py

.PHONY: guards
guards: ## Switch each guard of the trader off: its test must fail (half an hour)
	uv run python tools/guards.py

.PHONY: paper
paper: ## Trade a month on paper, on a stepped clock, and compare it with the backtest
	ONETAPE_PAPER_HOURS=720 uv run pytest tests/apps/trader/test_exits.py -k equal_the_backtest

.PHONY: live-crash-test
live-crash-test: ## Kill a trader with real orders 200 times at each named point; goes on where it stopped
	uv run python benchmarks/live_kills.py --strikes 200 --own-limits 2
	uv run python benchmarks/tables.py

.PHONY: live-orders
live-orders: ## Send 10,000 real orders while a fifth of the requests goes wrong; goes on where it stopped
	uv run python benchmarks/live_orders.py --orders 10000
	uv run python benchmarks/tables.py

.PHONY: exit-crash-test
exit-crash-test: ## Kill a trader 20 times before and after each commit of an order
	ONETAPE_POINT_STRIKES=20 uv run pytest -q --dist=load tests/apps/trader/test_commit_points.py

.PHONY: responses
responses: ## Read 100,000 fuzzed responses to orders, cancels and look-ups
	ONETAPE_FUZZED_RESPONSES=100000 uv run pytest -q tests/packages/exchange/test_fuzzed_responses.py

.PHONY: clients
clients: ## Trade on the simulator with other clients, binance-connector included (needs a package index)
	ONETAPE_CLIENTS=1 uv run pytest -q -n 0 tests/test_practice.py

.PHONY: suspensions
suspensions: ## Suspend a trader 5 times at each point around a send while another takes over
	ONETAPE_SUSPENSIONS=5 uv run pytest -q -n 0 tests/apps/trader/live/test_suspended_processes.py

.PHONY: user-streams
user-streams: ## Trade 200 times while the account's events are lost, doubled, late and reordered
	ONETAPE_USER_STREAMS=200 uv run pytest -q -n 0 tests/apps/trader/live/test_user_stream.py

.PHONY: crash-test
crash-test: ## Kill the backfiller 200 times and compare what it stored
	ONETAPE_KILLS=200 uv run pytest -q tests/apps/backfiller/test_kills.py

.PHONY: demo
demo: ## Show the whole chain in half a minute, offline
	uv run demo

.PHONY: image
image: ## Build a container image, APP=trader by default (needs docker)
	docker build --build-arg APP=$(APP) -t onetape-$(APP) .

.PHONY: ci
ci: ## Run every check, as CI does
	bash .ci/run
