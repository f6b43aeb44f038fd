from cli.reference import PAGE, page


def test_the_page_has_the_commands_as_they_are() -> None:
    """`python -m cli.reference` writes it."""
    assert PAGE.read_text() == page()
