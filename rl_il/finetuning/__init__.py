"""From a clone to reinforcement learning with Stable-Baselines3: export, and PPO that begins with the clone."""
