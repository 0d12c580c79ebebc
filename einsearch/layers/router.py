"""Router: which experts a token goes to, with what weights."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einsearch.errors import EinsearchError
from einsearch.layers.hashing import hashed, top_by
from einsearch.space.mixture import Mixture

Z_LOSS = 0.1
"""Weight of the mean squared logsumexp of the logits beside the balance loss."""

BIAS_RATE = 1e-3
"""What an optimizer step adds to, or takes from, the bias of an expert with too few, or too many, tokens."""


class Routing(NamedTuple):
    """What a router decides for a batch. A tuple of tensors: it passes through checkpointing and compilation.

    expert: (..., active) int64, different experts, the preferred first. gate: (..., active), their weights.
    counts: (experts,) int64, (token, slot) pairs of each expert; none is ever dropped. entropy: () mean of
    the router's distributions over experts, in nats; no gradient. aux_loss: () what training should add
    with a small weight; zero but for the balance `loss`.
    """

    expert: Tensor
    gate: Tensor
    counts: Tensor
    entropy: Tensor
    aux_loss: Tensor

    @property
    def load(self) -> Tensor:
        """(experts,) fractions of all pairs."""
        return self.counts / self.counts.sum().clamp(min=1)

    def statistics(self) -> dict[str, Tensor]:
        """Scalars for the record: the greatest and the least load, 1 where all are even, and the entropy."""
        relative = self.load * len(self.counts)
        return {"max_load": relative.max(), "min_load": relative.min(), "entropy": self.entropy}


class Router(nn.Module):
    """x: (..., in_features) -> :class:`Routing`. No operation waits for the device.

    routing, by the fields of :class:`einsearch.space.mixture.Mixture`:

    * `learned`: logits x W, in float32 at least. The active experts are those of the greatest logits, their
      gates the softmax over these logits. A single active expert would have the gate 1, and its router no
      gradient: its gate is its probability among all experts (Switch Transformer, arXiv 2101.03961).
      With the balance `bias` an expert is chosen by sigmoid(logit) + bias, and its gate is sigmoid(logit)
      (arXiv 2408.15664);
    * `random`: uniform for every token, new in every step; all gates 1 / active;
    * `hash`: a fixed function of the token's id; all gates 1 / active.

    Equal logits are told apart by hashes of seed, step, token's position and expert: at random, and again
    the same where a forward is repeated. So W starts at zero, as other maps of the width to a fixed number
    of outputs do in muP, and tokens spread evenly from the first step on.

    The step is counted, and the bias changed, by :meth:`after_step`. All state is in persistent buffers.

    Raises EinsearchError where the options do not fit together, as Mixture does.
    """

    seed: Tensor
    step: Tensor
    votes: Tensor

    def __init__(
        self,
        in_features: int,
        experts: int,
        active: int,
        *,
        routing: str = "learned",
        balance: str | None = None,
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        mixture = Mixture(experts=experts, active=active, routing=routing, balance=balance)
        self.in_features = in_features
        self.experts, self.active = experts, active
        self.routing, self.balance = mixture.routing, mixture.balance
        learned = torch.zeros(experts, in_features, device=device, dtype=dtype) if routing == "learned" else None
        self.weight = None if learned is None else nn.Parameter(learned)
        for name, value in (("seed", seed), ("step", 0)):
            self.register_buffer(name, torch.tensor(value, device=device))
        # Integers, so that no conversion of the model's dtype can round the bias.
        votes = torch.zeros(experts, dtype=torch.int64, device=device) if self.balance == "bias" else None
        self.register_buffer("votes", votes)

    @classmethod
    def of(cls, mixture: Mixture, in_features: int, seed: int = 0) -> Router:
        """A router of a mixture; see :attr:`einsearch.space.mixture.Mixture.routers`."""
        return cls(
            in_features,
            mixture.experts,
            mixture.active,
            routing=mixture.routing,
            balance=mixture.balance,
            seed=seed,
        )

    @torch.no_grad()
    def reset_parameters(self) -> None:
        if self.weight is not None:
            self.weight.zero_()

    def forward(self, x: Tensor, token_ids: Tensor | None = None) -> Routing:
        """token_ids: (...), for `hash` routing.

        Raises EinsearchError where it needs them and they are missing or of another shape.
        """
        self._check_tokens(x.shape[:-1], token_ids)
        return self._routing(x.shape[:-1], x, self._logits(x), token_ids)

    def feature_major(self, x: Tensor, token_ids: Tensor | None = None) -> Routing:
        """The routing of feature-major activations: x: (in_features, tokens), token_ids: (tokens,)."""
        self._check_tokens(x.shape[1:], token_ids)
        return self._routing(x.shape[1:], x, self._logits(x.t()), token_ids)

    def _check_tokens(self, shape: torch.Size, token_ids: Tensor | None) -> None:
        if self.routing != "hash":
            return
        if token_ids is None:
            raise EinsearchError("hash routing goes by the token's id; call the router with token_ids")
        if token_ids.shape != shape:
            raise EinsearchError(f"token_ids have shape {tuple(token_ids.shape)}; x has tokens {tuple(shape)}")

    def _logits(self, x: Tensor) -> Tensor | None:
        """(tokens, experts), in float32 at least, also under autocast."""
        if self.weight is None:
            return None
        dtype = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.reshape(-1, self.in_features).to(dtype), self.weight.to(dtype))

    def _routing(self, shape: torch.Size, x: Tensor, logits: Tensor | None, token_ids: Tensor | None) -> Routing:
        expert, gate = self._chosen(math.prod(shape), x, logits, token_ids)
        counts = expert.new_zeros(self.experts).index_add_(0, expert.flatten(), torch.ones_like(expert).flatten())
        if logits is None:
            entropy = x.new_full((), math.log(self.experts) if self.routing == "random" else 0.0, dtype=gate.dtype)
        else:
            logs = logits.detach().log_softmax(-1)
            entropy = -(logs.exp() * logs).sum() / max(len(logs), 1)
        aux_loss = entropy.new_zeros(())
        if logits is not None and self.balance == "loss":
            aux_loss = balance_loss(logits, counts)
        return Routing(
            expert=expert.view(*shape, self.active),
            gate=gate.view(*shape, self.active),
            counts=counts,
            entropy=entropy,
            aux_loss=aux_loss,
        )

    def _chosen(self, tokens: int, x: Tensor, logits: Tensor | None, token_ids: Tensor | None) -> tuple[Tensor, Tensor]:
        """Experts and gates, each (tokens, active)."""
        if self.routing == "hash":
            assert token_ids is not None
            by_token = hashed(self.seed) ^ token_ids.flatten()
        else:
            by_token = hashed(hashed(self.seed) ^ self.step) ^ torch.arange(tokens, device=x.device)
        noise = hashed(hashed(by_token).unsqueeze(-1) ^ hashed(torch.arange(self.experts, device=x.device)))
        if logits is None:
            expert = top_by(None, noise, self.active)
            dtype = torch.promote_types(x.dtype, torch.float32)
            return expert, x.new_full((tokens, self.active), 1 / self.active, dtype=dtype)
        if self.balance == "bias":
            weights = logits.sigmoid()
            expert = top_by(weights.detach() + self.bias, noise, self.active)
            return expert, weights.gather(-1, expert)
        expert = top_by(logits.detach(), noise, self.active)
        if self.active == 1:
            return expert, logits.softmax(-1).gather(-1, expert)
        return expert, logits.gather(-1, expert).softmax(-1)

    @property
    def bias(self) -> Tensor:
        """(experts,) what the balance `bias` adds to the scores; its mean is zero."""
        return BIAS_RATE * (self.votes - self.votes.float().mean())

    @torch.no_grad()
    def after_step(self, counts: Tensor) -> None:
        """Move on, after an optimizer step. counts: (experts,), the sum over the routings of the step."""
        self.step.add_(1)
        if self.balance == "bias":
            self.votes.add_((counts.sum() - self.experts * counts).sign())

    def learning_rate_multipliers(
        self, base_in_features: int | None = None, base_out_features: int | None = None, optimizer: str = "adamw"
    ) -> dict[str, float]:
        """Learning-rate multiplier of every own parameter, by name.

        W maps the width to a fixed number of logits, as the LM head does. A step of Adam moves its entries
        by the learning rate, and a logit by in_features times as much; so the multiplier is
        base_in_features / in_features (muP). For SGD it is the same: the outputs are as many in the base model.
        """
        base = self.in_features if base_in_features is None else base_in_features
        return {} if self.weight is None else {"weight": base / self.in_features}

    def extra_repr(self) -> str:
        return f"{self.in_features}, experts={self.experts}, active={self.active}, {self.routing}, {self.balance}"


def balance_loss(logits: Tensor, counts: Tensor) -> Tensor:
    """experts * sum(mean probability * load) + Z_LOSS * mean(logsumexp^2); the first part is 1 where all is even.

    logits: (tokens, experts); counts: (experts,) pairs of each expert. The load has no gradient.
    """
    tokens = max(len(logits), 1)
    probability = logits.softmax(-1).sum(0) / tokens
    load = counts / counts.sum().clamp(min=1)
    z_loss = torch.logsumexp(logits, -1).square().sum() / tokens
    return len(counts) * (probability * load).sum() + Z_LOSS * z_loss
