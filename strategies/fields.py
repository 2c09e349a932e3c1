"""What raw operations are made of: integers that mean places, lengths, protections and fates.

A *raw* operation is a row and a few small integers, each valid whatever the others are and whatever comes before. Zero is
the simplest value of every field, and resolves to p0, window a, page 0, offset 0 where the rest allows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from hypothesis import strategies as st

from harness.program.image import IMAGES, OWN
from harness.program.ops import MAX_LENGTH, Advice, Load, Misuse, Op, Store
from harness.program.program import MAX_PROCESSES
from harness.program.units import PAGE_SIZE, Address, PageRange, Prot
from strategies.echo import Echo
from strategies.scene import Scene

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wish:
    """Where an operation would like to be: `page` counts from the program's origin, or is in `image`.

    A steered wish goes to the nearest page on which the operation can succeed; others are taken as
    they are, and so meet holes and forbidden pages.
    """

    page: int = 0
    image: str = ""
    steered: bool = True


def spread(*weighted: tuple[int, T]) -> tuple[T, ...]:
    """Repeat each value as often as its weight says."""
    return tuple(value for weight, value in weighted for _ in range(weight))


_R, _W, _X = Prot.R, Prot.W, Prot.X
_HOT = ((26, 0), (17, 1), (11, 2), (9, 3), (6, 4), (5, 5), (4, 6), (4, 7), (2, 8), (2, 9), (2, 10),
        (2, 12), (3, 15), (4, 16), (2, 17), (1, 20), (1, 33), (1, 48))  # fmt: skip
_WILD = (40, 20, 16, 15, 7, 4, 3, 2, 1, 1, 0, -1)

WISHES: tuple[Wish, ...] = (
    *spread(*((weight, Wish(page)) for weight, page in _HOT)),
    *(Wish(page, image="data", steered=False) for page in (0, 1, 2, 3)),
    *(Wish(page, image="bss", steered=False) for page in (0, 1, 2, 3)),
    *(Wish(page, image="text", steered=False) for page in (0, 1)),
    *(Wish(page, image="heap", steered=False) for page in (0, 1)),
    *(Wish(2, image=window, steered=False) for window in ("bssend", "textend")),
    *(Wish(page, steered=False) for page in _WILD),
)
"""What the field `WHERE` means. A few hot pages, so that processes meet; an eighth goes wild, and half
of that meets a hole or a forbidden page."""

OFFSETS = spread((9, 0), (2, PAGE_SIZE - 1), (1, 1), (1, 511), (1, 512), (1, 2048), (1, PAGE_SIZE - 8))
"""Bytes into a page: its ends, and the lines at which a partial copy would stop."""


@dataclass(frozen=True, slots=True)
class Span:
    """The length of a range: so many pages, less so many bytes."""

    npages: int
    short: int = 0


SPANS = spread(
    (7, Span(1)), (6, Span(2)), (4, Span(3)), (5, Span(4)), (2, Span(6)), (3, Span(8)), (2, Span(16)),
    (1, Span(1, PAGE_SIZE - 1)), (1, Span(2, PAGE_SIZE - 904)), (1, Span(1, PAGE_SIZE)),
)  # fmt: skip
"""Lengths of ranges: mostly whole pages, and sometimes not a byte."""

MAP_PROTS = spread((12, _R | _W), (2, _R), (1, Prot.NONE), (1, _R | _X), (1, _R | _W | _X), (1, _W))
PROTECT_PROTS = spread((5, _R), (5, _R | _W), (3, Prot.NONE), (1, _R | _X), (1, _R | _W | _X), (1, _W), (1, _X))
RESIZES = spread(
    (5, (False, 0)), (2, (False, 1)), (1, (False, 3)), (2, (False, -1)), (2, (True, 1)), (1, (True, 4)), (2, (True, -1)),
    (1, (True, -2)),
)  # fmt: skip
"""How mremap changes a range: whether it stays in place, and by how many pages it grows."""

ADVICE = spread(
    (4, Advice.DONTNEED), (2, Advice.FREE), (2, Advice.DONTFORK), (1, Advice.DOFORK), (2, Advice.WIPEONFORK),
    (1, Advice.KEEPONFORK), (2, Advice.POPULATE_READ), (2, Advice.POPULATE_WRITE), (1, Advice.COLD),
    (3, Advice.PAGEOUT), (2, Advice.REMOVE),
)  # fmt: skip
EXECED = spread((4, OWN), *((1, name) for name in IMAGES if name != OWN))
"""What exec runs; the first image as often as all others."""
ECHOES = spread(
    (32, Echo()), (1, Echo(None, Load)), (1, Echo(None, Store)), (2, Echo(Load, Load)), (2, Echo(Load, Store)),
    (1, Echo(Store, Load)), (1, Echo(Store, Store)),
)  # fmt: skip
"""How what an operation is about is touched before and after it; mostly it is not."""

STATUSES = (0, 1, 2, 7, 42, 127, 128, 255)
LONE = 7 * len(STATUSES)
"""A fate from here on up (one in eight) ends even the last live process, and with it the program; and
lets even the last process that has mappings lose them to exec."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One integer of a raw operation, `least` to `most`. The least is the simplest.

    Hypothesis makes most of its examples by copying one value over another that was drawn from a like
    strategy. Two of `integers()` are always alike, two of `sampled_from()` only with equal elements: so it
    is a page that is copied over a page, and never over the kind of an operation.
    """

    least: int
    most: int
    drawn: st.SearchStrategy[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the strategy once, for all draws."""
        object.__setattr__(self, "drawn", st.sampled_from(range(self.least, self.most + 1)))


# Where one number holds two, the lower part has a power of two of values, since the shrinker clears high
# bits as one step. It is one number because a copy of half an operand mostly changes nothing.
ACTOR = Field(0, MAX_PROCESSES * len(ECHOES) - 1)  # a slot in the low bits, an echo above
CHILD = Field(0, MAX_PROCESSES - 1)
WHERE = Field(0, len(WISHES) - 1)
SPOT = Field(0, len(WISHES) * len(OFFSETS) - 1)  # WHERE in the low bits, and an offset above them
VALUE = Field(1, 255)  # not 0: it could not be told from a fresh page
LENGTH = Field(1, MAX_LENGTH)
MAP_SHAPE = Field(0, len(SPANS) * len(MAP_PROTS) - 1)  # a span in the low bits, a protection above
PROTECT_SHAPE = Field(0, len(SPANS) * len(PROTECT_PROTS) - 1)
UNMAP_SHAPE = Field(0, len(SPANS) - 1)
REMAP_SHAPE = Field(0, len(SPANS) * len(RESIZES) - 1)
ADVISE_SHAPE = Field(0, len(SPANS) * len(ADVICE) - 1)
BREAK = Field(0, 16 * len(OFFSETS) - 1)  # a page of the heap in the low bits, an offset above
NPAGES = Field(1, 16)
MISUSE = Field(0, len(Misuse) - 1)
EXEC_IMAGE = Field(0, len(EXECED) - 1)
FATE = Field(0, LONE + len(STATUSES) - 1)


def pick(table: tuple[T, ...], number: int) -> T:
    """Look a field's number up; any number will do."""
    return table[number % len(table)]


# ------------------------------------------------------------------------------ places and ends


def rank_at(scene: Scene, process: int, where: int, need: Prot | None) -> int:
    """Resolve a `WHERE`; `need` is what a steered wish must find there, None where anything will do."""
    wish = pick(WISHES, where)
    if wish.image:
        image = scene.space.rank_of.get((wish.image, wish.page))
        if image is not None:
            return image
    at = scene.space.rank(wish.page)
    return scene.find(process, at, need) if need is not None and wish.steered else at


def page_at(scene: Scene, process: int, where: int, need: Prot) -> Address:
    """Resolve a `WHERE` to the first byte of a page that allows `need`."""
    return scene.address(rank_at(scene, process, where, need))


def range_at(scene: Scene, process: int, where: int, span: int, *, may_be_empty: bool = False) -> PageRange:
    """Resolve a `WHERE` and the number of a span to a range from a mapped page on, as long as its window has room."""
    return range_from(scene, rank_at(scene, process, where, Prot.NONE), span, may_be_empty=may_be_empty)


def range_from(scene: Scene, rank: int, span: int, *, may_be_empty: bool = False) -> PageRange:
    """Give the range of a span from a rank on; a page where it is to have no length, and must have one."""
    chosen = pick(SPANS, span)
    short = chosen.short if may_be_empty else chosen.short % PAGE_SIZE
    return replace(scene.pages_from(rank, chosen.npages), short=short)


def byte_at(scene: Scene, process: int, spot: int, need: Prot) -> Address:
    """Resolve a `SPOT`: a byte of a page that allows `need`."""
    offset, where = divmod(spot, len(WISHES))
    return scene.address(rank_at(scene, process, where, need), pick(OFFSETS, offset))


def may_end(scene: Scene, process: int, op: type[Op], fate: int) -> bool:
    """Whether a process may end here; the last one only where nothing is left to do and fate says so."""
    if process in scene.family.crowds:
        return False
    if not scene.alone:
        return True
    done = len(scene.steps) + 1 >= scene.limits.min_steps and all(each is op for each in scene.missing)
    return done and fate >= LONE


@dataclass(frozen=True, slots=True)
class Row:
    """How one operation is drawn.

    `weight` is relative to the other rows'; `fields` are the raw operation's integers (at most four:
    the shrinker deletes up to five choices in a row, and the kind is one); `resolve` takes the scene and
    these integers, the acting process in the place of `ACTOR`, and gives the step, already entered in
    the scene's layouts, or None for no step.
    """

    op: type[Op]
    weight: int
    fields: tuple[Field, ...]
    resolve: Callable[..., Op | None]
