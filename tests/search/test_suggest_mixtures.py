"""Samplers propose mixtures of experts as they propose anything else."""

import random

import pytest

from einsearch.search.history import Observation, Suggestion
from einsearch.search.suggest import SAMPLERS, Suggester, distributions
from einsearch.space.candidate import Candidate
from einsearch.space.mixture_choices import MixtureChoices
from einsearch.space.parse import parse
from einsearch.space.search_space import SearchSpace
from einsearch.space.space_file import load_space

FEW = MixtureChoices(experts=(4, 8), active=(2, 1), per=("none", "layer", "ffn"), balance=("loss", "bias"))
LIST = SearchSpace(name="list", structures=(parse("monarch"), parse("dense")), widths=(16,), head_size=8, mixture=FEW)
CONTINUOUS = SearchSpace(name="two", widths=(32,), mixture=FEW)


def grow(space: SearchSpace, sampler: str, count: int) -> list[tuple[Candidate, Observation]]:
    """Proposals with scores that favour many experts; of five in a row one failed and one was cut off."""
    suggester, found = Suggester(space, sampler, 0), []
    for n in range(count):
        proposal = suggester.next([observation for _, observation in found])
        assert proposal is not None
        candidate, suggestion = proposal
        score = 0.1 * (candidate.mixture.experts if candidate.mixture else 0)
        outcome = {1: {"done": False}, 3: {"done": False, "failed": True}}.get(n % 5, {"done": True})
        seen = Observation(
            key=candidate.key,
            suggestion=Suggestion.from_json(suggestion.to_json()),
            scores=() if outcome.get("failed") else (score,),
            **({"failed": False} | outcome),
        )
        found.append((candidate, seen))
    return found


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_list_with_mixtures_is_exhausted_exactly(sampler: str) -> None:
    count = LIST.count()
    assert count == 2 * (1 + 2 * 2 * 2 * 2)
    found = grow(LIST, sampler, count if sampler != "gp" else 12)  # then each proposal of gp takes seconds
    assert len({candidate.key for candidate, _ in found}) == len(found)
    for candidate, seen in found:
        assert LIST.candidate(seen.suggestion.params).key == candidate.key
    if sampler != "gp":
        assert Suggester(LIST, sampler, 0).next([observation for _, observation in found]) is None


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_continuous_space_with_mixtures(sampler: str) -> None:
    known = len(list(CONTINUOUS.known_first()))
    assert known == 5 * 3
    found = grow(CONTINUOUS, sampler, known + 8)
    assert len({candidate.key for candidate, _ in found}) == len(found)
    for candidate, seen in found:
        assert CONTINUOUS.refuses(candidate) is None
        assert CONTINUOUS.candidate(seen.suggestion.params).key == candidate.key
    assert len({candidate.mixture for candidate, _ in found[known:]}) > 2


def test_a_sampler_learns_which_option_is_good() -> None:
    """TPE, told that eight experts per layer are good, proposes them more often than told that they are bad."""

    begun = [o for _, o in grow(CONTINUOUS, "random", 15)]  # the known ones are behind it

    def share(sign: float) -> float:
        draw, history = random.Random(0), list(begun)
        for n in range(40):
            params = {name: draw.random() for name in distributions(CONTINUOUS)} | {"width": 0}
            params |= {name: draw.randrange(options) for name, options in CONTINUOUS.mixture_options().items()}
            good = params["mixture.per"] == 1 and params["mixture.experts"] == 1
            history.append(
                Observation(
                    key=str(n), suggestion=Suggestion(params=params), scores=(sign * good,), done=True, failed=False
                )
            )
        proposals = [Suggester(CONTINUOUS, "tpe", seed).next(history) for seed in range(8)]
        chosen = [proposal[0].mixture for proposal in proposals if proposal]
        return sum(m is not None and (m.per, m.experts) == ("layer", 8) for m in chosen) / len(chosen)

    assert share(-100.0) < share(100.0)


def test_optuna_sees_a_choice_for_every_field_with_options() -> None:
    names = {name for name in distributions(load_space("moe").with_widths((64,))) if name.startswith("mixture.")}
    assert names == {f"mixture.{name}" for name in ("per", "experts", "active", "routing", "balance", "shared_router")}


def test_what_is_trained_elsewhere_is_left_out() -> None:
    dense = Candidate.dense(LIST.shape(16))
    found, suggester = [], Suggester(LIST, "random", 0, elsewhere=frozenset({dense.key}))
    for _ in range(4):
        proposal = suggester.next(found)
        assert proposal is not None
        found.append(Observation(key=proposal[0].key, suggestion=proposal[1], scores=(0.0,), done=True, failed=False))
        assert proposal[0].key != dense.key
