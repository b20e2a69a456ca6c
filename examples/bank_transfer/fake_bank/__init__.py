"""A bank that is not there: it speaks the wire of the bank-transfer channel, with its own signing code, in the simulators' process.

It knows nothing of the adapter.  `guilder.simulators` brings the book, the clock, the dials, the callbacks' courier and the control API.
"""
