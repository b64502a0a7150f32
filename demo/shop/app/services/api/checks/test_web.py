from fastapi.testclient import TestClient
from shop.web import application


def test_it_says_which_build_it_is() -> None:
    assert TestClient(application).get("/livez").json() == {"condition": "pass", "build": "development"}


def test_what_is_asked_for_must_be_a_number() -> None:
    assert TestClient(application).post("/orders?product_id=lamp").status_code == 422
