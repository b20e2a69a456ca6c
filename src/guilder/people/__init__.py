"""People: who works here, how they prove it, and what they may do.  In the control database, for every environment."""
