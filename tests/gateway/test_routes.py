"""Which service serves which path."""

from __future__ import annotations

from typing import Any

import pytest

from services.gateway.routes import Clash, Routes


def document(**paths: str) -> dict[str, Any]:
    """A document of these paths and the methods each has."""
    return {"paths": {path: {method: {} for method in methods.split()} for path, methods in paths.items()}}


ROUTES = Routes(
    {
        "lending": document(
            **{"/v1/loans": "get post", "/v1/loans/{loan_id}": "get", "/v1/loans/batch": "post"},
            **{"/v1/loans/{loan_id}/repayments": "post"},
        ),
        "compensation": document(**{"/v1/loans/{id}/claim-readiness": "get", "/v1/claims/{id}": "get"}),
    }
)


@pytest.mark.parametrize(
    ("path", "service", "methods"),
    [
        ("/v1/loans", "lending", {"GET", "POST"}),
        ("/v1/loans/7", "lending", {"GET"}),
        ("/v1/loans/batch", "lending", {"POST"}),
        ("/v1/loans/batch/repayments", "lending", {"POST"}),
        ("/v1/loans/7/claim-readiness", "compensation", {"GET"}),
        ("/v1/claims/7", "compensation", {"GET"}),
    ],
)
def test_a_path_is_found_named_segments_first_and_back_again(
    path: str, service: str, methods: set[str]
) -> None:
    node = ROUTES.find(path)
    assert node is not None
    assert (node.service, set(node.methods)) == (service, methods)


@pytest.mark.parametrize(
    "path", ["", "/", "/v1", "/v1/claims", "/v1/loans/", "/v1/loans//repayments", "/v1/loans/7/8", "v1/loans"]
)
def test_what_nobody_serves_is_not_found(path: str) -> None:
    assert ROUTES.find(path) is None


def test_two_services_cannot_serve_one_path_whatever_they_call_its_parameter() -> None:
    one, two = document(**{"/v1/loans/{loan_id}": "get"}), document(**{"/v1/loans/{id}": "post"})
    with pytest.raises(Clash, match="lending and by compensation"):
        Routes({"lending": one, "compensation": two})
