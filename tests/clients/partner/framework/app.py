"""The documented class routes on the vendor's own framework, with everything in memory.

Schema, defaults and order of checks are those of the vendor's pages; the rules are the rulings of
docs/compatibility/partner.md. It is what Haksa is compared with, so nothing in it is Haksa's.
"""

from datetime import datetime, timezone
from enum import Enum
from typing import Literal, Optional
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, HTTPException, Path, Query
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field

ALPHABET = set("ABCDEFGHJKLMNPQRSTUVWXYZ23456789")
# The names of the time-zone database that the comparison uses.
ZONES = {"UTC", "Asia/Seoul", "Asia/Calcutta", "America/Argentina/Buenos_Aires", "GB-Eire"}
MODELS = {1, 2, 3}
COURSES = {5}
NUL = "A string literal cannot contain NUL (0x00) characters."

app = FastAPI()
bearer = HTTPBearer(auto_error=False)


class ClassStatus(str, Enum):
    planned = "planned"
    active = "active"
    ended = "ended"


class InviteStatus(str, Enum):
    active = "active"
    expired = "expired"
    disabled = "disabled"


class MembershipStatus(str, Enum):
    active = "active"
    inactive = "inactive"
    completed = "completed"
    dropped = "dropped"


class ClassCreate(BaseModel):
    name: str
    status: Optional[ClassStatus] = None
    description: Optional[str] = None
    start_at: Optional[datetime] = None
    end_at: Optional[datetime] = None
    capacity: Optional[int] = None
    timezone: Optional[str] = None
    location: Optional[str] = None
    online_url: Optional[str] = None
    invite_only: Optional[bool] = None
    course_id: Optional[int] = None
    primary_model_id: Optional[int] = None
    allowed_model_ids: list[int] = Field(default_factory=list)


class ClassUpdate(BaseModel):
    name: Optional[str] = None
    status: Optional[ClassStatus] = None
    description: Optional[str] = None
    start_at: Optional[datetime] = None
    end_at: Optional[datetime] = None
    capacity: Optional[int] = None
    timezone: Optional[str] = None
    location: Optional[str] = None
    online_url: Optional[str] = None
    invite_only: Optional[bool] = None
    course_id: Optional[int] = None
    primary_model_id: Optional[int] = None
    allowed_model_ids: Optional[list[int]] = None


class InviteCreate(BaseModel):
    code: Optional[str] = None
    expires_at: Optional[datetime] = None
    max_uses: Optional[int] = Field(None, ge=1)
    target_role: Literal["student"] = "student"


class InviteUpdate(BaseModel):
    expires_at: Optional[datetime] = None
    max_uses: Optional[int] = Field(None, ge=1)
    status: Optional[InviteStatus] = None


class Redeem(BaseModel):
    code: str


class InviteOut(BaseModel):
    id: int
    partner_id: int
    class_id: int
    code: str
    target_role: str
    expires_at: Optional[datetime]
    max_uses: Optional[int]
    used_count: int
    status: str
    created_by: Optional[int]
    created_at: datetime


class ClassOut(BaseModel):
    name: str
    status: ClassStatus
    description: Optional[str]
    start_at: Optional[datetime]
    end_at: Optional[datetime]
    capacity: Optional[int]
    timezone: str
    location: Optional[str]
    online_url: Optional[str]
    invite_only: bool
    primary_model_id: Optional[int]
    allowed_model_ids: list[int]
    id: int
    partner_id: int
    course_id: Optional[int]
    created_at: datetime
    updated_at: datetime
    invite_codes: list[InviteOut]


class EnrollmentOut(BaseModel):
    id: int
    class_id: int
    student_id: int
    invite_code_id: Optional[int]
    status: str
    enrolled_at: datetime
    completed_at: Optional[datetime]


class StudentOut(BaseModel):
    id: int
    partner_id: int
    user_id: Optional[int]
    full_name: str
    email: Optional[str]
    status: str
    joined_at: datetime
    primary_contact: Optional[str]
    notes: Optional[str]


class MemberOut(EnrollmentOut):
    student: StudentOut


class ClassPage(BaseModel):
    items: list[ClassOut]
    total: int
    page: int
    size: int


class InvitePage(BaseModel):
    items: list[InviteOut]
    total: int
    page: int
    size: int


class MemberPage(BaseModel):
    items: list[MemberOut]
    total: int
    page: int
    size: int


# --- what the demonstration account has, too ---

USERS = {
    "demo-partner-token": {"id": 101, "partner_id": 7, "name": "이도윤", "email": "doyun@example.com"},
    "demo-partner-other-token": {"id": 102, "partner_id": 8, "name": "박서연", "email": "seoyeon@example.com"},
    "demo-student-token": {"id": 91, "partner_id": None, "name": "최하준", "email": "hajun@example.com"},
    "demo-user-token": {"id": 90, "partner_id": None, "name": "정지우", "email": None},
}
ORGANISATION = {7: 3, 8: 4}
classes: dict[int, dict] = {}
codes: dict[int, dict] = {}
students: dict[int, dict] = {}
members: dict[int, dict] = {}
# A row that went leaves its number behind.
used = {"classes": 0, "codes": 0, "students": 0, "members": 0}


def now():
    return datetime.now(timezone.utc)


def number(kind):
    used[kind] += 1
    return used[kind]


def new_class(id, partner_id, fields):
    at = now()
    classes[id] = {
        "name": "", "status": "planned", "description": None, "start_at": None, "end_at": None, "capacity": None,
        "timezone": "UTC", "location": None, "online_url": None, "invite_only": False, "course_id": None,
        "primary_model_id": None, "allowed_model_ids": [], **fields, "id": id, "partner_id": partner_id,
        "created_at": at, "updated_at": at,
    }
    return classes[id]


def new_code(id, of, code, **fields):
    codes[id] = {
        "id": id, "partner_id": of["partner_id"], "class_id": of["id"], "code": code, "target_role": "student",
        "expires_at": None, "max_uses": None, "used_count": 0, "status": "active", "created_by": of["partner_id"],
        "created_at": now(), **fields,
    }
    return codes[id]


new_code(21, new_class(11, 7, {"name": "AI 101"}), "ABC234")
new_code(22, new_class(12, 8, {"name": "AI 102"}), "DEF567")
used["classes"], used["codes"] = 12, 22


def shown_code(code):
    over = code["status"] == "active" and code["expires_at"] is not None and code["expires_at"] < now()
    return {**code, "status": "expired" if over else code["status"]}


def shown(of):
    own = sorted((code for code in codes.values() if code["class_id"] == of["id"]), key=lambda code: code["id"])
    return {**of, "invite_codes": [shown_code(code) for code in own]}


# --- who calls ---


async def current_user(credentials: Optional[HTTPAuthorizationCredentials] = Depends(bearer)):
    user = USERS.get(credentials.credentials) if credentials else None
    if user is None:
        raise HTTPException(401, "unauthorized")
    return user


async def current_partner(partner_id: int = Path(...), user: dict = Depends(current_user)):
    if user["partner_id"] is None:
        raise HTTPException(403, "not_a_partner")
    if user["partner_id"] != partner_id:
        raise HTTPException(403, "forbidden")
    return user["partner_id"]


def own_class(partner_id, class_id):
    of = classes.get(class_id)
    if of is None or of["partner_id"] != partner_id:
        raise HTTPException(404, "Class not found")
    return of


# --- rules ---


def utc(at):
    if at is None:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)


def is_meeting_url(text):
    if text == "":
        return True
    lower = text.lower()
    if not lower.startswith(("http://", "https://")) or len(text) > 2048:
        return False
    if any(c.isspace() or ord(c) < 32 or c in '\\<>"' for c in text):
        return False
    return bool(urlsplit(text).hostname)


def refuse(code):
    raise HTTPException(400, code)


def settled(old, patch):
    """The class after a patch, or the first rule that it breaks."""
    after = {**old, **patch}
    changed = {name for name in patch if old.get(name) != after[name]} if "id" in old else set(after)
    for name in ("name", "description", "location", "timezone", "online_url"):
        if name in changed and after[name] is not None and "\0" in after[name]:
            refuse(NUL)
    if "name" in changed and not after["name"].strip():
        refuse("name_required")
    if "timezone" in changed and after["timezone"] not in ZONES:
        refuse("invalid_timezone")
    if "online_url" in changed and after["online_url"] is not None and not is_meeting_url(after["online_url"]):
        refuse("invalid_online_url")
    if changed & {"start_at", "end_at"} and after["start_at"] and after["end_at"] and after["end_at"] <= after["start_at"]:
        refuse("end_at_not_after_start_at")
    if "capacity" in changed and after["capacity"] is not None and not 0 <= after["capacity"] <= 2147483647:
        refuse("capacity_out_of_range")
    if "course_id" in changed and after["course_id"] is not None and after["course_id"] not in COURSES:
        refuse("course_not_found")
    if "primary_model_id" in patch or "allowed_model_ids" in patch:
        primary, allowed = after["primary_model_id"], list(dict.fromkeys(after["allowed_model_ids"]))
        if primary is None and allowed:
            primary = allowed[0]
        if primary is not None and primary not in allowed:
            allowed.append(primary)
        unknown = sorted({id for id in allowed if id not in MODELS})
        if unknown and (primary, allowed) != (old.get("primary_model_id"), old.get("allowed_model_ids")):
            refuse(f"model_catalog 에 존재하지 않는 모델 id 가 포함되어 있습니다: [{', '.join(map(str, unknown))}]")
        after["primary_model_id"], after["allowed_model_ids"] = primary, allowed
    return after


def given(body):
    fields = {name: value for name, value in body.model_dump().items() if value is not None}
    for value in fields.values():
        if isinstance(value, str):
            # What has no UTF-8 form no database keeps: a 500.
            value.encode()
    for name in ("start_at", "end_at", "expires_at"):
        if name in fields:
            fields[name] = utc(fields[name])
    if "status" in fields:
        fields["status"] = fields["status"].value
    return fields


def page(rows, limit, offset):
    return {"items": rows[offset:offset + limit], "total": len(rows), "page": offset // limit + 1, "size": limit}


# --- classes ---


@app.get("/partner/{partner_id}/classes", response_model=ClassPage)
async def list_classes(
    partner_id: int = Path(...),
    course_id: Optional[int] = Query(None),
    status: Optional[str] = Query(None),
    limit: int = Query(50, ge=1, le=100),
    offset: int = Query(0, ge=0),
    partner: int = Depends(current_partner),
):
    if status and "\0" in status:
        refuse(NUL)
    found = [
        of for of in classes.values()
        if of["partner_id"] == partner and (course_id is None or of["course_id"] == course_id)
        and (not status or of["status"] == status)
    ]
    found.sort(key=lambda of: (of["created_at"], of["id"]), reverse=True)
    return page([shown(of) for of in found], limit, offset)


@app.post("/partner/{partner_id}/classes", response_model=ClassOut, status_code=201)
async def create_class(
    body: ClassCreate,
    partner_id: int = Path(...),
    course_id: Optional[int] = Query(None),
    partner: int = Depends(current_partner),
):
    fields = given(body)
    if course_id is not None:
        fields["course_id"] = course_id
    blank = {
        "name": "", "status": "planned", "description": None, "start_at": None, "end_at": None, "capacity": None,
        "timezone": "UTC", "location": None, "online_url": None, "invite_only": False, "course_id": None,
        "primary_model_id": None, "allowed_model_ids": [],
    }
    after = settled(blank, fields)
    of = new_class(number("classes"), partner, after)
    id = number("codes")
    new_code(id, of, f"#{id}")
    return shown(of)


@app.get("/partner/{partner_id}/classes/{class_id}", response_model=ClassOut)
async def get_class(partner_id: int = Path(...), class_id: int = Path(..., ge=1), partner: int = Depends(current_partner)):
    return shown(own_class(partner, class_id))


@app.patch("/partner/{partner_id}/classes/{class_id}", response_model=ClassOut)
async def patch_class(
    body: ClassUpdate,
    partner_id: int = Path(...),
    class_id: int = Path(..., ge=1),
    partner: int = Depends(current_partner),
):
    of = own_class(partner, class_id)
    after = settled(of, given(body))
    if after != of:
        of.update(after, updated_at=now())
    return shown(of)


@app.delete("/partner/{partner_id}/classes/{class_id}", status_code=204)
async def delete_class(partner_id: int = Path(...), class_id: int = Path(..., ge=1), partner: int = Depends(current_partner)):
    own_class(partner, class_id)
    del classes[class_id]
    for rows in (codes, members):
        for id in [id for id, row in rows.items() if row["class_id"] == class_id]:
            del rows[id]


# --- invite codes ---


@app.get("/partner/{partner_id}/classes/{class_id}/invite-codes", response_model=InvitePage)
async def list_codes(
    partner_id: int = Path(...),
    class_id: int = Path(..., ge=1),
    active_only: Optional[bool] = Query(None),
    limit: int = Query(50, ge=1, le=100),
    offset: int = Query(0, ge=0),
    partner: int = Depends(current_partner),
):
    own_class(partner, class_id)
    found = [shown_code(code) for code in codes.values() if code["class_id"] == class_id]
    found = [code for code in found if not active_only or code["status"] == "active"]
    found.sort(key=lambda code: code["id"], reverse=True)
    return page(found, limit, offset)


@app.post("/partner/{partner_id}/classes/{class_id}/invite-codes", response_model=InviteOut, status_code=201)
async def create_code(
    body: InviteCreate,
    partner_id: int = Path(...),
    class_id: int = Path(..., ge=1),
    partner: int = Depends(current_partner),
):
    of = own_class(partner, class_id)
    text = None
    if body.code is not None:
        text = body.code.strip().upper()
        if len(text) != 6 or not set(text) <= ALPHABET:
            refuse("invalid_code_format")
        organisation = ORGANISATION[partner]
        if any(code["code"] == text and ORGANISATION[code["partner_id"]] == organisation for code in codes.values()):
            raise HTTPException(409, "code already exists")
    at = utc(body.expires_at)
    if body.max_uses is not None and body.max_uses > 2147483647:
        refuse("max_uses_out_of_range")
    id = number("codes")
    return shown_code(new_code(id, of, text or f"#{id}", expires_at=at, max_uses=body.max_uses))


def own_code(partner, class_id, id):
    own_class(partner, class_id)
    code = codes.get(id)
    if code is None or code["class_id"] != class_id:
        raise HTTPException(404, "Invite not found")
    return code


@app.patch("/partner/{partner_id}/classes/{class_id}/invite-codes/{invite_code_id}", response_model=InviteOut)
async def patch_code(
    body: InviteUpdate,
    partner_id: int = Path(...),
    class_id: int = Path(..., ge=1),
    invite_code_id: int = Path(..., ge=1),
    partner: int = Depends(current_partner),
):
    code = own_code(partner, class_id, invite_code_id)
    after = {**code, **given(body)}
    if after["max_uses"] != code["max_uses"] and after["max_uses"] < code["used_count"]:
        refuse("max_uses_below_used_count")
    if after["max_uses"] != code["max_uses"] and after["max_uses"] > 2147483647:
        refuse("max_uses_out_of_range")
    code.update(after)
    return shown_code(code)


@app.delete("/partner/{partner_id}/classes/{class_id}/invite-codes/{invite_code_id}", status_code=204)
async def delete_code(
    partner_id: int = Path(...),
    class_id: int = Path(..., ge=1),
    invite_code_id: int = Path(..., ge=1),
    partner: int = Depends(current_partner),
):
    own_code(partner, class_id, invite_code_id)
    del codes[invite_code_id]
    for member in members.values():
        if member["invite_code_id"] == invite_code_id:
            member["invite_code_id"] = None


# --- members ---


@app.get("/partner/{partner_id}/classes/{class_id}/enrollments", response_model=MemberPage)
async def list_members(
    partner_id: int = Path(...),
    class_id: int = Path(..., ge=1),
    status: Optional[MembershipStatus] = Query(None),
    limit: int = Query(50, ge=1, le=100),
    offset: int = Query(0, ge=0),
    partner: int = Depends(current_partner),
):
    own_class(partner, class_id)
    found = [
        {**member, "student": students[member["student_id"]]} for member in members.values()
        if member["class_id"] == class_id and (status is None or member["status"] == status.value)
    ]
    found.sort(key=lambda member: (member["enrolled_at"], member["id"]), reverse=True)
    return page(found, limit, offset)


@app.post("/user/class/invites/redeem", response_model=EnrollmentOut, status_code=201)
async def redeem(body: Redeem, user: dict = Depends(current_user)):
    text = body.code.strip().upper()
    if len(text) != 6 and not text.startswith("#"):
        refuse("invalid_code_format")
    organisation = ORGANISATION.get(user["partner_id"], 3)
    code = next((
        code for code in codes.values()
        if code["code"] == text and ORGANISATION[code["partner_id"]] == organisation
    ), None)
    if code is None or shown_code(code)["status"] != "active" or (
        code["max_uses"] is not None and code["used_count"] >= code["max_uses"]
    ):
        refuse("invalid_or_expired_code")
    if user["email"] is None:
        refuse("email_required")
    of = classes[code["class_id"]]
    student = next((
        student for student in students.values()
        if student["partner_id"] == of["partner_id"] and student["user_id"] == user["id"]
    ), None)
    member = student and next((
        member for member in members.values()
        if member["class_id"] == of["id"] and member["student_id"] == student["id"]
    ), None)
    if member:
        return member
    if of["status"] == "ended":
        refuse("class_ended")
    active = sum(member["class_id"] == of["id"] and member["status"] == "active" for member in members.values())
    if of["capacity"] is not None and active >= of["capacity"]:
        refuse("class_full")
    at = now()
    if student is None:
        id = number("students")
        student = students[id] = {
            "id": id, "partner_id": of["partner_id"], "user_id": user["id"], "full_name": user["name"],
            "email": user["email"], "status": "active", "joined_at": at, "primary_contact": None, "notes": None,
        }
    id = number("members")
    members[id] = {
        "id": id, "class_id": of["id"], "student_id": student["id"], "invite_code_id": code["id"],
        "status": "active", "enrolled_at": at, "completed_at": None,
    }
    code["used_count"] += 1
    if code["used_count"] == code["max_uses"]:
        code["status"] = "disabled"
    return members[id]
