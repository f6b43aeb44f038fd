from libs.runtime.broker import Backoff


def test_delays_double_up_to_a_limit() -> None:
    backoff = Backoff(first_s=1, longest_s=5)
    assert [backoff.next_s() for _ in range(4)] == [1, 2, 4, 5]
    backoff.reset()
    assert backoff.next_s() == 1
