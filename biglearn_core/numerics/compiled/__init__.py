"""The parts of a small EM step, compiled by numba where it is installed.

On a few thousand points a step takes a quarter of a millisecond, most of it spent on beginning some
sixty operations on a few numbers each. Here are the same formulas as loops: the density (`Law` and
`QuadraticDensity` in `density`), the M-step (`em.m_step`) and the test for the floor
(`linalg.floor_eigenvalues`) in `algebra`, responsibilities (`density.exponentiate`) in
`responsibilities`, and what becomes of a chunk of points (`LinearDensity.sums_of`) in
`expectation`. Their callers ask `kernels` whether they are to be had, and do without them
otherwise; what is large, or on a GPU, is left to torch. Results agree to rounding.

Nothing else imports this package: numba takes half a second to load. Compiled code is kept beside
the source, or in the user's cache folder.
"""

from biglearn_core.numerics.compiled.algebra import below_floor, expand, maximise
from biglearn_core.numerics.compiled.expectation import expect
from biglearn_core.numerics.compiled.responsibilities import normalise

__all__ = ["below_floor", "expand", "expect", "maximise", "normalise"]
