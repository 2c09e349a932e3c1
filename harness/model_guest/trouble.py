"""What can go wrong inside the toy kernel. None of these ever leaves `ModelGuest.execute`.

::

    Trouble
    ├── Panic           the kernel met what cannot be; the machine is dead until it is restored
    ├── OutOfMemory     no frame is left
    ├── Stuck           an access faults again and again
    └── Segfault        an access is forbidden
"""

from __future__ import annotations

from harness.program.outcome import Code


class Trouble(Exception):
    """The root of the toy kernel's exceptions."""


class Panic(Trouble):
    """The kernel met what cannot be; the message is what it would print."""


class OutOfMemory(Trouble):
    """No frame is left."""


class Stuck(Trouble):
    """An access took more faults than any access can need."""


class Segfault(Trouble):
    """A forbidden access. `code` is the si_code that goes with the signal."""

    def __init__(self, code: Code) -> None:
        self.code = code
        super().__init__(code.name)
