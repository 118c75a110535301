"""The demo doctor: what is odd about a file of demonstrations, before anything is trained on it."""
