"""Where drift comes from: a policy against its expert by time step, and against its training set."""
