"""How an address space ends (exec, exit, death by signal), and what happens to the family."""

from __future__ import annotations

from harness.model.counts import free_unheld
from harness.model.machine import Machine
from harness.model.process import Process, State
from harness.program.outcome import Exited, Killed


def drop_space(machine: Machine, process: Process) -> None:
    """Take the address space of `process` away. Where nobody else works in it, it ends: each reference
    that it held, each table, once.

    Source: exec_mmap, exit_mm; mmput, exit_mmap.
    """
    space, process.space = process.memory, None
    if all(each.space is not space for each in machine.processes.values()):
        free_unheld(machine, space.tear_down())


def end_process(machine: Machine, process: Process, status: Exited | Killed) -> None:
    """Let `process` die: its memory goes, its status waits for the parent, its children go to init.

    Source: do_exit: exit_mm, exit_notify (forget_original_parent).
    """
    is_alone = all(each.space is not process.space for each in machine.processes.values() if each is not process)
    process.status = status
    process.state = State.ZOMBIE if process.parent is not None else State.REAPED
    if not is_alone or not machine.semantics.zombies_keep_memory:
        drop_space(machine, process)
    for child in machine.processes.values():
        if child.parent == process.number:
            child.parent = None
            if child.state is State.ZOMBIE:
                child.state = State.REAPED  # init takes its time: what it has kept stays to the end of the program
    machine.reach["exit"] += 1


def forget_zombie(machine: Machine, process: Process) -> None:
    """Let a process that was waited for be gone, and its memory, where it has kept that so far (`zombies_keep_memory`)."""
    process.state = State.REAPED
    if process.space is not None:
        drop_space(machine, process)


def ended_child(machine: Machine, parent: int, child: int) -> tuple[Process, Exited | Killed] | None:
    """Give the ended child `child` of process `parent`, not waited for yet, and how it ended; None where there is none.

    A child is waited for once, whatever came of it: also where its status could not be stored (see `reap`).

    Raises ValueError where the child lives still: the call would block, and no program says so.

    Source: wait(2), ECHILD; do_wait, wait_consider_task.
    """
    machine.process(parent)
    found = machine.processes.get(child)
    if found is None or found.parent != parent or found.state is State.REAPED:
        return None
    if found.status is None:
        raise ValueError(f"p{child} lives still")
    return found, found.status
