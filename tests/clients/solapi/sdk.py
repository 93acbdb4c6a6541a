import json
import os

from solapi.lib.fetcher import default_fetcher

answer = default_fetcher(
    {"api_key": os.environ["API_KEY"], "api_secret": os.environ["API_SECRET"]},
    {
        "method": "PATCH",
        "url": f"{os.environ['BASE_URL']}/crm-core/v1/relationships/{os.environ['RELATIONSHIP_ID']}",
    },
    {"metadata": {"role": "secondary", "notes": "2차 담당"}},
)
print(json.dumps(answer))
