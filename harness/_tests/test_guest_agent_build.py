from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from harness.errors import ImageError, ToolMissing
from harness.guest.agent_build import build_agent, find_compiler

MAKEFILE = """\
$(OUT)/agent-$(ARCH): agent.c
\techo built >> $(OUT)/../builds
\t$(CC) -O1 -static -nostdlib -ffreestanding -o $@ agent.c
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    if shutil.which("make") is None or not (shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("make or a C compiler is not installed")
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    (folder / "agent.c").write_text("void _start(void) { for (;;); }\n", encoding="utf-8")
    return folder


def builds(out: Path) -> int:
    return len((out / "builds").read_text(encoding="utf-8").splitlines())


def test_an_agent_is_built_once(sources: Path, tmp_path: Path) -> None:
    first = build_agent("x86_64", tmp_path / "out", sources=sources)
    second = build_agent("x86_64", tmp_path / "out", sources=sources)

    assert first == second
    assert builds(tmp_path / "out") == 1


def test_an_agent_whose_sources_changed_is_built_again(sources: Path, tmp_path: Path) -> None:
    first = build_agent("x86_64", tmp_path / "out", sources=sources)
    (sources / "agent.c").write_text("void _start(void) { for (;;) ; }\n", encoding="utf-8")
    second = build_agent("x86_64", tmp_path / "out", sources=sources)

    assert first != second
    assert builds(tmp_path / "out") == 2


def test_an_outer_make_does_not_disturb(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKEFLAGS", "n -- ARCH=vax")

    assert build_agent("x86_64", tmp_path / "out", sources=sources).is_file()


def test_an_agent_that_does_not_compile_shows_the_first_error(sources: Path, tmp_path: Path) -> None:
    (sources / "agent.c").write_text("int main( {\n", encoding="utf-8")

    with pytest.raises(ImageError, match=r"does not compile with .*agent\.c:1.*error"):
        build_agent("x86_64", tmp_path / "out", sources=sources)


def test_missing_sources_are_said_so(tmp_path: Path, sources: Path) -> None:
    with pytest.raises(ImageError, match="sources are not in"):
        build_agent("x86_64", tmp_path / "out", sources=tmp_path / "none")


def test_a_compiler_that_is_named_and_missing_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -O2")

    with pytest.raises(ToolMissing, match="the compiler that CC names, no-such-compiler -O2, is not there"):
        find_compiler("x86_64")


def test_without_a_compiler_the_ways_to_one_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    if importlib.util.find_spec("ziglang") is not None:
        pytest.skip("the Python package ziglang is installed, and is a compiler")

    with pytest.raises(ToolMissing, match=r"apt-get install gcc make, or: pip install ziglang"):
        find_compiler("x86_64")


def test_a_python_package_can_be_the_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "ziglang").mkdir()
    (tmp_path / "ziglang" / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert "-m ziglang cc -target x86_64-freestanding-none -mcpu=" in find_compiler("x86_64")
    assert "-m ziglang cc -target aarch64-freestanding-none -mcpu=" in find_compiler("arm64")


def test_clang_makes_programs_for_another_machine_where_its_own_linker_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    for program in ("clang", "ld.lld"):
        (tmp_path / program).write_text("#!/bin/sh\necho x86_64-pc-linux-gnu\n", encoding="utf-8")
        (tmp_path / program).chmod(0o755)

    assert find_compiler("arm64") == "clang --target=aarch64-linux-gnu -fuse-ld=lld -Wno-unused-command-line-argument"
    assert find_compiler("x86_64") == "clang"
