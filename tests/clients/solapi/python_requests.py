import hmac, hashlib, json, os, secrets, requests
from datetime import datetime, timezone

api_key = os.environ['API_KEY']
api_secret = os.environ['API_SECRET']
date_time = datetime.now(timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')
salt = secrets.token_hex(16)
signature = hmac.new(api_secret.encode(), (date_time + salt).encode(), hashlib.sha256).hexdigest()
auth_header = f'HMAC-SHA256 apiKey={api_key}, date={date_time}, salt={salt}, signature={signature}'

response = requests.patch(f"{os.environ['BASE_URL']}/crm-core/v1/relationships/{os.environ['RELATIONSHIP_ID']}", headers={
    'Authorization': auth_header,
    'Content-Type': 'application/json'
}, json={
    "metadata": {
        "role": "secondary",
        "notes": "2차 담당"
    }
})
data = response.json()
print(json.dumps(data))
