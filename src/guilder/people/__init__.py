"""People: who works here, how they prove it, and what they may do.  In the control database, for every environment.

    principal    from a token to what its bearer may do at one merchant
    sign_in      a password, and a code, for a session; throttle, passwords and totp are its parts
    invite       how somebody comes to be here
    grants       who may give and take which role (G1 to G4), and roles, which are data

What is shown once (tokens, the app's secret, recovery codes) is kept as a hash or sealed.  Whatever proves who one is, is counted before
it is looked at, and is used up in the commit that relies on it.
"""
