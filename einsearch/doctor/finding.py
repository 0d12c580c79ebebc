"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: what it is, how it is, and how it is mended where it is not in order."""

    subject: str
    state: State
    text: str
    mend: str = ""


def ok(subject: str, text: str) -> Finding:
    return Finding(subject=subject, state="ok", text=text)


def warning(subject: str, text: str, mend: str) -> Finding:
    """Something that costs time or work, and ends by itself or can be left so."""
    return Finding(subject=subject, state="warning", text=text, mend=mend)


def wrong(subject: str, text: str, mend: str) -> Finding:
    """Something that stops studies, or makes their results doubtful."""
    return Finding(subject=subject, state="wrong", text=text, mend=mend)
