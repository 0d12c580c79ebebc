"""What is lost without a worker's doing: the checkpoint of a trial."""

from sqlalchemy import select, update

from einsearch.store.books import book
from einsearch.store.engine import Database
from einsearch.store.fence import enter_trial
from einsearch.store.outage import survives_outages
from einsearch.store.schema import es_segment, es_trial


class Mending(Database):
    """Books that stay right where files were damaged."""

    @survives_outages
    def lose_checkpoint(self, trial_id: int, epoch: int, reason: str) -> int:
        """Charge all that a trial has trained as lost: its checkpoint is gone, so it is 'queued' at step 0 again.

        Its points and its rung stay, as they are results; trained anew they come out the same. Returns the FLOPs
        that moved from spent to lost. ValueError (a bug of the caller) if the trial has a reserved segment.
        """
        columns = es_segment.c
        with self._write() as connection:
            books = enter_trial(connection, trial_id, epoch)
            running = select(columns.id).where(columns.trial_id == trial_id, columns.state == "reserved")
            if connection.execute(running).first() is not None:
                raise ValueError(f"trial {trial_id} has a reserved segment; settle or lose it first")
            done = (columns.trial_id == trial_id) & (columns.state == "done")
            flops = sum(connection.execute(select(columns.flops).where(done)).scalars())
            connection.execute(update(es_segment).where(done).values(state="lost", reason=reason))
            connection.execute(
                update(es_trial)
                .where(es_trial.c.id == trial_id)
                .values(state="queued", step=0, flops_done=0, checkpoint=None, reason=None, finished_at=None)
            )
            book(connection, books, spent=-flops, lost=flops)
        return flops
