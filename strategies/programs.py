"""The strategy `programs`: raw operations are drawn, and `resolve` makes a program of any list of them.

Generation never looks at a guest. Three things are drawn: where the program lives (origin), how much p0
maps to begin with, and raw operations until one says "stop". Each raw operation is valid on its own, so
the shrinker may delete any, and what is left is a program that differs by little else (see
`strategies.scene`). The stop is the smallest kind of operation, drawn once in about `max_steps` times:
programs are long (a plain `lists()` would average six), and yet shrink to a single step.

An operation that must be contained and did not come about is drawn once more, for a drawn place in the
list; where even that comes to nothing, the end of the program makes up for it. Nothing is ever rejected.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, islice

from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from harness.program.ops import (
    ENDING,
    FORKS,
    OF_OTHERS,
    WAITS,
    Crowd,
    Disperse,
    Exec,
    Exit,
    Fork,
    Handover,
    Load,
    Map,
    Observe,
    Op,
    Poke,
    Repeat,
    Throng,
)
from harness.program.program import MAX_PROCESSES, Family, Program
from harness.program.units import WINDOW_BY_NAME, Address, Prot
from strategies.echo import emit
from strategies.fields import LONE, Row, pick
from strategies.ops import ROW_OF, ROWS, Raw, map_pages, simplest
from strategies.scene import ALL_WINDOWS, Limits, Scene, Space

ORIGINS = (
    *(Address("a", 0),) * 3,
    *(Address("a", 14),) * 2,  # two pages before b, with which mappings can merge
    *(Address("b", 0),) * 1,
    *(Address("c", 6),) * 3,  # two pages before the line between two page tables
    *(Address("c", 8),) * 1,  # right behind it: a range that begins one page before has no table there
    *(Address("d", 0),) * 1,
    *(Address("e", 0),) * 1,
    *(Address("w", 0),) * 1,  # whole blocks of 2 MiB
)
"""Where the pages of a program are counted from."""

PRELUDES = (0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4, 4, 4, 6, 8, 16)
"""How many pages p0 maps as its first step, in a wide window all; once in sixteen times it does not."""

_ORIGIN = st.sampled_from(range(len(ORIGINS)))
_PRELUDE = st.sampled_from(range(len(PRELUDES)))

WANTED_WEIGHT = 9
"""The least weight of an operation that programs must contain, so that most come about by themselves."""

DECK = 99
"""How many kinds can be drawn, the stop included. In larger ranges Hypothesis prefers some numbers, such
as 100 and 127, to all others."""

COST: Mapping[type[Op], int] = {
    Crowd: 2,
    Throng: 3,
    Disperse: 2,
    **dict.fromkeys(WAITS, 4),
    Observe: 2,
    **dict.fromkeys((*FORKS, *ENDING), 2),
    **dict.fromkeys(OF_OTHERS, 4),
    Handover: 3,
    Repeat: 5,
}
"""The steps that `complete` may need at most for an operation; one where nothing is said."""


# -------------------------------------------------------------------------------------- resolving


def resolve(raws: Sequence[Raw], limits: Limits, *, origin: int = 0, prelude: int = 0) -> Program:
    """Make a well-formed program of any raw operations, within `limits` and with all that they ask for.

    `origin` and `prelude` are numbers of `ORIGINS` and `PRELUDES`.
    """
    scene = play(raws, limits, origin=origin, prelude=prelude)
    return Program(tuple(complete(scene).steps))


def play(raws: Sequence[Raw], limits: Limits, *, origin: int = 0, prelude: int = 0) -> Scene:
    """Do what the raw operations say, as far as the limits allow; what is then missing is left open."""
    scene = Scene(limits, Space(limits.windows, pick(ORIGINS, origin)))
    if npages := pick(PRELUDES, prelude):
        _begin(scene, npages)
    for raw in raws:
        if not scene.family.live:
            break
        if _fits(scene, raw.row.op) and (op := raw.resolve(scene)):
            emit(scene, op, raw.echo, has_room=_fits(scene, raw.row.op, more=raw.echo.steps))
    return scene


def _begin(scene: Scene, npages: int) -> None:
    if scene.space.arena_size and _fits(scene, Map):
        watched = WINDOW_BY_NAME[scene.space.pages[0][0]].watched
        scene.emit(map_pages(scene, 0, scene.space.rank(0), len(watched) or npages, Prot.R | Prot.W))


def _fits(scene: Scene, op: type[Op], *, more: int = 0) -> bool:
    """Whether one step and `more` leave room, and for a fork a name, for all that is still missing."""
    still = [each for each in scene.missing if each is not op]
    if (
        op in (Repeat, *FORKS)
        and len(scene.slot_of) + len({*WAITS, *FORKS, *ENDING, *OF_OTHERS, Repeat} & set(still)) >= MAX_PROCESSES
    ):
        return False
    more += {Crowd: 1, Throng: 1, Repeat: 3}.get(op, 0)
    return len(scene.steps) + 1 + more + reserve(still) + len(scene.family.crowds) <= scene.limits.max_steps


def reserve(missing: Sequence[type[Op]]) -> int:
    """Give the number of steps, at most, that completing a program takes."""
    return sum(COST.get(each, 1) for each in missing)


def complete(scene: Scene) -> Scene:
    """Append what is missing: operations first, then loads up to the least length, endings last."""
    for op in [each for each in scene.missing if each not in (*ENDING, *WAITS)]:
        if op is Observe and scene.idle:
            _append(scene, Load)
        if op in (Repeat, *FORKS) and not scene.may_fork:
            _append(scene, Exit, by=max(scene.family.active))
        if op in OF_OTHERS:
            _provide_victim(scene, Family.pokable if op is Poke else Family.victims)
        if op is Disperse and not scene.family.crowds.keys() & scene.family.active:
            _append(scene, Crowd)
        _append(scene, op, by=_who_hands_over(scene) if op is Handover else None)
    for op in [each for each in scene.missing if each in WAITS]:
        _reap(scene, op)
    while len(scene.steps) + len(scene.missing) < scene.limits.min_steps:
        _append(scene, Load)
    while scene.missing:
        _end(scene, scene.missing[0])
    return scene


def _append(scene: Scene, op: type[Op], *, by: int | None = None) -> None:
    """Append the simplest operation of a type, by `by` or else by the first process that lives."""
    process = min(scene.family.active) if by is None else by
    if op in (Crowd, Throng, Exec, *ENDING) and process in scene.family.crowds:
        scene.emit(Disperse(process))
    step = simplest(op, actor=scene.slot_of[process], fate=LONE).resolve(scene)
    assert step is not None, f"{op.verb} was not possible here"
    scene.emit(step)


def _provide_victim(scene: Scene, victims: Callable[[Family, int], list[int]]) -> None:
    """See to it that there is somebody whom the first process can kill, or whose memory it can write to."""
    family = scene.family
    if victims(family, min(family.active)):
        return
    if crowded := family.crowds.keys() & family.active - {min(family.active)}:
        scene.emit(Disperse(min(crowded)))
    if victims(family, min(family.active)):
        return
    if not scene.may_fork:
        _append(scene, Exit, by=max(family.active))
    if not victims(family, min(family.active)):
        _append(scene, Fork)


def _who_hands_over(scene: Scene) -> int:
    """Give a process whose thread may leave; where a vfork waits for each that acts, one of them ends first."""
    able = sorted(filter(scene.family.may_hand_over, scene.family.active))
    if not able:
        _append(scene, Exit, by=min(scene.family.active))
        able = sorted(filter(scene.family.may_hand_over, scene.family.active))
    return able[0]


def _reap(scene: Scene, op: type[Op]) -> None:
    """Append a wait of type `op`, and before it what it takes that there is somebody to wait for."""
    family = scene.family
    if scene.reapable(0) is None and family.suspended:
        _append(scene, Exit, by=min(family.active & set(family.suspended.values())))
    elif scene.reapable(0) is None:
        children = [each for each in family.live if family.parent[each] in family.live]
        if not children and not scene.may_fork:
            _append(scene, Exit, by=max(family.live))
        if not children:
            _append(scene, Fork)
        _append(scene, Exit, by=max(children) if children else max(family.live))
    _append(scene, op)


def _end(scene: Scene, op: type[Op]) -> None:
    """Append an ending; the last process goes only where it is the last that is missing."""
    if scene.alone and len(scene.missing) > 1:
        _append(scene, Fork)
    _append(scene, op, by=max(scene.family.active))


# ---------------------------------------------------------------------------------------- drawing


class Deck:
    """The kinds of raw operations, each as often as its weight says, and the stop at number 0.

    `raws[i]` is the strategy of the operation at position i of the list, or None for the stop.
    """

    def __init__(self, weights: Mapping[type[Op], int], limits: Limits) -> None:
        self._rows = [row for row in ROWS if weights[row.op] > 0]
        heights = accumulate((weights[row.op] for row in self._rows), initial=0)
        stop = max(1, DECK // (5 + limits.max_steps))
        # By weight, but one number at least for each row.
        room = (DECK - stop) / sum(weights.values())
        self._starts: list[int] = []
        after = stop
        for at, height in enumerate(islice(heights, len(self._rows))):
            start = min(max(after, stop + int(height * room)), DECK - len(self._rows) + at)
            self._starts.append(start)
            after = start + 1
        least = limits.min_steps - 1
        most = limits.max_steps + limits.max_steps // 6  # since some come to nothing
        # There is always a choice for the stop (a draw from one element would make none). Else, in a list of
        # full length, what follows the list would after a deletion be taken for its next operation.
        self.raws: list[st.SearchStrategy[Raw | None]] = [
            *(_raws(self, _kinds(position, stop)) for position in range(least)),
            *(_raws(self, _kinds(position, 0)) for position in range(max(0, least), most)),
            st.sampled_from((None, None)),
        ]

    def row(self, kind: int) -> Row | None:
        """Look a kind up, of any position; None is the stop."""
        at = bisect_right(self._starts, kind % DECK)
        return self._rows[at - 1] if at else None


def _kinds(position: int, least: int) -> st.SearchStrategy[int]:
    """Give the strategy of kinds from `least` on at one position of a list.

    The elements differ from those at any other position, so that Hypothesis does not take the strategies
    for alike: a kind copied over another would make rubbish of what follows it. (It may well copy the
    whole raw operation.)
    """
    base = position * DECK
    return st.sampled_from(range(base + least, base + DECK))


@st.composite
def _raws(draw: st.DrawFn, deck: Deck, kinds: st.SearchStrategy[int]) -> Raw | None:
    """Draw one raw operation, or None for the stop."""
    row = deck.row(draw(kinds))
    return None if row is None else _draw_raw(draw, row)


def _draw_raw(draw: st.DrawFn, row: Row) -> Raw:
    return Raw(row, tuple([draw(each.drawn) for each in row.fields]))


def _draw_list(draw: st.DrawFn, deck: Deck) -> list[Raw]:
    """Draw until a stop."""
    raws: list[Raw] = []
    while raw := draw(deck.raws[len(raws)]):
        raws.append(raw)
    return raws


@st.composite
def _programs(draw: st.DrawFn, limits: Limits, deck: Deck, begins: bool) -> Program:
    raws = _draw_list(draw, deck)
    prelude = draw(_PRELUDE) if begins else 0
    origin = draw(_ORIGIN)
    scene = play(raws, limits, origin=origin, prelude=prelude)
    if scene.missing:
        for op in scene.missing:
            raw = _draw_raw(draw, ROW_OF[op])
            raws.insert(len(raws) - draw(st.integers(0, len(raws))), raw)
        scene = play(raws, limits, origin=origin, prelude=prelude)
    return Program(tuple(complete(scene).steps))


def programs(
    *,
    min_steps: int = 1,
    max_steps: int = 30,
    max_processes: int = 6,
    max_pages: int = 16,
    containing: tuple[type[Op], ...] = (),
    weights: Mapping[type[Op], int] | None = None,
    windows: tuple[str, ...] | None = None,
    observe: bool = True,
) -> st.SearchStrategy[Program]:
    """Give a strategy for well-formed programs.

    `min_steps` and `max_steps` bound the length in steps. At most `max_processes` live at once, p0
    included. All processes together map at most `max_pages` different pages of arena windows.
    Each program holds at least one operation of each type in `containing`.
    `weights` replaces the weights of the operations that it names (those of `strategies.ops.ROWS` sum up
    to about a hundred); one of weight 0 comes only where `containing` asks for it.
    `windows` names the windows that programs touch, all of them where it is None.
    `observe=False` draws no observations between steps; there is always one at the end of a program.

    Raises InvalidArgument where no program can be like that.
    """
    limits = Limits(
        min_steps=min_steps,
        max_steps=max_steps,
        max_processes=max_processes,
        max_pages=max_pages,
        containing=tuple(dict.fromkeys(containing)),
        windows=ALL_WINDOWS if windows is None else windows,
    )
    _check(limits)
    mix = _mix(limits, dict(weights or {}), observe=observe)
    return _programs(limits, Deck(mix, limits), mix[Map] > 0)


def _mix(limits: Limits, given: Mapping[type[Op], int], *, observe: bool) -> dict[type[Op], int]:
    mix = {row.op: row.weight for row in ROWS}
    for op in limits.containing:
        mix[op] = max(mix[op], WANTED_WEIGHT)
    if not observe:
        mix[Observe] = 0
    mix |= given
    if min(mix.values()) < 0 or not any(mix.values()):
        raise InvalidArgument("weights are not negative, and not all zero")
    return mix


def _check(limits: Limits) -> None:
    needed = max(limits.min_steps, reserve(limits.containing), 1)
    if limits.max_steps < needed:
        raise InvalidArgument(f"max_steps={limits.max_steps} is too short; these limits need {needed}")
    most = MAX_PROCESSES
    if not 1 <= limits.max_processes <= most:
        raise InvalidArgument(f"max_processes={limits.max_processes} is not between 1 and {most}")
    wanted = set(limits.containing)
    if limits.max_processes == 1 and (wanted & {*FORKS, *WAITS, *OF_OTHERS, Repeat} or len(wanted & {*ENDING}) > 1):
        raise InvalidArgument("max_processes=1 leaves nobody to fork, to wait for, or to end first")
    if limits.max_pages < 1 or not limits.windows or not set(limits.windows) <= set(ALL_WINDOWS):
        raise InvalidArgument(f"at least one page, and windows from {', '.join(ALL_WINDOWS)}")
