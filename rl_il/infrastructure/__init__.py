"""What every run needs: tensors, seeds, the buffer, rollouts, logs, and the training loop."""
