"""mmap, munmap and mprotect: change the VMAs, then make entries and TLB agree."""

from __future__ import annotations

from dataclasses import replace

from harness.model_guest.entries import duplicate, live_root, readable_bits
from harness.model_guest.huge_pages import widened, without_parts
from harness.model_guest.machine import AddressSpace, Machine
from harness.model_guest.paging import COW, DIRTY, ENTRIES, PRESENT, SWAPPED, USER, WRITABLE, entry_of, pfn_of
from harness.model_guest.prefault import prefault_mapping
from harness.model_guest.swap import let_go
from harness.model_guest.vmas import NEVER_WRITABLE, Vma
from harness.program.ops import Opened, Placement
from harness.program.units import PAGE_SIZE, PageRange, Prot


def rounded(machine: Machine, pages: PageRange, *, down: bool) -> range:
    """Give the pages of a length in bytes. A fault rounds `down`: it leaves out one that is only begun behind others."""
    whole = pages.length // PAGE_SIZE
    if whole and down:
        return range(pages.vpn, pages.vpn + whole)
    if not whole and machine.has("length-0-is-a-page"):  # planted: what is too short for a page is one
        return range(pages.vpn, pages.vpn + 1)
    return pages.vpns


def is_free_for(machine: Machine, space: AddressSpace, vpns: range, placement: Placement) -> bool:
    """Tell whether a mapping may go to a range, or would have to go elsewhere."""
    if placement is Placement.FIXED:
        return True
    if placement is Placement.NOREPLACE and machine.has("noreplace-replaces"):  # planted: the flag implies MAP_FIXED
        return True
    looked_at = vpns
    if machine.has("noreplace-looks-at-start") and placement is Placement.NOREPLACE:  # planted: its first page is asked for
        looked_at = vpns[:1]
    if machine.has("hint-looks-at-start") and placement is Placement.HINT:  # planted: and of a hint
        looked_at = vpns[:1]
    if machine.has("noreplace-keeps-distance") and placement is Placement.NOREPLACE:  # planted: a neighbour clashes
        looked_at = range(vpns.start, vpns.stop + 1)
    return not space.vmas.any_in(looked_at.start, looked_at.stop)


def map_anonymous(machine: Machine, space: AddressSpace, vpns: range, prot: Prot, *, flags: int = 0) -> None:
    """Map fresh private anonymous memory in place of whatever the range held. Raises OutOfMemory."""
    map_(machine, space, Vma(vpns.start, vpns.stop, prot, flags=flags))


def map_shared(machine: Machine, space: AddressSpace, vpns: range, prot: Prot, *, is_segment: bool = False) -> None:
    """Map fresh shared anonymous memory: a file of holes that has no name. Raises OutOfMemory."""
    file = machine.files.nameless(len(vpns), is_segment=is_segment)
    map_(machine, space, Vma(vpns.start, vpns.stop, prot, 0, file, shared=True))


def map_(machine: Machine, space: AddressSpace, vma: Vma) -> None:
    """Map something in place of whatever the range held. Raises OutOfMemory."""
    if machine.has("map-keeps-old-pages"):  # planted: the VMA is replaced, and its entries are not
        space.vmas.carve(vma.start, vma.end)
    else:
        _unmap(machine, space, vma.vpns)
    space.vmas.insert(vma)
    machine.files.forget_unmapped()
    prefault_mapping(machine, space, vma)


def may_replace(machine: Machine, space: AddressSpace, vpns: range) -> bool:
    """Tell whether the limit lets the process map a range, what is there now not counted twice."""
    replaced = space.vmas.npages_in(vpns.start, vpns.stop)
    if machine.has("limit-counts-replaced"):  # planted: what is replaced is counted as if it stayed
        replaced = 0
    allowed = machine.may_expand(space, len(vpns) - replaced)
    if not allowed and machine.has("limited-map-unmaps-first"):  # planted: the old mapping goes before anybody asks
        unmap(machine, space, vpns)
    return allowed


def unmap(machine: Machine, space: AddressSpace, vpns: range) -> None:
    """Unmap a range: its VMAs go, its entries go, and each entry lets go of its frame."""
    _unmap(machine, space, vpns)
    machine.files.forget_unmapped()


def _unmap(machine: Machine, space: AddressSpace, vpns: range) -> None:
    cut = [vma.file for vma in space.vmas if vma.start < vpns.stop and vpns.start < vma.end and not _is_in(vma, vpns)]
    space.vmas.carve(vpns.start, vpns.stop)
    for file in cut:
        if file is None or file.name:
            continue
        if machine.has("split-forgets-hold"):  # planted: one of the two parts does not hold it
            file.evict(0)
        if file.is_segment and machine.has("shm-detach-of-part-ends-segment"):  # planted: whatever else is attached of it
            file.evict(0)
    drop_pages(machine, space, vpns)


def _is_in(vma: Vma, vpns: range) -> bool:
    return vma.start >= vpns.start and vma.end <= vpns.stop


def drop_pages(
    machine: Machine,
    space: AddressSpace,
    vpns: range,
    *,
    unasked: bool = False,
    keeps_tlb: bool = False,
    keeps_swap: bool = False,
) -> None:
    """Take the entries of a range away; each lets go of its frame, which `unasked` frees whoever holds it, or of its slot.

    Where a fault `keeps_tlb`, the CPU goes on using what it remembers; where one `keeps_swap`, what is in swap stays there.
    """
    dropped: list[int] = []
    is_rough = machine.has("huge-unmap-part-frees-all")  # planted: a huge page goes as a whole
    if not keeps_swap:
        drop_swapped(machine, space, vpns)
    for vpn, entry in present(machine, space, widened(machine, space, vpns) if is_rough else vpns):
        machine.tables.store(live_root(space), vpn, 0)
        dropped.append(pfn_of(entry))
    if dropped and not keeps_tlb and not machine.has("munmap-keeps-tlb"):  # planted: whoever drops pages does so
        flush(machine, vpns)
    for pfn in dropped:
        if not machine.has("rss-forgets-unmap"):  # planted: only teardown sets the counts back
            machine.count_rss(space, pfn, -1)
        _drop(machine, pfn, unasked=unasked)


def drop_swapped(machine: Machine, space: AddressSpace, vpns: range) -> None:
    """Take the entries of a range away that name slots."""
    for vpn, entry in swapped(machine, space, vpns):
        machine.tables.store(live_root(space), vpn, 0)
        if not machine.has("swap-unmap-leaks-slots"):  # planted: the entry goes, and nobody asks what it named
            let_go(machine, pfn_of(entry))


def flush(machine: Machine, vpns: range) -> None:
    """Forget the translations of a range whose entries have changed."""
    huge, machine.tables.was_split = machine.tables.was_split, None
    if machine.has("flush-first-page"):  # planted: one page is flushed, however many have changed
        machine.tlb.forget(vpns.start)
    elif huge and machine.has("huge-keeps-tlb"):  # planted: as if the CPU had one translation for all of it, still
        machine.tlb.forget(huge.start)
    else:
        machine.tlb.flush()


def _drop(machine: Machine, pfn: int, *, unasked: bool) -> None:
    if pfn == machine.zero_pfn:
        return
    machine.frames[pfn].mapcount -= 1
    if unasked:  # planted: what is advised to be free is free for all
        machine.frames.free(pfn)
        return
    if machine.has("munmap-frees-shared"):  # planted: nobody asks whether the count is zero
        machine.frames.free(pfn)
        return
    machine.frames.put(pfn)


def is_open_for(machine: Machine, opened: Opened, prot: Prot, *, shared: bool) -> bool:
    """Tell whether a descriptor that was opened like that can be mapped."""
    may_read = opened is not Opened.WRITE or machine.has("map-of-unreadable-file")  # planted: nobody asks for reading
    if Prot.W not in prot or opened is not Opened.READ:
        return may_read
    if shared:
        return machine.has("map-writes-read-only-file")  # planted: nobody asks for writing
    return not machine.has("private-map-wants-writable-file")  # planted: it is asked for private copies, too


def protect(machine: Machine, space: AddressSpace, vpns: range, prot: Prot) -> str:
    """Change the protection of a range, up to the first page that is not mapped, or cannot have it.

    Returns: the errno where there was such a page, else "".
    """
    hole, refusal = _first_hole(space, vpns), _first_refusal(machine, space, vpns, prot)
    mapped = range(vpns.start, min(hole, refusal))
    errno = "" if mapped.stop == vpns.stop else "ENOMEM" if hole < refusal else "EACCES"
    if not mapped:
        return errno
    space.vmas.protect(mapped.start, mapped.stop, prot)
    pages = mapped
    if machine.has("huge-protect-part-protects-all"):  # planted: a huge page has one protection
        pages = widened(machine, space, mapped)
    if machine.has("huge-protect-part-ignored"):  # planted: and keeps it, whatever a part of it is to have
        pages = without_parts(machine, space, mapped)
    for vpn, entry in present(machine, space, pages):
        bits = _bits(machine, entry, prot)
        if not machine.has("mprotect-loses-dirty"):  # planted: the bits are those of the protection alone
            bits |= entry & DIRTY
        pfn = pfn_of(entry)
        if entry & WRITABLE and machine.has("mprotect-moves-pages"):  # planted: the page gets another frame
            pfn = duplicate(machine, pfn)
            _drop(machine, pfn_of(entry), unasked=False)
        machine.tables.store(live_root(space), vpn, entry_of(pfn, bits))
    if not machine.has("mprotect-keeps-tlb"):  # planted: the CPU goes on using what it remembers
        flush(machine, mapped)
    return errno


def remap(machine: Machine, space: AddressSpace, old: range, new: range) -> str:
    """Move a range, or change its length in place. Returns the errno, "" where it is done. Raises OutOfMemory."""
    if space.vmas.find(old.start) is None:
        return "EFAULT"
    kept = min(len(old), len(new))
    in_place = old.start == new.start
    if not in_place:
        if old.start < new.stop and new.start < old.stop:
            return "EINVAL"
        unmap(machine, space, new)
    if not old:
        return "ENOMEM" if in_place else _duplicate(machine, space, old.start, new)
    if len(new) < len(old):
        behind = space.vmas.npages
        unmap(machine, space, range(old.start + len(new), old.stop))
        if machine.has("size-forgets-shrink"):  # planted: only munmap counts what goes
            space.miscounted += behind - space.vmas.npages
    vma = space.vmas.find(old.start)
    must_be_one = not in_place or len(new) > len(old)
    if must_be_one and (vma is None or vma.end < old.start + kept):
        return "EFAULT"
    more = len(new) - kept
    is_limited = more > 0 and not machine.has("remap-ignores-limit")  # planted: only mmap and brk ask
    if is_limited and not machine.may_expand(space, more):
        return "ENOMEM"
    if not in_place:
        _move(machine, space, range(old.start, old.start + kept), new.start)
    if len(new) > len(old):
        taken = space.vmas.any_in(new.start + kept, new.stop)
        if taken and not machine.has("remap-grows-over"):  # planted: nobody looks what is behind the mapping
            return "ENOMEM"
        if taken:
            unmap(machine, space, range(new.start + kept, new.stop))
        space.vmas.extend(new.start + kept, new.stop)
    return ""


def roam(machine: Machine, space: AddressSpace, old: range, new: range) -> str:
    """Give a range its new length where it is, or else where there is room, and then move it to `new`.

    Returns the errno, "" where it is done. Raises OutOfMemory.
    """
    place = range(old.start, old.start + len(new))
    errno = remap(machine, space, old, place)
    if errno == "ENOMEM":
        place = _choose(machine, space, len(new))
        errno = remap(machine, space, old, place)
        moved = space.vmas.find(place.start)
        if moved and not errno and old and machine.has("remap-leaves-mapping"):  # planted: the pages go, and it stays, too
            space.vmas.insert(replace(moved, start=old.start, end=old.stop, pgoff=moved.file_page(place.start)))
    return errno or remap(machine, space, place, new)


def _duplicate(machine: Machine, space: AddressSpace, vpn: int, new: range) -> str:
    """Map what is shared at page `vpn` in a second place, where nothing is. Returns the errno, "" where it is done."""
    vma = space.vmas.find(vpn)
    if vma is None:
        return "EFAULT"
    if not vma.shared and not machine.has("remap-duplicates-private"):  # planted: nobody asks what it is a copy of
        return "EINVAL"
    if not machine.may_expand(space, len(new)):
        return "ENOMEM"
    pgoff = vma.file_page(vpn)
    if machine.has("remap-duplicate-loses-offset"):  # planted: it begins where the first mapping does
        pgoff = vma.pgoff
    space.vmas.insert(replace(vma, start=new.start, end=new.stop, pgoff=pgoff))
    if machine.has("remap-duplicate-takes-old"):  # planted: it ends like a move, and the old place is unmapped
        unmap(machine, space, range(vpn, vpn + 1))
    return ""


def _move(machine: Machine, space: AddressSpace, old: range, to: int) -> None:
    """Move VMAs and entries; each entry's hold of its frame goes with it."""
    space.vmas.move(old.start, old.stop, to)
    if machine.has("remap-promises-twice"):  # planted: it is set apart for the new place, and not given back for the old
        machine.promised_to_nobody += len(old)
    for vpn, entry in _moving(machine, space, old, to):
        machine.tables.store(live_root(space), vpn - old.start + to, entry)
        if not machine.has("remap-leaves-old"):  # planted: the old entry is not cleared
            machine.tables.store(live_root(space), vpn, 0)
        if machine.has("remap-loses-dirty"):  # planted: the entry is made anew, and nobody asks whether it was stored to
            machine.tables.store(live_root(space), vpn - old.start + to, entry & ~DIRTY)
        if machine.has("remap-resets-count") and not entry & SWAPPED and pfn_of(entry) != machine.zero_pfn:
            # planted: the new place is taken for the first one that the frame has
            frame = machine.frames[pfn_of(entry)]
            frame.refcount = frame.mapcount = 1
    if not machine.has("remap-keeps-tlb"):  # planted: the CPU goes on using the old place
        machine.tlb.flush()


def _moving(machine: Machine, space: AddressSpace, old: range, to: int) -> list[tuple[int, int]]:
    """List (virtual page, entry) of what moves to page `to`, as the entry is to be there."""
    pages = present(machine, space, old)
    if not machine.has("swap-remap-forgets"):  # planted: what is not present does not move
        pages += swapped(machine, space, old)
    if not machine.has("huge-remap-loses-offset"):
        return pages
    root, moving = live_root(space), []
    for vpn, entry in pages:  # planted: in a huge page the frame is the one that the new place asks for
        shift = (vpn - old.start + to) % ENTRIES - vpn % ENTRIES
        moving.append((vpn, entry + shift * PAGE_SIZE if machine.tables.huge_at(root, vpn) else entry))
    return moving


def _bits(machine: Machine, entry: int, prot: Prot) -> int:
    """Give the bits that a resident page has under a new protection."""
    if not prot:
        return PRESENT
    if prot & Prot.W:
        right = entry & WRITABLE or COW  # a right that was there stays; else the next store has to ask
        if machine.has("mprotect-grants-shared-write"):  # planted: the right is given on the spot
            right = WRITABLE
        return PRESENT | USER | right
    bits = readable_bits(prot)
    if machine.has("mprotect-keeps-cow-right"):  # planted: the pending right stays
        bits |= entry & COW
    return bits


def _first_refusal(machine: Machine, space: AddressSpace, vpns: range, prot: Prot) -> int:
    """Find the first page that must not be given the right to write; the end of the range where there is none."""
    if Prot.W not in prot or machine.has("mprotect-writes-read-only-file"):  # planted: only mmap asks how a file is open
        return vpns.stop
    refused = (vma for vma in space.vmas if vma.flags & NEVER_WRITABLE and vma.start < vpns.stop and vpns.start < vma.end)
    return max(vpns.start, next((vma.start for vma in refused), vpns.stop))


def _first_hole(space: AddressSpace, vpns: range) -> int:
    vpn = vpns.start
    while vpn < vpns.stop:
        vma = space.vmas.find(vpn)
        if vma is None:
            return vpn
        vpn = min(vma.end, vpns.stop)
    return vpn


def present(machine: Machine, space: AddressSpace, vpns: range) -> list[tuple[int, int]]:
    """List (virtual page, entry) of the pages of a range that are present."""
    return _entries_with(machine, space, vpns, PRESENT)


def swapped(machine: Machine, space: AddressSpace, vpns: range) -> list[tuple[int, int]]:
    """List (virtual page, entry) of the pages of a range that are in swap."""
    return _entries_with(machine, space, vpns, SWAPPED)


def _entries_with(machine: Machine, space: AddressSpace, vpns: range, bit: int) -> list[tuple[int, int]]:
    entries = machine.tables.lookup_range(live_root(space), vpns)
    return [(vpn, entry) for vpn, entry in zip(vpns, entries, strict=True) if entry & bit]


# ------------------------------------------------------------------- the program break, and what the kernel chooses


def move_break(machine: Machine, space: AddressSpace, to: int) -> bool:
    """Move the program break to byte address `to`. Returns: False where it is refused. Raises OutOfMemory."""
    if to < space.brk_start and not machine.has("brk-goes-below-start"):  # planted: the heap has an end alone
        return False
    old, new = -(-space.brk // PAGE_SIZE), -(-to // PAGE_SIZE)
    if new > old:
        if space.vmas.any_in(old, new) and not machine.has("brk-runs-over"):  # planted: what is in the way is replaced
            return False
        if not machine.may_expand(space, new - old):
            return False
        below = space.vmas.find(old - 1)
        advice = 0
        if machine.has("brk-inherits-advice") and below is not None:  # planted: what is below grows, as it is
            advice = below.flags
        map_anonymous(machine, space, range(old, new), _prot_of_heap(machine, space, old), flags=advice)
    elif new < old and not machine.has("brk-shrink-keeps"):  # planted: only the number changes
        more = machine.has("brk-shrink-takes-more")  # planted: the page behind the break is taken for its last one
        unmap(machine, space, range(new, old + more))
    space.brk = to
    return True


def _prot_of_heap(machine: Machine, space: AddressSpace, vpn: int) -> Prot:
    below = space.vmas.find(vpn - 1) if machine.has("brk-inherits-protection") else None  # planted: what is below grows
    return below.prot if below is not None else Prot.R | Prot.W


def map_anywhere(machine: Machine, space: AddressSpace, npages: int) -> range:
    """Map fresh memory where nothing is. Raises OutOfMemory."""
    vpns = _choose(machine, space, npages)
    map_anonymous(machine, space, vpns, Prot.R | Prot.W)
    return vpns


def _choose(machine: Machine, space: AddressSpace, npages: int) -> range:
    """Find room for `npages` pages where nothing is."""
    if machine.has("mmap-chooses-taken"):  # planted: the search begins in the VMA and not behind it
        lowest = next(iter(space.vmas), None)
        if lowest is not None:
            return range(lowest.start, lowest.start + npages)
    start = _CHOSEN
    while space.vmas.any_in(start, start + npages):
        start += npages
    if start != _CHOSEN and machine.has("mmap-chooses-overlapping"):  # planted: the end of what is there is taken for free
        start -= 1
    return range(start, start + npages)


_CHOSEN = 0x7000_0000_0000 // PAGE_SIZE
"""Where the search for room begins: far from every window."""
