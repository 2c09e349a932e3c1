"""What is seen of a machine from outside: whether that works, what it is needed for, and where each level comes from.

Inside, the agent reads what the kernel publishes. Outside, the harness walks the page tables in the guest's RAM, and reads
the kernel's own counts where a definition says where they lie, or where a Linux says so itself. What the kernel publishes
goes first; the rest is seen from outside at each observation.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from harness.agent.client import AgentClient
from harness.agent.codec import observed_pages
from harness.guest.definition_values import Quiescence
from harness.guest.mailbox import Notice
from harness.guest.session import Session
from harness.introspect.counts import Counts, open_counts
from harness.introspect.page_walk import entry_of, page_table_format, with_held
from harness.introspect.view import Observer
from harness.program.levels import Level
from harness.program.ops import Load
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Ending, FrameSeen, Trace
from harness.subject import How

TWO_ZEROES = parse_program("p0: map a 16 r private anon\np0: load a[0]\np0: load a[15]")
"""Two pages of which nothing was stored, in a mapping that is not prefaulted, for it is big and may not be written: they
share a frame where the kernel has a page of zeroes for all."""
SHARED = parse_program("p0: map a 2 rw private anon\np0: store a[0] 1\np0: store a[1] 1\np0: fork p1\np1: store a[1] 2")
"""A page that two processes share, and one that each has for itself."""
PROTECTED = parse_program("p0: map a 1 rw private anon\np0: store a[0] 1\nobserve\np0: protect a[0] none")
"""A page that is there, and then may not be touched: some kernels make its entry one that is not present."""

Execute = Callable[[Program, How], Trace]


class Outside:
    """The view from outside of one machine. `observer` is None where there is none, and `why_not` says why."""

    def __init__(self, session: Session, client: AgentClient) -> None:
        self._session = session
        self._client = client
        self.observer: Observer | None = None
        self.why_not = ""
        self.notes: list[str] = []

    def watch(self, execute: Execute, restore: Callable[[], None], canary: Program) -> None:
        """Look from outside from now on, where it shows what it should.

        Raises DefinitionError for counts that are not where the definition says.
        """
        assert self._client.probe is not None
        definition, banner = self._session.definition, self._client.probe.banner
        form = page_table_format(definition.arch, banner)
        if self._session.ram is None or not self._session.has_mailbox or form is None:
            self.why_not = "the guest's memory cannot be seen from outside, see the notes"
            return
        observer = Observer(self._session.ram, form)
        kernel = self._session.kernel
        if kernel is not None:
            observer.open_counts = lambda root: open_counts(
                definition.counts, kernel, banner=banner, ram=observer.ram, form=form, root=root
            )
        self._set(observer)
        trace = execute(canary, How(pte_bits=True))
        if trace.ending is not Ending.COMPLETE or [set(look.spaces) for look in observer.looks] != [{0}]:
            restore()
            self._set(None)
            self.why_not = "the page tables of its processes are not found in its memory"
            return
        self._learn_held(observer, execute)
        observer.zero_frame = self._client.probe.zero_frame or None
        if not self._client.probe.view.pagemap:
            observer.zero_frame = self._zero_frame(execute)
        if definition.counts is not None and observer.counts is not None:
            self._try_counts(observer.counts, execute)
        restore()

    def _set(self, observer: Observer | None) -> None:
        self.observer = observer
        self._session.on_notice = observer.look if observer else None
        self._client.is_watched = observer is not None

    def _learn_held(self, observer: Observer, execute: Execute) -> None:
        """Find out how the kernel keeps a page that may not be touched, where that is not known of it; see PROTECTED."""
        if observer.form.held is not None:
            return
        entries: list[int | None] = []
        (vpn,) = [vpn for pages in observed_pages(PROTECTED) for vpn in pages.vpns]

        def look(notice: Notice) -> bool:
            differs = observer.look(notice)
            root = observer.looks[-1].roots.get(0)
            entries.append(None if root is None else entry_of(observer.ram, observer.form, root, vpn))
            return differs

        self._session.on_notice = look
        execute(PROTECTED, How(pte_bits=True))
        self._session.on_notice = observer.look
        if len(entries) == len(observer.looks) and entries and entries[0] is not None and entries[-1] is not None:
            observer.use(with_held(observer.form, entries[0], entries[-1]))

    def _zero_frame(self, execute: Execute) -> int | None:
        """Find the page of zeroes, where there is one; see TWO_ZEROES."""
        seen = execute(TWO_ZEROES, How(pte_bits=True)).observations
        loaded = [op.at.vpn for op in TWO_ZEROES.steps if isinstance(op, Load)]
        frames = {seen[-1].processes[0].pages[vpn].frame for vpn in loaded} if seen else set()
        return frames.pop() if len(frames) == 1 else None

    def _try_counts(self, counts: Counts, execute: Execute) -> None:
        """Read the counts of frames of which we know who holds them, and note what does not fit; see SHARED."""
        trace = execute(SHARED, How(pte_bits=True))
        pages = trace.observations[-1].processes if trace.observations else {}
        if set(pages) != {0, 1} or self.observer is None:
            return
        shared, own = (page.frame for page in pages[0].pages.values())
        look = self.observer.looks[-1]
        read = [_holders(look.counts.get(frame, FrameSeen())) for frame in (own, shared) if frame is not None]
        if read != [1, 2]:
            words = " and ".join("none" if count is None else str(count) for count in read)
            self.notes.append(
                f"the counts of {counts.name} read {words} for a page of one process and a page of two, not 1 and 2: "
                "either the kernel counts wrongly, or [counts] says wrongly how it counts"
            )

    # ------------------------------------------------------------------ levels

    def sources(self, inside: frozenset[Level]) -> dict[Level, str]:
        """Say where each level comes from that is not `inside` already."""
        if self.observer is None or self._client.probe is None:
            return {}
        found = dict.fromkeys([Level.FRAMES, Level.MAPCOUNTS, Level.PTE_BITS], "outside")
        if self._client.probe.view.maps:
            found[Level.MAPPINGS] = "outside"
        if self.observer.counts is not None:
            level = Level.REFCOUNTS if self.observer.counts.holds == "references" else Level.MAPCOUNTS
            found[level] = self.observer.counts.name
        return {level: source for level, source in found.items() if level not in inside}

    @property
    def is_needed(self) -> bool:
        """Whether frames, or their counts, are seen from outside alone."""
        probe = self._client.probe
        if self.observer is None or probe is None:
            return False
        counted = self.observer.counts is not None and Level.REFCOUNTS not in probe.levels
        return counted or not probe.view.pagemap

    # ------------------------------------------------------------------ programs

    def begin(self, program: Program, how: How) -> None:
        """Make ready for a program."""
        if self.observer is not None:
            vpns = [vpn for pages in observed_pages(program) for vpn in pages.vpns]
            self.observer.begin(vpns, wants_frames=how.outside or self.is_needed)

    def enrich(self, program: Program, trace: Trace) -> Trace:
        """Add what was seen from outside to a trace."""
        assert self.observer is not None
        assert self._client.probe is not None
        trace = self.observer.enrich(program, trace)
        if trace.ending is not Ending.COMPLETE or Level.REFCOUNTS in self._client.probe.levels:
            return trace
        return self.observer.with_leftover(trace, wait=wait_as_long_as(self._session.definition.quiescence))


def wait_as_long_as(late: Quiescence, *, sleep: Callable[[float], None] = time.sleep) -> Callable[[int], bool]:
    """Return what waits a moment for a kernel that tears down late, and tells whether it did: as the agent does
    (`wait_more` in fixtures/agent/quiesce.c), no longer than `bound_ms` since less was `left` to be torn down.
    """
    least, waited_ms = sys.maxsize, 0

    def wait(left: int) -> bool:
        nonlocal least, waited_ms
        if left < least:
            least, waited_ms = left, 0
        if waited_ms >= late.bound_ms:
            return False
        sleep(late.interval_ms / 1000)
        waited_ms += late.interval_ms
        return True

    return wait


def _holders(seen: FrameSeen) -> int | None:
    return seen.refcount if seen.refcount is not None else seen.mapcount
