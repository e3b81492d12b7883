import pytest

from codedata.sources.text_urls import columns_of, filled, is_text_url


@pytest.mark.parametrize(
    "url",
    [
        "s3://softwareheritage/content/{blob_id}",
        "https://host/{repo}/raw/{path}?ref={commit}",
        "memory://x/{a}",
        "file:///data/{a}/{b}.gz",
        "blobs/{file.sha}",
    ],
)
def test_a_url_names_columns_behind_what_is_the_same_for_all(url: str) -> None:
    assert is_text_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "{url}",
        "s3://bucket/key",  # no column
        "s3://{bucket}/key",
        "s3://buck{et}/key",
        "https://{host}/x",
        "file:///{path}",
        "s3://bucket/{}",
        "s3://bucket/{a",
        "s3://bucket/a}",
        "s3://bucket/{{a}}",
        "zip://{a}::s3://bucket/x.zip",
        "s3://bucket/\n{a}",
    ],
)
def test_rows_say_neither_where_to_ask_nor_nothing(url: str) -> None:
    assert not is_text_url(url)


def test_a_row_fills_each_place_of_its_columns() -> None:
    url = "https://host/{repo}/{path}?ref={repo}"
    assert columns_of(url) == ("repo", "path")
    values = {"repo": "me/code", "path": "a b/c#.c%20?x={path}"}
    assert (
        filled(url, values, quoted=False) == "https://host/me/code/a b/c#.c%20?x={path}?ref=me/code"
    )
    assert filled(url, values, quoted=True) == (
        "https://host/me/code/a%20b/c%23.c%2520%3Fx%3D%7Bpath%7D?ref=me/code"
    )


@pytest.mark.parametrize(
    "value", [None, "", "..", "../../etc/passwd", "a/../b", "a\nb", "a\0b", "."]
)
def test_a_value_that_leads_elsewhere_makes_no_url(value: str | None) -> None:
    assert filled("data/{path}", {"path": value}, quoted=False) is None
    assert filled("data/{path}", {"path": "..c/x..y"}, quoted=False) == "data/..c/x..y"
