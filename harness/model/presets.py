"""The semantics of kernels that are known: one of each Linux whose choices differ, of any Linux, and of any kernel at all.

A definition names one of them (`semantics`), and may change fields of it (`[semantics]`).
"""

from __future__ import annotations

from dataclasses import replace

from harness.model.semantics import STACKS_PER_TABLE, Choice, Semantics, SoleOwner

LINUX_6_1 = Semantics("linux-6.1", rss_slack_of_task=64, grown_stack_stays_promised=True)

LINUX_6_12 = replace(LINUX_6_1, name="linux-6.12", populate_skips_holes=False, rss_slack_of_task=0, refused_map_cuts=True)

_DIFFERS_IN_LINUX = (
    ("taking_grows_stack", (True,)),
    ("fixed_buffer_references", (1,)),  # before FOLL_PIN (Linux 5.7) a fixed buffer took one reference
    ("write_wants_whole_part", (True,)),
    ("remap_unmaps_before_it_looks", (False,)),
    ("remap_asks_for_mapping_first", (False,)),
    ("remap_asks_for_overlap_first", (True,)),
    ("remap_moves_many", (True,)),
    ("populate_skips_holes", (False,)),
    ("exec_implies_read", (False,)),  # protection keys (x86-64), FEAT_EPAN (arm64)
    ("exec_only_by_key", (True,)),
    ("forked_entries_are_old", (True,)),
    ("signal_frame_pages", (2,)),  # arm64
    ("growth_shows_tail", (Choice.NEVER,)),
    ("private_mappings_duplicate", (True,)),
    ("copies_between_file_systems", (True,)),
    ("remove_asks_for_protection", (True,)),
    ("refused_map_cuts", (True,)),
)
"""What differs from one Linux to another; each field says where."""

LINUX = replace(
    LINUX_6_1,
    name="linux",
    sole_owner_write=SoleOwner.EITHER,
    pinned_owner_write=SoleOwner.EITHER,
    shared_load_grants_write=Choice.EITHER,
    rss_slack=2 * 31,
    copy_unit=8,
    hole_is_spliced_as_zeroes=Choice.EITHER,
    unknown=_DIFFERS_IN_LINUX,
)
"""What every Linux may do, for an image of which nothing is known (`--kernel`)."""

PRESETS = {
    semantics.name: semantics
    for semantics in (
        LINUX_6_1,
        LINUX,
        replace(
            LINUX_6_1,
            name="linux-5.10",
            sole_owner_write=SoleOwner.EITHER,
            pinned_owner_write=SoleOwner.EITHER,
            taking_grows_stack=True,
            remove_asks_for_protection=True,
            protect_grants_write=Choice.NEVER,
            write_wants_whole_part=True,
            hole_is_spliced_as_zeroes=Choice.NEVER,
            remap_asks_for_mapping_first=False,
            remap_asks_for_overlap_first=True,
        ),
        LINUX_6_12,
        replace(
            LINUX_6_12,
            name="linux-6.17",
            remap_unmaps_before_it_looks=False,
            remap_asks_for_overlap_first=True,
            remap_moves_many=True,
        ),
        replace(
            LINUX_6_1,
            name="linux-6.1-arm64",
            forked_entries_are_old=True,
            shared_load_grants_write=Choice.NEVER,
            copy_unit=8,
            signal_frame_pages=2,
        ),
        # A kernel of which nothing is known (`--guest custom`): whatever is right somewhere is right here.
        replace(
            LINUX,
            name="any-kernel",
            tail_may_come_late=True,
            calls_may_do_less=True,
            errors_may_differ=True,
            populate_may_do_nothing=True,
            splice_may_copy=True,
            zero_page_on_read=Choice.EITHER,
            prefault_budget=1 << 16,
            rss_slack=1 << 16,
            file_pages_may_appear=True,
            huge_pages_count_as_one=True,
            swaps=True,
            pageout_takes_shared=True,
            hint_is_taken=Choice.EITHER,
            processes_per_kernel_table=STACKS_PER_TABLE,
            unknown=(
                *_DIFFERS_IN_LINUX,
                ("copied_around", (16, 512)),
                ("fork_copies_pages", (True,)),
                ("image_may_be_copied", (True,)),
                ("file_may_be_copied", (True,)),
                ("fork_protects_shared", (True,)),
                ("zombies_keep_memory", (True,)),
                ("cut_pages_may_stay", (True,)),
                ("looks_at_whole_buffer", (True,)),
                ("kernel_wants_read", (True,)),
                ("stack_guard_gap", (1, 0)),
                ("truncate_to_same_clears_tail", (False,)),
                ("punch_clears_tail", (False,)),
                ("hole_in_first_page_unmaps_rest", (False,)),
                ("copy_stops_at_refused_page", (False,)),
                ("copy_range_is_cut_first", (False,)),
                ("protect_changes_before_hole", (False,)),
                ("write_implies_read", (False,)),
            ),
        ),
        # fixtures/kernels/mini: as the in-process guest; exec maps what the page cache has of the image, and small
        # anonymous mappings come with their pages (prefault_small_anonymous).
        replace(
            LINUX_6_1,
            name="mini",
            hole_in_first_page_unmaps_rest=False,
            rss_slack_of_task=0,
            copies_between_file_systems=True,
            truncate_to_same_clears_tail=False,
            fork_copies_clean_ptes=Choice.ALWAYS,
            pinned_owner_write=SoleOwner.EITHER,
            taking_grows_stack=True,
            prefault_budget=8,
            huge_pages=True,
            swaps=True,
            file_pages_may_appear=True,
            fixed_buffer_references=1,
        ),
        # The in-process guest. Its mprotect keeps a writable bit that the new protection allows, and gives none:
        # which entries had one is not to be seen from outside, so whether the next store faults stays a choice.
        replace(
            LINUX_6_1,
            name="model",
            hole_in_first_page_unmaps_rest=False,
            rss_slack_of_task=0,
            copies_between_file_systems=True,
            fork_copies_clean_ptes=Choice.ALWAYS,
            pinned_owner_write=SoleOwner.EITHER,
            fixed_buffer_references=1,
        ),
        # The simplest kernel that is right: no zero page, and fork copies all that is there.
        replace(
            LINUX_6_1,
            name="textbook",
            hole_in_first_page_unmaps_rest=False,
            rss_slack_of_task=0,
            copies_between_file_systems=True,
            zero_page_on_read=Choice.NEVER,
            pinned_owner_write=SoleOwner.COPY,
            fixed_buffer_references=1,
            fork_copies_clean_ptes=Choice.ALWAYS,
            protect_grants_write=Choice.NEVER,
        ),
    )
}
"""The named presets, which guest definitions refer to."""


def on_another_cpu(semantics: Semantics) -> Semantics:
    """Return `semantics`, of a kernel on a CPU as QEMU's simplest ones are, for that kernel on a CPU which may do more."""
    known = {name for name, _ in semantics.unknown}
    more = tuple(
        (name, (value,))
        for name, value in _WITH_MORE_OF_A_CPU
        if name not in known and getattr(semantics, name) not in (value, Choice.EITHER)
    )
    return replace(semantics, unknown=(*semantics.unknown, *more))


_WITH_MORE_OF_A_CPU = (
    ("exec_implies_read", False),  # protection keys (x86-64), FEAT_EPAN (arm64)
    ("exec_only_by_key", True),
    ("forked_entries_are_old", False),  # FEAT_HAFDBS (arm64)
    ("shared_load_grants_write", Choice.ALWAYS),  # FEAT_HAFDBS (arm64)
)
"""What a kernel makes of features that not all CPUs of an architecture have; each field says more."""
