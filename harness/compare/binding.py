"""Frames up to renaming: which frame of the guest plays the part of which frame of the model.

A kernel hands out frames as it likes, so their numbers mean nothing; what counts is that the correspondence is one to
one at every moment and that it stays while a frame is in use. When the model's frame dies, its partner is free to
play another part.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from harness.model.frame import Frame as ModelFrame
from harness.program.trace import Frame


@dataclass(slots=True)
class Binding:
    """The one-to-one correspondence between the model's frames and the guest's."""

    guest_of: dict[ModelFrame, Frame] = field(default_factory=dict)
    model_of: dict[Frame, ModelFrame] = field(default_factory=dict)
    file_bases: dict[str, int] = field(default_factory=dict)
    """For each image window, the page of the guest's file at which it begins (see `vmas`)."""
    of_files: set[Frame] = field(default_factory=set)
    """The guest's frames that were pages of the program's own files or shared memory: free when all is over."""
    of_image: set[Frame] = field(default_factory=set)
    """The guest's frames that were pages of the image: the page cache keeps them when all is over."""

    def bind(self, model: ModelFrame, guest: Frame) -> None:
        """Let `guest` play the part of `model`. Both must be free."""
        self.guest_of[model] = guest
        self.model_of[guest] = model

    def release(self, model: ModelFrame) -> None:
        """Forget the partner of `model`, if it has one."""
        guest = self.guest_of.pop(model, None)
        if guest is not None:
            del self.model_of[guest]

    def keep_only(self, living: Collection[ModelFrame]) -> None:
        """Forget the partners of all frames that no longer live."""
        for model in [each for each in self.guest_of if each not in living]:
            self.release(model)
