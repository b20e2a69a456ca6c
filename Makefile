# Every target is a command of ./run, which sets up what is missing: Python 3.11 and pip are enough.
# More arguments: make test ARGS="-k ledger"

.DEFAULT_GOAL := help
.PHONY: help up demo test check bench soak docs lock

help:  ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

up:  ## set up what is missing and start everything: PostgreSQL, API, cashier, worker, simulators
	@./run up $(ARGS)

demo:  ## run one story through the official SDK, from payment to reconciliation (KEEP=1 keeps its data)
	@./run demo $(ARGS)

test:  ## run all tests, with real servers, real SDKs and a browser
	@./run test $(ARGS)

check:  ## format, lint, types, layers, tidiness: under half a minute
	@./run check $(ARGS)

bench:  ## run the benchmarks (ARGS="payments --quick" runs one)
	@./run bench $(ARGS)

soak:  ## run for hours under load and faults
	@./run soak $(ARGS)

docs:  ## regenerate the documentation that is made from code
	@./run docs $(ARGS)

lock:  ## resolve the dependencies anew and pin them by hash
	@./run lock $(ARGS)
