"""Opens a guest by its name: the only place that knows every kind of subject there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.agent.client import AgentClient
from harness.errors import DefinitionError, ProtocolError
from harness.guest.definition import GuestDefinition, load_definition
from harness.guest.session import Session
from harness.introspect.page_walk import page_table_format
from harness.introspect.view import Observer
from harness.model.semantics import PRESETS, Semantics, changed
from harness.model_guest import ModelGuest
from harness.program.abilities import IMPLIED, MISSING, PROBES
from harness.program.levels import Level
from harness.program.ops import Exit, Fork, Load
from harness.program.outcome import Failed
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Ending, Trace
from harness.program.units import Address
from harness.runner import Runner
from harness.subject import How, Subject

CANARY = Program((Load(0, Address("bss", 0)), Fork(0, 1), Exit(1, 0)))
"""The least that a guest must be able to do, for its answers to mean anything."""
TWO_ZEROES = parse_program("p0: map a 2 rw private anon\np0: load a[0]\np0: load a[1]")
"""Two pages of which nothing was stored: they share a frame where the kernel has a page of zeroes for all."""

COUNTED = parse_program("p0: map a 1 rw private anon\np0: store a[0] 0x11\np0: fork p1\np0: store a[0] 0x22\np1: exit 0\n")
"""A program with a page fault in it, whatever the kernel brings in early."""


class MachineSubject:
    """A kernel in QEMU with the agent inside."""

    def __init__(self, session: Session) -> None:
        self.session = session
        late = session.definition.quiescence
        self.client = AgentClient(session, quiescence=(late.interval_ms, late.still, late.bound_ms))
        self.observer: Observer | None = None
        self._counts_faults = True
        try:
            session.start()
            self.client.prepare()
            self.lacking = self._probe_abilities()
            self._counts_faults = self._probe_fault_counts()
            self._why_not_outside = self._watch()
        except BaseException:
            session.close()
            raise

    def _watch(self) -> str:
        """Have an observer look from outside from now on, where it sees what it should; else the reason why not."""
        assert self.client.probe is not None
        form = page_table_format(self.session.definition.arch, self.client.probe.banner)
        if self.session.ram is None or not self.session.has_mailbox or form is None:
            return "the guest's memory cannot be seen from outside, see the notes"
        observer = Observer(self.session.ram, form)
        self._set_observer(observer)
        trace = self.execute(CANARY, How(pte_bits=True))
        looks = observer.looks
        self.restore()
        if trace.ending is not Ending.COMPLETE or [set(look.spaces) for look in looks] != [{0}]:
            self._set_observer(None)
            return "the page tables of its processes are not found in its memory"
        if self._needs_outside:
            self._find_zero_frame(observer)
        return ""

    @property
    def _needs_outside(self) -> bool:
        """Whether nothing but the view from outside tells frames: the kernel has no pagemap."""
        assert self.client.probe is not None
        return self.observer is not None and not self.client.probe.view.pagemap

    def _find_zero_frame(self, observer: Observer) -> None:
        """Have the observer know the page of zeroes, where there is one; see TWO_ZEROES."""
        pages = self.execute(TWO_ZEROES, How()).observations[-1:]
        frames = [page.frame for seen in pages for page in seen.processes[0].pages.values() if page.present]
        if len(frames) == 2 and frames[0] == frames[1]:
            observer.zero_frame = frames[0]
        self.restore()

    def _set_observer(self, observer: Observer | None) -> None:
        self.observer = observer
        self.session.on_notice = observer.look if observer else None
        self.client.is_watched = observer is not None

    @property
    def name(self) -> str:
        """The name of the definition."""
        return self.session.definition.name

    @property
    def semantics(self) -> str:
        """The preset that the definition names."""
        return self.session.definition.semantics

    @property
    def overrides(self) -> dict[str, object]:
        """What the definition changes in that preset."""
        return dict(self.session.definition.overrides)

    @property
    def levels(self) -> frozenset[Level]:
        """What the probe found at boot, and what is seen from outside."""
        assert self.client.probe is not None
        outside = {Level.PTE_BITS} if self.observer else set()
        if self._needs_outside:
            outside |= {Level.FRAMES, Level.MAPCOUNTS}
            if self.client.probe.view.maps:
                outside.add(Level.MAPPINGS)
        uncounted = set() if self._counts_faults else {Level.ACCOUNTING}
        return (self.client.probe.levels - uncounted) | outside

    @property
    def missing(self) -> dict[Level, str]:
        """Why each level that is not there is not there."""
        assert self.client.probe is not None
        missing = {level: why for level, why in self.client.probe.missing.items() if level not in self.levels}
        if not self._counts_faults:
            missing.setdefault(Level.ACCOUNTING, "the guest's getrusage counts no faults")
        return missing | ({Level.PTE_BITS: self._why_not_outside} if self._why_not_outside else {})

    def _probe_fault_counts(self) -> bool:
        """Whether any fault is counted where one is certain: at a store to a page that fork has just shared."""
        return any(self.client.execute(COUNTED, How(count_faults=True)).faults or ())

    def _probe_abilities(self) -> dict[str, str]:
        """Find out, once, what the kernel cannot do: the word of each such ability, and what the kernel said.

        A probe that fails in another way, or worse, tells nothing here: what a kernel does wrongly, the contracts find.
        """
        lacking: dict[str, str] = {}
        for word, text in PROBES.items():
            if word.partition(" ")[0] in lacking:
                lacking[word] = lacking[word.partition(" ")[0]]
                continue
            program = parse_program(text)
            trace = self.client.execute(program, How())
            if trace.ending not in (Ending.COMPLETE, Ending.FORK_FAILED):
                self.restore()
            said = trace.outcomes[-1] if len(trace.outcomes) == len(program) else None
            if isinstance(said, Failed) and said.errno in MISSING:
                lacking |= dict.fromkeys((word, *IMPLIED.get(word, ())), said.errno)
        return lacking

    def execute(self, program: Program, how: How) -> Trace:
        """Run `program`; see `Subject.execute`.

        An answer that makes no sense is the guest's doing, and so a finding, where a fresh guest answers the canary as it
        should: the program has damaged the memory of the agent. Else it is ours, and raises ProtocolError.
        """
        if self.observer is None or not (how.pte_bits or self._needs_outside):
            return self._execute(program, how)
        self.observer.forget()
        return self.observer.enrich(program, self._execute(program, replace(how, pte_bits=True)))

    def _execute(self, program: Program, how: How) -> Trace:
        how = replace(how, count_faults=how.count_faults and self._counts_faults)
        try:
            return self.client.execute(program, how)
        except ProtocolError as error:
            self.restore()
            if self.client.execute(CANARY, How()).ending is not Ending.COMPLETE:
                raise
            return Trace(outcomes=(), ending=Ending.GARBLED, evidence=str(error))

    def restore(self) -> None:
        """Go back to the snapshot, and configure the agent again."""
        self.session.restore()
        if self.observer is not None and self.session.ram is not None:
            self.observer.move_to(self.session.ram)
        self.client.reconfigure()

    def close(self) -> None:
        """End the machine."""
        self.session.close()

    @property
    def faults_around(self) -> bool:
        """Whether this kernel maps neighbours of a file page, and has no switch to turn it off."""
        assert self.client.probe is not None
        return self.client.probe.faults_around

    def header(self) -> list[str]:
        """Name kernel, architecture, accelerator and levels."""
        assert self.client.probe is not None
        session = self.session
        shown = ", ".join(str(level) for level in Level if level in self.levels)
        boot = "from a snapshot" if session.boot_seconds is None else f"booted in {session.boot_seconds:.1f} s"
        lines = [
            f"guest: {self.name} ({session.definition.title}), {session.definition.arch}, {boot}",
            f"kernel: {self.client.probe.banner.split(' (')[0] or session.kernel_version or session.kernel}",
            f"accelerator: {session.accelerator} ({session.accelerator_reason})",
            f"levels: {shown}",
        ]
        lines += [f"without {level}: {why}" for level, why in self.missing.items()]
        if self.lacking:
            lines.append("cannot: " + ", ".join(f"{word} ({why})" for word, why in self.lacking.items()))
        if self.faults_around:
            lines.append("note: fault-around cannot be turned off here, so untouched file pages may be present")
        return lines + [f"note: {note}" for note in session.notes]


def open_subject(
    guest: str,
    *,
    kernel: Path | None = None,
    faults: tuple[str, ...] = (),
    arch: str | None = None,
    append: str = "",
) -> Subject:
    """Open the guest called `guest`, or defined in the file `guest` (a path that ends in .toml).

    `kernel` takes the place of its image, `arch` of its architecture; `append` is added to its command line. Raises
    DefinitionError for an unknown guest, fault or combination, other RigErrors and BootFailure where it does not come up.
    """
    definition = choose_definition(guest, kernel=kernel, faults=faults, arch=arch, append=append)
    if definition.kind == "model":
        return ModelGuest(faults=faults)
    return MachineSubject(Session(definition.with_faults(faults).with_append(append), kernel=kernel))


def choose_definition(
    guest: str,
    *,
    kernel: Path | None = None,
    faults: tuple[str, ...] = (),
    arch: str | None = None,
    append: str = "",
) -> GuestDefinition:
    """Read the definition of `guest`, and see that it goes with the rest, before anything is started.

    Raises DefinitionError where it does not.
    """
    definition = load_definition(guest, arch=arch)
    if definition.kind == "model" and (kernel is not None or append or arch):
        given = "--kernel" if kernel is not None else "--append" if append else "--arch"
        raise DefinitionError(f"{given} goes with a guest in QEMU; the guest {definition.name!r} has no kernel image")
    if definition.kernel.source == "given" and kernel is None:
        raise DefinitionError(f"the guest {definition.name!r} has no kernel of its own: pass one with --kernel IMAGE")
    check_faults(definition, faults)
    semantics_by_name(definition.semantics, dict(definition.overrides))
    return definition


def check_faults(definition: GuestDefinition, faults: tuple[str, ...]) -> None:
    """Raise DefinitionError unless the guest knows every one of these faults."""
    if definition.kind == "model":
        ModelGuest(faults=faults)
    elif faults and definition.faults:
        for name in faults:
            if name not in definition.faults:
                known = ", ".join(definition.faults)
                raise DefinitionError(f"the guest {definition.name!r} has no fault {name!r}; it has {known}")
    elif faults:
        raise DefinitionError(f"the guest {definition.name!r} has no switchable faults; use --guest mini or --guest model")


def semantics_of(subject: Subject) -> Semantics:
    """Find the model's preset for a subject, widened by what its probe found out.

    Raises DefinitionError where there is none of that name.
    """
    semantics = semantics_by_name(subject.semantics, getattr(subject, "overrides", {}))
    if getattr(subject, "faults_around", False):
        semantics = replace(semantics, file_pages_may_appear=True)
    return semantics


def semantics_by_name(preset: str, overrides: Mapping[str, object]) -> Semantics:
    """Give the model's preset of that name, changed as a definition asks; DefinitionError where that makes no sense."""
    if preset not in PRESETS:
        raise DefinitionError(f"there are no semantics {preset!r}; known are: {', '.join(PRESETS)}")
    try:
        return changed(PRESETS[preset], overrides)
    except ValueError as error:
        raise DefinitionError(f"the semantics of the guest make no sense: {error}") from error


def open_runner(
    guest: str,
    *,
    kernel: Path | None = None,
    faults: tuple[str, ...] = (),
    arch: str | None = None,
    append: str = "",
) -> Runner:
    """Open a guest and a runner on it; see `open_subject`."""
    subject = open_subject(guest, kernel=kernel, faults=faults, arch=arch, append=append)
    return Runner(subject, semantics_of(subject))
