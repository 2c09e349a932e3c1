"""One plain sentence that says what the kernel did wrong.

A divergence says where, what was expected and what was observed, in the phrases of `harness.compare`.
The table `_STATE` turns each pair of phrases into a sentence for a person; what it does not know is said
as it stands.
"""

from __future__ import annotations

import re

from harness.compare.verdict import Divergence, Verdict
from harness.program.ops import Fill, Force, Fork, Load, Op, Poke, Receive, Store, Wait
from harness.program.outcome import Lost
from harness.program.program import Program, extent
from harness.program.text import format_op, format_outcome
from harness.program.trace import Ending
from harness.program.units import PAGE_SIZE, Address

_PLACE = re.compile(r"p(\d+) ([a-z]+)\[(\d+)\]")


def what_went_wrong(verdict: Verdict, divergence: Divergence) -> str:
    """Say in a sentence or two what the kernel did wrong, and at which step."""
    return f"{point(verdict, divergence)}, {without_point(verdict, divergence)}"


def without_point(verdict: Verdict, divergence: Divergence) -> str:
    """Say the same without the words for when; it begins in lower case and ends with a full stop."""
    if is_ending(verdict, divergence):
        return _about_ending(verdict, divergence)
    if is_outcome(verdict, divergence):
        return _about_outcome(verdict, divergence)
    return f"{_phrase(divergence)}.{_origin_of_byte(verdict.program, divergence)}"


def point(verdict: Verdict, divergence: Divergence) -> str:
    """Say when: "At step 5 (p1: load a[0])", "After step 3 (…)", "After the last process was reaped"."""
    program, step = verdict.program, step_of(verdict, divergence)
    if step >= len(program):
        return "After the last process was reaped" if not is_ending(verdict, divergence) else "In the end"
    where = f"step {step + 1} ({format_op(program.steps[step])})"
    if is_about_step(verdict, divergence):
        return f"At {where}"
    return f"After {where}" if _looked_before(verdict, step) else f"When the memory was looked at after {where}"


def _looked_before(verdict: Verdict, step: int) -> bool:
    """Tell whether the state was observed right before `step` too, so that the step is to blame."""
    return step == 0 or any(seen.after == step for seen in verdict.trace.observations)


def step_of(verdict: Verdict, divergence: Divergence) -> int:
    """Give the 0-based step of a divergence; where the run broke off, the step at which it did.

    A guest that panics takes the outcomes of the steps before with it: they are None then.
    """
    outcomes, step = verdict.trace.outcomes, divergence.step
    lost = verdict.trace.ending is not Ending.COMPLETE and step < len(outcomes) and outcomes[step] is None
    return len(outcomes) if lost else step


def is_about_step(verdict: Verdict, divergence: Divergence) -> bool:
    """Tell whether the divergence is about what a step did, and not about the state that it left."""
    judged = is_ending(verdict, divergence) or is_outcome(verdict, divergence)
    return judged or counts_faults(divergence)


def counts_faults(divergence: Divergence) -> bool:
    """Tell whether the divergence is about how many page faults a step took."""
    return divergence.observed.endswith("minor faults")


# ---------------------------------------------------------------------------------- outcomes


def is_outcome(verdict: Verdict, divergence: Divergence) -> bool:
    """Tell whether the divergence is about what the caller of a step saw."""
    step = divergence.step
    if is_ending(verdict, divergence) or not 0 <= step < min(len(verdict.program), len(verdict.trace.outcomes)):
        return False
    outcome = verdict.trace.outcomes[step]
    return outcome is not None and divergence.observed == format_outcome(outcome)


def _about_outcome(verdict: Verdict, divergence: Divergence) -> str:
    op = verdict.program.steps[divergence.step]
    expected, observed = (_saw(op, text) for text in (divergence.expected, divergence.observed))
    return f"{expected[0]}, and {observed[1]}." + _origin_of_load(verdict.program, divergence, op)


_OUTCOMES: tuple[tuple[str, str, str], ...] = (
    (r"(0x[0-9a-f]{2})", "should have read {0}", "read {0} instead"),
    (r"done", "should have succeeded", "succeeded"),
    (r"wrote (\d+)", "should have written {0} bytes", "wrote {0}"),
    (r"(\w+) (\S+) at (\S+)", "should have got {0} ({1}) at {2}", "got {0} ({1}) at {2}"),
    (r"(\w+) (code \S+) at (\S+)", "should have got {0} ({1}) at {2}", "got {0} ({1}) at {2}"),
    (r"exited (\d+)", "should have seen {child} exit with status {0}", "saw it exit with status {0}"),
    (r"killed (.+)", "should have seen {child} killed by {0}", "saw it killed by {0}"),
    (r"did not wait", "should have run on at once", "ran on before its child had exec'd or ended"),
    (r"gone", "should have ended", "ended"),
    (r"([A-Z0-9]+)", "should have failed with {0}", "failed with {0}"),
)
"""How an outcome reads: as it stands behind `=>`, as what should have been, as what was."""


def _saw(op: Op, text: str) -> tuple[str, str]:
    child = f"p{op.child}" if isinstance(op, Wait) else "it"
    for pattern, should, did in _OUTCOMES:
        match = re.fullmatch(pattern, text)
        if match:
            return (
                f"p{op.process} " + should.format(*match.groups(), child=child),
                did.format(*match.groups(), child=child),
            )
    return f"p{op.process} should have seen {text!r}", f"saw {text!r}"


# ---------------------------------------------------------------------------------- endings


def is_ending(verdict: Verdict, divergence: Divergence) -> bool:
    """Tell whether the divergence is that the run did not get through the program."""
    if verdict.trace.ending is Ending.COMPLETE:
        return False
    step, outcomes = step_of(verdict, divergence), verdict.trace.outcomes
    if step >= len(outcomes):
        return True
    return isinstance(outcomes[step], Lost) or (verdict.trace.ending is Ending.FORK_FAILED and step == len(outcomes) - 1)


_ENDINGS: dict[Ending, str] = {
    Ending.LOST: "{process} died, and should have survived",
    Ending.STUCK: "{process} never came back from this step, which neither completed nor failed",
    Ending.FORK_FAILED: "the fork failed, and should have succeeded",
    Ending.PANICKED: "the kernel reported that it broke (panic, oops or warning)",
    Ending.HUNG: "the guest stopped answering",
    Ending.GARBLED: "the guest's answer made no sense: the program has damaged the memory of the agent, or of PID 1",
    Ending.DIED: "the machine stopped or rebooted",
}


def _about_ending(verdict: Verdict, divergence: Divergence) -> str:
    step = min(step_of(verdict, divergence), len(verdict.program) - 1)
    process = f"p{verdict.program.steps[step].process}" if step >= 0 else "p0"
    said = _ENDINGS[verdict.trace.ending].format(process=process)
    why = _first_line(verdict.trace.evidence)
    return said + (f": {why.rstrip('.')}." if why else ".")


def _first_line(evidence: str) -> str:
    """Give the reason, which leads the evidence; without the kernel's time stamp."""
    line = next((line.strip() for line in evidence.splitlines() if line.strip()), "")
    return re.sub(r"^\[ *\d+\.\d+\] ", "", line)


# ---------------------------------------------------------------------------------- state


_COUNT = r"(?: \+ \d+ \([\w, ]+\))?"

_STATE: tuple[tuple[str, str, str], ...] = (
    (
        rf"refcount (\d+){_COUNT}: (.+)", r"refcount (-?\d+)",
        "the frame of {where} has refcount {2}, and should have {0}: what holds it is {1}",
    ),
    (
        r"mapcount (\d+): (.+)", r"mapcount (-?\d+)",
        "the frame of {where} has mapcount {2}, and should have {0}: what maps it is {1}",
    ),
    (
        r"the frame of (p.+)", r"another frame",
        "{where} has a frame of its own, and should still share the frame of {0}",
    ),
    (
        r"a frame of its own", r"the frame of (p.+)",
        "{where} shares the frame of {0}, and should have a frame of its own",
    ),
    (
        r"a frame of its own", r"the frame that (p.+) has in swap",
        "{where} has the frame of what {0} has in swap, and should have a frame of its own",
    ),
    (
        r"a frame of its own", r"the frame of nobody",
        "{where} has a frame that already plays another part, and should have a frame of its own",
    ),
    (
        r"the same frame as before", r"another frame",
        "{where} has moved to another frame, and should have kept the one that it had",
    ),
    (
        r"the zero page", r"a frame of its own",
        "{where} has a frame of its own, and should be the zero page",
    ),
    (
        r"a frame of its own", r"the zero page",
        "{where} is the zero page, and should have a frame of its own",
    ),
    (
        r"at most (\d+) untouched pages present, as declared", r"(\d+) untouched pages present",
        "{where} is one of {1} pages that the process has and never touched, and the kernel's prefault budget is {0} pages",
    ),
    (r"absent", r"present", "{where} is present, though nobody has touched it"),
    (r"not mapped", r"present", "{where} is present, though nothing is mapped there"),
    (r"present", r"absent", "{where} is not present, though it was there and nothing took it away"),
    (
        r"byte (\d+) is (0x\w+)", r"byte \d+ is (0x\w+)",
        "byte {0} of {where} is {2}, and should be {1}",
    ),
    (r"not mapped", r"(\w\w ×.+)", "{where} can be read (it holds {0}), though nothing is mapped there"),
    (r"not readable", r"(\w\w ×.+)", "{where} can be read (it holds {0}), though it is protected"),
    (r"alive: (.+)", r"alive: (.+)", "{1} live, and {0} should"),
    (
        r"(\d+(?: to \d+)?) minor faults", r"(\d+) minor faults",
        "{where} took {1} page faults, and should have taken {0}",
    ),
    (r"every frame is free", r"(.+) not", "not every frame was given back: still in use is {0}"),
    (
        r"(\d+) ([a-z-]+) frames, as before the program", r"(\d+)",
        "the count of {1} frames is {2}, and was {0} before the program",
    ),
    (
        r"(\d+) pages promised, as before the program", r"(\d+)",
        "the kernel has promised {1} pages to what is mapped, and had promised {0} before the program",
    ),
    (
        r"what (\d+) rounds take from the free memory is given back", r"(\d+) frames gone in (\d+ runs?)",
        "{1} frames are gone from the free memory after {2} of the program, with {0} rounds each",
    ),
    (
        r"an address space of (\d+) pages", r"(\d+) are counted",
        "the kernel counts {1} pages in the address space of {where}; its mappings have {0}",
    ),
    (
        r"a resident set of (.+)", r"(.+ anonymous pages, .+ of files, .+ shared)",
        "the kernel counts {1} as resident in {where}; its page tables hold {0}",
    ),
    (r"every process is reaped", r"(.+) could not be", "{0} could neither be reaped nor killed"),
    (r"(b['\"].*)", r"(b['\"].*)", "{where} was {1}, and should have been {0}"),
)  # fmt: skip
"""(expected, observed, sentence): patterns of what the comparison says, a sentence from their groups."""


def _of_one(sentence: str) -> str:
    """Put what is counted into the singular where it is one."""
    sentence = re.sub(r"\b1 frames are\b", "1 frame is", sentence)
    return re.sub(r"\b1 ((?:anonymous )?(?:page fault|page|slot|frame))s\b", r"1 \1", sentence)


def _phrase(divergence: Divergence) -> str:
    for expected, observed, sentence in _STATE:
        left = re.fullmatch(expected, divergence.expected)
        right = re.fullmatch(observed, divergence.observed)
        if left and right:
            words = (*left.groups(), *right.groups())
            return _of_one(sentence.format(*words, where=divergence.where).replace("page-tables", "page-table"))
    return f"{divergence.where}: expected {divergence.expected}; observed {divergence.observed}"


# ---------------------------------------------------------------------------------- whose byte is it


def _origin_of_load(program: Program, divergence: Divergence, op: Op) -> str:
    if not isinstance(op, Load) or not re.fullmatch("0x[0-9a-f]{2}", divergence.observed):
        return ""
    return _origin(program, divergence.step, op.process, op.at, int(divergence.observed, 16))


def _origin_of_byte(program: Program, divergence: Divergence) -> str:
    place = _PLACE.fullmatch(divergence.where)
    byte = re.fullmatch(r"byte (\d+) is 0x(\w+)", divergence.observed)
    if not place or not byte:
        return ""
    at = Address(place[2], int(place[3]), int(byte[1]))
    return _origin(program, divergence.step + 1, int(place[1]), at, int(byte[2], 16))


def _origin(program: Program, before: int, reader: int, at: Address, value: int) -> str:
    """Name the last step that stored `value` at `at`: most wrong bytes are right elsewhere."""
    steps = [number for number, op in enumerate(program.steps[:before]) if _wrote(op, at, value)]
    if not steps:
        return ""
    op = program.steps[steps[-1]]
    writer = op.process
    who = "it" if writer == reader else f"p{writer}{_kin(program, writer, reader)}"
    where = f"into p{op.victim}'s memory" if isinstance(op, Poke) else "there"
    return f" 0x{value:02x} is what {who} stored {where} at step {steps[-1] + 1}."


def _wrote(op: Op, at: Address, value: int) -> bool:
    """Tell whether `op` is to store `value` at `at`."""
    if not isinstance(op, Store | Force | Poke | Fill | Receive) or op.value != value or op.at.window != at.window:
        return False
    reached = PAGE_SIZE if isinstance(op, Fill) else extent(op)
    return 0 <= (at.index - op.at.index) * PAGE_SIZE + at.offset - op.at.offset < reached


def _kin(program: Program, writer: int, reader: int) -> str:
    """Say how the writer is related to the reader, where it is parent or child."""
    for op in program.steps:
        if isinstance(op, Fork) and {op.process, op.child} == {writer, reader}:
            return " (its parent)" if op.process == writer else " (its child)"
    return ""
