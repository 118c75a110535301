"""Experiments that consist of several runs, and tools that examine policies and data sets."""
