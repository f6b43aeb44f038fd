from cli.reference import PAGE, page


def test_the_page_is_up_to_date_with_the_commands() -> None:
    """`python -m cli.reference` writes it."""
    assert PAGE.read_text() == page()
