"""One error shape (RFC 9457 problem documents) and one table from what went wrong to an HTTP status."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from earful.errors import DeadlinePassed, EarfulError, FeedbackError, Overloaded
from earful.feedback import describe

PROBLEM = "application/problem+json"
SCHEMA = "#/components/schemas/Problem"  # of it, in the OpenAPI document
STATUS: Mapping[type[Exception], HTTPStatus] = {
    FeedbackError: HTTPStatus.UNPROCESSABLE_ENTITY,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    DeadlinePassed: HTTPStatus.GATEWAY_TIMEOUT,
    EarfulError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
MOST_FIELDS = 20  # that an error names, of however many are at fault
TOO_LONG = "string_too_long"
UNREADABLE = "the body is not valid JSON in UTF-8"
FASTAPI_UNREADABLE = "There was an error parsing the body"  # what FastAPI says of bytes that are not UTF-8, for one


def problem(status: int, detail: str, errors: list[dict[str, str]] | None = None) -> JSONResponse:
    """A problem document; `errors` names the fields at fault."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    return JSONResponse(body, status_code=status, media_type=PROBLEM)


def overloaded(error: Overloaded) -> JSONResponse:
    """A refusal that says when to come again."""
    answer = problem(STATUS[Overloaded], str(error))
    answer.headers["Retry-After"] = str(error.seconds)
    return answer


def install(app: FastAPI) -> None:
    """Answer every error of an application in the one shape."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind in STATUS:
        app.add_exception_handler(kind, _ours)
    app.add_exception_handler(Exception, _unexpected)
    _as_problems(app)


def _as_problems(app: FastAPI) -> None:
    """Have the OpenAPI document say of problems that they are of their own media type: FastAPI knows one alone."""
    written = app.openapi

    def openapi() -> dict[str, Any]:
        document = written()
        operations = (operation for path in document["paths"].values() for operation in path.values())
        for response in (response for operation in operations for response in operation["responses"].values()):
            content = response.get("content", {})
            for kind in [kind for kind, said in content.items() if said.get("schema", {}).get("$ref") == SCHEMA]:
                content[PROBLEM] = content.pop(kind)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """A body or parameter that is not what the contract says. The value sent is never repeated."""
    assert isinstance(error, RequestValidationError)
    if error.errors()[0]["type"] == "json_invalid":
        return problem(400, UNREADABLE)
    if isinstance(error.body, bytes):  # FastAPI parses a body only if it is said to be JSON
        return problem(415, "send JSON, and say so: Content-Type: application/json")
    fields = []
    for item in error.errors()[:MOST_FIELDS]:
        place = tuple(part for part in item["loc"] if part not in ("body", "query"))
        found = describe({**item, "loc": place})
        fields.append({"field": found.field if place else "body", "reason": found.reason})
    too_long = all(item["type"] == TOO_LONG and item["loc"][-1] == "text" for item in error.errors())
    return problem(413 if too_long else 422, f"{fields[0]['field']}: {fields[0]['reason']}", fields)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail = UNREADABLE if error.detail == FASTAPI_UNREADABLE else str(error.detail)
    answer = problem(error.status_code, detail)
    answer.headers.update(error.headers or {})
    return answer


async def _ours(request: Request, error: Exception) -> JSONResponse:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return overloaded(error) if isinstance(error, Overloaded) else problem(status, str(error))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    return problem(500, "something went wrong here; it has been logged")
