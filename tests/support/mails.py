"""What is wrong with mails, to a strict parser and to a spam filter.

    tests/support/python tests/support/mails.py MBOX...

Has SpamAssassin read mails, by its own rules alone and without a network. Prints their number and what is wrong, a
line each, and exits with 1 when anything is, or when there are none. (Python's own parser, which refuses every defect,
reads each mail when the tests' mail server takes it.)
"""

import email
import email.errors
import email.policy
import mailbox
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LINE_MAX = 78
# What a mail has no part in: that nothing handed it on, and that no network was asked.
OF_NO_MEANING = {"NO_RECEIVED", "NO_RELAYS", "ALL_TRUSTED"}


def faults(content, is_ascii=True):
    """What is wrong with a mail to a strict parser, a text each."""
    found = []
    if re.search(rb"\r(?!\n)|(?<!\r)\n", content):
        found.append("a line end that is none")
    head, _, _ = content.partition(b"\r\n\r\n")
    if is_ascii and not content.isascii():
        found.append("more than ASCII")
    for line in head.split(b"\r\n"):
        # A word longer than that cannot be broken.
        if len(line.decode()) > LINE_MAX and b" " in line.strip():
            found.append(f"a long line: {line!r}")
    try:
        # Bytes beyond ASCII are nothing to it, though a mail may have them (RFC 6532).
        mail = email.message_from_string(content.decode(), policy=email.policy.strict)
        for name, value in mail.items():
            # What a parser of ASCII says of an address that is not.
            known = () if is_ascii else (email.errors.NonASCIILocalPartDefect,)
            found += [f"{name}: {defect!r}" for defect in value.defects if not isinstance(defect, known)]
        found += [repr(defect) for defect in mail.defects]
        text = mail.get_content()
    except Exception as fault:
        return [*found, f"cannot be read: {fault!r}"]
    for name in ["From", "To", "Subject", "Message-ID", "Date", "MIME-Version"]:
        if len(mail.get_all(name, [])) != 1:
            found.append(f"{len(mail.get_all(name, []))} times {name}")
    if mail["MIME-Version"] != "1.0":
        found.append(f"MIME-Version: {mail['MIME-Version']}")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text.replace("\r\n", "\n")):
        found.append(f"control characters in {text!r}")
    return found


def judged(path):
    """SpamAssassin's word on each mail: its score, and the rules that it breaks."""
    command = ["spamassassin", "--local", "--nocreate-prefs", "--prefspath=/dev/null", "--mbox"]
    with open(path, "rb") as mails:
        done = subprocess.run(command, stdin=mails, stdout=subprocess.PIPE, check=True)
    heads = re.findall(rb"^X-Spam-Status: (.*(?:\n[ \t].*)*)", done.stdout, re.M)
    for status in heads:
        status = re.sub(r"\s+", " ", status.decode())
        score, tests = re.search(r"score=(\S+) .*tests=(.*?) (?:autolearn|version)", status).groups()
        yield float(score), {test for test in re.split(r"[,\s]+", tests) if test not in ("", "none")}


def main(paths):
    found = []
    # In one box: the filter takes seconds to start. A server that was sent nothing has left an empty one.
    with tempfile.NamedTemporaryFile(suffix=".mbox") as box:
        for path in paths:
            box.write(Path(path).read_bytes())
        box.flush()
        count = len(mailbox.mbox(box.name))
        verdicts = list(judged(box.name)) if count else []
    assert len(verdicts) == count, f"{count} mails, {len(verdicts)} verdicts"
    for index, (score, broken) in enumerate(verdicts):
        broken -= OF_NO_MEANING
        if broken or score >= 5:
            found.append(f"mail {index}: score {score}, {' '.join(sorted(broken))}")
    print(f"{count} mails", *found, sep="\n")
    return 1 if found or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
