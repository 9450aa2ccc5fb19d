"""Commands over HTTP, for read keys with the scope admin: they travel through the log like touchpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from services.ingest.admins import Admins
from services.ingest.api import Edge
from services.ingest.encode import command_record
from services.ingest.revocations import revocation, withdrawal
from shared.eventlog.port import Appender
from shared.identifiers import IdentityRules
from shared.touchpoint import TOUCHPOINTS, Command

router = APIRouter(tags=["commands"])
_Text = Annotated[str, Field(max_length=2000)]


@dataclass(frozen=True, slots=True)
class Room:
    """What commands need."""

    admins: Admins
    appender: Appender
    rules: IdentityRules
    edge: Edge


class Asked(BaseModel):
    """A link by its two ends as `kind:value`, or an alias by its two user ids."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"lower": "anonymous_id:a1", "higher": "user_id:u1", "reason": "a shared tablet"},
                {"alias": ["u1", "u2"], "reason": "joined by mistake"},
            ]
        },
    )
    lower: _Text | None = None
    higher: _Text | None = None
    alias: tuple[_Text, _Text] | None = None
    reason: _Text = ""


class Why(BaseModel):
    """Why a revocation is withdrawn."""

    model_config = ConfigDict(extra="forbid")
    reason: _Text = ""


class Taken(BaseModel):
    """The command is on the log."""

    id: str = Field(description="of the revocation; needed to withdraw it")


_KEY: Final = HTTPBearer(auto_error=False, scheme_name="read key", description="a read key with the scope admin")


async def _room(request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_KEY)]) -> Room:
    """Lets only admins in."""
    room: Room = request.app.state.room
    room.admins.check(credentials.credentials if credentials else None)
    return room


InRoom = Annotated[Room, Depends(_room)]


@router.post("/v1/revocations", status_code=202, summary="Revoke a link or an alias")
async def revoke(room: InRoom, asked: Asked) -> Taken:
    """From now on it counts for nothing, whatever evidence there is or comes."""
    command = revocation(
        id_=room.edge.new_id(), at=room.edge.now(), lower=asked.lower, higher=asked.higher, alias=asked.alias,
        reason=asked.reason, rules=room.rules,
    )  # fmt: skip
    return await _append(room, command)


@router.post("/v1/revocations/{id}/withdraw", status_code=202, summary="Withdraw a revocation")
async def withdraw(room: InRoom, id: str, why: Why | None = None) -> Taken:
    """The link or alias counts again."""
    return await _append(room, withdrawal(id, room.edge.now(), why.reason if why else ""))


async def _append(room: Room, command: Command) -> Taken:
    await room.appender.append(TOUCHPOINTS, [command_record(command, room.edge.new_traceparent())])
    return Taken(id=command.id)
