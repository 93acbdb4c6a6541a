"""Reads and edits through a proxy that compresses, with two of Python's clients: a tag that it has made weak is good for
an edit and for a read, once, and what the client has is not sent again."""
import os
import sys

import httpx
import requests

url = f"{os.environ['PROXY_URL']}/open-api/achievements/{os.environ['ACHIEVEMENT_ID']}"
bearer = {"Authorization": f"Bearer {os.environ['API_KEY']}"}


def expect(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: {found!r}, wanted {wanted!r}")


for client, level in ((requests, 11), (httpx, 12)):
    name = client.__name__
    first = client.get(url, headers=bearer)
    expect(f"{name}: a read", first.status_code, 200)
    expect(f"{name}: its encoding", first.headers["content-encoding"], "gzip")
    tag = first.headers["etag"]
    expect(f"{name}: the tag's beginning", tag[:3], 'W/"')
    again = client.get(url, headers={**bearer, "If-None-Match": tag})
    expect(f"{name}: a read of what is there", (again.status_code, again.content), (304, b""))
    for status in (200, 412):
        edit = client.patch(url, json={"level": level}, headers={**bearer, "If-Match": tag})
        expect(f"{name}: an edit by the tag", edit.status_code, status)
    again = client.get(url, headers={**bearer, "If-None-Match": tag})
    expect(f"{name}: a read of what has changed", again.status_code, 200)
    expect(f"{name}: what is read", again.json()["achievement"]["level"], level)
print("the tags are good")
