"""What a kernel may choose, as data; everything else in the model is the same for all kernels.

A guest names its preset in its definition. A field says which of the allowed behaviours the kernel
shows: always this, never this, or *either*, in which case the model keeps the question open until an
observation answers it (`adopt`).

*Either* is for what a kernel may do now so and now otherwise. What a kernel always does alike, while nobody knows how (an
image of which nothing is known), stands in `unknown` with all the values that are right somewhere: a run conforms if
*one* choice of them explains all of it (`harness.compare.unknown`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from harness.program.ops import ANSWERS, Query


class Choice(enum.Enum):
    """Whether a kernel does something that it may do."""

    ALWAYS = "always"
    NEVER = "never"
    EITHER = "either"


class SoleOwner(enum.Enum):
    """What a write fault does to a frame that nobody else holds."""

    REUSE = "the frame is kept and made writable"
    COPY = "the frame is copied all the same"
    EITHER = "either; only an observation tells"


STACK_LIMIT = 8 * 256
"""The pages that a stack can have. Source: _STK_LIM, which RLIMIT_STACK is for PID 1 and its children."""


STACKS_PER_TABLE = 64
"""A kernel stack takes no more than 32 KiB of addresses, guard pages included, and a table maps 2 MiB."""


@dataclass(frozen=True, slots=True)
class Semantics:
    """The choices of one family of kernels."""

    name: str

    uname: bytes = ANSWERS[Query.UNAME]
    """What uname(2) answers: no choice, but a fact that a guest is asked for once."""

    maps_tell_files: bool = True
    """/proc/PID/maps says which page of which file is mapped where: no choice either (proc_pid_maps(5): offset, inode and
    path are the file's), but young kernels leave them out, and what is mapped is right all the same.
    """

    maps_tell_bss: bool = True
    """/proc/PID/maps says that the zeroed memory of an image is no file's: a fact, too. elf(5) says only that it is zeroed;
    there are kernels that show it as more pages of the image. Linux: set_brk, vm_brk_flags.
    """

    unknown: tuple[tuple[str, tuple[object, ...]], ...] = ()
    """The fields whose value is one of several, and not known; each with the other values that it may have."""

    zero_page_on_read: Choice = Choice.ALWAYS
    """A load of an untouched anonymous page maps the one zero page, and not a zeroed frame of its own.

    Source: do_anonymous_page, its branch before anon_vma_prepare (Linux on x86-64).
    """

    sole_owner_write: SoleOwner = SoleOwner.REUSE
    """Source: do_wp_page. Linux 5.19 and later: PageAnonExclusive, else a refcount of one after
    lru_add_drain. Linux 5.10: page_count(page) != 1 copies, and a per-CPU LRU batch may hold one more.
    """

    tail_may_come_late: bool = False
    """The last page of a segment's file, behind which zeroes follow, may come with its first touch and not with exec.

    Source: padzero, which stores to it at exec. elf(5) says only what it reads.
    """

    taking_grows_stack: bool = False
    """A stack grows to a page that the kernel takes for itself, for vmsplice or a fixed buffer.

    Source: __get_user_pages: find_extend_vma before Linux 6.5 and 6.1.37, gup_vma_lookup since.
    """

    stack_guard_gap: int = 256
    """The pages that are kept free below a stack: it does not grow into them, nor does anything else grow or settle there.

    Source: stack_guard_gap in mm/mmap.c, 256 unless booted with another; check_stack_guard_page before 4.12: one page.
    mmap(2) speaks of a guard page and leaves its size open, and a kernel may have none.
    """

    pinned_owner_write: SoleOwner = SoleOwner.REUSE
    """What a write fault does to a frame that only its owner maps, and that only its owner has pinned.

    Source: do_wp_page. Linux 5.19 and later reuse whatever is PageAnonExclusive, and the refcount is not looked at;
    before that any reference more makes it copy.
    """

    fixed_buffer_references: int = 1024
    """How many references a fixed buffer adds to its frame, so that such a hold can be told from others.

    Source: GUP_PIN_COUNTING_BIAS, try_grab_page with FOLL_PIN; page_maybe_dma_pinned.
    """

    copy_stops_at_refused_page: bool = True
    """A copy to user memory that meets a page where it may not store has stored what lies before that page.

    Source: copy_user_generic_string and its fixup on x86-64, which ends with single bytes up to the fault; read(2)
    leaves it open what a buffer holds after EFAULT. Where False, the whole range is looked at first, and one page that
    refuses makes read(2) and write(2) fail: "buf is outside your accessible address space".
    """

    copy_unit: int = 1
    """A copy to user memory moves up to so many bytes at a time, and where they reach into a page where it may not store it
    has stored none of them. Source: arch/arm64/lib/copy_template.S, whose stores of 8 bytes fault as a whole. What is right
    with 1 is right with 8, so where it is not known it is 8, and no field of `unknown`.
    """

    signal_frame_pages: int = 1
    """How many pages, downwards, what a signal's handler finds takes on a stack that stands at the end of a page.

    Source: struct rt_sigframe. On x86-64 it takes a page at most, also with AVX-512 (MINSIGSTKSZ is less than that still);
    arm64's has 4096 bytes for further records, and so takes a little more.
    """

    write_wants_whole_part: bool = False
    """write(2) takes nothing for a page of the file, where not all the memory that goes there can be read.

    Source: generic_perform_write; iov_iter_fault_in_readable, which failed for any page that it could not read before
    Linux 5.16, when fault_in_iov_iter_readable (a6294593e8a1) took its place, of which only a whole failure counts.
    """

    failed_write_extends: bool = False
    """write(2) makes the file as long as the place where it is to begin, and then looks whether it has anything to write.

    So a write behind the end that fails with EFAULT leaves a longer file, which write(2) gives no leave to do. No preset
    has it: it is here for kernels that are known to be wrong so, as Linux is since 6.15.
    Source: generic_perform_write since 665575cff098 (Linux 6.15), which copies first and faults the memory in only after
    a copy of no bytes; shmem_write_end, which with `copied` of 0 sets the size to `pos`.
    """

    grown_stack_stays_promised: bool = False
    """What a stack takes in while nobody may store to it is promised, and not given back with it: each page of that stays
    in the kernel's sum of promises for ever.

    Source: acct_stack_growth asks security_vm_enough_memory_mm for any stack; what is unmapped is given back where
    VM_ACCOUNT is set, which mmap and mprotect do for private memory that may be written. Seen from Linux 5.10 to 7.2.
    """

    moved_shrink_stays_promised: bool = False
    """mremap that moves a mapping and makes it shorter keeps the promise of the pages that it cuts off.

    As `failed_write_extends` it is for kernels that are known to be wrong so, and no preset has it. Source: seen on Linux
    7.2 (mremap_to, which shrinks first and then moves), not on 6.12.
    """

    refused_map_cuts: bool = False
    """mmap with MAP_FIXED that RLIMIT_AS refuses leaves what it was to replace cut where its range begins and ends. The
    pieces could be one mapping, and mremap of both may be an EFAULT.

    Source: __mmap_region since Linux 6.12, which splits (vms_gather_munmap_vmas) before may_expand_vm, and puts the pieces
    back as they are (vms_abort_munmap_vmas). Found by `matrix` on 6.12, four steps.
    """

    fork_copies_clean_ptes: Choice = Choice.EITHER
    """Fork copies entries that a fault would fill again: of the zero page, of unmodified file pages.

    Source: vma_needs_copy (before 5.19 the head of copy_page_range): a VMA without anon_vma is skipped,
    and whether a VMA has one depends on its other pages, and on VMAs that it was split or merged from.
    """

    protect_grants_write: Choice = Choice.EITHER
    """When mprotect gives the write permission back, the entry of a sole holder is writable at once;
    where it is not, the next store takes a fault.

    Source: can_change_pte_writable, in Linux 6.0 and later, for PageAnonExclusive pages only; before
    that change_pte_range left private entries read-only. `EITHER` for 6.1 because a frame that was
    shared once is not exclusive until it is written, and because a stale TLB entry may cost a fault.
    """

    protect_changes_before_hole: bool = True
    """mprotect of a range with a hole, or with memory that may not be written, changes what lies before, and then fails.

    Source: do_mprotect_pkey, whose loop goes from VMA to VMA and stops where `vma->vm_start != nstart`;
    mprotect(2) leaves it open.
    """

    remap_unmaps_before_it_looks: bool = True
    """A move by mremap that fails, because the old range is not one mapping, has unmapped the new range before.

    Source: mremap_to calls do_munmap before vma_to_resize; mremap(2) says nothing of failures. Since Linux 6.17
    check_prep_vma looks at the old range before mremap_to.
    """

    remap_asks_for_mapping_first: bool = True
    """mremap whose old range begins with a hole is refused before anything else is looked at or done; where it is not,
    it shrinks that range by nothing, and unmaps the new range of a move before it is refused.

    Source: vma_lookup at the head of the system call, since Linux 5.16 (550a7d60bd5e); before that, vma_to_resize alone.
    """

    remap_asks_for_overlap_first: bool = False
    """A move by mremap of a range that begins with a hole, over itself, is refused for the overlap, not for the hole.

    Source: check_mremap_params, which do_mremap calls before vma_lookup since Linux 6.17; before Linux 5.16 there was no
    vma_lookup before mremap_to. mremap(2) gives the errors no order.
    """

    remap_moves_many: bool = False
    """A move by mremap that does not change the length takes all mappings of the range, and keeps the holes between
    them; what lies at the new place of a hole stays.

    Source: remap_move, since Linux 6.17 (d23cb648e365); mremap(2), Linux 6.17.
    """

    populate_skips_holes: bool = True
    """MADV_POPULATE_READ and MADV_POPULATE_WRITE go on behind a hole, and tell of it at last; else they stop at it.

    Source: madvise_populate, which madvise_walk_vmas called for each VMA; since Linux 6.10 it has the whole range.
    """

    populate_may_do_nothing: bool = False
    """mmap with MAP_POPULATE may do no more than for any other mapping; else it brings the pages in, as far as it can.

    Source: vm_mmap_pgoff, mm_populate. mmap(2), BUGS: it "will not guarantee" that a later access takes no fault.
    """

    write_implies_read: bool = True
    """PROT_WRITE alone makes a page readable too.

    Source: access_error in arch/x86/mm/fault.c; protection_map has no write-only entry.
    """

    exec_implies_read: bool = True
    """PROT_EXEC alone makes a page readable too. Source: as above, on CPUs without protection keys."""

    exec_only_by_key: bool = False
    """Where memory that may only be executed cannot be read, a protection key forbids it, and the signal says so.

    Source: pkeys(7) and execute_only_pkey; bad_area_access_from_pkeys, SEGV_PKUERR (x86-64), for stores too. Memory that
    arm64 cannot read (FEAT_EPAN) has SEGV_ACCERR.
    """

    forked_entries_are_old: bool = False
    """Fork makes the child's entries without the access flag, and the child's first touch may take a fault to set it; so
    does MADV_FREE, without the dirty flag either.

    Source: copy_present_pte, pte_mkold. x86-64 hardware sets the flag by itself; arm64 only with FEAT_HAFDBS, which
    cortex-a57 has not.
    """

    shared_load_grants_write: Choice = Choice.ALWAYS
    """A load of a shared page that the process may write makes its entry writable at once; where it does not, the first
    store takes a fault of its own, which is how a file system with a disk learns which pages are to be written back.

    Source: vma_wants_writenotify: not for tmpfs, memfd and shared anonymous memory, which have nothing behind them. In a
    Linux without tmpfs (CONFIG_SHMEM) all three are of ramfs, and `page_mkwrite` of generic_file_vm_ops asks for it.
    On arm64 without FEAT_HAFDBS, which cortex-a57 has not, an entry that may be written is read-only for the hardware until
    it is dirty (PAGE_SHARED has PTE_WRITE and PTE_RDONLY; pte_mkdirty), and a load makes none dirty.
    """

    growth_shows_tail: Choice = Choice.ALWAYS
    """What a shared mapping stored behind the end of a file, in its last page, is in the file when that grows over it.

    ftruncate(2): "the extended part reads as null bytes"; mmap(2): the rest of the last page is zeroed when mapped, and
    "modifications to that region are not written out to the file". Linux's tmpfs does neither: shmem_setattr clears the
    tail only where the size stays or falls, shmem_write_end only in a page that is new.
    """

    splice_may_copy: bool = False
    """splice from a file into a pipe may copy the page, as splice(2) leaves open ("generally avoided")."""

    hole_is_spliced_as_zeroes: Choice = Choice.ALWAYS
    """A hole of a file that is spliced into a pipe stays one, and what the pipe holds is zero whatever becomes of the file.

    Source: shmem_file_read_iter, ZERO_PAGE (splice_zeropage_into_pipe since Linux 6.5). Before Linux 5.19 (56a8c8eb1eaf,
    "tmpfs: do not allocate pages on read") it gave the hole a page for whoever is no user's buffer (SGP_CACHE), as a pipe
    is not; and filemap_read, for files that are not of tmpfs, brings a page in.
    """

    truncate_to_same_clears_tail: bool = True
    """ftruncate to the size that a file has clears what a shared mapping stored behind the end, in the last page.

    ftruncate(2) says nothing of it, nor mmap(2): what is stored behind the end is nobody's. Source: shmem_setattr, whose
    `newsize <= oldsize` covers it; truncate_setsize elsewhere in Linux.
    """

    punch_clears_tail: bool = True
    """A hole that is punched beyond the end of a file takes in what a shared mapping stored there, in the last page.

    fallocate(2) says nothing of it, as of all that is stored there. Source: shmem_undo_range, which knows pages alone; and
    ext4_punch_hole ("set the hole to end after the page that contains i_size").
    """

    hole_in_first_page_unmaps_rest: bool = True
    """A hole that ends within the first page of a file takes the entries of all pages away that begin behind its start.
    They come back by a fault each, with the same frames: nothing but time is lost.

    Source: shmem_fallocate, "(u64)unmap_end > (u64)unmap_start", where unmap_end is -1 if the hole ends in the first page.
    Found by `pytest contracts`, in three steps; seen in Linux 5.10 to 6.17.
    """

    remove_asks_for_protection: bool = False
    """MADV_REMOVE wants a mapping that may be written to now; else one to which mprotect could give that right.

    madvise(2): "must be mapped shared and writable". Source: madvise_remove, VM_WRITE, and since Linux 6.7
    vma_is_shared_maywrite, which stable branches took over: Debian's 6.1 has it, and its 5.10 has not.
    """

    rss_slack: int = 0
    """By how many pages each number of RssAnon, RssFile and RssShmem may be off, once all who work in the address space
    have been told to hand in what they have counted.

    proc_pid_status(5): "This value is inaccurate". Source: until Linux 6.1 each task keeps what it has counted for itself
    (SPLIT_RSS_COUNTING, sync_mm_rss), and hands it in when it unmaps something (add_mm_rss_vec); from 6.2 on
    (f1a7941243c1) a CPU keeps up to percpu_counter_batch, 32, which get_mm_counter does not look at; since 6.16
    (82241a83cd15) task_mem takes the sum of all, and Debian's 6.12.118 does so too: seen, with one CPU.
    """

    rss_slack_of_task: int = 0
    """By how many pages more, for each task in an address space that is not there to hand in what it has counted.

    Source: TASK_RSS_EVENTS_THRESH, check_sync_rss_stat (until Linux 6.1).
    """

    copies_between_file_systems: bool = False
    """copy_file_range copies from one file system to another (a memfd lies in one of its own).

    Source: generic_copy_file_checks, EXDEV since Linux 5.19 (868f9f2f8e00), and seen on Debian's last 5.10 too, though
    copy_file_range(2) says that Linux 5.3 to 5.18 copied (5dae222a5ff0): stable branches have that fix. Before 5.3 any
    other superblock was EXDEV.
    """

    copy_range_is_cut_first: bool = True
    """Whether the two ranges of copy_file_range overlap is asked when that which is copied was cut at the end of its file.

    Source: generic_copy_file_checks, "Shorten the copy to EOF"; copy_file_range(2) gives the two no order.
    """

    prefault_budget: int = 0
    """How many pages that a process never touched the kernel may map for it, in pages (see `prefault`).

    0: none, and a page that is there all the same is a page that somebody touched.
    """

    huge_pages: bool = False
    """A first touch of private anonymous memory may bring in the whole block of 2 MiB around it, where a mapping has all of
    it. What becomes of the block's 512 pages is each page's own affair: how they are mapped is not to be seen.

    Source: do_huge_pmd_anonymous_page; Documentation/admin-guide/mm/transhuge.rst ("transparent").
    """

    huge_pages_count_as_one: bool = False
    """The kernel may count who holds a huge page for all of its frames at once, also when it is split.

    Source: folio_ref_count, folio_mapcount. A kernel may as well count each frame.
    """

    copied_around: int = 1
    """How many pages a store to a shared page may copy: of the aligned block of so many around it what one mapping has.

    No document says how much is copied at a time, and nobody else may see any of it. Source: do_huge_pmd_wp_page copied a
    huge page as a whole before Linux 5.8 ("thp: change CoW semantics for anon-THP"), which splits it and copies one.
    """

    swaps: bool = False
    """MADV_PAGEOUT may put the pages of its caller into swap, those of its own and those of files that are in memory alone.
    Their entries are not there then, and the next touch brings each page back, in whatever frame (see `swap`).

    Source: madvise(2), MADV_PAGEOUT: "reclaim a given range of pages"; shrink_folio_list, do_swap_page.
    """

    pageout_takes_shared: bool = False
    """MADV_PAGEOUT may take a page that others map, too; then their entries of it go as well.

    madvise(2) does not say. Linux leaves such pages alone: "Do not interfere with other mappings of this page",
    madvise_cold_or_pageout_pte_range.
    """

    hint_is_taken: Choice = Choice.ALWAYS
    """mmap without MAP_FIXED maps the range at its address, where that is free.

    Source: arch_get_unmapped_area_topdown; mmap(2) says only that the address is a hint, which Linux tries first.
    """

    private_mappings_duplicate: bool = False
    """mremap with an old length of 0, of private memory, makes a new mapping of the same kind; else it fails.

    Source: mremap(2), BUGS: so it was before Linux 4.14 (dba58d3b8c50), unintended.
    """

    processes_per_kernel_table: int = 0
    """For how many new processes the kernel may need one more page table of its own, which it keeps; 0 where it does not
    count those with the tables of processes.

    Source: __pte_alloc_kernel, whose tables are never freed, and are in NR_PAGETABLE on Debian's 6.12.118 and 7.2, but not
    on 6.1.192 ("mm: call ctor/dtor for kernel PTEs"); alloc_thread_stack_node (VMAP_STACK); vmalloc frees addresses lazily.
    """

    file_pages_may_appear: bool = False
    """Untouched file pages may be mapped, read-only, by the fault of a neighbour.

    Source: do_fault_around. The Linux guests run with fault_around_bytes = 4096, which turns it off.
    """

    fork_copies_pages: bool = False
    """Fork gives the child a copy of each private page that is the parent's own, and takes no right away from anybody.

    fork(2): "both memory spaces have the same content"; that Linux shares the pages until they are written to is said of
    Linux only, in the NOTES. A kernel without copy-on-write is right, and slow.
    """

    image_may_be_copied: bool = False
    """Exec may read the image into frames of the process's own, instead of mapping the page cache's. Source: xv6's exec."""

    fork_protects_shared: bool = False
    """Fork takes the right to write from the parent's entries of shared memory, too, and the next store takes a fault.

    No document speaks of faults. Linux: is_cow_mapping in copy_present_pte.
    """

    zombies_keep_memory: bool = False
    """The address space of a process that has ended goes when the process is waited for.

    _exit(2) says nothing of when; POSIX, _exit(): mappings are unmapped "before the process is destroyed". Source: xv6's
    wait, which frees the page table of a zombie. Linux: exit_mm.
    """

    looks_at_whole_buffer: bool = False
    """read(2) fails for a buffer of which a page may not be written, though there is less to read than would get there.

    read(2), EFAULT: "buf is outside your accessible address space". Linux looks at a page when it stores there.
    """

    cut_pages_may_stay: bool = False
    """What a file loses may stay in the mappings that have it, or in some of them.

    mmap(2), NOTES: "The effect of changing the size of the underlying file of a mapping on the pages that correspond to
    added or removed regions of the file is unspecified." Linux: unmap_mapping_range.
    """

    calls_may_do_less: bool = False
    """A system call may be there and do less than Linux's, where the documents let it: a guest is asked at boot, and one
    that is found to do so counts as lacking it (see `LESSER` in `harness.program.abilities`).
    """

    errors_may_differ: bool = False
    """Where the documents name several errors for what is wrong, a call may fail with any of them; and where they name one
    for what Linux does all the same, it may fail (see `try_` and `remap`).
    """

    kernel_wants_read: bool = False
    """write(2) refuses memory whose protection does not let it be read, though the hardware lets loads through.

    POSIX, mmap(): "An implementation may permit accesses other than those specified by prot"; not all in the same way.
    """

    file_may_be_copied: bool = False
    """A private mapping of a file may have copies of the file's pages from the mmap on, or from their first touch on, of
    which later changes of the file do not show.

    mmap(2), MAP_PRIVATE: "It is unspecified whether changes made to the file after the mmap() call are visible in the
    mapped region." Linux maps the page cache's frames until they are stored to (do_read_fault).
    """


def changed(semantics: Semantics, fields_: Mapping[str, object]) -> Semantics:
    """Return `semantics` with other values for some fields: a choice by its word, a number, true or false.

    Raises ValueError, one sentence, for a field that there is none of and for a value that it cannot have.
    """
    known = {field.name: getattr(semantics, field.name) for field in fields(Semantics) if field.name not in _NO_CHOICE}
    values: dict[str, Any] = {}
    for name, value in fields_.items():
        if name not in known:
            raise ValueError(f"{name!r} is no choice that a kernel has; there are {', '.join(known)}")
        values[name] = _value_like(known[name], name, value)
    unknown = tuple((name, others) for name, others in semantics.unknown if name not in values)
    return replace(semantics, unknown=unknown, **values) if values else semantics


_NO_CHOICE = ("name", "unknown", "uname")


def _value_like(old: object, name: str, value: object) -> object:
    if isinstance(old, enum.Enum):
        words = {member.name.lower(): member for member in type(old)}
        if value not in words:
            raise ValueError(f"{name!r} is {value!r}, and must be one of {', '.join(words)}")
        return words[str(value)]
    if type(value) is not type(old) or (isinstance(value, int) and value < 0):
        kind = "true or false" if isinstance(old, bool) else "a whole number that is not negative"
        raise ValueError(f"{name!r} is {value!r}, and must be {kind}")
    return value
