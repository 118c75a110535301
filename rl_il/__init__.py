"""Behavioural cloning and DAgger. See README.md ("Read in this order") for the way through the code."""
