"""The search that this release is about."""


def test_search(client) -> None:
    answer = client.get("/api/search?q=workflow")
    assert answer.status_code == 200, "the search is not there yet"
