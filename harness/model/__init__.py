"""The executable specification: what a kernel may do with memory, and what a program may see of it.

Read the modules in this order; each is short, and each uses only those before it::

    semantics      what kernels may choose, as data
    frame          a physical page, and the pool that hands them out
    page_table     four levels of table pages, which are frames too
    vma            what a range of pages is allowed to be
    page_cache     what files hold, one frame a page, for everybody
    address_space  one process's VMAs and page tables
    process        a name, a parent, an address space, and an end
    machine        all of it together
    counts         who holds a frame: found by looking, never by counting along
    stack          mappings that grow downwards
    fault          demand faults, and the copy-on-write break
    user_memory    the same, done by the kernel in a system call
    lifecycle      how an address space ends, and what becomes of the family
    allowed        a set of outcomes, and the clause that allows it
    syscalls/      one operation a module: CHECKS, EFFECT, OUTCOME
    step           op -> Allowed
    invariants     what is true after every step
    adopt          what a guest may show, and how the model follows its choices

It knows no guest, does no I/O, and draws no random number.
"""
