"""`/admin/keys`: issue, list, read, change, rotate and revoke client keys."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from shared.errors import GatewayError
from shared.gateway.control_access import ControlPlane, admin
from shared.gateway.control_bodies import KeyChange, NewKey, Rotation, changes_of, parsed, terms_of
from shared.gateway.key_view import shown
from shared.gateway.request_body import read_body
from shared.gateway.responses import json_response
from shared.gateway.telemetry import log
from shared.json_codec import decode_object
from shared.stores.protocols import KeyRecord

_PAGE = 100
_SMALLEST_PAGE = 10  # of the registry; a page holds whole ones

Operator = Annotated[KeyRecord, Depends(admin)]


def takes(body: str) -> dict[str, Any]:
    """The body's schema for the API page; the bytes are parsed where all request bytes are."""
    schema = {"$ref": f"#/components/schemas/{body}"}
    return {"requestBody": {"required": body == "NewKey", "content": {"application/json": {"schema": schema}}}}


def key_routes(plane: ControlPlane) -> APIRouter:
    routes = APIRouter(prefix="/admin/keys", tags=["keys"])
    registry = plane.registry

    @routes.post("", status_code=201, summary="Issue a key; its text is in `key`, once", openapi_extra=takes("NewKey"))
    async def create(request: Request, operator: Operator) -> Response:
        body = parsed(NewKey, decode_object(await read_body(request, plane.max_body_bytes)))
        record, key = await registry.issue(terms_of(body))
        log("key_issued", kid=record.kid, by=operator.kid)
        return json_response(201, {**shown(record), "key": key})

    @routes.get("", summary="List keys, whatever their status")
    async def listed(
        cursor: Annotated[str | None, Query(max_length=4096)] = None,
        limit: Annotated[int, Query(ge=_SMALLEST_PAGE, le=1000)] = _PAGE,
    ) -> Response:
        records, following = await page_of(plane, cursor, limit)
        return json_response(200, {"data": [shown(record) for record in records], "next_cursor": following})

    @routes.get("/{kid}", summary="Read a key's record")
    async def one(kid: str) -> Response:
        return json_response(200, shown(await registry.held(kid)))

    @routes.patch("/{kid}", summary="Change a key's terms", openapi_extra=takes("KeyChange"))
    async def change(kid: str, request: Request, operator: Operator) -> Response:
        body = parsed(KeyChange, decode_object(await read_body(request, plane.max_body_bytes)))
        status = body.status if "status" in body.model_fields_set else None
        changes = changes_of(body)
        record = await registry.change(kid, changes, status)
        log("key_changed", kid=kid, by=operator.kid, changed=sorted(body.model_fields_set))
        return json_response(200, shown(record))

    @routes.delete("/{kid}", summary="Revoke a key, at once and for ever")
    async def revoke(kid: str, operator: Operator) -> Response:
        record = await registry.revoke(kid)
        log("key_revoked", kid=kid, by=operator.kid)
        return json_response(200, shown(record))

    @routes.post(
        "/{kid}/rotate", status_code=201, summary="A new key on the same account", openapi_extra=takes("Rotation")
    )
    async def rotate(kid: str, request: Request, operator: Operator) -> Response:
        raw = await read_body(request, plane.max_body_bytes)
        body = parsed(Rotation, decode_object(raw) if raw.strip() else {})
        record, key = await registry.rotate(kid, body.overlap_seconds)
        log("key_rotated", kid=kid, into=record.kid, by=operator.kid)
        return json_response(201, {**shown(record), "key": key, "replaces": kid})

    return routes


async def page_of(plane: ControlPlane, cursor: str | None, limit: int) -> tuple[list[KeyRecord], str | None]:
    """Pages of the registry, as many as fit into `limit`."""
    found: list[KeyRecord] = []
    while True:
        try:
            records, cursor = await plane.registry.page(cursor)
        except ValueError as error:
            raise GatewayError("invalid_request", "`cursor` is not valid.", param="cursor") from error
        found += records
        if cursor is None or len(found) + max(len(records), 1) > limit:
            return found, cursor
