"""Money: whole cents internally, JSON dollars with at most two decimals externally. Floats are never summed."""

# Up to this amount each number of cents has a double of its own, so a JSON number converts to cents exactly.
MAX_CENTS = 10**13
_MOST_CENTS = float(MAX_CENTS)
_ROUNDED_BY_DIGITS_FROM_DOLLARS = 1000.0  # from here on, 14 significant digits are coarser than 11 decimals


def cents_of(dollars: float) -> int | None:
    """The amount in whole cents; None when it has sub-cent digits or is beyond ``MAX_CENTS``.

    >>> cents_of(12.34), cents_of(500), cents_of(0.001)
    (1234, 50000, None)
    """
    # All in floats: whole numbers of cents are exact in them, and the check costs half as much.
    cents = (dollars * 100.0 + 0.5) // 1.0
    # IEEE 754 division is correctly rounded: the quotient equals the double that parsing the two-decimal literal gives.
    return int(cents) if cents / 100.0 == dollars and -_MOST_CENTS <= cents <= _MOST_CENTS else None


def cents_of_computed(dollars: float) -> int | None:
    """``cents_of`` for an amount that its sender may have computed in binary floating point.

    The amount is first rounded to 14 significant digits, at most 11 of them decimals. The largest amount
    (100,000,000,000.00) needs 14, and a double keeps 15. So rounding removes the noise of a sum, a product or a
    difference of prices, and never a digit of an amount that was written with 14 digits (docs/decisions/0020).

    >>> cents_of_computed(0.1 + 0.2), cents_of_computed(863.3700000000001), cents_of_computed(100.1 - 100)
    (30, 86337, 10)
    >>> cents_of_computed(863.3701), cents_of_computed(12.34000000001)
    (None, None)
    """
    cents = cents_of(dollars)
    if cents is not None:
        return cents
    return cents_of(float(f"{dollars:.14g}" if abs(dollars) >= _ROUNDED_BY_DIGITS_FROM_DOLLARS else f"{dollars:.11f}"))


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
