"""A diagnosis by time step: binned numbers, the two pictures, the strip of frames, the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rl_il.report.figures import COLOURS, INK, add_caption, marked, new_figure, save
from rl_il.report.tables import table_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 30  # of the time axis, about
RESAMPLES = 2_000
FRAME_INCHES = 2.2  # a frame's width in the strip
LEGEND_LETTERS = 80  # that fit side by side below a picture


@dataclass(frozen=True)
class OnStates:
    """One policy on the states of some episodes of `T` steps each."""

    errors: Sequence[np.ndarray]  # (T,) an episode: 1 for another action than the expert's; or the squared difference
    distances: Sequence[np.ndarray]  # (T,) an episode: from each state to the nearest training state
    loss: float  # against the expert's labels

    def disagreement(self, discrete: bool) -> float:
        """Return the fraction of states with another action than the expert's; or the root mean square difference."""
        mean = float(np.concatenate(self.errors).mean())
        return mean if discrete else mean**0.5


@dataclass(frozen=True)
class Drift:
    """What was measured of one policy."""

    name: str
    returns: np.ndarray  # (episodes,)
    own: OnStates  # the states that it visits itself
    experts: OnStates  # the states of the expert's own, fresh episodes
    demonstrated: OnStates  # the states of the demonstrations; without distances
    loss_name: str
    training_states: int
    all_known: bool  # whether these are all that it was trained on, and not the demonstrations alone
    discrete: bool


@dataclass(frozen=True)
class Band:
    """A quantity in each bin of time steps, up to the longest episode."""

    steps: np.ndarray  # (bins,) the middle of each bin
    running: np.ndarray  # (bins,) episodes that reach it
    middle: np.ndarray  # (bins,), as are the ends of the band
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Strip:
    """Frames around a policy's first divergence from the expert."""

    frames: Sequence[np.ndarray]  # one a step, (height, width, 3) uint8
    steps: Sequence[int]
    acs: np.ndarray  # what the policy wanted at these steps, not clipped
    labels: np.ndarray  # what the expert would have done
    step: int  # the first divergence
    name: str
    caption: str


def bin_width(everywhere: Sequence[OnStates]) -> int:
    """Return the steps to a bin, so that `BINS` of them cover what a tenth of somebody's episodes reach."""
    lengths = [np.quantile([len(each) for each in states.errors], 0.9, method="higher") for states in everywhere]
    return int(np.ceil(max(lengths) / BINS))


def mean_by_time(values: Sequence[np.ndarray], width: int, root: bool = False) -> Band:
    """Return the mean of `values` (a `(T,)` array an episode) in bins of `width` steps, and its 95 % interval.

    Whole episodes are redrawn, since the steps of one depend on each other. A bin holds only the episodes that
    still run by then: where failures end early, the later bins speak of the successes alone (survivorship). With
    `root`, it is the root of all means. A bin with one episode has no interval.
    """
    bins = [np.arange(len(each)) // width for each in values]
    n_bins = 1 + max(int(each[-1]) for each in bins)
    sums = np.array([np.bincount(b, v, n_bins) for b, v in zip(bins, values, strict=True)])
    counts = np.array([np.bincount(b, minlength=n_bins) for b in bins])
    running = (counts > 0).sum(axis=0)
    weights = np.random.default_rng(0).multinomial(len(bins), np.full(len(bins), 1 / len(bins)), size=RESAMPLES)
    with np.errstate(invalid="ignore"):  # a resample may hold no episode that reaches the bin
        resampled = (weights @ sums) / (weights @ counts)
    low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
    low[running < 2] = high[running < 2] = np.nan
    numbers = [sums.sum(axis=0) / counts.sum(axis=0), low, high]
    return Band(_middles(n_bins, width), running, *(np.sqrt(each) if root else each for each in numbers))


def spread_by_time(values: Sequence[np.ndarray], width: int) -> Band:
    """Return the median over the states in bins of `width` steps, from the 10th to the 90th percentile. It holds
    only the episodes that still run, too."""
    starts = range(0, max(map(len, values)), width)
    binned = [[each[start : start + width] for each in values if len(each) > start] for start in starts]
    low, middle, high = np.array([np.percentile(np.concatenate(each), [10, 50, 90]) for each in binned]).T
    return Band(_middles(len(binned), width), np.array([len(each) for each in binned]), middle, low, high)


def _middles(n_bins: int, width: int) -> np.ndarray:
    return np.arange(n_bins) * width + (width - 1) / 2


def draw_drift(folder: Path, title: str, drifts: Sequence[Drift], caption: str) -> list[Path]:
    """Write drift.png and drift.svg: disagreement and distance by time step, all policies in both pictures."""
    everywhere = [states for drift in drifts for states in (drift.own, drift.experts)]
    width, discrete = bin_width(everywhere), drifts[0].discrete
    paths = [folder / "drift.png", folder / "drift.svg"]
    with new_figure(columns=2, size=(13, 5)) as (figure, (left, right)):
        for i, drift in enumerate(drifts):
            for states, solid in ((drift.own, True), (drift.experts, False)):
                _draw_band(left, mean_by_time(states.errors, width, root=not discrete), drift.name, i, solid)
                _draw_band(right, spread_by_time(states.distances, width), drift.name, i, solid)
        what = "states whose action is not the expert's" if discrete else "RMS difference from the expert's action"
        left.set_ylabel(what)
        left.set_title("disagreement with the expert")
        right.set_ylabel("distance to the nearest training state")
        right.set_title("how far visited states lie from the training set")
        if discrete:
            left.yaxis.set_major_formatter(lambda fraction, _: f"{100 * fraction:.0f} %")
        for axes in (left, right):
            axes.set_xlabel(f"time step within the episode, in bins of {width}" if width > 1 else "time step")
            axes.set_xlim(left=0)
        left.set_ylim(bottom=0)
        if min(each.min() for states in everywhere for each in states.distances) > 0:
            right.set_yscale("log")  # the policies lie orders of magnitude apart
            right.yaxis.set_major_formatter("{x:g}")
        _add_legends(left, right, [drift.name for drift in drifts])
        figure.suptitle(title)
        add_caption(figure, caption)
        save(figure, *paths)
    return paths


def _draw_band(axes: Axes, band: Band, name: str, i: int, solid: bool) -> None:
    """Draw a policy's own states as a solid line with its band, the expert's states as a broken one without."""
    style = marked(i)
    drawn = band.running >= least_running(band.running[0])
    x, middle, low, high = (each[drawn] for each in (band.steps, band.middle, band.low, band.high))
    if solid:
        axes.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)
        axes.plot(x, middle, **style, markersize=4, label=name)
    else:
        axes.plot(x, middle, "--", linewidth=1.2, color=style["color"])


def _add_legends(left: Axes, right: Axes, names: Sequence[str]) -> None:
    """Write below the pictures, where it hides nothing, what the colours mean, and what the lines do."""
    from matplotlib.lines import Line2D

    below = {"loc": "upper left", "bbox_to_anchor": (0, -0.13), "fontsize": 9, "frameon": False}
    # No wider than the picture, which would otherwise shrink.
    left.legend(**below, ncols=max(1, min(len(names), LEGEND_LETTERS // (max(map(len, names)) + 8))))
    solid, broken = Line2D([], [], color=INK, marker="o", markersize=4), Line2D([], [], color=INK, linestyle="--")
    right.legend([solid, broken], ["on states it visits itself", "on the expert's states"], **below, ncols=2)


def least_running(episodes: int) -> float:
    """Return how many episodes must reach a bin that is drawn: a tenth of them, and two where there are two."""
    return max(min(2, episodes), episodes / 10)


def drift_caption(env_name: str, drifts: Sequence[Drift]) -> str:
    """Return what was measured and how, and what it hides."""
    n = len(drifts[0].returns)
    caption = (
        f"{env_name}, {n} fresh episodes of each policy and of the expert, from the same starts. Left: mean and"
        " 95 % bootstrap interval over episodes. Right: the median, and the 10th to the 90th percentile of states;"
        " Euclidean distance, each number divided by its standard deviation over the demonstrations. A bin holds only"
        " the episodes that still run by then, so later bins speak of those that lasted (survivorship); it is drawn"
        f" if at least {np.ceil(least_running(n)):.0f} do. Still running: {'; '.join(map(survivors, drifts))}."
    )
    unknown = ", ".join(drift.name for drift in drifts if not drift.all_known)
    told = f" Without a run folder, so with the demonstrations alone for a training set: {unknown}."
    return caption + (told if unknown else "")


def survivors(drift: Drift) -> str:
    """Return how many episodes still run as time goes by."""
    lengths = np.array([len(errors) for errors in drift.own.errors])
    times = np.unique(np.quantile(lengths, [0.25, 0.5, 0.75], method="lower"))
    counts = [f"{(lengths > step).sum()} after step {step}" for step in times if (lengths > step).any()]
    return f"{drift.name}: " + (", ".join(counts) or f"all to step {lengths.max()}")


def draw_strip(path: Path, strip: Strip) -> None:
    """Write the frames side by side, each under its step, the policy's action and the expert's."""
    height, width, _ = strip.frames[0].shape
    size = (FRAME_INCHES * len(strip.frames), FRAME_INCHES * height / width + 0.6)  # the rest is for the words
    with new_figure(columns=len(strip.frames), size=size) as (figure, pictures):
        columns = (pictures, strip.frames, strip.steps, strip.acs, strip.labels)
        for axes, frame, step, ac, label in zip(*columns, strict=True):
            axes.imshow(frame)
            axes.axis("off")
            offset = f" ({step - strip.step:+d})" if step != strip.step else ", first divergence"
            words = f"step {step}{offset}\n{strip.name}: {action_text(ac)}\nexpert: {action_text(label)}"
            differs = strip.acs.ndim == 1 and ac != label
            axes.set_title(words, fontsize=8, color=COLOURS[1] if differs else INK)
        add_caption(figure, strip.caption)
        save(figure, path)


def action_text(ac: np.ndarray) -> str:
    """Return an action in a few letters; of a long one its first three numbers."""
    numbers = np.atleast_1d(ac)
    if numbers.dtype.kind in "iu":
        return str(numbers[0])
    return " ".join(f"{number:.2f}" for number in numbers[:3]) + (" ..." if len(numbers) > 3 else "")


def drift_table(drifts: Sequence[Drift]) -> list[list[str]]:
    """Return rows of cells, a column for each policy; the first row is the header."""

    def disagreement(states: OnStates, discrete: bool) -> str:
        value = states.disagreement(discrete)
        return f"{100 * value:.1f} %" if discrete else f"{value:.3f}"

    def distance(states: OnStates) -> str:
        return f"{np.median(np.concatenate(states.distances)):.3f}"

    def ratio(drift: Drift) -> str:
        own, experts = (states.disagreement(drift.discrete) for states in (drift.own, drift.experts))
        return f"{own / experts:.1f}" if experts else ""

    rows = {
        "": lambda d: d.name,
        "episodes": lambda d: f"{len(d.returns):,}",
        "mean return": lambda d: f"{d.returns.mean():.1f}",
        "disagreement on the demonstrations": lambda d: disagreement(d.demonstrated, d.discrete),
        "disagreement on fresh expert states": lambda d: disagreement(d.experts, d.discrete),
        "disagreement on its own states": lambda d: disagreement(d.own, d.discrete),
        "its own states / fresh expert states": ratio,
        "loss": lambda d: d.loss_name,
        "loss on the demonstrations": lambda d: f"{d.demonstrated.loss:.4f}",
        "loss on fresh expert states": lambda d: f"{d.experts.loss:.4f}",
        "loss on its own states": lambda d: f"{d.own.loss:.4f}",
        "training states": lambda d: f"{d.training_states:,}",
        "median distance of fresh expert states": lambda d: distance(d.experts),
        "median distance of its own states": lambda d: distance(d.own),
    }
    return [list(row) for row in zip(*table_of(rows, drifts), strict=True)]
