"""Teaching by a person: they watch the agent act, and take over with keys when it errs."""
