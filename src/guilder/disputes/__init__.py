"""Disputes: a payer complains at the channel, and the money of a charge is in question.

D1  A dispute of the channel's is one of ours, however often and in whatever order it is told.
D2  What the channel has taken is booked when it says so, and booked back when it gives it back: in the commit of the state.
D3  A dispute that was decided stays so; the opposite of what was told before is for a person.
D4  Evidence goes out by a call of the channel's, and lies sealed; a deadline is a case's deadline.
"""
