"""Money: whole cents inside, JSON dollars with at most two decimals outside. Binary floats never add up money."""

# Up to here every whole number of cents has its own double, so that a JSON number can be turned into cents exactly.
MAX_CENTS = 10**13
_MOST_CENTS = float(MAX_CENTS)


def cents_of(dollars: float) -> int | None:
    """The amount in whole cents; None when it has sub-cent digits or is beyond ``MAX_CENTS``.

    >>> cents_of(12.34), cents_of(500), cents_of(0.001)
    (1234, 50000, None)
    """
    # In floats throughout: whole numbers of cents are exact in them, and telling them apart costs half as much.
    cents = (dollars * 100.0 + 0.5) // 1.0
    # Division is correctly rounded: the quotient is the double that parsing the two-decimal literal gives.
    return int(cents) if cents / 100.0 == dollars and -_MOST_CENTS <= cents <= _MOST_CENTS else None


def dollars_of(cents: int) -> float:
    """The JSON number for ``cents``: the double nearest to it, which prints with at most two decimals."""
    return cents / 100


def mean_cents(total_cents: int, count: int) -> int:
    """``total_cents / count`` rounded half to even, in whole-number arithmetic; ``count`` must be positive."""
    quotient, remainder = divmod(total_cents, count)
    twice = 2 * remainder
    if twice > count or (twice == count and quotient % 2 == 1):
        return quotient + 1
    return quotient
