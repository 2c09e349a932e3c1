"""What a process does with its memory itself."""

from __future__ import annotations

from harness.model_guest.pagefault import translate
from harness.model_guest.process_table import ProcessTable, faulted
from harness.model_guest.trouble import Segfault
from harness.model_guest.uaccess import readable
from harness.program.ops import (
    Fill,
    Load,
    Print,
    Store,
)
from harness.program.outcome import (
    Done,
    Failed,
    Loaded,
    Outcome,
    Printed,
)
from harness.program.units import PAGE_SIZE


class Accesses(ProcessTable):
    """Loads, stores, and prints of what was loaded."""

    def _load(self, op: Load) -> Outcome:
        try:
            return Loaded(self._page(op, op.at, write=False)[op.at.offset])
        except Segfault as fault:
            return faulted(fault, op.at)

    def _store(self, op: Store) -> Outcome:
        space, is_lost = self._space(op), False
        if self.machine.has("store-lost-in-fault"):  # planted: the store is not done again after the first fault
            is_lost = translate(self.machine, space, op.at.vpn) == self.machine.zero_pfn
        try:
            page = self._page(op, op.at, write=True)
        except Segfault as fault:
            return faulted(fault, op.at)
        if not is_lost:
            page[op.at.offset] = op.value
        return Done()

    def _fill(self, op: Fill) -> Outcome:
        try:
            self._page(op, op.at, write=True)[:] = bytes([op.value]) * PAGE_SIZE
        except Segfault as fault:
            return faulted(fault, op.at)
        return Done()

    def _print(self, op: Print) -> Outcome:
        try:
            page = self.machine.frames[readable(self.machine, self._space(op), op.at.vpn)].data
        except Segfault:
            return Failed("EFAULT")
        if self.machine.has("print-reads-the-file"):  # planted: a file page's bytes come from the cache
            vma = self._space(op).vmas.find(op.at.vpn)
            file_page = vma.file_page(op.at.vpn) if vma else None
            cached = vma.file.lookup(file_page) if vma and vma.file and file_page is not None else None
            page = page if cached is None else self.machine.frames[cached].data
        self.processes[op.process].output += page[op.at.offset : op.at.offset + op.length]
        return Printed(op.length)
