"""receive: read(2) from a pipe or a socket, which stores into memory."""

from __future__ import annotations

from harness.model.allowed import Allowed
from harness.model.kernel_access import kernel_store
from harness.model.machine import Machine
from harness.program.ops import Receive
from harness.program.outcome import Failed, Received

_EFAULT = Allowed((Failed("EFAULT"),), "read(2), EFAULT: buf is outside the accessible address space")


def receive(machine: Machine, op: Receive) -> Allowed:
    """Store the bytes. The call fails where a page refuses, though those before it have been stored to.

    All bytes are in one buffer of the pipe, or one of the socket, and a buffer that cannot be copied whole counts as
    not read: so there is no short count.

    Source: read(2); pipe_read (copy_page_to_iter); unix_stream_read_generic, __skb_datagram_iter.
    """
    process = machine.process(op.process)

    # CHECKS
    # none of its own: the copy meets what may not be stored to.

    # EFFECT
    done = kernel_store(machine, process, op.at, bytes((op.value,)) * op.length)

    # OUTCOME
    if done < op.length:
        return _EFAULT
    return Allowed((Received(op.length),), "read(2): the number of bytes read")
