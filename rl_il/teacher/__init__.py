"""Interactive teaching: a person watches the agent act, and takes over with keys when it makes a mistake."""
