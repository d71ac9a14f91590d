"""A server on the loopback that misbehaves in the ways real ones do."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes


class Server(ThreadingHTTPServer):
    """content: what is served; ranges: whether Range is obeyed; cut: bytes sent per answer before the connection is
    cut, 0 for none; statuses: answered in turn before the real answer; requests: Range headers seen.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.cut, self.statuses, self.etag = CONTENT, True, 0, [], '"one"'
        self.requests = []
        self.url = f"http://127.0.0.1:{self.server_port}/set.zip"

    def handle_error(self, request, client_address):
        pass  # cut connections are meant


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append(self.headers.get("Range"))
        if server.statuses:
            self.send_response(server.statuses.pop(0))
            self.send_header("Retry-After", "7")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body, wanted = server.content, self.headers.get("Range")
        same = self.headers.get("If-Range") in (None, server.etag)
        if wanted and server.ranges and same:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            body = body[start:]
        else:
            self.send_response(200)
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut] if server.cut else body)

    def log_message(self, *args):
        pass
