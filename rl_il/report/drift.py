"""A diagnosis by time step: numbers in bins, two pictures, a strip of frames, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rl_il.report.figures import COLOURS, INK, add_caption, marked, new_figure, save, wrapped
from rl_il.report.tables import table_of
from rl_il.statistics import MIN_EPISODES, tail_probability
from rl_il.types import RETURN, Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 30  # approximate number of bins of the time axis
RESAMPLES = 2_000
FRAME_INCHES = 2.2  # width of a frame in the strip
LINE_INCHES = 0.16  # height of a line of text above a frame
LEGEND_LETTERS = 80  # that fit on one line below a picture


@dataclass(frozen=True)
class OnStates:
    """The measurements of a policy on the states of some episodes. `T` is the number of steps of an episode."""

    errors: Sequence[np.ndarray]  # (T,) per episode: 1 if not the expert's action; or the squared difference
    distances: Sequence[np.ndarray]  # (T,) per episode: from the state to the nearest training state
    loss: float  # against the expert's labels

    def disagreement(self, discrete: bool) -> float:
        """Return the fraction of states whose action is not the expert's, or the root mean square difference."""
        mean = float(np.concatenate(self.errors).mean())
        return mean if discrete else mean**0.5


@dataclass(frozen=True)
class Drift:
    """All measurements of one policy."""

    name: str
    scores: np.ndarray  # (episodes,) what the environment is judged by: for most the returns
    own: OnStates  # on the states that it visits itself
    experts: OnStates  # on the states of new episodes of the expert
    demonstrated: OnStates  # on the states of the demonstrations, without distances
    loss_name: str
    training_states: int
    all_known: bool  # whether these are all states that it was trained on, and not only the demonstrations
    discrete: bool
    measure: Measure = RETURN


@dataclass(frozen=True)
class Band:
    """A quantity in each bin of time steps, up to the end of the longest episode."""

    steps: np.ndarray  # (bins,) the middle of each bin
    running: np.ndarray  # (bins,) number of episodes that reach the bin
    middle: np.ndarray  # (bins,) the curve; low and high, the ends of the band, have the same shape
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Strip:
    """The frames around the first step at which a policy diverges from the expert."""

    frames: Sequence[np.ndarray]  # one for each step, (height, width, 3) uint8
    steps: Sequence[int]
    acs: np.ndarray  # the policy's actions at these steps, not clipped
    labels: np.ndarray  # the expert's actions in the same states
    step: int  # the first divergence
    name: str
    caption: str
    action_names: Sequence[str] = ()  # of integer actions, or of the axes of continuous actions; empty: not known


def bin_width(everywhere: Sequence[OnStates]) -> int:
    """Return the number of time steps in a bin.

    It is chosen so that about `BINS` bins cover all steps that at least a tenth of the episodes of a policy reach.
    """
    lengths = [np.quantile([len(each) for each in states.errors], 0.9, method="higher") for states in everywhere]
    return int(np.ceil(max(lengths) / BINS))


def mean_by_time(values: Sequence[np.ndarray], width: int, root: bool = False) -> Band:
    """Return the mean of `values` (an array `(T,)` for each episode) in bins of `width` steps, and its 95 % interval.

    The bootstrap draws whole episodes, because the steps of one episode depend on each other. A bin contains only the
    episodes that still run: if failures end early, the later bins show only the successes (survivorship). A bin with
    fewer than five episodes has no interval. With `root`, return the square roots of the mean and the interval.
    """
    bins = [np.arange(len(each)) // width for each in values]
    n_bins = 1 + max(int(each[-1]) for each in bins)
    sums = np.array([np.bincount(b, v, n_bins) for b, v in zip(bins, values, strict=True)])
    counts = np.array([np.bincount(b, minlength=n_bins) for b in bins])
    running = (counts > 0).sum(axis=0)
    weights = np.random.default_rng(0).multinomial(len(bins), np.full(len(bins), 1 / len(bins)), size=RESAMPLES)
    with np.errstate(invalid="ignore"):  # a resample may have no episode that reaches the bin
        resampled = (weights @ sums) / (weights @ counts)
    low, high = np.full((2, n_bins), np.nan)
    for i in np.flatnonzero(running >= MIN_EPISODES):
        tail = tail_probability(int(running[i]))
        low[i], high[i] = np.nanquantile(resampled[:, i], [tail, 1 - tail])
    numbers = [sums.sum(axis=0) / counts.sum(axis=0), low, high]
    return Band(_middles(n_bins, width), running, *(np.sqrt(each) if root else each for each in numbers))


def spread_by_time(values: Sequence[np.ndarray], width: int) -> Band:
    """Return the median over the states in bins of `width` steps, and the 10th and 90th percentiles.

    As in `mean_by_time`, a bin contains only the episodes that are still running.
    """
    starts = range(0, max(map(len, values)), width)
    binned = [[each[start : start + width] for each in values if len(each) > start] for start in starts]
    low, middle, high = np.array([np.percentile(np.concatenate(each), [10, 50, 90]) for each in binned]).T
    return Band(_middles(len(binned), width), np.array([len(each) for each in binned]), middle, low, high)


def _middles(n_bins: int, width: int) -> np.ndarray:
    return np.arange(n_bins) * width + (width - 1) / 2


def draw_drift(folder: Path, title: str, drifts: Sequence[Drift], caption: str) -> list[Path]:
    """Write drift.png and drift.svg, which show the disagreement and the distance of all policies by time step."""
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
            right.set_yscale("log")  # the policies differ by orders of magnitude
            right.yaxis.set_major_formatter("{x:g}")
        _add_legends(left, right, [drift.name for drift in drifts])
        figure.suptitle(title)
        add_caption(figure, caption)
        save(figure, *paths)
    return paths


def _draw_band(axes: Axes, band: Band, name: str, i: int, solid: bool) -> None:
    """Draw a line: solid with a band for a policy's own states, dashed without a band for the expert's states."""
    style = marked(i)
    drawn = band.running >= min_running(band.running[0])
    x, middle, low, high = (each[drawn] for each in (band.steps, band.middle, band.low, band.high))
    if solid:
        axes.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)
        axes.plot(x, middle, **style, markersize=4, label=name)
    else:
        axes.plot(x, middle, "--", linewidth=1.2, color=style["color"])


def _add_legends(left: Axes, right: Axes, names: Sequence[str]) -> None:
    """Add a legend of the colours and a legend of the line styles below the axes, where they cover no line."""
    from matplotlib.lines import Line2D

    below = {"loc": "upper left", "bbox_to_anchor": (0, -0.13), "fontsize": 9, "frameon": False}
    # The legend must not be wider than the axes, which would otherwise become smaller.
    left.legend(**below, ncols=max(1, min(len(names), LEGEND_LETTERS // (max(map(len, names)) + 8))))
    solid, broken = Line2D([], [], color=INK, marker="o", markersize=4), Line2D([], [], color=INK, linestyle="--")
    right.legend([solid, broken], ["on states it visits itself", "on the expert's states"], **below, ncols=2)


def min_running(episodes: int) -> float:
    """Return how many episodes must reach a bin so that it is drawn: a tenth of them, and at least two of several."""
    return max(min(2, episodes), episodes / 10)


def drift_caption(env_name: str, drifts: Sequence[Drift]) -> str:
    """Return the caption, which says what was measured, how, and what the picture does not show."""
    n = len(drifts[0].scores)
    caption = (
        f"{env_name}, {n} new episodes of each policy and of the expert, with the same start states. Left: the mean"
        " and its 95 % interval, a bootstrap over episodes of this policy. Right: the median, and the 10th to the"
        " 90th percentile of states. The distance is Euclidean, after each number was divided by its standard"
        " deviation over the demonstrations. A bin contains only the episodes that are still running, so later bins"
        " show only the long ones (survivorship). A bin is drawn if at least"
        f" {np.ceil(min_running(n)):.0f} are running. Still running: {'; '.join(map(survivors, drifts))}."
    )
    unknown = ", ".join(drift.name for drift in drifts if not drift.all_known)
    described = f" Policies without a run folder, whose training set is taken to be the demonstrations: {unknown}."
    return caption + (described if unknown else "")


def survivors(drift: Drift) -> str:
    """Return a text that says how many episodes are still running after some time steps."""
    lengths = np.array([len(errors) for errors in drift.own.errors])
    times = np.unique(np.quantile(lengths, [0.25, 0.5, 0.75], method="lower"))
    counts = [f"{(lengths > step).sum()} after step {step}" for step in times if (lengths > step).any()]
    return f"{drift.name}: " + (", ".join(counts) or f"all to step {lengths.max()}")


def draw_strip(path: Path, strip: Strip) -> None:
    """Write the frames side by side. Above each are the step, the policy's action and the expert's action."""
    height, width, _ = strip.frames[0].shape
    texts = [_strip_text(strip, *each) for each in zip(strip.steps, strip.acs, strip.labels, strict=True)]
    n_lines = max(text.count("\n") + 1 for text in texts)
    size = (FRAME_INCHES * len(strip.frames), FRAME_INCHES * height / width + LINE_INCHES * n_lines)
    with new_figure(columns=len(strip.frames), size=size) as (figure, pictures):
        columns = (pictures, strip.frames, texts, strip.acs, strip.labels)
        for axes, frame, text, ac, label in zip(*columns, strict=True):
            axes.imshow(frame)
            axes.axis("off")
            differs = strip.acs.ndim == 1 and ac != label
            axes.set_title(text, fontsize=8, color=COLOURS[1] if differs else INK)
        add_caption(figure, strip.caption)
        save(figure, path)


def _strip_text(strip: Strip, step: int, ac: np.ndarray, label: np.ndarray) -> str:
    """Return the text above a frame, in lines that are not wider than the frame."""
    offset = f" ({step - strip.step:+d})" if step != strip.step else ", first divergence"
    own, experts = (action_text(each, strip.action_names) for each in (ac, label))
    lines = (f"step {step}{offset}", f"{strip.name}: {own}", f"expert: {experts}")
    return "\n".join(wrapped(line, FRAME_INCHES) for line in lines)


def action_text(ac: np.ndarray, names: Sequence[str] = ()) -> str:
    """Return an action as a short text.

    It is the name of an integer action, several integers, the value of each axis with its name, or the first three
    numbers.

    Args:
      ac: an integer, or numbers of any shape.
      names: the names of the integers or of the axes. An action without a name is shown as a number.
    """
    numbers = np.atleast_1d(ac)
    if numbers.dtype.kind in "iu" and numbers.size > 1:
        return " ".join(map(str, numbers.ravel()[:8])) + (" ..." if numbers.size > 8 else "")
    if numbers.dtype.kind in "iu":
        action = int(numbers[0])
        return names[action] if 0 <= action < len(names) else str(action)
    if len(names) == len(numbers):
        return ", ".join(f"{name} {number:.2f}" for name, number in zip(names, numbers, strict=True))
    numbers = numbers.ravel()
    return " ".join(f"{number:.2f}" for number in numbers[:3]) + (" ..." if len(numbers) > 3 else "")


def drift_table(drifts: Sequence[Drift]) -> list[list[str]]:
    """Return the rows of a table with a column for each policy. The first row is the header."""

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
        "episodes": lambda d: f"{len(d.scores):,}",
        f"mean {drifts[0].measure.name}": lambda d: f"{d.scores.mean():{d.measure.digits}}",
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
