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
NOT_REACHED = "not reached"

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
    If none is left, return None. For the bootstrap interval the seeds of both are drawn again. In a draw, an
    environment is left out where neither has reached the expert. Where only `other` has not, the share of the draw is
    0; where only `rule` has not, it is infinity; a draw with both is not counted.
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


def share_text(share: Share | None, n: int = 1) -> str:
    """Return `0.13 (0.09 to 0.20)`, with the number of environments if these are not all `n`.

    A low end of `0` means that the other rule did not reach the expert in some draws of the bootstrap.
    """
    if share is None:
        return ""
    text = {0: "0", np.inf: NOT_REACHED}
    value, low, high = (text.get(x, f"{x:.2f}") for x in (share.value, share.low, share.high))
    few = f", {len(share.env_names)} of {n} environments" if len(share.env_names) < n else ""
    return (value if low == high else f"{value} ({low} to {high})") + few


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


def each_share(labels: Labels, rule: str, other: str) -> dict[str, Share | None]:
    """Return `share_of` on each environment where `rule` has runs."""
    names = dict.fromkeys(name for name, each in labels if each == rule)
    pairs = {name: {key: value for key, value in labels.items() if key[0] == name} for name in names}
    return {name: share_of(pair, rule, other) for name, pair in pairs.items()}


def verdict_rows(labels: Labels) -> list[list[str]]:
    """Return the rows of a table: whether the one setting does what was aimed at, and where this is known.

    Return no rows if it has no runs.
    """
    share, shares = share_of(labels, ONE_SETTING), each_share(labels, ONE_SETTING, VANILLA)
    if not shares:
        return []
    answer = f"{'no' if share is None or share.value > AIM else 'yes'}: {share_text(share)}"
    rows = [[f"`{ONE_SETTING}`", "yes or no", "environments compared"]]
    rows.append(["needs at most a third of vanilla's labels, in the geometric mean", *_answer(answer, shares)])
    for other in RANDOM:
        shares = each_share(labels, ONE_SETTING, other)
        worse = ", ".join(name for name, each in shares.items() if each is not None and each.low > 1)
        answer = f"no: {worse}" if worse else "yes"
        rows.append([f"needs nowhere more than `{other}`, beyond the interval", *_answer(answer, shares)])
    return rows


def _answer(answer: str, shares: Mapping[str, Share | None]) -> tuple[str, str]:
    """Return the answer, or that it is not known without a comparison, and the environments that were compared."""
    missing = [name for name, share in shares.items() if share is None]
    n, without = len(shares), f", without {', '.join(missing)}" if missing else ""
    return "not known" if len(missing) == n else answer, f"{n - len(missing)} of {n}{without}"
