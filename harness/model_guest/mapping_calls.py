"""System calls that change what is mapped."""

from __future__ import annotations

from harness.model_guest import lifecycle, mapping
from harness.model_guest.advice import advise
from harness.model_guest.entries import live_root
from harness.model_guest.machine import AddressSpace
from harness.model_guest.pagefault import touch
from harness.model_guest.paging import PRESENT, pfn_of
from harness.model_guest.populate import populate
from harness.model_guest.process_table import ProcessTable
from harness.model_guest.vmas import GROWS_DOWN, NEVER_WRITABLE, Vma
from harness.program.files import FILES, SHM, STACK
from harness.program.ops import (
    Advise,
    Brk,
    Map,
    Mirror,
    Misuse,
    Opened,
    Placement,
    Populate,
    Protect,
    Remap,
    Roam,
    Scratch,
    Sharing,
    Sync,
    Try,
    Unmap,
)
from harness.program.outcome import (
    Done,
    Failed,
    Loaded,
    Outcome,
)
from harness.program.units import PAGE_SIZE

REFUSALS = {
    Misuse.MAP_BAD_FILE: "EBADF",
    Misuse.MAP_BEYOND: "ENOMEM",
    Misuse.MAP_HUGE: "ENOMEM",
    Misuse.WAIT_NOBODY: "ECHILD",
    Misuse.READ_BAD_FILE: "EBADF",
    Misuse.WRITE_BAD_FILE: "EBADF",
    Misuse.CLOSE_BAD_FILE: "EBADF",
    Misuse.PIPE_BAD_POINTER: "EFAULT",
    Misuse.EXEC_MISSING: "ENOENT",
    Misuse.MAP_WRAPPING: "ENOMEM",
    Misuse.PROTECT_WRAPPING: "ENOMEM",
    Misuse.REMAP_WRAPPING: "ENOMEM",
    Misuse.SYNC_WRAPPING: "ENOMEM",
    Misuse.EXEC_BAD_PATH: "EFAULT",
    Misuse.EXEC_BAD_ARGUMENT: "EFAULT",
    Misuse.EXEC_NO_PROGRAM: "ENOEXEC",
}
"""How a misuse fails; with EINVAL where it is not named."""


class MappingCalls(ProcessTable):
    """What the operations on mappings do."""

    def _map(self, op: Map) -> Outcome:
        shared = op.sharing is Sharing.SHARED
        vpns = mapping.rounded(self.machine, op.pages, down=self.machine.has("mmap-rounds-down"))  # planted: see there
        may_go_there = mapping.is_free_for(self.machine, self._space(op), vpns, op.placement)
        if not may_go_there and op.placement is Placement.NOREPLACE:
            return Failed("EEXIST")
        if op.backing.name == STACK and shared:
            return Failed("EINVAL")
        if not mapping.is_open_for(self.machine, op.backing.opened, op.prot, shared=shared):
            return Failed("EACCES")
        if not may_go_there:  # it goes elsewhere, if anywhere, and the caller takes it away again
            return Failed("EEXIST" if self.machine.may_expand(self._space(op), len(vpns)) else "ENOMEM")
        if not mapping.may_replace(self.machine, self._space(op), vpns):
            return Failed("ENOMEM")
        if op.backing.name in FILES:
            file = self.machine.files.open(op.backing.name)
            flags = NEVER_WRITABLE if shared and op.backing.opened is Opened.READ else 0
            vma = Vma(vpns.start, vpns.stop, op.prot, op.backing.pgoff, file, shared, flags)
            mapping.map_(self.machine, self._space(op), vma)
        elif shared:
            mapping.map_shared(self.machine, self._space(op), vpns, op.prot, is_segment=op.backing.name == SHM)
        else:
            flags = GROWS_DOWN if op.backing.name == STACK else 0
            mapping.map_anonymous(self.machine, self._space(op), vpns, op.prot, flags=flags)
        if op.populate is Populate.YES:
            errno = populate(self.machine, self._space(op), vpns)
            return Failed(errno) if errno else Done()
        return Done()

    def _mirror(self, op: Mirror) -> Outcome:
        done = (self._map(part) for part in op.parts)
        return next((outcome for outcome in done if outcome != Done()), Done())

    def _unmap(self, op: Unmap) -> Outcome:
        vpns = mapping.rounded(self.machine, op.pages, down=self.machine.has("munmap-rounds-down"))  # planted: see there
        mapping.unmap(self.machine, self._space(op), vpns)
        return Done()

    def _protect(self, op: Protect) -> Outcome:
        if not op.pages.length and self.machine.has("mprotect-refuses-length-0"):  # planted: it is taken for a mistake
            return Failed("EINVAL")
        vpns = mapping.rounded(self.machine, op.pages, down=self.machine.has("mprotect-rounds-down"))  # planted: see there
        errno = mapping.protect(self.machine, self._space(op), vpns, op.prot)
        if errno == "ENOMEM" and self.machine.has("mprotect-forgives-holes"):  # planted: what is not mapped is passed over
            errno = ""
        return Failed(errno) if errno else Done()

    def _remap(self, op: Remap) -> Outcome:
        down = self.machine.has("mremap-rounds-down")  # planted: see mapping.rounded
        old, new = (mapping.rounded(self.machine, each, down=down) for each in (op.pages, op.to))
        do = mapping.roam if isinstance(op, Roam) else mapping.remap
        errno = do(self.machine, self._space(op), old, new)
        return Failed(errno) if errno else Done()

    def _advise(self, op: Advise) -> Outcome:
        vpns = mapping.rounded(self.machine, op.pages, down=self.machine.has("madvise-rounds-down"))  # planted: see there
        errno = advise(self.machine, self._spaces(op), vpns, op.advice)
        return Failed(errno) if errno else Done()

    def _brk(self, op: Brk) -> Outcome:
        moved = mapping.move_break(self.machine, self._space(op), op.at.vpn * PAGE_SIZE + op.at.offset)
        # planted: it answers with the errno, which is no break
        refused = Failed("ERANGE" if self.machine.has("brk-answers-errno") else "ENOMEM")
        return Done() if moved else refused

    def _scratch(self, op: Scratch) -> Outcome:
        machine, space = self.machine, self._space(op)
        if not machine.may_expand(space, op.npages):
            return Failed("ENOMEM")
        chosen = [mapping.map_anywhere(machine, space, npages) for npages in (op.npages - 1 or 1, op.npages > 1) if npages]
        for vpn in (vpn for vpns in chosen for vpn in vpns):
            page = machine.frames[touch(machine, space, vpn, write=True)].data
            if any(page):
                return Loaded(next(filter(None, page)))
            page[:] = b"\x5c" * PAGE_SIZE
        for vpns in chosen:
            mapping.unmap(machine, space, vpns)
        return Done()

    def _sync(self, op: Sync) -> Outcome:
        vmas = self._space(op).vmas
        vpns = mapping.rounded(self.machine, op.pages, down=self.machine.has("msync-rounds-down"))  # planted: see there
        if self.machine.has("sync-writes-private"):  # planted: what is written back is all that was written to
            for vpn in vpns:
                self._write_back(op, vpn)
        holes = [vpn for vpn in vpns if not vmas.find(vpn)]
        last = vmas.find(vpns[-1]) if vpns else None
        if holes and last is not None and last.shared and self.machine.has("sync-forgets-hole"):
            holes = []  # planted: what comes of the file that was written last is all that is said
        return Failed("ENOMEM") if holes else Done()

    def _write_back(self, op: Sync, vpn: int) -> None:
        """Copy what is in the memory of a page of a file to the page cache."""
        vma = self._space(op).vmas.find(vpn)
        page = None if vma is None or vma.file is None else vma.file_page(vpn)
        entry = self.machine.tables.lookup(live_root(self._space(op)), vpn)
        if vma is None or vma.file is None or page is None or not entry & PRESENT or vma.file.lookup(page) is None:
            return
        self.machine.frames[vma.file.page(page)].data[:] = self.machine.frames[pfn_of(entry)].data

    def _try(self, op: Try) -> Outcome:
        if op.misuse is Misuse.UNMAP_LENGTH_0 and self.machine.has("errno-wrong"):  # planted: nothing is no error
            return Done()
        # planted: the end lies before the start, so there is nothing to do
        if op.misuse in (Misuse.PROTECT_WRAPPING, Misuse.SYNC_WRAPPING) and self.machine.has("length-wraps"):
            return Done()
        # planted: the sum of where it begins and its length is small, so there is room
        if op.misuse is Misuse.REMAP_WRAPPING and self.machine.has("remap-length-wraps"):
            mapping.unmap(self.machine, self._space(op), op.pages.vpns)
            return Done()
        if op.misuse is Misuse.EXEC_NO_PROGRAM:
            self._give_up_exec(self._space(op))
        return Failed(REFUSALS.get(op.misuse, "EINVAL"))

    def _give_up_exec(self, space: AddressSpace) -> None:
        """Find out that a file is no program, when the new address space is there already."""
        new = lifecycle.image_space(self.machine)
        if not self.machine.has("failed-exec-leaks-space"):  # planted: what was begun is nobody's to end
            lifecycle.release(self.machine, new)
        for vma in space.vmas if self.machine.has("failed-exec-drops-pages") else ():  # planted: the old ones go first
            mapping.drop_pages(self.machine, space, vma.vpns)
