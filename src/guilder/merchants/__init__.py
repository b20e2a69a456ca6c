"""Merchants: who they are, their keys, their customers, their contracts with channels.

    M1  A key is shown once; only its hash is stored, and it is found by the hash alone.
    M2  A revoked key is refused within a second by every process, and a process that cannot look refuses it too.
    M3  A channel's secrets are sealed, and opened only to build its adapter.
    M4  What belongs to one merchant is found only under its book.

Profiles and keys lie in the control database, for they are the same in every environment; customers and channel accounts in each
environment's own.
"""
