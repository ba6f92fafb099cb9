"""Ids: never reused, found again by submitter and request_id."""

from hypothesis import given
from hypothesis import strategies as st

from jobd.core import ids

ORDINALS = st.integers(1, 2**20 - 1)


@given(st.text(max_size=40), st.text(max_size=255), ORDINALS)
def test_an_id_is_16_characters_of_lower_case_crockford(submitter, request_id, ordinal):
    id = ids.whole(ids.stem(submitter, request_id), ordinal)
    assert len(id) == ids.ID_LENGTH == 16
    assert set(id) <= set(ids.ALPHABET)
    assert not set("ilou") & set(ids.ALPHABET)


def test_the_same_submitter_and_request_id_give_the_same_stem():
    assert ids.stem("uid:1000", "a") == ids.stem("uid:1000", "a")


def test_another_submitter_or_request_id_gives_another_stem():
    stems = {
        ids.stem(by, request) for by in ("uid:1", "uid:10") for request in ("0", "00", "", "1")
    }
    assert len(stems) == 8


@given(st.sets(ORDINALS, min_size=2, max_size=20))
def test_the_same_stem_at_another_ordinal_is_another_id(ordinals):
    stem = ids.stem("uid:1000", "again")
    assert len({ids.whole(stem, ordinal) for ordinal in ordinals}) == len(ordinals)


def test_golden_ids_stay_as_they_are():
    """They stand in journals: a change here would lose every `request_id` ever kept."""
    assert ids.whole(ids.stem("uid:1000", "golden"), 1) == "kv9ypxks4f230001"
