"""What the store keeps of a candidate, with and without a mixture of experts."""

import json

from einsearch.proxy.flops import active_parameter_count, forward_macs, parameter_count
from einsearch.search.facts import facts_of
from einsearch.space.candidate import Candidate
from einsearch.space.mixture import Mixture
from einsearch.space.model_shape import ModelShape
from einsearch.space.parse import parse

SHAPE = ModelShape(width=64)
CONTEXT = 32


def test_of_a_plain_candidate() -> None:
    candidate = Candidate.of(parse("btt"), SHAPE)
    facts = facts_of(candidate, CONTEXT)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["active_parameters"] == parameter_count(candidate, CONTEXT)
    assert sum(facts["forward_macs"].values()) == forward_macs(candidate, CONTEXT).total
    assert "mixture" not in facts
    layer = facts["layers"]["q"]
    assert layer["parameters"] == layer["active_parameters"] == layer["macs"] == 1024


def test_of_a_mixture() -> None:
    mixture = Mixture(experts=8, active=2)
    candidate = Candidate.of(parse("btt"), SHAPE, mixture)
    facts, plain = facts_of(candidate, CONTEXT), facts_of(Candidate.of(parse("btt"), SHAPE), CONTEXT)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["mixture"] == mixture.to_json()
    assert facts["active_parameters"] == active_parameter_count(candidate, CONTEXT)
    assert sum(facts["forward_macs"].values()) == forward_macs(candidate, CONTEXT).total
    assert facts["forward_macs"]["routers"] == 2 * (5 * 64 + 256) * 8
    layer = facts["layers"]["q"]
    assert (layer["parameters"], layer["active_parameters"], layer["macs"]) == (8 * 1024, 2 * 1024, 2 * 1024)
    for name in ("theta", "family", "taxonomy"):
        assert facts[name] == plain[name], "of one expert"
    assert layer["sizes"] == plain["layers"]["q"]["sizes"]
