"""Payouts: what a merchant has with us goes to somebody outside, by a channel.

create   record     a payout is made and asked for; what the channel says of it ends in one room
life                the decisions, pure
sweep               who asks again

O1  What goes out was there: it is held in the merchant's account before any channel hears of it, and never more than is available.
O2  Only the channel's word ends a payout; silence never does.  It is asked for again under the same key alone.
O3  The hold is taken in the commit that says paid, or given back in the one that says not; what comes back later is booked back.
O4  Who is paid lies sealed, and is shown masked.
"""
