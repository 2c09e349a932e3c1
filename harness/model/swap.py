"""Swap: a page that is nowhere in memory, and still somebody's.

::

      present ──────── MADV_PAGEOUT ─────────▶ perhaps in swap ───────── next touch ─────────▶ present
      entry: frame A                           entry: a slot, not present                      entry: frame B, or A

An entry of a page in swap is not present, and holds the page all the same: in the place of a frame it names a *slot*. What
is true of frames is true of slots. Fork copies the entry, and then two hold the slot; whoever touches the page first brings
it back, to a frame that all holders of the slot share from then on (the *swap cache*); a store by one of several holders
gets a copy; and the last holder that goes frees the slot.

So a page in swap keeps its `Frame` here. That stands for the bytes and for who holds them, in memory or not
(`counts.held`); what the guest calls the frame when it is back is open (`Frame.may_move`). Whether a page went at all is
the kernel's choice: madvise(2) calls it a hint. An entry that may be in swap is `optional` and `swapped`, until somebody
touches the page, or looks at it and finds it present.

Source: shrink_folio_list, try_to_unmap_one (the swap entry takes the place of the present one); copy_nonpresent_pte,
swap_duplicate; do_swap_page, swap_cache_get_folio; zap_pte_range, free_swap_and_cache.
"""

from __future__ import annotations

from harness.model.counts import fixed, pins
from harness.model.frame import OWN
from harness.model.machine import Machine
from harness.model.page_table import PTE
from harness.program.units import Prot


def swap_out(machine: Machine, pte: PTE) -> None:
    """Note that a page of its owner's own may be in swap from now on.

    One that a buffer or a pipe holds keeps its frame: that stays in the swap cache, whatever its entry says.
    """
    assert pte.frame.kind in OWN, "pages of files go another way"
    pte.let_go()
    pte.swapped = True
    if not pins(machine, pte.frame) and not fixed(machine, pte.frame):
        pte.frame.may_move = True


def swap_in(pte: PTE, *, is_sole: bool, prot: Prot) -> None:
    """Note that a page is back, brought by a load. Where nobody else has it, its frame may be a new one, and exclusive,
    though the page was shared before; and its entry may be writable at once.
    """
    pte.swapped = False
    if is_sole:
        pte.write_pending |= bool(prot & Prot.W)
        pte.frame.doubtful_owner |= not pte.frame.exclusive
        pte.frame.exclusive = True
