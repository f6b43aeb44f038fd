import pytest
from aiokafka.errors import ClusterAuthorizationFailedError, UnknownError

from libs.runtime.transactions.error_codes import Meaning, meaning_of, refusal

MEANINGS = {
    Meaning.DONE: {0, 46},
    Meaning.RETRY: {14, 19, 20, 51},
    Meaning.REFRESH_AND_RETRY: {3, 5, 6, 7, 13, 15, 16, 56},
    Meaning.FENCED: {47, 48, 49, 59, 90},
    Meaning.NOT_A_MEMBER: {22, 25, 82},
    Meaning.TOO_LARGE: {10, 18},
}
"""As in the table of error codes in Kafka's protocol guide; all others, such as authorization failures, are rejections."""

CODES = [(code, meaning) for meaning, codes in MEANINGS.items() for code in sorted(codes)]


@pytest.mark.parametrize(("code", "meaning"), CODES)
def test_each_code_has_its_meaning(code: int, meaning: Meaning) -> None:
    assert meaning_of(code) is meaning


def test_all_other_codes_are_rejections() -> None:
    known = {code for code, _ in CODES}
    for code in set(range(-1, 130)) - known:
        assert meaning_of(code) is Meaning.REFUSED, code


def test_a_rejection_names_the_request_and_the_code() -> None:
    error = refusal(31, "EndTxn")
    assert isinstance(error, ClusterAuthorizationFailedError)
    assert "EndTxn: error code 31" in str(error)
    assert isinstance(refusal(9999, "EndTxn"), UnknownError)
