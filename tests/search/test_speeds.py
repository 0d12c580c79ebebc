"""Slow machines get less work at a time, and fast ones what is most advanced."""

import pytest

from einsearch.search.speeds import Speeds


def test_what_is_not_known_counts_as_any_other() -> None:
    speeds = Speeds()
    assert speeds.share("a") == 1
    assert speeds.fastest_first(["b", "a"]) == ["b", "a"]
    speeds.note("a", 0, 1.0)
    speeds.note("a", 1e9, 0.0)
    assert speeds.share("a") == 1


def test_differences_between_structures_do_not_count() -> None:
    speeds = Speeds()
    for slot, speed in (("a", 1e9), ("b", 3e9), ("c", 2e9)):
        speeds.note(slot, speed, 1.0)
    assert {speeds.share(slot) for slot in "abc"} == {1.0}


def test_machines_that_differ() -> None:
    speeds = Speeds()
    for slot, speed in (("a", 1e9), ("b", 1e9), ("c", 1e8), ("d", 8e9), ("e", 1e15)):
        speeds.note(slot, 2 * speed, 2.0)
    assert [speeds.share(slot) for slot in "abcde"] == pytest.approx([1, 1, 0.1, 8, 16])
    assert speeds.fastest_first("cabde") == ["e", "d", "a", "b", "c"]


def test_the_latest_segments_count_and_another_machine_begins_anew() -> None:
    speeds = Speeds()
    for slot in "abc":
        speeds.note(slot, 1e9, 1.0)
    for _ in range(20):
        speeds.note("c", 1e7, 1.0)
    assert speeds.share("c") == 1 / 16
    for _ in range(8):
        speeds.note("c", 1e9, 1.0)
    assert speeds.share("c") == 1
    for _ in range(8):
        speeds.note("c", 1e7, 1.0)
    speeds.forget("c")
    assert speeds.share("c") == 1
