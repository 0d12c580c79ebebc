"""The store: one open database, its parts one mixin each."""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from einsearch.store.audit import Audits
from einsearch.store.curves import read_points
from einsearch.store.engine import make_engine, memory_engine, parse_url, prepare_sqlite, shown
from einsearch.store.leases import Leases
from einsearch.store.ledger import Ledger, read_segments
from einsearch.store.mending import Mending
from einsearch.store.migrate import bring_to_head
from einsearch.store.outage import survives_outages
from einsearch.store.rows import Curve, Point, SegmentRow, StudyRow, TrialRow
from einsearch.store.schema import es_trial
from einsearch.store.studies import Studies, read_study
from einsearch.store.trials import Trials, read_trials


class Store(Studies, Leases, Trials, Ledger, Mending, Audits):
    """Studies, trials and the FLOP ledger in a SQLite file or a PostgreSQL database.

    Every writing method is one transaction, and all but `create_study` and `delete_study` name the epoch of
    the driver's lease, checked in that transaction. A store may be shared by threads; a
    process opens its own. `url` is for messages: it has no password.
    """

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> Self:
        """Open the store at a URL; with `create`, make it or bring an old schema up to date.

        Raises EinsearchError, in one line and never with a password, where there is no store, it is newer
        than this einsearch, or the database cannot be used.
        """
        parsed = parse_url(url)
        if parsed.drivername == "sqlite":
            prepare_sqlite(parsed, create=create)
        return cls._at_head(cls(make_engine(parsed), shown(parsed)), create=create)

    @classmethod
    def as_it_is(cls, url: str) -> Self:
        """Open a database whatever its schema, to look at that or to mend it; nothing is made.

        Raises EinsearchError where there is no such database or it cannot be used.
        """
        parsed = parse_url(url)
        if parsed.drivername == "sqlite":
            prepare_sqlite(parsed, create=False)
        return cls(make_engine(parsed), shown(parsed))

    @classmethod
    def in_memory(cls) -> Self:
        """A new store in this process's memory, forgotten when it is closed. No other process, nor Optuna, sees it."""
        return cls._at_head(cls(memory_engine(), "sqlite:///:memory:"), create=True)

    @classmethod
    def _at_head(cls, store: Self, *, create: bool) -> Self:
        try:
            bring_to_head(store, create=create)
        except BaseException:
            store.close()
            raise
        return store

    def curves(self, study_id: int) -> list[Curve]:
        """The trials of a study in the order of their numbers, with their points and measured speed."""
        return self.snapshot(study_id)[1]

    @survives_outages
    def snapshot(self, study_id: int) -> tuple[StudyRow, list[Curve], list[SegmentRow]]:
        """A study, its curves and its segments, all of one moment, also while a driver writes.

        Raises EinsearchError where there is no such study.
        """
        with self._read() as connection:
            study = read_study(connection, study_id, self.url)
            segments = read_segments(connection, study_id)
            points = read_points(connection, es_trial.c.study_id == study_id)
            trials = read_trials(connection, study_id)
        return study, _curves(trials, points, segments), segments

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self.url!r})"


def _curves(
    trials: Iterable[TrialRow], points: Mapping[int, Sequence[Point]], segments: Iterable[SegmentRow]
) -> list[Curve]:
    work: dict[int, tuple[int, float]] = {}
    for segment in segments:
        if segment.state == "done":
            tokens, seconds = work.get(segment.trial_id, (0, 0.0))
            work[segment.trial_id] = (tokens + (segment.tokens or 0), seconds + (segment.seconds or 0.0))
    return [
        Curve(
            trial=trial,
            points=tuple(points.get(trial.id, ())),
            tokens=work.get(trial.id, (0, 0.0))[0],
            seconds=work.get(trial.id, (0, 0.0))[1],
        )
        for trial in trials
    ]
