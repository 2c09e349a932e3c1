"""The whole: processes, page cache, zero page, and the choices that the kernel may make."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from harness.model.address_space import AddressSpace
from harness.model.frame import Frame, FrameKind, FramePool
from harness.model.load_image import image_space
from harness.model.page_cache import PageCache
from harness.model.process import Process, State
from harness.model.semantics import Semantics


@dataclass(slots=True, eq=False)
class Pin:
    """A byte in the program's pipe: not a copy, but a hold on the frame in which it lies, at `offset`.

    `before`: for each store of the frame's owner that may have gone to a copy, what the frame may have held until then: the
    pin has either the frame as it is now, or one that was left behind with these bytes. Empty where there is no doubt.
    """

    frame: Frame
    offset: int
    before: tuple[tuple[bytes, ...], ...] = ()
    place: tuple[AddressSpace, int] | None = None
    """Where the page was that was pinned, whoever works there: what frame that is may be a guess still."""
    is_fed: bool = False
    """The byte was written into the pipe: the frame is the kernel's own, and other such bytes may lie in it."""


@dataclass(slots=True, eq=False)
class Fixed:
    """The page that the kernel was given as a buffer: its number when it was given, and the frame that it was then."""

    vpn: int
    frame: Frame


@dataclass(slots=True, eq=False)
class Machine:
    """The state, from the moment when p0 is there as exec leaves it, and no page of it was touched.

    `step.step` changes it; everything may read it.

    `last_faults`       how many page faults the last step takes at most, `last_faults_least` at least:
                        they differ where the kernel has a choice. A SIGSEGV is none, and not counted.
    `pins`              what the program's pipe holds, the oldest first.
    `fixed`             the fixed buffer of the program's ring, while there is one.
    `first_read`        the frame that the last step was the first to read, where it may be the zero page or one that was
                        brought in before; else None.
    `stored`            what the kernel stored for the process in the last step: (page, offset into it, bytes).
    `unspecified`       why, where the last step did what no document says the result of; from there on the model
                        knows nothing any more.
    `any_answer`        whether that goes for what the step answered, too.
    `promised_for_ever` how many pages the kernel may count as promised to mappings that are gone, at most; see
                        `grown_stack_stays_promised`.
    `may_be_copied`     the files whose pages somebody has mapped who may have copies of them (see `file_copies`).
    `reach`             how often each event happened, such as `cow.copy`: which cells a program reached.
    """

    semantics: Semantics
    pool: FramePool = field(default_factory=FramePool)
    zero: Frame = field(init=False)
    cache: PageCache = field(init=False)
    processes: dict[int, Process] = field(init=False)
    pins: list[Pin] = field(default_factory=list)
    fixed: Fixed | None = None
    stored: list[tuple[int, int, bytes]] = field(default_factory=list)
    may_be_copied: set[str] = field(default_factory=set)
    reach: Counter[str] = field(default_factory=Counter)
    unspecified: str = ""
    any_answer: bool = False
    first_read: Frame | None = None
    last_faults: int = 0
    last_faults_least: int = 0
    promised_for_ever: int = 0

    def __post_init__(self) -> None:
        """Boot: the zero page, an empty page cache, and p0."""
        self.zero = self.pool.fresh(FrameKind.ZERO)
        self.cache = PageCache(self.pool)
        self.processes = {0: Process(0, None, image_space(self.pool))}

    @property
    def live(self) -> list[Process]:
        """The live processes, by number."""
        return [process for _, process in sorted(self.processes.items()) if process.state is State.LIVE]

    @property
    def last_faults_range(self) -> tuple[int, int]:
        """The page faults that the last step takes: at least, and at most."""
        return self.last_faults_least, self.last_faults

    def process(self, number: int) -> Process:
        """Give a live process by its number. Raises ValueError where there is none."""
        process = self.processes.get(number)
        if process is None or process.state is not State.LIVE:
            raise ValueError(f"p{number} does not live here")
        return process

    def check_free(self, number: int) -> None:
        """Raise ValueError where a process that was not reaped yet has this number."""
        process = self.processes.get(number)
        if process is not None and process.state is not State.REAPED:
            raise ValueError(f"the name p{number} is taken already")
        if process is not None and process.space is not None:
            self.end_of_knowledge("a process has the name of one whose memory is still kept")

    def spaces(self) -> list[tuple[Process, AddressSpace]]:
        """List the address spaces, each once, with the first of the processes that work in it, by number.

        Those of the idle children of a process are one, with their parent (see `AddressSpace.idle`).
        """
        found: dict[AddressSpace, Process] = {}
        for _, process in sorted(self.processes.items()):
            if process.space is not None:
                found.setdefault(process.space, process)
            if process.crowd is not None:
                found[process.crowd] = process
        return [(process, space) for space, process in found.items()]

    def end_of_knowledge(self, why: str, *, also_of_answer: bool = False) -> None:
        """Note that nobody says what the result of this step is, or, too, what it answers."""
        self.unspecified = why
        self.any_answer |= also_of_answer
        self.reach["unspecified"] += 1

    def only(self, contents: tuple[bytes, ...]) -> bytes:
        """Give what a frame holds, for who copies it to where nobody keeps account of more than one content."""
        if len(contents) > 1:
            self.end_of_knowledge("bytes are copied of which it is not known whether they are the old ones or the new")
        return contents[0]

    def count_faults(self, *, least: int, most: int = 1) -> None:
        """Add to the page faults that this step takes."""
        self.last_faults_least += least
        self.last_faults += most
