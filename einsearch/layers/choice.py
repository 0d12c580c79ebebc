"""Which implementation is the fastest for an operator on this machine: measured once, then remembered.

What was measured is kept in a file of the machine, not of a study, so that the same trial computes the same bits
wherever its results go. `EINSEARCH_CACHE` names another folder for it.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from einsearch.errors import EinsearchError
from einsearch.files import replace_file
from einsearch.layers.implementations import IMPLEMENTATIONS, Activations, apply
from einsearch.layers.linear import EinsumLinear
from einsearch.space.operator import Operator

ROUNDS = 3
"""Timed rounds over all implementations; the least time of each counts."""

CLEARLY = 0.9
"""A later implementation of the table is chosen over an earlier one if it takes less than this part of its time."""

TOLERANCE = 1.0
"""Relative, of two implementations' results, in square roots of the dtype's epsilon: 3e-4 in float32."""

TOO_DEAR = 8
"""The merged product is not tried where its MACs exceed the operator's by more than this."""


def cache_file() -> Path:
    """The file of measured choices."""
    named = os.environ.get("EINSEARCH_CACHE")
    folder = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "einsearch"
    return folder / "implementations.json"


def fastest(
    operator: Operator,
    tokens: int,
    *,
    activations: Activations,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> str:
    """The name of the fastest implementation for about `tokens` tokens (to a power of two), forward and backward.

    Measured if this machine has not measured it before. Raises EinsearchError where the file of choices cannot be
    read or written.
    """
    names = _candidates(operator, activations, device, dtype)
    if len(names) == 1:
        return names[0]
    rounded = 1 << max(round(math.log2(max(tokens, 1))), 0)
    case = f"{operator.identity} {activations} {rounded} tokens {' '.join(names)}"
    machine = machine_of(device, dtype)
    with _locked(cache_file()):
        known = _read(cache_file())
    if (held := known.get(machine, {}).get(case)) is not None:
        return str(held["implementation"])
    seconds = measure(operator, rounded, names, activations=activations, device=device, dtype=dtype)
    chosen = names[0]
    for name in names[1:]:
        if seconds[name] < CLEARLY * seconds[chosen]:
            chosen = name
    with _locked(cache_file()):
        known = _read(cache_file())
        # Another process may have been faster: what is in the file holds, for it may be in use.
        held = known.setdefault(machine, {}).setdefault(
            case, {"implementation": chosen, "milliseconds": {n: round(1e3 * s, 4) for n, s in seconds.items()}}
        )
        replace_file(cache_file(), json.dumps(known, indent=1), "measured choices of implementations")
    return str(held["implementation"])


def tune(model: nn.Module, tokens: int, *, activations: Activations = "row-major") -> dict[str, str]:
    """Set the implementation of every EinsumLinear of a model to the fastest for about `tokens` tokens a call.

    Layers whose implementation was forced keep it. Returns the implementation of each layer, by its name. Under
    autocast the measured dtype is the parameters', not autocast's.
    """
    chosen = {}
    for name, layer in model.named_modules():
        if isinstance(layer, EinsumLinear):
            if layer.implementation == "auto":
                factor = layer.factors[0]
                layer.implementation = fastest(
                    layer.operator, tokens, activations=activations, device=factor.device, dtype=factor.dtype
                )
            chosen[name] = layer.implementation
    return chosen


def require_cache() -> None:
    """EinsearchError where choices cannot be remembered."""
    with _locked(cache_file()):
        _read(cache_file())


def measure(
    operator: Operator,
    tokens: int,
    names: tuple[str, ...],
    *,
    activations: Activations,
    device: torch.device,
    dtype: torch.dtype,
) -> dict[str, float]:
    """Seconds of a forward and backward pass by each implementation, taken in turn.

    Raises EinsearchError where one computes something else than the first.
    """
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype).requires_grad_()

    sizes = operator.sizes
    x = random(*((tokens, sizes.padded_in) if activations == "row-major" else (sizes.padded_in, tokens)))
    gradient = random(*((tokens, sizes.padded_out) if activations == "row-major" else (sizes.padded_out, tokens)))
    factors = [random(*operator.factor_shape(f)) for f in range(operator.einsum.factors)]
    prepared = {name: IMPLEMENTATIONS[name].prepare(operator) for name in names}

    def run(name: str) -> tuple[Tensor, ...]:
        y = apply(name, x, factors, operator, activations, prepared[name])
        return y.detach(), *torch.autograd.grad(y, [x, *factors], gradient.detach())

    def timed(name: str) -> float:
        _synchronize(device)
        started = time.perf_counter()
        run(name)
        _synchronize(device)
        return time.perf_counter() - started

    expected = run(names[0])
    for name in names[1:]:
        for part, found in zip(expected, run(name), strict=True):
            error = float((found - part).norm() / part.norm().clamp(min=1e-30))
            if not error < TOLERANCE * torch.finfo(dtype).eps ** 0.5:
                raise EinsearchError(
                    f"implementation {name} differs from {names[0]} by {error:.1e} on {machine_of(device, dtype)} for "
                    f"{operator}: it is wrong there; force another one, and please report it"
                )
    rounds = [{name: timed(name) for name in names} for _ in range(ROUNDS)]
    return {name: min(each[name] for each in rounds) for name in names}


def machine_of(device: torch.device, dtype: torch.dtype) -> str:
    """What a measurement holds for: processor or GPU, threads, dtype and torch."""
    if device.type == "cuda":
        place = torch.cuda.get_device_name(device)
    else:
        place = f"{_processor()}, {torch.get_num_threads()} threads"
    return f"{place}, {str(dtype).removeprefix('torch.')}, torch {torch.__version__}"


def _candidates(
    operator: Operator, activations: Activations, device: torch.device, dtype: torch.dtype
) -> tuple[str, ...]:
    """The implementations that can run there and may win, the preferred one first."""
    sizes = operator.sizes
    found: list[str] = []
    for name, implementation in IMPLEMENTATIONS.items():
        if implementation.refuses(operator, device, dtype):
            continue
        if activations == "feature-major" and implementation.feature_major is None:
            continue  # it would be transposed twice and gain nothing over the products made for this layout
        dear = sizes.padded_in * sizes.padded_out > TOO_DEAR * operator.macs
        if name == "merged" and (operator.einsum.factors == 1 or dear):
            continue
        if operator.einsum.factors == 1 and found:
            continue
        found.append(name)
    return tuple(found)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.is_file():
        for line in described.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time, by a lock file beside it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(path.with_suffix(".lock"), "a")  # noqa: SIM115 (closed below, which also unlocks)
    except OSError as error:
        raise EinsearchError(
            f"measured choices of implementations cannot be kept in {path.parent}: {error.strerror or error}; "
            "set EINSEARCH_CACHE to a folder that can be written, or force an implementation"
        ) from None
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise EinsearchError(f"measured choices in {path} cannot be read: {error}; remove the file") from None
    return found
