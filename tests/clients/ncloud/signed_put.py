import base64
import hashlib
import hmac
import json
import os
import time

import requests

base_url = os.environ["BASE_URL"]
access_key = os.environ["ACCESS_KEY"]
secret_key = os.environ["SECRET_KEY"]
path = os.environ["APPLICATION_PATH"]
body = os.environ["BODY"]


def make_signature(method, uri, timestamp):
    message = f"{method} {uri}\n{timestamp}\n{access_key}"
    digest = hmac.new(secret_key.encode(), message.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


timestamp = str(int(time.time() * 1000))
response = requests.put(
    base_url + path,
    headers={
        "Content-Type": "application/json",
        "x-ncp-apigw-timestamp": timestamp,
        "x-ncp-iam-access-key": access_key,
        "x-ncp-apigw-signature-v2": make_signature("PUT", path, timestamp),
    },
    data=body.encode(),
)
print("Status:", response.status_code)
print("Response:", json.dumps(response.json()))
