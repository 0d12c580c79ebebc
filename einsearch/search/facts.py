"""What the store keeps of a candidate beside its exponents: taxonomy, sizes and costs, for people and reports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from einsearch.proxy.flops import active_parameter_count, forward_macs
from einsearch.space.candidate import Candidate
from einsearch.space.classify import classify
from einsearch.space.taxonomy import taxonomy


def facts_of(candidate: Candidate, context: int, weight_normalization: bool = True) -> dict[str, Any]:
    """JSON facts. macs are a token's forward, by part; each layer has sizes, counts and its rank bound.

    Of a mixture, sizes, rank bound and taxonomy are those of one expert; parameters are of all, macs of the
    active ones. Where layers differ, the taxonomy is their mean, each weighted by its MACs if it were dense;
    `layers` has each, `attention_taxonomy` and `ffn_taxonomy` the means of the sites where these differ.
    """
    macs, counts = forward_macs(candidate, context), candidate.layer_counts()
    facts: dict[str, Any] = {
        "theta": candidate.theta,
        "family": " / ".join(dict.fromkeys(classify(einsum).family.value for einsum in candidate.einsums)),
        "taxonomy": _mean_taxonomy(candidate, candidate.by_layer),
        "width": candidate.shape.width,
        "depth": candidate.shape.depth,
        "active_parameters": active_parameter_count(candidate, context, weight_normalization),
        "forward_macs": {
            "attention_layers": macs.attention_layers,
            "ffn_layers": macs.ffn_layers,
            "attention_scores": macs.attention_scores,
            "head": macs.head,
            "routers": macs.routers,
        },
        "layers": {
            name: {
                "sizes": str(layer),
                "parameters": counts[name].parameters,
                "active_parameters": counts[name].active_parameters,
                "macs": counts[name].macs,
                "rank_bound": layer.rank_bound,
                "padded": layer.padded,
                "taxonomy": _mean_taxonomy(candidate, [name]),
            }
            for name, layer in candidate.layers().items()
        },
    }
    if candidate.mixture is not None:
        facts["mixture"] = candidate.mixture.to_json()
    attention, ffn = (_mean_taxonomy(candidate, names) for names in (("q", "k", "v", "o"), ("up", "down")))
    if attention != ffn:
        facts |= {"attention_taxonomy": attention, "ffn_taxonomy": ffn}
    return facts


def _mean_taxonomy(candidate: Candidate, names: Iterable[str]) -> dict[str, float]:
    einsums, shapes = candidate.by_layer, candidate.shape.sites
    weighted = [(shapes[name][1] * shapes[name][2], taxonomy(einsums[name])) for name in names]
    total = sum(weight for weight, _ in weighted)
    return {
        "omega": float(sum(weight * each.omega for weight, each in weighted) / total),
        "psi": float(sum(weight * each.psi for weight, each in weighted) / total),
        "nu": float(sum(weight * each.nu for weight, each in weighted) / total),
    }
