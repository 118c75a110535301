"""Policies, which learn, and actors, which only act. The import of this package does not import torch."""
