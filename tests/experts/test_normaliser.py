"""Where the normaliser of a Stable-Baselines3 zip is found: the layouts of its zoo, the hub and its callbacks."""

import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import refusal
from sb3_files import box, discrete, network, write_normaliser, write_zip

from rl_il.errors import InputError
from rl_il.experts.loading import load_actor
from rl_il.experts.normaliser import says_normalised

ENV = "MountainCarContinuous-v0"  # observes two numbers, and takes one action between -1 and 1
WEIGHTS = {"action_net.weight": torch.tensor([[0.1, 0.2]]), "action_net.bias": torch.tensor([0.05])}
OB = np.array([3.0, 1.0], np.float32)
RAW = 0.3 + 0.2 + 0.05
NORMALISED = 0.1 * 1 + 0.2 * 1.5 + 0.05  # ((3, 1) - (1, -1)) / (2, 1) = (1, 2), clipped to 1.5

# As the zoo writes them with PyYAML, which rl_il does not need.
CONFIG = """!!python/object/apply:collections.OrderedDict
- - - gamma
    - 0.98
  - - n_timesteps
    - 1000000.0
  - - normalize
    - {}
  - - normalize_advantage
    - false
  - - policy
    - MlpPolicy
"""
WITH_KWARGS = """'{''norm_obs'': True, ''norm_reward'': False}'"""
FOLDED = """'{''norm_obs'':
      False, ''norm_reward'': True}'"""


def write_policy(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_zip(path, WEIGHTS, {"policy_kwargs": {}, "action_space": box(1), "observation_space": box(2)})


def write_statistics(path, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_normaliser(path, mean=np.array([1.0, -1.0]), var=np.array([4.0, 1.0]), **changes)
    return path


def write_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def action(path, env, **flags):
    return load_actor(path, env, **flags).get_action(OB)


def refuse(path, env, *words):
    return refusal(load_actor, path, env, holds=words)


@pytest.mark.parametrize(
    ("policy", "normaliser"),
    [
        ("HalfCheetah-v3.zip", "HalfCheetah-v3/vecnormalize.pkl"),  # the zoo
        ("best_model.zip", "HalfCheetah-v3/vecnormalize.pkl"),
        ("rl_model_5000_steps.zip", "HalfCheetah-v3/vecnormalize.pkl"),
        ("rl_model_5000_steps.zip", "rl_model_vecnormalize_5000_steps.pkl"),  # CheckpointCallback
        ("ppo-HalfCheetah-v3.zip", "vec_normalize.pkl"),  # the hub
        ("model.zip", "vecnormalize.pkl"),
        ("model.zip", f"{ENV}/vecnormalize.pkl"),
    ],
)
def test_the_normaliser_is_found_used_and_named(tmp_path, shared_env, capsys, policy, normaliser):
    path, env = write_policy(tmp_path / policy), shared_env(ENV)
    if normaliser.startswith("HalfCheetah"):
        write_text(tmp_path / "HalfCheetah-v3" / "config.yml", CONFIG.format("true"))
    found = write_statistics(tmp_path / normaliser)
    assert action(path, env) == pytest.approx([NORMALISED], abs=1e-6)
    note = capsys.readouterr().err
    assert note.count("\n") == 1 and str(found) in note
    assert action(path, env, no_normalizer=True) == pytest.approx([RAW], abs=1e-6)
    assert capsys.readouterr().err == ""


def test_without_a_normaliser_it_acts_on_raw_observations_and_says_so(tmp_path, shared_env, capsys):
    path = write_policy(tmp_path / "model.zip")
    assert action(path, shared_env(ENV)) == pytest.approx([RAW], abs=1e-6)
    assert capsys.readouterr().err.count("no normaliser") == 1


def test_a_normaliser_of_rewards_only_is_not_used(tmp_path, shared_env):
    path = write_policy(tmp_path / "model.zip")
    write_statistics(tmp_path / "vecnormalize.pkl", norm_obs=False)
    assert action(path, shared_env(ENV)) == pytest.approx([RAW], abs=1e-6)


def test_another_policys_normaliser_is_not_used(tmp_path, shared_env):
    own, other = (write_policy(tmp_path / f"{name}.zip") for name in ("own", "other"))
    write_statistics(tmp_path / "other" / "vecnormalize.pkl")
    write_text(tmp_path / "other" / "config.yml", CONFIG.format("true"))
    assert action(own, shared_env(ENV)) == pytest.approx([RAW], abs=1e-6)
    write_statistics(tmp_path / "vecnormalize.pkl", clip_obs=1.0)
    assert action(other, shared_env(ENV)) == pytest.approx([NORMALISED], abs=1e-6)  # its own folder comes first


@pytest.mark.parametrize("file", ["config.yml", "args.yml", "m/config.yml", "m/args.yml", f"{ENV}/config.yml"])
@pytest.mark.parametrize("value", ["true", WITH_KWARGS])
def test_a_missing_normaliser_is_refused_if_the_settings_name_it(tmp_path, shared_env, file, value):
    path = write_policy(tmp_path / "m.zip")
    write_text(tmp_path / file, CONFIG.format(value))
    refuse(path, shared_env(ENV), file, "vec_normalize.pkl", "--no_normalizer")
    assert action(path, shared_env(ENV), no_normalizer=True) == pytest.approx([RAW], abs=1e-6)


def test_a_file_that_looks_like_a_normaliser_is_not_passed_over(tmp_path, shared_env):
    path = write_policy(tmp_path / "m.zip")
    write_statistics(tmp_path / "m_VecNorm.pkl")
    refuse(path, shared_env(ENV), "m_VecNorm.pkl", "--no_normalizer")


def test_a_best_model_between_two_trainings_is_refused(tmp_path, shared_env):
    path = write_policy(tmp_path / "best_model.zip")
    for folder in ("a", "b"):
        write_statistics(tmp_path / folder / "vecnormalize.pkl")
        write_text(tmp_path / folder / "args.yml", "")
    refuse(path, shared_env(ENV), "vecnormalize.pkl", "--no_normalizer")


def test_two_normalisers_that_differ_are_refused(tmp_path, shared_env):
    path = write_policy(tmp_path / "m.zip")
    write_statistics(tmp_path / "vecnormalize.pkl")
    shutil.copy(tmp_path / "vecnormalize.pkl", tmp_path / "vec_normalize.pkl")
    assert action(path, shared_env(ENV)) == pytest.approx([NORMALISED], abs=1e-6)
    write_statistics(tmp_path / "vec_normalize.pkl", clip_obs=3.0)
    refuse(path, shared_env(ENV), "vecnormalize.pkl", "vec_normalize.pkl")


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        (CONFIG.format("true"), True),
        (CONFIG.format("false"), False),
        (CONFIG.format(WITH_KWARGS), True),
        (CONFIG.format(FOLDED), False),
        (CONFIG.format('"dict(norm_obs=False, norm_reward=True)"'), False),
        (CONFIG.format('"dict(norm_obs=True, norm_reward=False)"'), True),
        (CONFIG.format("\"{'norm_reward': False}\""), True),
        (CONFIG.replace("  - - normalize\n    - {}\n", ""), False),
        ("env: Pendulum-v1\nnormalize: true\n", True),
        ("normalize: False\n", False),
        ("  - - hyperparams\n    - normalize: true\n", True),
        ("# normalize: true\n", False),
        ("normalize_advantage: true\n", False),
        ("- - normalize\n", False),
        ("", False),
    ],
)
def test_what_the_zoos_settings_say(text, normalised):
    assert says_normalised(text) is normalised


@pytest.mark.parametrize("changes", [{"obs_rms": None}, {"epsilon": "small"}, {"clip_obs": -1.0}, {"epsilon": -9.0}])
def test_a_normaliser_of_other_numbers_is_refused(tmp_path, shared_env, changes):
    path = write_policy(tmp_path / "x.zip")
    write_statistics(tmp_path / "vecnormalize.pkl", **changes)
    refuse(path, shared_env(ENV), "vecnormalize.pkl", "clip_obs")


def test_a_normaliser_for_another_size_is_refused(tmp_path, shared_env):
    path = write_policy(tmp_path / "x.zip")
    write_normaliser(tmp_path / "vecnormalize.pkl")
    refuse(path, shared_env(ENV), "obs_mean", "(8,)")


# The hub ---------------------------------------------------------------------------------------------------

REPO = "sb3/ppo-X"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return a hub whose repository is a folder; it copies what is downloaded into `cache`, as the library does."""
    module, repository, cache = types.ModuleType("huggingface_hub"), tmp_path / "repository", tmp_path / "cache"
    module.repository, module.cache, module.asked, module.offline = repository, cache, [], False

    def download(repo, name):
        module.asked.append((repo, name))
        if not (cache / name).exists():
            if module.offline or not (repository / name).exists():
                raise OSError("404\nmany lines")
            (cache / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(repository / name, cache / name)
        return str(cache / name)

    def listed(repo):
        if module.offline:
            raise ConnectionError("no network\nmany lines")
        return [path.relative_to(repository).as_posix() for path in repository.rglob("*") if path.is_file()]

    module.hf_hub_download, module.list_repo_files = download, listed
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return module


@pytest.mark.parametrize(
    ("policy", "normaliser"),
    [
        ("ppo-X.zip", "vec_normalize.pkl"),
        ("ppo-X.zip", "ppo-X/vecnormalize.pkl"),
        ("logs/a/ppo-X.zip", "logs/a/vec_normalize.pkl"),
    ],
)
def test_the_hubs_normaliser_is_downloaded_too(hub, shared_env, capsys, policy, normaliser):
    write_policy(hub.repository / policy)
    write_statistics(hub.repository / normaliser)
    write_text(hub.repository / "replay.mp4", "")
    assert action(f"hf:{REPO}/{policy}", shared_env(ENV)) == pytest.approx([NORMALISED], abs=1e-6)
    assert hub.asked == [(REPO, policy), (REPO, normaliser)]
    assert str(hub.cache / normaliser) in capsys.readouterr().err
    hub.offline = True
    assert action(f"hf:{REPO}/{policy}", shared_env(ENV)) == pytest.approx([NORMALISED], abs=1e-6)


def test_no_normalizer_downloads_only_the_zip(hub, shared_env):
    write_policy(hub.repository / "ppo-X.zip")
    write_statistics(hub.repository / "vec_normalize.pkl")
    assert action(f"hf:{REPO}/ppo-X.zip", shared_env(ENV), no_normalizer=True) == pytest.approx([RAW], abs=1e-6)
    assert hub.asked == [(REPO, "ppo-X.zip")]


def test_the_hubs_settings_refuse_a_missing_normaliser(hub, shared_env):
    write_policy(hub.repository / "ppo-X.zip")
    write_text(hub.repository / "config.yml", CONFIG.format("true"))
    with pytest.raises(InputError, match="--no_normalizer") as error:
        load_actor(f"hf:{REPO}/ppo-X.zip", shared_env(ENV))
    assert "config.yml" in str(error.value)


def test_without_a_connection_an_unknown_normaliser_is_refused(hub, shared_env):
    write_policy(hub.cache / "ppo-X.zip")
    hub.offline = True
    refuse(f"hf:{REPO}/ppo-X.zip", shared_env(ENV), "no network", "--no_normalizer")
    assert action(f"hf:{REPO}/ppo-X.zip", shared_env(ENV), no_normalizer=True) == pytest.approx([RAW], abs=1e-6)


def test_a_file_of_the_hub_is_downloaded_or_refused_in_one_line(hub, shared_env, monkeypatch):
    env = shared_env("LunarLander-v3")
    data = {"action_space": discrete(4), "observation_space": box(8)}
    Path(hub.repository / "some").mkdir(parents=True)
    write_zip(hub.repository / "some" / "x.zip", network("ppo", 8, 4)[0], data)
    assert load_actor("hf:sb3/ppo-LunarLander-v2/some/x.zip", env).n_outputs == 4
    refuse("hf:a/b/c.zip", env, "404")
    refuse("hf:a/b", env, "hf:ORG/REPO/FILE")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refuse("hf:a/b/c.zip", env, "pip install huggingface_hub")
