"""handle: a signal for which the kernel stores on the process's own stack, wherever that is."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.fault import refusal, touch
from harness.model.frame import ZEROES
from harness.model.lifecycle import end_process
from harness.model.machine import Machine
from harness.program.ops import Access, Handle
from harness.program.outcome import Gone, Killed, Signal
from harness.program.units import address_of

_GONE = Allowed((Gone(),), "signal(7): the default action of SIGSEGV and SIGKILL ends the process")


def handle(machine: Machine, op: Handle) -> Allowed:
    """Store what a handler is to find, below the end of the page, and let the handler fill that with zeroes; then die.

    The kernel stores as copy_to_user does: it breaks copy-on-write, and a stack grows by it. Where it cannot, there is no
    handler to go to, and the process dies of SIGSEGV, though it was another page that it touched.

    Source: sigaltstack(2) and signal(7); setup_rt_frame, signal_setup_done, force_sigsegv.
    """
    process = machine.process(op.process)

    # CHECKS
    pages = [address_of(op.at.vpn - below) for below in range(machine.semantics.signal_frame_pages)]
    allowed = [each for each in pages if each is not None and refusal(machine, process, each, Access.STORE) is None]
    is_stored = len(allowed) == len(pages)

    # EFFECT
    if allowed and not is_stored:
        machine.end_of_knowledge("a signal's frame lies in a page where it may be stored, and in one where it may not")
    for place in allowed if is_stored else ():
        touch(machine, process, place.vpn, Access.STORE).write(0, ZEROES)
        machine.stored.append((place.vpn, 0, ZEROES))
    machine.reach["handle.stored" if is_stored else "handle.refused"] += 1
    end_process(machine, process, Killed(Signal.SIGKILL if is_stored else Signal.SIGSEGV))

    # OUTCOME
    return _GONE
