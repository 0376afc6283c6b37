from mnedge.results.shown import MISSING, table


def test_cells_are_text_numbers_and_dashes() -> None:
    page = table("a & b", ("name", "bytes", "ms"), [("<x>", 12_345, 0.123456), (None, True, 2.0)])
    assert page.startswith("<table><caption>a &amp; b</caption>")
    for cell in ("&lt;x&gt;", "12,345", "0.1235", MISSING, "True", "2"):
        assert f"<td>{cell}</td>" in page, cell


def test_without_rows_there_is_no_table() -> None:
    assert table("x", ("a",), []) == ""
