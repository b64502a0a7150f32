"""Descriptions and tags."""


def test_tags(client) -> None:
    assert client.get("/api/tags").json() == {}
    assert client.get("/api/workflows/2").json()["tags"] == []


def test_a_description(client) -> None:
    made = client.post("/api/workflows", json={"name": "described", "owner": "ada", "description": "at length"}).json()
    assert made["description"] == "at length"
