"""`EnsemblePolicySL`: several networks in one policy, which act together and know how much they disagree."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rl_il.errors import InputError
from rl_il.infrastructure.pytorch_utils import evaluating, threads, to_numpy, to_tensor
from rl_il.policies.actors import as_batch
from rl_il.policies.ensemble_actors import EnsembleActor, divergence, spread, vote
from rl_il.policies.heads import Categorical, DistributionHead, Head, MultiCategorical
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.standardised import COPIED


class EnsembleHead(Head):
    """Several heads, each with its own network. The action is their mean or, if it is integers, their vote.

    Args:
      members: heads of one class, whose networks differ.
      own: whether each head is trained on its own minibatch. Then the rows of a batch are those of the first head's
        minibatch, the second head's, and so on. In evaluation mode all heads get all rows.
    """

    numpy_actor = EnsembleActor

    def __init__(self, members: list[Head], own: bool):
        nn.Module.__init__(self)  # the members have the layers
        for name in (*COPIED, *members[0].settings):
            setattr(self, name, getattr(members[0], name))
        self.members, self.own = nn.ModuleList(members), own

    def loss(self, features: Tensor, labels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the mean of the members' losses."""
        batch = [part for part in (features, labels, noise) if part is not None]
        n = len(self.members)
        parts = zip(*(part.chunk(n) for part in batch), strict=True) if self.own and self.training else [batch] * n
        return torch.stack([member.loss(*part) for member, part in zip(self.members, parts, strict=True)]).mean()

    def act(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return the mean action of each row, or the vote on each integer."""
        if not self.discrete:
            return self._acs(features, rng).mean(0)
        chosen = np.stack([vote(part) for part in self._logits(features)], axis=-1)
        return torch.from_numpy(chosen if self.several else chosen[..., 0]).to(features.device)

    def sample(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return an action for each row that one of the members draws. Each row has its own member."""
        drawn = torch.stack([member.sample(features, rng) for member in self.members])
        rows = torch.arange(len(features), device=features.device)
        return drawn[torch.randint(len(drawn), rows.shape, generator=rng, device=rows.device), rows]

    def disagreement(self, features: Tensor, rng: torch.Generator) -> np.ndarray:
        """Return how much the members disagree about each row, `(N,)` float32, as `EnsembleActor` does."""
        if not self.discrete:
            return spread(to_numpy(self._acs(features, rng).flatten(2)))
        integers = np.stack([divergence(part) for part in self._logits(features)])
        return integers.reshape(len(integers), len(features), -1).mean((0, 2))

    def _acs(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return the members' continuous actions, `(K, N, ac_dim)`, or `(K, N, chunk, ac_dim)` for chunks."""
        return torch.stack([member.act(features, rng) for member in self.members])

    def _logits(self, features: Tensor) -> list[np.ndarray]:
        """Return the members' logits `(K, N, choices)` of each integer, or `(K, N, chunk, choices)` for chunks."""
        found = [member(features) for member in self.members]
        integers = zip(*(each.parts if self.several else [each] for each in found), strict=True)
        return [np.stack([to_numpy(each.logits) for each in integer]) for integer in integers]

    def check_labels(self, labels: Tensor, rows: int) -> None:
        """Raise `InputError` if these are not `rows` labels, or if they cannot be divided among the members."""
        self.members[0].check_labels(labels, rows)
        if self.own and self.training and rows % len(self.members):
            raise InputError(f"{rows} rows are not {len(self.members)} minibatches of one size, one for each network")

    def constrain(self, parameters: dict[str, Tensor]) -> None:
        """Clamp the members' parameters to their range after a gradient step, in place."""
        for i, member in enumerate(self.members):
            own = f"members.{i}."
            member.constrain({name.removeprefix(own): p for name, p in parameters.items() if name.startswith(own)})

    def numpy_settings(self) -> dict[str, Any] | None:
        """Return the settings of the members' `NumpyActor`s, or None if one cannot be converted."""
        members = [member.numpy_settings() for member in self.members]
        return None if None in members else {"members": members}


class EnsemblePolicySL(MLPPolicySL):
    """An `MLPPolicySL` with several networks, which differ by their initial weights and their minibatches.

    Deep ensembles: Lakshminarayanan et al. 2017 (arXiv:1612.01474). Each network is trained as the one of an
    `MLPPolicySL` is; AdamW does not depend on the factor 1 / `ensemble` in the loss. The encoder is shared, so a
    subclass whose encoder has weights has networks that differ only after it.

    Args:
      ensemble: the number of networks, 2 or more.
      ensemble_minibatches: `own`: each network draws its own minibatches; `shared`: all get the same ones.
      settings, named: the arguments of `MLPPolicySL`.
    """

    def __init__(self, *settings: Any, ensemble: int = 5, ensemble_minibatches: str = "own", **named: Any):
        if ensemble < 2 or ensemble_minibatches not in ("own", "shared"):
            raise InputError(
                "an ensemble has 2 or more networks, with own or shared minibatches, got"
                f" {ensemble} and {ensemble_minibatches!r}"
            )
        self.ensemble, self.ensemble_minibatches = int(ensemble), ensemble_minibatches
        self.minibatches = self.ensemble if ensemble_minibatches == "own" else 1
        super().__init__(*settings, **named)

    def build_head(self, head_class: type[Head], loss: str | None, **settings: int) -> Head:
        """Return several heads of this class as one. Raise `InputError` for a head without a mean or votes."""
        usual = (Categorical, MultiCategorical) if self.discrete else DistributionHead
        if not issubclass(head_class, usual):
            raise InputError(
                f"--ensemble {self.ensemble}: networks act by their mean or their votes, which the head"
                f" {self.head_name} does not have; take another head, or drop the flag"
            )
        build = super().build_head
        return EnsembleHead(
            [build(head_class, loss, **settings) for _ in range(self.ensemble)], own=self.minibatches > 1
        )

    @torch.no_grad()
    def disagreement(self, obs: np.ndarray) -> np.ndarray:
        """Return how much the networks disagree: one float32 for one observation, or `(N,)` for N.

        With `normalize_acs`, it is in the units of standardised actions.
        """
        obs, single = as_batch(obs, self.ob_shape)
        views, head = self.stack(self.view(obs)), self.head.head if self.normalize_acs else self.head
        with evaluating(self), threads(1):
            found = head.disagreement(self.encoder(to_tensor(views, self.device)), self.generator)
        return found[0] if single else found

    def hyperparameters(self) -> dict[str, Any]:
        """Return the constructor's arguments, except the device and the head's name."""
        own = {name: getattr(self, name) for name in ("ensemble", "ensemble_minibatches")}
        return super().hyperparameters() | own
