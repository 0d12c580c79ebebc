import math
import random
from itertools import islice

import numpy as np
import optuna
import pytest

from einsearch.errors import EinsearchError
from einsearch.search.history import WINDOW, Observation, Suggestion
from einsearch.search.suggest import ATTEMPTS, SAMPLERS, Suggester, distributions
from einsearch.space.candidate import Candidate
from einsearch.space.draws import Drawer
from einsearch.space.parse import parse
from einsearch.space.search_space import SearchSpace

CONTINUOUS = SearchSpace(name="two", widths=(32, 64))
FAMILIES = SearchSpace(
    name="list",
    structures=tuple(map(parse, ("monarch", "low-rank", "kronecker", "btt(1/4)"))),
    widths=(16, 32),
    head_size=8,
)


def observation(candidate: Candidate, suggestion: Suggestion, **changes: object) -> Observation:
    values = {"scores": (0.0, 0.5), "done": False, "failed": False} | changes
    return Observation(key=candidate.key, suggestion=Suggestion.from_json(suggestion.to_json()), **values)


def grow(
    sampler: str, count: int, *, space: SearchSpace = CONTINUOUS, seed: int = 0
) -> list[tuple[Candidate, Observation]]:
    """As many proposals, of every outcome in turn."""
    outcomes = [
        {"done": True},
        {},
        {"scores": (-1.0,)},
        {"failed": True, "scores": ()},
        {"scores": ()},
        {"failed": True, "scores": (0.1,)},
    ]
    suggester, found = Suggester(space, sampler, seed), []
    for n in range(count):
        proposal = suggester.next([o for _, o in found])
        assert proposal is not None
        found.append((proposal[0], observation(*proposal, **outcomes[n % len(outcomes)])))
    return found


def test_an_unknown_sampler_is_named_with_the_known_ones():
    with pytest.raises(EinsearchError) as error:
        Suggester(CONTINUOUS, "best", 0)
    assert str(error.value) == "unknown sampler 'best'; known: tpe, random, gp, nsga2"


@pytest.mark.parametrize("space", [CONTINUOUS, FAMILIES], ids=lambda space: space.name)
def test_known_structures_come_first_in_their_order(space):
    known = [candidate.key for _, candidate in space.known_first()]
    assert [candidate.key for candidate, _ in grow("random", len(known), space=space)] == known


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_candidate_is_valid_new_and_what_its_parameters_say(sampler):
    count = 13 if sampler == "gp" else 24  # from the eleventh on a proposal of gp takes seconds
    found = grow(sampler, count)
    assert len({candidate.key for candidate, _ in found}) == count
    for candidate, seen in found:
        assert candidate.invalid_because() is None
        assert CONTINUOUS.candidate(seen.suggestion.params).key == candidate.key


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_proposal_follows_from_seed_and_history_alone(sampler):
    history = [o for _, o in grow(sampler, 16)]
    again, fresh = Suggester(CONTINUOUS, sampler, 0), Suggester(CONTINUOUS, sampler, 0)
    first = again.next(history)
    assert first is not None
    assert again.next(history) == first  # what it proposed before leaves no trace
    assert fresh.next(history) == first
    other = Suggester(CONTINUOUS, sampler, 1).next(history)
    assert other is not None
    assert other[0].key != first[0].key


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_list_is_exhausted_exactly(sampler):
    everything = {
        FAMILIES.candidate({"width": w, "all.structure": s}) for w in range(2) for s in range(len(FAMILIES.structures))
    }
    valid = {candidate.key for candidate in everything if candidate.invalid_because() is None}
    found = grow(sampler, len(valid), space=FAMILIES)
    assert {candidate.key for candidate, _ in found} == valid
    assert Suggester(FAMILIES, sampler, 0).next([o for _, o in found]) is None


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sites_of_their_own_are_exhausted_too(sampler):
    """Pairs that no list names: the sampler has to find them, repeats and all."""
    space = SearchSpace(name="sites", structures=FAMILIES.structures[:3], sites="separate", widths=(16,), head_size=8)
    count = space.count()
    assert count == 9
    found = grow(sampler, count, space=space)
    assert len({candidate.key for candidate, _ in found}) == count
    assert Suggester(space, sampler, 0).next([o for _, o in found]) is None


RARE = SearchSpace(name="rare", factors=3, max_indices=10, where=("omega == 0 and psi == 1",), widths=(32, 64))
"""One in hundreds of random points is valid."""


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_where_proposals_are_hardly_ever_valid_suggestions_are(sampler):
    """Valid, new, and the same again: chance finds them, near to what was proposed."""
    known = len(list(RARE.known_first()))
    found = grow(sampler, known + 2, space=RARE)
    assert len({candidate.key for candidate, _ in found}) == known + 2
    for candidate, seen in found[known:]:
        assert RARE.refuses(candidate) is None
        assert set(seen.suggestion.params) == set(RARE.parameters())
        assert RARE.candidate(seen.suggestion.params).key == candidate.key
    history = [o for _, o in found]
    first = Suggester(RARE, sampler, 0).next(history)
    assert first == Suggester(RARE, sampler, 0).next(history)
    assert first is not None
    assert first[0].key not in {o.key for o in history}


def test_what_stands_in_for_a_proposal_is_near_to_it(monkeypatch):
    asked = []
    ask = optuna.Study.ask

    def remember(*arguments):
        asked.append(ask(*arguments))
        return asked[-1]

    monkeypatch.setattr(optuna.Study, "ask", remember)
    pool = [params for params, _ in islice(Drawer(RARE, np.random.default_rng(99)).valid(), 100)]
    for seed in range(2):
        history = [o for _, o in grow("random", len(list(RARE.known_first())), space=RARE)]
        asked.clear()
        suggested = Suggester(RARE, "random", seed).next(history)
        assert suggested is not None
        proposed = asked[0].params
        assert RARE.refuses(RARE.candidate(proposed)) is not None

        def distance(params, proposed=proposed):
            return sum((params[name] - proposed[name]) ** 2 for name in params if name != "width")

        nearer = sum(distance(params) < distance(suggested[1].params) for params in pool)
        assert nearer < 25, "of a hundred random valid ones few are nearer"


def test_a_space_without_any_valid_candidate_is_exhausted():
    nothing = SearchSpace(name="none", where=("omega == 0 and psi == 1 and nu < 1/2",), widths=(32,))
    assert Suggester(nothing, "random", 0).next([]) is None


def test_sites_are_mended_one_by_one():
    """Six structures that all pass are never proposed together."""
    space = SearchSpace(name="six", sites="each", where=("omega == 0 and psi == 1",), widths=(32,))
    found = grow("tpe", 4, space=space)
    assert len({candidate.key for candidate, _ in found}) == 4
    for candidate, _ in found:
        assert space.refuses(candidate) is None
    assert len(set(found[-1][0].einsums)) == 6


def test_keys_that_are_trained_elsewhere_are_left_out():
    space = SearchSpace(name="d", structures=tuple(map(parse, ("dense", "monarch"))), widths=(16,), head_size=8)
    dense = Candidate.dense(space.shape(16))
    suggester = Suggester(space, "tpe", 0, elsewhere=frozenset({dense.key}))
    proposal = suggester.next([])
    assert proposal is not None
    assert proposal[0].label == "BTT rank 1"
    assert suggester.next([observation(*proposal)]) is None


def test_gp_gives_way_to_chance_where_it_insists_on_invalid_structures(monkeypatch):
    asked = []
    ask = optuna.Study.ask
    monkeypatch.setattr(optuna.Study, "ask", lambda *arguments: asked.append(1) or ask(*arguments))
    monkeypatch.setattr(Candidate, "invalid_because", lambda self: "invalid" if len(asked) < ATTEMPTS else None)
    space = SearchSpace(name="three", factors=3, widths=(32,))
    assert Suggester(space, "gp", 0).next([]) is not None
    assert len(asked) == ATTEMPTS


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_history_of_failures_only_teaches_nothing_and_breaks_nothing(sampler):
    history = [
        Observation(key=o.key, suggestion=o.suggestion, scores=(), done=False, failed=True)
        for _, o in grow(sampler, 20)
    ]
    proposal = Suggester(CONTINUOUS, sampler, 0).next(history)
    assert proposal is not None
    assert proposal[0].key not in {o.key for o in history}


def test_a_sampler_learns_from_scores():
    """TPE, told that a low rank exponent is good, proposes lower ones than told that a high one is."""

    def mean_rank(sign: float) -> float:
        draw, history = random.Random(0), [o for _, o in grow("random", 10)]  # the known structures are behind it
        for n in range(30):
            params = {name: draw.random() for name in distributions(CONTINUOUS)} | {"width": draw.randrange(2)}
            scores = (100 * sign * float(params["all.rho"]),)
            history.append(
                Observation(key=str(n), suggestion=Suggestion(params=params), scores=scores, done=True, failed=False)
            )
        proposals = [Suggester(CONTINUOUS, "tpe", seed).next(history) for seed in range(3)]
        return sum(float(proposal[1].params["all.rho"]) for proposal in proposals if proposal) / 3

    assert mean_rank(-1.0) < mean_rank(1.0)


def test_a_long_history_is_cut_to_its_newest():
    history = [
        Observation(
            key=str(n),
            suggestion=Suggestion(params=dict.fromkeys(distributions(CONTINUOUS), 0.5) | {"width": n % 2}),
            scores=(math.sin(n),),
            done=False,
            failed=False,
        )
        for n in range(WINDOW + 100)
    ]
    assert Suggester(CONTINUOUS, "random", 0).next(history) is not None


def test_a_suggestion_survives_json():
    suggestion = Suggestion(params={"width": 1, "all.rho": 0.25}, memory={"nsga2:generation": 3})
    assert Suggestion.from_json(suggestion.to_json()) == suggestion
