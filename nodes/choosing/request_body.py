"""Reads the JSON body of a request, which ComfyUI alone would let grow to 100 MB and parse while everybody waits."""

from typing import Any

from aiohttp import web

from ...uncertainty.storage import foreign

# Several times what the largest valid request needs: 5,000 ids of up to 19 digits.
MOST_BYTES = 1 << 18


class BodyTooLargeError(Exception):
    """The body is larger than any valid one."""


async def fields(request: web.Request) -> dict[str, Any]:
    """The fields of the JSON object in the body.

    Raises:
        BodyTooLargeError: it is larger than ``MOST_BYTES``. Of such a body no more than that is read.
        ValueError: it is not declared as JSON, or is not a JSON object.
    """
    if request.content_type != "application/json":
        raise ValueError(f"the request must have content type application/json, got {request.content_type}.")
    too_large = BodyTooLargeError(f"the body of the request must have at most {MOST_BYTES} bytes: send fewer ids at once.")
    if (request.content_length or 0) > MOST_BYTES:
        raise too_large
    body = bytearray()
    async for part in request.content.iter_any():  # a body that is sent in chunks declares no length
        body += part
        if len(body) > MOST_BYTES:
            raise too_large
    try:
        return foreign.fields(bytes(body), MOST_BYTES)
    except ValueError as error:
        raise ValueError(f"the body must be a JSON object with the field ids ({error}).") from error
