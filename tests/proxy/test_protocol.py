"""Protocols and settings: what is refused, the schedule, and what makes two runs comparable."""

import json
import math
from dataclasses import fields, replace
from pathlib import Path

import pytest

from einsearch.errors import EinsearchError
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.search.config import read_study_file

SETTING = Setting(
    protocol=Protocol(),
    code="0.1.0+abcdef12",
    data_name="a book",
    data_hash="ff" * 32,
    torch="2.13.0",
    device="cpu",
    precision="float32",
)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("context", 0, "context is 0; it must be at least 1"),
        ("batch", -1, "batch is -1; it must be at least 1"),
        ("base_width", 0, "base_width is 0; it must be at least 1"),
        ("base_ffn_expansion", 0, "base_ffn_expansion is 0; it must be at least 1"),
        ("validation_sequences", 0, "validation_sequences is 0; it must be at least 1"),
        ("evaluations_per_octave", 0, "evaluations_per_octave is 0; it must be at least 1"),
        ("warmup_steps", -1, "warmup_steps is -1; it must be at least 0"),
        ("learning_rate", 0.0, "learning_rate is 0.0; it must be a positive number"),
        ("learning_rate", math.nan, "learning_rate is nan; it must be a positive number"),
        ("learning_rate", math.inf, "learning_rate is inf; it must be a positive number"),
        ("residual", "half", "residual is 'half'; known: paper, completep"),
        ("optimizer", "adam", "optimizer is 'adam'; known: adamw, sgd"),
        ("momentum", -0.1, "momentum is -0.1; it must lie in [0, 1)"),
        ("momentum", 1.0, "momentum is 1.0; it must lie in [0, 1)"),
        ("momentum", math.nan, "momentum is nan; it must lie in [0, 1)"),
        ("weight_decay", -0.1, "weight_decay is -0.1; it must be at least 0"),
    ],
)
def test_a_number_out_of_range_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        Protocol(**{field: value})  # type: ignore[arg-type]
    assert str(error.value) == message


def test_warm_up_is_linear_and_then_constant() -> None:
    protocol = Protocol(learning_rate=0.4, warmup_steps=4)
    assert [protocol.learning_rate_at(step) for step in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    assert Protocol(learning_rate=0.4, warmup_steps=0).learning_rate_at(0) == 0.4


def test_residual_scale() -> None:
    assert Protocol(residual="paper").residual_scale(3) == 1
    assert Protocol(residual="paper").residual_scale(12) == 0.5
    assert Protocol(residual="completep").residual_scale(4) == 0.25


def test_tokens_of_a_step() -> None:
    assert Protocol(context=16, batch=4).tokens_per_step == 64


def test_json_is_read_back() -> None:
    read = Setting.from_json(json.loads(json.dumps(SETTING.to_json())))
    assert read == SETTING
    assert read.id == SETTING.id


def test_a_protocol_of_before_there_were_optimizers_to_choose_is_read() -> None:
    stored = SETTING.to_json()
    for name in ("optimizer", "momentum", "weight_normalization"):
        del stored["protocol"][name]
    assert Setting.from_json(stored) == SETTING


def test_a_study_file_chooses_the_optimizer(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    lines = "optimizer: sgd, momentum: 0.5, learning_rate: 0.3, weight_decay: 0.1, weight_normalization: false"
    path.write_text(f"name: sgd\nprotocol: {{{lines}}}\n", encoding="utf-8")
    assert read_study_file(path).protocol == Protocol(
        optimizer="sgd", momentum=0.5, learning_rate=0.3, weight_decay=0.1, weight_normalization=False
    )


def test_the_id_changes_with_every_field_but_the_name_of_the_data() -> None:
    changed = [
        replace(SETTING, **{f.name: "other"}) for f in fields(Setting) if f.name not in ("protocol", "data_name")
    ]
    others = {"optimizer": "sgd", "residual": "completep", "weight_normalization": False}
    for field in fields(Protocol):
        value = getattr(SETTING.protocol, field.name)
        if field.name not in others:
            others[field.name] = value / 2 if field.name in ("beta1", "beta2", "momentum") else value + 1
        changed.append(replace(SETTING, protocol=replace(SETTING.protocol, **{field.name: others[field.name]})))
    ids = {setting.id for setting in (SETTING, *changed)}
    assert len(ids) == 1 + len(changed)
    assert all(len(name) == 16 for name in ids)
    assert replace(SETTING, data_name="another name").id == SETTING.id
