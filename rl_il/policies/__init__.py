"""Policies that learn, and actors that only act. Importing this room does not import torch."""
