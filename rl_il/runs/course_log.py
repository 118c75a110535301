"""log.csv, as `train.py` of CS285's homework 1 (spring 2026) writes it, for scripts that plot it."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.errors import InputError
from rl_il.files import read_csv, write_csv
from rl_il.infrastructure.evaluation import Evaluation
from rl_il.infrastructure.rl_trainer import Block

LOSS, SCORE, STEP = "train/loss", "eval/mean_reward", "step"


class CourseLog:
    """The file log.csv: a row for each gradient step whose loss is logged, or after which there is an evaluation.

    Args:
      path: the file.
      interval: the loss of every `interval`-th gradient step is logged. None: there is no such file.
    """

    def __init__(self, path: Path, interval: int | None):
        self.path, self.interval = path, interval
        self._rows: dict[int, dict[str, Any]] = {}  # by gradient step

    def restore(self, gradient_steps: int) -> None:
        """Read the rows of an interrupted run, without those that come again.

        Print a note if the file was removed, and raise `InputError` if it is another one.
        """
        if not self.interval:
            return
        if gradient_steps >= self.interval and not self.path.exists():
            print(f"note: {self.path}: removed; its earlier rows are not written again", file=sys.stderr)
        try:
            rows = read_csv(self.path)
            if any({*row} != {LOSS, SCORE, STEP} for row in rows):
                raise ValueError
            self._rows = {int(row[STEP]): row for row in rows if int(row[STEP]) <= gradient_steps}
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise InputError(
                f"{self.path}: is not the file that the run wrote, with the columns {LOSS}, {SCORE} and {STEP}; put"
                " that back, or remove this one, and the run continues without its earlier rows"
            ) from error

    def add(self, block: Block, evaluation: Evaluation | None) -> None:
        """Add the losses of a block, and the mean score of the episodes of its evaluation, and write the file."""
        if not self.interval:
            return
        last = block.gradient_steps
        for step, loss in enumerate(block.losses.tolist(), last - len(block.losses) + 1):
            if step % self.interval == 0:
                self._rows[step] = self._row(step) | {LOSS: loss}
        if evaluation is not None and len(evaluation.scores):
            self._rows[last] = self._row(last) | {SCORE: float(np.mean(evaluation.scores))}
        write_csv(self.path, list(self._rows.values()))

    def _row(self, step: int) -> dict[str, Any]:
        return self._rows.get(step, {LOSS: "", SCORE: "", STEP: step})
