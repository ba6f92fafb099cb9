"""The heap against a sorted list, removal from the middle included."""

from hypothesis import given
from hypothesis import strategies as st

from jobd.core.heap import Heap


class Item:
    __slots__ = ("key", "place")

    def __init__(self, key):
        self.key = key
        self.place = -1


def is_sound(heap):
    """Parents before children, and every item knows its place."""
    entries = heap._entries
    return all(entry[-1].place == place for place, entry in enumerate(entries)) and all(
        entries[(place - 1) // 2] < entries[place] for place in range(1, len(entries))
    )


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(-50, 50)),
        st.tuples(st.just("remove"), st.integers(0, 1000)),
        st.tuples(st.just("pop"), st.just(0)),
    ),
    max_size=150,
)


@given(STEPS)
def test_it_gives_what_a_sorted_list_gives_whatever_is_taken_from_its_middle(steps):
    heap = Heap()
    model = []
    for number, (step, argument) in enumerate(steps):
        if step == "push":
            item = Item((argument, number))
            heap.push(item.key, item)
            model.append(item)
        elif model:
            model.sort(key=lambda item: item.key)
            item = model.pop(argument % len(model) if step == "remove" else 0)
            assert heap.holds(item)
            heap.remove(item)
            assert item.place == -1
            assert not heap.holds(item)
        assert is_sound(heap)
        assert len(heap) == len(model)
        assert set(heap) == set(model)
        expected = min(model, key=lambda item: item.key, default=None)
        assert heap.first() is expected
        if expected is not None:
            assert heap.first_key() == expected.key


@given(st.lists(st.integers(), unique=True, max_size=60))
def test_taking_the_first_again_and_again_sorts(numbers):
    heap = Heap()
    for number in numbers:
        heap.push((number,), Item((number,)))
    taken = []
    while (item := heap.first()) is not None:
        heap.remove(item)
        taken += item.key
    assert taken == sorted(numbers)


def test_it_does_not_hold_an_item_that_has_its_place_in_another_heap():
    here, there = Heap(), Heap()
    mine, other = Item((1,)), Item((1,))
    here.push(mine.key, mine)
    there.push(other.key, other)
    assert mine.place == other.place
    assert here.holds(mine)
    assert not here.holds(other)


class Counted:
    """A key that counts how often keys are compared: cost without a watch."""

    compared = 0

    def __init__(self, number):
        self.number = number

    def __lt__(self, other):
        Counted.compared += 1
        return self.number < other.number

    def __eq__(self, other):
        return self is other

    __hash__ = None


def comparisons_per_step(size):
    """The most that a push, or a removal from anywhere, costs in a heap of that size."""
    heap = Heap()
    items = [Item((Counted(number * 7919 % size),)) for number in range(size)]
    for item in items:
        heap.push(item.key, item)
    worst = 0
    for item in (*items[:: max(1, size // 97)], items[0], items[-1]):
        for step in (
            lambda item=item: heap.remove(item),
            lambda item=item: heap.push(item.key, item),
        ):
            Counted.compared = 0
            step()
            worst = max(worst, Counted.compared)
    return worst


def test_a_step_in_a_heap_a_hundred_times_as_large_costs_only_a_logarithm_more():
    small, large = comparisons_per_step(1_000), comparisons_per_step(100_000)
    assert small <= 2 * 10 + 2
    assert large <= 2 * 17 + 2
