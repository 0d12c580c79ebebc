"""Mixtures of experts: each implementation at several numbers of experts, beside nn.Linear, checked, then timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from einsearch.bench.agreement import TOLERANCE, require_agreement
from einsearch.bench.cases import Case
from einsearch.bench.layer import PASSES, Passes
from einsearch.bench.place import Place
from einsearch.bench.timing import Times, clock_of, interleaved
from einsearch.errors import EinsearchError
from einsearch.layers.moe import EinsumMoE
from einsearch.layers.moe_implementations import IMPLEMENTATIONS
from einsearch.layers.router import Router, Routing
from einsearch.space.mixture import Mixture
from einsearch.space.operator import Operator, operator
from einsearch.space.parse import parse


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureCase:
    """A layer of width d as mixtures of several numbers of experts, of which each token uses `active`.

    Raises EinsearchError for sizes below 1, and less experts than active ones.
    """

    layer: str
    d: int
    tokens: int
    experts: tuple[int, ...]
    active: int

    def __post_init__(self) -> None:
        self.single()
        for experts in self.experts:
            self.mixture(experts)

    def single(self) -> Case:
        """The layer without experts."""
        return Case(layers=(self.layer,), d=self.d, tokens=self.tokens)

    def mixture(self, experts: int) -> Mixture:
        return Mixture(experts=experts, active=self.active)

    @property
    def operator(self) -> Operator:
        """Of one expert."""
        return operator(parse(self.layer), self.d, self.d)

    def flops(self, passes: Passes) -> int:
        """Of one call, by definition: 2 a MAC of the active experts, twice that backward."""
        return (2 if passes == "forward" else 6) * self.tokens * self.active * self.operator.macs


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedMixture:
    """One implementation at one number of experts; both are None for nn.Linear."""

    implementation: str | None
    experts: int | None
    passes: Passes
    times: Times


def refusals(case: MixtureCase, place: Place, implementations: Sequence[str]) -> dict[str, str]:
    """Why implementations cannot compute the mixtures of a case at a place."""
    return {
        name: reason
        for name in implementations
        if (reason := IMPLEMENTATIONS[name].refuses(case.operator, place.device, place.dtype))
    }


def time_mixtures(
    case: MixtureCase, place: Place, implementations: Sequence[str], repeats: int | None = None
) -> list[TimedMixture]:
    """Check every implementation that can run against the reference, then time all, within :meth:`Place.settled`.

    Raises EinsearchError where memory is short or an implementation computes something else than the reference.
    """
    case.single().require_memory(place)
    refused = refusals(case, place, implementations)
    names = [name for name in implementations if name not in refused]
    timed = []
    try:
        subjects = list(_checked_subjects(case, place, names))
        for passes in PASSES:
            runs = {n: subject.forward if passes == "forward" else subject.both for n, subject in enumerate(subjects)}
            for n, times in interleaved(runs, clock_of(place.device), repeats).items():
                own = subjects[n]
                timed.append(
                    TimedMixture(implementation=own.implementation, experts=own.experts, passes=passes, times=times)
                )
    except torch.OutOfMemoryError as error:
        raise EinsearchError(
            f"{max(case.experts)} experts of d {case.d} with {case.tokens} tokens do not fit into the memory of "
            f"{place.device}; give fewer of one of them"
        ) from error
    return timed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """A layer and what it is called with: x, for mixtures the gates too; `gradient` is that of y."""

    implementation: str | None
    experts: int | None
    parameters: dict[str, Tensor]
    inputs: dict[str, Tensor]
    call: Callable[..., Tensor]
    gradient: Tensor

    @torch.no_grad()
    def forward(self) -> Tensor:
        return self.call(*self.inputs.values())

    def both(self) -> tuple[Tensor, ...]:
        leaves = (*self.inputs.values(), *self.parameters.values())
        return torch.autograd.grad(self.call(*self.inputs.values()), leaves, self.gradient)

    def tensors(self) -> dict[str, Tensor]:
        names = [f"gradient of {name}" for name in (*self.inputs, *self.parameters)]
        return {"y": self.forward()} | dict(zip(names, self.both(), strict=True))


class _Mixtures:
    """Layers of one case with the same numbers for every implementation, rounded to the dtype that is timed."""

    def __init__(self, case: MixtureCase, place: Place) -> None:
        self._case, self._place = case, place
        generator = torch.Generator().manual_seed(0)
        self._x, self._gradient = (torch.randn(case.tokens, case.d, generator=generator) for _ in range(2))
        self._gate = torch.randn(case.tokens, case.active, generator=generator).softmax(-1)

    def linear(self) -> _Subject:
        module = nn.Linear(self._case.d, self._case.d, bias=False)
        return self._subject(module, module, {"x": self._x}, self._place.dtype)

    def mixture(self, name: str, experts: int, dtype: torch.dtype) -> _Subject:
        """Without bias and weight normalization. Tokens choose at random and evenly, as new routers do."""
        d, generator = self._case.d, torch.Generator().manual_seed(1)
        module = EinsumMoE(
            d, d, self._case.layer, experts, bias=False, normalize=False, implementation=name, generator=generator
        )
        drawn = Router.of(self._case.mixture(experts), d)(self._x)
        routing = Routing(*(each.to(self._place.device) for each in drawn))

        def call(x: Tensor, gate: Tensor) -> Tensor:
            return module(x, routing._replace(gate=gate))

        return self._subject(module, call, {"x": self._x, "gate": self._gate}, dtype, name, experts)

    def _subject(
        self,
        module: nn.Module,
        call: Callable[..., Tensor],
        inputs: dict[str, Tensor],
        dtype: torch.dtype,
        implementation: str | None = None,
        experts: int | None = None,
    ) -> _Subject:
        device, timed = self._place.device, self._place.dtype
        return _Subject(
            implementation=implementation,
            experts=experts,
            parameters=dict(module.to(device, timed).to(dtype).named_parameters()),
            inputs={name: each.to(device, timed).to(dtype).detach().requires_grad_() for name, each in inputs.items()},
            call=call,
            gradient=self._gradient.to(device, timed).to(dtype),
        )


def _checked_subjects(case: MixtureCase, place: Place, names: Sequence[str]) -> Iterator[_Subject]:
    """nn.Linear, then the mixtures that agree with the reference in float32."""
    mixtures = _Mixtures(case, place)
    yield mixtures.linear()
    for experts in case.experts:
        expected = mixtures.mixture("reference", experts, torch.float32).tensors()
        for name in names:
            subject = mixtures.mixture(name, experts, place.dtype)
            who = f"{name} of {case.layer} with {experts} experts at d {case.d}, {case.tokens} tokens"
            require_agreement(who, subject.tensors(), expected, TOLERANCE[place.dtype])
            yield subject
