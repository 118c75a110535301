"""Experts and other actors, by name or by file."""
