"""One observation held against the model's state at the same point.

The order matters. First the guest's choices are adopted (which clean pages it kept, whether a read got the zero page),
then frames are matched one to one, then their counts are compared with the references that a walk of the model finds, and
last come the bytes. Every difference is reported as a `Difference`: what it is about, expected and observed; which
contracts it breaks is for `blame` to say.
"""

from __future__ import annotations

from harness.compare.count_check import CountCheck
from harness.compare.difference import Difference, Topic
from harness.compare.holders import place_text
from harness.compare.rss import expected_rss, fits
from harness.compare.runs import describe_runs, expand, runs_match
from harness.compare.vmas import compare_vmas
from harness.model.adopt import ExpectedPage, certain_frames, doubtful_frames, expected_pages, forget_holes
from harness.model.counts import reference_index
from harness.program.trace import Runs
from harness.program.units import PAGE_SIZE, Prot


class StateCheck(CountCheck):
    """Compares one observation with the state of the model."""

    __slots__ = ()

    def run(self) -> list[Difference]:
        """Adopt, match, count, read. Gives the differences, empty where all is as it should be."""
        live = {process.number for process in self.machine.live}
        if live != set(self.seen.processes):
            self._note_processes(live)
            return self.differences
        self.binding.keep_only(certain_frames(self.machine))
        for number in sorted(live):
            self._adopt_vanished(number)
            self._adopt_presence(number)
        forget_holes(self.machine)
        self._settle_guesses()
        self.binding.keep_only(self.machine.pool.in_use)
        for number in sorted(live):
            self._adopt_zero_pages(number)
        index = reference_index(self.machine)
        self.doubtful = doubtful_frames(self.machine) if self.seen.frames else set()
        for number in sorted(live):
            self.expected[number] = expected_pages(self.machine, number, index)
            self._match_presence(number)
            self._compare_prefaulted(number)
        for number in sorted(live):
            self._release_moved(number)
        self._release_gone()
        for number in sorted(live):
            self._match_frames(number)
        if not self.differences:  # counts of frames that are not the right ones mean nothing
            self._compare_counts()
            for number in sorted(live):
                self._compare_bits(number)
                self._compare_rss(number)
                self._compare_size(number)
        for number in sorted(live):
            self._compare_bytes(number)
            self._compare_vmas(number)
        return self.differences

    # ------------------------------------------------------------------ processes

    def _note_processes(self, live: set[int]) -> None:
        self.differences.append(
            Difference(
                Topic.PROCESSES,
                min(live ^ set(self.seen.processes)),
                None,
                "alive: " + (", ".join(f"p{n}" for n in sorted(live)) or "nobody"),
                "alive: " + (", ".join(f"p{n}" for n in sorted(self.seen.processes)) or "nobody"),
            )
        )

    # ------------------------------------------------------------------ bits

    def _compare_bits(self, number: int) -> None:
        """A writable entry is a right to store without asking: only who may write, and is alone, may have one."""
        for vpn, page in self._pages(number):
            want = self.expected[number].get(vpn)
            if not page.writable or want is None or want.may_write or want.frame in self.doubtful:
                continue
            vma = self.machine.process(number).memory.vmas.find(vpn)
            if vma is None or not vma.prot & Prot.W:
                shown = f"not writable: the VMA is {vma.prot if vma else 'gone'}"
                self._note(Topic.FORBIDDEN, number, vpn, shown, "the writable bit is set", frame=want.frame)
            else:
                others = self._holder_of(want.frame, but=(number, vpn)) if want.frame else None
                holder = place_text(others) if others else "the kernel"
                self._note(
                    Topic.WRITABLE, number, vpn,
                    f"not writable: {holder} holds the frame too", "the writable bit is set",
                    frame=want.frame, partner=others,
                )  # fmt: skip

    # ------------------------------------------------------------------ resident set

    def _compare_rss(self, number: int) -> None:
        seen = self.seen.processes[number]
        want = None if seen.rss is None else expected_rss(self.machine, number, seen)
        if seen.rss is None or want is None:
            return
        semantics = self.machine.semantics
        slack = semantics.rss_slack + semantics.rss_slack_of_task * self.idle_tasks
        if not fits(want, seen.rss, slack=slack):
            counted = f"{seen.rss.anonymous} anonymous pages, {seen.rss.file} of files, {seen.rss.shared} shared"
            self._note(Topic.RSS, number, None, f"a resident set of {want}", counted)

    def _compare_size(self, number: int) -> None:
        size = self.seen.processes[number].size
        if size is not None and size.counted != size.mapped:
            self._note(Topic.SIZE, number, None, f"an address space of {size.mapped} pages", f"{size.counted} are counted")

    # ------------------------------------------------------------------ bytes

    def _compare_bytes(self, number: int) -> None:
        for vpn, page in self.seen.processes[number].pages.items():
            if page.content is None:
                continue
            want = self.expected[number].get(vpn)
            if want is not None and want.is_doubtful:
                continue
            if want is None or want.content is None or not want.readable:
                what = "not mapped" if want is None else "not readable"
                self._note(Topic.BYTES, number, vpn, what, describe_runs(page.content))
                continue
            if not any(runs_match(page.content, each) for each in want.contents):
                self._note_bytes(number, vpn, want, page.content)
            elif want.frame is not None:
                want.frame.show(0, expand(page.content))

    def _compare_vmas(self, number: int) -> None:
        found = compare_vmas(self.machine, number, self.seen.processes[number], self.binding.file_bases)
        if found:
            self._note(Topic.VMAS, number, found.vpn, found.expected, found.observed)

    def _note_bytes(self, number: int, vpn: int, want: ExpectedPage, got: Runs) -> None:
        assert want.content is not None
        content = expand(got)
        pairs = zip(want.content, content, strict=False)
        offset = next((i for i, (a, b) in enumerate(pairs) if a != b), len(content))
        value = content[offset] if offset < len(content) else None
        self._note(
            Topic.BYTES, number, vpn,
            f"byte {offset} is 0x{want.content[min(offset, PAGE_SIZE - 1)]:02x}",
            "more runs than the agent reports" if value is None else f"byte {offset} is 0x{value:02x}",
            frame=want.frame, offset=offset, value=value,
        )  # fmt: skip
