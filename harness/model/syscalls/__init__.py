"""The operations, one module each, in three blocks:

CHECKS     what the kernel looks at before it does anything: may end the step with a signal or an errno.
EFFECT     what changes; all that is not named here stays as it is.
OUTCOME    what the caller sees.
"""
