from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import DefinitionError
from harness.guest.definition import LINUX_PANICS, list_definitions, load_definition

GOOD = """
name = "mine"
kind = "qemu"
title = "My kernel"
semantics = "linux-6.1"
[kernel]
source = "file"
path = "bzImage"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_definition_that_is_shipped_can_be_loaded() -> None:
    loaded = {name: load_definition(name) for name in list_definitions()}

    assert "linux" in loaded
    assert all(definition.name == name for name, definition in loaded.items())


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    definition = load_definition(write(tmp_path, GOOD))

    assert (definition.memory_mb, definition.cpus, definition.accel) == (128, 1, "auto")
    assert definition.panic_patterns == LINUX_PANICS
    assert definition.command_line.endswith(" rdinit=/init")


def test_a_kernel_path_is_relative_to_its_definition(tmp_path: Path) -> None:
    definition = load_definition(write(tmp_path, GOOD))

    assert definition.kernel.path == tmp_path / "bzImage"


def test_faults_can_be_those_of_another_definition(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('faults = ["cow-shares", "count-u8"]', encoding="utf-8")

    definition = load_definition(write(tmp_path, 'faults = "other.toml"\n' + GOOD))

    assert definition.faults == ("cow-shares", "count-u8")


@pytest.mark.parametrize("other", ["", "faults", 'name = "x"'])
def test_faults_of_a_definition_that_has_none_are_refused(tmp_path: Path, other: str) -> None:
    (tmp_path / "other.toml").write_text(other, encoding="utf-8")

    with pytest.raises(
        DefinitionError, match=r"faults' names .*other\.toml, which is no definition with faults of its own"
    ):
        load_definition(write(tmp_path, 'faults = "other.toml"\n' + GOOD))


def test_another_kernel_can_take_the_place_of_the_definitions() -> None:
    definition = load_definition("linux").with_kernel(Path("/boot/vmlinuz"))

    assert (definition.kernel.source, definition.kernel.path) == ("file", Path("/boot/vmlinuz"))


def test_another_linux_is_held_to_what_any_linux_may_do_and_gets_the_time_that_the_newest_needs() -> None:
    definition = load_definition("linux").with_kernel(Path("/boot/vmlinuz"))

    assert definition.semantics == "linux"
    assert definition.quiescence.bound_ms >= load_definition("linux-sid").quiescence.bound_ms
    assert definition.quiescence.still == 0  # while a program runs there is nothing to wait for
    assert load_definition("mini").with_kernel(Path("/boot/vmlinuz")).quiescence == load_definition("mini").quiescence


def test_a_model_needs_no_machine(tmp_path: Path) -> None:
    text = 'name = "m"\nkind = "model"\ntitle = "The model"\nsemantics = "linux-6.1"\n'

    definition = load_definition(write(tmp_path, text))

    assert definition.kind == "model"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(DefinitionError, match=r"no guest 'linus' \(did you mean 'linux'\?\); known guests are"):
        load_definition("linus")


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"gone\.toml: .* cannot be read: No such file"):
        load_definition(tmp_path / "gone.toml")


@pytest.mark.parametrize(
    ("addition", "complaint"),
    [
        ("memory = 3", r"'memory' is no key \(did you mean 'memory_mb'\?\); the keys are name, kind"),
        ("memory_mb = '128'", "'memory_mb' must be a whole number from 32 to 65536 MiB, not '128'"),
        ("memory_mb = true", "not True"),
        ("memory_mb = 0", "not 0"),
        ("cpus = 1.5", "'cpus' must be a whole number"),
        ("arch = 'vax'", "'arch' is 'vax', but must be one of x86_64"),
        (
            "accel = 'tgc'",
            r"'accel' is 'tgc' \(did you mean 'tcg'\?\), but must be one of auto, tcg, kvm",
        ),
        ("accel = ['tcg']", "must be one of"),
        ("boot_timeout_s = 0", "'boot_timeout_s' must be a number of seconds above 0"),
        ("boot_timeout_s = nan", "above 0"),
        ("answer_timeout_s = inf", "above 0"),
        ("panic_patterns = ['(']", "no regular expression"),
        ("panic_patterns = ['x*']", "matches every line"),
        ("panic_patterns = 'x'", "must be a list"),
        ("panic_patterns = [1]", "must be a list"),
        ("init = 'init'", "absolute path"),
        ("cpu = 'max -drive x'", "one word"),
        ("machine = '-usb'", "one word"),
        ("append = 3", "must be a text"),
        ('append = "a\\nb"', "one line"),
        ("icount = 3", "'icount' must be a text"),
        ("name = 'other'", "no TOML"),
        ("file = 'x'", "'file' is no key"),
        ("overrides = 'x'", "'overrides' is no key"),
        ("init = ['/init', 'init']", "absolute path"),
        ("init = []", "absolute path"),
        ("init_by = 'magic'", "'init_by' is 'magic', but must be one of rdinit, init, path"),
        ("initramfs = 'embeded'", r"did you mean 'embedded'"),
        ("console = 'lp0'", "'console' must be a serial port"),
        ("log = 'ttyS0'", "'log' is 'ttyS0', which is the console already"),
        ("icount = 'shift=0'\naccel = 'kvm'", "needs software emulation"),
        ("qemu = '-device x'", "'qemu' must be a list"),
        ("poweroff_status = 256", "from 0 to 255"),
        ("quiescence = 3", r"must be a table, \[quiescence\]"),
        ("quiescence = {wait = 3}", "'quiescence.wait' is no key"),
        ("quiescence = {bound_ms = 0}", "'quiescence.bound_ms' must be a whole number from 1"),
        ("known_divergences = 3", "must be a text"),
        ("kernel = 3", "no TOML"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_sentence(tmp_path: Path, addition: str, complaint: str) -> None:
    path = write(tmp_path, addition + "\n" + GOOD)

    with pytest.raises(DefinitionError, match=complaint) as caught:
        load_definition(path)

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value).split("no TOML")[0]


@pytest.mark.parametrize(
    ("kernel", "complaint"),
    [
        ("", "'kernel.source' is missing"),
        ("source = 'debain'", r"'kernel.source' is 'debain' \(did you mean 'debian'\?\)"),
        ("source = 'debian'\nsuite = 'bookworm'", "'kernel.package' is missing"),
        ("source = 'debian'\nsuite = 'bookworm'\npackage = '../x'", "'kernel.package' must be the name"),
        ("source = 'debian'\nsuite = '-o x'\npackage = 'linux'", "'kernel.suite' must be the name"),
        ("source = 'file'", "'kernel.path' is missing"),
        (
            "source = 'file'\npackage = 'x'\npath = 'y'",
            "'kernel.package' is no key of a kernel with source",
        ),
    ],
)
def test_a_kernel_table_is_checked_too(tmp_path: Path, kernel: str, complaint: str) -> None:
    path = write(tmp_path, GOOD.partition("[kernel]")[0] + "[kernel]\n" + kernel)

    with pytest.raises(DefinitionError, match=complaint):
        load_definition(path)


def test_semantics_may_be_a_preset_with_changes(tmp_path: Path) -> None:
    text = GOOD.replace('semantics = "linux-6.1"', 'semantics = { preset = "linux", prefault_budget = 8 }')

    definition = load_definition(write(tmp_path, text))

    assert (definition.semantics, definition.overrides) == ("linux", (("prefault_budget", 8),))


def test_semantics_without_a_preset_are_refused(tmp_path: Path) -> None:
    text = GOOD.replace('semantics = "linux-6.1"', "semantics = { prefault_budget = 8 }")

    with pytest.raises(DefinitionError, match=r"'semantics.preset' is missing"):
        load_definition(write(tmp_path, text))


def test_an_architecture_brings_its_machine_and_console(tmp_path: Path) -> None:
    definition = load_definition(write(tmp_path, GOOD), arch="arm64")

    assert (definition.machine, definition.cpu, definition.console) == ("virt", "cortex-a57", "ttyAMA0")
    assert "console=ttyAMA0" in definition.append
    with pytest.raises(DefinitionError, match="no guests of architecture 'vax'; known are x86_64, arm64"):
        load_definition(write(tmp_path, GOOD), arch="vax")


def test_a_kernel_that_finds_its_first_process_by_itself_is_told_nothing(tmp_path: Path) -> None:
    text = 'init = ["/bin/sh", "/sbin/init"]\ninit_by = "path"\nappend = ""\n' + GOOD

    definition = load_definition(write(tmp_path, text))

    assert (definition.command_line, definition.init) == ("", ("/bin/sh", "/sbin/init"))
    assert definition.with_append("quiet").command_line == "quiet"


@pytest.mark.parametrize("key", ["name", "kind", "title", "semantics"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    lines = [line for line in GOOD.splitlines() if not line.startswith(key)]

    with pytest.raises(DefinitionError, match=f"'{key}' is missing"):
        load_definition(write(tmp_path, "\n".join(lines)))


def test_a_guest_without_a_kernel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="'kernel' is missing"):
        load_definition(write(tmp_path, GOOD.partition("[kernel]")[0]))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(DefinitionError, match="no TOML"):
        load_definition(path)


@pytest.mark.parametrize(("line", "is_another"), [("", False), ('cpu = "qemu64"\n', False), ('cpu = "max"\n', True)])
def test_a_definition_knows_whether_its_cpu_is_the_one_that_its_preset_is_about(
    tmp_path: Path, line: str, is_another: bool
) -> None:
    assert load_definition(write(tmp_path, line + GOOD)).has_another_cpu is is_another
