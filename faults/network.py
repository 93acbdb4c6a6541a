"""A network between Haksa and PostgreSQL that can go silent: connections stay open, and nothing comes through."""

import contextlib
import os
import selectors
import signal
import socket
import threading
import time
import urllib.parse

# A simple query of the protocol's: what a commit is sent as.
COMMIT = b"Q\0\0\0\x0bCOMMIT\0"


class Network:
    """Stands before the database of `url`; `self.url` leads through it."""

    def __init__(self, cluster, url):
        parts = urllib.parse.urlsplit(url)
        self.cluster, self.server = cluster, (parts.hostname, parts.port)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        at = f"{parts.username}:{parts.password}@127.0.0.1:{self.listener.getsockname()[1]}"
        self.url = parts._replace(netloc=at).geturl()
        self.is_silent, self.is_over, self.at_commit, self.frozen = False, False, None, []
        # The ends of connections on which nothing comes through any more.
        self.dead = []
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        threading.Thread(target=self._run, daemon=True).start()

    def close(self):
        self.is_over = True
        self.thaw()

    def thaw(self):
        """Lets the processes go on that were stopped in a commit."""
        while self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.frozen.pop(), signal.SIGCONT)

    def _run(self):
        while not self.is_over:
            if self.is_silent:
                time.sleep(0.01)
                continue
            for key, _ in self.selector.select(0.05):
                if self.is_silent:
                    break
                if key.fileobj.fileno() < 0:
                    continue  # Closed with the one at its other end, in this round.
                self._accept() if key.fileobj is self.listener else self._pass(key.fileobj, *key.data)

    def _accept(self):
        client, _ = self.listener.accept()
        try:
            server = socket.create_connection(self.server)
        except OSError:
            return client.close()
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.selector.register(client, selectors.EVENT_READ, (server, True))
        self.selector.register(server, selectors.EVENT_READ, (client, False))

    def _forget(self, *ends):
        for end in ends:
            with contextlib.suppress(KeyError, ValueError):
                self.selector.unregister(end)

    def _pass(self, source, target, is_from_client):
        try:
            sent = source.recv(65536)
            if not sent:
                raise ConnectionError
            if is_from_client and self.at_commit and (start := sent.find(COMMIT)) >= 0:
                how, self.at_commit = self.at_commit, None
                self._forget(source, target)
                self.dead += [source, target]
                if how == "frozen":
                    port = target.getsockname()[1]
                    found = f"SELECT pid FROM pg_stat_activity WHERE client_port = {port}"
                    self.frozen.append(int(self.cluster.sql(found)))
                    os.kill(self.frozen[0], signal.SIGSTOP)
                target.sendall(sent[:start] if "lost" in how else sent)
                if "cut" in how:
                    # What was sent is taken first.
                    time.sleep(0.1)
                    source.close()
                    target.close()
            else:
                target.sendall(sent)
        except OSError:
            self._forget(source, target)
            source.close()
            target.close()
