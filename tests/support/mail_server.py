"""A real SMTP server (aiosmtpd) for the tests, on loopback.

    tests/support/python tests/support/mail_server.py PORT [--account USER PASSWORD]
        [--tls implicit|starttls CERTIFICATE_AND_KEY]

Prints one line of JSON when it is ready, {"port": N}, and one for each mail that it was given, as
it arrived and decoded. What it answers is up to the recipient's name:

    later@    451 to the first RCPT, 250 to the next
    never@    550 to RCPT
    spam@     554 to the text
    busy@     452 to the first text, 250 to the next
    slow@     takes the first text and does not answer for a minute, 250 to the next
    cut@      takes the first text and closes the connection, 250 to the next

Ends when its standard input does.
"""

import argparse
import asyncio
import email
import email.policy
import json
import ssl
import sys
from collections import Counter

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


def say(line):
    print(json.dumps(line, ensure_ascii=True), flush=True)


class Handler:
    def __init__(self):
        self.seen = Counter()

    async def handle_RCPT(self, server, session, envelope, address, options):
        name = address.split("@")[0]
        self.seen[address, "rcpt"] += 1
        if name == "never":
            return "550 5.1.1 no such user"
        if name == "later" and self.seen[address, "rcpt"] == 1:
            return "451 4.3.0 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        name = envelope.rcpt_tos[0].split("@")[0]
        self.seen[name, "data"] += 1
        if name == "spam":
            return "554 5.7.1 not wanted"
        if name == "busy" and self.seen[name, "data"] == 1:
            return "452 4.2.2 mailbox full"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        say({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "is_signed_in": bool(session.authenticated),
            "is_encrypted": server.transport.get_extra_info("sslcontext") is not None,
            "headers": {name.lower(): str(value) for name, value in mail.items()},
            "text": mail.get_content(),
            "raw": envelope.content.decode("latin-1"),
        })
        if name == "slow" and self.seen[name, "data"] == 1:
            await asyncio.sleep(60)
        if name == "cut" and self.seen[name, "data"] == 1:
            server.transport.abort()
        return "250 2.0.0 queued as 4ABC123"


async def main(port, account, tls):
    handler = Handler()

    def authenticate(server, session, envelope, mechanism, data):
        given = isinstance(data, LoginPassword) and [data.login.decode(), data.password.decode()]
        return AuthResult(success=given == account, handled=False)

    mode, certificate = tls or (None, None)
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    starttls = context if mode == "starttls" else None

    def session():
        return SMTP(
            handler,
            hostname="mail.example",
            authenticator=authenticate if account else None,
            auth_required=bool(account),
            auth_require_tls=starttls is not None,
            tls_context=starttls,
            require_starttls=starttls is not None,
        )

    loop = asyncio.get_running_loop()
    implicit = context if mode == "implicit" else None
    server = await loop.create_server(session, "127.0.0.1", port, ssl=implicit)
    say({"port": server.sockets[0].getsockname()[1]})
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("--account", nargs=2)
parser.add_argument("--tls", nargs=2)
arguments = parser.parse_args()
asyncio.run(main(arguments.port, arguments.account, arguments.tls))
