"""Policies that learn, and actors that only act. Importing this package does not import torch."""
