"""What every run needs: rollouts, rules, the replay buffer, gradient steps, evaluation, and the training loop."""
