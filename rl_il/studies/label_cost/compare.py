"""How many labels a rule needs in comparison with others, with intervals over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

VANILLA = "vanilla"
RANDOM = ("random_50", "random_25")
ONE_SETTING = "hg_kcentre_25_ensemble"
"""The setting for all environments. It was chosen with other seeds than those of the table."""
AIM = 1 / 3  # of vanilla's labels
N_DRAWS = 2000

Labels = Mapping[tuple[str, str], Sequence[float]]
"""For each environment and rule, the labels of each seed until the expert was reached; infinity: not reached."""


@dataclass(frozen=True)
class Share:
    """The labels of a rule as a share of those of another, with its 95 % interval; infinity: not reached."""

    value: float
    low: float
    high: float
    env_names: Sequence[str]  # it is the geometric mean over these


def share_of(labels: Labels, rule: str, other: str = VANILLA) -> Share | None:
    """Return the median of the labels of `rule` as a share of that of `other`, as geometric mean over environments.

    Environments are left out where `rule` has no runs, or the median seed of `other` has not reached the expert.
    If none is left, return None. For the bootstrap interval the seeds of both are drawn again. In a draw, the share
    is 0 where only `other` has not reached the expert; where neither has, the environment is left out of the draw.
    """
    names = [name for name, each in labels if each == rule and _reached(labels.get((name, other), ()))]
    if not names:
        return None
    if rule == other:
        return Share(1.0, 1.0, 1.0, names)
    rng = np.random.default_rng(0)
    with np.errstate(invalid="ignore"):  # the difference or the mean of two infinite values
        logs = np.array([_draws(labels[name, rule], rng) - _draws(labels[name, other], rng) for name in names])
        value, *drawn = np.nansum(logs, axis=0) / (~np.isnan(logs)).sum(axis=0)
    drawn = [each for each in drawn if not np.isnan(each)]
    low, high = np.quantile(drawn, [0.025, 0.975], method="nearest")  # there is nothing between a number and infinity
    return Share(*np.exp([value, low, high]).tolist(), env_names=names)


def _reached(labels: Sequence[float]) -> bool:
    return len(labels) > 0 and bool(np.median(labels) < np.inf)


def _draws(labels: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Return the logarithm of the median of the seeds, and then of each draw of as many, `(1 + N_DRAWS,)`."""
    drawn = rng.choice(np.array(labels, float), (N_DRAWS, len(labels)))
    return np.log(np.median(np.vstack([labels, drawn]), axis=1))


def best_rules(labels: Labels) -> list[str]:
    """Return the rules: those that were compared with vanilla on most environments first, then by their share."""

    def order(rule: str) -> tuple[float, float]:
        share = share_of(labels, rule)
        return (np.inf, np.inf) if share is None else (-len(share.env_names), share.value)

    return sorted(dict.fromkeys(rule for _, rule in labels), key=order)


def verdict(labels: Labels) -> str:
    """Return in one line whether the one setting does what was hoped; an empty text if it has no runs."""
    share = share_of(labels, ONE_SETTING)
    if share is None:
        return ""
    answers = [f"It needs at most a third of vanilla's labels: {'yes' if share.value <= AIM else 'no'}"]
    for other in RANDOM:
        worse = ", ".join(worse_than(labels, ONE_SETTING, other))
        answers.append(f"on no environment more than `{other}`: {f'no ({worse})' if worse else 'yes'}")
    return f"Was the aim reached by the one setting, `{ONE_SETTING}`? " + "; ".join(answers) + "."


def worse_than(labels: Labels, rule: str, other: str) -> list[str]:
    """Return the environments where `rule` needs more labels than `other`, with the whole interval above 1."""
    names = dict.fromkeys(name for name, each in labels if each == rule)
    pairs = {name: {key: value for key, value in labels.items() if key[0] == name} for name in names}
    shares = {name: share_of(pair, rule, other) for name, pair in pairs.items()}
    return [name for name, share in shares.items() if share is not None and share.low > 1]
