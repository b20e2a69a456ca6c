"""PostgreSQL and process: everything that is not payments.  Domains build on it; it knows none of them."""
