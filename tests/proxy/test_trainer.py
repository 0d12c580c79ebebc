"""The training loop: it learns, repeats bit for bit however it is cut, stops and fails as it says."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from einsearch.errors import EinsearchError
from einsearch.layers.implementations import IMPLEMENTATIONS
from einsearch.proxy.batches import Batches
from einsearch.proxy.corpus import Corpus, load_corpus
from einsearch.proxy.device import setting_for
from einsearch.proxy.flops import flops_per_step
from einsearch.proxy.gpt2 import ProxyGPT2
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.proxy.trainer import (
    Point,
    Progress,
    Segment,
    SegmentResult,
    optimizer_of,
    train_segment,
    validation_loss,
)
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.parse import parse

CPU = torch.device("cpu")
SHAPE = ModelShape(width=16, depth=1, head_size=8)
BTT = Candidate.of(parse("btt(1/4)"), SHAPE)
PROTOCOL = Protocol(context=16, batch=4, base_width=16, learning_rate=1e-2, warmup_steps=3, validation_sequences=6)
END, EVALUATE_AT = 30, (1, 4, 13, 14, 30)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    for document in range(8):
        lines = [f"line {n} of {document}: the cat sat on the mat\n" for n in range(40)]
        (folder / f"{document}.txt").write_text("".join(lines), encoding="utf-8")
    return load_corpus(folder, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def setting(corpus: Corpus) -> Setting:
    return setting_for(PROTOCOL, corpus, CPU)


def segment(folder: Path, start: int = 0, end: int = END, candidate: Candidate = BTT, seed: int = 3) -> Segment:
    return Segment(candidate=candidate, seed=seed, start=start, end=end, evaluate_at=EVALUATE_AT, folder=folder)


def numbers(points: tuple[Point, ...]) -> list[tuple[int, int, float, float]]:
    """All of a point that must repeat: not the seconds."""
    return [(p.step, p.flops, p.train_loss, p.validation_loss) for p in points]


def weights(result: SegmentResult) -> dict[str, Tensor]:
    assert result.checkpoint is not None
    return load_file(result.checkpoint / "tensors.safetensors")


def in_pieces(
    folder: Path, cuts: list[int], setting: Setting, corpus: Corpus
) -> tuple[tuple[Point, ...], SegmentResult]:
    points: tuple[Point, ...] = ()
    for start, end in pairwise([0, *cuts, END]):
        result = train_segment(segment(folder, start, end), setting, corpus, CPU)
        assert (result.end, result.failure) == (end, None)
        points += result.points
    return points, result


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, setting: Setting, corpus: Corpus) -> SegmentResult:
    return train_segment(segment(tmp_path_factory.mktemp("whole")), setting, corpus, CPU)


@pytest.mark.parametrize("cuts", [[], [1], [4], [10, 13, 20], [5, 6, 7, 29], [14, 15]])
def test_training_in_pieces_is_bit_identical(
    cuts: list[int], tmp_path: Path, setting: Setting, corpus: Corpus, whole: SegmentResult
) -> None:
    points, last = in_pieces(tmp_path, cuts, setting, corpus)
    assert numbers(points) == numbers(whole.points)
    expected, found = weights(whole), weights(last)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_a_trial_keeps_the_implementations_it_began_with(
    tmp_path: Path, setting: Setting, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the machine measures later: rounding is part of a trial's result."""
    chosen = {}
    for name in ("merged", "feature-major"):
        monkeypatch.setattr("einsearch.proxy.gpt2.fastest", lambda *_, name=name, **__: name)
        chosen[name] = train_segment(segment(tmp_path / name, end=4), setting, corpus, CPU)
        assert chosen[name].implementations == (name,)
    later = train_segment(segment(tmp_path / "merged", start=4, end=8), setting, corpus, CPU)
    assert later.implementations == ("merged",)
    forced = replace(segment(tmp_path / "merged", start=8, end=12), implementation="reference")
    assert train_segment(forced, setting, corpus, CPU).implementations == ("reference",)


def test_sgd_in_pieces_is_bit_identical(tmp_path: Path, corpus: Corpus) -> None:
    protocol = replace(PROTOCOL, optimizer="sgd", learning_rate=0.3, weight_decay=0.01)
    setting = setting_for(protocol, corpus, CPU)
    whole = train_segment(segment(tmp_path / "whole"), setting, corpus, CPU)
    points, last = in_pieces(tmp_path / "pieces", [3, 10, 13, 20], setting, corpus)
    assert numbers(points) == numbers(whole.points)
    assert all(torch.equal(tensor, weights(last)[name]) for name, tensor in weights(whole).items())
    assert whole.points[-1].validation_loss < 0.95 * whole.points[0].validation_loss


def test_another_seed_trains_otherwise(tmp_path: Path, setting: Setting, corpus: Corpus, whole: SegmentResult) -> None:
    other = train_segment(segment(tmp_path, seed=4), setting, corpus, CPU)
    assert numbers(other.points) != numbers(whole.points)


@pytest.mark.parametrize("text", ["dense", "btt", "low-rank"])
def test_the_loss_goes_down(text: str, tmp_path: Path, setting: Setting, corpus: Corpus) -> None:
    candidate = Candidate.of(parse(text), SHAPE)
    result = train_segment(segment(tmp_path, end=100, candidate=candidate), setting, corpus, CPU)
    first = result.points[0]
    # Before the first step the head is zero: a uniform guess.
    assert first.train_loss == pytest.approx(math.log(96), abs=1e-5)
    assert result.points[-1].train_loss < result.points[-1].validation_loss + 1
    assert result.points[-1].validation_loss < 0.8 * first.validation_loss


def test_the_result_says_what_was_done(whole: SegmentResult, corpus: Corpus, setting: Setting) -> None:
    assert whole.end == END
    assert [p.step for p in whole.points] == list(EVALUATE_AT)
    assert [p.flops for p in whole.points] == [n * flops_per_step(BTT, 16, 4) for n in EVALUATE_AT]
    assert whole.tokens == END * 64
    assert whole.checkpoint is not None
    assert whole.checkpoint.name == "step-00000030"
    assert whole.failure is None
    assert whole.activations == "row-major"
    assert set(whole.implementations) <= IMPLEMENTATIONS.keys()
    assert 0 < whole.seconds <= whole.busy_seconds
    assert whole.points[-1].seconds <= whole.seconds
    assert whole.peak_memory_bytes > 0


def test_losses_against_a_loop_written_out(setting: Setting, corpus: Corpus, whole: SegmentResult) -> None:
    """Means of the training losses between two points, and the validation loss of the weights at the end."""
    model = ProxyGPT2(BTT, PROTOCOL, seed=3)
    model.use_implementations(model.fastest_implementations(CPU, torch.float32))
    optimizer = optimizer_of(model, setting)
    batches = Batches(corpus=corpus, context=16, batch=4, seed=3)
    losses: list[float] = []
    for step in range(END):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * min(1, (step + 1) / 3) * group["multiplier"]
        loss = model.loss(torch.from_numpy(batches.train(step)))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    for (start, end), point in zip(pairwise((0, *EVALUATE_AT)), whole.points, strict=True):
        assert point.train_loss == pytest.approx(sum(losses[start:end]) / (end - start), rel=1e-5)
    windows = torch.from_numpy(batches.validation(6))
    assert len(windows) == 6  # more than one batch, the last one smaller
    assert whole.points[-1].validation_loss == pytest.approx(model.loss(windows).item(), rel=1e-5)
    assert validation_loss(model, windows, setting) == pytest.approx(model.loss(windows).item(), rel=1e-6)


def test_a_stop_leaves_a_checkpoint_at_the_step_reached(
    tmp_path: Path, setting: Setting, corpus: Corpus, whole: SegmentResult
) -> None:
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 17

    stopped = train_segment(segment(tmp_path), setting, corpus, CPU, should_stop=should_stop)
    assert (stopped.end, stopped.failure, stopped.tokens) == (17, None, 17 * 64)
    assert stopped.checkpoint == tmp_path / "step-00000017"
    rest = train_segment(segment(tmp_path, start=17), setting, corpus, CPU)
    assert numbers(stopped.points + rest.points) == numbers(whole.points)
    assert all(torch.equal(tensor, weights(rest)[name]) for name, tensor in weights(whole).items())


def test_a_stop_before_the_first_step_leaves_nothing(tmp_path: Path, setting: Setting, corpus: Corpus) -> None:
    result = train_segment(segment(tmp_path), setting, corpus, CPU, should_stop=lambda: True)
    assert (result.end, result.checkpoint, result.points, result.tokens) == (0, None, (), 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [3e2, 1e30])
def test_divergence_ends_with_a_reason_and_no_checkpoint(rate: float, tmp_path: Path, corpus: Corpus) -> None:
    setting = setting_for(replace(PROTOCOL, learning_rate=rate), corpus, CPU)
    result = train_segment(segment(tmp_path), setting, corpus, CPU)
    assert result.failure is not None
    assert result.failure.startswith("diverged: ")
    assert result.end < END
    assert result.checkpoint is None
    assert list(tmp_path.iterdir()) == []
    assert all(math.isfinite(point.validation_loss) for point in result.points)


def test_signs_of_life(tmp_path: Path, setting: Setting, corpus: Corpus) -> None:
    seen: list[Progress] = []
    train_segment(segment(tmp_path), setting, corpus, CPU, on_progress=seen.append)
    assert [progress.step for progress in seen] == sorted({*EVALUATE_AT, 10, 20, 30})
    assert all(0 < progress.loss < 6 and progress.flops_per_second > 0 for progress in seen)


def test_a_segment_without_its_checkpoint_is_refused(tmp_path: Path, setting: Setting, corpus: Corpus) -> None:
    with pytest.raises(EinsearchError, match=r"^checkpoint .*step-00000010 cannot be read: "):
        train_segment(segment(tmp_path, start=10), setting, corpus, CPU)
