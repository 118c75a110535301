"""Evaluations of small made-up runs of the study of labels."""

from rl_il.studies.label_cost.results import LABELS, Group

NEVER = float("inf")
USED = {"Expert_StepsSoFar": 3, "Expert_TakeoversSoFar": 2, "Train_EnvstepsSoFar": 1}


def point(labels, scores, fresh=()):
    return {LABELS: labels, "scores": scores, "fresh": list(fresh), **USED, "Expert_ConsultedSoFar": 10 * labels}


def run_with(*evaluations, expert=(100, 200), expert_fresh=(100, 100)):
    return {"expert": list(expert), "expert_fresh": list(expert_fresh), "evaluations": list(evaluations)}


FEW, LOW, ONCE, TWICE, LATER = (
    point(10, [300]),  # the first episode alone
    point(20, [150, 134]),  # 142 of 150
    point(30, [150, 135], fresh=[100, 89]),  # 142.5 of 150, but 94.5 of 100
    point(40, [150, 150], fresh=[100, 90]),
    point(50, [150, 150]),
)


def group_of(env_name, rule, *runs):
    group = Group(env_name, rule, [None] * len(runs))
    group.__dict__["runs"] = list(runs)  # as if they had been read
    return group


def seeds_at(env_name, rule, *labels):
    runs = [run_with(point(n, [150, 150], [100])) if n < NEVER else run_with(LOW) for n in labels]
    return group_of(env_name, rule, *runs)
