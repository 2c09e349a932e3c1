"""The system calls on files: read, write, truncate, unlink, msync."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from harness.model_guest.files import File
from harness.model_guest.machine import AddressSpace, Machine
from harness.model_guest.mapping import drop_pages
from harness.model_guest.pagefault import touch
from harness.model_guest.trouble import Segfault
from harness.model_guest.uaccess import readable
from harness.program.ops import Copyrange, Read, Readv, Sendfile, Write
from harness.program.units import PAGE_SIZE, Address


def read(machine: Machine, space: AddressSpace, file: File, op: Read) -> int | None:
    """Copy bytes of a file to memory. Returns the count, None where nothing could be stored (EFAULT). Raises Panic.

    A page of the file is looked at when those before it are copied, for the memory may be a mapping of the same file.
    """
    done, length = 0, min(op.length, file.size - op.offset)
    while done < length:
        data = _content(machine, file, op.offset + done, min(length - done, PAGE_SIZE - (op.offset + done) % PAGE_SIZE))
        stored = _store_all(machine, space, replace(op.at, offset=op.at.offset + done), data)
        done += stored
        if stored < len(data):
            _let_go_after_failure(machine, file, (op.offset + done) // PAGE_SIZE)
            break
    return done or (None if length > 0 else 0)


def readv(machine: Machine, space: AddressSpace, file: File, op: Readv) -> int | None:
    """Copy bytes of a file to two ranges of memory. Returns as `read`. Raises Panic."""
    data = _content(machine, file, op.offset, min(2 * op.length, file.size - op.offset))
    first, second = data[: op.length], data[op.length :]
    done = _store_all(machine, space, op.at, first)
    if done == len(first) or machine.has("readv-goes-on"):  # planted: each range is filled as far as it goes
        done += _store_all(machine, space, op.then, second)
    return done or _nothing(data)


def _nothing(data: bytes) -> int | None:
    """Give what a read of `data` says that stored none of it."""
    return None if data else 0


def _store_all(machine: Machine, space: AddressSpace, at: Address, data: bytes) -> int:
    """Store bytes up to the first page that refuses; give how many."""
    done = 0
    while done < len(data):
        vpn, start = _place(at, done)
        part = data[done : done + PAGE_SIZE - start]
        try:
            pfn = touch(machine, space, vpn, write=True)
        except Segfault:
            break
        machine.frames[pfn].data[start : start + len(part)] = part
        done += len(part)
    return done


def write(machine: Machine, space: AddressSpace, file: File, op: Write) -> int | None:
    """Copy memory to a file. Returns the count, None where nothing could be read (EFAULT). Raises Panic."""
    done = 0
    if machine.has("failed-write-extends"):  # planted: the end moves before anything is written behind it
        file.size = max(file.size, op.offset)
    while done < op.length:
        vpn, start = _place(op.at, done)
        page, at = divmod(op.offset + done, PAGE_SIZE)
        count = min(op.length - done, PAGE_SIZE - start, PAGE_SIZE - at)
        try:
            source = readable(machine, space, vpn)
        except Segfault:
            if done and machine.has("short-write-grows-file"):  # planted: the end is where the whole would have ended
                file.size = max(file.size, op.offset + op.length)
            _let_go_after_failure(machine, file, page)
            break
        data = bytes(machine.frames[source].data[start : start + count])
        machine.frames[_page_to_write(machine, file, page)].data[at : at + count] = data
        file.size = max(file.size, op.offset + done + count)
        done += count
    return done or None


def _let_go_after_failure(machine: Machine, file: File, page: int) -> None:
    """Let go of the page of the file that was to be written, or read, where memory refuses: it was held for the copy."""
    pfn = file.lookup(page)
    if pfn is not None and machine.has("failed-copy-keeps-page"):  # planted: a way out that forgets it
        machine.frames.get(pfn)
    if pfn is not None and machine.has("failed-copy-drops-twice"):  # planted: on the way out, and behind it
        machine.frames.put(pfn)


def _place(at: Address, done: int) -> tuple[int, int]:
    """Give the page and the byte in it where the transfer goes on when `done` bytes are through."""
    pages, start = divmod(at.offset + done, PAGE_SIZE)
    return at.vpn + pages, start


def copyrange(machine: Machine, source: File, target: File, op: Copyrange) -> int | None:
    """Copy bytes from file to file. Returns the count, None where a file would go over itself. Raises OutOfMemory."""
    length = max(0, min(op.length, source.size - op.offset))
    overlaps = op.at + length > op.offset and op.at < op.offset + length
    if source is target and overlaps and not machine.has("copy-range-forgets-overlap"):  # planted: nobody asks
        return None
    data = _content(machine, source, op.offset, length)
    if data and machine.has("copy-range-copies-pages"):  # planted: it copies up to the end of the last page
        data = data.ljust(length + -(op.at + length) % PAGE_SIZE, b"\0")
    _put_bytes(machine, target, op.at, data)
    if data and not machine.has("copy-range-keeps-size"):  # planted: the file is no longer for what is behind its end
        target.size = max(target.size, op.at + length)
    return length


def _put_bytes(machine: Machine, target: File, at: int, data: bytes) -> None:
    """Store bytes to the pages of a file. Raises OutOfMemory."""
    done = 0
    while done < len(data):
        page, start = divmod(at + done, PAGE_SIZE)
        part = data[done : done + PAGE_SIZE - start]
        machine.frames[_page_to_write(machine, target, page)].data[start : start + len(part)] = part
        done += len(part)


def sendfile(machine: Machine, source: File, target: File, op: Sendfile) -> int:
    """Copy bytes from file to file. Returns the count. Raises OutOfMemory."""
    data = _content(machine, source, op.offset, min(op.length, source.size - op.offset))
    done = 0
    while done < len(data):
        page, at = divmod(op.at + done, PAGE_SIZE)
        part = data[done : done + PAGE_SIZE - at]
        if machine.has("sendfile-moves-page") and len(part) == PAGE_SIZE and not (op.offset + done) % PAGE_SIZE:
            pfn = source.page(
                (op.offset + done) // PAGE_SIZE
            )  # planted: a whole page is not copied, but put into both files
            machine.frames.get(pfn)
            target.insert(page, pfn)
        else:
            machine.frames[_page_to_write(machine, target, page)].data[at : at + len(part)] = part
        done += len(part)
    target.size = max(target.size, op.at + done) if done else target.size
    return done


def _page_to_write(machine: Machine, file: File, page: int) -> int:
    pfn = file.page(page)
    if machine.has("write-replaces-page"):  # planted: the bytes go to a new frame, and mappings keep the old one
        fresh = machine.frames.allocate()
        machine.frames[fresh].data[:] = machine.frames[pfn].data
        file.insert(page, fresh)
        return fresh
    return pfn


def _content(machine: Machine, file: File, offset: int, length: int) -> bytes:
    """Give bytes of a file; holes read zero and stay holes."""
    found = b""
    while len(found) < length:
        page, at = divmod(offset + len(found), PAGE_SIZE)
        pfn = file.lookup(page)
        whole = bytes(PAGE_SIZE) if pfn is None else bytes(machine.frames[pfn].data)
        found += whole[at : at + length - len(found)]
    return found


def truncate(machine: Machine, spaces: Iterable[AddressSpace], file: File, size: int) -> None:
    """Give a file another size; what lies behind it goes from the cache and from every address space, of which the first is
    that of who asks.
    """
    old, file.size = file.size, size
    if size > old:
        return
    first = -(-size // PAGE_SIZE)
    keeps_tlb = machine.has("truncate-keeps-tlb")  # planted: the CPU goes on using what went
    if not machine.has("truncate-keeps-mapping"):  # planted: nobody looks who maps the pages
        for space in spaces:
            _zap_file(machine, space, file, first, keeps_tlb=keeps_tlb)
            if machine.has("truncate-forgets-others"):  # planted: nobody else is looked for than who truncates
                break
    if not keeps_tlb:
        machine.tlb.flush()
    if machine.has("truncate-forgets-page") and size % PAGE_SIZE:  # planted: where the file ends is rounded up twice
        first += 1
    file.evict(first, keep_hold=machine.has("cache-keeps-ref-after-truncate"))  # planted: the hold is forgotten
    last = file.lookup(size // PAGE_SIZE)
    if machine.has("last-page-not-zeroed") and old <= first * PAGE_SIZE:  # planted: where no page goes nothing is done
        return
    if last is not None and not machine.has("file-tail-not-zeroed"):  # planted: the rest of the last page stays
        tail = PAGE_SIZE - size % PAGE_SIZE
        machine.frames[last].data[-tail:] = bytes(tail)


def _zap_file(machine: Machine, space: AddressSpace, file: File, first: int, *, keeps_tlb: bool) -> None:
    mappings = [vma for vma in space.vmas if vma.file is file]
    if machine.has("truncate-forgets-mapping"):  # planted: a process has one mapping of a file, or two
        mappings = mappings[:2]
    for vma in mappings:
        if vma.pgoff is None:
            continue
        start = max(vma.start, vma.start + first - vma.pgoff)
        for vpn in range(start, vma.end):
            pfn = machine.tables.frame_at(space.root, vpn)
            if (
                pfn is None
                or vpn in space.vmas.unlisted
                or (machine.has("truncate-keeps-copies") and machine.frames[pfn].anonymous)
            ):
                continue  # planted: private copies are spared
            drop_pages(machine, space, range(vpn, vpn + 1), keeps_tlb=keeps_tlb)


def unlink(machine: Machine, file: File) -> bool:
    """Take a file's name away. Returns: False where it has none (ENOENT)."""
    if not file.linked:
        return False
    file.linked = False
    if machine.has("unlink-frees-mapped"):  # planted: the pages go with the name, though the file is open
        file.evict(0)
    return True
