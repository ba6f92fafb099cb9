"""What becomes of jobs, told as it is recorded."""

from __future__ import annotations

import pytest
from outside.peer import Refused
from outside.waiting import until

covers = pytest.mark.covers

EVENT = {"subscription", "seq", "at", "id", "status", "attempt", "queue"}


def subscribe(peer, as_="e", **params):
    answer = peer.answer(peer.send("events", params, id=as_))
    assert set(answer) == {"subscription", "seq"}
    assert answer["subscription"] == as_
    return answer["seq"]


def notes_until(peer, last):
    """Up to the first that satisfies `last`."""
    notes = []
    while not notes or not last(notes[-1]):
        notes.append(peer.note())
    return notes


def of_end(note):
    return note["status"] in ("completed", "failed", "cancelled")


@covers("method:events", "param:events.id")
def test_a_jobs_life_is_told_in_order(shared, peer):
    seq = subscribe(peer, queue="events")
    id = shared.submit(command=["/bin/true"], queue="events")
    notes = notes_until(peer, of_end)
    assert [note["status"] for note in notes] == ["pending", "running", "completed"]
    assert [note["attempt"] for note in notes] == [0, 1, 1]
    for note in notes:
        assert set(note) >= EVENT
        assert (note["id"], note["queue"], note["subscription"]) == (id, "events", "e")
        assert note["at"].endswith("Z")
    numbers = [note["seq"] for note in notes]
    assert all(later > earlier for earlier, later in zip([seq, *numbers], numbers, strict=False))


@covers("param:events.status", "param:events.queue", "param:events.id")
def test_events_are_filtered(shared, peer):
    subscribe(peer, "s", status=["failed", "cancelled"], queue="filtered")
    subscribe(peer, "q", queue="filtered", status="completed")
    waiting = shared.submit(command=["/bin/true"], queue="filtered", delay=3600)
    subscribe(peer, "i", id=waiting[:8])
    shared.run(command=["/bin/true"], queue="filtered")
    shared.run(command=["/bin/false"], queue="filtered")
    shared.run(command=["/bin/true"], queue="other")
    shared.call("cancel", id=waiting)
    peer.call("ping")
    told = {}
    for note in peer.notes_so_far():
        told.setdefault(note["subscription"], []).append((note["queue"], note["status"]))
    assert told["s"] == [("filtered", "failed"), ("filtered", "cancelled")]
    assert told["q"] == [("filtered", "completed")]
    assert told["i"] == [("filtered", "cancelled")]


@covers("param:events.since")
def test_with_since_later_events_still_held_come_first(shared, peer):
    seq = subscribe(peer, "first", queue="held")
    shared.run(command=["/bin/true"], queue="held")
    live = notes_until(peer, of_end)
    with shared.peer() as other:
        subscribe(other, "again", queue="held", since=seq)
        held = notes_until(other, of_end)
    assert [dict(note, subscription="") for note in held] == [
        dict(note, subscription="") for note in live
    ]
    with shared.peer() as other:
        subscribe(other, "middle", queue="held", since=live[1]["seq"])
        assert [note["seq"] for note in notes_until(other, of_end)] == [live[2]["seq"]]


@covers("param:events.since")
def test_seq_never_repeats_and_a_gap_is_said_after_a_restart(jobd):
    d = jobd()
    with d.peer() as peer:
        before = subscribe(peer)
        d.run(command=["/bin/true"])
        last = notes_until(peer, of_end)[-1]["seq"]
    d.kill()
    d.start()
    with d.peer() as peer:
        assert subscribe(peer, since=before) >= last
        assert peer.note() == {"subscription": "e", "gap": True}
        d.run(command=["/bin/true"])
        notes = notes_until(peer, of_end)
        assert min(note["seq"] for note in notes) > last


def test_nothing_is_told_twice_nor_left_out_between_what_is_held_and_what_comes(jobd):
    d = jobd()
    with d.peer() as early, d.peer() as late:
        seq = subscribe(early)
        ids = {d.submit(command=["/bin/true"]) for _ in range(20)}
        late.send("events", {"since": seq}, id="e")
        ids |= {d.submit(command=["/bin/true"]) for _ in range(20)}
        for id in ids:
            d.final(id)
        ends = set(ids)

        def all_ended(note):
            if of_end(note):
                ends.discard(note["id"])
            return not ends

        live = notes_until(early, all_ended)
        ends = set(ids)
        both = notes_until(late, all_ended)
    assert [note["seq"] for note in both] == [note["seq"] for note in live]
    assert len({note["seq"] for note in live}) == len(live)


@covers("method:unsubscribe", "param:unsubscribe.subscription")
def test_after_unsubscribe_nothing_more_is_told(shared, peer):
    subscribe(peer, "gone", queue="unsubscribed")
    subscribe(peer, 17, queue="unsubscribed")
    assert peer.call("unsubscribe", subscription="gone") == {}
    id = shared.submit(command=["/bin/true"], queue="unsubscribed")
    shared.final(id)
    peer.call("ping")
    assert {note["subscription"] for note in peer.notes_so_far()} == {17}


@covers("method:unsubscribe")
def test_there_must_be_something_to_unsubscribe_from(peer):
    for params in ({}, {"subscription": {"a": 1}}, {"subscription": True}):
        with pytest.raises(Refused) as refused:
            peer.call("unsubscribe", **params)
        assert refused.value.code == -32602


@covers("param:events.status", "param:events.since", "param:events.queue", "param:events.id")
@pytest.mark.parametrize(
    "params",
    [{"status": "done"}, {"since": -1}, {"since": True}, {"since": "5"}, {"queue": 1}, {"id": 1},
     {"colour": 1}],
)  # fmt: skip
def test_events_refuse_what_they_do_not_know(shared, params):
    assert shared.refusal("events", **params).code == -32602


@covers("param:events.id", "error:-32002")
def test_events_of_a_job_that_there_is_not_are_not_found(shared):
    assert shared.refusal("events", id="zzzzzzzzzzzzzzzz").code == -32002


def test_no_event_shows_what_is_not_on_disk(shared, peer):
    """When the event is here, the journal has it."""
    subscribe(peer, queue="ondisk")
    id = shared.submit(command=["/bin/true"], queue="ondisk")

    def journal():
        return "".join(p.read_text() for p in sorted((shared.state_dir / "journal").iterdir()))

    for _ in range(3):
        note = peer.note()
        assert id in journal()
    assert note["status"] == "completed"
    assert until(lambda: len(shared.log_of(id)) == 2)
