"""splice: splice(2) of one byte of a file into the program's pipe, by which the pipe holds the page of the file."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.frame import ZEROES, Frame
from harness.model.machine import Machine, Pin
from harness.model.semantics import Choice
from harness.model.syscalls.pin import PIPE_FULL, is_full
from harness.program.ops import Splice
from harness.program.outcome import Received
from harness.program.units import PAGE_SIZE

_END = Allowed((Received(0),), "splice(2): a return value of 0 means end of input")
_DONE = Allowed((Received(1),), "splice(2): the number of bytes spliced to or from the pipe")


def splice(machine: Machine, op: Splice) -> Allowed:
    """Put the page cache's own frame into the pipe: until the byte is read, the pipe is one more holder of it.

    "Actual copies are generally avoided": what is stored to the file meanwhile shows in the pipe, unless the kernel did
    copy. A hole has no frame: it goes in as zeroes, or gets a frame for that. What is written into the pipe afterwards
    comes behind it in the pipe, and never into the frame (CVE-2022-0847, "Dirty Pipe").

    Source: splice(2), NOTES; splice_file_to_pipe, which asks for room first; copy_page_to_iter_pipe.
    """
    machine.process(op.process)
    file = machine.cache.file(op.file)

    # CHECKS
    if is_full(machine):
        return PIPE_FULL
    if op.offset >= file.size:
        return _END

    # EFFECT
    index, offset = divmod(op.offset, PAGE_SIZE)
    cached = machine.cache.frames.get((file.name, index))
    if cached is None and machine.semantics.hole_is_spliced_as_zeroes is Choice.EITHER:
        machine.end_of_knowledge("whether a hole of a file gets a page when it is spliced is not said")
    may_appear = machine.semantics.file_pages_may_appear or machine.semantics.prefault_budget > 0
    if cached is not None and may_appear and _may_be_hole(machine, cached):
        machine.end_of_knowledge("a page of zeroes is spliced that the kernel may have brought in before a fork, or not")
    if cached is None and machine.semantics.hole_is_spliced_as_zeroes is Choice.NEVER:
        cached = machine.cache.frame(file.name, index)
    frame = cached or machine.zero
    copied = (frame.contents,) if machine.semantics.splice_may_copy and cached else ()
    machine.pins.append(Pin(frame, offset, before=copied))
    machine.reach["splice"] += 1

    # OUTCOME
    return _DONE


def _may_be_hole(machine: Machine, frame: Frame) -> bool:
    """Tell whether the file may have a hole where a page of zeroes is taken to be, since a fork might have copied it."""
    entries = [pte for _, space in machine.spaces() for pte in space.page_table.ptes() if pte.frame is frame]
    return frame.contents == (ZEROES,) and all(pte.prefaulted for pte in entries)
