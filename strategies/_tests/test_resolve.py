"""`resolve` is total, and deleting a raw operation changes little else."""

from __future__ import annotations

import random

from harness.program.ops import OPS, Exit, Fork, Load, Map, Observe, Op, Store, Unmap, Wait
from harness.program.program import Program
from harness.program.text import format_program
from harness.program.units import Address
from strategies.fields import LONE, SPANS, WISHES, Span, Wish
from strategies.ops import ROW_OF, ROWS, Raw
from strategies.programs import resolve
from strategies.scene import Limits, Scene, Space, nearest

FOUR_PAGES = 9
"""A prelude: p0 maps four pages as its first step."""


def raw(op: type[Op], *numbers: int) -> Raw:
    """Give a raw operation; the fields behind those that are given are at their least."""
    fields = ROW_OF[op].fields
    return Raw(ROW_OF[op], (*numbers, *(each.least for each in fields[len(numbers) :])))


def page(index: int, *, steered: bool = True) -> int:
    return WISHES.index(Wish(index, steered=steered))


def lines(program: Program) -> list[str]:
    return format_program(program).splitlines()[1:]


def random_raws(random_: random.Random) -> list[Raw]:
    rows = random_.choices(ROWS, k=random_.randrange(40))
    return [Raw(row, tuple(random_.randint(each.least, each.most) for each in row.fields)) for row in rows]


def test_there_is_one_row_for_each_operation() -> None:
    assert sorted(row.op.code for row in ROWS) == sorted(op.code for op in OPS)


def test_a_raw_operation_is_at_most_five_choices() -> None:
    assert all(len(row.fields) <= 4 for row in ROWS)


def test_the_lower_of_two_parts_has_a_power_of_two_of_values() -> None:
    assert all(len(table) & (len(table) - 1) == 0 for table in (WISHES, SPANS))


def test_any_list_gives_a_program_and_so_does_any_part_of_it() -> None:
    random_ = random.Random(1)

    for _ in range(200):
        raws = random_raws(random_)
        whole = resolve(raws, Limits(), prelude=FOUR_PAGES)
        for k in range(len(raws)):
            part = resolve(raws[:k] + raws[k + 1 :], Limits(), prelude=FOUR_PAGES)
            assert len(part) <= 30
        assert len(whole) <= 30


def test_without_an_unneeded_step_the_others_mostly_stay_as_they_are() -> None:
    random_ = random.Random(2)
    kept = total = 0

    for _ in range(100):
        raws = random_raws(random_)
        whole = lines(resolve(raws, Limits(max_steps=60), prelude=FOUR_PAGES))
        for k, each in enumerate(raws):
            if each.row.op is not Fork:  # names are given in order, and move up
                part = lines(resolve(raws[:k] + raws[k + 1 :], Limits(max_steps=60), prelude=FOUR_PAGES))
                total += len(part)
                kept += sum(1 for line in part if line in whole)

    assert kept / total > 0.9


def test_nothing_drawn_gives_the_least_program() -> None:
    assert lines(resolve([], Limits())) == ["p0: load data[0]"]
    assert lines(resolve([], Limits(min_steps=0))) == []
    assert lines(resolve([], Limits(containing=(Wait,)))) == ["p0: fork p1", "p1: exit 0", "p0: wait p1"]


def test_the_acts_of_a_child_fall_to_its_parent_where_it_is_never_forked() -> None:
    forks = [raw(Fork, 0, 4), raw(Fork, 0, 8), raw(Fork, 8, 12)]
    stores = [raw(Store, slot, 0, 1) for slot in (12, 8, 4)]

    whole = resolve([*forks, *stores], Limits())
    less = resolve([*forks[1:], *stores], Limits())

    assert lines(whole)[2:] == [
        "p2: fork p3",
        "p3: store data[0] 0x01",
        "p2: store data[0] 0x01",
        "p1: store data[0] 0x01",
    ]
    assert lines(less)[1:] == [
        "p1: fork p2",
        "p2: store data[0] 0x01",
        "p1: store data[0] 0x01",
        "p0: store data[0] 0x01",
    ]


def test_the_acts_of_a_dead_child_fall_to_its_parent() -> None:
    program = resolve([raw(Fork, 0, 4), raw(Exit, 4, 0), raw(Load, 4, 0), raw(Wait, 0)], Limits())

    assert lines(program) == ["p0: fork p1", "p1: exit 0", "p0: load data[0]", "p0: wait p1"]


def test_the_acts_of_a_dead_parent_are_not_its_childs() -> None:
    program = resolve([raw(Fork, 0, 4), raw(Exit, 0, 0), raw(Load, 0, 0), raw(Load, 4, 0)], Limits())

    assert lines(program) == ["p0: fork p1", "p0: exit 0", "p1: load data[0]"]


def test_the_last_process_ends_only_by_fate() -> None:
    assert lines(resolve([raw(Exit, 0, LONE - 1), raw(Load, 0, 0)], Limits())) == ["p0: load data[0]"]
    assert lines(resolve([raw(Exit, 0, LONE), raw(Load, 0, 0)], Limits())) == ["p0: exit 0"]


def test_a_steered_access_goes_to_a_page_that_allows_it() -> None:
    stores = [raw(Store, 0, page(16), 1), raw(Store, 0, page(7, steered=False), 1)]

    program = resolve([raw(Map, 0, 0, SPANS.index(Span(2))), *stores], Limits())

    assert lines(program) == [
        "p0: map a 2 rw private anon",
        "p0: store a[1] 0x01",
        "p0: store a[7] 0x01",
    ]


def test_an_unmap_goes_to_mapped_pages() -> None:
    program = resolve([raw(Unmap, 0, page(16), 0)], Limits(), prelude=FOUR_PAGES)

    assert lines(program) == ["p0: map a 4 rw private anon", "p0: unmap a[3]"]


def test_a_range_is_clipped_into_its_window_and_the_page_limit() -> None:
    sixteen = SPANS.index(Span(16))
    maps = [raw(Map, 0, page(12), sixteen), raw(Map, 0, page(0), sixteen), raw(Map, 0, page(33), 0)]

    program = resolve(maps, Limits(max_pages=10))

    assert lines(program) == [
        "p0: map a[12..15] rw private anon",
        "p0: map a 6 rw private anon",
        "p0: map a[15] rw private anon",
    ]


def test_observations_are_dropped_at_the_start_and_side_by_side() -> None:
    program = resolve([raw(Observe), raw(Load, 0, 0), raw(Observe), raw(Observe)], Limits())

    assert lines(program) == ["p0: load data[0]", "observe"]


def test_pages_are_counted_from_the_origin() -> None:
    program = resolve([raw(Map, 0, page(2), 0)], Limits(), origin=3, prelude=FOUR_PAGES)

    assert lines(program) == ["p0: map a[14..15] rw private anon", "p0: map b 1 rw private anon"]


def test_nearest_is_the_greatest_below_or_else_the_least() -> None:
    assert nearest([5, 9, 2], 7) == 5
    assert nearest([5, 9, 2], 9) == 9
    assert nearest([5, 9, 2], 1) == 2
    assert nearest([], 1) is None


def test_a_mapping_has_a_page_at_least_also_where_a_story_took_more_than_there_may_be() -> None:
    limits = Limits(max_pages=2)
    scene = Scene(limits, Space(limits.windows, Address("a", 0)))
    scene.used.update(range(5))

    fresh, known = scene.room_for(9, 3), scene.room_for(1, 3)

    assert (fresh.npages, known.npages) == (1, 3)
    assert scene.space.ranks(fresh)[0] in scene.used
