"""Behavioural cloning and DAgger. README.md ("Read in this order") says in which order to read the code."""
