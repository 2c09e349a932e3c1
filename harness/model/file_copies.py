"""Private mappings whose pages may be copies of the file's already: what becomes of the file then may show there, or not.

A kernel may copy a page of a private file mapping at once, with the page's first load, or as Linux does with its first
store. Nobody can tell which before the file has changed, or somebody looks at the frame. So each page that was not stored
to gets an entry that is only *guessed* (`prefault`), to a frame that may hold all that the file held there since::

    map a 1 rw private f     entry, guessed, to a frame of f's bytes
    write f                  … of f's bytes, or of the new ones: a load says which of the two, and so does an observation
    madvise DONTNEED         entry, guessed, to a frame of the new bytes: these are read again from the file

Source: mmap(2), MAP_PRIVATE; madvise(2), MADV_DONTNEED ("up-to-date contents of the underlying mapped file").
"""

from __future__ import annotations

from harness.model.address_space import AddressSpace
from harness.model.fault import guessed_entry, is_behind_end, may_have_own_frame
from harness.model.machine import Machine
from harness.model.vma import Vma


def follow_files(machine: Machine) -> None:
    """After a step, let the pages that may be copies be what they may be now."""
    if not machine.may_be_copied:
        return
    for _, space in machine.spaces():
        for vma in space.vmas:
            if vma.file in machine.may_be_copied and may_have_own_frame(machine.semantics, vma):
                _follow(machine, space, vma)


def _follow(machine: Machine, space: AddressSpace, vma: Vma) -> None:
    assert vma.file is not None, "it is in the set of files"
    for vpn in vma.vpns:
        pte = space.page_table.lookup(vpn)
        if is_behind_end(machine, vma, vpn):
            continue
        if pte is None:
            pte = guessed_entry(machine, vma, vpn)
            pte.optional = pte.prefaulted = True
            space.page_table.map(vpn, pte)
        elif pte.guessed:
            for content in machine.cache.contents(vma.file, vma.file_page(vpn)):
                pte.frame.add_content(content)
