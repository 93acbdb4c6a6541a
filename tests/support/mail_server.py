"""A real SMTP server (aiosmtpd) for the tests, on loopback.

    tests/support/python tests/support/mail_server.py PORT [--account USER PASSWORD] [--international]
        [--tls implicit|starttls CERTIFICATE_AND_KEY]

Prints one line of JSON when it is ready, {"port": N}, and one for each mail that it was given, as
it arrived and decoded. What it answers is up to the recipient's name:

    later@    451 to the first RCPT, 250 to the next
    never@    550 to RCPT
    spam@     554 to the text
    busy@     452 to the first text, 250 to the next
    slow@     takes the first text and does not answer for a minute, 250 to the next
    cut@      takes the first text and closes the connection, 250 to the next

What a strict parser finds wrong with a mail is said with it. The first mails are kept in the folder that TEST_MAILS
names, where it names one, for a spam filter to read (mails.py). With --international it takes addresses beyond ASCII.

Ends when its standard input does.
"""

import argparse
import asyncio
import email
import email.policy
import json
import mailbox
import os
import ssl
import sys
from collections import Counter

import mails
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


# Mails of one server that are kept: of thousands in one test each is like the others.
KEPT_MAX = 20


def say(line):
    print(json.dumps(line, ensure_ascii=True), flush=True)


class Handler:
    def __init__(self):
        self.seen = Counter()
        folder = os.environ.get("TEST_MAILS")
        self.kept = mailbox.mbox(f"{folder}/{os.getpid()}.mbox") if folder else None

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        return responses

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
        if self.kept is not None and self.seen["kept"] < KEPT_MAX:
            self.seen["kept"] += 1
            self.kept.add(envelope.content)
            self.kept.flush()
        mail = email.message_from_string(envelope.content.decode(), policy=email.policy.default)
        say({
            "faults": mails.faults(envelope.content, not envelope.smtp_utf8),
            "hello": session.host_name,
            "is_international": envelope.smtp_utf8,
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


async def main(port, account, tls, is_international):
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
            enable_SMTPUTF8=is_international,
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
parser.add_argument("--international", action="store_true")
arguments = parser.parse_args()
asyncio.run(main(arguments.port, arguments.account, arguments.tls, arguments.international))
