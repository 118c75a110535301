"""Behavioural cloning and DAgger."""
