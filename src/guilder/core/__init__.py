"""Pure ground: amounts, ids, errors, checks, time, pages and the exchange with a channel.  No I/O, no database."""
