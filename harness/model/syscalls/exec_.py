"""exec: execve(2) of an image; all memory is new, the process is the old one."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.lifecycle import drop_space
from harness.model.load_image import image_space
from harness.model.machine import Machine
from harness.program.image import IMAGES, OWN
from harness.program.ops import Exec
from harness.program.outcome import Done

_DONE = Allowed((Done(),), "execve(2): on success it does not return; the new image says that it runs")


def exec_(machine: Machine, op: Exec) -> Allowed:
    """Drop the old address space, as exit does, and map the image as in the file.

    Name, parent, children and output stay. A limit is lifted before, for what an image takes beside its windows is the
    kernel's business.

    Source: execve(2); begin_new_exec, exec_mmap, load_elf_binary.
    """
    process = machine.process(op.process)

    # CHECKS
    # none: the images are there and can be executed.

    # EFFECT
    drop_space(machine, process)
    late = machine.semantics.tail_may_come_late
    process.space = image_space(machine.pool, IMAGES[op.image], tail_may_come_late=late)
    process.limit = None
    machine.reach["exec" if op.image == OWN else f"exec.{op.image}"] += 1

    # OUTCOME
    return _DONE
