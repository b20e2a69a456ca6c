"""Routing: which channel account a payment is asked for at, as data.

    rulesets = await live(rt, book_id)                      # the merchant's, then the platform's; compiled once per version and process
    choice = decide(rulesets, facts, candidates, scene)     # pure: which, and why no other

A ruleset is a list of rules in order: an expression over the payment, and where such payments go.  Versions are drafts until somebody makes
one live; the one before is kept, and can be had back.  docs/guide/routing.md has the words; ADR 16 says why.

Promises.  Tests carry these names (`test_O1_...`).

    O1  A rule that cannot be worked out for a payment is passed over and said; it fails no payment.
    O2  The same payment under the same version, with channels as they are, goes the same way: a draw is seeded by the payment.
    O3  Every candidate that is not chosen has its reason.
    O4  An account that is paused is never chosen; one that does not answer only where nothing else is left.
    O5  Rules choose among accounts that can take the payment; they never make one that cannot.
"""
