"""What the settings of all runs have in common: the environment, the seeds of evaluations, and when these are due."""

from __future__ import annotations

import shlex

from rl_il.options import named_values, seed_range, split_words, values_text

ENV = ("env_name", "env_kwargs", "wrappers")
"""The settings that say which environment it is."""


class Settings:
    """The base class of the settings of a run. The fields, which are flags, are those of the subclasses.

    Attributes:
      command: the script that makes such runs.
      algorithm: what trains the policy, as tables name it.
      do_dagger, compile, log_interval, scalar_log_freq: as the fields of `RunConfig`, for settings without them:
        no collection, no compiled gradient steps, no losses within an iteration, every iteration is evaluated.
    """

    # Without annotations, these are no fields.
    command = "run_hw1"
    algorithm = "BC"
    do_dagger, compile, log_interval, scalar_log_freq = False, "off", None, 1

    def spell_env(self) -> None:
        """Write the arguments and the wrappers in one way, so that equal ones are equal texts. Accept a dict."""
        if self.env_kwargs is not None:
            given = self.env_kwargs
            values = given if isinstance(given, dict) else named_values("--env_kwargs", given)
            object.__setattr__(self, "env_kwargs", values_text(values))  # the dataclass is frozen
        if self.wrappers is not None:
            words = split_words("--wrappers", self.wrappers)
            object.__setattr__(self, "wrappers", shlex.join(words) or None)

    @property
    def env_settings(self) -> dict[str, str]:
        """Return the settings that say which environment it is, without those that are not given."""
        return {name: getattr(self, name) for name in ENV if getattr(self, name)}

    @property
    def env_title(self) -> str:
        """Return the environment's name, with its arguments and wrappers."""
        return " ".join(self.env_settings.values())

    @property
    def env_flags(self) -> str:
        """Return the flags of a command that name the environment."""
        return " ".join(f"--{name} {value}" for name, value in self.env_settings.items())

    @property
    def fixed_seeds(self) -> range | None:
        """Return the seeds of the evaluations' episodes if `eval_seeds` fixes them, or None."""
        return seed_range("--eval_seeds", self.eval_seeds)

    def is_due(self, itr: int, frequency: int) -> bool:
        """Return whether an iteration is the last one or one of every `frequency` (-1: only the last one)."""
        return itr == self.n_iter - 1 or (frequency > 0 and itr % frequency == 0)
