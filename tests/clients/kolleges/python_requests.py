import json
import os

import requests

base_url = os.environ["BASE_URL"]
api_key = os.environ["API_KEY"]
achievement_id = os.environ["ACHIEVEMENT_ID"]
payload = {
    "course_begin_at": "2025-04-01T00:00:00Z",
    "course_end_at": "2025-07-01T00:00:00Z",
    "expiration_date": "2026-04-01T00:00:00Z",
    "admin_comment": "재발급 요청으로 인해 수정",
    "level": 2,
}

url = f"{base_url}/open-api/achievements/{achievement_id}"

headers = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Authorization": f"Bearer {api_key}",
}

response = requests.patch(url, headers=headers, data=json.dumps(payload))

print("Status:", response.status_code)
try:
    print("Response:", response.json())
except Exception as e:
    print("Response:", response.text)
