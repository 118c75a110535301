"""The components of a run: rollouts, rules, replay buffer, gradient steps, evaluation and the training loop."""
