"""Opening guests by name, and what a machine with an agent inside looks like from above."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness._tests.fake_agent import LINUX, FakeAgent, without
from harness.agent.client import FAULT_AROUND
from harness.errors import BootFailure, DefinitionError, GuestDied
from harness.guest.accelerator import Accelerator
from harness.guest.channel import Channel
from harness.guest.console import Console
from harness.guest.definition import LINUX_PANICS, load_definition
from harness.guest.memory_transport import FakeAgent as WireAgent
from harness.guest.memory_transport import MemoryTransport
from harness.guest.session import Session
from harness.guest.source import SourceFacts
from harness.guests import (
    MachineSubject,
    check_faults,
    choose_definition,
    open_runner,
    open_subject,
    overrides_of,
    semantics_by_name,
    semantics_of,
)
from harness.model.presets import PRESETS
from harness.model_guest import ModelGuest
from harness.program.levels import Level
from harness.program.text import parse_program
from harness.program.trace import Ending
from harness.runner import Runner
from harness.subject import How

STORY = parse_program("p0: map a 2 rw private anon\np0: store a[0] 1\np0: fork p1\np1: load a[0]")


class TwinGuest:
    """A machine that lives in this process, with the twin of the agent behind the real channel and console."""

    def __init__(self, twin: FakeAgent) -> None:
        self.agent = WireAgent(self._reply)
        self.transport = MemoryTransport(self.agent)
        self.channel = Channel(Console(self.transport, LINUX_PANICS))
        self.hello = self.channel.hello(1.0)
        self.pid = 1
        self.ram = None
        self.closed = False
        self.twin = twin

    def _reply(self, request: bytes) -> bytes | None:
        try:
            return self.twin.request(request)
        except GuestDied:
            self.agent.asides = b"Kernel panic - not syncing: as ordered\n"
            return None

    def resident_bytes(self) -> int:
        return 1

    def whereabouts(self) -> list[str]:
        return []

    def close(self) -> None:
        self.closed = True


class TwinSource:
    """Boots twins; each boot gives a fresh one over the same files."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.facts = SourceFacts(accelerator=Accelerator("tcg", "it is a test"))
        self.files = files
        self.guests: list[TwinGuest] = []

    def fresh(self) -> TwinGuest:
        self.guests.append(TwinGuest(FakeAgent(self.files)))
        return self.guests[-1]


def machine(files: dict[str, bytes]) -> tuple[MachineSubject, TwinSource]:
    source = TwinSource(files)
    return MachineSubject(Session(load_definition("linux"), source=source)), source


# ---------------------------------------------------------------------------------- by name


def definition_file(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text('name = "mine"\nkind = "qemu"\ntitle = "mine"\n' + text + '\n[kernel]\nsource = "file"\npath = "k"\n')
    return str(path)


@pytest.mark.parametrize(
    ("said", "swaps"),
    [
        ('semantics = "linux-6.1"', False),
        ('swap_pages = 256\nsemantics = "linux-6.1"', True),
        ('swap_pages = 256\n[semantics]\npreset = "linux-6.1"\nhuge_pages = true', True),
        ('[semantics]\npreset = "linux-6.1"\nswaps = true', True),
    ],
)
def test_who_is_given_swap_may_swap_and_who_has_its_own_says_so(tmp_path: Path, said: str, swaps: bool) -> None:
    definition = choose_definition(definition_file(tmp_path, said))

    assert semantics_by_name(definition.semantics, overrides_of(definition)).swaps is swaps


def test_a_guest_that_is_given_swap_and_may_not_swap_is_refused(tmp_path: Path) -> None:
    file = definition_file(tmp_path, 'swap_pages = 256\n[semantics]\npreset = "linux-6.1"\nswaps = false')

    with pytest.raises(DefinitionError, match=r"mine.toml: the key 'swap_pages' is 256, .* 'semantics.swaps' is false"):
        choose_definition(file)


def test_the_toy_kernel_is_opened_by_its_name_with_faults() -> None:
    subject = open_subject("model", faults=("cow-shares",))

    assert isinstance(subject, ModelGuest)
    assert subject.faults == {"cow-shares"}
    assert semantics_of(subject) == PRESETS["model"]


def test_a_runner_is_opened_on_the_semantics_of_its_guest() -> None:
    assert open_runner("model").semantics.name == "model"


def test_a_definition_of_the_users_own_is_opened_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nkind = "model"\ntitle = "my own"\nsemantics = "model"\n')

    assert isinstance(open_subject(str(path)), ModelGuest)


def test_what_cannot_be_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="there is no guest 'nix'; known guests are custom, linux,"):
        open_subject("nix")
    with pytest.raises(DefinitionError, match="the guest 'model' has no kernel image"):
        open_subject("model", kernel=tmp_path)
    with pytest.raises(DefinitionError, match="has no fault 'cow-share'; did you mean cow-shares"):
        open_subject("model", faults=("cow-share",))
    with pytest.raises(DefinitionError, match="'linux' has no switchable faults; use --guest mini or --guest model"):
        open_subject("linux", faults=("cow-shares",))


def test_faults_are_checked_without_opening_anything() -> None:
    check_faults(load_definition("model"), ("cow-shares",))
    check_faults(load_definition("linux"), ())
    with pytest.raises(DefinitionError):
        check_faults(load_definition("model"), ("none",))


def test_unknown_semantics_are_refused_with_those_that_are_known() -> None:
    class Odd(ModelGuest):
        semantics = "plan9"

    with pytest.raises(DefinitionError, match=r"no semantics 'plan9'; known are: linux-6\.1"):
        semantics_of(Odd())


# ---------------------------------------------------------------------------------- a machine


def test_a_machine_is_booted_and_probed_when_it_is_opened() -> None:
    subject, source = machine(LINUX)

    assert len(source.guests) == 1
    assert Level.REFCOUNTS in subject.levels
    assert set(subject.missing) == {Level.PTE_BITS}
    assert subject.name == "linux"


def test_a_program_goes_all_the_way_to_the_agent_and_its_trace_comes_back() -> None:
    subject, _ = machine(LINUX)

    verdict = Runner(subject, PRESETS["model"]).run(STORY)

    assert verdict.conforms
    assert len(verdict.trace.observations) == 1


def test_a_panic_while_a_program_runs_is_a_finding_and_a_restore_heals() -> None:
    subject, source = machine(LINUX)
    source.guests[-1].twin.trouble = GuestDied("as ordered")

    trace = subject.execute(STORY, How())
    subject.restore()

    assert trace.ending is Ending.PANICKED
    assert "Kernel panic - not syncing: as ordered" in trace.evidence
    assert subject.execute(STORY, How()).ending is Ending.COMPLETE
    assert source.guests[0].closed


def test_a_restored_machine_is_configured_again() -> None:
    subject, source = machine(LINUX)

    subject.restore()

    assert source.guests[-1].twin.configured == 1
    assert source.guests[-1].twin.shown.fields == ["refcount", "map_raw", "lru", "anon"]


def test_a_machine_that_cannot_be_probed_is_closed_again() -> None:
    class Mute(TwinSource):
        def fresh(self) -> TwinGuest:
            guest = super().fresh()
            guest.twin.request = lambda payload, **_: b"\x63"  # type: ignore[method-assign]
            return guest

    source = Mute(LINUX)

    with pytest.raises(Exception, match="answered command"):
        MachineSubject(Session(load_definition("linux"), source=source))
    assert source.guests[0].closed


def test_a_machine_that_does_not_boot_says_so() -> None:
    class Dead(TwinSource):
        def fresh(self) -> TwinGuest:
            raise BootFailure("it does not boot")

    with pytest.raises(BootFailure):
        MachineSubject(Session(load_definition("linux"), source=Dead(LINUX)))


def test_closing_twice_does_nothing_more() -> None:
    subject, source = machine(LINUX)

    subject.close()
    subject.close()

    assert source.guests[0].closed


def test_the_header_names_kernel_accelerator_levels_and_what_is_missing() -> None:
    subject, _ = machine(without("/proc/kcore"))

    header = subject.header()

    assert header[1] == "kernel: Linux version 6.1.0"
    assert "accelerator: tcg (it is a test)" in header
    assert "without refcounts: the guest has no readable /proc/kcore" in header


def test_a_kernel_that_faults_around_is_held_to_wider_semantics() -> None:
    narrow, _ = machine(LINUX)
    wide, _ = machine(without(FAULT_AROUND))

    assert semantics_of(narrow) == PRESETS["linux-6.1"]
    assert semantics_of(wide).file_pages_may_appear
    assert any("fault-around cannot be turned off" in line for line in wide.header())


def test_an_image_of_the_callers_own_is_held_to_what_every_linux_may_do(tmp_path: Path) -> None:
    image = tmp_path / "bzImage"
    image.write_bytes(b"x")

    subject = MachineSubject(Session(load_definition("linux"), kernel=image, source=TwinSource(LINUX)))

    assert subject.semantics == "linux"


def test_a_definition_may_change_its_preset() -> None:
    changed = semantics_by_name("linux", {"prefault_budget": 8, "sole_owner_write": "copy", "write_implies_read": False})

    assert (changed.prefault_budget, changed.sole_owner_write.name, changed.write_implies_read) == (8, "COPY", False)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"prefault": 8}, "'prefault' is no choice that a kernel has; there are maps_tell_files, maps_tell_bss"),
        ({"prefault_budget": -1}, "'prefault_budget' is -1, and must be a whole number that is not negative"),
        ({"prefault_budget": True}, "must be a whole number"),
        ({"sole_owner_write": "perhaps"}, "'sole_owner_write' is 'perhaps', and must be one of reuse, copy, either"),
        ({"write_implies_read": 1}, "must be true or false"),
        ({"name": "x"}, "'name' is no choice"),
    ],
)
def test_a_change_that_makes_no_sense_is_said_so(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(DefinitionError, match=complaint):
        semantics_by_name("linux", changes)


def test_a_guest_without_a_kernel_of_its_own_needs_one() -> None:
    with pytest.raises(DefinitionError, match="'custom' has no kernel of its own: pass one with --kernel IMAGE"):
        choose_definition("custom")

    assert choose_definition("custom", kernel=Path("kernel.elf"), arch="arm64").arch == "arm64"


@pytest.mark.parametrize("given", [{"arch": "arm64"}, {"append": "quiet"}, {"kernel": Path("k")}])
def test_the_model_has_no_machine_to_choose(given: dict[str, object]) -> None:
    with pytest.raises(DefinitionError, match="goes with a guest in QEMU; the guest 'model' has no kernel image"):
        choose_definition("model", **given)  # type: ignore[arg-type]
