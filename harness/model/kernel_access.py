"""What happens when the kernel stores into a process's memory on its behalf, or goes past its protection.

::

    kernel_store   page by page, as copy_to_user does: what the process may not store to ends it
    kernel_put     one word in one store, as put_user does: all of it or nothing
    force          past the protection, as /proc/PID/mem does: private memory alone
    peek           the same way round: it reads all that there is

Each takes the same faults as a store by the process itself (`fault.touch`), and so obeys all that is true of those:
copy-on-write is broken first, and nobody else sees the bytes. A refused page is an error code, not a signal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from harness.model.allowed import Allowed
from harness.model.fault import readings, refusal, take, touch
from harness.model.frame import Frame
from harness.model.machine import Machine
from harness.model.process import Process
from harness.model.semantics import Semantics
from harness.model.user_memory import page_by_page
from harness.program.ops import Access
from harness.program.outcome import Failed
from harness.program.units import Address


def kernel_store(machine: Machine, process: Process, at: Address, data: bytes) -> int:
    """Store `data` from `at` on, up to the first page that refuses; give the number of bytes stored.

    Source: copy_to_user, _copy_to_iter; raw_copy_to_user returns the number of bytes not copied.
    """
    parts = list(_by_page(at, data))
    if not machine.semantics.copy_stops_at_refused_page and _first_refused(machine, process, parts) < len(parts):
        parts = []
    allowed = parts[: _first_refused(machine, process, parts)]
    for place, part in allowed:
        before = _store(machine, process, place, part)
        if (place, part) == allowed[-1] and len(allowed) < len(parts):
            _leave_out(machine, process, place, part, before)
    done = sum(len(part) for _, part in allowed)
    _note(machine, done, len(data))
    return done


def kernel_put(machine: Machine, process: Process, at: Address, word: bytes) -> bool:
    """Store one word; tell whether that was possible. Where its second page refuses, nothing is stored.

    The first page takes its fault all the same: the processor looks at the lower page first.
    Source: put_user, a single mov.
    """
    parts = list(_by_page(at, word))
    allowed = _first_refused(machine, process, parts)
    for place, part in parts[:allowed]:
        if allowed == len(parts):
            _store(machine, process, place, part)
        else:
            touch(machine, process, place.vpn, Access.STORE)
    done = len(word) if allowed == len(parts) else 0
    _note(machine, done, len(word))
    return bool(done)


def force(machine: Machine, process: Process, at: Address, data: bytes) -> None:
    """Store bytes of one page of mapped memory, whatever its protection is.

    The entry stays as the protection says: a page that may not be written is not writable afterwards either.

    Source: mem_rw, access_remote_vm with FOLL_FORCE; check_vma_flags and is_cow_mapping; maybe_mkwrite.
    """
    _store(machine, process, at, data, reach=take)
    machine.reach["force"] += 1


def peek(machine: Machine, process: Process, at: Address, length: int) -> None:
    """Read bytes of one page of mapped memory, whatever its protection is, to the process's output.

    An absent page is brought in as by a load.

    Source: mem_rw, access_remote_vm with FOLL_FORCE; gup_can_follow_protnone.
    """
    take(machine, process, at.vpn, Access.LOAD)
    process.say(readings(machine, process, at, length))
    machine.reach["peek"] += 1


def _by_page(at: Address, data: bytes) -> Iterator[tuple[Address, bytes]]:
    """Cut `data`, which lies from `at` on, at the ends of pages."""
    for place, length in page_by_page(at, len(data)):
        yield place, data[:length]
        data = data[length:]


def _first_refused(machine: Machine, process: Process, parts: list[tuple[Address, bytes]]) -> int:
    """Give the number of parts before the first that lies where the process may not store."""
    for number, (place, _) in enumerate(parts):
        if refusal(machine, process, place, Access.STORE) is not None:
            return number
    return len(parts)


_EIO = Allowed((Failed("EIO"),), "mem_rw: EIO where access_remote_vm reaches nothing")
_EIO_OR_EFAULT = Allowed((Failed("EIO"), Failed("EFAULT")), 'ptrace(2), EFAULT: "EIO or EFAULT more or less arbitrarily"')


def out_of_reach(semantics: Semantics) -> Allowed:
    """Say how `force` and `peek` fail where there is nothing that they reach."""
    return _EIO_OR_EFAULT if semantics.errors_may_differ else _EIO


def _store(
    machine: Machine, process: Process, at: Address, data: bytes, *, reach: Callable[..., Frame] = touch
) -> tuple[bytes, ...]:
    """Store bytes of one page, reached as by the process itself, or taken; give all that it may have held before."""
    frame = reach(machine, process, at.vpn, Access.STORE)
    before = frame.contents
    frame.write(at.offset, data)
    machine.stored.append((at.vpn, at.offset, data))
    return before


def _leave_out(machine: Machine, process: Process, at: Address, data: bytes, before: tuple[bytes, ...]) -> None:
    """Note that of `data`, stored right before a page that refuses, the last bytes may not be: see `copy_unit`."""
    pte = process.memory.page_table.lookup(at.vpn)
    assert pte is not None, "it was stored to"
    for missing in range(1, min(machine.semantics.copy_unit, len(data) + 1)):
        kept = len(data) - missing
        for whole in before:
            pte.frame.add_content(whole[: at.offset] + data[:kept] + whole[at.offset + kept :])


def _note(machine: Machine, done: int, wanted: int) -> None:
    """Count the store for coverage."""
    if done == wanted:
        machine.reach["kernel_store"] += 1
    else:
        machine.reach["kernel_store.partial" if done else "kernel_store.efault"] += 1
