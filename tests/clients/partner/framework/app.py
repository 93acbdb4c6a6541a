"""The documented routes on the vendor's own framework, with everything in memory.

Schema, defaults and order of checks are those of the vendor's pages; the rules are the rulings of
docs/compatibility/partner.md. It is what Haksa is compared with, so nothing in it is Haksa's.
"""

import secrets
import unicodedata
from datetime import date, datetime, timezone
from enum import Enum
from typing import Literal, Optional
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, HTTPException, Path, Query
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, EmailStr, Field

ALPHABET = set("ABCDEFGHJKLMNPQRSTUVWXYZ23456789")
# The names of the time-zone database that the comparison uses.
ZONES = {"UTC", "Asia/Seoul", "Asia/Calcutta", "America/Argentina/Buenos_Aires", "GB-Eire"}
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


class StudentStatus(str, Enum):
    active = "active"
    inactive = "inactive"
    archived = "archived"


class StudentOut(BaseModel):
    id: int
    partner_id: int
    full_name: str
    email: Optional[str]
    status: str
    joined_at: datetime
    primary_contact: Optional[str]
    notes: Optional[str]
    user_id: Optional[int]


class StudentUpdate(BaseModel):
    full_name: Optional[str] = None
    email: Optional[EmailStr] = None
    status: Optional[StudentStatus] = None
    primary_contact: Optional[str] = None
    notes: Optional[str] = None
    user_id: Optional[int] = None


class EnrollmentCreate(BaseModel):
    class_id: int
    student_id: int
    invite_code_id: Optional[int] = None
    status: Optional[MembershipStatus] = None
    enrolled_at: Optional[datetime] = None
    completed_at: Optional[datetime] = None


class EnrollmentUpdate(BaseModel):
    class_id: Optional[int] = None
    student_id: Optional[int] = None
    invite_code_id: Optional[int] = None
    status: Optional[MembershipStatus] = None
    enrolled_at: Optional[datetime] = None
    completed_at: Optional[datetime] = None


class MyClassOut(BaseModel):
    enrollment_id: int
    class_id: int
    class_title: str
    primary_model_id: Optional[int]
    allowed_model_ids: list[int]
    course_title: Optional[str]
    org_name: Optional[str]
    teacher_name: Optional[str]
    class_start_at: Optional[datetime]
    class_end_at: Optional[datetime]
    enrollment_status: str
    enrolled_at: datetime
    completed_at: Optional[datetime]
    last_activity_at: Optional[datetime]


class MyClassPage(BaseModel):
    items: list[MyClassOut]
    total: int
    page: int
    size: int


class CourseStatus(str, Enum):
    draft = "draft"
    active = "active"
    archived = "archived"


class CourseCreate(BaseModel):
    title: str
    course_key: str
    status: Optional[CourseStatus] = None
    start_date: Optional[date] = None
    end_date: Optional[date] = None
    description: Optional[str] = None


class CourseUpdate(BaseModel):
    title: Optional[str] = None
    course_key: Optional[str] = None
    status: Optional[CourseStatus] = None
    start_date: Optional[date] = None
    end_date: Optional[date] = None
    description: Optional[str] = None


class CourseOut(BaseModel):
    title: str
    course_key: str
    status: CourseStatus
    start_date: Optional[date]
    end_date: Optional[date]
    description: Optional[str]
    id: int
    created_at: datetime
    updated_at: datetime


class CoursePage(BaseModel):
    items: list[CourseOut]
    total: int
    page: int
    size: int


class ModelOut(BaseModel):
    id: int
    provider: str
    model_name: str
    modality: str
    supports_parallel: bool
    default_pricing: Optional[dict]
    is_active: bool
    created_at: datetime
    updated_at: datetime


class ModelPage(BaseModel):
    items: list[ModelOut]
    total: int
    page: int
    size: int


class Login(BaseModel):
    email: EmailStr
    password: str


class Refresh(BaseModel):
    refresh_token: str


class Tokens(BaseModel):
    access_token: str
    refresh_token: str
    token_type: str = "bearer"


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
ORGANISATION_NAME = "Sandbox Academy"
PASSWORDS = {"doyun@example.com": "demo-partner-password", "hajun@example.com": "demo-student-password"}
STARTED = datetime.now(timezone.utc)
models = {
    id: {
        "id": id, "provider": "demo", "model_name": name, "modality": "chat", "supports_parallel": False, "default_pricing": None,
        "is_active": True, "created_at": STARTED, "updated_at": STARTED,
    } for id, name in [(1, "demo-small"), (2, "demo-large"), (3, "demo-vision")]
}
courses = {
    5: {
        "id": 5, "title": "AI 입문", "course_key": "ai-2026", "status": "active", "start_date": None, "end_date": None, "description": None,
        "created_at": STARTED, "updated_at": STARTED,
    },
}
refreshes: set[str] = set()
owed: set[int] = set()
classes: dict[int, dict] = {}
codes: dict[int, dict] = {}
students: dict[int, dict] = {}
members: dict[int, dict] = {}
# A row that went leaves its number behind. The demonstration has courses of other systems, too.
used = {"classes": 0, "codes": 0, "students": 0, "members": 0, "courses": 303}


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


def is_nul(*texts):
    return any(isinstance(text, str) and "\0" in text for text in texts)


def filtered(*texts):
    """Texts to filter by, which a database would keep."""
    if is_nul(*texts):
        refuse(NUL)


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


# On the routes of courses the permission step alone declares the partner's id.
OfPartner = Depends(current_partner)


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
    if changed & {"start_at", "end_at"} and after["start_at"] and after["end_at"] and after["end_at"] < after["start_at"]:
        refuse("end_at_not_after_start_at")
    if "capacity" in changed and after["capacity"] is not None and not 0 <= after["capacity"] <= 2147483647:
        refuse("capacity_out_of_range")
    if "course_id" in changed and after["course_id"] is not None and after["course_id"] not in courses:
        refuse("course_not_found")
    if "primary_model_id" in patch or "allowed_model_ids" in patch:
        primary, allowed = after["primary_model_id"], list(dict.fromkeys(after["allowed_model_ids"]))
        if primary is None and allowed:
            primary = allowed[0]
        if primary is not None and primary not in allowed:
            allowed.append(primary)
        unknown = sorted({id for id in allowed if id not in models})
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
    for member in members.values():
        if member["invite_code_id"] not in codes:
            member["invite_code_id"] = None


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
    status: Optional[str] = Query(None),
    limit: int = Query(50, ge=1, le=100),
    offset: int = Query(0, ge=0),
    partner: int = Depends(current_partner),
):
    own_class(partner, class_id)
    filtered(status)
    found = [
        {**member, "student": students[member["student_id"]]} for member in members.values()
        if member["class_id"] == class_id and (not status or member["status"] == status)
    ]
    found.sort(key=lambda member: (member["enrolled_at"], member["id"]), reverse=True)
    return page(found, limit, offset)


@app.post("/user/class/invites/redeem", response_model=EnrollmentOut, status_code=201)
async def redeem(body: Redeem, user: dict = Depends(current_user)):
    text = body.code.strip().upper()
    if len(text) != 6 and not text.startswith("#"):
        refuse("invalid_code_format")
    filtered(text)
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
    own = [student for student in students.values() if student["partner_id"] == of["partner_id"]]
    same = [student for student in own if (student["email"] or "").lower() == user["email"]]
    student = next((student for student in own if student["user_id"] == user["id"]), None) or next(
        (student for student in same if student["user_id"] is None), None)
    member = student and next((
        member for member in members.values()
        if member["class_id"] == of["id"] and member["student_id"] == student["id"]
    ), None)
    if member and member["status"] != "dropped":
        member["invite_code_id"] = member["invite_code_id"] or code["id"]
        return member
    if of["status"] == "ended":
        refuse("class_ended")
    refuse_full(of)
    at = now()
    if student is None:
        id = number("students")
        student = students[id] = {
            "id": id, "partner_id": of["partner_id"], "user_id": user["id"], "full_name": user["name"],
            "email": None if same else user["email"], "status": "active", "joined_at": at, "primary_contact": None, "notes": None,
        }
    student["user_id"] = user["id"]
    if member:
        member.update(status="active", completed_at=None, invite_code_id=code["id"])
    else:
        member = new_member(of, student, at, invite_code_id=code["id"])
    owe(of, student)
    code["used_count"] += 1
    if code["used_count"] == code["max_uses"]:
        code["status"] = "disabled"
    return member


def refuse_full(of):
    active = sum(member["class_id"] == of["id"] and member["status"] == "active" for member in members.values())
    if of["capacity"] is not None and active >= of["capacity"]:
        refuse("class_full")


def owe(of, student):
    """Whoever comes into a class with a course owes that, and a course that is owed stays."""
    course = courses.get(of["course_id"])
    if course and student["user_id"] and course["id"] not in owed:
        owed.add(course["id"])
        course["updated_at"] = now()


def new_member(of, student, at, **fields):
    id = number("members")
    members[id] = {
        "id": id, "class_id": of["id"], "student_id": student["id"], "invite_code_id": None, "status": "active", "enrolled_at": at,
        "completed_at": None, **fields,
    }
    return members[id]


# --- students ---


def own_student(partner, id):
    student = students.get(id)
    if student is None or student["partner_id"] != partner:
        raise HTTPException(404, "student not found")
    return student


def conflict():
    raise HTTPException(409, "student conflict within partner")


@app.get("/partner/{partner_id}/student", response_model=list[StudentOut])
async def list_students(
    partner_id: int = Path(...),
    status: Optional[str] = Query(None),
    q: Optional[str] = Query(None),
    limit: int = Query(200, ge=1, le=500),
    offset: int = Query(0, ge=0),
    partner: int = OfPartner,
):
    filtered(status, q)
    found = [
        student for student in students.values()
        if student["partner_id"] == partner and (not status or student["status"] == status)
        and (not q or any(q.lower() in (student[name] or "").lower() for name in ("full_name", "email", "primary_contact")))
    ]
    found.sort(key=lambda student: (student["joined_at"], student["id"]), reverse=True)
    return found[offset:offset + limit]


@app.get("/partner/{partner_id}/student/{student_id}", response_model=StudentOut)
async def get_student(partner_id: int = Path(...), student_id: int = Path(...), partner: int = OfPartner):
    return own_student(partner, student_id)


@app.patch("/partner/{partner_id}/student/{student_id}", response_model=StudentOut)
async def patch_student(body: StudentUpdate, partner_id: int = Path(...), student_id: int = Path(...), partner: int = OfPartner):
    student = own_student(partner, student_id)
    sent = body.model_dump(exclude_unset=True)
    for value in sent.values():
        if isinstance(value, str):
            value.encode()
    filtered(*sent.values())
    if any(name in sent and sent[name] is None for name in ("full_name", "status")):
        conflict()
    if "status" in sent:
        sent["status"] = sent["status"].value
    changed = {name: value for name, value in sent.items() if student[name] != value}
    if "full_name" in changed and not changed["full_name"].strip():
        refuse("full_name_required")
    if any(unicodedata.category(letter) == "Cc" for letter in changed.get("full_name", "")):
        refuse("full_name_control_character")
    if changed.get("user_id") is not None and changed["user_id"] not in {101, 91, 90}:
        conflict()
    for other in students.values():
        if other is student or other["partner_id"] != partner:
            continue
        if changed.get("email") is not None and (other["email"] or "").lower() == changed["email"].lower():
            conflict()
        if changed.get("user_id") is not None and other["user_id"] == changed["user_id"]:
            conflict()
    student.update(changed)
    return student


@app.delete("/partner/{partner_id}/student/{student_id}", status_code=204)
async def delete_student(partner_id: int = Path(...), student_id: int = Path(...), partner: int = OfPartner):
    own_student(partner, student_id)
    del students[student_id]
    for id in [id for id, member in members.items() if member["student_id"] == student_id]:
        del members[id]


@app.post("/partner/{partner_id}/student/{student_id}/deactivate", response_model=StudentOut)
async def deactivate(partner_id: int = Path(...), student_id: int = Path(...), partner: int = OfPartner):
    student = own_student(partner, student_id)
    student["status"] = "inactive"
    return student


@app.post("/partner/{partner_id}/student/{student_id}/archive", response_model=StudentOut)
async def archive(partner_id: int = Path(...), student_id: int = Path(...), partner: int = OfPartner):
    student = own_student(partner, student_id)
    student["status"] = "archived"
    return student


# --- enrollments ---


@app.get("/partner/{partner_id}/student/{student_id}/enrollments", response_model=list[EnrollmentOut])
async def list_enrollments(
    partner_id: int = Path(...),
    student_id: int = Path(...),
    status: Optional[str] = Query(None),
    limit: int = Query(200, ge=1, le=500),
    offset: int = Query(0, ge=0),
    partner: int = OfPartner,
):
    own_student(partner, student_id)
    filtered(status)
    found = [
        member for member in members.values()
        if member["student_id"] == student_id and (not status or member["status"] == status)
    ]
    found.sort(key=lambda member: (member["enrolled_at"], member["id"]), reverse=True)
    return found[offset:offset + limit]


@app.post("/partner/{partner_id}/student/{student_id}/enrollments", response_model=EnrollmentOut, status_code=201)
async def enroll(body: EnrollmentCreate, partner_id: int = Path(...), student_id: int = Path(...), partner: int = OfPartner):
    student = own_student(partner, student_id)
    of = own_class(partner, body.class_id)
    known = next((m for m in members.values() if (m["class_id"], m["student_id"]) == (of["id"], student_id)), None)
    if known:
        return known
    if body.invite_code_id is not None:
        code = codes.get(body.invite_code_id)
        if code is None or code["class_id"] != of["id"]:
            refuse("invite_code_not_found")
    status = body.status.value if body.status else "active"
    if status == "active":
        refuse_full(of)
        owe(of, student)
    return new_member(of, student, now(), invite_code_id=body.invite_code_id, status=status)


def own_member(partner, id):
    member = members.get(id)
    if member is None or classes[member["class_id"]]["partner_id"] != partner:
        raise HTTPException(404, "enrollment not found")
    return member


@app.patch("/partner/{partner_id}/student/enrollments/{enrollment_id}", response_model=EnrollmentOut)
async def patch_member(body: EnrollmentUpdate, partner_id: int = Path(...), enrollment_id: int = Path(...), partner: int = OfPartner):
    member = own_member(partner, enrollment_id)
    sent = body.model_dump(exclude_unset=True)
    sent = {name: value for name, value in sent.items() if value is not None or name in ("invite_code_id", "completed_at")}
    if "status" in sent:
        sent["status"] = sent["status"].value
    for name in ("enrolled_at", "completed_at"):
        if name in sent:
            sent[name] = utc(sent[name])
    changed = {name for name, value in sent.items() if member[name] != value}
    after = {**member, **sent}
    if "class_id" in changed:
        own_class(partner, after["class_id"])
    if "student_id" in changed:
        own_student(partner, after["student_id"])
    if "invite_code_id" in changed and after["invite_code_id"] is not None:
        code = codes.get(after["invite_code_id"])
        if code is None or code["partner_id"] != partner:
            refuse("invite_code_not_found")
    if changed & {"enrolled_at", "completed_at"} and after["completed_at"] and after["completed_at"] < after["enrolled_at"]:
        refuse("completed_at_before_enrolled_at")
    if changed & {"class_id", "status"} and after["status"] == "active":
        of = classes[after["class_id"]]
        others = [m for m in members.values() if m is not member and m["class_id"] == of["id"] and m["status"] == "active"]
        if of["capacity"] is not None and len(others) >= of["capacity"]:
            refuse("class_full")
    ends = ("class_id", "student_id")
    if any(other is not member and all(other[name] == after[name] for name in ends) for other in members.values()):
        raise HTTPException(409, "already enrolled")
    member.update(after)
    return member


@app.post("/partner/{partner_id}/student/enrollments/{enrollment_id}/complete", response_model=EnrollmentOut)
async def complete(partner_id: int = Path(...), enrollment_id: int = Path(...), partner: int = OfPartner):
    member = own_member(partner, enrollment_id)
    member.update(status="completed", completed_at=max(now(), member["enrolled_at"]))
    return member


@app.post("/partner/{partner_id}/student/enrollments/{enrollment_id}/drop", response_model=EnrollmentOut)
async def drop(partner_id: int = Path(...), enrollment_id: int = Path(...), partner: int = OfPartner):
    member = own_member(partner, enrollment_id)
    member["status"] = "dropped"
    return member


@app.delete("/partner/{partner_id}/student/enrollments/{enrollment_id}", status_code=204)
async def delete_member(partner_id: int = Path(...), enrollment_id: int = Path(...), partner: int = OfPartner):
    own_member(partner, enrollment_id)
    del members[enrollment_id]


@app.get("/user/classes", response_model=MyClassPage)
async def my_classes(
    status: Optional[MembershipStatus] = Query(None),
    limit: int = Query(50, ge=1, le=100),
    offset: int = Query(0, ge=0),
    user: dict = Depends(current_user),
):
    own = {student["id"] for student in students.values() if student["user_id"] == user["id"]}
    if not own:
        return {"items": [], "total": 0, "page": 1, "size": limit}
    wanted = {status.value} if status else {"active", "completed"}
    found = [member for member in members.values() if member["student_id"] in own and member["status"] in wanted]
    found.sort(key=lambda member: (member["enrolled_at"], member["id"]), reverse=True)

    def view(member):
        of = classes[member["class_id"]]
        course = courses.get(of["course_id"])
        return {
            "enrollment_id": member["id"], "class_id": of["id"], "class_title": of["name"], "primary_model_id": of["primary_model_id"],
            "allowed_model_ids": of["allowed_model_ids"], "course_title": course and course["title"],
            "org_name": course and ORGANISATION_NAME,
            "teacher_name": next(user["name"] for user in USERS.values() if user["partner_id"] == of["partner_id"]),
            "class_start_at": of["start_at"], "class_end_at": of["end_at"], "enrollment_status": member["status"],
            "enrolled_at": member["enrolled_at"], "completed_at": member["completed_at"], "last_activity_at": None,
        }

    return page([view(member) for member in found], limit, offset)


@app.delete("/user/class/enrollments/{enrollment_id}", status_code=204)
async def leave(enrollment_id: int = Path(...), user: dict = Depends(current_user)):
    member = members.get(enrollment_id)
    if member is None or students[member["student_id"]]["user_id"] != user["id"]:
        raise HTTPException(404, "enrollment not found")
    del members[enrollment_id]


# --- courses ---


def own_course(id):
    if id not in courses:
        raise HTTPException(404, "Course not found")
    return courses[id]


def course_after(old, sent):
    after = {**old, **sent}
    changed = {name for name, value in sent.items() if old.get(name) != value}
    filtered(*(after[name] for name in ("title", "course_key", "description") if name in changed))
    if "title" in changed and not after["title"].strip():
        refuse("title_required")
    if "course_key" in changed and not after["course_key"].strip():
        refuse("course_key_required")
    if changed & {"start_date", "end_date"} and after["start_date"] and after["end_date"] and after["end_date"] < after["start_date"]:
        refuse("end_date_before_start_date")
    if any(course is not old and course["course_key"] == after["course_key"] for course in courses.values()):
        raise HTTPException(409, "course_key already exists")
    return after


def course_page(status, search, limit, offset):
    filtered(status, search)
    found = [
        course for course in courses.values()
        if (not status or course["status"] == status)
        and (not search or any(search.lower() in course[name].lower() for name in ("title", "course_key")))
    ]
    found.sort(key=lambda course: (course["created_at"], course["id"]), reverse=True)
    return page(found, limit, offset)


@app.get("/partner/{partner_id}/course", response_model=CoursePage)
async def list_courses(
    status: Optional[str] = Query(None),
    search: Optional[str] = Query(None),
    limit: int = Query(50, ge=1, le=100),
    offset: int = Query(0, ge=0),
    partner: int = OfPartner,
):
    return course_page(status, search, limit, offset)


@app.get("/course", response_model=CoursePage)
async def list_public_courses(
    status: Optional[str] = Query(None),
    search: Optional[str] = Query(None),
    limit: int = Query(50, ge=1, le=100),
    offset: int = Query(0, ge=0),
):
    return course_page(status, search, limit, offset)


@app.post("/partner/{partner_id}/course", response_model=CourseOut, status_code=201)
async def create_course(body: CourseCreate, partner: int = OfPartner):
    blank = {"title": None, "course_key": None, "status": "draft", "start_date": None, "end_date": None, "description": None}
    after = course_after(blank, given(body))
    at, id = now(), number("courses")
    courses[id] = {**after, "id": id, "created_at": at, "updated_at": at}
    return courses[id]


@app.get("/partner/{partner_id}/course/{course_id}", response_model=CourseOut)
async def get_course(course_id: int = Path(..., ge=1), partner: int = OfPartner):
    return own_course(course_id)


@app.patch("/partner/{partner_id}/course/{course_id}", response_model=CourseOut)
async def patch_course(body: CourseUpdate, course_id: int = Path(..., ge=1), partner: int = OfPartner):
    course = own_course(course_id)
    after = course_after(course, given(body))
    if after != course:
        course.update(after, updated_at=now())
    return course


@app.delete("/partner/{partner_id}/course/{course_id}", status_code=204)
async def delete_course(course_id: int = Path(..., ge=1), partner: int = OfPartner):
    own_course(course_id)
    if course_id in owed:
        raise HTTPException(409, "course is in use")
    del courses[course_id]
    for of in classes.values():
        if of["course_id"] == course_id:
            of.update(course_id=None, updated_at=now())


# --- models ---


def model_page(page, size, provider, modality, q, is_active):
    filtered(provider, modality, q)
    found = [
        model for model in models.values()
        if model["is_active"] == is_active and model["modality"] == modality
        and (provider is None or model["provider"] == provider) and (not q or q.lower() in model["model_name"].lower())
    ]
    found.sort(key=lambda model: (model["provider"], model["model_name"]))
    return {"items": found[(page - 1) * size:page * size], "total": len(found), "page": page, "size": size}


@app.get("/models", response_model=ModelPage)
async def list_public_models(
    page: int = Query(1, ge=1),
    size: int = Query(50, ge=1, le=200),
    provider: Optional[str] = Query(None),
    modality: str = Query("chat"),
    q: Optional[str] = Query(None),
    only_active: bool = Query(True),
):
    return model_page(page, size, provider, modality, q, only_active)


@app.get("/partner/{partner_id}/catalog/models", response_model=ModelPage)
async def list_models(
    partner_id: int = Path(...),
    page: int = Query(1, ge=1),
    size: int = Query(50, ge=1, le=200),
    provider: Optional[str] = Query(None),
    modality: str = Query("chat"),
    q: Optional[str] = Query(None),
    only_available: bool = Query(False),
    partner: int = OfPartner,
):
    found = model_page(page, size, provider, modality, q, True)
    return {**found, "items": [], "total": 0} if only_available else found


# --- sign-in ---


def tokens():
    refresh = secrets.token_hex(8)
    refreshes.add(refresh)
    return {"access_token": secrets.token_hex(8), "refresh_token": refresh}


@app.post("/user/login", response_model=Tokens)
async def login(body: Login):
    if PASSWORDS.get(body.email.lower()) != body.password:
        raise HTTPException(401, "invalid credentials")
    return tokens()


@app.post("/user/refresh", response_model=Tokens)
async def refresh(body: Refresh):
    if body.refresh_token not in refreshes:
        raise HTTPException(401, "invalid refresh token")
    refreshes.remove(body.refresh_token)
    return tokens()
