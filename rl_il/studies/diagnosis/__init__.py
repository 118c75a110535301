"""Diagnosis of drift: a policy compared with its expert at each time step, and its states with its training set."""
