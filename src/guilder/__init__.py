"""Guilder: a self-hosted payment centre.  One API, one cashier, every channel, and the books behind them."""

__version__ = "0.0.1"
