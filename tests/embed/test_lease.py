"""One writer at a time on an object store: a lease renewed by its holder, taken over when it has run out."""

from __future__ import annotations

import multiprocessing
import os
import re
import time

import pytest

from tailwag.embed.locking import Lease, only_writer
from tailwag.embed.storage import StorePath
from tailwag.embed.store_requests import StoreDown
from tailwag.errors import BadInput, TailwagError
from tests.object_store import faulty_proxy


@pytest.fixture
def place(object_store, monkeypatch):
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    return StorePath(f"s3://{object_store.new_bucket()}/db/c.lease")


def test_a_second_writer_is_refused_and_told_until_when(place):
    with only_writer(place, "another job writes") as lock:
        assert lock.still_held()
        with pytest.raises(TailwagError, match="another job writes") as told, only_writer(place, "another job writes"):
            pass
        until = rf"process {os.getpid()}; if it was killed, its lease ends at \d\d:\d\d:\d\d UTC"
        assert re.search(until, str(told.value))
        lock.require_held()
    with only_writer(place, "another job writes") as lock:  # given back, so at once
        assert lock.still_held()


def test_a_lease_that_is_renewed_outlives_its_seconds(place):
    lease = Lease(place, seconds=4)
    lease.take("")
    time.sleep(4.5)
    # A machine under load may renew late: what counts is that it renews, and keeps others out by that.
    before, deadline = lease._look().write, time.monotonic() + 60
    while lease._look().write == before:
        assert time.monotonic() < deadline, "it is not renewed"
        time.sleep(0.05)
    with pytest.raises(TailwagError, match="held"):
        Lease(place, seconds=4).take("held")
    lease.require_held()
    lease.release()


def _take_and_die(place, seconds):
    Lease(place, seconds).take("")
    os._exit(9)


def test_a_killed_holders_lease_is_taken_over_once_it_has_run_out(place):
    process = multiprocessing.get_context("spawn").Process(target=_take_and_die, args=(place, 6.0))
    process.start()
    process.join()
    assert process.exitcode == 9
    other = Lease(place, seconds=60)
    with pytest.raises(TailwagError, match="its lease ends at"):
        other.take("held")
    deadline = time.monotonic() + 60
    while True:
        try:
            other = Lease(place, seconds=60)
            other.take("held")
            break
        except TailwagError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    other.require_held()
    other.release()


def test_who_was_overtaken_knows_and_leaves_the_other_alone(place):
    first = Lease(place, seconds=60)
    first.take("")
    # As after a pause of the machine in which the lease ran out: the other sees it as old.
    second = Lease(place, seconds=60)
    second._write(IfMatch=first._etag)
    first._trusted_until = float("-inf")
    assert not first.still_held()
    with pytest.raises(TailwagError, match="taken over by another job"):
        first.require_held()
    first.release()
    second.require_held()
    with pytest.raises(TailwagError):
        Lease(place, seconds=60).take("")


def _race(place, ready, wins):
    lease = Lease(place, seconds=60)
    ready.wait()
    try:
        lease.take("")
        wins.put(os.getpid())
    except TailwagError:
        wins.put(0)
    time.sleep(1)


def test_of_several_at_once_one_gets_it(place):
    context = multiprocessing.get_context("spawn")
    ready, wins = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_race, args=(place, ready, wins)) for _ in range(4)]
    for process in processes:
        process.start()
    results = [wins.get() for _ in processes]
    for process in processes:
        process.join()
    assert sum(result > 0 for result in results) == 1


def test_a_write_whose_answer_is_lost_still_counts(object_store, place, monkeypatch):
    """The repeated write meets its own first success, and must not take that for another job."""
    cut = set()

    def fault(method, path, number):
        if method == "PUT" and len(cut) < 1:
            cut.add(number)
            return "cut"
        return None

    with faulty_proxy(object_store, fault) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with only_writer(place, "") as lock:
            lock.require_held()
    assert cut


def test_a_renewal_that_nobody_learnt_of_is_not_taken_for_a_new_one(object_store, place, monkeypatch):
    """Its answer was lost for good; what the next one finds in its place is older than it is."""
    monkeypatch.setattr("tailwag.embed.store_requests._FIRST_WAIT", 0.01)
    losing = []

    def fault(method, path, number):
        return "lost" if losing and method == "PUT" else None

    with faulty_proxy(object_store, fault) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        lease = Lease(place, seconds=600)
        lease.take("")
        losing.append(True)
        with pytest.raises(StoreDown):
            lease._renew(attempts=1)
        losing.clear()
        trusted, stale = lease._trusted_until, lease._look()
        assert stale.etag != lease._etag
        lease._renew()
        assert lease._trusted_until > trusted
        assert lease._look().write != stale.write and lease._look().etag == lease._etag
        losing.append(True)  # given back all the same, after one more such renewal
        with pytest.raises(StoreDown):
            lease._renew(attempts=1)
        losing.clear()
        lease.release()
        assert lease._look().released


@pytest.mark.parametrize("wrong_at", [1, 2])
def test_who_cannot_take_it_for_the_stores_failure_leaves_it_free(object_store, place, monkeypatch, wrong_at):
    """The write happened and its answer was lost, or the store fails at the question whether it honours conditions."""
    monkeypatch.setenv("TAILWAG_STORE_ATTEMPTS", "1")
    puts = []

    def fault(method, path, number):
        puts.extend([number] * (method == "PUT"))
        return "lost" if method == "PUT" and len(puts) == wrong_at else None

    with faulty_proxy(object_store, fault) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(TailwagError), only_writer(place, "held"):
            pass
        with only_writer(place, "held") as lock:
            lock.require_held()


def test_a_store_that_ignores_conditions_is_refused(object_store, place, monkeypatch):
    import http.client

    plain = http.client.HTTPConnection.request

    def without_conditions(self, method, url, body=None, headers=None, **more):
        headers = {name: value for name, value in (headers or {}).items() if name.lower() != "if-none-match"}
        return plain(self, method, url, body, headers, **more)

    with faulty_proxy(object_store, lambda *_: None) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setattr(http.client.HTTPConnection, "request", without_conditions)  # the proxy's, not the client's
        with pytest.raises(TailwagError, match="ignores If-None-Match"), only_writer(place, ""):
            pass


def test_another_object_in_its_place_is_left_alone(object_store, place):
    object_store.client().put_object(Bucket=place.address.split("/")[2], Key="db/c.lease", Body=b"mine")
    with pytest.raises(TailwagError, match="is no lease of tailwag's"), only_writer(place, ""):
        pass


@pytest.mark.parametrize("text", ["0", "soon", "1e9"])
def test_seconds_that_make_no_sense(place, monkeypatch, text):
    monkeypatch.setenv("TAILWAG_LEASE_SECONDS", text)
    with pytest.raises(BadInput, match="TAILWAG_LEASE_SECONDS"), only_writer(place, ""):
        pass


def test_a_file_is_locked_as_before(tmp_path):
    with only_writer(tmp_path / ".lock", "held") as lock:
        assert lock.still_held()
        lock.require_held()
        with pytest.raises(TailwagError, match="held"), only_writer(tmp_path / ".lock", "held"):
            pass
