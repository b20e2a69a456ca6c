"""The stand that benchmarks run on: an installation, a shop, a source of traffic, each a process of its own, and the gauges.

line       HTTP/1.1 on raw asyncio, so that the measuring side takes little of the machine it measures
shop       process: hears webhooks, verifies them, says when each came
traffic    process: callers, in a closed or an open loop
scene      starts everything, plays a plan, ends everything
gauges     CPU and memory by process, the machine, the alone-run of what nobody can avoid
checks     after the run: does every book agree?
bare       PostgreSQL alone, one process that posts, what a course costs: of bench/ledger.py, as the three below
posters    journals with the answers that they must get, posted in batches or through a lane
rows       the yardstick: each transfer a transaction of its own
filling    the past of the book, through `post`
sampling   where Python's time goes, when --profile asks
report     the table, the JSON object, the Markdown file
"""
