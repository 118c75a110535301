"""What a label buys: the return against the number of labels, under each rule of DAgger, on several environments."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rl_il.config import RunConfig
from rl_il.envs import env_of
from rl_il.errors import InputError
from rl_il.files import check_writable, safe_name
from rl_il.options import parse_value, split_words
from rl_il.plugins import RULES, check_name
from rl_il.runs.parts import build_policy, find_rule
from rl_il.studies.ablation.grid import RESERVED
from rl_il.studies.ablation.jobs import check_config, with_one_compile
from rl_il.studies.ablation.launch import LOCAL, Launcher
from rl_il.studies.ablation.sweep import is_done, make_missing, print_rest
from rl_il.studies.label_cost.compare import ONE_SETTING, RANDOM, VANILLA, best_rules
from rl_il.studies.label_cost.measure import is_measured, train_and_measure
from rl_il.studies.label_cost.results import FILES, Group, labels_of, write_results

SETTINGS = RunConfig(
    n_demos=1,
    do_dagger=True,
    n_iter=81,
    batch_size=500,
    max_labels=25_000,
    num_agent_train_steps_per_iter=300,
    learning_rate=1e-3,
    size=128,
    normalize_obs=True,
    average_weights=True,
    eval_episodes=20,
    scalar_log_freq=-1,  # the policies of earlier iterations are evaluated after the run
    video_log_freq=-1,
)
ENVIRONMENTS = ["LunarLander-v3", "LunarLanderContinuous-v3", "Hopper-v5", "HalfCheetah-v5", "Walker2d-v5"]
N_ITER = {"Walker2d-v5": 161}
"""`n_iter` where it is not that of `SETTINGS`: with 25 labels a round, 80 rounds are too few for this environment."""

VARIANTS: dict[str, dict[str, Any]] = {
    "vanilla": {},
    "random_50": {"rule": "random", "labels_per_iter": 50},
    "random_25": {"rule": "random", "labels_per_iter": 25},
    "kcentre_25": {"rule": "kcentre", "labels_per_iter": 25},
    "kcentre_features_25": {"rule": "kcentre", "rule_kwargs": "space=features", "labels_per_iter": 25},
    "disagreement_top_50": {"rule": "disagreement", "labels_per_iter": 50, "ensemble": 5},
    "disagreement_proportion_50": {
        "rule": "disagreement",
        "rule_kwargs": "spread=proportion",
        "labels_per_iter": 50,
        "ensemble": 5,
    },
    "disagreement_kcentre_50": {
        "rule": "disagreement",
        "rule_kwargs": "spread=kcentre",
        "labels_per_iter": 50,
        "ensemble": 5,
    },
    "vanilla_ensemble": {"ensemble": 5},
    "random_25_ensemble": {"rule": "random", "labels_per_iter": 25, "ensemble": 5},
    "hg": {"rule": "hg"},
    "hg_50": {"rule": "hg", "labels_per_iter": 50},
    "hg_kcentre_25": {"rule": "hg", "rule_kwargs": "choose=kcentre", "labels_per_iter": 25},
    "hg_kcentre_25_ensemble": {
        "rule": "hg",
        "rule_kwargs": "choose=kcentre",
        "labels_per_iter": 25,
        "ensemble": 5,
    },
    "safe": {"rule": "safe"},
    "lazy": {"rule": "safe", "rule_kwargs": "threshold=0.3 release=0.1"},
    "ensemble_dagger": {"rule": "ensemble_dagger", "ensemble": 5},
    "thrifty": {"rule": "thrifty", "ensemble": 5},
    "dart": {"rule": "dart"},
    "thin_vanilla": {"thin_demos": 100},
    "thin_hg_kcentre_25": {
        "thin_demos": 100,
        "rule": "hg",
        "rule_kwargs": "choose=kcentre",
        "labels_per_iter": 25,
    },
}
"""The rules that are compared, by their names in the table, and the settings in which they differ from `SETTINGS`."""

SEEDS, MORE_SEEDS = 3, 5  # of each rule, and of `CHOSEN` and the best two others
CHOSEN = (VANILLA, *RANDOM, ONE_SETTING)
QUICK = {"rules": ["vanilla", "random_50", "random_25", "hg_50"], "env_names": ["LunarLander-v3", "Hopper-v5"]}
QUICK_SEEDS = 2


@dataclass(frozen=True)
class Study:
    """What is compared: rules (names in `VARIANTS`, or as `settings_of` takes them) on environments."""

    rules: Sequence[str]
    env_names: Sequence[str]
    n_seeds: int | None = None  # of each rule; None: `SEEDS`, and `MORE_SEEDS` of `CHOSEN` and the best
    base: RunConfig = SETTINGS  # its seed is the first seed; `N_ITER` replaces its n_iter

    def configs(self, best: Collection[str] = ()) -> dict[tuple[str, str], list[RunConfig]]:
        """Return the runs of each environment and rule; `best` are rules with `MORE_SEEDS`."""
        pairs = [(env_name, rule) for env_name in self.env_names for rule in self.rules]
        return {pair: self._runs(*pair, more=pair[1] in (*CHOSEN, *best)) for pair in pairs}

    def _runs(self, env_name: str, rule: str, more: bool) -> list[RunConfig]:
        settings = {"n_iter": N_ITER.get(env_name, self.base.n_iter)} | settings_of(rule)
        config = replace(self.base, env_name=env_name, **settings)
        n_seeds = self.n_seeds or (MORE_SEEDS if more else SEEDS)
        seeds, folder = range(config.seed, config.seed + n_seeds), f"runs/{safe_name(env_name)}/{safe_name(rule)}"
        return [replace(config, seed=seed, logdir=f"{folder}/seed_{seed}") for seed in seeds]


def study_of(
    rules: Sequence[str] | None, env_names: Sequence[str] | None, n_seeds: int | None, first_seed: int, quick: bool
) -> Study:
    """Return the study that the flags of `scripts/label_cost.py` describe."""
    chosen = QUICK if quick else {"rules": list(VARIANTS), "env_names": ENVIRONMENTS}
    chosen = {"rules": rules or chosen["rules"], "env_names": env_names or chosen["env_names"]}
    for name, values in chosen.items():
        if len({*values}) < len(values):
            raise InputError(f"--{name}: the names must differ, got {', '.join(values)}")
    return Study(
        **chosen, n_seeds=n_seeds or (QUICK_SEEDS if quick else None), base=replace(SETTINGS, seed=first_seed)
    )


def settings_of(rule: str) -> dict[str, Any]:
    """Return the settings of a rule from a text: `hg_50`, `my_rule:Mine labels_per_iter=25`, `hg ensemble=5`.

    The first word is a name in `VARIANTS`, a rule's name in `RULES`, or the user's own `module:Name`.
    """
    name, *words = split_words("--rules", rule) or [""]
    if name not in RULES:
        check_name("rule", VARIANTS, name)
    settings = dict(VARIANTS.get(name, {"rule": name}))
    for word in words:
        setting, equals, text = word.partition("=")
        if not equals or setting in (*RESERVED, "env_name", "do_dagger"):
            raise InputError(f"--rules {rule}: {word} must be SETTING=VALUE, such as labels_per_iter=25")
        settings[setting] = parse_value(RunConfig, setting, text)
    return settings


def run_label_cost(study: Study, outdir: Path, launcher: Launcher = LOCAL) -> bool:
    """Make and measure the runs that are missing, and write the table, the figure and the page of all.

    Args:
      study: what is compared.
      outdir: the folder of the runs and the results.
      launcher: as for `run_ablation`.

    Returns:
      True if every run ended without an error.

    Raises:
      InputError: a setting or an input does not fit, or `outdir` holds other runs, or there is no result.
      Interrupted: Ctrl-C or SIGTERM; what was made is kept, and the same call continues.
    """
    for name in FILES:
        check_writable(outdir / name)
    for first, *_ in study.configs().values():
        check_config(first)
        _check_rule(first)
    groups, failures, missing = _make(study.configs(), outdir, launcher)
    if study.n_seeds is None and not (failures or missing):  # with all results, the best rules are known
        best = [rule for rule in best_rules(labels_of(groups)) if rule not in CHOSEN][:2]
        groups, failures, missing = _make(study.configs(best), outdir, launcher)
    if not any(group.folders for group in groups):
        raise InputError(f"{outdir}: no run has a result; log.txt in this folder has the reasons")
    write_results(groups, outdir)
    print_rest(failures, missing, outdir)
    return not failures


def _check_rule(config: RunConfig) -> None:
    """Raise `InputError` if the run lacks something that its rule needs."""
    with closing(env_of(config)) as env:
        find_rule(config).check(config, build_policy(config, env).actor())


def _make(
    wanted: dict[tuple[str, str], list[RunConfig]], outdir: Path, launcher: Launcher
) -> tuple[list[Group], dict[str, str], int]:
    """Make the missing runs; return all results, and what `make_missing` returns."""
    configs = with_one_compile([config for runs in wanted.values() for config in runs], outdir)
    failures, missing = make_missing(configs, outdir, launcher, train_and_measure, _is_done)
    groups = []
    for (env_name, rule), runs in wanted.items():
        folders = [outdir / config.logdir for config in runs]
        groups.append(Group(env_name, rule, [folder for folder in folders if is_measured(folder)]))
    return groups, failures, missing


def _is_done(config: RunConfig, outdir: Path) -> bool:
    return is_done(config, outdir) and is_measured(outdir / config.logdir)
