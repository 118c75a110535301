"""What is made of many runs: tables, figures, answers."""
