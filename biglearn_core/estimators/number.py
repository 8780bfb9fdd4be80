"""The number for which a criterion is least, in few evaluations."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["least_at"]

# Numbers grow by this factor until the criterion has been worse so many times in a row, more often
# among small ones.
_GROWTH = 1.5
_SMALL = 8
_PATIENCE, _PATIENCE_AMONG_SMALL = 2, 3

# Neighbours on either side that are worse, at the end.
_NEIGHBOURS = 3


def least_at(value: Callable[[int], float], least: int, most: int) -> int:
    """Find the number with the least value, where values fall and then rise, but for some noise.

    Parameters
    ----------
    value : callable
        Asked once for every number.
    least, most : int
        Bounds, both included.

    Returns
    -------
    number : int
        Smaller than the value at three neighbours on either side, within the bounds. Tried are
        numbers that grow by a half each, as long as that leads on; then the middle between the best
        and what was tried beside it; and then its neighbours. About 2.5 log n + 8 evaluations.
    """
    values: dict[int, float] = {}

    def at(number: int) -> float:
        if number not in values:
            values[number] = value(number)
        return values[number]

    def best() -> int:
        return min(values, key=lambda number: (values[number], number))

    number, worse = least, 0
    while True:
        at(number)
        worse = 0 if best() == number else worse + 1
        patience = _PATIENCE_AMONG_SMALL if number <= _SMALL else _PATIENCE
        if worse >= patience or number == most:
            break
        number = min(most, max(number + 1, int(number * _GROWTH)))
    while True:
        centre = best()
        below = max((n for n in values if n < centre), default=centre)
        above = min((n for n in values if n > centre), default=centre)
        wider, edge = max((centre - below, below), (above - centre, above))
        if wider <= _NEIGHBOURS:
            break
        at((centre + edge) // 2)
    while True:
        centre = best()
        for step in (1, -1):
            for number in range(centre + step, centre + step * (_NEIGHBOURS + 1), step):
                if not least <= number <= most or at(number) < values[centre]:
                    break
        if best() == centre:
            return centre
