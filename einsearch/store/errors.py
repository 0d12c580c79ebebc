"""What the store refuses, where the caller has to tell one refusal from another."""

from einsearch.errors import EinsearchError


class LeaseLost(EinsearchError):
    """The caller no longer runs the study: its lease was taken over, released or deleted."""


class AlreadySettled(EinsearchError):
    """The segment is already done or lost: a segment is booked once."""


class DuplicateTrial(EinsearchError):
    """The study already has a trial with this key and seed: nothing is trained twice."""


class StoreUnreachable(EinsearchError):
    """The database server does not answer, or the connection to it was lost."""
