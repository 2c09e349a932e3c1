"""Opens a guest by its name: the only place that knows every kind of subject there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.ability_probe import probe_abilities
from harness.agent import large_folios
from harness.agent.client import AgentClient
from harness.errors import BootFailure, DefinitionError, ProtocolError
from harness.guest.definition import GuestDefinition, load_definition
from harness.guest.session import Session
from harness.introspect.view import Observer
from harness.model.presets import PRESETS, on_another_cpu
from harness.model.semantics import STACKS_PER_TABLE, Semantics, changed
from harness.model_guest import ModelGuest, unknown_fault
from harness.outside import Outside
from harness.patience import Patience
from harness.program.levels import Level
from harness.program.ops import Exit, Fork, Load
from harness.program.outcome import Done
from harness.program.program import Program
from harness.program.text import parse_program
from harness.program.trace import Ending, Trace
from harness.program.units import Address
from harness.runner import Runner
from harness.seek_counts import suggest_counts
from harness.subject import How, Subject

CANARY = Program((Load(0, Address("bss", 0)), Fork(0, 1), Exit(1, 0)))
"""The least that a guest must be able to do, for its answers to mean anything."""
COUNTED = parse_program("p0: map a 1 rw private anon\np0: store a[0] 0x11\np0: fork p1\np0: store a[0] 0x22\np1: exit 0\n")
"""A program with a page fault in it, whatever the kernel brings in early."""
MAPPED = parse_program("p0: map a 1 r private f+1\np0: load bss[0]\nobserve\n")
"""A program after which /proc/PID/maps has a page of a file that is not the file's first, and a zeroed one of the image."""

HASTY_S = 2.0
"""The least time that a guest has for an answer; what takes longest on the slowest takes a tenth of it."""


class MachineSubject:
    """A kernel in QEMU with the agent inside."""

    def __init__(self, session: Session) -> None:
        self.session = session
        late = session.definition.quiescence
        known = semantics_by_name(session.definition.semantics, self.overrides)
        self.client = AgentClient(
            session, quiescence=(late.interval_ms, late.still, late.bound_ms), huge_pages=known.huge_pages
        )
        self.patience = Patience(late)
        self.outside = Outside(session, self.client)
        self._counts_faults = True
        try:
            session.start()
            self.client.prepare()
            self._check_swap()
            self.uname = self.client.uname()
            may_do_less = semantics_by_name(self.semantics, self.overrides).calls_may_do_less
            self.lacking = probe_abilities(self.client.execute, self.restore, may_do_less=may_do_less)
            self.maps_tell_files, self.maps_tell_bss = self._probe_maps() if may_do_less else (True, True)
            self._counts_faults = self._probe_fault_counts()
            self.patience.probe(self._execute)
            self.outside.watch(self.execute, self.restore, CANARY)
        except BaseException:
            session.close()
            raise

    def _check_swap(self) -> None:
        """Raise BootFailure where the definition asks for swap, and there is none."""
        if self.session.definition.swap_pages and not self.client.has_swap:
            raise BootFailure(
                "the guest has no swap, for which its definition asks (swap_pages): its kernel needs CONFIG_SWAP, and "
                "CONFIG_BLK_DEV_RAM built in, or as the module brd.ko in its package"
            )

    @property
    def observer(self) -> Observer | None:
        """Who looks at this machine from outside."""
        return self.outside.observer

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
        return overrides_of(self.session.definition)

    @property
    def has_another_cpu(self) -> bool:
        """Whether the definition names a CPU, and the preset is about the one that it would have else."""
        return self.session.definition.has_another_cpu

    @property
    def levels(self) -> frozenset[Level]:
        """What the probe found at boot, and what is seen from outside."""
        return frozenset(self.sources)

    @property
    def sources(self) -> dict[Level, str]:
        """Where each level comes from: what the kernel publishes ("inside"), its page tables ("outside"), or its counts."""
        assert self.client.probe is not None
        uncounted = set() if self._counts_faults else {Level.ACCOUNTING}
        inside = self.client.probe.levels - uncounted
        return dict.fromkeys(inside, "inside") | self.outside.sources(inside)

    @property
    def missing(self) -> dict[Level, str]:
        """Why each level that is not there is not there."""
        assert self.client.probe is not None
        missing = {level: why for level, why in self.client.probe.missing.items() if level not in self.levels}
        if Level.REFCOUNTS in missing and self.observer is not None:
            missing[Level.REFCOUNTS] += " (guests --probe looks for its counts in its memory)"
        if not self._counts_faults:
            missing.setdefault(Level.ACCOUNTING, "the guest's getrusage counts no faults")
        return missing | ({Level.PTE_BITS: self.outside.why_not} if self.outside.why_not else {})

    def _probe_maps(self) -> tuple[bool, bool]:
        """Whether /proc/PID/maps, where there is one, tells the pages of files, and that bss is no file's."""
        trace = self.client.execute(MAPPED, How())
        shown = [seen for each in trace.observations for seen in each.processes.values()]
        vmas = [vma for seen in shown for vma in seen.vmas or ()]
        mapped = [vma for vma in vmas if vma.vpn == Address("a", 0).vpn]
        bss = [vma for vma in vmas if vma.vpn <= Address("bss", 0).vpn < vma.vpn + vma.npages]
        tells_files = not mapped or trace.outcomes[0] != Done() or any(vma.pgoff == 1 for vma in mapped)
        return tells_files, all(vma.pgoff is None for vma in bss)

    def _probe_fault_counts(self) -> bool:
        """Whether any fault is counted where one is certain: at a store to a page that fork has just shared."""
        return any(self.client.execute(COUNTED, How(count_faults=True)).faults or ())

    def execute(self, program: Program, how: How) -> Trace:
        """Run `program`; see `Subject.execute`.

        An answer that makes no sense is the guest's doing, and so a finding, where a fresh guest answers the canary as it
        should: the program has damaged the memory of the agent. Else it is ours, and raises ProtocolError.
        """
        how = replace(how, patient=how.patient or self.patience.wants_wait(program))
        trace = self._seen_from_both_sides(program, how)
        self.patience.heed(trace)
        return trace

    @property
    def is_hasty(self) -> bool:
        """Whether looks do not wait for counts to be still, though the kernel may turn out to be late with them."""
        return self.patience.is_hasty

    def wait_from_now_on(self) -> None:
        """Let each look wait: the kernel has turned out to be late."""
        self.patience.wait_from_now_on()

    def _seen_from_both_sides(self, program: Program, how: How) -> Trace:
        if self.observer is None or not (how.pte_bits or how.outside or self.outside.is_needed):
            return self._execute(program, how)
        self.outside.begin(program, how)
        return self.outside.enrich(program, self._execute(program, replace(how, pte_bits=True)))

    def _execute(self, program: Program, how: How) -> Trace:
        how = replace(how, count_faults=how.count_faults and self._counts_faults)
        try:
            return self.client.execute(program, how, timeout_s=self._timeout(how))
        except ProtocolError as error:
            self.restore()
            if self.client.execute(CANARY, How()).ending is not Ending.COMPLETE:
                raise
            return Trace(outcomes=(), ending=Ending.GARBLED, evidence=str(error))

    def _timeout(self, how: How) -> float | None:
        whole = self.session.definition.answer_timeout_s
        if how.unhurried:
            return whole * 10
        return min(whole, max(HASTY_S, whole / 5)) if how.hasty else None

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

    @property
    def counts_kernel_tables(self) -> bool:
        """Whether this kernel's own page tables are among those that it counts."""
        assert self.client.probe is not None
        return self.client.probe.counts_kernel_tables

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
            *self._sources_text(),
        ]
        lines += [f"without {level}: {why}" for level, why in self.missing.items()]
        if self.lacking:
            lines.append("cannot: " + ", ".join(f"{word} ({why})" for word, why in self.lacking.items()))
        if self.faults_around:
            lines.append("note: fault-around cannot be turned off here, so untouched file pages may be present")
        if not self.maps_tell_files:
            lines.append("note: /proc/PID/maps does not tell the pages of files, so only rights are compared with it")
        elif not self.maps_tell_bss:
            lines.append("note: /proc/PID/maps shows bss as pages of the image's file, so it is not compared there")
        switched_off = large_folios.note(self.client.switched_off)
        notes = (*session.notes, *self.outside.notes, self.patience.note, switched_off)
        return lines + [f"note: {note}" for note in notes if note]

    def suggest_counts(self) -> list[str]:
        """Say where this kernel's counts lie, and what its definition may say of that; nothing where they are seen."""
        if self.observer is None or Level.REFCOUNTS in self.levels:
            return []
        told = suggest_counts(self.session, self.observer, self._seen_from_both_sides, can_pin="pin" not in self.lacking)
        self.restore()
        return told

    def _sources_text(self) -> list[str]:
        """Say which levels come from where, but for those that the kernel publishes."""
        by_source: dict[str, list[str]] = {}
        for level in Level:
            source = self.sources.get(level, "inside")
            if source != "inside":
                by_source.setdefault(source, []).append(str(level))
        return [f"from {source}: {', '.join(levels)}" for source, levels in by_source.items()]


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
    semantics_by_name(definition.semantics, overrides_of(definition))
    return definition


def check_faults(definition: GuestDefinition, faults: tuple[str, ...]) -> None:
    """Raise DefinitionError unless the guest knows every one of these faults."""
    if definition.kind == "model":
        ModelGuest(faults=faults)
    elif faults and definition.faults:
        for name in faults:
            if name not in definition.faults:
                raise DefinitionError(unknown_fault(name, definition.faults, guest=definition.name))
    elif faults:
        raise DefinitionError(f"the guest {definition.name!r} has no switchable faults; use --guest mini or --guest model")


def semantics_of(subject: Subject) -> Semantics:
    """Find the model's preset for a subject, widened by what its probe found out.

    Raises DefinitionError where there is none of that name.
    """
    has_another_cpu = getattr(subject, "has_another_cpu", False)
    semantics = semantics_by_name(subject.semantics, getattr(subject, "overrides", {}), has_another_cpu=has_another_cpu)
    if getattr(subject, "faults_around", False):
        semantics = replace(semantics, file_pages_may_appear=True)
    if getattr(subject, "counts_kernel_tables", False):
        semantics = replace(semantics, processes_per_kernel_table=STACKS_PER_TABLE)
    if not getattr(subject, "maps_tell_files", True):
        semantics = replace(semantics, maps_tell_files=False)
    if not getattr(subject, "maps_tell_bss", True):
        semantics = replace(semantics, maps_tell_bss=False)
    return replace(semantics, uname=getattr(subject, "uname", b"") or semantics.uname)


def overrides_of(definition: GuestDefinition) -> dict[str, object]:
    """Give what a definition changes in its preset. A guest that is given swap may swap, and need not say so; one that
    is given none may have its own, as `mini` has, and says so.

    Raises DefinitionError where it is given swap, and may not swap.
    """
    overrides = dict(definition.overrides)
    if definition.swap_pages and overrides.setdefault("swaps", True) is False:
        raise DefinitionError(
            f"{definition.file}: the key 'swap_pages' is {definition.swap_pages}, which gives the guest swap, but "
            "'semantics.swaps' is false: leave one of them out"
        )
    return overrides


def semantics_by_name(preset: str, overrides: Mapping[str, object], *, has_another_cpu: bool = False) -> Semantics:
    """Give the model's preset of that name, changed as a definition asks; DefinitionError where that makes no sense."""
    if preset not in PRESETS:
        raise DefinitionError(f"there are no semantics {preset!r}; known are: {', '.join(PRESETS)}")
    try:
        known = on_another_cpu(PRESETS[preset]) if has_another_cpu else PRESETS[preset]
        return changed(known, overrides)
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
