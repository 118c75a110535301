"""The demo doctor: checks of a file of demonstrations, before a policy is trained on it."""
