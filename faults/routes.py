"""What is known of the operations of every API: whose ids their paths take, and a good body for each."""

import json
import re
import urllib.parse

from haksa import edit_of

JSON = "application/json"
# What a path parameter holds the id of. `id` depends on the path: see ids_of().
KINDS = {"achievementId": "achievement", "achievementFormId": "form", "certificateDesignId": "design",
         "badgeDesignId": "design", "partner_id": "partner", "class_id": "class", "course_id": "course",
         "applicationId": "application", "relationshipId": "relationship", "enrollment_id": "enrollment",
         "invite_code_id": "invite_code", "student_id": "student"}
OWN_IDS = {"achievementFormId": "551", "certificateDesignId": "165", "badgeDesignId": "83", "partner_id": "7",
           "class_id": "11", "course_id": "5", "achievementId": "1539", "achievement": "1539", "form": "551", "design": "165",
           "applicationId": edit_of("ncloud", 1)[1].rsplit("/", 1)[1],
           "relationshipId": edit_of("solapi", 1)[1].rsplit("/", 1)[1],
           "enrollment_id": edit_of("ispring", 1)[1].rsplit("/", 1)[1]}
# Haksa's own API calls every id `id`.
NATIVE_KINDS = {"achievements": "achievement", "forms": "form", "designs": "design", "messages": "message",
                "models": "model"}


def kind_of(path, parameter):
    """What a parameter of the path holds the id of."""
    if parameter == "enrollment_id" and path.startswith(("/partner/", "/user/")):
        return "membership"
    if path.startswith("/haksa/v1/"):
        return NATIVE_KINDS.get(path.split("/")[3])
    return KINDS.get(parameter)


def good_body(dialect, method, path, n):
    """Media type and body of a good request of the operation; none when it is not known here."""
    if method in ("GET", "DELETE") or path.endswith(("/undo", "/retry")):
        return JSON, ""
    if path == "/open-api/achievements/forms/{achievementFormId}":
        return JSON, json.dumps({"name": f"walls {n}", "achievementBadgeDesignId": 83})
    if path == "/haksa/v1/achievements/{id}":
        return JSON, json.dumps({"nft_token": f"walls {n}"})
    if path == "/haksa/v1/forms/{id}":
        return JSON, json.dumps({"requirements": [{"description": f"walls {n}"}]})
    if path == "/haksa/v1/designs/{id}":
        return JSON, json.dumps({"name": f"walls {n}"})
    if path.endswith(("/deactivate", "/archive", "/complete", "/drop")):
        return JSON, ""
    bodies = {"/partner/{partner_id}/classes": {"name": f"walls {n}"},
              "/partner/{partner_id}/classes/{class_id}/invite-codes": {"max_uses": 100 + n},
              "/partner/{partner_id}/classes/{class_id}/invite-codes/{invite_code_id}": {"max_uses": 100 + n},
              "/partner/{partner_id}/student/{student_id}": {"notes": f"walls {n}"},
              "/partner/{partner_id}/student/{student_id}/enrollments": {"class_id": 11, "student_id": 1},
              "/partner/{partner_id}/student/enrollments/{enrollment_id}": {"completed_at": f"2127-01-01T00:00:{n % 60:02}Z"},
              "/haksa/v1/models/{id}": {"supports_parallel": n % 2 == 0}}
    if path in bodies:
        return JSON, json.dumps(bodies[path])
    if path.startswith("/partner/{partner_id}/course"):
        more = {"course_key": f"walls-{n}"} if method == "POST" else {}
        return JSON, json.dumps({"title": f"walls {n}"} | more)
    if path == "/api/v1/applications/{applicationId}":
        texts = {"ko": "가", "en": "A", "ja": "ア"}
        return JSON, json.dumps(json.loads(edit_of("ncloud", n)[3]) | {
            "applicationType": "web", "mbrLoginAllow": "ALLOW", "protocol": "OAUTH2", "scopes": ["openid"],
            "redirectUris": ["http://127.0.0.1:9999/callback"], "clientAuthMethod": "client_secret_basic",
            "accessType": "confidential", "grantTypes": ["authorization_code"],
            "consentPage": {"applicationName": texts, "useLanguages": ["ko"], "defaultLanguage": "ko",
                            "usePurposeDesc": texts, "usePeriodDesc": texts, "dataTransferAbroad": False}})
    edits = {"kolleges": "/open-api/achievements/{achievementId}", "ncloud": "/applications/{applicationId}",
             "partner": "/partner/{partner_id}/classes/{class_id}",
             "solapi": "/crm-core/v1/relationships/{relationshipId}"}
    if edits.get(dialect) == path or path.endswith("/enrollment/{enrollment_id}"):
        return edit_of(dialect, n)[2:]
    return None


def own_id(path, parameter):
    return OWN_IDS.get(kind_of(path, parameter), OWN_IDS.get(parameter))


def fill(path, **ids):
    own = {parameter: own_id(path, parameter) for parameter in re.findall(r"\{(\w+)\}", path)}
    for name, value in (own | ids).items():
        path = path.replace("{" + name + "}", urllib.parse.quote(str(value), safe=""))
    return path
