"""Where the CPUs are, by the registers that QEMU shows."""

from __future__ import annotations

from harness.guest.cpu import Place, read_places

_X86 = """
CPU#0
RAX=0000000000000000 RBX=0000000000000000 RCX=0000000000000000 RDX=0000000000000000
RIP=ffffffff81a17a0b RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1
CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]

CPU#1
RIP=0000000000400029 RFL=00000246 [---Z-P-] CPL=3 II=0 A20=1 SMM=0 HLT=0
"""
_ARM64 = """
CPU#0
 PC=ffff8000088043dc X00=ffff800009add000 X01=0000000000000002
 SP=ffff800009ad3e20
PSTATE=800000c5 N--- EL1h     FPCR=00000000 FPSR=00000000

CPU#1
 PC=0000000000400029 X00=0000000000000000 X01=0000000000000000
PSTATE=60000000 -ZC- EL0t     FPCR=00000000 FPSR=00000000
"""


def test_each_cpu_of_x86_64_has_a_place_and_is_halted_or_not() -> None:
    assert read_places(_X86) == [Place(0, 0xFFFF_FFFF_81A1_7A0B, True, True), Place(1, 0x40_0029, False)]


def test_each_cpu_of_arm64_has_a_place() -> None:
    assert read_places(_ARM64) == [Place(0, 0xFFFF_8000_0880_43DC, True), Place(1, 0x40_0029, False)]


def test_other_words_are_no_place() -> None:
    assert read_places("") == read_places("unknown command: 'info registers -a'\n") == read_places("CPU#0\nPC=zz\n") == []
