"""`einsearch train`: one candidate, without a study."""

import json
from pathlib import Path

import pytest

# About 1e8 FLOPs a step under the default protocol.
COMMON = ("train", "monarch", "--width", 16, "--depth", 1, "--device", "cpu")


@pytest.fixture
def train(cli, tiny_study):
    return lambda *options: cli(*COMMON, "--data", tiny_study.with_name("text"), *options)


def test_training_prints_the_curve_and_leaves_a_checkpoint(train):
    answer = train("--flops", "1e9")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0].startswith("BTT rank 1 (0.5|0|0.5|0|0.5|0.5|0), key ")
    assert " steps of " in lines[1]
    assert " documents, " in lines[1]
    assert all(line.startswith("step ") and " validation " in line for line in lines[2:-1])
    checkpoint = Path(lines[-1].removeprefix("checkpoint: "))
    assert (checkpoint / "tensors.safetensors").is_file()


def test_the_same_command_continues_and_ends_where_an_uninterrupted_one_does(train, tmp_path):
    first = json.loads(train("--flops", "5e8", "--json").out)
    answer = train("--flops", "1e9")
    assert f"continues from the checkpoint at step {int(first['checkpoint'][-8:])}" in answer.out
    again = train("--flops", "1e9")
    assert again.code == 2
    assert again.err.startswith(f"einsearch: runs/train/{first['key']}-0-")
    assert again.err.endswith("give more --flops or remove it\n")
    assert again.err.count("\n") == 1
    last = [line for line in answer.out.splitlines() if line.startswith("step ")][-1]
    whole = json.loads(train("--flops", "1e9", "--json", "--runs", tmp_path / "other").out)
    assert f"validation {whole['validation_loss']:.4f}" in last
    assert whole["theta"] == "(0.5|0|0.5|0|0.5|0.5|0)"
    assert whole["implementations"]


def test_quiet_prints_nothing(train):
    answer = train("--flops", "2e8", "--quiet")
    assert (answer.code, answer.out, answer.err) == (0, "", "")


def test_a_mixture_of_experts(train):
    answer = train("--flops", "5e8", "--experts", "4", "--json")
    assert answer.code == 0, answer.err
    assert any(name.endswith(" experts") for name in json.loads(answer.out)["implementations"])
    refused = train("--flops", "5e8", "--experts", "2", "--active", "3")
    assert (refused.code, refused.err) == (
        2,
        "einsearch: a mixture of 2 experts has 3 active; give at least as many experts as active\n",
    )
