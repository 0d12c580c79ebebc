"""The database server goes away, at every point of every write: the books are as if it had not."""

import threading
from dataclasses import asdict

import pytest
from sqlalchemy import text

from einsearch.errors import EinsearchError
from einsearch.store import LeaseLost, Store, outage
from einsearch.store.errors import StoreUnreachable
from einsearch.store.outage import survives_outages
from einsearch.store.receipts import Receipts, was_committed

PLACES = ("postgresql",)  # only a server goes away


class Cutter:
    """Lets the server cut the connection of the store's next write, once."""

    def __init__(self, store, server):
        self.server = server
        self.dialect, self.receipts = store._engine.dialect, store._receipts
        self.commit, self.leave = self.dialect.do_commit, self.receipts.leave
        self.cuts = 0

    def disarm(self):
        self.dialect.do_commit, self.receipts.leave = self.commit, self.leave

    def cut(self, connection):
        self.cuts += 1
        self.disarm()
        with self.server.connect() as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))

    def arm(self, when):
        """when: one of WHEN, of the next writing transaction."""

        def leave(connection):
            token = self.leave(connection)
            if when == "in the body":
                self.cut(connection.connection.driver_connection)
            else:
                self.dialect.do_commit = do_commit
            return token

        def do_commit(connection):
            if when == "after the commit":
                self.commit(connection)
            self.cut(connection.driver_connection)
            connection.driver_connection.execute("SELECT 1")  # the real error of a connection that is gone

        self.receipts.leave = leave


WHEN = ("in the body", "before the commit", "after the commit")

# Every write, by a driver with a queued trial and a running one with its segment; another study has a ladder trial.
WRITES = {
    "create_study": lambda d, t: d.store.create_study(
        name=f"{d.study.name} new", config={}, protocol={}, protocol_id="p", budget=7
    ),
    "set_budget": lambda d, t: d.store.set_budget(d.study.id, d.epoch, 5000),
    "set_study_state": lambda d, t: d.store.set_study_state(d.study.id, d.epoch, "stopped", seconds=2.5),
    "delete_study": lambda d, t: d.store.delete_study(f"{d.study.name} idle"),
    "acquire_lease": lambda d, t: d.store.acquire_lease(d.study.id, owner="host:2:0", alive=lambda _: False),
    "heartbeat": lambda d, t: d.store.heartbeat(d.study.id, d.epoch),
    "progress": lambda d, t: d.store.progress(d.study.id, d.epoch, [(t["segment"].id, 3, 2.5)]),
    "release_lease": lambda d, t: d.store.release_lease(d.study.id, d.epoch),
    "add_trial": lambda d, t: d.add(key="new"),
    "add_reused_trial": lambda d, t: d.store.add_reused_trial(d.study.id, d.epoch, t["dense"]),
    "set_trial_state": lambda d, t: d.store.set_trial_state(t["queued"].id, d.epoch, "failed", reason="no"),
    "reserve": lambda d, t: d.reserve(t["queued"]),
    "settle": lambda d, t: d.settle(t["segment"]),
    "lose": lambda d, t: d.store.lose(t["segment"].id, d.epoch, "killed"),
    "lose_checkpoint": lambda d, t: d.store.lose_checkpoint(t["trained"].id, d.epoch, "damaged"),
}
READS = {"study", "studies", "lease", "trials", "trial", "points", "reusable", "segments", "audit", "snapshot"}
OTHERS = {"curves", "close", "open", "in_memory", "as_it_is", "together", "gathers"}
"""Of several reads, or of none."""


def test_every_method_of_the_store_is_here():
    methods = {name for name in dir(Store) if not name.startswith("_")}
    assert methods == WRITES.keys() | READS | OTHERS
    for name in WRITES.keys() | READS:
        assert hasattr(getattr(Store, name), "__wrapped__"), f"{name} needs @survives_outages"


@pytest.fixture
def cutter(store, postgresql_server):
    cutter = Cutter(store, postgresql_server)
    yield cutter
    cutter.disarm()


@pytest.fixture
def prepare(new_driver, store):
    """A study about to be written to, the same for every name."""
    dense = new_driver("dense")
    trial = dense.add(kind="ladder", key="dense")
    dense.settle(dense.reserved(trial), state="complete")

    def make(name):
        driver = new_driver(name)
        store.create_study(name=f"{name} idle", config={}, protocol={}, protocol_id="p", budget=1)
        things = {"queued": driver.add(key="queued"), "dense": dense.trial(trial)}
        things["trained"] = driver.add(key="trained")
        driver.settle(driver.reserved(things["trained"]), state="paused")
        things["segment"] = driver.reserved(driver.add(key="running"))
        return driver, things

    return make


IDS = ("id", "study_id", "trial_id", "checkpoint")
MOMENTS = ("heartbeat_at", "created_at", "reserved_at", "ended_at", "finished_at", "progress_at")
VARYING = (*IDS, *MOMENTS)


def plain(row, name):
    """A row without what differs between two studies that went the same way."""
    values = {field: value for field, value in asdict(row).items() if field not in VARYING}
    if "name" in values:
        values["name"] = values["name"].removeprefix(name)
    return values


def everything(driver):
    store, name = driver.store, driver.study.name
    studies = [study for study in store.studies() if study.name.startswith(name)]
    lease = store.lease(driver.study.id)
    return (
        [plain(study, name) for study in studies],
        lease and plain(lease, name),
        [[plain(trial, name) for trial in store.trials(study.id)] for study in studies],
        [[plain(segment, name) for segment in store.segments(study.id)] for study in studies],
        [list(store.points(study.id).values()) for study in studies],
    )


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("name", WRITES)
def test_a_write_whose_connection_is_cut_is_done_exactly_once(prepare, cutter, name, when):
    (calm, things), (cut, other_things) = prepare("calm"), prepare("storm")
    before = everything(calm)
    expected = WRITES[name](calm, things)
    cutter.arm(when)
    answer = WRITES[name](cut, other_things)
    assert cutter.cuts == 1
    assert everything(cut) == everything(calm)
    assert name == "heartbeat" or everything(calm) != before, "the write did something that could be done twice"
    if hasattr(expected, "__dataclass_fields__"):
        assert plain(answer, "storm") == plain(expected, "calm")
    else:
        assert answer == expected
    cut.check()
    calm.check()


def test_without_receipts_that_test_would_fail(prepare, cutter, monkeypatch):
    """A reservation whose answer is lost looks like one that another made: only the receipt tells them apart."""
    driver, things = prepare("storm")
    cutter.arm("after the commit")
    monkeypatch.setattr("einsearch.store.engine.was_committed", lambda *_: False)
    with pytest.raises(ValueError, match="is running: only a queued or paused trial"):
        driver.reserve(things["queued"])


def test_a_refusal_stays_one_through_a_cut(driver, cutter):
    other = driver.take_over()
    cutter.arm("in the body")
    with pytest.raises(LeaseLost, match="taken over by host:2"):
        driver.add()
    assert cutter.cuts == 1
    other.check()


def test_reading_goes_on_with_a_new_connection(driver, postgresql_server):
    trial = driver.add()
    with postgresql_server.connect() as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = '' AND datname = %s",
            (driver.store._engine.url.database,),
        )
    assert driver.store.trials(driver.study.id) == [trial]


def test_a_writer_keeps_one_receipt(driver):
    for _ in range(5):
        driver.store.heartbeat(driver.study.id, driver.epoch)
    with driver.store._read() as connection:
        assert connection.execute(text("SELECT count(*) FROM es_receipt")).scalar_one() == 1
    with driver.store._write(receipt=False) as connection:
        connection.execute(text("UPDATE es_receipt SET left_at = left_at - interval '2 days'"))
    with Store.open(driver.store._engine.url.render_as_string(hide_password=False)) as other:
        other.heartbeat(driver.study.id, driver.epoch)
        with other._read() as connection:
            assert connection.execute(text("SELECT count(*) FROM es_receipt")).scalar_one() == 1, "old ones are swept"


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_the_question_waits_for_a_commit_that_is_still_on_its_way(store, end):
    receipts, answers = Receipts(), []

    def ask():
        with store._write(receipt=False) as connection:
            answers.append(was_committed(connection, token))

    with store._engine.connect() as slow:
        transaction = slow.begin()
        token = receipts.leave(slow)
        asking = threading.Thread(target=ask)
        asking.start()
        asking.join(timeout=0.5)
        assert asking.is_alive(), "not answered before it is known"
        getattr(transaction, end)()
        asking.join(timeout=30)
    assert answers == [end == "commit"]


def test_what_was_called_lost_can_no_longer_commit(store):
    receipts = Receipts()
    with store._write(receipt=False) as connection:
        assert not was_committed(connection, "0" * 32)
    receipts._former = None
    with pytest.raises(Exception, match="es_receipt_pkey"), store._write(receipt=False) as connection:
        connection.execute(text(f"INSERT INTO es_receipt VALUES ('{'0' * 32}', true, now())"))
    with store._write(receipt=False) as connection:
        assert not was_committed(connection, "0" * 32), "asked twice, answered the same"


@pytest.fixture(scope="module")
def own_server(postgresql_server):
    """A server that may be stopped."""
    from ..postgresql import running_server

    with running_server() as server:
        yield server


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_every_method_waits_for_a_server_that_restarts(own_server, mode, caplog):
    with own_server.database() as url, Store.open(url) as store:
        study = store.create_study(name="s", config={}, protocol={}, protocol_id="p", budget=1000)
        epoch = store.acquire_lease(study.id, owner="host:1:0", alive=lambda _: None)
        store.heartbeat(study.id, epoch)
        own_server.stop(mode)
        back = threading.Timer(1.0, own_server.begin)
        back.start()
        store.set_budget(study.id, epoch, 7)
        back.join()
        assert store.study("s").budget == 7
        own_server.restart(mode)
        assert [row.name for row in store.studies()] == ["s"]
        said = [record.getMessage() for record in caplog.records]
        assert "; trying again for up to 120 s" in said[0]
        assert " answers again after " in said[1]
        assert not any("Secret" in line or "t0p" in line for line in said)


def test_patience_ends_in_one_line_and_is_not_had_twice(own_server, monkeypatch):
    monkeypatch.setattr(outage, "PATIENCE", 0.5)
    with own_server.database() as url, Store.open(url) as store:
        study = store.create_study(name="s", config={}, protocol={}, protocol_id="p", budget=1000)
        epoch = store.acquire_lease(study.id, owner="host:1:0", alive=lambda _: None)
        own_server.stop("fast")
        try:
            with pytest.raises(StoreUnreachable) as first:
                store.heartbeat(study.id, epoch)
            monkeypatch.setattr(outage, "_FIRST_PAUSE", 1000.0)
            with pytest.raises(StoreUnreachable) as second:
                store.heartbeat(study.id, epoch)
        finally:
            own_server.begin()
        message = str(first.value)
        assert "\n" not in message
        assert "Secret" not in message
        assert "refused" in message
        assert message.endswith("; it stayed away for 0 s: once it is back, the same command goes on")
        assert "stayed away" not in str(second.value)
        store.heartbeat(study.id, epoch)
        assert store.audit(study.id).violations == ()


def test_only_a_lost_connection_is_worth_another_attempt(store):
    calls = []

    class Other(type(store)):
        @survives_outages
        def work(self):
            calls.append(1)
            raise EinsearchError("no")

    with pytest.raises(EinsearchError, match=r"^no$"):
        Other(store._engine, store.url).work()
    assert calls == [1]


def test_a_server_that_never_answered_is_not_waited_for(own_server):
    with own_server.database() as url:
        own_server.stop("fast")
        try:
            with pytest.raises(StoreUnreachable, match="refused"):
                Store.open(url)
        finally:
            own_server.begin()
