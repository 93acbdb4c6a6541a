"""Signs what schemathesis sends, in the way of the dialect that HAKSA_DIALECT names; 15_strangers.py runs it."""

import json
import os
from types import SimpleNamespace

import schemathesis
from haksa import Client

CLIENT = Client(SimpleNamespace(demo=json.loads(os.environ["HAKSA_DEMO"]), ahead_s=0))


def signed(request):
    """Puts the headers onto a request that is ready to be sent, so that they are made of what is sent."""
    request.headers.update(CLIENT.sign(os.environ["HAKSA_DIALECT"], request.method, request.path_url))
    return request


schemathesis.auth.set_from_requests(signed)


@schemathesis.hook
def before_call(_context, case, _kwargs):
    """Makes header values text: those that come from a link to an earlier answer may be numbers, which none sends."""
    case.headers = {name: str(value) for name, value in (case.headers or {}).items()}
