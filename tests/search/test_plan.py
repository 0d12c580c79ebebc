import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsearch.errors import EinsearchError
from einsearch.proxy.flops import flops_per_step
from einsearch.proxy.protocol import Protocol
from einsearch.search.config import StudyConfig, parse_flops
from einsearch.search.plan import LEAST_STEPS, Plan, make_plan, optimal_width
from einsearch.space.candidate import Candidate
from einsearch.space.space_file import shipped

budgets = st.floats(10, 20).map(lambda exponent: int(10**exponent))


def step(plan: Plan, width: int, protocol: Protocol) -> int:
    return flops_per_step(Candidate.dense(plan.space.shape(width)), protocol.context, protocol.batch)


def test_the_plan_of_the_default_study():
    plan = make_plan(StudyConfig())
    assert plan.rungs == (13_888_888_888, 41_666_666_666, 125_000_000_000)
    assert {run.width: run.flops for run in plan.ladder}[32] == 250_000_000_000
    assert plan.space.widths[0] == 32
    assert plan.segment == 41_666_666_666


@pytest.mark.parametrize("space", shipped())
@settings(max_examples=15)
@given(budget=budgets)
def test_a_plan_fits_its_budget(space, budget):
    config = StudyConfig(space=space, budget=budget)
    if budget < 4 * 10**12:
        config = replace(config, protocol=Protocol(context=16, batch=2))
    plan = make_plan(config)
    assert plan.ladder_flops + plan.expected_candidates * plan.flops_per_candidate <= budget
    assert plan.rungs[-1] <= plan.segment * 3 + 3
    assert max(run.flops for run in plan.ladder) >= 2 * plan.top, "a multiplier of 2 is read off"
    assert list(plan.rungs) == sorted(set(plan.rungs))
    for width in (*plan.space.widths, *(run.width for run in plan.ladder)):
        assert width % plan.space.head_size == 0
        assert plan.rungs[0] >= LEAST_STEPS * step(plan, width, config.protocol)


@given(budget=budgets, per_octave=st.integers(1, 4), step_flops=st.integers(10**6, 10**8))
def test_a_trial_is_evaluated_at_every_rung_and_ladder_run(budget, per_octave, step_flops):
    plan = make_plan(StudyConfig(budget=max(budget, 10**12)))
    steps = plan.evaluations(step_flops, per_octave)
    assert list(steps) == sorted(set(steps))
    assert steps[0] >= 1
    for flops in (*plan.rungs, *(run.flops for run in plan.ladder)):
        assert flops // step_flops in steps
    octaves = sum(s * step_flops > plan.rungs[0] for s in steps)
    assert octaves >= per_octave * 3, "an octave of FLOPs holds its share"


@pytest.mark.parametrize("space", ["two-factor", "paper"])
@pytest.mark.parametrize("budget", [1, 10**6, 10**10])
def test_the_least_budget_named_works_and_less_does_not(space, budget):
    config = StudyConfig(space=space, budget=budget)
    with pytest.raises(EinsearchError) as error:
        make_plan(config)
    prefix = f"budget 1e{len(str(budget)) - 1} FLOPs is too small for one rung after the dense ladder; give at least "
    assert str(error.value).startswith(prefix)
    least = parse_flops(str(error.value).removeprefix(prefix))
    plan = make_plan(replace(config, budget=least))
    assert plan.expected_candidates >= 1
    with pytest.raises(EinsearchError, match="too small"):
        make_plan(replace(config, budget=least * 3 // 4))


def test_a_plan_survives_json():
    plan = make_plan(StudyConfig(space="paper", budget=10**13))
    data = json.loads(json.dumps(plan.to_json()))
    assert "budget" not in data
    assert Plan.from_json(data, plan.budget) == plan
    assert Plan.from_json(data, 5).budget == 5


def test_given_widths_rungs_and_ladder_are_taken_as_they_are(tiny_study):
    config = StudyConfig(
        space=str(tiny_study.with_name("space.yaml")),
        budget=10**9,
        rungs=(5 * 10**7, 10**8),
        ladder=((8, 10**8), (24, 3 * 10**8)),
        protocol=Protocol(context=16, batch=4),
    )
    plan = make_plan(config)
    assert plan.rungs == (5 * 10**7, 10**8)
    assert [(run.width, run.flops) for run in plan.ladder] == [(8, 10**8), (24, 3 * 10**8)]
    assert plan.space.widths == (16,)
    assert plan.expected_candidates == 4  # the list, although the budget holds more
    assert plan.flops_per_candidate == 5 * 10**7 + 5 * 10**7 / 3


def test_a_given_budget_that_is_too_small_for_given_rungs_and_ladder(tiny_study):
    config = StudyConfig(
        space=str(tiny_study.with_name("space.yaml")),
        budget=10**8,
        rungs=(5 * 10**7,),
        ladder=((16, 10**8),),
        protocol=Protocol(context=16, batch=4),
    )
    with pytest.raises(EinsearchError, match=r"^budget 1e8 FLOPs is too small for .*; give at least 1\.[5-7]\d*e8$"):
        make_plan(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rungs": (1000,)}, r"^rung 1e3 FLOPs: less than 8 steps of the dearest model; give at least \S+e7$"),
        (
            {"rungs": (5 * 10**7, 5 * 10**7 + 1)},
            r"^rung 5e7 FLOPs is too near to 5e7: less than 8 steps of the dearest model; give at least \S+e7$",
        ),
        ({"ladder": ((16, 1000),)}, r"^ladder run of width 16 has 1e3 FLOPs, less than 8 steps; give at least \S+e7$"),
        ({"ladder": ((12, 10**8),)}, r"^width 12 is not divisible by head size 8; use width 8 or 16, or another"),
    ],
)
def test_rungs_and_ladders_that_cannot_be_trained(tiny_study: Path, changes, message):
    config = StudyConfig(
        space=str(tiny_study.with_name("space.yaml")), budget=10**9, protocol=Protocol(context=16, batch=4), **changes
    )
    with pytest.raises(EinsearchError, match=message):
        make_plan(config)


@pytest.mark.parametrize(("widths", "shown"), [("", "32"), ("\nmodel: {widths: [32, 48]}", "32, 48")])
def test_a_space_in_which_nothing_is_valid_is_refused(tmp_path: Path, widths: str, shown: str):
    space = tmp_path / "space.yaml"
    text = "name: cheap\nstructures: {continuous: {factors: 2}}\nwhere: omega == 0 and psi == 1 and nu < 1/2"
    space.write_text(text + widths)
    with pytest.raises(EinsearchError) as error:
        make_plan(StudyConfig(space=str(space)))
    assert str(error.value) == (
        "search space cheap is empty: none of 400,000 random structures is valid at widths "
        f"{shown} (condition 'omega == 0 and psi == 1 and nu < 1/2'); relax its conditions or its indices"
    )
    space.write_text((text + widths).replace("factors: 2", "factors: 3"))
    assert make_plan(StudyConfig(space=str(space))).space.factors == 3


def test_the_optimal_width_grows_slower_than_compute():
    assert optimal_width(2.5e11) == 32
    assert 60 < optimal_width(2.5e12) < 70
