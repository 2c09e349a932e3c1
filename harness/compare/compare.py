"""The comparison: the model follows the program step by step, and the trace is held against it.

The first point at which they part ends it, since nothing after it means anything. Everything that is different *at* that
point is reported. Then, and only then, the comparison runs a second time with a `Timeline`, to say which contracts were
broken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil

from harness.compare import blame
from harness.compare.binding import Binding
from harness.compare.difference import Difference
from harness.compare.holders import holders_text
from harness.compare.state import StateCheck
from harness.compare.table import state_rows
from harness.compare.timeline import Timeline
from harness.compare.unknown import explain
from harness.compare.verdict import Divergence, Row, Verdict
from harness.coverage.recorder import Recorder
from harness.model.adopt import adopt_fault
from harness.model.counts import Holders, reference_index
from harness.model.frame import Frame as ModelFrame
from harness.model.machine import Machine
from harness.model.semantics import Semantics
from harness.model.step import rehearse
from harness.model.step import step as model_step
from harness.program.image import SEGMENT_OF
from harness.program.ops import SILENT, Crowd, Fill, Handover, Load, Op, Peek, Print, Store, Threads, Vfork
from harness.program.outcome import Lost, Outcome
from harness.program.program import Program
from harness.program.text import format_outcome
from harness.program.trace import Ending, FrameFlag, FrameSeen, Observation, Trace
from harness.program.units import address_of

MANY_ROUNDS = 64
"""From so many rounds on, what they lose is told from what a kernel keeps for the next time."""

ROUNDS_A_FRAME = 8
"""A frame in so many rounds is a suspicion; see `harness.hoard`."""


def compare(program: Program, trace: Trace, semantics: Semantics) -> Verdict:
    """Hold `trace` against what the contracts allow for `program` on a kernel with these semantics.

    Where the semantics leave open how the kernel chooses, it conforms if it does for one of the kernels that it may be.
    """
    return explain(semantics, lambda each: _compare(program, trace, each))


def _compare(program: Program, trace: Trace, semantics: Semantics) -> Verdict:
    first = _Comparison(program, trace, semantics)
    first.run()
    if not first.found:
        return Verdict(program, trace, reach=dict(first.machine.reach), situations=frozenset(first.recorder.situations))
    second = _Comparison(program, trace, semantics, timeline=Timeline(program))
    second.run()
    found = [build(second.timeline) for build in second.found if second.timeline]
    divergences = tuple(replace(each, contracts=blame.with_special(program, each, swaps=semantics.swaps)) for each in found)
    return Verdict(
        program,
        trace,
        divergences,
        second.rows,
        reach=dict(first.machine.reach),
        situations=frozenset(first.recorder.situations),
    )


Build = Callable[[Timeline], Divergence]
"""Makes a divergence once it is known what happened."""


@dataclass(slots=True)
class _Comparison:
    """One pass over a trace. With a timeline it also records what happened."""

    program: Program
    trace: Trace
    semantics: Semantics
    timeline: Timeline | None = None
    machine: Machine = field(init=False)
    binding: Binding = field(default_factory=Binding)
    recorder: Recorder = field(default_factory=Recorder)
    found: list[Build] = field(default_factory=list)
    rows: tuple[Row, ...] = ()

    def __post_init__(self) -> None:
        self.machine = Machine(self.semantics)

    def run(self) -> None:
        """Follow the steps up to the first point of difference."""
        observations = iter(self.trace.observations)
        waiting = next(observations, None)
        for number, op in enumerate(self.program.steps):
            if number >= len(self.trace.outcomes):
                self._note_ending(number)
                return
            self._do_step(number, op, self.trace.outcomes[number])
            rehearse(self.machine, self.program.steps, number)
            if self.machine.unspecified and not self.found:
                self._end_unspecified()
                return
            while not self.found and waiting is not None and waiting.after == number + 1:
                self._check_state(waiting)
                waiting = next(observations, None)
            if self.found:
                return
        while not self.found and waiting is not None:
            self._check_state(waiting)
            waiting = next(observations, None)
        if not self.found:
            self._check_end()

    # ------------------------------------------------------------------ steps

    def _do_step(self, number: int, op: Op, observed: Outcome | None) -> None:
        if self.timeline is None:
            self.recorder.before(self.machine, op)
        allowed = model_step(self.machine, op)
        if allowed.adopt is not None and observed in allowed.outcomes:
            allowed.adopt(observed)
        if self.timeline is not None:
            self.timeline.record(self.machine, op, observed)
        if self.machine.any_answer:
            return
        if isinstance(op, SILENT) or (observed is None and self.trace.ending is not Ending.COMPLETE):
            return  # a guest that broke off has not said what the steps before that gave
        if isinstance(observed, Lost) or observed is None:
            self._note_ending(number)
        elif not allowed.permits(observed):
            self._note_outcome(number, op, allowed.outcomes[0], observed)
        else:
            self._check_faults(number, op)

    def _end_unspecified(self) -> None:
        """Look no further than whether the run came to its end: from here on nobody says what is right."""
        if self.trace.ending is not Ending.COMPLETE:
            self._note_ending(len(self.trace.outcomes))

    def _note_outcome(self, number: int, op: Op, expected: Outcome, observed: Outcome) -> None:
        def build(timeline: Timeline) -> Divergence:
            ids = blame.wrong_outcome(timeline, op, expected=expected, observed=observed)
            return Divergence(ids, number, f"p{op.process}", format_outcome(expected), format_outcome(observed))

        self.found.append(build)

    def _check_faults(self, number: int, op: Op) -> None:
        """Faults are compared for the operations that touch memory and nothing else."""
        counted = self.trace.faults[number] if self.trace.faults else None
        if counted is None or not isinstance(op, Load | Store | Fill | Print):
            return
        low, high = self.machine.last_faults_range
        if not low <= counted <= high:
            expected = f"{low} minor faults" if low == high else f"{low} to {high} minor faults"
            ids = ("cow.one-fault-per-first-write",)
            self._note(ids, number, f"p{op.process} {op.at}", expected, f"{counted} minor faults")
        elif counted:
            adopt_fault(self.machine)

    def _note(self, ids: tuple[str, ...], step: int, where: str, expected: str, observed: str) -> None:
        self.found.append(lambda _: Divergence(ids, step, where, expected, observed))

    def _note_ending(self, number: int) -> None:
        ids, expected, observed = _ENDINGS[self.trace.ending]
        op = self.program.steps[min(number, len(self.program) - 1)] if len(self.program) else None
        where = f"p{op.process}" if op else "the guest"
        evidence = self.trace.evidence.splitlines()
        shown = f"{observed}: {evidence[0]}" if evidence else observed

        def build(timeline: Timeline) -> Divergence:
            broke = self.trace.ending in (Ending.PANICKED, Ending.DIED, Ending.HUNG)
            torn = (
                (*blame.after_teardown(timeline), *blame.shared_space(timeline, op.process if op else 0)) if broke else ()
            )
            said = tuple(id for pattern, id in _SAID.items() if pattern in self.trace.evidence)
            threads = blame.by_threads(timeline, op.process) if op else ()
            handing: tuple[str, ...] = ("clone-vm.shares",) if isinstance(op, Handover) else ()
            return Divergence((*said, *ids, *torn, *(threads or handing)), number, where, expected, shown)

        self.found.append(build)

    # ------------------------------------------------------------------ state

    def _check_state(self, seen: Observation) -> None:
        idle = sum(isinstance(op, Threads | Handover | Vfork) for op in self.program.steps)
        check = StateCheck(self.machine, seen, self.binding, idle_tasks=idle)
        for difference in check.run():
            self.found.append(self._builder(difference, seen.after))
        if self.found and self.timeline is not None:
            self.rows = tuple(state_rows(check))

    def _builder(self, difference: Difference, after: int) -> Build:
        def build(timeline: Timeline) -> Divergence:
            place = address_of(difference.vpn) if difference.vpn is not None else None
            where = f"p{difference.process}" + (f" {place}" if place else "")
            ids = blame.wrong_state(timeline, difference)
            step = max(after - 1, 0)
            return Divergence(ids, step, where, difference.expected, difference.observed)

        return build

    # ------------------------------------------------------------------ the end

    def _check_end(self) -> None:
        if self.trace.ending is not Ending.COMPLETE:
            self._note_ending(len(self.program))
            return
        self._check_outputs()
        self._check_leftover()
        self._check_accounts()
        if self.trace.unreaped:
            self._note(
                ("conserve.process",), len(self.program), "init",
                "every process is reaped", f"{self.trace.unreaped} processes could not be",
            )  # fmt: skip
        self._check_free()

    def _check_outputs(self) -> None:
        for process in self.machine.processes.values():
            got = self.trace.outputs.get(process.number, b"")
            want = process.output_like(got)
            if want != got:
                where = f"the output of p{process.number}"
                peeks = any(isinstance(op, Peek) and op.process == process.number for op in self.program.steps)
                ids = (*(("foll-force.reads",) if peeks else ()), "kernel-read.sees-memory", "store.load")
                self._note(ids, len(self.program), where, repr(want), repr(got))

    def _check_leftover(self) -> None:
        of_files, found = self.binding.of_files, self.trace.leftover or {}
        lost = {
            frame: seen
            for frame, seen in found.items()
            if is_lost(seen, was_file=frame in of_files, was_image=frame in self.binding.of_image)
        }
        if not lost:
            return
        index = reference_index(self.machine)
        names = [self._name(frame, index) for frame in lost]
        counts = ", ".join(f"{name} (refcount {seen.refcount})" for name, seen in zip(names, lost.values(), strict=True))
        kinds = {type(op) for op in self.program.steps}
        ids = blame.leftover(kinds)
        self._note(ids, len(self.program), "after the last exit", "every frame is free", f"{counts} not")

    def _name(self, frame: int, index: Mapping[ModelFrame, Holders]) -> str:
        """Name a frame of the guest by those who held it at the end of the program."""
        model = self.binding.model_of.get(frame)
        if model is not None and model in index:
            return f"the frame of {holders_text(index[model])}"
        return f"frame 0x{frame:x} of the guest"

    def _check_accounts(self) -> None:
        """Hold what is counted as a whole against what it was: no more is in use, and what is promised is just the same,
        since who gives back more than was promised to him takes it from others.
        """
        before, after = self.trace.before, self.trace.after
        if before is None or after is None:
            return
        for name, what, ids in (
            ("page_tables", "page-tables frames", ("tables.conserved", "conserve.frames", "exit.drops-all")),
            ("anonymous", "anonymous frames", ("conserve.frames", "exit.drops-all")),
            ("promised", "pages promised", ("account.promised",)),
        ):
            was, now = getattr(before, name), getattr(after, name)
            if was is None or now is None:
                continue
            if now > was + self._more_of_the_kernel(name) or (name == "promised" and now < was):
                self._note(
                    ids, len(self.program), "after the last exit",
                    f"{was} {what}, as before the program", f"{now}",
                )  # fmt: skip

        self._check_slots(before.free_slots, after.free_slots)

    def _check_slots(self, before: int | None, after: int | None) -> None:
        """Hold the free slots of swap against those before the program; pages of the image may stay there, as it does."""
        if before is None or after is None:
            return
        image = sum(frame.is_paged_out for (name, _), frame in self.machine.cache.frames.items() if name in SEGMENT_OF)
        if after < before - image:
            self._note(
                ("account.swap",), len(self.program), "after the last exit",
                f"{before} free slots of swap, as before the program", f"{after}",
            )  # fmt: skip

    def _check_free(self) -> None:
        """Hold the free memory against that before the program, where it repeats steps so often that a leak tells.

        Where nothing else is wrong this is a suspicion, of which `harness.hoard` makes a finding or nothing: it has the
        program run again and again. So the bar is low, and is where `harness.hoard` says what sound kernels keep. Where
        something else is wrong nobody asks again, and a frame a round is what no kernel keeps for the next time (free lists
        of each CPU, caches of its own objects). Idle children are many at a time, and fill such caches.
        """
        rounds, free = self.program.rounds, self.trace.free
        crowded = any(isinstance(op, Crowd) for op in self.program.steps)
        if free is None or rounds < MANY_ROUNDS or crowded:
            return
        gone = free[0] - free[1]
        if gone < rounds if self.found else gone * ROUNDS_A_FRAME < rounds:
            return
        ids = ("conserve.free-memory", "count.no-inflation", "conserve.frames")
        self._note(
            ids, len(self.program), "after the last exit",
            f"what {rounds} rounds take from the free memory is given back", f"{gone} frames gone in 1 run",
        )  # fmt: skip

    def _more_of_the_kernel(self, account: str) -> int:
        """Give by how much the kernel's own part in an account may have grown."""
        if account == "promised":
            return self.machine.promised_for_ever * self.program.rounds
        each = self.semantics.processes_per_kernel_table
        return 1 + ceil(self.program.forks / each) if each and account == "page_tables" else 0


def is_lost(seen: FrameSeen, *, was_file: bool = False, was_image: bool = False) -> bool:
    """Tell whether a frame that is in use after the last exit was lost by the program.

    It is, when it still looks like anonymous memory, or if it was a page of one of the program's files and is still among
    the pages that could be reclaimed: a frame that was freed and handed out again to the kernel itself is neither, nor is
    a page of the image in the page cache, and those that the agent was given are not in the list. Where nothing tells what
    a frame is, it is lost unless it was a page of the image. Source:
    PAGE_MAPPING_ANON and PG_lru stay set until a page is freed (free_pages_prepare, __page_cache_release).
    """
    if seen.flags is None:
        return not was_image
    return bool(seen.flags & FrameFlag.ANON) or (was_file and bool(seen.flags & FrameFlag.LRU))


_SAID = {"Bad rss-counter": "account.rss"}
"""What a kernel says of itself that names the contract. Source: check_mm, at the end of an address space."""

_ENDINGS: dict[Ending, tuple[tuple[str, ...], str, str]] = {
    Ending.LOST: (("live.process-survives",), "the process survives the step", "it died"),
    Ending.STUCK: (("live.bounded",), "the step ends", "it does not end"),
    Ending.FORK_FAILED: (("errno.table",), "the fork succeeds", "it failed"),
    Ending.PANICKED: (("live.no-panic",), "the kernel survives", "the kernel panicked, oopsed or warned"),
    Ending.HUNG: (("live.no-panic", "live.bounded"), "the guest answers", "it does not answer"),
    Ending.GARBLED: (("live.process-survives",), "the agent in the guest stays whole", "its answer makes no sense"),
    Ending.DIED: (("live.no-panic",), "the machine runs on", "it stopped or rebooted"),
    Ending.COMPLETE: (("live.process-survives",), "every step is done", "the trace ends early"),
}
