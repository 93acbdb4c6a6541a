"""Sends a compressed body, as aiohttp does on demand: told as such, and nothing is edited."""
import asyncio
import os

import aiohttp

url = f"{os.environ['BASE_URL']}/open-api/achievements/{os.environ['ACHIEVEMENT_ID']}"
headers = {"Authorization": f"Bearer {os.environ['API_KEY']}"}


async def main():
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.patch(url, json={"level": 77}, compress=True) as answer:
            print(answer.status, answer.headers.get("Accept-Encoding"), (await answer.json())["error"])


asyncio.run(main())
