"""What the store keeps of a candidate beside its exponents: taxonomy, sizes and costs, for people and reports."""

from __future__ import annotations

from typing import Any

from einsearch.proxy.flops import forward_macs
from einsearch.space.candidate import Candidate
from einsearch.space.families import classify
from einsearch.space.taxonomy import taxonomy


def facts_of(candidate: Candidate, context: int) -> dict[str, Any]:
    """JSON facts. macs are a token's forward, by part; each layer has sizes, counts and its rank bound.

    The taxonomy is that of the attention layers where the sites differ (`ffn_taxonomy` has the other).
    """
    macs = forward_macs(candidate, context)
    facts: dict[str, Any] = {
        "theta": candidate.theta,
        "family": classify(candidate.attention).family.value,
        "taxonomy": _taxonomy(candidate, "attention"),
        "width": candidate.shape.width,
        "depth": candidate.shape.depth,
        "forward_macs": {
            "attention_layers": macs.attention_layers,
            "ffn_layers": macs.ffn_layers,
            "attention_scores": macs.attention_scores,
            "head": macs.head,
        },
        "layers": {
            name: {
                "sizes": str(layer),
                "parameters": layer.parameters,
                "macs": layer.macs,
                "rank_bound": layer.rank_bound,
                "padded": layer.padded,
            }
            for name, layer in candidate.layers().items()
        },
    }
    if candidate.attention != candidate.ffn:
        facts["ffn_taxonomy"] = _taxonomy(candidate, "ffn")
    return facts


def _taxonomy(candidate: Candidate, site: str) -> dict[str, float]:
    found = taxonomy(candidate.attention if site == "attention" else candidate.ffn)
    return {"omega": float(found.omega), "psi": float(found.psi), "nu": float(found.nu)}
