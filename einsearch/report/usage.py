"""Lines of Python that put the layers of a candidate into a user's model."""

from __future__ import annotations

import json

from einsearch.space.candidate import Candidate
from einsearch.space.mixture import Mixture
from einsearch.space.model_shape import FFN_LAYERS, site_of


def usage_of(candidate: Candidate) -> str:
    """Imports, a line for every kind of layer, the router of a mixture, the optimizer."""
    mixture = candidate.mixture
    ffn = mixture is not None and mixture.per == "ffn"
    layers = _layers(candidate, [name for name in candidate.by_layer if not (ffn and name in FFN_LAYERS)])
    if ffn:
        up, down = (json.dumps(str(candidate.by_layer[name])) for name in FFN_LAYERS)
        made = f"ExpertFFN(d, d_hidden, {up}, {down}, experts={candidate.mixture.experts})"  # type: ignore[union-attr]
        layers.append(f"ffn = {made}  # y = ffn(x, routing), for the whole FFN")
    lines = [f"from einsearch import {'EinsumLinear, ' * any('EinsumLinear' in line for line in layers)}param_groups"]
    if mixture is not None:
        lines += [
            f"from einsearch.layers.moe import {'ExpertFFN' if ffn else 'EinsumMoE'}",
            "from einsearch.layers.router import Router",
        ]
    return "\n".join([*lines, *layers, *_router(mixture), "optimizer = torch.optim.AdamW(param_groups(model, lr))"])


def _layers(candidate: Candidate, names: list[str]) -> list[str]:
    """A line for the layers that are alike: one for all, one a site, or one a layer."""
    made = {}
    for name in names:
        theta, mixture = json.dumps(str(candidate.by_layer[name]), ensure_ascii=False), candidate.mixture_of(name)
        if mixture is None:
            made[name] = f"EinsumLinear(d_in, d_out, {theta})  # for nn.Linear(d_in, d_out)"
        else:
            layer = f"EinsumMoE(d_in, d_out, {theta}, experts={mixture.experts})"
            made[name] = f"{layer}  # y = layer(x, routing), for nn.Linear(d_in, d_out)"
    if len(set(made.values())) == 1:
        return [f"layer = {next(iter(made.values()))}"]
    sites = {site_of(name): line for name, line in made.items()}
    if all(sites[site_of(name)] == line for name, line in made.items()):
        made = sites
    return [f"{name}_layer = {line}" for name, line in made.items()]


def _router(mixture: Mixture | None) -> list[str]:
    if mixture is None:
        return []
    options = f"routing={json.dumps(mixture.routing)}, balance={json.dumps(mixture.balance)}"
    tokens = ", token_ids" if mixture.routing == "hash" else ""
    return [
        f"router = Router(d_in, {mixture.experts}, {mixture.active}, {options})  # routing = router(x{tokens})",
        "# loss += 0.01 * routing.aux_loss; after each step of the optimizer: router.after_step(routing.counts)",
    ]
