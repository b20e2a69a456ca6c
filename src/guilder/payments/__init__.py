"""The intent, and whatever asks a channel for money.

    create  confirm  cancel  refund  attach     use cases: one file, one verb
    record                                      the room: a reply, a callback and a query all end there
    life                                        the decisions, pure; P1 to P5 stand there
    asking  sweep  callbacks                    who asks channels, who asks again, who listens

A payment (intent) is tried at channels (attempts); the first success makes its charge, every further one is a surplus and goes back.
Everything that belongs to a payment is guarded by the lock of its intent's row.
"""
