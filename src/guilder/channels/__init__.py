"""Wire protocols of payment channels.  Sans-I/O, no database, no ledger: adapters turn asks into HTTP calls and replies into outcomes.

`model` is the port; one folder a channel holds its adapter, signing and statement format.
"""
