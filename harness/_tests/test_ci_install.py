"""`.ci/install`, which fetches what is missing: with and without apt, root and network, on machines that are pretended."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL = Path(__file__).parents[2] / ".ci" / "install"
TOOLS = ("sh", "env", "mktemp", "tail", "rm", "cat")  # all that the script needs beside what is pretended

WORKS = 'echo "$@" >>"$LOG"'
FAILS = 'echo "$@" >>"$LOG"; echo "E: Unable to fetch some archives" >&2; exit 100'
NEEDS_UPDATE = """
echo "$@" >>"$LOG"
case "$*" in
    update*) : >"$LOG.updated" ;;
    *) [ -e "$LOG.updated" ] || { echo "E: Unable to locate package" >&2; exit 100; } ;;
esac
"""


class Box:
    """A machine of which only these programs are there."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.log = folder / "log"
        self.bin.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None
            (self.bin / tool).symlink_to(found)

    def has(self, name: str, script: str) -> None:
        """Put a program there."""
        path = self.bin / name
        path.write_text(f"#!{self.bin}/sh\n{script}\n")
        path.chmod(0o755)

    def install(self) -> subprocess.CompletedProcess[str]:
        """Install QEMU on it."""
        command = [str(self.bin / "sh"), str(INSTALL), "qemu-system-x86", "QEMU (qemu-system-x86_64)"]
        environment = {"PATH": str(self.bin), "LOG": str(self.log), "TMPDIR": str(self.bin.parent)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    def asked(self) -> list[str]:
        """What apt-get was asked to do."""
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_root_installs_without_recommended_packages(box: Box) -> None:
    box.has("id", "echo 0")
    box.has("apt-get", WORKS)

    done = box.install()

    assert done.returncode == 0
    assert box.asked() == ["install -y -qq --no-install-recommends qemu-system-x86"]
    assert done.stdout == "pagepact: installing qemu-system-x86\n"


def test_a_machine_with_old_package_lists_updates_them_and_tries_again(box: Box) -> None:
    box.has("id", "echo 0")
    box.has("apt-get", NEEDS_UPDATE)

    done = box.install()

    assert done.returncode == 0
    assert [line.split()[0] for line in box.asked()] == ["install", "update", "install"]


def test_sudo_is_used_where_it_asks_for_no_password(box: Box) -> None:
    box.has("id", "echo 1000")
    box.has("sudo", '[ "$1" = -n ] && shift; [ "$1" = true ] && exit 0; echo sudo >>"$LOG"; exec "$@"')
    box.has("apt-get", WORKS)

    done = box.install()

    assert done.returncode == 0
    assert box.asked()[0] == "sudo"


def test_without_root_one_sentence_says_whom_to_ask_for_what(box: Box) -> None:
    box.has("id", "echo 1000")
    box.has("apt-get", WORKS)

    done = box.install()

    assert done.returncode == 2
    assert done.stderr == (
        "pagepact: QEMU (qemu-system-x86_64) is missing: without root it cannot be installed here; "
        "ask for: apt-get install --no-install-recommends qemu-system-x86\n"
    )
    assert box.asked() == []


def test_a_sudo_that_wants_a_password_counts_as_none(box: Box) -> None:
    box.has("id", "echo 1000")
    box.has("sudo", "exit 1")
    box.has("apt-get", WORKS)

    assert "without root" in box.install().stderr


def test_without_apt_one_sentence_names_the_package(box: Box) -> None:
    done = box.install()

    assert done.returncode == 2
    assert "this machine has no apt-get; install the counterpart of Debian's qemu-system-x86" in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_network_the_words_of_apt_come_before_the_sentence(box: Box) -> None:
    box.has("id", "echo 0")
    box.has("apt-get", FAILS)

    done = box.install()

    said = done.stderr.splitlines()
    assert done.returncode == 2
    assert said[0] == "E: Unable to fetch some archives"
    assert "apt-get could not install qemu-system-x86 (the full log is " in said[-1]
