"""Query parameters that an endpoint does not have."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError


async def no_strangers(request: Request) -> None:
    """Refuse them, as unknown fields of a body are: what the caller meant by them would not be done."""
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    if strange := [name for name in request.query_params if name not in known]:
        raise RequestValidationError(
            [{"type": "extra_forbidden", "loc": ("query", name), "msg": "is not known here"} for name in strange]
        )
