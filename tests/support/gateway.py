"""A gateway for text messages behind TLS, on loopback.

    tests/support/python tests/support/gateway.py CERTIFICATE_AND_KEY

Prints one line of JSON when it is ready, {"port": N}, and one for each request: its path and body.
It takes every message. Ends when its standard input does.
"""

import http.server
import json
import ssl
import sys
import threading


def say(line):
    print(json.dumps(line), flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        say({"path": self.path, "body": json.loads(body)})
        answer = json.dumps({"messageList": [{"messageId": "M4V1"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
say({"port": server.server_address[1]})
sys.stdin.read()
