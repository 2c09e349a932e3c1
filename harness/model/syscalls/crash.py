"""crash: the process dies by a signal: the one that a forbidden access raises, else SIGKILL."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.fault import note_refusal, refusal, touch
from harness.model.lifecycle import end_process
from harness.model.machine import Machine
from harness.program.ops import Access, Crash
from harness.program.outcome import Gone, Killed, Signal

_GONE = Allowed((Gone(),), "signal(7): the default action of SIGSEGV, SIGBUS and SIGKILL ends the process")


def crash(machine: Machine, op: Crash) -> Allowed:
    """Touch the page, and die: of the touch where it is forbidden, by SIGKILL right after it elsewhere.

    Source: signal(7); force_sig_fault, get_signal, do_group_exit.
    """
    process = machine.process(op.process)

    # CHECKS
    refused = refusal(machine, process, op.at, op.access)

    # EFFECT
    if refused is None:
        frame = touch(machine, process, op.at.vpn, op.access)
        if op.access is Access.STORE:  # of a zero, which those see who share the memory
            frame.write(op.at.offset, b"\0")
    else:
        note_refusal(machine, refused)
    signal = Signal.SIGKILL if refused is None else Signal(refused.signal)
    if signal is Signal.SIGBUS:
        machine.reach["crash.sigbus"] += 1
    else:
        machine.reach["crash.sigkill" if refused is None else "crash.sigsegv"] += 1
    end_process(machine, process, Killed(signal))

    # OUTCOME
    return _GONE
