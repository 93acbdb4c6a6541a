"""Plays a club's year as its own program would: a badge, a form, a thousand certificates, corrections, expiries,
deletions, lists by month and by name. Every number is counted by hand beside it and has to agree."""

import datetime
import os
import struct
import zlib

import requests

BASE = os.environ["BASE_URL"] + "/open-api"
session = requests.Session()
session.headers["Authorization"] = "Bearer " + os.environ["API_KEY"]


def ok(response, status, message):
    body = response.json()
    assert response.status_code == status, (response.status_code, response.text[:500])
    assert (body["statusCode"], body["message"]) == (status, message), body
    return body


def png(side):
    """A picture of one colour, made without a library."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    row = b"\0" + bytes([46, 98, 39]) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * side)) + chunk(b"IEND", b"")


def everything(**query):
    """All certificates that match, page by page, and no more pages than there are said to be."""
    found, page = [], 1
    while True:
        answer = ok(session.get(f"{BASE}/achievements", params={**query, "page": page, "pageSize": 90}), 200,
                    "인증서 목록이 조회되었습니다.")
        found += answer["achievements"]
        if page >= answer["totalPages"]:
            assert answer["totalPages"] == -(-len(found) // 90), (query, answer["totalPages"], len(found))
            return found
        page += 1


# --- design: a badge of the club's own picture, at both paths ---
for path in ("badge-designs", "achievements/badge-designs"):
    files = {"badge_image": ("올해의 배지.png", png(64), "image/png")}
    badge = ok(session.post(f"{BASE}/{path}", files=files), 201, "배지 디자인이 성공적으로 생성되었습니다.")["badgeDesignId"]
shown = ok(session.get(f"{BASE}/badge-designs/{badge}"), 200, "뱃지 디자인이 상세 조회되었습니다.")["badgeDesign"]
source = shown["layout_json"][0]["src"]
picture = requests.get(source if source.startswith("http") else os.environ["BASE_URL"] + source)
assert (picture.headers["Content-Type"], picture.content) == ("image/png", png(64))

# --- form ---
form = ok(session.post(f"{BASE}/achievements/forms", json={
    "name": "한 해를 마친 사람에게", "type": "completion", "prefix": "YEAR", "tags": ["일년"],
    "course_begin_at": "2025-03-01", "course_end_at": "2025-12-31", "achievementBadgeDesignId": badge,
}), 201, "인증서 양식이 생성되었습니다.")["achievementFormId"]

# --- a thousand people: 600 by e-mail, 400 by phone; every tenth is called 박 ---
def name(number):
    return f"{'박' if number % 10 == 0 else '김'}수강{number:04d}"

by_email = [{"name": name(n), "email": f"year{n:04d}@club.example.com", "level": n % 5,
             "custom_attributes": [{"attribute_tag": "score", "attribute_value": str(n % 100)}]} for n in range(600)]
by_phone = [{"name": name(n), "phoneNumber": f"010{n:08d}"} for n in range(600, 1000)]
for mode, users in (("email", by_email), ("phone", by_phone)):
    ok(session.post(f"{BASE}/achievements/issue", json={"achievementFormId": form, "mode": mode, "users": users}), 201,
       "인증서가 발급되었습니다.")
issued = everything(search="한 해를 마친")
assert len(issued) == 1000, len(issued)
assert len({one["certificate_number"] for one in issued}) == 1000
assert all(one["certificate_number"].startswith("YEAR-") for one in issued)
assert [sum(one["issuance_method"] == way for one in issued) for way in ("EMAIL", "PHONE")] == [600, 400]
by_name = {one["user"]["name"]: one for one in issued}
assert sorted(by_name) == sorted(name(n) for n in range(1000))

# A bad one among a thousand: nothing is issued.
broken = [*by_email, {"name": "주소가 없는 사람", "email": "no address"}]
refused = session.post(f"{BASE}/achievements/issue", json={"achievementFormId": form, "mode": "email", "users": broken})
assert refused.status_code == 400 and refused.json()["details"][0]["field"] == "users[600].email", refused.text
assert len(everything(search="한 해를 마친")) == 1000

# --- correct 50: 20 were issued last month, 30 get another level and a note ---
now = datetime.datetime.now(datetime.timezone.utc)
this_month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
last_month = this_month - datetime.timedelta(days=10)
edited = "인증서가 수정되었습니다."
for number in range(20):
    one = by_name[name(number)]
    ok(session.patch(f"{BASE}/achievements/{one['id']}", json={"created_at": last_month.isoformat()}), 200, edited)
for number in range(20, 50):
    one = by_name[name(number)]
    ok(session.patch(f"{BASE}/achievements/{one['id']}", json={"level": 9, "admin_comment": "정정"}), 200, edited)
    whole = ok(session.get(f"{BASE}/achievements/{one['id']}"), 200, "인증서가 조회되었습니다.")["achievement"]
    assert (whole["level"], whole["admin_comment"]) == (9, "정정")
    assert whole["certificate_number"] == one["certificate_number"]
    assert whole["customAttributes"] == [{"attribute_tag": "score", "attribute_value": str(number % 100)}]

# --- expire 10 ---
yesterday = (now - datetime.timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
for number in range(100, 110):
    one = by_name[name(number)]
    ok(session.patch(f"{BASE}/achievements/{one['id']}", json={"expiration_date": yesterday}), 200, edited)

# --- delete 5: two of those that were moved, three others ---
gone = [0, 1, 500, 501, 990]
for number in gone:
    one = by_name[name(number)]
    ok(session.delete(f"{BASE}/achievements/{one['id']}"), 200, "인증서가 삭제되었습니다.")
    assert session.delete(f"{BASE}/achievements/{one['id']}").status_code == 404
    assert session.get(f"{BASE}/achievements/{one['id']}").status_code == 404

# --- the year's totals ---
left = [n for n in range(1000) if n not in gone]
moved = [n for n in left if n < 20]
day = "%Y-%m-%d"
all_left = everything(search="한 해를 마친")
assert len(all_left) == len(left) == 995
in_month = everything(search="한 해를 마친", startDate=this_month.strftime(day))
assert len(in_month) == len(left) - len(moved) == 977, len(in_month)
before = everything(search="한 해를 마친", endDate=(this_month - datetime.timedelta(days=1)).strftime(day))
assert sorted(one["user"]["name"] for one in before) == sorted(name(n) for n in moved)
assert sum(one["expiration_date"] is not None for one in all_left) == 10
for search, wanted in (
    ("박수강", [n for n in left if n % 10 == 0]),
    ("박", [n for n in left if n % 10 == 0]),
    ("수강09", [n for n in left if 900 <= n < 1000]),
    ("YEAR0123@CLUB", [123]),
    ("year00", [n for n in left if n < 100]),
    ("%", []),
    ("_", []),
):
    found = [one for one in everything(search=search) if one["achievementForm"]["id"] == form]
    assert sorted(one["user"]["name"] for one in found) == [name(n) for n in sorted(wanted, key=name)], search
print("the totals agree: 995 left, 977 of this month, 18 of the last, 10 expired")
