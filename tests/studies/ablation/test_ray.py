"""Ablations on a real Ray cluster; `make test-ray` installs Ray."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.studies.ablation.grid import Ablation
from rl_il.studies.ablation.jobs import train
from rl_il.studies.ablation.launch import Launcher, launch_ray
from rl_il.studies.ablation.sweep import FILES, run_ablation

pytestmark = pytest.mark.ray

BASE = RunConfig(n_demos=2, num_agent_train_steps_per_iter=30, size=16, eval_episodes=3, ep_len=60, video_log_freq=-1)
ABLATION = Ablation(BASE, {"size": [8, 16], "learning_rate": [1e-3, 1e-2]}, n_seeds=3)


@pytest.fixture
def cluster(monkeypatch):
    """Start two nodes of one core each on this machine; `other` is the node that the test ends."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # A worker process imports this test module by its name.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.other = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def noted(config: RunConfig, notes: str, doomed: str, outdir: Path) -> None:
    """Write the run and its node to a file, then train; on the node `doomed`, wait for its end instead."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    with open(notes, "a") as file:
        file.write(f"{config.logdir} {node}\n")
    if node == doomed:
        import threading

        threading.Event().wait()  # so the node certainly dies while it works
    train(config, None, outdir)


def test_a_node_that_dies_during_the_work_changes_no_result(cluster, tmp_path):
    local, there = tmp_path / "local", tmp_path / "ray"
    run_ablation(ABLATION, local, Launcher(processes=2), verbose=False)
    notes = tmp_path / "notes"
    notes.touch()
    doomed = cluster.other.node_id
    jobs = {config.logdir: partial(noted, config, str(notes), doomed) for config in ABLATION.trainings()}
    there.mkdir()
    finished = []
    for name, reason in launch_ray(jobs, there):
        assert reason is None
        finished.append(name)
        begun_there = [line for line in notes.read_text().splitlines() if line.endswith(cluster.other.node_id)]
        if begun_there and cluster.other in cluster.worker_nodes:
            cluster.remove_node(cluster.other, allow_graceful=False)
    assert len(finished) == len(jobs) == 12
    begun = [line.split() for line in notes.read_text().splitlines()]
    lost = {name for name, node in begun if node == cluster.other.node_id}
    assert lost and all(sum(name == other for other, _ in begun) >= 2 for name in lost)
    # Only the reference scores and the table are made now; no run is made again.
    before = {path: path.stat().st_mtime_ns for path in there.rglob("summary.json")}
    run_ablation(ABLATION, there, Launcher("ray"), verbose=False)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    for name in FILES:
        assert (there / name).read_bytes() == (local / name).read_bytes(), name


def test_without_an_address_a_cluster_is_started_and_ended(tmp_path):
    ablation = Ablation(replace(BASE, env_name="LunarLanderContinuous-v3"), {"learning_rate": [1e-3, 1e30]}, 1)
    outcome = run_ablation(ablation, tmp_path / "ray", Launcher("ray"), verbose=False)
    ((name, reason),) = outcome.failures.items()
    assert name == "runs/learning_rate=1e+30/seed_1" and "diverged" in reason
    run_ablation(ablation, tmp_path / "local", verbose=False)
    import ray

    assert not ray.is_initialized()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    for name in FILES:
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes(), name


def test_the_address_of_a_cluster_that_does_not_answer_is_named(tmp_path):
    with pytest.raises(InputError, match=r"127.0.0.1:1"):
        next(launch_ray({"any": partial(train, BASE, None)}, tmp_path, "127.0.0.1:1"))
