#!/usr/bin/env python3
"""Tests of ntn.py, and the stand-in for Notion that they run against.

    python3 test_ntn.py                        run all tests
    python3 test_ntn.py NAME ...               run some: a class, or CLASS.test_method
    python3 test_ntn.py sandbox [--port N]     serve the stand-in, to try ntn.py without an account

Nothing is needed but Python 3.6 or later, and nothing outside the loopback is talked to. A real
server, real files, real processes and real terminals are used; only the clock and the browser are
stood in for. All secrets that the stand-in hands out, and the token that tests put into the
environment, begin with a prefix that may appear in no output: every test is a leak test.

SPDX-License-Identifier: MIT
"""
import argparse
import ast
import collections
import contextlib
import email.utils
import errno
import faulthandler
import hashlib
import html
import http.client
import http.server
import io
import itertools
import json
import os
import random
import re
import select
import shlex
import shutil
import signal
import socket
import socketserver
import ssl
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import unittest
import urllib.parse
import uuid
import warnings
import zlib
from typing import Any, List, NamedTuple, Optional, Tuple
from unittest import mock

try:
    import fcntl
    import termios
except ImportError:  # Windows; the tests that need a terminal are skipped there
    fcntl = termios = None

HERE = os.path.dirname(os.path.abspath(__file__))
NTN = os.path.join(HERE, 'ntn.py')
sys.dont_write_bytecode = True  # a run leaves no __pycache__ beside the program
sys.path.insert(0, HERE)

import ntn  # noqa: E402 - only now can it be found from any directory

CANARY = 'ntn_canary_from_the_environment'
SECRET_PREFIXES = ('ntn_canary_', 'sess-canary-')
WORKSPACE = '11111111-2222-3333-4444-555555555555'
REQUEST_ID = '0e1ab4a7-5d3c-4c2f-9b8e-6f7a8b9c0d1e'
PENDING = 'cache/pending-login.json'


# ----------------------------------------------------------------------------------------------
# Harness 1: what the stand-in answers with
# ----------------------------------------------------------------------------------------------

class Request(NamedTuple):
    """A request as it came over the wire; `target` and the headers have not been touched."""
    method: str
    target: str
    path: str
    query: List[Tuple[str, str]]
    headers: List[Tuple[str, str]]
    body: bytes
    connection: int

    def json(self) -> Any:
        return json.loads(self.body.decode('utf-8'))

    def header(self, name: str) -> Optional[str]:
        """The header's values joined by a comma, as HTTP defines; None if it was not sent."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ', '.join(values) if values else None


class Answer:
    """A well-formed response, and some slightly malformed ones.

    `encoding` compresses the body ('gzip', 'deflate', or 'deflate-raw': the zlib-less form that
    some servers send). `chunked` is the size of the pieces of a chunked body. `length` overrides
    Content-Length; the connection is closed then, so that a longer promise is a broken one.
    `close` drops the connection after the answer without having announced it.
    """
    WINDOW_BITS = {'gzip': 31, 'deflate': 15, 'deflate-raw': -15}

    def __init__(self, status=200, body=b'', headers=(), content_type='application/json',
                 encoding=None, chunked=0, length=None, close=False):
        self.status = status
        self.body = body.encode('utf-8') if isinstance(body, str) else body
        self.headers = [('Content-Type', content_type)] + list(headers)
        self.chunked = chunked
        self.close = close or length is not None
        if encoding:
            compressor = zlib.compressobj(wbits=self.WINDOW_BITS[encoding])
            self.body = compressor.compress(self.body) + compressor.flush()
            self.headers.append(('Content-Encoding', encoding.partition('-')[0]))
        if chunked:
            self.headers.append(('Transfer-Encoding', 'chunked'))
        elif status not in (204, 304):
            promised = len(self.body) if length is None else length
            self.headers.append(('Content-Length', str(promised)))

    @classmethod
    def json(cls, value, status=200, headers=(), **options):
        return cls(status, json.dumps(value, ensure_ascii=False), headers, **options)

    @classmethod
    def error(cls, status, code, message, headers=(), **options):
        """An error as Notion words it."""
        value = {'object': 'error', 'status': status, 'code': code, 'message': message,
                 'request_id': REQUEST_ID}
        return cls.json(value, status, [('x-request-id', REQUEST_ID)] + list(headers), **options)

    def __call__(self, request, handler):
        lines = ['HTTP/1.1 %d %s' % (self.status, http.client.responses.get(self.status, ''))]
        lines += ['%s: %s' % header for header in handler.sandbox.date_header() + self.headers]
        head = '\r\n'.join(lines + ['', '']).encode('latin-1')
        handler.close_connection = handler.close_connection or self.close
        handler.wfile.write(head if request.method == 'HEAD' else head + self.framed_body())

    def framed_body(self):
        if not self.chunked:
            return self.body
        pieces = [self.body[i:i + self.chunked] for i in range(0, len(self.body), self.chunked)]
        return b''.join(b'%x\r\n%s\r\n' % (len(piece), piece) for piece in pieces + [b''])


def drip(pieces):
    """Answer with these raw bytes, each piece sent as the iterable gives it, and hang up."""
    def answer(request, handler):
        handler.close_connection = True
        for piece in pieces:
            handler.wfile.write(piece)
    return answer


def raw(data):
    """Answer with precisely these bytes, status line and all, and hang up."""
    return drip([data])


def cut(after=b''):
    """Break the connection, after these raw bytes of a response if there are any."""
    return raw(after)


def hang(event, answer=None):
    """Keep silent until `event` is set; then answer, or hang up if there is no answer."""
    def wait(request, handler):
        while not event.wait(0.01) and not handler.sandbox.stopping.is_set():
            pass
        return answer or cut()
    return wait


# ----------------------------------------------------------------------------------------------
# Harness 2: the stand-in for Notion
# ----------------------------------------------------------------------------------------------

def describe(summary, tag, operation_id, reference, **more):
    """An operation of the OpenAPI document."""
    return dict({'summary': summary, 'tags': [tag], 'operationId': operation_id,
                 'x-notion-docs-ref': 'reference/' + reference}, **more)


def content(schema):
    return {'content': {'application/json': {'schema': {'$ref': '#/components/' + schema}}}}


# Small, but with what makes such documents hard: a chain and a cycle of references, parameters
# referred to, a component that nothing reaches, several methods on one path.
OPENAPI = {
    'openapi': '3.1.0',
    'info': {'title': 'Notion API', 'version': '2026-03-11'},
    'paths': {
        '/v1/users/me': {
            'get': describe('Retrieve your token’s bot user', 'Users', 'get-self', 'get-self',
                            responses={'200': content('schemas/User')})},
        '/v1/users': {
            'get': describe('List all users', 'Users', 'get-users', 'get-users')},
        '/v1/search': {
            'post': describe('Search by title', 'Search', 'post-search', 'post-search')},
        '/v1/pages': {
            'post': describe('Create a page', 'Pages', 'post-page', 'post-page',
                             requestBody=content('schemas/Page'))},
        '/v1/pages/{page_id}': {
            'parameters': [{'$ref': '#/components/parameters/PageId'}],
            'get': describe('Retrieve a page', 'Pages', 'retrieve-a-page', 'retrieve-a-page',
                            responses={'200': content('schemas/Page')}),
            'patch': describe('Update page', 'Pages', 'patch-page', 'patch-page',
                              requestBody=content('schemas/Page'))},
        '/v1/blocks/{block_id}/children': {
            'get': describe('Retrieve block children', 'Blocks', 'get-block-children',
                            'get-block-children',
                            responses={'200': content('schemas/Block')}),
            'patch': describe('Append block children', 'Blocks', 'patch-block-children',
                              'patch-block-children')},
        '/v1/file_uploads/{file_upload_id}/send': {
            'post': describe('Upload a file', 'File uploads', 'send-file-upload',
                             'send-a-file-upload')},
    },
    'components': {
        'parameters': {'PageId': {'name': 'page_id', 'in': 'path', 'required': True,
                                  'schema': {'$ref': '#/components/schemas/Id'}}},
        'schemas': {
            'Id': {'type': 'string', 'format': 'uuid'},
            'User': {'type': 'object', 'properties': {'id': {'$ref': '#/components/schemas/Id'}}},
            'Page': {'type': 'object', 'properties': {
                'created_by': {'$ref': '#/components/schemas/User'},
                'children': {'type': 'array', 'items': {'$ref': '#/components/schemas/Block'}}}},
            'Block': {'type': 'object', 'properties': {
                'children': {'type': 'array', 'items': {'$ref': '#/components/schemas/Block'}}}},
            'Unreached': {'type': 'null'},
        },
    },
}

APPROVAL_PAGE = '''<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>ntn sandbox</title></head>
<body><h1>ntn sandbox</h1>
%s
</body></html>
'''
APPROVAL_FORM = '''<p>Does your terminal show this verification code?</p>
<p><strong>%s</strong></p>
<form method="post">
<button name="decision" value="approve">Approve</button>
<button name="decision" value="deny">Deny</button>
</form>'''


class Refusal(Exception):
    """Ends the work on a request: status, code and message of the error to answer with."""


class Session:
    """A login that was begun: 'pending', then 'approved' or 'denied', and 'used' in the end."""

    def __init__(self, number, expires):
        self.id = 'sess-canary-%d' % number
        self.code = 'DP9-QL%d' % (number + 4)
        self.token = 'ntn_canary_login_%d' % number
        self.expires = expires
        self.state = 'pending'
        self.workspace = None


ROUTES = []  # (method, pattern of the path, method of Sandbox that answers)


def route(method, template):
    """Register a method of Sandbox for a path; it gets what stands for the {names} as arguments."""
    pattern = '([^/]+)'.join(map(re.escape, re.split(r'\{\w+\}', template)))

    def register(function):
        ROUTES.append((method, re.compile(pattern + r'\Z'), function))
        return function
    return register


class Handler(http.server.BaseHTTPRequestHandler):
    """Reads a request off the wire and writes the sandbox's answer to it."""
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.sandbox = self.server.sandbox
        self.number = next(self.sandbox.connection_numbers)
        self.sandbox.connections.add(self.connection)

    def finish(self):
        self.sandbox.connections.discard(self.connection)
        super().finish()

    def __getattr__(self, name):
        if name.startswith('do_'):  # the base class asks for do_METHOD; any method is fine here
            return self.serve
        raise AttributeError(name)

    def log_message(self, *args):
        pass

    def serve(self):
        target = self.requestline.split()[1]  # self.path is tidied up by some Pythons
        path, _, query = re.sub(r'\Ahttps?://[^/?]*', '', target).partition('?')
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
        request = Request(self.command, target, path, pairs, self.headers.items(),
                          self.read_body(), self.number)
        self.sandbox.requests.append(request)
        answer = self.sandbox.choose_answer(request)
        while answer:
            answer = answer(request, self)

    def read_body(self):
        if self.headers.get('Transfer-Encoding', '').lower() == 'chunked':
            return b''.join(iter(self.read_chunk, b''))
        length = int(self.headers.get('Content-Length') or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # given up: no request, and no use for the next answer
            raise ConnectionResetError
        return body

    def read_chunk(self):
        size = int(self.rfile.readline().partition(b';')[0] or b'0', 16)
        chunk = self.rfile.read(size)
        self.rfile.readline()
        return chunk


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    block_on_close = False  # a client that never hangs up must not keep a test from ending
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that went away is none of our business; a mistake in a test's answer is."""
        if not isinstance(sys.exc_info()[1], OSError):
            self.sandbox.errors.append(traceback.format_exc())


class Sandbox:
    """Notion on the loopback: login, approval page, a little of the API, its documentation.

    It does what Notion would, unless `on` or `always` say otherwise. It can be stopped and
    started again on the same port, with all it knows.
    """

    def __init__(self, port=0, clock=time.time):
        self.port = port
        self.clock = clock
        self.date_offset = 0  # seconds by which Notion's clock is ahead of ours
        self.send_date = True
        self.expires_form = 's'  # of expiresAt: 's', 'ms', 'iso', or None to leave it out
        self.lifetime = 600  # seconds that a login session lasts
        self.workspaces = [(WORKSPACE, 'Acme')]  # approvals take them in turn
        self.valid_tokens = set()  # besides those issued by logins
        self.issued_tokens = []
        self.openapi = json.dumps(OPENAPI).encode('ascii')
        self.results = [{'object': 'page', 'id': 'page-%d' % number} for number in range(1, 4)]
        self.pages = {}
        self.requests = []
        self.errors = []  # tracebacks of mistakes in the answers themselves
        self.sessions = []
        self.scripted = collections.defaultdict(collections.deque)
        self.standing = {}
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.connections = set()
        self.connection_numbers = itertools.count(1)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc_info):
        self.stop()

    @property
    def origin(self):
        return 'http://127.0.0.1:%d' % self.port

    @property
    def environ(self):
        """The variables that send ntn.py here."""
        names = 'NOTION_BASE_URL', 'NOTION_API_BASE_URL', 'NOTION_API_DOCS_BASE_URL'
        return dict.fromkeys(names, self.origin)

    def start(self):
        self.stopping.clear()
        self.server = Server(('127.0.0.1', self.port), Handler)
        self.server.sandbox = self
        self.port = self.server.server_address[1]
        # The interval is how long `stop` may take; the usual half second would add up.
        threading.Thread(target=self.server.serve_forever, args=(0.005,), daemon=True).start()
        return self

    def stop(self):
        if self.stopping.is_set():
            return
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # the other side was faster
                pass

    def on(self, method, path, *answers):
        """Queue answers for a route, each given once. An answer is an `Answer` or any callable
        that takes (request, handler), and may return an answer to give next."""
        self.scripted[method, path].extend(answers)

    def always(self, method, path, answer):
        """Give this answer whenever the queue of the route is empty."""
        self.standing[method, path] = answer

    def sent(self, method, path):
        """The requests that came for a route, in order."""
        return [each for each in self.requests if (each.method, each.path) == (method, path)]

    def choose_answer(self, request):
        key = request.method, request.path
        with self.lock:
            if self.scripted[key]:
                return self.scripted[key].popleft()
            if key in self.standing:
                return self.standing[key]
            try:
                return self.answer_as_notion(request)
            except Refusal as refusal:
                return Answer.error(*refusal.args)

    def answer_as_notion(self, request):
        method = 'GET' if request.method == 'HEAD' else request.method
        is_api = request.path.startswith('/v1/')
        if is_api:
            self.authorize(request)
        for route_method, pattern, function in ROUTES:
            match = pattern.match(request.path)
            if match and route_method == method:
                return function(self, request, *match.groups())
        if is_api:
            raise Refusal(400, 'invalid_request_url', 'Invalid request URL.')
        raise Refusal(404, 'not_found', 'Nothing is served at this path.')

    # Time and login ---------------------------------------------------------------------------

    def now(self):
        """The time by Notion's clock."""
        return self.clock() + self.date_offset

    def date_header(self):
        date = email.utils.formatdate(self.now(), usegmt=True)
        return [('Date', date)] if self.send_date else []

    def find_session(self, code=None):
        """The session with this verification code; the newest without one; None if unknown."""
        matching = [each for each in self.sessions if code in (None, each.code)]
        return matching[-1] if matching else None

    def decide(self, session, approved, workspace=None):
        """Whether the decision was in time; a second one changes nothing."""
        if session.state != 'pending' or session.expires <= self.now():
            return False
        if approved:
            turn = sum(each.workspace is not None for each in self.sessions)
            session.workspace = workspace or self.workspaces[turn % len(self.workspaces)]
        session.state = 'approved' if approved else 'denied'
        return True

    def approve(self, code=None, workspace=None):
        """Do what the user does in the browser; `workspace` is an (id, name)."""
        return self.decide(self.find_session(code), True, workspace)

    def deny(self, code=None):
        return self.decide(self.find_session(code), False)

    @route('POST', '/api/v3/workersCliLoginInit')
    def begin_login(self, request):
        self.read_object(request)
        session = Session(len(self.sessions) + 1, self.now() + self.lifetime)
        self.sessions.append(session)
        value = {'sessionId': session.id, 'verificationCode': session.code,
                 'browserUrl': '%s/workers/cli-login?verificationCode=%s'
                               % (self.origin, session.code)}
        if self.expires_form:
            value['expiresAt'] = {
                's': int(session.expires),
                'ms': int(session.expires * 1000),
                'iso': time.strftime('%Y-%m-%dT%H:%M:%S.000Z', time.gmtime(session.expires)),
            }[self.expires_form]
        return Answer.json(value)

    @route('POST', '/api/v3/workersCliLoginRedeem')
    def redeem_login(self, request):
        wanted = self.read_object(request).get('sessionId')
        session = next((each for each in self.sessions if each.id == wanted), None)
        if session is None or session.state == 'used':
            raise Refusal(400, 'validation_error', 'No such login session.')
        if session.state == 'denied':
            raise Refusal(400, 'validation_error', 'The login was denied.')
        if session.expires <= self.now():
            return Answer.json({'status': 'expired'})
        if session.state == 'pending':
            return Answer.json({'status': 'pending'})
        session.state = 'used'
        self.issued_tokens.append(session.token)
        return Answer.json({'status': 'confirmed', 'token': session.token,
                            'spaceId': session.workspace[0], 'spaceName': session.workspace[1]})

    @route('GET', '/workers/cli-login')
    @route('POST', '/workers/cli-login')
    def show_approval_page(self, request):
        code = dict(request.query).get('verificationCode', '')
        session = self.find_session(code)
        shown, status = html.escape(code), 200
        if session is None:
            text, status = '<p>There is no login with the code %s.</p>' % shown, 404
        elif request.method != 'POST':
            text = APPROVAL_FORM % shown
        else:
            form = dict(urllib.parse.parse_qsl(request.body.decode('utf-8', 'replace')))
            approved = form.get('decision') == 'approve'
            if self.decide(session, approved):
                done = 'Approved' if approved else 'Denied'
                text = '<p>%s: %s. You can go back to your terminal.</p>' % (done, shown)
            else:
                text, status = '<p>The login %s is over already.</p>' % shown, 409
        return Answer(status, APPROVAL_PAGE % text, content_type='text/html; charset=utf-8')

    # API --------------------------------------------------------------------------------------

    def authorize(self, request):
        """The token of a request that Notion would look at."""
        kind, _, token = (request.header('Authorization') or '').partition(' ')
        if kind != 'Bearer' or token not in self.valid_tokens.union(self.issued_tokens):
            raise Refusal(401, 'unauthorized', 'API token is invalid.')
        if not request.header('Notion-Version'):
            raise Refusal(400, 'missing_version', 'Notion-Version header failed validation: '
                          'Notion-Version header should be defined, instead was `undefined`.')
        return token

    @staticmethod
    def read_object(request):
        try:
            value = json.loads(request.body.decode('utf-8') or '{}')
        except ValueError:
            raise Refusal(400, 'invalid_json', 'Error parsing JSON body.') from None
        if not isinstance(value, dict):
            raise Refusal(400, 'validation_error', 'body failed validation: body should be an '
                          'object.')
        return value

    def answer_page_of_results(self, parameters):
        """A part of `results` by page_size and start_cursor, from the query or from the body."""
        start = int(str(parameters.get('start_cursor', 'cursor-0')).rpartition('-')[2])
        end = start + int(parameters.get('page_size', 100))
        more = end < len(self.results)
        return Answer.json({'object': 'list', 'results': self.results[start:end],
                            'next_cursor': 'cursor-%d' % end if more else None, 'has_more': more})

    def change_page(self, page_id, fields):
        page = self.pages.setdefault(page_id, {'object': 'page', 'id': page_id,
                                               'archived': False, 'properties': {}})
        page.update(fields)
        return Answer.json(page)

    @route('GET', '/v1/users/me')
    def show_self(self, request):
        token = self.authorize(request)
        space = next((each.workspace for each in self.sessions if each.token == token),
                     self.workspaces[0])
        ann = {'object': 'user', 'id': 'a0000000-0000-4000-8000-000000000001', 'name': 'Ann',
               'avatar_url': None, 'type': 'person', 'person': {'email': 'ann@example.com'}}
        return Answer.json({
            'object': 'user', 'id': 'b0000000-0000-4000-8000-000000000002', 'name': 'Notion CLI',
            'avatar_url': None, 'type': 'bot',
            'bot': {'owner': {'type': 'user', 'user': ann},
                    'workspace_id': space[0], 'workspace_name': space[1]}})

    @route('GET', '/v1/users')
    def list_users(self, request):
        raise Refusal(403, 'restricted_resource', 'Insufficient permissions for this endpoint.')

    @route('POST', '/v1/search')
    def search(self, request):
        return self.answer_page_of_results(self.read_object(request))

    @route('GET', '/v1/blocks/{block_id}/children')
    def list_children(self, request, block_id):
        return self.answer_page_of_results(dict(request.query))

    @route('POST', '/v1/pages')
    def create_page(self, request):
        return self.change_page(str(uuid.uuid4()), self.read_object(request))

    @route('GET', '/v1/pages/{page_id}')
    @route('PATCH', '/v1/pages/{page_id}')
    def show_page(self, request, page_id):
        if page_id == 'missing':
            raise Refusal(404, 'object_not_found', 'Could not find page with ID: missing.')
        return self.change_page(
            page_id, self.read_object(request) if request.method == 'PATCH' else {})

    @route('POST', '/v1/file_uploads/{file_upload_id}/send')
    def receive_file(self, request, file_upload_id):
        return Answer.json({'object': 'file_upload', 'id': file_upload_id, 'status': 'uploaded',
                            'content_length': len(request.body)})

    @route('GET', '/v1/rate-limited')
    def limit_rate(self, request):
        return Answer.error(429, 'rate_limited', 'You have been rate limited.',
                            [('Retry-After', '1')])

    @route('GET', '/v1/errors/{status}')
    def fail_as_asked(self, request, status):
        raise Refusal(int(status), 'sandbox_error', 'This is the error you asked for.')

    # Documentation ----------------------------------------------------------------------------

    @route('GET', '/openapi.json')
    def show_openapi(self, request):
        tag = '"%s"' % hashlib.sha256(self.openapi).hexdigest()
        if request.header('If-None-Match') == tag:
            return Answer(304, headers=[('ETag', tag)])
        return Answer(200, self.openapi, [('ETag', tag)])

    @route('GET', '/reference/{name}.md')
    def show_reference(self, request, name):
        return Answer(200, '# %s\n\nThe documentation of this endpoint.\n' % name,
                      content_type='text/markdown; charset=utf-8')


def serve_sandbox(port):
    """The command `sandbox`: print what to export, and serve until interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidy up after a plain kill, too
    home = tempfile.mkdtemp(prefix='ntn-sandbox-')
    try:
        with Sandbox(port) as sandbox:
            sandbox.workspaces.append(('66666666-7777-4888-8999-aaaaaaaaaaaa', 'Globex'))
            # Without a keychain: trying things out must leave nothing in the user's own.
            variables = dict(sandbox.environ, NOTION_HOME=home, NOTION_KEYRING='0')
            for name, value in variables.items():
                print('export %s=%s' % (name, shlex.quote(value)))
            sys.stdout.flush()
            print('# Paste these lines into another terminal, then: python3 ntn.py login\n'
                  '# Ctrl-C here ends it and removes its directory.', file=sys.stderr)
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print('error: the sandbox cannot be served: %s' % error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(home, ignore_errors=True)


# ----------------------------------------------------------------------------------------------
# Harness 3: running ntn.py
# ----------------------------------------------------------------------------------------------

class Result(NamedTuple):
    """How a run ended. Bytes that are no UTF-8 are kept as surrogate escapes."""
    code: int
    out: str
    err: str


class FakeClock:
    """Time that passes only when someone sleeps. `on_sleep` is called after each sleep."""

    def __init__(self, on_sleep=lambda: None):
        self.wall = 1767225600.0  # 2026-01-01T00:00:00Z
        self.uptime = 1000.0
        self.sleeps = []
        self.on_sleep = on_sleep

    def time(self):
        return self.wall

    def monotonic(self):
        return self.uptime

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.wall += seconds
        self.uptime += seconds
        self.on_sleep()


def to_bytes(text):
    """UTF-8 whatever the locale that the tests run in; ntn.py itself is given C.UTF-8."""
    return text if isinstance(text, bytes) else text.encode('utf-8', 'surrogateescape')


def to_text(data):
    return bytes(data).decode('utf-8', 'surrogateescape')


def reap(process):
    """End a process if it still runs, and let go of all that belongs to it."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        try:
            if stream:
                stream.close()
        except OSError:  # what was still to be written has no reader any more
            pass


class Terminal:
    """ntn.py in a terminal of its own, and somebody who reads and types there."""

    # Run between fork and ntn.py: makes the terminal the controlling one, so that Ctrl-C is a
    # signal. A preexec_fn would do the same, but is not safe beside the sandbox's threads.
    ADOPT = ('import fcntl, os, sys, termios\n'
             'terminal = os.open(sys.argv[1], os.O_RDWR)\n'
             'fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)\n'
             'os.close(terminal)\n'
             'os.execv(sys.argv[2], sys.argv[2:])\n')

    def __init__(self, case, argv, env, cols, rows, secrets_ok, streams):
        self.case = case
        self.secrets_ok = secrets_ok
        self.master, slave = os.openpty()
        try:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', rows, cols, 0, 0))
            self.process = case.spawn(
                *argv, env=env, start_new_session=True,
                prefix=[sys.executable, '-I', '-S', '-c', self.ADOPT, os.ttyname(slave)],
                **dict({'stdin': slave, 'stdout': slave, 'stderr': slave}, **streams))
        finally:
            os.close(slave)
        pipes = [each.fileno() for each in (self.process.stdout, self.process.stderr) if each]
        self.collected = {descriptor: bytearray() for descriptor in [self.master] + pipes}
        self.open = set(self.collected)
        case.addCleanup(self.close)

    @property
    def output(self):
        """What the screen was sent, with the line ends that the program wrote."""
        return to_text(self.collected[self.master]).replace('\r\n', '\n')

    @property
    def stdout(self):
        """What came out of stdout, where that is a pipe."""
        return to_text(self.collected[self.process.stdout.fileno()])

    def pump(self, timeout):
        """Collect what is there; False if nothing came in time."""
        ready, _, _ = select.select(list(self.open), [], [], max(0, timeout))
        for descriptor in ready:
            try:
                data = os.read(descriptor, 65536)
            except OSError:  # so Linux reports that nobody holds the terminal any more
                data = b''
            self.collected[descriptor] += data
            if not data:
                self.open.remove(descriptor)
        return bool(ready)

    def expect(self, text, timeout=10):
        """Wait until the output contains this text."""
        deadline = time.monotonic() + timeout
        while text not in self.output:
            if not self.open or time.monotonic() > deadline:
                self.case.fail('%r did not come; the output:\n%s' % (text, self.output))
            self.pump(deadline - time.monotonic())

    def send(self, text):
        os.write(self.master, to_bytes(text))

    def wait(self, timeout=10):
        """The exit code, once the program has ended."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                self.case.fail('the program goes on; its output:\n%s' % self.output)
            self.pump(0.02)
        while self.open and self.pump(0.2):
            pass
        return self.process.returncode

    def close(self):
        self.process.kill()
        while self.open and self.pump(0.01):
            pass
        os.close(self.master)
        for data in self.collected.values():
            self.case.check_clean(to_text(data), self.secrets_ok)


class Case(unittest.TestCase):
    """A test with a sandbox, a directory and an environment of its own.

    self.dir    a temporary directory; self.tmp, below it, is the TMPDIR of ntn.py
    self.home   NOTION_HOME; it does not exist yet
    self.env    the environment that ntn.py gets; HOME is below a file, where nothing can be made
    """
    maxDiff = None

    def setUp(self):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix='ntn-test-'))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.addCleanup(self.check_files)
        self.home = os.path.join(self.dir, 'home')
        self.tmp = os.path.join(self.dir, 'tmp')
        os.mkdir(self.tmp)
        self.sandbox = Sandbox().start()
        self.addCleanup(self.check_sandbox)
        self.addCleanup(self.sandbox.stop)
        self.env = dict(
            self.sandbox.environ, PATH=os.environ.get('PATH', os.defpath), TMPDIR=self.tmp,
            HOME=os.path.join(os.path.abspath(__file__), 'home'), NOTION_HOME=self.home,
            NOTION_KEYRING='0', LC_ALL='C.UTF-8', PYTHONDONTWRITEBYTECODE='1',
            PYTHONWARNINGS='error')

    # Running ----------------------------------------------------------------------------------

    def environ(self, overrides):
        """self.env with changes; None takes a variable away."""
        merged = dict(self.env, **(overrides or {}))
        return {name: value for name, value in merged.items() if value is not None}

    def spawn(self, *argv, env=None, prefix=(), python_flags=(), **options):
        """Start ntn.py and return the Popen, which is ended and reaped after the test.

        `env` is as for `environ`, `prefix` a command that runs the interpreter, `options` are
        Popen's; streams not given are pipes.
        """
        command = list(prefix) + [sys.executable] + list(python_flags) + [NTN] + list(argv)
        variables = {to_bytes(k): to_bytes(v) for k, v in self.environ(env).items()}
        options = dict({name: subprocess.PIPE for name in ('stdin', 'stdout', 'stderr')},
                       **options)
        process = subprocess.Popen(list(map(to_bytes, command)), env=variables, **options)
        self.addCleanup(reap, process)
        return process

    def ntn(self, *argv, stdin=b'', timeout=30, secrets_ok=False, **options):
        """Run ntn.py as a process. `stdin`: bytes for a pipe, None for /dev/null, or a file.
        The options are those of `spawn`."""
        piped = isinstance(stdin, bytes)
        source = subprocess.PIPE if piped else subprocess.DEVNULL if stdin is None else stdin
        process = self.spawn(*argv, stdin=source, **options)
        try:
            out, err = process.communicate(stdin if piped else None, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            self.fail('no end after %s s: %r; the output:\n%r'
                      % (timeout, argv, process.communicate()))
        return self.checked(process.returncode, out, err, secrets_ok)

    def call(self, *argv, stdin=b'', env=None, clock=time, tty=(), encoding='utf-8',
             secrets_ok=False):
        """Run ntn.main in this process, which is fast and lets the clock be stood in for.

        `stdin`: bytes, which come as a regular file, None for /dev/null, or a binary file.
        `tty`: which of 'stdin', 'stdout', 'stderr' say that they are terminals.
        """
        if isinstance(stdin, bytes):
            with tempfile.TemporaryFile(dir=self.dir) as source:
                source.write(stdin)
                source.seek(0)
                return self.call(*argv, stdin=source, env=env, clock=clock, tty=tty,
                                 encoding=encoding, secrets_ok=secrets_ok)
        source = open(stdin.fileno() if stdin else os.devnull, 'rb', closefd=not stdin)
        binary = {'stdin': source, 'stdout': io.BytesIO(), 'stderr': io.BytesIO()}
        streams = {}
        for name, stream in binary.items():
            errors = 'backslashreplace' if name == 'stderr' else 'strict'  # as Python has it
            streams[name] = io.TextIOWrapper(stream, encoding, errors, newline='')
            streams[name].isatty = lambda name=name: name in tty
        with source:
            console = ntn.Console(environ=self.environ(env), clock=clock, **streams)
            code = ntn.main(list(argv), console)
        streams['stdout'].flush()
        streams['stderr'].flush()
        return self.checked(code, binary['stdout'].getvalue(), binary['stderr'].getvalue(),
                            secrets_ok)

    def terminal(self, *argv, env=None, cols=80, rows=24, secrets_ok=False, **streams):
        """Run ntn.py in a terminal; a stream given as subprocess.PIPE or a file goes elsewhere."""
        if termios is None:
            self.skipTest('there are no pseudo-terminals here')
        return Terminal(self, argv, dict({'TERM': 'xterm'}, **(env or {})), cols, rows,
                        secrets_ok, streams)

    def fake_clock(self, on_sleep=lambda: None):
        """A clock for `call`, which the sandbox goes by as well."""
        clock = FakeClock(on_sleep)
        self.sandbox.clock = clock.time
        return clock

    def free_port(self):
        """A port that refuses connections: it is taken, but nobody listens there."""
        holder = socket.socket()
        self.addCleanup(holder.close)
        holder.bind(('127.0.0.1', 0))
        return holder.getsockname()[1]

    # Leaks ------------------------------------------------------------------------------------

    def checked(self, code, out, err, secrets_ok):
        result = Result(code, to_text(out), to_text(err))
        self.check_clean(result.out + result.err, secrets_ok)
        return result

    def check_clean(self, text, secrets_ok=False):
        """No output shows a traceback, nor a secret unless that is what was asked for."""
        for unwanted in ('Traceback',) + (() if secrets_ok else SECRET_PREFIXES):
            self.assertNotIn(unwanted, text)

    def check_files(self):
        """Tokens and sessions are on disk in their own files only."""
        for directory, _, names in itertools.chain(os.walk(self.home), os.walk(self.tmp)):
            for name in names:
                path = os.path.join(directory, name)
                own = name.startswith(('auth.json', 'pending-login.json'))
                if not own and stat.S_ISREG(os.lstat(path).st_mode):
                    with open(path, 'rb') as file:
                        self.check_clean(to_text(file.read()))

    def check_sandbox(self):
        self.assertEqual([], self.sandbox.errors)

    # State on disk ----------------------------------------------------------------------------

    def state(self, name):
        """A state file's content, as an object; None if there is no such file. `name` is below
        NOTION_HOME: 'auth.json', or PENDING."""
        try:
            with open(os.path.join(self.home, name), encoding='utf-8') as file:
                return json.load(file)
        except FileNotFoundError:
            return None

    def write_state(self, name, content, mode=0o600):
        """Put a state file there: bytes as they are, anything else as JSON. Returns its path."""
        path = os.path.join(self.home, name)
        os.makedirs(self.home, 0o700, exist_ok=True)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(path, 'wb') as file:
            file.write(content if isinstance(content, bytes) else to_bytes(json.dumps(content)))
        os.chmod(path, mode)
        return path

    def store_login(self, token='ntn_canary_stored', workspace=WORKSPACE, name='Acme', env='prod'):
        """Log in without the ceremony: beside the logins that are stored, and as the default."""
        config = self.state('config.json') or {'version': '1', 'defaultWorkspaceIds': {}}
        config['defaultWorkspaceIds'][env] = workspace
        cached = self.state('workspaces.json') or {'version': '1', 'environments': {}}
        cached['environments'].setdefault(env, {})[workspace] = {'id': workspace, 'name': name}
        self.write_state('config.json', config)
        self.write_state('workspaces.json', cached)
        self.write_state('auth.json', dict(self.state('auth.json') or {}, **{workspace: token}))
        self.sandbox.valid_tokens.add(token)


# ---- Settings ------------------------------------------------------------------------------------

class SettingsTest(Case):
    """Flag, then environment variable, then file, then default."""

    def refuse(self, options, environ, message, hint):
        with self.assertRaises(ntn.CliError) as caught:
            ntn.load_settings(options, environ)
        error = caught.exception
        self.assertEqual((message, hint, 2), (error.message, error.hint, error.code))

    def test_each_environment_has_its_origins(self):
        for name, login, api in (
                ('prod', 'https://www.notion.so', 'https://api.notion.com'),
                ('stg', 'https://stg.notion.so', 'https://api-stg.notion.com'),
                ('dev', 'https://dev.notion.so', 'https://api-dev.notion.com'),
                ('local', 'http://localhost:3000', 'https://api-dev.notion.com')):
            for options, environ in (({'--env': name}, {}), ({}, {'NOTION_ENV': name})):
                with self.subTest(options=options, environ=environ):
                    found = ntn.load_settings(options, dict(environ, NOTION_HOME=self.home))
                    self.assertEqual(
                        (name, login, api, 'https://developers.notion.com'),
                        (found.environment, found.login_origin, found.api_origin,
                         found.docs_origin))

    def test_a_flag_beats_a_variable_and_a_variable_the_default(self):
        for options, environ, field, expected in (
                ({}, {}, 'environment', 'prod'),
                ({}, {'NOTION_ENV': 'dev'}, 'environment', 'dev'),
                ({'--env': 'stg'}, {'NOTION_ENV': 'dev'}, 'environment', 'stg'),
                ({}, {}, 'notion_version', '2026-03-11'),
                ({}, {'NOTION_API_VERSION': '2022-06-28'}, 'notion_version', '2022-06-28'),
                ({'--notion-version': '2025-09-03'}, {'NOTION_API_VERSION': '2022-06-28'},
                 'notion_version', '2025-09-03'),
                ({}, {}, 'workspace_id', None),
                ({}, {'NOTION_WORKSPACE_ID': 'abc'}, 'workspace_id', 'abc'),
                ({}, {}, 'keyring', None),
                ({}, {'NOTION_KEYRING': '0'}, 'keyring', False),
                ({}, {'NOTION_KEYRING': '1'}, 'keyring', True),
                ({}, {}, 'credential', None),
                ({}, {'NOTION_API_TOKEN': CANARY}, 'credential',
                 ntn.Credential(CANARY, 'NOTION_API_TOKEN', None)),
                ({}, {'NOTION_API_TOKEN': CANARY + '\n'}, 'credential',
                 ntn.Credential(CANARY, 'NOTION_API_TOKEN', None))):
            with self.subTest(options=options, environ=environ, field=field):
                found = ntn.load_settings(options, dict(environ, NOTION_HOME=self.home))
                self.assertEqual(expected, getattr(found, field))

    def test_an_empty_variable_is_unset(self):
        base = {'HOME': self.dir}
        names = ['NOTION_' + name for name in (
            'API_TOKEN', 'WORKSPACE_ID', 'KEYRING', 'HOME', 'ENV', 'API_VERSION', 'BASE_URL',
            'API_BASE_URL', 'API_DOCS_BASE_URL')] + ['XDG_CONFIG_HOME', 'XDG_CACHE_HOME']
        self.assertEqual(ntn.load_settings({}, base),
                         ntn.load_settings({}, dict(base, **dict.fromkeys(names, ''))))

    def test_an_unknown_environment_is_refused(self):
        for name, hint in (('production', ''), ('prd', 'Did you mean `prod`?'), ('PROD', '')):
            for options, environ in (({'--env': name}, {}), ({}, {'NOTION_ENV': name})):
                with self.subTest(options=options, environ=environ):
                    self.refuse(options, environ, 'There is no environment %r: --env and NOTION_ENV'
                                ' take local, dev, stg or prod.' % name, hint)

    def test_an_empty_environment_on_the_command_line_is_not_production(self):
        self.store_login()
        result = self.call('logout', '--env', '')
        self.assertEqual((2, ''), result[:2])
        self.assertEqual({WORKSPACE: 'ntn_canary_stored'}, self.state('auth.json'))

    def test_an_unknown_keyring_mode_is_refused(self):
        for value in ('2', 'true', 'no', ' '):
            with self.subTest(value=value):
                self.refuse({}, {'NOTION_KEYRING': value}, 'NOTION_KEYRING is %r: it takes 0 (file '
                            'only) or 1 (keychain only).' % value,
                            'Unset it to use the keychain where there is one.')

    # Origins ----------------------------------------------------------------------------------

    def test_an_origin_is_overridden_in_its_own_place(self):
        for variable, field in (('NOTION_BASE_URL', 'login_origin'),
                                ('NOTION_API_BASE_URL', 'api_origin'),
                                ('NOTION_API_DOCS_BASE_URL', 'docs_origin')):
            with self.subTest(variable=variable):
                base = {'NOTION_HOME': self.home, 'NOTION_ENV': 'dev'}
                found = ntn.load_settings({}, dict(base, **{variable: 'https://a.example'}))
                self.assertEqual(
                    ntn.load_settings({}, base)._replace(**{field: 'https://a.example'}), found)

    def test_https_anywhere_and_http_on_the_loopback_are_origins(self):
        for text, origin in (
                ('https://api.example.com', 'https://api.example.com'),
                ('https://api.example.com/', 'https://api.example.com'),
                ('HTTPS://API.Example.COM:443', 'https://api.example.com'),
                ('https://my_host:8443', 'https://my_host:8443'),
                ('https://[2001:db8::1]:8443', 'https://[2001:db8::1]:8443'),
                ('https://10.0.0.1', 'https://10.0.0.1'),
                ('http://localhost:3000', 'http://localhost:3000'),
                ('http://LOCALHOST:80/', 'http://localhost'),
                ('http://127.0.0.1:8080', 'http://127.0.0.1:8080'),
                ('http://127.8.9.10', 'http://127.8.9.10'),
                ('http://[::1]:8080', 'http://[::1]:8080')):
            with self.subTest(text=text):
                found = ntn.load_settings({}, {'HOME': self.dir, 'NOTION_BASE_URL': text})
                self.assertEqual(origin, found.login_origin)

    def test_plain_http_over_a_network_is_refused(self):
        for text in ('http://api.notion.com', 'http://10.0.0.1', 'http://0.0.0.0', 'http://[::]',
                     'http://128.0.0.1', 'http://localhost.example.com', 'http://notlocalhost',
                     'http://127.0.0.1.example.com', 'http://127.0.0.1x',
                     'http://127.999.999.999', 'http://[::2]:80'):
            with self.subTest(text=text):
                self.refuse({}, {'NOTION_API_BASE_URL': text},
                            'NOTION_API_BASE_URL is %r: it must be https, or http to this machine.'
                            % text, 'Use https://, or http://localhost:PORT for a server of your '
                            'own.')

    def test_what_is_more_or_less_than_an_origin_is_refused(self):
        for text in ('api.example.com', '//api.example.com', 'https://', 'https:///', 'https:a',
                     'ftp://a.example', 'file:///etc/passwd', 'https://user@a.example',
                     'https://user:pw@a.example', 'https://a.example/path', 'https://a.example//',
                     'https://a.example?', 'https://a.example/?q=1', 'https://a.example#x',
                     'https://a.example:99999', 'https://a.example:port', 'https://a b.example',
                     ' https://a.example', 'https://a.example\n', 'https://a.example\\@b.example',
                     'https://a.ex\xe4mple', 'https://a.example\u202e', 'https://[::1',
                     'http://localhost@a.example', 'https://a.example\x00', '-'):
            with self.subTest(text=text):
                self.refuse({}, {'NOTION_BASE_URL': text}, 'NOTION_BASE_URL is %r, which is no '
                            'origin such as https://api.example.com.'
                            % re.sub('//.*@', '//***@', text),
                            'Give scheme and host, and a port if needed.')

    def test_no_command_starts_with_a_refused_origin(self):
        for variable in ('NOTION_BASE_URL', 'NOTION_API_BASE_URL', 'NOTION_API_DOCS_BASE_URL'):
            for argv in (['api', 'v1/users/me'], ['login'], ['logout'], ['whoami'], ['debug']):
                with self.subTest(variable=variable, argv=argv):
                    env = {variable: 'http://evil.example', 'NOTION_API_TOKEN': CANARY}
                    self.assertEqual(
                        (2, '', "error: %s is 'http://evil.example': it must be https, or http to "
                         'this machine.\n  hint: Use https://, or http://localhost:PORT for a '
                         'server of your own.\n' % variable), self.call(*argv, env=env))
        self.assertEqual([], self.sandbox.requests)
        self.assertFalse(os.path.exists(self.home))

    # Directories ------------------------------------------------------------------------------

    def make_home(self, entries):
        """A home directory; an entry with a final slash is a directory, a dangling link with ->."""
        home = tempfile.mkdtemp(dir=self.dir)
        for entry in entries:
            path = os.path.join(home, entry.rstrip('/>-'))
            if entry.endswith('/'):
                os.makedirs(path)
            elif entry.endswith('->'):
                os.symlink(os.path.join(home, 'nowhere'), path)
            else:
                open(path, 'w').close()
        return home

    def test_config_is_in_the_first_directory_that_can_be_used(self):
        for entries, expected in (
                ([], '.config/notion'),
                (['.config/'], '.config/notion'),
                (['.config/notion/'], '.config/notion'),
                (['.notion/'], '.notion'),
                (['.notion/', '.config/'], '.notion'),
                (['.notion/', '.config/notion/'], '.config/notion'),
                (['.notion'], '.config/notion'),
                (['.config'], '.notion'),
                (['.config', '.notion/'], '.notion'),
                (['.config->'], '.notion')):
            with self.subTest(entries=entries):
                home = self.make_home(entries)
                self.assertEqual(
                    (os.path.join(home, expected), os.path.join(home, '.cache/notion')),
                    ntn.find_directories({'HOME': home}))

    def test_notion_home_beats_xdg_and_xdg_beats_home(self):
        home = self.make_home(['.notion/'])
        base = {'HOME': home, 'XDG_CONFIG_HOME': '/xdg/config', 'XDG_CACHE_HOME': '/xdg/cache'}
        own = os.path.join(home, '.notion'), os.path.join(home, '.cache/notion')
        for changes, expected in (
                ({}, ('/xdg/config/notion', '/xdg/cache/notion')),
                ({'XDG_CACHE_HOME': ''}, ('/xdg/config/notion', own[1])),
                ({'XDG_CONFIG_HOME': ''}, (own[0], '/xdg/cache/notion')),
                ({'XDG_CONFIG_HOME': 'relative', 'XDG_CACHE_HOME': './x'}, own),
                ({'HOME': '/dev/null/x'}, ('/xdg/config/notion', '/xdg/cache/notion')),
                ({'HOME': '/dev/null/x', 'XDG_CACHE_HOME': ''}, ('/xdg/config/notion', None)),
                ({'HOME': '/dev/null/x', 'XDG_CONFIG_HOME': ''}, (None, '/xdg/cache/notion')),
                ({'NOTION_HOME': '/n'}, ('/n', '/n/cache')),
                ({'NOTION_HOME': '/n/', 'HOME': '/dev/null'}, ('/n', '/n/cache')),
                ({'NOTION_HOME': 'n'}, (os.path.abspath('n'), os.path.abspath('n/cache')))):
            with self.subTest(changes=changes):
                self.assertEqual(expected, ntn.find_directories(dict(base, **changes)))

    def test_the_home_directory_comes_from_the_given_environment_alone(self):
        with mock.patch.dict(os.environ, HOME=self.dir):
            self.assertNotIn(os.path.join(self.dir, '.config', 'notion'),
                             ntn.find_directories({}))

    def test_files_are_written_where_the_settings_say(self):
        for entries, variables, config, cache in (
                ([], [], '.config/notion', '.cache/notion'),
                (['.notion/'], [], '.notion', '.cache/notion'),
                (['.config'], [], '.notion', '.cache/notion'),
                ([], ['XDG_CONFIG_HOME', 'XDG_CACHE_HOME'], 'XDG_CONFIG_HOME/notion',
                 'XDG_CACHE_HOME/notion'),
                ([], ['NOTION_HOME'], 'NOTION_HOME', 'NOTION_HOME/cache')):
            with self.subTest(entries=entries, variables=variables):
                home = self.make_home(entries)
                env = dict({'NOTION_HOME': None, 'HOME': home},
                           **{name: os.path.join(home, name) for name in variables})
                self.assertEqual(0, self.call('login', '--no-browser', env=env).code)
                self.sandbox.approve()
                self.assertEqual(0, self.call('login', 'poll', '--no-wait', env=env).code)
                files = {os.path.relpath(os.path.join(directory, name), home)
                         for directory, _, names in os.walk(home) for name in names}
                self.assertEqual({os.path.join(config, name) for name in (
                    '.lock', 'auth.json', 'config.json', 'workspaces.json')}.union(
                        [os.path.join(cache, '.lock')],
                        [entry for entry in entries if not entry.endswith('/')]), files)

    def test_without_a_home_the_hint_is_to_set_one(self):
        expected = (1, '', 'error: There is no usable home directory to keep files in.\n'
                    '  hint: Set NOTION_HOME to a directory that can be written.\n')
        for home in (self.env['HOME'], os.path.join(self.dir, 'missing')):
            for argv in (['login', '--no-browser'], ['login', 'poll'], ['logout'], ['whoami'],
                         ['auth', 'token'], ['api', 'v1/users/me']):
                with self.subTest(home=home, argv=argv):
                    env = {'NOTION_HOME': None, 'HOME': home}
                    self.assertEqual(expected, self.call(*argv, stdin=None, env=env))
        self.assertEqual([], self.sandbox.requests)

    def test_a_token_from_the_environment_needs_no_home(self):
        self.sandbox.valid_tokens.add(CANARY)
        env = {'NOTION_HOME': None, 'NOTION_API_TOKEN': CANARY}
        result = self.call('api', 'v1/users/me', stdin=None, env=env)
        self.assertEqual((0, ''), (result.code, result.err))
        self.assertEqual('user', json.loads(result.out)['object'])


# ---- HTTP ----------------------------------------------------------------------------------------

class ApiCase(Case):
    """A test of what `ntn api` and the server say to each other."""

    def setUp(self):
        super().setUp()
        self.env['NOTION_API_TOKEN'] = CANARY
        self.sandbox.valid_tokens.add(CANARY)

    def get(self, answer, *argv, **options):
        """Run `ntn api v1/x` once in this process; the server's next GET gets this answer."""
        self.sandbox.on('GET', '/v1/x', answer)
        return self.call('api', 'v1/x', '--no-retry', *argv, **options)

    def get_with(self, variables, *argv):
        """The same GET, with variables that the standard library looks up by itself."""
        environ = self.environ(variables)
        with mock.patch.dict(os.environ, environ, clear=True), \
                mock.patch.object(ntn, '_tls_context', None):
            return self.call('api', 'v1/x', '--no-retry', *argv, env=variables)

    @property
    def peer(self):
        return '127.0.0.1:%d' % self.sandbox.port

    def broken(self, how, out=''):
        """How a run ends that gets no answer, or half of one."""
        return self.unreachable('%s broke the connection off (%s).' % (self.peer, how),
                                'Try again.', out)

    def late(self, limit, out=''):
        what = '%s did not answer in time (%s s).' % (self.peer, limit)
        return self.unreachable(what, 'Try again later.', out)

    @staticmethod
    def unreachable(what, hint, out=''):
        return Result(5, out, 'error: Cannot reach Notion: %s\n  hint: %s\n' % (what, hint))


def head(*lines):
    """The head of an answer, as the wire has it."""
    return ''.join(line + '\r\n' for line in ('HTTP/1.1 200 OK',) + lines + ('',)).encode('latin-1')


class RequestOnTheWireTest(ApiCase):
    def test_headers_keep_their_order_and_repeats_and_replace_the_defaults(self):
        self.get(Answer(), 'X-A:1', 'X-b:2', 'user-agent:mine', 'X-A:3', 'x-a:')
        self.assertEqual([
            ('Host', self.peer), ('Authorization', 'Bearer ' + CANARY),
            ('Notion-Version', '2026-03-11'), ('Accept', 'application/json'),
            ('Accept-Encoding', 'gzip, deflate'),
            ('X-A', '1'), ('X-b', '2'), ('user-agent', 'mine'), ('X-A', '3'),
        ], self.sandbox.requests[0].headers)

    def test_a_body_comes_with_type_and_length_and_a_post_without_one_has_length_0(self):
        for argv, expected in [
            (['-XGET'], [None, None]), (['-XPOST'], [None, '0']), (['-XPATCH'], [None, '0']),
            (['-XDELETE'], [None, None]), (['-d', '[1]'], ['application/json', '3']),
            (['a=1', 'content-type:text/plain'], ['text/plain', '9']),
            (['-XDELETE', 'a=ü'], ['application/json', '10']),
        ]:
            with self.subTest(argv=argv):
                for method in 'GET', 'POST', 'PATCH', 'DELETE':
                    self.sandbox.always(method, '/v1/x', Answer())
                self.assertEqual((0, '', ''), self.call('api', 'v1/x', *argv))
                request = self.sandbox.requests[-1]
                self.assertEqual(expected, list(map(request.header,
                                                    ['Content-Type', 'Content-Length'])))

    def test_an_answer_that_comes_before_the_body_was_read_is_the_answer(self):
        def refuse(connection):
            connection.recv(1000)
            connection.sendall(b'HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\n{}')

        def close_lingering(connection):
            refuse(connection)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 20):
                pass

        path = os.path.join(self.dir, 'big.json')
        with open(path, 'w') as file:
            file.write('"%s"' % ('a' * 9000000))
        for serve in refuse, close_lingering:
            with self.subTest(serve.__name__), socket.socket() as listener:
                listener.bind(('127.0.0.1', 0))
                listener.listen(1)
                thread = threading.Thread(target=self.serve_once, args=(listener, serve))
                thread.start()
                result = self.call('api', 'v1/x', '-d', '@' + path, env={
                    'NOTION_API_BASE_URL': 'http://127.0.0.1:%d' % listener.getsockname()[1]})
                thread.join()
                self.assertEqual((5, '', 'error: Public API request failed (413 Content Too Large)'
                                         ': the answer is no Notion error.\n'), result)

    @staticmethod
    def serve_once(listener, serve):
        connection, _ = listener.accept()
        with connection:
            serve(connection)


class AnswerBodyTest(ApiCase):
    BODY = b'{"text": "%s"}\n' % (b'0123456789abcdef' * 9000)  # more than two reads

    def test_a_body_comes_out_the_same_however_it_was_framed_and_encoded(self):
        twice = b''.join(Answer(body=part, encoding='gzip').body
                         for part in (self.BODY[:1000], self.BODY[1000:]))
        for name, answer in [
            ('length', Answer(body=self.BODY)),
            ('chunks', Answer(body=self.BODY, chunked=1000)),
            ('tiny chunks', Answer(body=self.BODY, chunked=7, encoding='gzip')),
            ('until the end', raw(head() + self.BODY)),
            ('gzip', Answer(body=self.BODY, encoding='gzip')),
            ('gzip by its old name', Answer(body=twice, headers=[('Content-Encoding', 'X-GZip')])),
            ('gzip twice', Answer(body=twice, headers=[('Content-Encoding', 'gzip')], chunked=9)),
            ('zlib', Answer(body=self.BODY, encoding='deflate')),
            ('raw deflate', Answer(body=self.BODY, encoding='deflate-raw', chunked=1)),
            ('identity', Answer(body=self.BODY, headers=[('Content-Encoding', 'identity')])),
        ]:
            with self.subTest(name):
                self.assertEqual((0, to_text(self.BODY), ''), self.get(answer))

    def test_an_answer_without_a_body_prints_nothing(self):
        length, packed = ('Content-Length', '5'), ('Content-Encoding', 'gzip')
        for method, answer in [
            ('GET', Answer(204)), ('DELETE', Answer(204)), ('PATCH', Answer(204, headers=[length])),
            ('GET', Answer(200)), ('GET', Answer(200, chunked=5)), ('GET', raw(head())),
            ('GET', Answer(200, headers=[packed])), ('HEAD', Answer(200, 'hello')),
            ('HEAD', Answer(200, 'hello', encoding='gzip')), ('HEAD', Answer(200, 'x', chunked=1)),
        ]:
            with self.subTest(method, answer=vars(answer)):
                self.sandbox.on(method, '/v1/x', answer)
                self.assertEqual((0, '', ''), self.call('api', 'v1/x', '-X', method))

    def test_interim_answers_are_passed_over(self):
        interim = b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n'
        self.assertEqual((0, '{}', ''), self.get(raw(interim + head('Content-Length: 2') + b'{}')))

    def test_a_body_that_breaks_off_is_a_failure_after_what_came(self):
        zipped = Answer(body=b'0123456789' * 3, encoding='gzip').body
        packed = Answer(body=b'0123456789' * 3, encoding='deflate').body
        gzip = [('Content-Encoding', 'gzip')]
        for answer, out, how in [
            (Answer(body=b'12345', length=7), '12345', 'the answer broke off, 2 bytes short'),
            (Answer(body=b'12345', length=6), '12345', 'the answer broke off, 1 byte short'),
            (raw(head('Content-Length: 1')), '', 'the answer broke off, 1 byte short'),
            (raw(head('Transfer-Encoding: chunked') + b'3\r\nabc\r\n'), 'abc',
             'the answer broke off'),
            (raw(head('Transfer-Encoding: chunked') + b'9\r\nabc'), 'abc', 'the answer broke off'),
            (raw(head('Transfer-Encoding: chunked') + b'3\r\nabc\r\nodd\r\n'), 'abc',
             'the answer broke off'),
            (Answer(body=zipped[:-9], headers=gzip), '0123456789' * 3,
             'the compressed answer broke off'),
            (Answer(body=zipped[:-1], headers=gzip, chunked=5), '0123456789' * 3,
             'the compressed answer broke off'),
            (Answer(body=packed[:-1], headers=[('Content-Encoding', 'deflate')]),
             '0123456789' * 3, 'the compressed answer broke off'),
            (Answer(body=zipped, headers=gzip, length=999), '0123456789' * 3,
             'the answer broke off, %d bytes short' % (999 - len(zipped))),
            (Answer(body=b'no gzip', headers=gzip), '',
             'Error -3 while decompressing data: incorrect header check'),
            (Answer(body=b'x', headers=[('Content-Encoding', 'br')]), '',
             'the answer is encoded as br, which was not asked for'),
        ]:
            with self.subTest(out=out, how=how):
                self.assertEqual(self.broken(how, out), self.get(answer))

    def test_an_answer_cut_anywhere_is_a_failure(self):
        whole = head('Content-Length: 2', 'Content-Type: application/json') + b'{}'
        results = [(end, self.get(cut(whole[:end]))) for end in range(len(whole))]
        self.assertEqual('{', results[-1][1].out)
        self.assertEqual([], [whole[:end] for end, result in results if result.code != 5])

    def test_verbose_does_not_hold_back_what_came_of_a_broken_body(self):
        result = self.get(Answer(body=b'12345', length=7), '-v', '-i')
        self.assertEqual((5, '12345'), (result.code, result.out.rpartition('\n')[2]))

    def test_no_answer_and_an_answer_that_is_not_http_say_what_came(self):
        long = b'HTTP/1.1 200 OK\r\nX-Long: %s' % (b'x' * 70000)
        for sent, how in [
            (b'', 'no answer'), (b'\r\n', 'its answer is not HTTP: BadStatusLine'),
            (b'SSH-2.0-OpenSSH_9.6\r\n', 'its answer is not HTTP: BadStatusLine'),
            (b'HTTP/3.0 200 OK\r\n\r\n', 'its answer is not HTTP: UnknownProtocol'),
            (b'HTTP/1.1 abc OK\r\n\r\n', 'its answer is not HTTP: BadStatusLine'),
            (b'HTTP/1.1 200 ' + b'x' * 70000, 'its answer is not HTTP: LineTooLong'),
            (long, 'its answer is not HTTP: LineTooLong'),
        ]:
            with self.subTest(sent[:40]):
                self.assertEqual(self.broken(how), self.get(raw(sent)))

    def test_a_head_without_end_ends(self):
        endless = itertools.chain([head()[:-2]], itertools.repeat(b'X-More: 1\r\n' * 100))
        self.assertEqual(self.broken('its answer is not HTTP: HTTPException'),
                         self.get(drip(endless)))

    def test_a_header_line_that_hides_the_length_does_not_make_half_a_body_whole(self):
        for line in 'no header at all', ' folded from nowhere', 'Odd name: 1', ': nameless':
            with self.subTest(line):
                result = self.get(raw(head(line, 'Content-Length: 9') + b'half'))
                self.assertEqual(5, result.code, result)

    def test_hostile_header_lines_stay_lines_of_their_own_with_include(self):
        answer = raw(head('X-Escape: \x1b[2J\x9b1m', 'X-Nul: a\0b', 'X-A: 1',
                          'X-Fold: one\r\n  two\r\n\tthree', 'X-B: 2', 'x-a: 3', 'X-Empty:',
                          'Content-Length: 2') + b'{}')
        self.assertEqual((0, 'HTTP/1.1 200 OK\nX-Escape: \\u001b[2J\\u009b1m\nX-Nul: a\\u0000b\n'
                             'X-A: 1\nX-Fold: one two three\nX-B: 2\nx-a: 3\nX-Empty:\n'
                             'Content-Length: 2\n\n{}', ''), self.get(answer, '-i'))

    def test_a_hostile_reason_phrase_cannot_act_on_the_terminal(self):
        answer = raw(b'HTTP/1.1 500 \x1b]0;title\x07\r\nContent-Length: 0\r\n\r\n')
        self.assertEqual((5, '', 'error: Public API request failed (500 \\u001b]0;title\\u0007): '
                                 'the answer is no Notion error.\n'), self.get(answer))


class LimitTest(ApiCase):
    def trickle(self, pieces):
        """Send these, then byte after byte for longer than any limit here."""
        def slow_bytes():
            for _ in range(300):
                if self.sandbox.stopping.wait(0.01):
                    return
                yield b'0'
            self.sandbox.errors.append('The client was still there at the end.')
        return drip(itertools.chain(pieces, slow_bytes()))

    def test_timeout_ends_a_try_however_slowly_the_server_goes_on(self):
        for name, answer in [
            ('silent', hang(self.sandbox.stopping)),
            ('slow status line', self.trickle([b'HTTP/1.1 2'])),
            ('slow head', self.trickle([b'HTTP/1.1 200 OK\r\nX: '])),
            ('slow body of some length', self.trickle([head('Content-Length: 999999')])),
            ('slow chunks', self.trickle([head('Transfer-Encoding: chunked'), b'ffff\r\n'])),
            ('slow body without length', self.trickle([head()])),
        ]:
            with self.subTest(name):
                result = self.get(answer, '--timeout=.05')
                self.assertEqual(self.late('0.05', '0' * len(result.out)), result)

    def test_an_error_whose_body_does_not_come_is_still_that_error(self):
        for status, code, message in [
            (b'401 No', 4, 'Public API request failed: API token is invalid.\n  hint: The token '
                           'came from NOTION_API_TOKEN. Set it to a valid one.'),
            (b'400 No', 5, 'Public API request failed (400 No): the answer is no Notion error.'),
        ]:
            start = b'HTTP/1.1 %s\r\nContent-Length: 999\r\n\r\n' % status
            for answer in self.trickle([start]), raw(start + b'{"message": "hal'):
                with self.subTest(status):
                    self.assertEqual((code, '', 'error: %s\n' % message),
                                     self.get(answer, '--timeout=.05'))

    def test_timeout_covers_the_look_up_of_the_name(self):
        end = threading.Event()
        self.addCleanup(end.set)
        with mock.patch('socket.getaddrinfo', lambda *args: end.wait(30)):
            result = self.call('api', 'v1/x', '--timeout', '0.1')
        self.assertEqual(self.late('0.1'), result)

    def test_timeout_covers_a_tls_handshake(self):
        with socket.socket() as silent:
            silent.bind(('127.0.0.1', 0))
            silent.listen(1)
            self.sandbox.port = silent.getsockname()[1]
            self.assertEqual(self.late('0.1'), self.get_with(
                {'NOTION_API_BASE_URL': 'https://' + self.peer}, '--timeout', '0.1'))

    def test_without_a_limit_no_progress_for_a_minute_is_too_long(self):
        with mock.patch.object(ntn, 'IDLE_TIMEOUT', 0.05):
            self.assertEqual(self.late('0.05'), self.get(hang(self.sandbox.stopping)))

    def test_without_a_limit_a_slow_answer_may_take_longer_than_that(self):
        steps = (b'1' for _ in range(12) if not self.sandbox.stopping.wait(0.05))
        with mock.patch.object(ntn, 'IDLE_TIMEOUT', 0.5):
            self.assertEqual((0, '1' * 12, ''), self.get(drip(itertools.chain([head()], steps))))


class ReachTest(ApiCase):
    def test_a_refused_connection_says_so(self):
        self.sandbox.port = self.free_port()
        self.assertEqual(
            self.unreachable(self.peer + ' refuses connections.',
                             'Check that a server listens there, or whether this network '
                             'needs HTTPS_PROXY.'),
            self.call('api', 'v1/x', env={'NOTION_API_BASE_URL': self.sandbox.origin}))

    def test_other_failures_say_what_the_system_says(self):
        usual = 'Check the connection.'
        for error, what, hint in [
            (socket.gaierror(-2, 'Name or service not known'),
             'the name notion.invalid cannot be resolved (Name or service not known).',
             'Check the network connection and the name server.'),
            (OSError(101, 'Network is unreachable'),
             'notion.invalid:443: Network is unreachable.', usual),
            (OSError(113, 'No route to host'), 'notion.invalid:443: No route to host.', usual),
            (TimeoutError(110, 'Connection timed out'),
             'notion.invalid:443 did not answer in time (60 s).', 'Try again later.'),
            (ConnectionResetError(104, 'Connection reset by peer'),
             'notion.invalid:443 broke the connection off (Connection reset by peer).',
             'Try again.'),
        ]:
            with self.subTest(error=error), mock.patch('socket.getaddrinfo', side_effect=error):
                self.assertEqual(self.unreachable(what, hint), self.call(
                    'api', 'v1/x', '--no-retry',
                    env={'NOTION_API_BASE_URL': 'https://notion.invalid'}))

    def test_a_host_that_cannot_be_a_name_is_not_tried_again(self):
        for host in 'a' * 64 + '.invalid', 'a..invalid':
            with self.subTest(host):
                clock = self.fake_clock()
                result = self.call('api', 'v1/x', clock=clock,
                                   env={'NOTION_API_BASE_URL': 'https://' + host})
                what, _, hint = result.err.partition('\n')
                self.assertEqual((5, '', []), (result.code, result.out, clock.sleeps))
                self.assertRegex(what, r'\Aerror: Cannot reach Notion: the name %s cannot be '
                                 r'resolved \(.+\)\.\Z' % re.escape(host))
                self.assertEqual('  hint: Check the network connection and the name server.\n',
                                 hint)


class RedirectTest(ApiCase):
    def test_no_redirect_is_followed_and_the_token_goes_nowhere(self):
        with Sandbox() as other:
            for status in 301, 302, 303, 307, 308:
                for method, location, shown in [
                    ('GET', other.origin + '/v1/y?token=1', other.origin),
                    ('POST', 'http://ann:pw@127.0.0.1:%d/' % other.port, 'another address'),
                    ('GET', '/v1/y', 'another address'),
                    ('GET', '//elsewhere.invalid/\x1b[2J', 'another address'),
                    ('PATCH', 'file:///etc/passwd', 'another address'),
                ]:
                    with self.subTest(status=status, location=location):
                        self.sandbox.on(method, '/v1/x', Answer(
                            status, 'moved', [('Location', location)]))
                        phrase = http.client.responses[status]
                        self.assertEqual((
                            5, '', 'error: Public API request failed (%d %s): it is redirected to '
                            '%s, and no redirect is followed.\n  hint: Check NOTION_API_BASE_URL.\n'
                            % (status, phrase, shown)), self.call('api', 'v1/x', '-X', method))
            self.assertEqual([], other.requests)
        self.assertEqual({'/v1/x'}, {request.path for request in self.sandbox.requests})


class ConnectionTest(ApiCase):
    """One client, several requests."""

    def setUp(self):
        super().setUp()
        self.client = ntn.Client(ntn.Console(environ=self.env))
        self.addCleanup(self.client.close)

    def send(self, answer, method='GET'):
        self.sandbox.on(method, '/v1/x', answer)
        return self.client.send(method, self.sandbox.origin + '/v1/x', [])

    def connections(self):
        return [request.connection for request in self.sandbox.requests]

    def test_the_connection_is_kept_whatever_the_answer(self):
        for answer in (Answer(200, 'a'), Answer(404, 'b', chunked=1), Answer(204),
                       Answer(500, 'c', encoding='gzip'), Answer(301)):
            for each in answer, Answer(200, 'd'):
                self.assertIsInstance(self.send(each).body, bytes)
        self.assertEqual([1] * 10, self.connections())

    def test_a_connection_that_the_server_closed_is_replaced(self):
        for close in True, False:
            self.assertEqual(b'a', self.send(Answer(200, 'a', close=close)).body)
            self.wait_for_close(close)
        self.assertEqual(b'b', self.send(Answer(200, 'b', [('Connection', 'close')])).body)
        self.assertEqual(b'c', self.send(Answer(200, 'c')).body)
        self.assertEqual([1, 2, 2, 3], self.connections())

    def wait_for_close(self, expected):
        if expected:
            sock = self.client._connection.sock
            self.assertEqual([sock], select.select([sock], [], [], 10)[0])

    def test_a_connection_is_not_used_again_after_half_an_answer(self):
        for answer in (Answer(200, 'a', length=5), raw(b'nonsense\r\n'),
                       Answer(200, 'a', [('Content-Encoding', 'br')])):
            with self.assertRaises(ntn.NetworkError):
                len(self.send(answer).body)
        self.assertEqual(b'b', self.send(Answer(200, 'b')).body)
        abandoned = self.send(Answer(200, 'c' * 200000)).chunks()
        next(abandoned)
        abandoned.close()
        self.assertEqual(b'd', self.send(Answer(200, 'd')).body)
        self.assertEqual([1, 2, 3, 4, 4, 5], self.connections())

    def test_a_kept_connection_goes_to_its_own_origin_only(self):
        with Sandbox() as other:
            other.on('GET', '/v1/x', Answer(200, 'other'))
            self.assertEqual(b'a', self.send(Answer(200, 'a')).body)
            self.assertEqual(b'other', self.client.send('GET', other.origin + '/v1/x', []).body)
            self.assertEqual(b'b', self.send(Answer(200, 'b')).body)
        self.assertEqual([1, 2], self.connections())

    def test_an_answer_keeps_order_and_repeats_of_headers_and_ignores_their_case(self):
        response = self.send(raw(head('B: 1', 'a: 2', 'b: 3')))
        self.assertEqual([('B', '1'), ('a', '2'), ('b', '3')], response.headers.items())
        self.assertEqual('2', response.headers['A'])
        self.assertEqual(['1', '3'], response.headers.get_all('B'))


class ProxyHandler(socketserver.StreamRequestHandler):
    """Forwards requests and opens tunnels, if the password is right."""

    def handle(self):
        lines = list(iter(lambda: self.rfile.readline().decode('latin-1').rstrip('\r\n'), ''))
        self.server.heads.append(list(lines))
        secret = 'Proxy-Authorization: Basic YW5uOmNhbmFyeSBANDI='  # ann:canary @42
        if secret not in lines:
            self.wfile.write(b'HTTP/1.1 407 Proxy Authentication Required\r\n'
                             b'Content-Length: 4\r\n\r\nNo!\n')
            return
        if self.server.refusal:
            self.wfile.write(self.server.refusal)
            return
        lines.remove(secret)
        method, target, _ = lines[0].split(' ')
        parts = urllib.parse.urlsplit(target if '//' in target else '//' + target)
        with socket.create_connection((parts.hostname, parts.port)) as peer:
            if method == 'CONNECT':
                self.wfile.write(b'HTTP/1.1 200 Connection established\r\n\r\n')
            else:
                peer.sendall('\r\n'.join(lines + ['', '']).encode('latin-1'))
            self.relay(peer)

    def relay(self, peer):
        others = {self.connection: peer, peer: self.connection}
        while True:
            for source in select.select(list(others), [], [])[0]:
                data = source.recv(65536)
                if not data:
                    return
                others[source].sendall(data)


def pem(label, *lines):
    return '\n'.join(['-----BEGIN %s-----' % label, *lines, '-----END %s-----\n' % label])


# Worth nothing: made for these tests with `openssl req` and `openssl ca`. Each certificate is
# self-signed and of the same key; the first two hold until 2120, the last one held in 2020.
KEY = pem(
    'PRIVATE KEY',
    'MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg2bUK2/ic22X+ElcCr2Tr1xJhqm7QM5h3WbyJEA2c',
    '88yhRANCAARYdLUEEhqkTxj/B4Jl1Orvezzo7t8zRfU920TM/7iSLQE1QqH2EY3r8vGn3M5Zh1kK8T3jAB7HKPsA',
    'Rr2+MESY')
CERTIFICATES = {'127.0.0.1': pem(
    'CERTIFICATE',
    'MIIBYjCCAQigAwIBAgIBATAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARoZXJlMCAXDTIwMDEwMTAwMDAwMFoYDzIx',
    'MjAwMTAxMDAwMDAwWjAPMQ0wCwYDVQQDDARoZXJlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWHS1BBIapE8Y',
    '/weCZdTq73s86O7fM0X1PdtEzP+4ki0BNUKh9hGN6/Lxp9zOWYdZCvE94wAexyj7AEa9vjBEmKNTMFEwDwYDVR0T',
    'AQH/BAUwAwEB/zAdBgNVHQ4EFgQUpS66o7989PNUoAUxmunG5B/2LSwwDgYDVR0PAQH/BAQDAgKEMA8GA1UdEQQI',
    'MAaHBH8AAAEwCgYIKoZIzj0EAwIDSAAwRQIgKGQ7z7e4OSJiufp0BP+FHMtlDhd4028SVT2egymyhOgCIQDY744k',
    'AbNtdptJSptPF3pPoDd4IJvPX/cmaIy3B0t5qQ==',
), 'elsewhere.invalid': pem(
    'CERTIFICATE',
    'MIIBeDCCAR+gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAllbHNld2hlcmUwIBcNMjAwMTAxMDAwMDAw',
    'WhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMMCWVsc2V3aGVyZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA',
    'BFh0tQQSGqRPGP8HgmXU6u97POju3zNF9T3bRMz/uJItATVCofYRjevy8afczlmHWQrxPeMAHsco+wBGvb4wRJij',
    'YDBeMA8GA1UdEwEB/wQFMAMBAf8wHQYDVR0OBBYEFKUuuqO/fPTzVKAFMZrpxuQf9i0sMA4GA1UdDwEB/wQEAwIC',
    'hDAcBgNVHREEFTATghFlbHNld2hlcmUuaW52YWxpZDAKBggqhkjOPQQDAgNHADBEAiAZqBmv241NkOVz836t2gGQ',
    'te6osqdvbvU9JrokEIZ4ngIgP21d61yrX9NuV7KbIioa6Z+0JnkEFiz907kXrOGTIT0=',
), 'in 2020': pem(
    'CERTIFICATE',
    'MIIBXzCCAQagAwIBAgIBATAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARvdmVyMB4XDTIwMDEwMTAwMDAwMFoXDTIw',
    'MDEwMjAwMDAwMFowDzENMAsGA1UEAwwEb3ZlcjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABFh0tQQSGqRPGP8H',
    'gmXU6u97POju3zNF9T3bRMz/uJItATVCofYRjevy8afczlmHWQrxPeMAHsco+wBGvb4wRJijUzBRMA8GA1UdEwEB',
    '/wQFMAMBAf8wHQYDVR0OBBYEFKUuuqO/fPTzVKAFMZrpxuQf9i0sMA4GA1UdDwEB/wQEAwIChDAPBgNVHREECDAG',
    'hwR/AAABMAoGCCqGSM49BAMCA0cAMEQCIEgFGLfNZyEK196buxTtkmACxOm87mSTHs4l+ZOIy4yZAiAfeICv+nAm',
    'ePZlQZN6D5XNJBdncqqcFFL4afXnFK2kBw==')}


class TlsCase(ApiCase):
    def setUp(self):
        super().setUp()
        for name, certificate in CERTIFICATES.items():
            self.write(name, KEY + certificate)
        self.sandbox.always('GET', '/v1/x', Answer(200, '{"secure": true}\n'))

    def write(self, name, text):
        with open(os.path.join(self.dir, name), 'w') as file:
            file.write(text)

    def serve_tls(self, name='127.0.0.1', trusted=None):
        """Let the sandbox speak TLS with this certificate; the variables to reach it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(self.dir, name))
        server = self.sandbox.server
        server.socket = context.wrap_socket(server.socket, server_side=True)
        return {'NOTION_API_BASE_URL': 'https://' + self.peer,
                'SSL_CERT_FILE': os.path.join(self.dir, trusted or name),
                'SSL_CERT_DIR': os.path.join(self.dir, 'none')}


class TlsTest(TlsCase):
    def test_a_trusted_certificate_for_the_right_host_is_taken(self):
        result = self.get_with(self.serve_tls())
        self.assertEqual((0, '{"secure": true}\n', ''), result)

    def test_a_certificate_that_is_not_trusted_or_not_for_this_host_or_over_is_refused(self):
        old = sys.version_info < (3, 7)  # there ssl does not tell why
        why = 'CERTIFICATE_VERIFY_FAILED' if old else 'self-signed certificate'
        untrusted = ('the certificate of 127.0.0.1 is %snot trusted (%s).' % (
                         'expired or ' if old else '', why),
                     'If your network inspects TLS, set SSL_CERT_FILE to its CA certificate.')
        for name, trusted, what, hint in [
            ('127.0.0.1', 'elsewhere.invalid') + untrusted,
            ('elsewhere.invalid', None, 'the certificate is not one for 127.0.0.1.',
             'Something between here and there answers in its place: a proxy or a wrong address.'),
            ('in 2020', None) + (untrusted if old else (
                'the certificate of 127.0.0.1 has expired.', "Check this machine's clock.")),
            ('127.0.0.1', 'missing.pem',
             '127.0.0.1 cannot be verified: SSL_CERT_FILE names %s, which is no file.'
             % os.path.join(self.dir, 'missing.pem'),
             'Unset SSL_CERT_FILE, or set it to a bundle of CA certificates.'),
        ]:
            with self.subTest(name=name, trusted=trusted):
                self.sandbox.stop()
                self.sandbox.start()
                result = self.get_with(self.serve_tls(name, trusted))
                result = result._replace(err=result.err.replace('self signed', 'self-signed'))
                self.assertEqual(self.unreachable(what, hint), result)
        self.assertEqual([], self.sandbox.requests)

    def test_a_server_without_tls_says_so(self):
        result = self.get_with({'NOTION_API_BASE_URL': 'https://' + self.peer})
        self.assertEqual((5, ''), result[:2])
        self.assertRegex(result.err, r'\Aerror: Cannot reach Notion: the TLS connection to 127\.0\.'
                         r'0\.1 failed \([A-Z_]+\)\.\n  hint: Check that the address is right and '
                         r'speaks TLS\.\n\Z')

    def test_a_body_cut_under_tls_is_noticed(self):
        self.sandbox.on('GET', '/v1/x', Answer(body=b'12345', length=7))
        result = self.get_with(self.serve_tls())
        self.assertEqual((5, '12345'), result[:2])  # OpenSSL 3 tells Pythons before 3.8 nonsense
        self.assertIn('error: Cannot reach Notion: ', result.err)


class ProxyTest(TlsCase):
    USER = 'ann:canary%20%4042@'

    def setUp(self):
        super().setUp()
        self.proxy = Server(('127.0.0.1', 0), ProxyHandler)
        self.proxy.sandbox, self.proxy.heads, self.proxy.refusal = self.sandbox, [], b''
        self.address = '127.0.0.1:%d' % self.proxy.server_address[1]
        self.url = 'http://%s%s' % (self.USER, self.address)
        threading.Thread(target=self.proxy.serve_forever, args=(0.005,), daemon=True).start()
        self.addCleanup(self.proxy.server_close)
        self.addCleanup(self.proxy.shutdown)

    def check_clean(self, text, secrets_ok=False):
        super().check_clean(text, secrets_ok)
        for form in 'canary%20%4042', 'canary @42', 'YW5uOmNhbmFyeSBANDI':
            self.assertNotIn(form, text)

    def test_a_request_without_tls_is_forwarded_and_the_password_stays_with_the_proxy(self):
        for name in 'http_proxy', 'HTTP_PROXY', 'all_proxy':
            with self.subTest(name):
                result = self.get_with({name: self.url}, '-v')
                self.assertEqual((0, '{"secure": true}\n'), result[:2])
                self.assertEqual('GET http://%s/v1/x HTTP/1.1' % self.peer,
                                 self.proxy.heads.pop()[0])
                self.assertIsNone(self.sandbox.requests.pop().header('Proxy-Authorization'))

    def test_a_request_with_tls_goes_through_a_tunnel_that_hears_no_token(self):
        tls = self.serve_tls()
        for name in 'https_proxy', 'HTTPS_PROXY', 'ALL_PROXY':
            with self.subTest(name):
                result = self.get_with(dict(tls, **{name: self.url}), '-v')
                self.assertEqual((0, '{"secure": true}\n'), result[:2])
                self.assertEqual(
                    ['CONNECT %s HTTP/1.1' % self.peer, 'Host: ' + self.peer,
                     'Proxy-Authorization: Basic YW5uOmNhbmFyeSBANDI='], self.proxy.heads.pop())
                self.assertEqual(('Bearer ' + CANARY, None),
                                 tuple(map(self.sandbox.requests.pop().header,
                                           ['Authorization', 'Proxy-Authorization'])))

    def test_the_server_behind_the_proxy_is_still_verified(self):
        result = self.get_with(dict(self.serve_tls('elsewhere.invalid'), https_proxy=self.url))
        self.assertEqual(self.unreachable(
            'the certificate is not one for 127.0.0.1.', 'Something between here and there answers '
            'in its place: a proxy or a wrong address.'), result)
        self.assertEqual([], self.sandbox.requests)

    def test_no_proxy_goes_past_the_proxy(self):
        for name in 'NO_PROXY', 'no_proxy':
            for value in '127.0.0.1', 'example.com, 127.0.0.1', '*', self.peer:
                with self.subTest(name=name, value=value):
                    result = self.get_with({'HTTP_PROXY': self.url, name: value})
                    self.assertEqual((0, '{"secure": true}\n', ''), result)
        self.assertEqual([], self.proxy.heads)

    def test_an_empty_variable_is_no_proxy_and_another_scheme_has_its_own(self):
        for name, value in [('HTTP_PROXY', ''), ('http_proxy', ''), ('https_proxy', self.url)]:
            with self.subTest(name):
                self.assertEqual((0, '{"secure": true}\n', ''), self.get_with({name: value}))
        self.assertEqual([], self.proxy.heads)

    def test_a_proxy_that_wants_another_password_says_so(self):
        hint = 'Check user name and password in the proxy variable.'
        for user in '', 'ann:wrong-word@':
            result = self.get_with(dict(self.serve_tls(), https_proxy='http://' + user
                                        + self.address))
            self.assertEqual((5, '', 'error: The proxy %s refused to connect to %s: 407 Proxy '
                                     'Authentication Required.\n  hint: %s\n'
                                     % (self.address, self.peer, hint)), result)
            self.sandbox.stop()
            self.sandbox.start()
        self.assertEqual([], self.sandbox.requests)

    def test_a_proxy_that_will_not_or_cannot_connect_is_named(self):
        through = 'the proxy %s (for 127.0.0.1)' % self.address
        variables = {'NOTION_API_BASE_URL': 'https://' + self.peer, 'https_proxy': self.url}
        for refusal, expected in [
            (b'HTTP/1.1 403 Fil\x1btered\r\n\r\n', Result(
                5, '', 'error: The proxy %s refused to connect to %s: 403 Fil\\u001btered.\n  hint:'
                ' Add the host to NO_PROXY if it can be reached without the proxy.\n'
                % (self.address, self.peer))),
            (b'SSH-2.0\r\n', self.unreachable(
                through + ' broke the connection off (its answer is not HTTP: BadStatusLine).',
                'Try again.')),
        ]:
            with self.subTest(refusal):
                self.proxy.refusal = refusal
                self.assertEqual(expected, self.get_with(variables))

    def test_a_proxy_that_is_not_there_is_named(self):
        nowhere = '127.0.0.1:%d' % self.free_port()
        self.assertEqual(self.unreachable(
            'the proxy %s (for 127.0.0.1) refuses connections.' % nowhere,
            'Check the proxy variables.'),
            self.get_with({'HTTP_PROXY': 'http://%s%s' % (self.USER, nowhere)}))

    def test_a_proxy_of_another_kind_is_refused_by_the_name_of_its_variable(self):
        for name, scheme in [('ALL_PROXY', 'socks5'), ('all_proxy', 'socks5h'),
                             ('HTTP_PROXY', 'socks4'), ('http_proxy', 'https')]:
            with self.subTest(name):
                result = self.get_with({name: '%s://%s127.0.0.1:1' % (scheme, self.USER)})
                self.assertEqual((5, '', 'error: The proxy in %s is a %s proxy, which Python\'s '
                                  'standard library cannot use.\n  hint: Set it to an http:// '
                                  'proxy, or add 127.0.0.1 to NO_PROXY.\n'
                                  % (name, scheme.upper())), result)

    def test_a_proxy_without_a_valid_address_is_refused_by_the_name_of_its_variable(self):
        for value in ('http://', 'http://%s' % self.USER, 'http://127.0.0.1:99999',
                      'http://%s127.0.0.1:port' % self.USER, 'http://[::1'):
            with self.subTest(value):
                self.assertEqual((5, '', 'error: The proxy in HTTP_PROXY has no valid address.\n'
                                         '  hint: Set it to http://HOST:PORT.\n'),
                                 self.get_with({'HTTP_PROXY': value}))


# ---- Secrets: the stores -------------------------------------------------------------------------

class StoreContract:
    """What every place for tokens has to do; a subclass with Case provides the place.

    make_store()   a Store object for the place, a new one each time
    break_store()  make the place fail from now on
    """
    TOKENS = ['ntn_canary_a', 'ntn_canary_' + ''.join(map(chr, range(0x21, 0x7f))),
              'ntn_canary_' + 'x' * 2000]

    def test_what_was_never_stored_is_not_there(self):
        self.assertIsNone(self.make_store().get(WORKSPACE))
        self.assertFalse(self.make_store().delete(WORKSPACE))

    def test_a_token_comes_back_as_it_was(self):
        for token in self.TOKENS:
            with self.subTest(token=token):
                self.make_store().set(WORKSPACE, token)
                self.assertEqual(token, self.make_store().get(WORKSPACE))

    def test_workspaces_are_kept_apart(self):
        for number, token in enumerate(self.TOKENS):
            self.make_store().set('w-%d' % number, token)
        self.assertTrue(self.make_store().delete('w-1'))
        self.assertFalse(self.make_store().delete('w-1'))
        self.assertEqual([self.TOKENS[0], None, self.TOKENS[2], None],
                         [self.make_store().get('w-%d' % number) for number in range(4)])

    def test_a_proof_changes_nothing_that_is_stored(self):
        self.make_store().prove()
        self.assertIsNone(self.make_store().get(WORKSPACE))
        self.make_store().set(WORKSPACE, 'ntn_canary_a')
        self.make_store().prove()
        self.assertEqual('ntn_canary_a', self.make_store().get(WORKSPACE))

    def test_a_place_that_fails_is_named_and_not_called_empty(self):
        self.make_store().set(WORKSPACE, 'ntn_canary_a')
        self.break_store()
        store = self.make_store()
        for step in (lambda: store.get(WORKSPACE), lambda: store.set('other', 'ntn_canary_b'),
                     lambda: store.delete(WORKSPACE), lambda: store.get('unknown')):
            with self.assertRaises(ntn.CliError) as caught:
                step()
            self.assertEqual(1, caught.exception.code)
            self.assertIn(store.name, caught.exception.message.replace('The k', 'the k'))


class FileStoreTest(StoreContract, Case):

    def make_store(self):
        return ntn.FileStore(os.path.join(self.home, 'auth.json'),
                             ntn.Console(environ=self.environ({})))

    def break_store(self):
        self.write_state('auth.json', b'{"' + WORKSPACE.encode() + b'": "ntn_canary_a"')

    def test_reading_makes_no_files(self):
        self.assertIsNone(self.make_store().get(WORKSPACE))
        self.assertFalse(self.make_store().delete(WORKSPACE))
        self.assertFalse(os.path.exists(self.home))

    def test_the_file_is_an_object_of_tokens(self):
        self.make_store().set('b', 'ntn_canary_1')
        self.make_store().set('a', 'ntn_canary_2')
        with open(os.path.join(self.home, 'auth.json'), 'rb') as file:
            self.assertEqual(b'{\n  "b": "ntn_canary_1",\n  "a": "ntn_canary_2"\n}', file.read())

    def test_content_is_on_the_disk_before_its_name_is(self):
        steps = []
        fsync, replace = os.fsync, os.replace

        def note_fsync(descriptor):
            kind = 'directory' if stat.S_ISDIR(os.fstat(descriptor).st_mode) else 'file'
            steps.append('fsync ' + kind)
            fsync(descriptor)

        def note_replace(source, target):
            steps.append('replace')
            replace(source, target)

        with mock.patch('os.fsync', note_fsync), mock.patch('os.replace', note_replace):
            self.make_store().set(WORKSPACE, 'ntn_canary_a')
        self.assertEqual(['fsync file', 'replace', 'fsync directory'], steps)

    def test_writers_at_once_lose_nothing(self):
        hasty = FakeClock(lambda: time.sleep(0.001))  # waits for the lock, but not for long
        hasty.monotonic = lambda: 0.0
        path = os.path.join(self.home, 'auth.json')
        expected = {'%d-%d' % (writer, number): 'ntn_canary_a'
                    for writer in range(4) for number in range(8)}

        def write(writer):
            store = ntn.FileStore(path, ntn.Console(environ={}, clock=hasty))
            for number in range(8):
                store.set('%d-%d' % (writer, number), 'ntn_canary_a')

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(expected, self.state('auth.json'))


# ---- Secrets: the state on disk ------------------------------------------------------------------

STATE_FILES = ('auth.json', 'config.json', 'workspaces.json', PENDING)


class StateTest(Case):

    def read_bytes(self, name):
        with open(os.path.join(self.home, name), 'rb') as file:
            return file.read()

    def modes(self):
        """{path below NOTION_HOME: permissions} of all there is, NOTION_HOME included."""
        return {os.path.relpath(path, self.home): stat.S_IMODE(os.lstat(path).st_mode)
                for directory, _, names in os.walk(self.home)
                for path in [directory] + [os.path.join(directory, name) for name in names]}

    def log_in(self, *options, **settings):
        """A whole login in two steps."""
        start = self.call('login', '--no-browser', *options, **settings)
        self.assertEqual((0, ''), (start.code, start.err))
        self.sandbox.approve()
        return self.call('login', 'poll', '--no-wait', **settings)

    def start_login(self):
        self.call('login', '--no-browser')
        self.sandbox.approve()

    # Shapes -----------------------------------------------------------------------------------

    def test_files_have_the_shapes_of_the_official_client(self):
        clock = self.fake_clock()
        self.call('login', '--no-browser', clock=clock)
        self.assertEqual(
            b'{\n  "sessionId": "sess-canary-1",\n  "issuedAt": 1767225600,\n'
            b'  "expiresAt": 1767226200,\n  "environment": "prod",\n  "origin": "%s"\n}'
            % self.sandbox.origin.encode(), self.read_bytes(PENDING))
        self.sandbox.approve(workspace=(WORKSPACE, 'Acm\xe9 \u2603'))
        self.call('login', 'poll', clock=clock)
        key = WORKSPACE.encode()
        self.assertEqual(b'{\n  "%s": "ntn_canary_login_1"\n}' % key, self.read_bytes('auth.json'))
        self.assertEqual(b'{\n  "version": "1",\n  "defaultWorkspaceIds": {\n    "prod": "%s"\n'
                         b'  }\n}' % key, self.read_bytes('config.json'))
        self.assertEqual(
            '{\n  "version": "1",\n  "environments": {\n    "prod": {\n      "%s": {\n'
            '        "id": "%s",\n        "name": "Acm\xe9 \u2603"\n      }\n    }\n  }\n}'
            % (WORKSPACE, WORKSPACE), self.read_bytes('workspaces.json').decode('utf-8'))
        self.assertIsNone(self.state(PENDING))
        self.call('logout')
        self.assertEqual(
            [b'{}', b'{\n  "version": "1",\n  "defaultWorkspaceIds": {}\n}',
             b'{\n  "version": "1",\n  "environments": {\n    "prod": {}\n  }\n}'],
            [self.read_bytes(name) for name in STATE_FILES[:3]])

    def test_what_is_not_understood_is_kept(self):
        strange = {'a': [1, None, 2.5, {'b': '\ud800 \u20ac \x7f'}], '': False,
                   'big': 12345678901234567890123}
        config = {'version': '7', 'defaultWorkspaceIds': {'dev': 'x', 'prod': 'old', 'next': 5},
                  'keyring': False, 'strange': strange}
        entry = {'id': WORKSPACE, 'name': 'Before', 'icon': strange}
        cached = {'version': 2, 'environments': {
            'dev': {'x': {'id': 'x', 'name': 'X'}, 'y': 5}, 'next': [],
            'prod': {WORKSPACE: entry, 'odd': None}}, 'strange': strange}
        auth = {'x': 'ntn_canary_x', 'number': 5, 'null': None, 'deep': strange}
        for name, content in zip(STATE_FILES, (auth, config, cached, {'strange': strange})):
            self.write_state(name, content)
        self.call('login', '--no-browser')
        self.assertEqual(strange, self.state(PENDING)['strange'])
        self.sandbox.approve()
        self.assertEqual(0, self.call('login', 'poll').code)
        config['defaultWorkspaceIds']['prod'] = WORKSPACE
        entry['name'] = 'Acme'
        self.assertEqual(dict(auth, **{WORKSPACE: 'ntn_canary_login_1'}), self.state('auth.json'))
        self.assertEqual(config, self.state('config.json'))
        self.assertEqual(cached, self.state('workspaces.json'))
        self.assertEqual(0, self.call('logout', '--workspace', WORKSPACE).code)
        del config['defaultWorkspaceIds']['prod'], cached['environments']['prod'][WORKSPACE]
        self.assertEqual([auth, config, cached], [self.state(name) for name in STATE_FILES[:3]])

    def test_numbers_that_python_cannot_hold_are_kept(self):
        for text in ('1e400', '-1e400', '0.1234567890123456789012345', '1' * 5000):
            with self.subTest(text=text[:30]):
                self.write_state('auth.json', b'{"other": %s}' % text.encode())
                self.assertEqual('', self.log_in().out)
                self.assertIn(text.encode(), self.read_bytes('auth.json'))

    def test_values_of_other_types_are_no_tokens_and_no_workspaces(self):
        for value in (5, None, True, [], {}, '', ['text'], {'token': 'text'}):
            with self.subTest(value=value):
                shutil.rmtree(self.home, ignore_errors=True)
                self.store_login()
                self.write_state('auth.json', {WORKSPACE: value})
                self.assertEqual(
                    (4, '', 'error: No token is stored for workspace %s.\n  hint: Run `ntn login` '
                     'again, or set NOTION_API_TOKEN.\n' % WORKSPACE), self.call('auth', 'token'))
                self.write_state('config.json', {'defaultWorkspaceIds': {'prod': value}})
                self.assertEqual((4, '', 'error: No default workspace is set.\n  hint: Choose one '
                                  'with `ntn login --workspace NAME`: Acme.\n'),
                                 self.call('auth', 'token'))
                for content in ({'defaultWorkspaceIds': value}, {}):
                    self.write_state('config.json', content)
                    self.write_state('workspaces.json', {'environments': value})
                    self.assertEqual(4, self.call('whoami').code)
                    self.assertEqual((0, '', '✔ Already logged out\n'), self.call('logout'))

    def test_a_byte_order_mark_does_no_harm(self):
        self.store_login()
        for name in STATE_FILES[:3]:
            self.write_state(name, b'\xef\xbb\xbf' + self.read_bytes(name))
        self.assertEqual((0, 'ntn_canary_stored\n', ''),
                         self.call('auth', 'token', secrets_ok=True))

    # Damage -----------------------------------------------------------------------------------

    DAMAGED = [
        (b'', 'it is not valid JSON'), (b'\n', 'it is not valid JSON'),
        (b'{', 'it is not valid JSON'), (b'{"a": 1} x', 'it is not valid JSON'),
        (b'{"a": "\xff"}', 'it is not valid JSON'), (b'[' * 100000, 'it is not valid JSON'),
        ('{"a": 1}'.encode('utf-16'), 'it is not valid JSON'), (bytes(64), 'it is not valid JSON'),
        (b'{"a": NaN}', 'it is not valid JSON'), (b'{"a": Infinity}', 'it is not valid JSON'),
        (b'[]', 'it holds no JSON object'), (b'"a"', 'it holds no JSON object'),
        (b'null', 'it holds no JSON object'), (b'5', 'it holds no JSON object')]

    def test_a_damaged_file_is_an_error_and_stays_as_it_is(self):
        workspace = {'NOTION_WORKSPACE_ID': 'Acme'}
        for name, argv, env in (
                ('auth.json', ['auth', 'token'], {}), ('auth.json', ['api', 'v1/users/me'], {}),
                ('config.json', ['auth', 'token'], {}), ('config.json', ['whoami'], {}),
                ('workspaces.json', ['auth', 'token'], workspace),
                ('workspaces.json', ['logout', '--workspace', 'Acme'], {}),
                (PENDING, ['login', 'poll'], {}), (PENDING, ['login', 'poll', '--no-wait'], {})):
            self.store_login()
            if name == PENDING:
                self.start_login()
            whole = self.state(name)
            for content, reason in self.DAMAGED:
                with self.subTest(name=name, argv=argv, content=content[:20]):
                    path = self.write_state(name, content)
                    del self.sandbox.requests[:]
                    self.assertEqual(
                        (1, '', 'error: %s is damaged: %s.\n  hint: Repair it, or move it away and '
                         'run `ntn login` again.\n' % (path, reason)),
                        self.call(*argv, stdin=None, env=env))
                    self.assertEqual(content, self.read_bytes(name))
                    self.assertEqual([], self.sandbox.requests)
            self.write_state(name, whole)

    def test_a_switch_needs_no_login_and_moves_nothing_aside(self):
        self.store_login()
        path = self.write_state('workspaces.json', b'{')
        self.assertEqual(
            (1, '', 'error: %s is damaged: it is not valid JSON.\n  hint: Repair it, or move it '
             'away and run `ntn login` again.\n' % path),
            self.call('login', '--workspace', 'Acme'))
        self.assertEqual(b'{', self.read_bytes('workspaces.json'))

    def test_a_login_moves_damaged_files_aside_and_goes_on(self):
        clock = self.fake_clock()
        for content, reason in self.DAMAGED:
            with self.subTest(content=content[:20]):
                paths = [self.write_state(name, content, 0o644) for name in STATE_FILES]
                start = self.call('login', '--no-browser', clock=clock)
                self.assertEqual(0, start.code)
                self.assertEqual(
                    {'warning: %s is damaged: %s. It was moved to %s.damaged-1767225600.'
                     % (path, reason, path) for path in paths}, set(start.err.splitlines()))
                self.assertEqual([content] * 4, [
                    self.read_bytes(name + '.damaged-1767225600') for name in STATE_FILES])
                self.assertEqual({'auth.json': 0o600, 'cache/pending-login.json': 0o600},
                                 {name.replace('.damaged-1767225600', ''): mode
                                  for name, mode in self.modes().items()
                                  if 'damaged' in name and name.startswith(('auth', 'cache'))})
                self.sandbox.approve()
                self.assertEqual('', self.call('login', 'poll', clock=clock).out)
                self.assertEqual(0, self.call('whoami').code)
                shutil.rmtree(self.home)

    def test_a_poll_moves_damaged_files_aside_and_goes_on(self):
        self.start_login()
        paths = [self.write_state(name, b'{') for name in STATE_FILES[:3]]
        result = self.call('login', 'poll', clock=self.fake_clock())
        self.assertEqual(0, result.code)
        for path in paths:
            self.assertIn('warning: %s is damaged: it is not valid JSON. It was moved to '
                          '%s.damaged-1767225600.\n' % (path, path), result.err)
        self.assertEqual({WORKSPACE: self.sandbox.issued_tokens[0]}, self.state('auth.json'))

    def test_a_second_damaged_file_does_not_overwrite_the_first(self):
        clock = self.fake_clock()
        for content in (b'{"first', b'{"second'):
            self.write_state('auth.json', content)
            self.call('login', '--no-browser', clock=clock)
        self.assertEqual({b'{"first', b'{"second'}, {
            self.read_bytes(name) for name in os.listdir(self.home) if 'damaged' in name})

    def test_what_is_no_regular_file_is_not_waited_for(self):
        for name, argv in (('auth.json', ['auth', 'token']), ('config.json', ['whoami']),
                           (PENDING, ['login', 'poll'])):
            for make in (os.mkfifo, os.mkdir, lambda path: os.symlink('/dev/null', path)):
                with self.subTest(name=name, make=make):
                    self.store_login()
                    path = self.write_state(name, b'')
                    os.unlink(path)
                    make(path)
                    # A process, where this one might wait for a writer.
                    run = self.ntn if make is os.mkfifo else self.call
                    self.assertEqual(
                        (1, '', 'error: %s is damaged: it is no regular file.\n  hint: Repair it, '
                         'or move it away and run `ntn login` again.\n' % path), run(*argv))
                shutil.rmtree(self.home)

    # Privacy ----------------------------------------------------------------------------------

    def watch_login(self, umask):
        """Log in and out, twice; (all sorts of permissions that were seen at any time, result).

        The watcher looks after every single call into the operating system, so that no state,
        however short it lasts, escapes it.
        """
        seen = set()

        def watch(frame, event, function):
            if event == 'c_return' and function.__module__ in ('posix', 'nt', 'io', '_io', 'fcntl'):
                sys.setprofile(None)
                seen.update((os.path.isdir(os.path.join(self.home, name)), mode)
                            for name, mode in self.modes().items())
                sys.setprofile(watch)

        previous = os.umask(umask)
        try:
            sys.setprofile(watch)
            codes = [self.log_in().code, self.log_in().code, self.call('logout').code]
        finally:
            sys.setprofile(None)
            os.umask(previous)
        return seen, codes

    def test_no_state_is_ever_readable_by_others(self):
        self.home = self.env['NOTION_HOME'] = os.path.join(self.dir, 'new', 'and', 'deep')
        seen, codes = self.watch_login(0)
        self.assertEqual([0, 0, 0], codes)
        self.assertEqual({(True, 0o700), (False, 0o600)}, seen)
        self.assertEqual([0o700] * 2, [
            stat.S_IMODE(os.stat(os.path.join(self.dir, name)).st_mode)
            for name in ('new', 'new/and')])

    def test_a_strict_umask_takes_nothing_from_the_owner(self):
        self.assertEqual([0, 0, 0], self.watch_login(0o777)[1])
        self.assertEqual({'.': 0o700, 'cache': 0o700, 'cache/.lock': 0o600, '.lock': 0o600,
                          'auth.json': 0o600, 'config.json': 0o600, 'workspaces.json': 0o600},
                         self.modes())

    def test_a_process_under_umask_0_leaves_private_files(self):
        careless = ['sh', '-c', 'umask 0; exec "$@"', 'sh']
        self.assertEqual(0, self.ntn('login', '--no-browser', prefix=careless).code)
        self.assertEqual({'.': 0o700, 'cache': 0o700, 'cache/.lock': 0o600, '.lock': 0o600,
                          PENDING: 0o600}, self.modes())

    def test_loose_secrets_are_tightened(self):
        self.store_login()
        self.call('login', '--no-browser')
        for name, argv in (('auth.json', ['auth', 'token']),
                           (PENDING, ['login', 'poll', '--no-wait'])):
            for mode in (0o644, 0o666, 0o640, 0o604, 0o777):
                with self.subTest(name=name, mode=oct(mode)):
                    path = self.write_state(name, self.read_bytes(name), mode)
                    self.call(*argv, secrets_ok=True)
                    self.assertEqual(0o600, stat.S_IMODE(os.stat(path).st_mode))

    def test_a_rewrite_makes_any_file_private(self):
        self.store_login()
        for name in STATE_FILES[:3]:
            os.chmod(os.path.join(self.home, name), 0o644)
        self.log_in()
        self.assertEqual([0o600] * 3, [self.modes()[name] for name in STATE_FILES[:3]])

    # Writing ----------------------------------------------------------------------------------

    def test_a_link_stays_a_link(self):
        elsewhere = os.path.join(self.dir, 'elsewhere')
        os.mkdir(elsewhere)
        self.store_login()
        for name in STATE_FILES[:3]:
            os.rename(os.path.join(self.home, name), os.path.join(elsewhere, 'my-' + name))
            os.symlink(os.path.join('..', 'elsewhere', 'my-' + name), os.path.join(self.home, name))
        self.sandbox.workspaces = [('other', 'Other')]
        self.log_in()
        self.assertEqual({'my-' + name for name in STATE_FILES[:3]}, set(os.listdir(elsewhere)))
        for name in STATE_FILES[:3]:
            self.assertTrue(os.path.islink(os.path.join(self.home, name)), name)
        self.assertEqual({WORKSPACE: 'ntn_canary_stored', 'other': 'ntn_canary_login_1'},
                         self.state('auth.json'))

    def test_a_left_over_temporary_file_is_in_nobodys_way(self):
        victim = self.write_state('victim', b'precious')
        for make in (lambda path: os.symlink(victim, path), lambda path: os.link(victim, path),
                     os.mkfifo, lambda path: open(path, 'w').close()):
            with self.subTest(make=make):
                for name in STATE_FILES:
                    make(self.write_state(name, {}) + '.tmp')
                self.assertEqual(0, self.log_in().code)
                self.assertEqual([], [name for name in self.modes() if name.endswith('.tmp')])
                self.assertEqual(b'precious', self.read_bytes('victim'))

    def hold_lock(self, directory=''):
        """Hold the lock as another process would; the file, whose closing ends that."""
        os.makedirs(os.path.join(self.home, directory), exist_ok=True)
        file = open(os.path.join(self.home, directory, '.lock'), 'w')
        self.addCleanup(file.close)
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def test_a_lock_held_for_10_s_is_an_error_that_names_it(self):
        self.store_login()
        for directory in ('', 'cache'):
            file = self.hold_lock(directory)
            clock = self.fake_clock()
            with self.subTest(directory=directory):
                self.assertEqual(
                    (1, '', 'error: Another process has held %s for 10 s.\n  hint: Find it with '
                     '`fuser %s`, and try again when it is done.\n' % (file.name, file.name)),
                    self.call('login', '--no-browser', clock=clock))
                self.assertAlmostEqual(10, sum(clock.sleeps), delta=0.1)
                self.assertEqual([], self.sandbox.requests)
            file.close()

    def test_a_damaged_file_is_not_moved_while_another_process_writes(self):
        paths = [self.write_state(name, b'{') for name in STATE_FILES]
        locks = [self.hold_lock(), self.hold_lock('cache')]
        result = self.call('login', '--no-browser', clock=self.fake_clock())
        self.assertEqual((1, '', 'error: Another process has held %s for 10 s.\n  hint: Find it '
                          'with `fuser %s`, and try again when it is done.\n'
                          % (locks[0].name, locks[0].name)), result)
        self.assertEqual([True] * 4, [os.path.exists(path) for path in paths])

    def test_a_lock_is_waited_for_and_not_needed_to_read(self):
        self.store_login()
        file = self.hold_lock()
        self.assertEqual(0, self.call('auth', 'token', secrets_ok=True).code)
        self.assertEqual((0, '', '✔ Logged out\n'),
                         self.call('logout', clock=self.fake_clock(file.close)))

    def test_a_full_disk_leaves_the_old_content(self):
        full = ['sh', '-c', 'ulimit -f 0; exec "$@"', 'sh']  # every write to a file fails
        self.store_login()
        self.start_login()
        before = {name: self.read_bytes(name) for name in STATE_FILES}
        del self.sandbox.requests[:]
        for argv, name in ((['login', '--no-browser'], 'auth.json'),
                           (['login', 'poll'], 'auth.json'),
                           (['login', '--workspace', 'Acme'], 'config.json')):
            with self.subTest(argv=argv):
                self.assertEqual(
                    (1, '', 'error: Cannot write %s: File too large.\n  hint: Check the '
                     "directory's permissions and free space, or set NOTION_HOME elsewhere.\n"
                     % os.path.join(self.home, name)), self.ntn(*argv, prefix=full))
        self.assertEqual(1, self.ntn('logout', prefix=full).code)
        self.assertIsNone(self.state(PENDING))  # to delete a file takes no space
        del before[PENDING]
        self.assertEqual(before, {name: self.read_bytes(name) for name in STATE_FILES[:3]})
        self.assertEqual([], [name for name in self.modes() if name.endswith('.tmp')])
        self.assertEqual([], self.sandbox.requests)

    def test_a_write_that_fails_at_any_step_leaves_the_old_content(self):
        self.store_login()
        before = self.read_bytes('auth.json')
        usual = "Check the directory's permissions and free space, or set NOTION_HOME elsewhere."
        for function, number, hint in (
                ('os.fsync', errno.ENOSPC, usual), ('os.replace', errno.EACCES, usual),
                ('os.replace', errno.EBUSY, 'It is mounted as a single file and cannot be '
                 'replaced: mount its directory.')):
            with self.subTest(function=function, number=number), \
                    mock.patch(function, side_effect=OSError(number, os.strerror(number))):
                self.assertEqual(
                    (1, '', 'error: Cannot write %s/auth.json: %s.\n  hint: %s\n'
                     % (self.home, os.strerror(number), hint)), self.call('login', '--no-browser'))
                self.assertEqual(before, self.read_bytes('auth.json'))
                self.assertNotIn('auth.json.tmp', os.listdir(self.home))

    # Kills ------------------------------------------------------------------------------------

    # Polls are stored one after the other, each in a fork that kills itself at an instant drawn
    # from all before and after the calls into the operating system, once the login is approved;
    # then its parent looks at the files. The network is left out: the answer is there at once.
    KILLER = r'''
import json, os, random, signal, sys
sys.path.insert(0, sys.argv[1])
import ntn
home, runs = os.environ['NOTION_HOME'], int(sys.argv[2])
os.fsync = lambda descriptor: None  # a kill takes nothing from the system's cache

def store(number, instant):
    """Store poll `number`, up to the `instant`-th event; how many events there were."""
    events = 0
    def count(frame, event, function):
        nonlocal events
        if event in ('c_call', 'c_return') and function.__module__ in ('posix', '_io', 'io'):
            events += 1
            if events == instant:
                os.kill(os.getpid(), signal.SIGKILL)
    def approve(client, pending):
        sys.setprofile(count)
        return ntn.Approval('ntn_canary_%d' % number, 'w-%d' % number, 'W'), None
    ntn.poll_login = approve
    with open(os.devnull, 'w') as nowhere:
        code = ntn.main(['login', 'poll', '--no-wait'], ntn.Console(stderr=nowhere))
        sys.setprofile(None)
    assert code == 0, code
    return events

def load(name):
    with open(os.path.join(home, name)) as file:
        return json.load(file)

def save_pending():
    path = os.path.join(home, 'cache', 'pending-login.json')
    with open(path, 'w') as file:
        file.write('{"sessionId": "sess-canary-1", "issuedAt": 1}')

for _ in range(2):  # the first one also makes directories
    save_pending()
    events = store(0, 0)
tokens, killed, kept = {'w-0': 'ntn_canary_0'}, 0, 0
draw = random.Random(2)
for number in range(1, runs + 1):
    save_pending()
    instant = draw.randrange(1, events + 1)
    child = os.fork()
    if not child:
        store(number, instant)
        os._exit(0)
    killed += os.waitpid(child, 0)[1] == signal.SIGKILL
    found = load('auth.json')
    new = {'w-%d' % number: 'ntn_canary_%d' % number}
    assert found in (tokens, dict(tokens, **new)), (tokens, found)
    kept += found != tokens
    tokens = found
    config, cached = load('config.json'), load('workspaces.json')
    assert config['defaultWorkspaceIds']['prod'] in tokens, config
    assert set(cached['environments']['prod']) <= set(tokens), cached
save_pending()
store(runs + 1, 0)  # neither a lock nor a temporary file is in the way of the next one
print('%d killed, %s stored' % (killed, 'some' if 0 < kept < runs else kept))
'''

    def test_a_kill_at_any_instant_loses_no_token(self):
        os.makedirs(os.path.join(self.home, 'cache'))
        killer = subprocess.Popen(
            [sys.executable, '-c', self.KILLER, HERE, '200'], env=self.environ({}),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(reap, killer)
        self.assertEqual('200 killed, some stored\n', to_text(killer.communicate(timeout=60)[0]))


# ---- Secrets: the keychain -----------------------------------------------------------------------

# The library `keyring` as far as ntn.py uses it; its keychain is a file, which processes share.
# FAKE_KEYRING is a JSON object that says what happens at a step: {"set": "KeyringLocked"}. A step
# is import, backend, get_keyring, set, get, delete, one of the last three for an account alone
# ("set ACCOUNT"), or * for those three.
FAKE_KEYRING = r'''
import concurrent.futures, json, os, sys, threading

KeyringError = type('KeyringError', (Exception,), {})
for name in 'KeyringLocked', 'InitError', 'PasswordSetError', 'PasswordDeleteError':
    globals()[name] = type(name, (KeyringError,), {})
NoKeyringError = type('NoKeyringError', (KeyringError, RuntimeError), {})
PanicException = type('PanicException', (BaseException,), {})  # Rust's, as by cryptography
DBusError = type('DBusError', (Exception,), {})  # knows nothing of keyring, as many do

plan = json.loads(os.environ.get('FAKE_KEYRING', '{}'))
path = os.environ['FAKE_KEYRING_FILE']
hanging, released = None, threading.Event()

def hang():
    global hanging
    hanging = threading.current_thread()
    released.wait()
    sys.exit()

def act(step, account='', what=None):
    what = plan.get('%s %s' % (step, account)) or plan.get(step) or what
    if what == 'hang':
        hang()
    elif what == 'hang in a pool':  # as a backend does that wants a limit of its own
        concurrent.futures.ThreadPoolExecutor(1).submit(hang).result()
    elif what and what != 'lose':
        kind = globals().get(what) or getattr(__import__('builtins'), what)
        raise kind('no luck' + (' with ' + revealed if revealed else ''))
    return what != 'lose'

def load():
    try:
        with open(path) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}

def save(entries):
    with open(path + '.new', 'w') as file:
        json.dump(entries, file)
    os.replace(path + '.new', path)  # others may be reading

class Keyring:
    __module__ = 'keyring.backends.' + plan.get('backend', 'SecretService')

def get_keyring():
    act('get_keyring')
    return Keyring()

def set_password(service, account, password):
    global revealed
    revealed = password if 'reveal' in plan else ''
    if act('set', account, plan.get('*')):
        save(dict(load(), **{service + '/' + account: password}))

def get_password(service, account):
    act('get', account, plan.get('*'))
    return load().get(service + '/' + account)

def delete_password(service, account):
    act('delete', account, plan.get('*'))
    entries = load()
    if entries.pop(service + '/' + account, None) is None:
        raise PasswordDeleteError('no such password')
    save(entries)

revealed = ''
act('import')
'''
ENTRY = 'notion-cli/' + WORKSPACE
LOGGED_IN = '✔ Logged in to workspace Acme\n  The token is stored in %s\n'
WAITING = 'Waiting for the keychain: it may ask to be unlocked.\n'
SILENT = 'The keychain did not answer within 5 s.'
KEYCHAIN_HINT = '  hint: Set NOTION_KEYRING=0 to use file-based auth instead of the OS keychain.\n'
NO_TOKEN = (4, '', 'error: No token is stored for workspace %s.\n  hint: Run `ntn login` again, or '
            'set NOTION_API_TOKEN.\n' % WORKSPACE)
LOCKED = {'*': 'KeyringLocked'}
IS_LOCKED = 'The keychain is locked (KeyringLocked: no luck).'

NO_KEYCHAINS = [  # what FAKE_KEYRING is, None if there is no such package; what is said of it
    (None, 'The Python package keyring is not installed.'),
    ({'backend': 'fail', '*': 'RuntimeError'}, 'No keychain was found on this system.'),
    ({'backend': 'null', 'set': 'lose'}, 'No keychain was found on this system.'),
    ({'*': 'NoKeyringError'}, 'No keychain was found on this system.')]
SILENT_KEYCHAINS = [({step: 'hang'}, SILENT) for step in ('import', 'get_keyring', 'get', '*')]
BROKEN_KEYCHAINS = SILENT_KEYCHAINS + [
    (plan, 'The keychain cannot be used (%s: no luck).' % next(iter(plan.values())))
    for plan in ({'import': 'RuntimeError'}, {'import': 'ImportError'}, {'import': 'SyntaxError'},
                 {'import': 'ModuleNotFoundError'},  # so PYTHON_KEYRING_BACKEND fails, for one
                 {'import': 'PanicException'}, {'import': 'SystemExit'},
                 {'get_keyring': 'InitError'}, {'*': 'DBusError'}, {'get': 'OSError'},
                 {'get': 'PanicException'}, {'get': 'KeyringError'})
] + [(LOCKED, IS_LOCKED), ({'get': 'KeyringLocked'}, IS_LOCKED)]
CARELESS_KEYCHAINS = [  # these can be read
    ({'set': 'lose'}, 'The keychain does not keep what is written to it.'),
    ({'set': 'hang'}, SILENT),
    ({'delete': 'hang'}, SILENT),
    ({'set': 'KeyringLocked'}, IS_LOCKED),
    ({'set': 'PasswordSetError'}, 'The keychain cannot be used (PasswordSetError: no luck).'),
    ({'delete': 'PasswordDeleteError'},
     'The keychain cannot be used (PasswordDeleteError: no luck).')]


class ImpatientEvent(threading.Event):
    """Waits for whatever ends, but does not wait out the time a silent keychain is given."""

    waits = []  # the times given

    def wait(self, timeout=None):
        if timeout is None or sys._getframe(1).f_locals.get('notice') is None:
            return super().wait(timeout)  # this is not the keychain that is waited for
        self.waits.append(timeout)
        while not (self.is_set() or getattr(sys.modules.get('keyring'), 'hanging', None)):
            super().wait(0.005)
        return self.is_set()


class KeychainCase(Case):
    """Tests with a stand-in for keyring, in the automatic mode. `behave` says what it does."""

    def setUp(self):
        super().setUp()
        library = os.path.join(self.dir, 'library')
        os.makedirs(os.path.join(library, 'keyring'))
        with open(os.path.join(library, 'keyring', '__init__.py'), 'w') as file:
            file.write(FAKE_KEYRING)
        self.entries_path = os.path.join(self.dir, 'keychain.json')
        variables = {'FAKE_KEYRING': '{}', 'FAKE_KEYRING_FILE': self.entries_path}
        self.env.update(variables, PYTHONPATH=library)
        del self.env['NOTION_KEYRING']
        self.lookups = []  # 'keyring', for each time that it was looked for
        for patch in (mock.patch.dict(os.environ, variables),
                      mock.patch.object(sys, 'path', [library] + sys.path),
                      mock.patch.object(sys, 'meta_path', [self] + sys.meta_path),
                      mock.patch.object(ImpatientEvent, 'waits', []),
                      mock.patch('threading.Event', ImpatientEvent),
                      mock.patch('os.fsync')):  # slow, and of no use to these tests
            patch.start()
            self.addCleanup(patch.stop)
        real = self.take_keyring_away()
        self.addCleanup(sys.modules.update, real)
        self.addCleanup(self.take_keyring_away)
        self.behave({})

    @staticmethod
    def take_keyring_away():
        """Have it imported anew, and no call of it hang any more; the modules that there were."""
        library = sys.modules.get('keyring')
        if getattr(library, 'hanging', None):
            library.released.set()
            library.hanging.join()
        return {name: sys.modules.pop(name) for name in list(sys.modules)
                if name.partition('.')[0] == 'keyring'}

    def find_spec(self, name, path=None, target=None):
        """Called by `import`: take note, or deny that there is such a package."""
        if name == 'keyring':
            self.lookups.append(name)
            if self.plan is None:
                raise ModuleNotFoundError("No module named 'keyring'", name=name)

    def behave(self, plan):
        self.plan = plan
        self.env['FAKE_KEYRING'] = os.environ['FAKE_KEYRING'] = json.dumps(plan or {})
        self.take_keyring_away()

    def call(self, *argv, **options):
        self.take_keyring_away()  # a process would know nothing of the one before
        return super().call(*argv, **options)

    def entries(self):
        """What is in the keychain."""
        try:
            with open(self.entries_path) as file:
                return json.load(file)
        except FileNotFoundError:
            return {}

    def hold(self, *entries):
        """Have the keychain hold just these tokens, which are the stored ones' of `store_login`."""
        with open(self.entries_path, 'w') as file:
            json.dump(dict.fromkeys(entries, 'ntn_canary_stored'), file)

    def store_login_in_keychain(self):
        self.store_login()
        self.write_state('auth.json', {})
        self.hold(ENTRY)

    def start_login(self, **options):
        self.assertEqual(0, self.call('login', '--no-browser', **options).code)
        self.sandbox.approve()
        del self.sandbox.requests[:]

    def log_in(self, run=None, plan=None, **options):
        """A whole login in two steps; the result of the second. A plan is the keychain's there."""
        run = run or self.call
        self.assertEqual(0, run('login', '--no-browser', **options).code)
        self.sandbox.approve(workspace=(WORKSPACE, 'Acme'))
        if plan is not None:
            self.behave(plan)
        return run('login', 'poll', **options)

    def places(self):
        """The number of the stand-in's token that the keychain holds, and that auth.json holds."""
        return tuple(tokens.get(key, 'ntn_canary_login_').rpartition('_')[2]
                     for tokens, key in ((self.entries(), ENTRY),
                                         (self.state('auth.json') or {}, WORKSPACE)))

    @property
    def file_name(self):
        return os.path.join(self.home, 'auth.json')


class KeychainStoreTest(StoreContract, KeychainCase):

    def make_store(self):
        return ntn.KeychainStore(ntn.Console(environ=self.environ({}), stderr=io.StringIO()), 5)

    def break_store(self):
        self.behave(LOCKED)

    def test_an_entry_is_where_the_official_client_has_it(self):
        self.make_store().set(WORKSPACE, 'ntn_canary_a')
        self.assertEqual({'notion-cli/' + WORKSPACE: 'ntn_canary_a'}, self.entries())

    def test_a_proof_leaves_nothing_behind(self):
        for plan in ({}, {'get': 'KeyringError'}):
            with self.subTest(plan=plan):
                self.behave(plan)
                try:
                    self.make_store().prove()
                except ntn.CliError:
                    self.assertTrue(plan)
                self.assertEqual({}, self.entries())

    def test_after_silence_it_is_not_asked_again(self):
        self.behave({'get': 'hang'})
        store = self.make_store()
        messages = []
        for step in (lambda: store.get('a'), lambda: store.set('b', 'c'), store.prove):
            with self.assertRaises(ntn.CliError) as caught:
                step()
            messages.append(caught.exception.message)
        self.assertEqual([SILENT] * 3, messages)
        self.assertEqual([2, 3], ImpatientEvent.waits)
        self.assertEqual({}, self.entries())


class KeychainTest(KeychainCase):

    # Where a token goes -----------------------------------------------------------------------

    def test_a_login_is_kept_in_the_keychain_alone(self):
        self.assertEqual((0, '', LOGGED_IN % 'the keychain'), self.log_in())
        self.assertEqual({ENTRY: 'ntn_canary_login_1'}, self.entries())
        self.assertIsNone(self.state('auth.json'))
        self.assertEqual((0, ''), self.call('api', 'v1/users/me')[::2])
        result = self.call('auth', 'token', '--json', secrets_ok=True)
        self.assertEqual({'token': 'ntn_canary_login_1', 'source': 'the keychain',
                          'workspace_id': WORKSPACE}, json.loads(result.out))
        self.assertEqual(
            {'status': 'confirmed', 'workspace_id': WORKSPACE, 'workspace_name': 'Acme',
             'stored_in': 'the keychain'},
            json.loads((self.start_login(), self.call('login', 'poll', '--json'))[1].out))

    def test_processes_share_the_keychain(self):
        self.assertEqual((0, '', LOGGED_IN % 'the keychain'), self.log_in(self.ntn))
        self.assertEqual((0, ''), self.ntn('api', 'v1/users/me', stdin=None)[::2])
        self.assertEqual(('1', ''), self.places())

    def test_variable_then_config_say_which_place_it_is(self):
        absent = object()
        for variable, config, place in (
                (None, absent, 'keychain'), ('', absent, 'keychain'), ('0', absent, 'file'),
                ('1', absent, 'keychain'), (None, False, 'file'), (None, True, 'keychain'),
                ('0', True, 'file'), ('1', False, 'keychain'), ('', False, 'file'),
                ('0', 'odd', 'file'), ('1', 'odd', 'keychain')):
            with self.subTest(variable=variable, config=config):
                shutil.rmtree(self.home, ignore_errors=True)
                self.hold()
                if config is not absent:
                    self.write_state('config.json', {'keyring': config})
                env = {'NOTION_KEYRING': variable}
                source = self.file_name if place == 'file' else 'the keychain'
                self.assertEqual((0, '', LOGGED_IN % source), self.log_in(env=env))
                self.assertEqual(place == 'keychain', ENTRY in self.entries())
                self.assertEqual(place == 'file', self.state('auth.json') is not None)
                result = self.call('auth', 'token', '--json', env=env, secrets_ok=True)
                self.assertEqual(source, json.loads(result.out)['source'])

    def test_one_place_only_is_read_if_one_is_chosen(self):
        for mode, source in (('0', self.file_name), ('1', 'the keychain')):
            self.store_login()
            self.hold(ENTRY)
            with self.subTest(mode=mode):
                result = self.call('auth', 'token', '--json', env={'NOTION_KEYRING': mode},
                                   secrets_ok=True)
                self.assertEqual(source, json.loads(result.out)['source'])
                (self.hold if mode == '1' else self.store_login_in_keychain)()
                self.assertEqual(NO_TOKEN, self.call('auth', 'token', env={'NOTION_KEYRING': mode}))

    def test_other_values_are_usage_errors(self):
        for value in ('2', 'true', 'no', ' 1', '01', '-'):
            for argv in (['login', '--no-browser'], ['auth', 'token'], ['logout'], ['doctor']):
                with self.subTest(value=value, argv=argv):
                    self.assertEqual(
                        (2, '', 'error: NOTION_KEYRING is %r: it takes 0 (file only) or 1 '
                         '(keychain only).\n  hint: Unset it to use the keychain where there is '
                         'one.\n' % value), self.call(*argv, env={'NOTION_KEYRING': value}))
        for value in (0, 1, '1', 'true', '', [], {}, 1.5):
            self.store_login_in_keychain()
            path = self.write_state('config.json', dict(self.state('config.json'), keyring=value))
            for argv in (['login', '--no-browser'], ['auth', 'token'], ['api', 'v1/users/me']):
                with self.subTest(value=value, argv=argv):
                    self.assertEqual(
                        (2, '', 'error: `keyring` in %s is %s: it can be true, false, or left '
                         'out.\n' % (path, json.dumps(value))), self.call(*argv, stdin=None))
        self.assertEqual([], self.sandbox.requests)

    def test_without_a_usable_keychain_a_login_goes_into_the_file_and_that_is_said_once(self):
        for plan, problem in NO_KEYCHAINS + BROKEN_KEYCHAINS + CARELESS_KEYCHAINS:
            with self.subTest(plan=plan):
                shutil.rmtree(self.home, ignore_errors=True)
                self.hold()
                self.behave(plan)
                start = self.call('login', '--no-browser')
                self.assertEqual((0, ''), start[::2])
                self.sandbox.approve()
                self.assertEqual(
                    (0, '', '%s The token is in %s instead; NOTION_KEYRING=0 '
                     'silences this.\n' % (problem, self.file_name) + LOGGED_IN % self.file_name),
                    self.call('login', 'poll'))
                self.assertNotIn(ENTRY, self.entries())
                self.assertEqual({WORKSPACE: self.sandbox.issued_tokens[-1]},
                                 self.state('auth.json'))
                self.assertEqual((0, ''), self.call('api', 'v1/users/me')[::2])

    def test_with_the_keychain_alone_a_login_fails_before_anything_is_sent(self):
        self.start_login(env={'NOTION_KEYRING': '0'})
        session = self.state(PENDING)
        for plan, problem in NO_KEYCHAINS + BROKEN_KEYCHAINS + CARELESS_KEYCHAINS:
            for argv, variable, config in (
                    (['login', '--no-browser'], '1', False), (['login'], None, True),
                    (['login', 'poll', '--no-wait'], None, True)):
                with self.subTest(plan=plan, argv=argv):
                    self.behave(plan)
                    self.write_state('config.json', {'keyring': config})
                    self.assertEqual(
                        (1, '', 'error: %s\n' % problem + KEYCHAIN_HINT),
                        self.call(*argv, env={'NOTION_KEYRING': variable}))
        self.assertEqual([], self.sandbox.requests)
        self.assertEqual(session, self.state(PENDING))
        self.behave({})
        self.assertEqual((0, '', LOGGED_IN % 'the keychain'), self.call('login', 'poll'))

    def test_a_keychain_that_fails_after_its_proof_costs_no_login(self):
        for what, problem in (
                ('lose', 'The keychain does not keep what is written to it.'),
                ('PasswordSetError', 'The keychain cannot be used (PasswordSetError: no luck with '
                 '[redacted]).')):
            with self.subTest(what=what):
                self.behave({'set ' + WORKSPACE: what, 'reveal': 'yes'})
                self.assertEqual(
                    (0, '', '%s The token is in %s instead; NOTION_KEYRING=0 silences this.\n'
                     % (problem, self.file_name) + LOGGED_IN % self.file_name), self.log_in())
                self.assertEqual((0, ''), self.call('api', 'v1/users/me')[::2])

    def test_a_damaged_file_costs_no_login_to_the_keychain(self):
        for mode in (None, '1'):
            with self.subTest(mode=mode):
                self.hold()
                self.start_login(env={'NOTION_KEYRING': mode})
                self.write_state('auth.json', b'{')
                result = self.call('login', 'poll', env={'NOTION_KEYRING': mode},
                                   clock=self.fake_clock())
                self.assertEqual((0, ''), result[:2])
                self.assertIn('%s is damaged' % self.file_name, result.err)
                self.assertEqual({ENTRY: self.sandbox.issued_tokens[-1]}, self.entries())

    # One place --------------------------------------------------------------------------------

    def test_a_login_to_the_other_place_leaves_one_copy(self):
        for to_keychain, to_file in ((None, '0'), ('1', '0')):
            with self.subTest(to_keychain=to_keychain):
                shutil.rmtree(self.home, ignore_errors=True)
                self.sandbox.sessions.clear()
                self.hold()
                seen = []
                for mode in (to_file, to_keychain, to_file, to_file, to_keychain, to_keychain):
                    result = self.log_in(env={'NOTION_KEYRING': mode})
                    self.assertEqual((0, '', LOGGED_IN % (
                        self.file_name if mode == '0' else 'the keychain')), result)
                    seen.append(self.places())
                self.assertEqual([('', '1'), ('2', ''), ('', '3'), ('', '4'), ('5', ''),
                                  ('6', '')], seen)

    def test_copies_that_others_left_are_removed_as_well(self):
        self.store_login(env='dev')  # another environment knows the workspace
        os.unlink(self.file_name)
        self.hold(ENTRY)
        self.assertEqual(0, self.log_in(env={'NOTION_KEYRING': '0'}).code)
        self.assertEqual({}, self.entries())

    def test_an_older_copy_that_stays_is_spoken_of(self):
        warning = 'warning: An older token of this workspace could not be removed. %s\n'
        delete_fails = {'delete ' + WORKSPACE: 'PasswordDeleteError'}
        for plan, problem in ((LOCKED, IS_LOCKED), (delete_fails, 'The keychain cannot be used '
                                                    '(PasswordDeleteError: no luck).')):
            with self.subTest(plan=plan):
                self.behave({})
                self.store_login_in_keychain()
                self.assertEqual((0, '', warning % problem + LOGGED_IN % self.file_name),
                                 self.log_in(plan=plan, env={'NOTION_KEYRING': '0'}))
                self.assertEqual({ENTRY: 'ntn_canary_stored'}, self.entries())
        self.behave({})
        replace = os.replace

        def deny(source, target):
            if target == self.file_name:
                raise OSError(errno.EACCES, 'Permission denied')
            replace(source, target)

        self.store_login()
        with mock.patch('os.replace', deny):
            result = self.log_in()
        self.assertEqual(
            (0, '', warning % ('Cannot write %s: Permission denied.' % self.file_name)
             + LOGGED_IN % 'the keychain'), result)

    def test_an_older_copy_behind_a_lock_is_spoken_of_in_automatic_mode(self):
        self.store_login_in_keychain()
        self.behave(LOCKED)
        result = self.log_in()
        self.assertEqual((0, ''), result[:2])
        self.assertEqual({ENTRY: 'ntn_canary_stored'}, self.entries())
        self.assertIn('older token', result.err)

    # Reading ----------------------------------------------------------------------------------

    def test_keyring_is_looked_for_only_where_a_keychain_is_needed(self):
        token, no_keyring = {'NOTION_API_TOKEN': CANARY}, {'NOTION_KEYRING': '0'}
        for plan in ({}, None):
            for argv, env, in_file, lookups in (
                    (['auth', 'token'], {}, True, 0), (['auth', 'token'], token, False, 0),
                    (['auth', 'token'], no_keyring, False, 0), (['whoami'], token, False, 0),
                    (['api', 'v1/users/me'], {}, True, 0),
                    (['api', 'v1/users/me'], dict(token, NOTION_KEYRING='1'), False, 0),
                    (['api', 'v1/users/me'], no_keyring, True, 0),
                    (['login', '--workspace', 'Acme'], {}, True, 0), (['--help'], {}, False, 0),
                    (['api', '--help'], {}, False, 0), (['--version'], {}, False, 0),
                    ([], {}, False, 0), (['api', 'ls'], {}, False, 0),
                    (['login', '--no-browser'], no_keyring, False, 0),
                    (['doctor'], no_keyring, False, 0), (['debug'], no_keyring, True, 0),
                    (['debug'], {}, True, 0), (['auth', 'token'], {}, False, 1)):
                with self.subTest(plan=plan, argv=argv, env=env, in_file=in_file):
                    self.behave(plan)
                    (self.store_login if in_file else self.store_login_in_keychain)()
                    del self.lookups[:]
                    self.call(*argv, env=env, stdin=None, secrets_ok=True)
                    self.assertEqual(['keyring'] * lookups, self.lookups)

    def test_a_process_imports_keyring_only_where_a_keychain_is_needed(self):
        self.store_login_in_keychain()
        for env, imported in (({'NOTION_KEYRING': '0'}, False), ({'NOTION_API_TOKEN': 'x'}, False),
                              ({}, True)):
            with self.subTest(env=env):
                result = self.ntn('auth', 'token', env=env, python_flags=['-uv'], secrets_ok=True)
                self.assertEqual(imported, 'keyring/__init__.py' in result.err)

    def test_the_file_is_read_first(self):
        self.store_login()
        self.hold(ENTRY)
        for plan, _ in [({}, '')] + NO_KEYCHAINS + BROKEN_KEYCHAINS:
            with self.subTest(plan=plan):
                self.behave(plan)
                result = self.call('auth', 'token', '--json', secrets_ok=True)
                self.assertEqual(
                    (0, self.file_name, ''),
                    (result.code, json.loads(result.out)['source'], result.err))

    def test_where_there_is_no_keychain_nothing_is_stored_in_it(self):
        self.store_login_in_keychain()
        for plan, problem in NO_KEYCHAINS:
            with self.subTest(plan=plan):
                self.behave(plan)
                self.assertEqual(NO_TOKEN, self.call('api', 'v1/users/me', stdin=None))
                self.assertEqual((1, '', 'error: %s\n' % problem + KEYCHAIN_HINT),
                                 self.call('auth', 'token', env={'NOTION_KEYRING': '1'}))

    def test_a_keychain_that_cannot_be_read_is_not_called_signed_out(self):
        self.store_login_in_keychain()
        for plan, problem in BROKEN_KEYCHAINS:
            for argv, mode in ((['auth', 'token'], None), (['auth', 'token'], '1'),
                               (['api', 'v1/users/me'], None), (['whoami'], '1'),
                               (['login', '--workspace', 'Acme'], None)):
                with self.subTest(plan=plan, argv=argv, mode=mode):
                    self.behave(plan)
                    self.assertEqual(
                        (1, '', 'error: %s\n' % problem + KEYCHAIN_HINT),
                        self.call(*argv, stdin=None, env={'NOTION_KEYRING': mode}))
        self.assertEqual([], self.sandbox.requests)

    def test_a_keychain_that_only_reads_is_read(self):
        self.store_login_in_keychain()
        for plan, _ in CARELESS_KEYCHAINS:
            with self.subTest(plan=plan):
                self.behave(plan)
                self.assertEqual((0, 'ntn_canary_stored\n', ''),
                                 self.call('auth', 'token', secrets_ok=True))

    def test_a_refused_token_names_its_source(self):
        for prepare, env, source, remedy in (
                (self.store_login, {}, self.file_name, 'Run `ntn login` to get a new one.'),
                (self.store_login_in_keychain, {}, 'the keychain',
                 'Run `ntn login` to get a new one.'),
                (self.store_login, {'NOTION_API_TOKEN': CANARY}, 'NOTION_API_TOKEN',
                 'Set it to a valid one.')):
            with self.subTest(source=source):
                prepare()
                self.sandbox.valid_tokens.clear()
                self.assertEqual(
                    (4, '', 'error: Public API request failed: API token is invalid.\n'
                     '  request id: %s\n  hint: The token came from %s. %s\n'
                     % (REQUEST_ID, source, remedy)),
                    self.call('api', 'v1/users/me', stdin=None, env=env))

    # Silence ----------------------------------------------------------------------------------

    def test_somebody_at_a_terminal_has_60_s_to_unlock_it_and_is_told(self):
        self.store_login_in_keychain()
        for tty, seconds, waits in ((('stdin', 'stderr'), 60, [2, 58]), ((), 5, [2, 3]),
                                    (('stdin', 'stdout'), 5, [2, 3]), (('stderr',), 5, [2, 3])):
            with self.subTest(tty=tty):
                del ImpatientEvent.waits[:]
                self.behave({'get': 'hang'})
                self.assertEqual(
                    (1, '', WAITING * (seconds == 60) + 'error: The keychain did not answer within '
                     '%d s.\n' % seconds + KEYCHAIN_HINT), self.call('auth', 'token', tty=tty))
                self.assertEqual(waits, ImpatientEvent.waits)

    def test_ctrl_c_ends_the_waiting(self):
        self.store_login_in_keychain()
        self.behave({'get': 'hang'})
        with mock.patch.object(ImpatientEvent, 'wait', side_effect=KeyboardInterrupt):
            with mock.patch('threading.Thread.start'):
                self.assertEqual((130, '', ''), self.call('auth', 'token'))

    def test_a_silent_keychain_does_not_keep_the_process(self):
        self.store_login_in_keychain()
        with open(os.path.join(self.env['PYTHONPATH'], 'sitecustomize.py'), 'w') as file:
            file.write('import threading\n'  # a second of these processes is a tenth of ours
                       'wait = threading.Event.wait\n'
                       'threading.Event.wait = lambda event, timeout=None: wait(\n'
                       '    event, timeout and timeout / 10)\n')
        env = {'NOTION_KEYRING': '1'}
        processes = []
        for what in ('hang', 'hang in a pool'):
            env['FAKE_KEYRING'] = json.dumps({'get': what})
            processes.append((what, self.spawn('api', 'v1/users/me', stdin=None, env=env)))
        for what, process in processes:
            with self.subTest(what=what):
                out, err = process.communicate(timeout=10)
                self.assertEqual((1, '', 'error: %s\n' % SILENT + KEYCHAIN_HINT),
                                 self.checked(process.returncode, out, err, False))

    # Logout -----------------------------------------------------------------------------------

    def test_logout_empties_both_places(self):
        for prepare in (self.store_login, self.store_login_in_keychain,
                        lambda: (self.store_login(), self.hold(ENTRY))):
            for mode in (None, '0', '1'):
                with self.subTest(prepare=prepare, mode=mode):
                    self.hold()
                    prepare()
                    env = {'NOTION_KEYRING': mode}
                    self.assertEqual((0, '', '✔ Logged out\n'), self.call('logout', env=env))
                    self.assertEqual(({}, {}), (self.entries(), self.state('auth.json')))
                    self.assertEqual((0, '', '✔ Already logged out\n'),
                                     self.call('logout', env=env))

    def test_logout_leaves_the_tokens_of_others(self):
        self.store_login(workspace='other', name='Other')
        self.store_login_in_keychain()
        others = ['notion-cli/other', 'notion-cli/unknown', 'else/' + WORKSPACE]
        self.hold(ENTRY, *others)
        self.assertEqual((0, '', '✔ Logged out\n'), self.call('logout', '--workspace', 'Acme'))
        self.assertEqual(set(others), set(self.entries()))

    def test_logout_without_a_keychain_works(self):
        for plan, _ in NO_KEYCHAINS:
            with self.subTest(plan=plan):
                self.behave(plan)
                self.store_login()
                self.assertEqual((0, '', '✔ Logged out\n'), self.call('logout'))
                self.assertEqual({}, self.state('auth.json'))

    def test_logout_tells_of_a_token_it_could_not_delete(self):
        for plan, problem in (
                (LOCKED, IS_LOCKED), ({'import': 'hang'}, SILENT),
                ({'delete': 'PasswordDeleteError'},
                 'The keychain cannot be used (PasswordDeleteError: no luck).')):
            for mode in (None, '0', '1'):
                with self.subTest(plan=plan, mode=mode):
                    self.behave(plan)
                    self.store_login_in_keychain()
                    self.assertEqual(
                        (1, '', 'error: The token of workspace Acme is left: '
                         '%s\n  hint: The rest was forgotten.\n' % problem),
                        self.call('logout', env={'NOTION_KEYRING': mode}))
                    self.assertEqual([{ENTRY: 'ntn_canary_stored'}, {}, [WORKSPACE]], [
                        self.entries(), self.state('config.json')['defaultWorkspaceIds'],
                        list(self.state('workspaces.json')['environments']['prod'])])
                    self.behave({})  # so that it can be done again
                    self.assertEqual((0, '', '✔ Logged out\n'), self.call(
                        'logout', env={'NOTION_KEYRING': mode}))
                    self.assertEqual({}, self.entries())

    def test_logout_names_the_workspace_whose_token_is_left(self):
        self.store_login(workspace='other', name='Other')
        self.store_login_in_keychain()
        self.hold(ENTRY, 'notion-cli/other')
        self.behave({'delete other': 'PasswordDeleteError'})
        self.assertEqual(
            (1, '', 'error: The token of workspace Other is left: The keychain cannot be used '
             '(PasswordDeleteError: no luck).\n  hint: The rest was forgotten.\n'),
            self.call('logout'))
        self.assertEqual({'notion-cli/other': 'ntn_canary_stored'}, self.entries())

    def test_logout_tells_of_a_keychain_that_could_not_be_searched(self):
        self.store_login()
        self.behave(LOCKED)
        self.assertEqual(
            (0, '', 'warning: %s An older token may be left in it.\n✔ Logged out\n' % IS_LOCKED),
            self.call('logout'))
        self.assertEqual({}, self.state('auth.json'))

    # debug and doctor -------------------------------------------------------------------------

    def test_debug_shows_where_each_token_is(self):
        for key in ('w-none', 'w-keychain', 'w-file', 'w-locked'):
            self.store_login(workspace=key, name='Name of ' + key)
        self.write_state('auth.json', {'w-file': 'ntn_canary_stored'})
        self.hold('notion-cli/w-keychain')
        self.behave({'get w-locked': 'KeyringLocked'})
        table = [line for line in self.call('debug').out.splitlines() if line.startswith('| prod')]
        self.assertEqual(['| prod | %s | Name of %s | %s |' % (key, key, where) for key, where in (
            ('w-none', 'none'), ('w-keychain', 'the keychain'), ('w-file', self.file_name),
            ('w-locked', IS_LOCKED))], table)

    def check_doctor(self, plan, mode, code, status, value, hint=''):
        self.behave(plan)
        result = self.call('doctor', '--json', env={'NOTION_KEYRING': mode})
        found = [check for check in json.loads(result.out) if check['check'] == 'Keychain']
        expected = {'check': 'Keychain', 'status': status, 'value': value, 'hint': hint}
        self.assertEqual((code, [expected]), (result.code, found))

    def test_doctor_takes_the_keychain_on_a_round_trip(self):
        self.store_login()
        self.hold(ENTRY)
        before = self.entries()
        for mode in (None, '1'):
            self.check_doctor({}, mode, 0, 'ok', 'keeps what is written to it')
            self.assertEqual(before, self.entries())
        self.assertIn('\nKeychain             ✔ keeps what is written to it\n',
                      self.call('doctor').out)
        self.check_doctor(LOCKED, '0', 0, 'skipped', 'not used: NOTION_KEYRING is 0')
        self.write_state('config.json', dict(self.state('config.json'), keyring=False))
        self.check_doctor(LOCKED, None, 0, 'skipped',
                          'not used: config.json says "keyring": false')

    def test_doctor_tells_what_is_wrong_with_a_keychain(self):
        self.store_login()
        self.hold(ENTRY)
        for plan, _ in NO_KEYCHAINS:
            with self.subTest(plan=plan):
                self.check_doctor(plan, None, 0, 'ok', 'none, so auth.json keeps the tokens')
        for plan, problem in (
                (LOCKED, IS_LOCKED), ({'set': 'hang'}, SILENT),
                ({'set': 'lose'}, 'The keychain does not keep what is written to it.'),
                ({'import': 'PanicException'},
                 'The keychain cannot be used (PanicException: no luck).')):
            with self.subTest(plan=plan):
                self.check_doctor(plan, None, 0, 'warning', problem,
                                  'export NOTION_KEYRING=0 to do without it')
                self.check_doctor(plan, '1', 1, 'error', problem,
                                  KEYCHAIN_HINT.strip()[len('hint: '):])

    def test_doctor_names_the_source_of_the_token(self):
        self.store_login_in_keychain()
        self.assertIn('\nToken source         ✔ the keychain\n', self.call('doctor').out)


# ---- Secrets: a real Secret Service --------------------------------------------------------------

# Says what is missing; a prompt that it opens would be waited for in vain.
PROBE = r'''
import sys
try:
    import keyring, secretstorage
    backend = type(keyring.get_keyring()).__module__
    if backend != 'keyring.backends.SecretService':
        sys.exit('keyring uses %s and no Secret Service' % backend)
    connection = secretstorage.dbus_init()
    path = '/org/freedesktop/secrets/aliases/default'
    if secretstorage.Collection(connection, path).is_locked():
        sys.exit('the Secret Service is locked')
except Exception as error:
    sys.exit('%s: %s' % (type(error).__name__, error))
'''
BUS = 'DBUS_SESSION_BUS_ADDRESS'


class RealKeychain(StoreContract, Case):
    """The contract and a login over a Secret Service; see .ci/run for how to start one."""

    ACCOUNTS = [WORKSPACE, 'w-0', 'w-1', 'w-2', 'w-3', 'other']
    log_in = KeychainCase.log_in
    file_name = KeychainCase.file_name

    @classmethod
    def setUpClass(cls):
        problem = cls.find_problem()
        if problem and os.environ.get('NTN_TEST_REQUIRE_KEYCHAIN') == '1':
            raise AssertionError('no Secret Service can be used: ' + problem)
        if problem:
            raise unittest.SkipTest('no Secret Service can be used: ' + problem)

    @staticmethod
    def find_problem():
        if not os.environ.get(BUS):
            return BUS + ' is not set'
        probe = subprocess.Popen([sys.executable, '-c', PROBE], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            errors = to_text(probe.communicate(timeout=10)[1]).strip()
            return errors.splitlines()[-1] if probe.returncode and errors else ''
        except subprocess.TimeoutExpired:
            return 'it does not answer'
        finally:
            reap(probe)

    def setUp(self):
        super().setUp()
        del self.env['NOTION_KEYRING'], self.env['PYTHONWARNINGS']  # the library's are not ours
        self.env[BUS] = os.environ[BUS]
        self.addCleanup(self.empty)

    def empty(self):
        for account in self.ACCOUNTS:
            self.make_store().delete(account)

    def make_store(self):
        return ntn.KeychainStore(ntn.Console(environ=self.env), 5)

    def break_store(self):
        patch = mock.patch.dict(os.environ, {BUS: 'unix:path=' + os.path.join(self.dir, 'none')})
        patch.start()
        self.addCleanup(patch.stop)

    def look_up(self):
        """The token, as others see it; '' if there is none."""
        tool = shutil.which('secret-tool')
        command = [tool, 'lookup', 'service', 'notion-cli', 'username', WORKSPACE] if tool else [
            sys.executable, '-c', 'import keyring, sys\n'
            'print(keyring.get_password("notion-cli", sys.argv[1]) or "")', WORKSPACE]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.addCleanup(reap, process)
        return to_text(process.communicate(timeout=10)[0]).strip()

    def test_a_login_lives_in_the_keychain_until_the_logout(self):
        self.assertEqual((0, '', LOGGED_IN % 'the keychain'), self.log_in(self.ntn))
        self.assertEqual('ntn_canary_login_1', self.look_up())
        self.assertIsNone(self.state('auth.json'))
        self.assertEqual((0, ''), self.ntn('api', 'v1/users/me', stdin=None)[::2])
        self.assertIn('\nKeychain             ✔ keeps what is written to it\n',
                      self.ntn('doctor').out)
        self.assertEqual((0, '', '✔ Logged out\n'), self.ntn('logout'))
        self.assertEqual('', self.look_up())
        self.assertEqual((0, '', '✔ Already logged out\n'), self.ntn('logout'))

    def test_a_login_to_the_other_place_leaves_one_copy(self):
        seen = []
        for mode in ('0', None, '0', '1'):
            self.assertEqual(0, self.log_in(self.ntn, env={'NOTION_KEYRING': mode}).code)
            seen.append((self.look_up(), (self.state('auth.json') or {}).get(WORKSPACE)))
        self.assertEqual([('', 'ntn_canary_login_1'), ('ntn_canary_login_2', None),
                          ('', 'ntn_canary_login_3'), ('ntn_canary_login_4', None)], seen)

    def test_a_refused_token_is_said_to_come_from_the_keychain(self):
        self.log_in(self.ntn)
        del self.sandbox.issued_tokens[:]
        self.assertIn('The token came from the keychain.', self.ntn('whoami').err)

    def test_a_proof_leaves_nothing_behind(self):
        import secretstorage
        self.make_store().prove()
        connection = secretstorage.dbus_init()
        self.addCleanup(connection.close)
        self.assertEqual([], list(secretstorage.search_items(
            connection, {'service': 'notion-cli', 'username': 'ntn-probe-%d' % os.getpid()})))

    def test_a_backend_that_stores_nothing_means_the_file(self):
        for backend, problem in (
                ('keyring.backends.fail.Keyring', 'No keychain was found on this system.'),
                ('keyring.backends.null.Keyring', 'No keychain was found on this system.'),
                ('nowhere.Keyring', 'The keychain cannot be used (ModuleNotFoundError: No module '
                 "named 'nowhere').")):
            with self.subTest(backend=backend):
                env = {'PYTHON_KEYRING_BACKEND': backend}
                self.assertEqual(
                    (0, '', '%s The token is in %s instead; NOTION_KEYRING=0 silences this.\n'
                     % (problem, self.file_name) + LOGGED_IN % self.file_name),
                    self.log_in(self.ntn, env=env))
                self.assertEqual((0, ''), self.ntn('api', 'v1/users/me', env=env)[::2])
                shutil.rmtree(self.home)
                del self.sandbox.requests[:]
                self.assertEqual((1, '', 'error: %s\n' % problem + KEYCHAIN_HINT), self.ntn(
                    'login', env=dict(env, NOTION_KEYRING='1')))
                self.assertEqual([], self.sandbox.requests)


# ---- Login ---------------------------------------------------------------------------------------

INIT = '/api/v3/workersCliLoginInit'
REDEEM = '/api/v3/workersCliLoginRedeem'
POLL_COMMAND = '%s %s login poll' % (  # a virtual environment need not be activated
    'python3' if sys.prefix == sys.base_prefix else shlex.quote(sys.executable), shlex.quote(NTN))
START_HINT = "  hint: Run `ntn login` to start a new one.\n"
EXPIRED = "error: Login session expired. Run 'ntn login' to start a new one.\n"
NO_SESSION = (4, '', "error: No pending login session found.\n  hint: Run 'ntn login' first to "
              'start a new login session.\n')
PENDING_ANSWER = Answer.json({'status': 'pending'})


def confirmed(**changes):
    """An approval with changed fields; None takes one away."""
    value = dict({'status': 'confirmed', 'token': 'ntn_canary_new', 'spaceId': WORKSPACE,
                  'spaceName': 'Acme'}, **changes)
    return Answer.json({name: each for name, each in value.items() if each is not None})


class LoginCase(Case):
    """Logins in two steps, run in this process as if ntn.py had been started there."""

    def setUp(self):
        super().setUp()
        for patch in (mock.patch.object(sys, 'argv', [NTN]),
                      mock.patch('shutil.which', {'python3': '/usr/bin/python3'}.get),
                      mock.patch('os.fsync')):  # a disk's slowness proves nothing here
            patch.start()
            self.addCleanup(patch.stop)

    def start(self, *options, **settings):
        """Start a login; the sandbox's session."""
        result = self.call('login', '--no-browser', *options, **settings)
        self.assertEqual(0, result.code, result.err)
        return self.sandbox.sessions[-1]

    def poll(self, *options, **settings):
        return self.call('login', 'poll', *options, **settings)

    def success(self, name='Acme'):
        return ('✔ Logged in to workspace %s\n  The token is stored in %s\n'
                % (name, os.path.join(self.home, 'auth.json')))

    def forget(self):
        """Start over, with nothing on disk."""
        shutil.rmtree(self.home, ignore_errors=True)
        del self.sandbox.requests[:]

    def script(self, path, *answers):
        """Exactly these answers for a call of the protocol; those not used are taken away."""
        self.sandbox.scripted['POST', path].clear()
        self.sandbox.on('POST', path, *answers)


class SplitLoginTest(LoginCase):

    def test_a_login_without_a_terminal_prints_url_code_and_command(self):
        result = self.ntn('login', stdin=None)
        command = result.out.splitlines()[-1].strip()
        self.assertEqual((0, (
            'Open this URL in your browser to log in:\n'
            '\n'
            '  %s/workers/cli-login?verificationCode=DP9-QL5\n'
            '\n'
            'Confirm that this verification code matches what you see in the browser:\n'
            '\n'
            '  DP9-QL5\n'
            '\n'
            'Then run this command to complete login:\n'
            '\n'
            '  %s\n') % (self.sandbox.origin, command), ''), result)
        self.sandbox.approve()
        finish = self.ntn(prefix=['sh', '-c', command])
        self.assertEqual((0, '', self.success()), finish)

    def test_the_command_is_the_way_the_program_was_started(self):
        directory = os.path.join(self.dir, "it's here")
        os.makedirs(os.path.join(directory, 'sub dir'))
        os.makedirs(os.path.join(self.dir, 'bin'))
        for name in ('ntn.py', 'sub dir/my ntn'):
            shutil.copy(NTN, os.path.join(directory, name))
        shutil.copy(NTN, os.path.join(self.dir, 'bin', 'ntn'))
        os.symlink(sys.executable, os.path.join(self.dir, 'bin', 'python3'))
        path = os.path.join(self.dir, 'bin') + os.pathsep + self.env['PATH']
        for started, expected in (
                (['ntn.py'], 'python3 ntn.py login poll'),
                (['./ntn.py'], 'python3 ./ntn.py login poll'),
                (['-I', 'sub dir/my ntn'], "python3 'sub dir/my ntn' login poll"),
                ([os.path.join(self.dir, 'bin', 'ntn')], 'ntn login poll')):
            with self.subTest(started=started):
                out = subprocess.check_output(
                    [sys.executable] + started + ['login', '--json'], cwd=directory,
                    env=self.environ({'PATH': path}), stdin=subprocess.DEVNULL)
                self.assertEqual(expected, json.loads(to_text(out))['poll_command'])

    def test_json_is_one_document(self):
        clock = self.fake_clock()
        self.assertEqual((0, (
            '{\n'
            '  "url": "%s/workers/cli-login?verificationCode=DP9-QL5",\n'
            '  "verification_code": "DP9-QL5",\n'
            '  "expires_at": 1767226200,\n'
            '  "poll_command": "%s"\n'
            '}\n') % (self.sandbox.origin, POLL_COMMAND), ''),
            self.call('login', '--json', clock=clock))
        self.assertEqual((8, '{\n  "status": "pending",\n  "expires_at": 1767226200\n}\n',
                          'The login is still pending: approve it in the browser.\n'),
                         self.poll('--json', '--no-wait', clock=clock))
        self.sandbox.approve()
        self.assertEqual((0, (
            '{\n'
            '  "status": "confirmed",\n'
            '  "workspace_id": "%s",\n'
            '  "workspace_name": "Acme",\n'
            '  "stored_in": "%s"\n'
            '}\n') % (WORKSPACE, os.path.join(self.home, 'auth.json')), self.success()),
            self.poll('--json', clock=clock))

    def test_the_calls_carry_the_session_and_no_credentials(self):
        self.store_login()
        self.start(env={'NOTION_API_TOKEN': CANARY})
        self.sandbox.approve()
        self.poll(env={'NOTION_API_TOKEN': CANARY})
        self.assertEqual(
            [('POST', INIT, {}), ('POST', REDEEM, {'sessionId': 'sess-canary-1'})],
            [(each.method, each.target, each.json()) for each in self.sandbox.requests])
        for request in self.sandbox.requests:
            self.assertEqual('application/json', request.header('Content-Type'))
            for name in ('Authorization', 'Cookie', 'Notion-Version'):
                self.assertIsNone(request.header(name))

    def test_a_poll_waits_for_the_approval(self):
        clock = self.fake_clock()
        self.start(clock=clock)
        clock.on_sleep = lambda: clock.uptime > 1030 and self.sandbox.approve()
        self.assertEqual((0, '', self.success()), self.poll(clock=clock))
        self.assertTrue(30 < sum(clock.sleeps) < 33.5, clock.sleeps)
        pauses = 30 / (len(self.sandbox.sent('POST', REDEEM)) - 1)
        self.assertTrue(2 <= pauses <= 2.5, pauses)
        self.assertEqual(NO_SESSION, self.poll())

    def test_no_wait_asks_once(self):
        self.start()
        self.assertEqual((8, '', 'The login is still pending: approve it in the browser.\n'),
                         self.ntn('login', 'poll', '--no-wait'))
        self.assertEqual(1, len(self.sandbox.sent('POST', REDEEM)))
        self.sandbox.approve()
        self.assertEqual((0, '', self.success()), self.poll('--no-wait'))

    def test_without_a_session_nothing_is_asked(self):
        for content in (None, {}, {'sessionId': ''}, {'sessionId': 5}, {'sessionId': None}):
            for options in ([], ['--no-wait'], ['--json']):
                with self.subTest(content=content, options=options):
                    if content is not None:
                        self.write_state(PENDING, content)
                    self.assertEqual(NO_SESSION, self.poll(*options))
        self.assertEqual([], self.sandbox.requests)

    def test_a_refusal_ends_the_session(self):
        refused = 'error: The login was refused (%s).\n' + START_HINT
        for answer, err in (
                (Answer.json({'status': 'expired'}), EXPIRED),
                (Answer.json({'status': 'denied'}), refused % 'denied'),
                (Answer.json({'status': 'CONFIRMED'}), refused % 'CONFIRMED'),
                (Answer.json({'status': 'a\nerror: b\x1b[2J'}),
                 refused % 'a error: b\\u001b[2J'),
                (Answer.error(400, 'validation_error', 'Denied.'), refused % '400 Bad Request'),
                (Answer(401), refused % '401 Unauthorized'),
                (Answer(403, '<html>', content_type='text/html'), refused % '403 Forbidden'),
                (Answer(404), refused % '404 Not Found'), (Answer(410), refused % '410 Gone')):
            for options in ([], ['--no-wait'], ['--json']):
                with self.subTest(err=err, options=options):
                    self.start()
                    self.script(REDEEM, answer)
                    self.assertEqual((4, '', err), self.poll(*options))
                    self.assertEqual(NO_SESSION, self.poll())
        self.assertIsNone(self.state('auth.json'))

    def test_the_sandbox_denies_as_notion_does(self):
        self.start()
        self.sandbox.deny()
        self.assertEqual(4, self.poll().code)
        self.assertIsNone(self.state(PENDING))

    def test_only_the_session_that_was_asked_for_is_ended(self):
        self.start()

        def expire(request, handler):
            self.write_state(PENDING, {'sessionId': 'sess-canary-newer', 'issuedAt': 1})
            return Answer.json({'status': 'expired'})

        self.script(REDEEM, expire)
        self.assertEqual((4, '', EXPIRED), self.poll())
        self.assertEqual({'sessionId': 'sess-canary-newer', 'issuedAt': 1}, self.state(PENDING))

    def test_of_two_polls_at_once_one_logs_in(self):
        self.start()
        self.sandbox.approve()
        inner = []

        def interfere(request, handler):
            inner.append(self.poll())
            return self.sandbox.redeem_login(request)

        self.sandbox.on('POST', REDEEM, lambda request, handler: self.answer_or_refuse(
            interfere, request, handler))
        outer = self.poll()
        self.assertEqual([(0, '', self.success())], inner)
        self.assertEqual((4, '', 'error: Another process has finished or ended this login.\n'
                                 '  hint: Run `ntn whoami` to see.\n'), outer)
        self.assertEqual({WORKSPACE: 'ntn_canary_login_1'}, self.state('auth.json'))
        self.assertIsNone(self.state(PENDING))

    @staticmethod
    def answer_or_refuse(answer, request, handler):
        try:
            return answer(request, handler)
        except Refusal as refusal:
            return Answer.error(*refusal.args)

    def test_a_new_login_replaces_a_pending_one(self):
        self.start()
        self.start()
        self.sandbox.approve('DP9-QL6')
        self.assertEqual(0, self.poll().code)
        self.assertEqual({WORKSPACE: 'ntn_canary_login_2'}, self.state('auth.json'))

    def test_a_session_of_the_official_client_can_be_finished(self):
        session = self.start()
        for issued_at in (1767225600, 1.5, None, 'text', [], -5, True, 10 ** 400):
            with self.subTest(issued_at=issued_at):
                self.write_state(PENDING, {'sessionId': session.id, 'issuedAt': issued_at})
                self.assertEqual(8, self.poll('--no-wait').code)
        for text in (b'1e400', b'-1e400', b'1' * 5000, b'1.5'):
            for name in (b'issuedAt', b'expiresAt'):
                with self.subTest(text=text[:9], name=name):
                    self.write_state(PENDING, b'{"sessionId": "%s", "%s": %s}' % (
                        session.id.encode(), name, text))
                    self.assertEqual(8, self.poll('--no-wait').code)
        for name in ('environment', 'origin', 'expiresAt'):
            for value in (5, None, [], {}, 'text', 'http://evil.example', -1, 10 ** 400):
                with self.subTest(name=name, value=value):
                    self.write_state(PENDING, {'sessionId': session.id, 'issuedAt': 1, name: value})
                    self.assertEqual(8, self.poll('--no-wait').code)
        self.sandbox.approve()
        self.write_state(PENDING, {'sessionId': session.id, 'issuedAt': 1})
        self.assertEqual((0, '', self.success()), self.poll())

    def test_verbose_shows_the_calls_without_their_secrets(self):
        for argv in (['login', '--no-browser', '-v'], ['-v', 'login', 'poll']):
            result = self.call(*argv)
            self.assertEqual(0, result.code)
            self.assertIn('> POST %s/api/v3/workersCliLogin' % self.sandbox.origin, result.err)
            self.assertIn('"sessionId": "[redacted]"', result.err)
            self.sandbox.approve()
        self.assertIn('"token": "[redacted]"', result.err)


class LoginTimeTest(LoginCase):
    """Expiry is by the server's clock; a local one that is hours off changes nothing."""

    def test_times_are_the_servers(self):
        for offset in (-36000, -700, 0, 700, 36000):
            for form in ('s', 'ms', 'iso', None):
                with self.subTest(offset=offset, form=form):
                    clock = self.fake_clock()
                    self.sandbox.date_offset, self.sandbox.expires_form = offset, form
                    self.start(clock=clock)
                    state = self.state(PENDING)
                    self.assertEqual([1767225600 + offset, 1767226200 + offset],
                                     [state['issuedAt'], state['expiresAt']])

    def test_a_session_is_waited_for_until_it_expires(self):
        for offset, shift, form, lifetime in [  # shift: the clock is set between login and poll
                (offset, shift, 's', 20) for offset in (-36000, 0, 36000)
                for shift in (-18000, 0, 18000)] + [
                    (36000, 0, 'ms', 20), (36000, 0, 'iso', 20), (-36000, 0, None, 600)]:
            with self.subTest(offset=offset, shift=shift, form=form):
                clock = self.fake_clock()
                self.sandbox.date_offset, self.sandbox.expires_form = offset, form
                self.sandbox.lifetime = lifetime
                self.start(clock=clock)
                clock.wall += shift
                self.sandbox.date_offset -= shift
                self.sandbox.always('POST', REDEEM, PENDING_ANSWER)
                self.assertEqual((4, '', EXPIRED), self.poll(clock=clock))
                self.assertAlmostEqual(lifetime, sum(clock.sleeps), delta=1)
                self.assertIsNone(self.state(PENDING))

    def test_time_that_passed_before_the_poll_counts(self):
        clock = self.fake_clock()
        self.start(clock=clock)
        clock.sleep(540)
        del clock.sleeps[:]
        self.sandbox.always('POST', REDEEM, PENDING_ANSWER)
        self.assertEqual((4, '', EXPIRED), self.poll(clock=clock))
        self.assertAlmostEqual(60, sum(clock.sleeps), delta=1)

    def test_without_a_date_the_session_is_waited_for_as_well(self):
        clock = self.fake_clock()
        self.sandbox.send_date, self.sandbox.lifetime = False, 60
        self.start(clock=clock)
        clock.wall += 18000
        self.sandbox.always('POST', REDEEM, PENDING_ANSWER)
        self.assertEqual((4, '', EXPIRED), self.poll(clock=clock))
        self.assertAlmostEqual(60, sum(clock.sleeps), delta=1)

    def test_every_form_of_the_expiry_is_understood(self):
        clock = self.fake_clock()  # 2026-01-01T00:00:00Z is 1767225600
        default = 1767226200
        for value, expected in (
                (1767225900, 1767225900), (1767225900.5, 1767225900),
                (1767225900000, 1767225900), ('1767225900', 1767225900),
                ('1767225900000', 1767225900), ('2026-01-01T00:05:00Z', 1767225900),
                ('2026-01-01T00:05:00.999Z', 1767225900), ('2026-01-01T00:05:00', 1767225900),
                ('2026-01-01 00:05:00Z', 1767225900),
                ('2026-01-01T05:35:00+05:30', 1767225900),
                ('2025-12-31T16:05:00-0800', 1767225900),
                ('2026-02-30T00:05:00Z', default), ('2026-01-01', default), ('soon', default),
                ('', default), (None, default), (True, default), ([], default), ({}, default),
                (0, default), (-5, default), (1767225599, default), (1767225600 + 86400, default),
                (10 ** 20, default), (10 ** 400, default), (-10 ** 400, default)):
            with self.subTest(value=value):
                self.script(INIT, Answer.json({
                    'sessionId': 'sess-canary-1', 'verificationCode': 'A', 'expiresAt': value,
                    'browserUrl': 'https://notion.so/x'}))
                result = self.call('login', '--json', clock=clock)
                self.assertEqual((0, ''), (result.code, result.err))
                self.assertEqual(expected, json.loads(result.out)['expires_at'])
                self.assertEqual(expected, self.state(PENDING)['expiresAt'])


class LoginTroubleTest(LoginCase):
    """While a login waits, networks and servers may fail; it is another thing to be refused."""

    def timed(self, clock, times, answer):
        """The answer, with the time of its request noted."""
        def note(request, handler):
            times.append(clock.monotonic())
            return answer
        return note

    def wait_through(self, *answers):
        """Poll through these answers to a pending login; (pauses after each, result)."""
        clock, times = self.fake_clock(), []
        self.start(clock=clock)
        self.sandbox.approve()
        self.script(REDEEM, *[self.timed(clock, times, answer) for answer in answers])
        result = self.poll(clock=clock)
        times.append(clock.monotonic())
        return [after - before for before, after in zip(times, times[1:])], result

    def test_trouble_is_waited_out(self):
        broken = 'Cannot reach Notion: 127.0.0.1:%d broke the connection off (%%s).' \
            % self.sandbox.port
        for answer, words in (
                (Answer(500), 'Notion answered 500 Internal Server Error.'),
                (Answer(502, '<html>', content_type='text/html'), 'Notion answered 502 Bad '
                 'Gateway.'),
                (Answer(503), 'Notion answered 503 Service Unavailable.'),
                (Answer(504), 'Notion answered 504 Gateway Timeout.'),
                (Answer(408), 'Notion answered 408 Request Timeout.'),
                (Answer(429), 'Notion answered 429 Too Many Requests.'),
                (cut(), broken % 'no answer'),
                (raw(b'rubbish\r\n\r\n'), broken % 'its answer is not HTTP: BadStatusLine'),
                (cut(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"status":'),
                 broken % 'the answer broke off, 90 bytes short')):
            with self.subTest(words=words):
                pauses, result = self.wait_through(answer)
                self.assertEqual((0, '', words + ' Still waiting.\n' + self.success()), result)
                self.assertTrue(4 <= pauses[0] < 4.6, pauses)

    def test_pauses_grow_and_start_again_after_an_answer(self):
        pauses, result = self.wait_through(*[Answer(503)] * 5 + [PENDING_ANSWER] + [cut()] * 2)
        self.assertEqual([4, 8, 16, 30, 30, 2, 4, 8], list(map(int, pauses)))
        self.assertEqual(0, result.code)
        self.assertEqual(2, result.err.count('Still waiting.'))

    def test_retry_after_is_honoured(self):
        def date(seconds):
            return email.utils.formatdate(1767225600 + seconds, usegmt=True)
        for status in (429, 503):
            for text, expected in (('1', 4), ('20', 20), ('120', 120), (date(50), 50),
                                   (date(-50), 4), ('-5', 4), ('later', 4), ('', 4), ('2.5', 4)):
                with self.subTest(status=status, text=text):
                    pauses, result = self.wait_through(
                        Answer(status, headers=[('Retry-After', text)]))
                    self.assertEqual(0, result.code)
                    self.assertTrue(expected <= pauses[0] < expected + 1.6, pauses)

    def test_a_server_that_goes_and_comes_back_is_waited_for(self):
        clock = self.fake_clock()
        self.start(clock=clock)
        self.sandbox.approve()
        self.sandbox.stop()
        clock.on_sleep = lambda: clock.uptime > 1100 and self.sandbox.stopping.is_set() \
            and self.sandbox.start()
        self.assertEqual(
            (0, '', 'Cannot reach Notion: 127.0.0.1:%d refuses connections. Still waiting.\n'
             % self.sandbox.port + self.success()), self.poll(clock=clock))

    def test_a_network_down_until_the_expiry_is_no_refusal(self):
        for options in ([], ['--json']):
            clock = self.fake_clock()
            self.start(clock=clock)
            state = self.state(PENDING)
            self.sandbox.stop()
            words = 'Cannot reach Notion: 127.0.0.1:%d refuses connections.' % self.sandbox.port
            self.assertEqual(
                (5, '', '%s Still waiting.\nerror: %s\n  hint: The login is still pending: run `%s`'
                 ' to finish it.\n' % (words, words, POLL_COMMAND)),
                self.poll(*options, clock=clock))
            self.assertAlmostEqual(600, sum(clock.sleeps), delta=1)
            self.assertEqual(state, self.state(PENDING))
            self.sandbox.start()
        self.sandbox.approve()

    def test_trouble_is_an_error_where_nobody_waits(self):
        self.start()
        state = self.state(PENDING)
        for answer, message in (
                (Answer(503), 'Notion answered 503 Service Unavailable.'),
                (Answer(429), 'Notion answered 429 Too Many Requests.'),
                (cut(), 'Cannot reach Notion: 127.0.0.1:%d broke the connection off (no answer).'
                 % self.sandbox.port)):
            for path, argv in ((REDEEM, ['login', 'poll', '--no-wait']), (INIT, ['login'])):
                with self.subTest(message=message, argv=argv):
                    self.script(path, answer)
                    result = self.call(*argv)
                    self.assertEqual((5, '', 'error: %s\n  hint: Try again%s\n' % (
                        message, ' later.' if message.startswith('Notion') else '.')), result)
                    self.assertEqual(state, self.state(PENDING))

    # Malformed answers ------------------------------------------------------------------------

    NO_OBJECTS = [b'', b'{', b'[]', b'"confirmed"', b'null', b'5', b'<html>hello</html>',
                  b'{"status": "\xff"}', b'{"expiresAt": NaN}', b'[' * 100000]

    def check_malformed(self, path, argv, answer, message, hint):
        before = self.state(PENDING)
        self.script(path, answer)
        self.assertEqual((5, '', 'error: %s\n  hint: %s\n' % (message, hint)), self.call(*argv))
        self.assertEqual(before, self.state(PENDING))
        self.assertEqual([None] * 3, [self.state(name) for name in STATE_FILES[:3]])

    def test_an_answer_that_is_no_object_is_the_servers_fault(self):
        answers = [(Answer(200, body), '200 OK') for body in self.NO_OBJECTS]
        answers += [(Answer(204), '204 No Content'), (confirmed_with_status(201), '201 Created')]
        for path, argv in ((INIT, ['login']), (REDEEM, ['login', 'poll']),
                           (REDEEM, ['login', 'poll', '--no-wait'])):
            if path == REDEEM:
                self.start()
            for answer, status in answers:
                with self.subTest(argv=argv, body=answer.body[:20]):
                    self.check_malformed(
                        path, argv, answer, "The login server's answer cannot be understood (%s)."
                        % status, 'Check NOTION_BASE_URL and --env.')

    def test_an_approval_must_be_whole(self):
        self.start()
        for changes in [{'token': value} for value in (
                None, '', 5, [], 'ntn_canary a', 'ntn_canary_a\n', 'ntn_canary_\xe9', '\x00',
                'ntn_canary_\x7f', 'ntn_canary_a\r\nX-Evil: 1')] + [
                    {'spaceId': value} for value in (None, '', 5, {}, '../x', 'a/b', 'a b', 'a\n',
                                                     'a' * 65, 'a_b', '\xe4', 'a.b')]:
            for options in ([], ['--no-wait']):
                with self.subTest(changes=changes, options=options):
                    what = 'token' if 'token' in changes else 'workspace ID'
                    self.check_malformed(
                        REDEEM, ['login', 'poll'] + options, confirmed(**changes),
                        'The login was approved, but without a valid %s.' % what, 'Try again.')

    def test_a_workspace_without_a_name_goes_by_its_id(self):
        for name in (None, '', ' \t', 5, []):
            with self.subTest(name=name):
                self.start()
                self.script(REDEEM, confirmed(spaceName=name, spaceId='a' * 64))
                self.assertEqual((0, '', self.success('a' * 64)), self.poll())
                self.assertEqual({'id': 'a' * 64, 'name': 'a' * 64},
                                 self.state('workspaces.json')['environments']['prod']['a' * 64])

    def test_a_name_cannot_act_on_the_terminal(self):
        name = 'A\nerror: \x1b[2J\u202eB'
        shown = 'A error: \\u001b[2J\\u202eB'
        self.start()
        self.sandbox.approve(workspace=(WORKSPACE, name))
        self.assertEqual((0, '', self.success(shown)), self.poll())
        self.assertEqual((0, '', '✔ Switched to workspace %s\n' % shown),
                         self.call('login', '--workspace', WORKSPACE))
        self.write_state('auth.json', {})
        self.assertEqual('The token of workspace %s is gone, so a new login is needed.\n' % shown,
                         self.call('login', '--workspace', WORKSPACE).err)

    # Redirects --------------------------------------------------------------------------------

    def check_redirect(self, path, argv, status, target, followed):
        """Whether a redirect is followed; every connection ends in the sandbox."""
        origins = []

        def connect(origin, proxy, watchdog):
            origins.append(origin)
            watchdog.sock = socket.create_connection(('127.0.0.1', self.sandbox.port))
            return watchdog.sock

        self.script(path, Answer(status, headers=[('Location', target)] if target else []))
        del self.sandbox.requests[:]
        with mock.patch.object(ntn, 'open_connection', connect):
            result = self.call(*argv)
        requests = [(each.method, each.path, each.body, each.header('Host'))
                    for each in self.sandbox.requests]
        if not followed:
            self.assertEqual((5, '', 'error: The login was redirected (%d) to %s, which is not '
                              "Notion's login.\n  hint: Check NOTION_BASE_URL and your network.\n"
                              % (status, ntn.parse_origin(target, exact=False) or (
                                  self.sandbox.origin if target[:1] in ('', '/') else 'nowhere'))),
                             result)
            self.assertEqual(([self.sandbox.origin], 1), (origins, len(requests)))
            return
        self.assertEqual({INIT: 0, REDEEM: 8}[path], result.code, result.err)
        method, _, body, host = requests[0]
        self.assertEqual([
            (method, path, body, self.sandbox.origin.split('//')[1]),
            (method, path, body, followed.split('//')[1])], requests)
        self.assertEqual([self.sandbox.origin, followed], origins)

    def test_a_redirect_is_followed_within_notion_alone(self):
        self.start()
        for path, argv in ((INIT, ['login']), (REDEEM, ['login', 'poll', '--no-wait'])):
            for status, target, followed in [
                    (status, target + path, target) for status in (307, 308) for target in (
                        'https://www.notion.so', 'https://notion.com', 'https://a.b.notion.com',
                        'https://app.notion.so:8443')] + [
                    (status, 'https://www.notion.so' + path, None)
                    for status in (300, 301, 302, 303, 304, 305, 399)] + [
                    (307, target, None) for target in (
                        '', '/elsewhere', '//', 'http://www.notion.so/', 'https://notion.site/',
                        'https://evilnotion.so/', 'https://notion.so.evil.example/',
                        'https://notion.so@evil.example/', 'https://user@notion.so/',
                        'https://evil.example/?.notion.so', 'https://evil.example#.notion.so',
                        'https://evil.example\\.notion.so/', 'javascript:alert(1)',
                        'file:///etc/passwd', 'http://127.0.0.1:1/', 'https://notion.so:99999/',
                        'https://[::1', 'https://notion.so. /')]:
                with self.subTest(path=path, status=status, target=target):
                    self.check_redirect(path, argv, status, target, followed)
        self.sandbox.approve()
        self.assertEqual(0, self.poll().code)

    def test_redirects_do_not_go_on_for_ever(self):
        def connect(origin, proxy, watchdog):
            watchdog.sock = socket.create_connection(('127.0.0.1', self.sandbox.port))
            return watchdog.sock

        self.sandbox.always('POST', INIT, Answer(
            307, headers=[('Location', 'https://www.notion.so' + INIT)]))
        with mock.patch.object(ntn, 'open_connection', connect):
            result = self.call('login')
        self.assertEqual((5, ''), result[:2])
        self.assertLess(len(self.sandbox.requests), 20)

    # What the server wants to be opened and shown ---------------------------------------------

    def begin(self, **changes):
        """Start a login that the server answers with these fields."""
        value = dict({'sessionId': 'sess-canary-1', 'verificationCode': 'DP9-QL5',
                      'browserUrl': 'https://app.notion.com/x'}, **changes)
        self.script(INIT, Answer(200, json.dumps(
            {key: each for key, each in value.items() if each is not None})))
        return self.call('login', '--no-browser')

    def test_an_address_at_notion_or_the_login_origin_is_shown(self):
        for url in ('https://notion.so', 'https://www.notion.so/a?b=c&d=%20#e',
                    'https://notion.com/',
                    'https://app.notion.com/workers/cli-login?verificationCode=DP9-QL5',
                    'https://a.b.notion.site/x', 'HTTPS://WWW.NOTION.SO/x',
                    self.sandbox.origin + '/x', self.sandbox.origin):
            for name in ('browserUrl', 'authorizationUrl'):
                with self.subTest(url=url, name=name):
                    result = self.begin(**{'browserUrl': None, name: url})
                    self.assertEqual((0, ''), (result.code, result.err))
                    self.assertEqual('  ' + url, result.out.splitlines()[2])

    def test_any_other_address_is_refused(self):
        for url, shown in (
                ('http://www.notion.so/', 'http://www.notion.so'),
                ('https://evilnotion.so/', 'https://evilnotion.so'),
                ('https://notion.so.evil.example/', 'https://notion.so.evil.example'),
                ('https://evil.example/notion.so', 'https://evil.example'),
                ('https://evil.example#.notion.so', 'https://evil.example'),
                ('https://evil.example?.notion.so', 'https://evil.example'),
                ('https://notion.so./', 'https://notion.so.'),
                ('http://127.0.0.1:1/', 'http://127.0.0.1:1'),
                ('http://localhost:%d/' % self.sandbox.port,
                 'http://localhost:%d' % self.sandbox.port),
                ('https://127.0.0.1:%d/' % self.sandbox.port,
                 'https://127.0.0.1:%d' % self.sandbox.port)) + tuple((url, None) for url in (
                    'https://user@notion.so/', 'https://user:pw@notion.so/', 'https://@notion.so/',
                    'https://notion.so@evil.example/', 'https://evil.example\\@notion.so/',
                    'https://notion.so\\.evil.example/', 'https://notion.so%2eevil.example/',
                    'https://notion.so/a b', ' https://notion.so/', 'https://notion.so/\n',
                    'https://notion.so/\t', 'https://notion.so/\x1b[2J', 'https://notion.so/\x7f',
                    'https://notion.so/\x9b', 'https://notion.so/\u202e', 'https://notion.so/\xa0',
                    'https://notion.so/\ud800', 'https://notion.so:99999/',
                    'https://\xf1otion.so/', 'https://', 'https:notion.so', '//notion.so/',
                    'notion.so', '--flag', 'javascript:alert(1)', 'file:///etc/passwd',
                    'https://[::1', '', None, 5, [], {})):
            with self.subTest(url=url):
                self.assertEqual(
                    (5, '', "error: The login server sent an address that is not Notion's: %s.\n"
                     '  hint: It was not opened. Check NOTION_BASE_URL and your network.\n'
                     % (shown or 'not a web address')), self.begin(browserUrl=url))
                self.assertIsNone(self.state(PENDING))

    def test_a_verification_code_has_one_form(self):
        for code in ('A', '7', 'DP9-QL5', 'A-B-C-D', 'A' * 32, 'A' * 15 + '-' + 'B' * 16):
            with self.subTest(code=code):
                result = self.begin(verificationCode=code)
                self.assertEqual((0, '  ' + code), (result.code, result.out.splitlines()[6]))
        self.forget()
        for code in ('', 'A' * 33, 'a', 'DP9-ql5', '-A', 'A-', 'A--B', '-', 'A B', ' A', 'A\n',
                     '\nA', 'A_B', '\xc9', '\uff11', 'A\x1b[2J', None, 5, [], {}):
            with self.subTest(code=code):
                self.assertEqual((5, '', 'error: The login server sent an invalid verification '
                                  'code.\n  hint: Try again.\n'), self.begin(verificationCode=code))
                self.assertIsNone(self.state(PENDING))

    def test_a_login_without_a_session_is_refused(self):
        for session in (None, '', 5, []):
            with self.subTest(session=session):
                self.assertEqual(
                    (5, '', "error: The login server's answer has no session.\n"
                     '  hint: Try again.\n'),
                    self.begin(sessionId=session))
                self.assertIsNone(self.state(PENDING))


def confirmed_with_status(status):
    answer = confirmed()
    answer.status = status
    return answer


class LoginStorageTest(LoginCase):
    """What a login leaves behind, whatever happens on the way."""

    def test_the_old_login_stays_until_the_new_one_is_stored(self):
        self.store_login()
        self.sandbox.workspaces = [('new', 'New')]

        def token():
            return self.call('auth', 'token', secrets_ok=True).out

        self.start()
        self.assertEqual('ntn_canary_stored\n', token())
        self.assertEqual(8, self.poll('--no-wait').code)
        self.assertEqual('ntn_canary_stored\n', token())
        self.sandbox.deny()
        self.assertEqual(4, self.poll().code)
        self.assertEqual('ntn_canary_stored\n', token())
        self.start()
        self.sandbox.approve()
        self.assertEqual((0, '', self.success('New')), self.poll())
        self.assertEqual('ntn_canary_login_2\n', token())
        self.assertEqual({WORKSPACE: 'ntn_canary_stored', 'new': 'ntn_canary_login_2'},
                         self.state('auth.json'))

    def test_a_token_that_cannot_be_read_back_is_not_logged_in_with(self):
        self.store_login()
        self.start()
        self.sandbox.approve(workspace=('new', 'New'))
        with mock.patch.object(ntn.FileStore, 'set', lambda *args: None):
            self.assertEqual((1, '', 'error: %s/auth.json does not keep what is written to it.\n'
                              % self.home),
                             self.poll())
        self.assertEqual('ntn_canary_stored\n', self.call('auth', 'token', secrets_ok=True).out)

    def test_the_store_is_proved_before_anything_is_sent(self):
        def block(path):
            os.makedirs(os.path.join(path, 'full'))

        def replace_directory(path):
            shutil.rmtree(path)
            open(path, 'w').close()

        self.store_login()
        session = self.start()
        pending = self.state(PENDING)
        for make, name, message in (
                (block, 'auth.json.tmp', 'Cannot write {}/auth.json: Is a directory.'),
                (block, 'config.json.tmp', 'Cannot write {}/config.json: Is a directory.'),
                (block, 'workspaces.json.tmp', 'Cannot write {}/workspaces.json: Is a directory.'),
                (block, '.lock', 'Cannot write in {}: Is a directory.'),
                (block, 'cache/.lock', 'Cannot write in {}/cache: Is a directory.'),
                (replace_directory, 'cache', None), (replace_directory, '', None)):
            for argv in (['login'], ['login', 'poll', '--no-wait']):
                if argv[-1] != 'login' and not message:
                    continue  # there can be no session
                with self.subTest(name=name, argv=argv):
                    self.forget()
                    self.store_login()
                    self.write_state(PENDING, pending)
                    path = os.path.join(self.home, name).rstrip('/')
                    make(path)
                    result = self.call(*argv)
                    self.assertEqual((1, ''), result[:2])
                    if message:
                        self.assertEqual('error: ' + message.format(self.home),
                                         result.err.splitlines()[0])
                    self.assertEqual([], self.sandbox.requests)
        self.assertEqual('pending', session.state)

    def test_a_poll_proves_the_config_directory_too(self):
        config = os.path.join(self.dir, 'config')
        env = {'NOTION_HOME': None, 'XDG_CONFIG_HOME': config, 'XDG_CACHE_HOME': self.home}
        self.start(env=env)
        self.sandbox.approve()
        shutil.rmtree(config)
        open(config, 'w').close()
        result = self.poll(env=env)
        self.assertEqual((1, ''), result[:2])
        self.assertEqual([], self.sandbox.sent('POST', REDEEM))
        os.unlink(config)
        self.assertEqual(0, self.poll(env=env).code)
        self.call('logout', env=env)
        shutil.rmtree(config)

    # Interruption -----------------------------------------------------------------------------

    INTERRUPTED = 'The login is still pending: run `%s` to finish it.\n'

    def test_ctrl_c_keeps_the_session(self):
        def interrupt():
            raise KeyboardInterrupt

        self.start()
        self.assertEqual((130, '', self.INTERRUPTED % POLL_COMMAND),
                         self.poll(clock=self.fake_clock(interrupt)))
        self.sandbox.clock = time.time
        self.sandbox.approve()
        self.assertEqual((0, '', self.success()), self.poll())

    def test_ctrl_c_ends_a_waiting_process(self):
        self.start()
        asked = threading.Event()
        processes = []

        def interrupt(request, handler):
            asked.wait()
            processes[0].send_signal(signal.SIGINT)
            return hang(threading.Event())

        self.sandbox.on('POST', REDEEM, interrupt)
        processes.append(self.spawn('login', 'poll'))
        asked.set()
        out, err = processes[0].communicate(timeout=30)
        self.assertEqual(130, processes[0].returncode)
        self.assertEqual(b'', out)
        self.assertRegex(to_text(err), r'\AThe login is still pending: run `.* login poll` to '
                         r'finish it\.\n\Z')
        self.sandbox.approve()
        self.assertEqual((0, '', self.success()), self.poll())

    def test_ctrl_c_while_storing_waits_until_all_is_stored(self):
        replace = os.replace

        def interrupted_replace(source, target):
            if target.endswith('auth.json'):
                os.kill(os.getpid(), signal.SIGINT)
            replace(source, target)

        self.start()
        self.sandbox.approve()
        with mock.patch.object(ntn, 'prove_writable'), \
                mock.patch('os.replace', interrupted_replace):
            self.assertEqual(130, self.poll().code)
        self.assertEqual({WORKSPACE: 'ntn_canary_login_1'}, self.state('auth.json'))
        self.assertEqual({'prod': WORKSPACE}, self.state('config.json')['defaultWorkspaceIds'])
        self.assertIsNone(self.state(PENDING))
        self.assertIs(signal.default_int_handler, signal.getsignal(signal.SIGINT))

    # Environments -----------------------------------------------------------------------------

    def test_a_poll_goes_where_the_session_was_started(self):
        with Sandbox() as other:
            env = {'NOTION_BASE_URL': other.origin, 'NOTION_ENV': 'stg'}
            for argv, start_env, poll_env, expected in (
                    (['--env', 'dev'], {}, {}, 'dev'), ([], {'NOTION_ENV': 'dev'}, {}, 'dev'),
                    ([], {}, env, 'prod'), (['--env', 'local'], {}, env, 'local')):
                with self.subTest(argv=argv, start_env=start_env, poll_env=poll_env):
                    self.forget()
                    self.start(*argv, env=start_env)
                    self.sandbox.approve()
                    self.assertEqual((0, '', self.success()), self.poll(env=poll_env))
                    self.assertEqual({expected: WORKSPACE},
                                     self.state('config.json')['defaultWorkspaceIds'])
                    self.assertEqual([expected],
                                     list(self.state('workspaces.json')['environments']))
            self.assertEqual([], other.requests)

    def test_the_flag_names_another_environment_for_a_poll(self):
        self.start('--env', 'dev')
        self.sandbox.approve()
        with Sandbox() as other:
            other.sessions = self.sandbox.sessions
            del self.sandbox.requests[:]
            result = self.poll('--env', 'stg', env={'NOTION_BASE_URL': other.origin})
            self.assertEqual((0, '', self.success()), result)
            self.assertEqual(1, len(other.sent('POST', REDEEM)))
        self.assertEqual([], self.sandbox.requests)
        self.assertEqual({'stg': WORKSPACE}, self.state('config.json')['defaultWorkspaceIds'])

    def test_environments_have_defaults_of_their_own(self):
        self.store_login('ntn_canary_p', 'p', 'P')
        self.store_login('ntn_canary_d', 'd', 'D', 'dev')
        for argv, expected in (([], 'p'), (['--env', 'dev'], 'd')):
            self.assertEqual((0, 'ntn_canary_%s\n' % expected, ''),
                             self.call('auth', 'token', *argv, secrets_ok=True))
        self.assertEqual((4, '', 'error: Not logged in to the environment stg.\n  hint: Run '
                          '`ntn login --env stg`, or set NOTION_API_TOKEN.\n'),
                         self.call('auth', 'token', '--env', 'stg'))

    # Switching --------------------------------------------------------------------------------

    def test_a_stored_workspace_is_switched_to_without_the_network(self):
        self.store_login('ntn_canary_b', 'bbbb-2222', 'Beta')
        self.store_login('ntn_canary_d', 'bbbb-2222', 'Dev Beta', 'dev')
        for wanted in ('Acme', WORKSPACE, WORKSPACE.replace('-', ''), WORKSPACE.upper()):
            with self.subTest(wanted=wanted):
                self.store_login()
                self.assertEqual((0, '', '✔ Switched to workspace Beta\n'),
                                 self.call('login', '--workspace', 'Beta'))
                self.assertEqual((0, '', '✔ Switched to workspace Acme\n'),
                                 self.call('login', '--workspace', wanted))
                self.assertEqual({'prod': WORKSPACE, 'dev': 'bbbb-2222'},
                                 self.state('config.json')['defaultWorkspaceIds'])
        self.assertEqual((0, json.dumps({
            'status': 'switched', 'workspace_id': 'bbbb-2222', 'workspace_name': 'Beta',
            'stored_in': os.path.join(self.home, 'auth.json')}, indent=2) + '\n',
            '✔ Switched to workspace Beta\n'),
            self.call('login', '--json', '--workspace', 'bbbb2222'))
        self.assertEqual([], self.sandbox.requests)

    def test_an_unknown_workspace_is_no_reason_for_a_login(self):
        unknown = "error: You have not logged in to a workspace 'Gamma'.\n"
        self.assertEqual((4, '', unknown + '  hint: Run `ntn login` to log in to it.\n'),
                         self.call('login', '--workspace', 'Gamma'))
        self.store_login()
        self.store_login('ntn_canary_b', 'b', 'Beta')
        self.store_login('ntn_canary_c', 'c', 'Beta')
        self.assertEqual((4, '', unknown + '  hint: Known are: Acme (%s), Beta (b), Beta (c).\n'
                          % WORKSPACE), self.call('login', '--workspace', 'Gamma'))
        for argv in (['login'], ['logout']):
            self.assertEqual((4, '', "error: Several workspaces are called 'Beta': b, c.\n"
                              '  hint: Name the one you mean by its ID.\n'),
                             self.call(*argv, '--workspace', 'Beta'))
        self.assertEqual([], self.sandbox.requests)

    def test_a_workspace_whose_token_is_gone_is_logged_in_to_anew(self):
        self.store_login()
        self.write_state('auth.json', {})
        result = self.call('login', '--no-browser', '--workspace', 'Acme')
        self.assertEqual(
            (0, 'The token of workspace Acme is gone, so a new login is needed.\n'),
            (result.code, result.err))
        self.sandbox.approve()
        self.assertEqual((0, '', self.success()), self.poll())


# ---- Logout, whoami, auth token ------------------------------------------------------------------

TOKEN_STAYS = 'warning: NOTION_API_TOKEN is set and still in effect.\n  hint: Unset it.\n'


class LogoutTest(LoginCase):

    def setUp(self):
        super().setUp()
        self.store_login('ntn_canary_b', 'bbbb-2222', 'Beta')
        self.store_login('ntn_canary_d', 'd', 'Dev', 'dev')
        self.store_login()

    def test_a_logout_forgets_all_of_its_environment(self):
        self.start()
        del self.sandbox.requests[:]
        self.assertEqual((0, '', '✔ Logged out\n'), self.call('logout'))
        self.assertEqual({'d': 'ntn_canary_d'}, self.state('auth.json'))
        self.assertEqual({'version': '1', 'defaultWorkspaceIds': {'dev': 'd'}},
                         self.state('config.json'))
        self.assertEqual({'version': '1', 'environments': {
            'prod': {}, 'dev': {'d': {'id': 'd', 'name': 'Dev'}}}}, self.state('workspaces.json'))
        self.assertEqual(NO_SESSION, self.poll())
        self.assertEqual((0, '', '✔ Already logged out\n'), self.call('logout'))
        self.assertEqual((0, '', '✔ Logged out\n'), self.call('logout', '--env', 'dev'))
        self.assertEqual({}, self.state('auth.json'))
        self.assertEqual([], self.sandbox.requests)

    def test_a_logout_before_any_login_makes_no_files(self):
        shutil.rmtree(self.home)
        self.assertEqual((0, '', '✔ Already logged out\n'), self.call('logout'))
        self.assertFalse(os.path.exists(self.home))

    def test_anything_that_is_left_is_something_to_log_out_of(self):
        for name, content in (
                ('auth.json', {WORKSPACE: 'ntn_canary_x'}),
                ('workspaces.json', {'environments': {'prod': {'x': {'name': 'X'}}}}),
                ('config.json', {'defaultWorkspaceIds': {'prod': 'x'}}),
                (PENDING, {'sessionId': 'sess-canary-1', 'issuedAt': 1})):
            with self.subTest(name=name):
                shutil.rmtree(self.home)
                if name == 'auth.json':
                    self.store_login('ntn_canary_x')
                self.write_state(name, content)
                self.assertEqual((0, '', '✔ Logged out\n'), self.call('logout'))
                self.assertEqual((0, '', '✔ Already logged out\n'), self.call('logout'))

    def test_one_workspace_alone_can_be_forgotten(self):
        whole = [self.state(name) for name in STATE_FILES[:3]]
        for wanted in ('Beta', 'bbbb-2222', 'BBBB2222'):
            with self.subTest(wanted=wanted):
                auth, config, cached = json.loads(json.dumps(whole))
                for name, content in zip(STATE_FILES, whole):
                    self.write_state(name, content)
                self.start()
                self.assertEqual((0, '', '✔ Logged out\n'),
                                 self.call('logout', '--workspace', wanted))
                del auth['bbbb-2222'], cached['environments']['prod']['bbbb-2222']
                self.assertEqual([auth, config, cached],
                                 [self.state(name) for name in STATE_FILES[:3]])
                self.assertIsNotNone(self.state(PENDING))
        self.assertEqual((4, '', "error: You have not logged in to a workspace 'Beta'.\n"),
                         self.call('logout', '--workspace', 'Beta'))
        self.assertEqual((0, '', '✔ Logged out\n'), self.call('logout', '--workspace', 'Acme'))
        self.assertEqual({'dev': 'd'}, self.state('config.json')['defaultWorkspaceIds'])

    def test_a_login_pending_in_another_environment_stays(self):
        session = self.start('--env', 'dev')
        self.assertEqual(0, self.call('logout').code)
        self.assertEqual(session.id, self.state(PENDING)['sessionId'])

    def test_a_damaged_file_is_left_and_named_and_the_rest_is_done(self):
        gone = {'auth.json': {'d': 'ntn_canary_d'},
                'config.json': {'version': '1', 'defaultWorkspaceIds': {'dev': 'd'}},
                'workspaces.json': {'version': '1', 'environments': {
                    'prod': {}, 'dev': {'d': {'id': 'd', 'name': 'Dev'}}}},
                PENDING: None}
        whole = {name: self.state(name) for name in STATE_FILES[:3]}
        for damaged in STATE_FILES:
            with self.subTest(damaged=damaged):
                for name, content in whole.items():
                    self.write_state(name, content)
                self.start()
                path = self.write_state(damaged, b'{')
                self.assertEqual((1, '', 'error: %s is damaged: it is not valid JSON.\n  hint: '
                                  'The rest was forgotten.\n' % path), self.call('logout'))
                with open(path, 'rb') as file:
                    self.assertEqual(b'{', file.read())
                expected = dict(gone)
                if damaged == 'workspaces.json':  # what else there was cannot be known
                    expected['auth.json'] = {'bbbb-2222': 'ntn_canary_b', 'd': 'ntn_canary_d'}
                for name in set(STATE_FILES) - {damaged}:
                    self.assertEqual(expected[name], self.state(name), name)
                os.unlink(path)

    def test_a_held_lock_is_waited_for_once(self):
        clock = self.fake_clock()
        with open(os.path.join(self.home, '.lock'), 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assertEqual((1, '', 'error: Another process has held %s for 10 s.\n'
                              '  hint: Find it with `fuser %s`, and try again when it is done.\n'
                              % (lock.name, lock.name)), self.call('logout', clock=clock))
        self.assertLess(sum(clock.sleeps), 11)

    def test_a_damaged_file_that_a_login_moved_away_is_spoken_of(self):
        path = self.write_state('auth.json.damaged-1', b'{')
        self.assertEqual((0, '', 'warning: %s may hold tokens.\n  hint: Delete it when you have '
                          'seen it.\n✔ Logged out\n' % path), self.call('logout'))

    def test_a_logout_ends_a_poll_that_waits(self):
        clock = self.fake_clock(lambda: self.call('logout'))
        self.assertEqual(0, self.call('login', '--no-browser').code)
        result = self.call('login', 'poll', clock=clock)
        self.assertEqual((4, '', 'error: No pending login session found.\n'), result)

    def test_all_damaged_files_are_named(self):
        paths = [self.write_state(name, b'{') for name in STATE_FILES]
        result = self.call('logout')
        self.assertEqual((1, ''), result[:2])
        lines = result.err.splitlines()
        self.assertEqual('  hint: Repair it, or move it away and run `ntn login` again.',
                         lines.pop())  # there was no rest to forget
        self.assertEqual({'error: %s is damaged: it is not valid JSON.' % path for path in paths},
                         set(lines))
        self.assertEqual(4, len(lines))

    def test_the_token_of_an_id_is_deleted_though_the_list_is_damaged(self):
        path = self.write_state('workspaces.json', b'{')
        result = self.call('logout', '--workspace', WORKSPACE)
        self.assertEqual((1, ''), result[:2])
        self.assertIn('error: %s is damaged: it is not valid JSON.\n' % path, result.err)
        self.assertEqual({'bbbb-2222': 'ntn_canary_b', 'd': 'ntn_canary_d'},
                         self.state('auth.json'))

    def test_a_token_in_the_environment_is_pointed_out(self):
        env = {'NOTION_API_TOKEN': CANARY}
        for words in ('✔ Logged out\n', '✔ Already logged out\n'):
            self.assertEqual((0, '', TOKEN_STAYS + words), self.call('logout', env=env))


class CredentialTest(LoginCase):

    LOGIN_WARNING = ('warning: NOTION_API_TOKEN is set and takes precedence over what this login '
                     'stores.\n  hint: Unset it to use the login.\n')

    def test_a_login_warns_of_a_token_in_the_environment(self):
        env = {'NOTION_API_TOKEN': CANARY}
        self.assertEqual((0, self.LOGIN_WARNING), self.call('login', env=env)[::2])
        self.sandbox.approve()
        self.assertEqual((0, '', self.LOGIN_WARNING + self.success()), self.poll(env=env))

    def test_a_login_warns_of_another_workspace_in_the_environment(self):
        warning = 'warning: NOTION_WORKSPACE_ID names another workspace and takes precedence.\n'
        for value, expected in (('other', warning), (WORKSPACE, ''),
                                (WORKSPACE.replace('-', ''), '')):
            with self.subTest(value=value):
                self.start()
                self.sandbox.approve()
                self.assertEqual((0, '', self.success() + expected),
                                 self.poll(env={'NOTION_WORKSPACE_ID': value}))

    def test_the_token_is_printed_alone_or_with_its_source(self):
        self.store_login()
        path = os.path.join(self.home, 'auth.json')
        given = {'NOTION_API_TOKEN': CANARY}
        for argv, env, expected in (
                ([], {}, 'ntn_canary_stored\n'), (['--plain'], {}, 'ntn_canary_stored\n'),
                (['--json'], {}, '{\n  "token": "ntn_canary_stored",\n  "source": "%s",\n'
                 '  "workspace_id": "%s"\n}\n' % (path, WORKSPACE)),
                ([], given, CANARY + '\n'),
                (['--json'], given, '{\n  "token": "%s",\n  "source": "NOTION_API_TOKEN",\n'
                 '  "workspace_id": null\n}\n' % CANARY)):
            with self.subTest(argv=argv, env=env):
                self.assertEqual((0, expected, ''),
                                 self.call('auth', 'token', *argv, env=env, secrets_ok=True))
        self.assertEqual((0, 'ntn_canary_stored\n', ''),
                         self.ntn('auth', 'token', stdin=None, secrets_ok=True))
        self.assertEqual([], self.sandbox.requests)

    def test_the_workspace_in_the_environment_is_the_one(self):
        self.store_login('ntn_canary_b', 'b', 'Beta')
        self.store_login()
        for value, expected in (
                (None, 'stored'), ('b', 'b'), (WORKSPACE, 'stored'),
                (WORKSPACE.replace('-', ''), 'stored'), (WORKSPACE.upper(), 'stored')):
            with self.subTest(value=value):
                self.assertEqual((0, 'ntn_canary_%s\n' % expected, ''), self.call(
                    'auth', 'token', env={'NOTION_WORKSPACE_ID': value}, secrets_ok=True))
        self.assertEqual(
            (4, '', 'error: No token is stored for workspace c.\n  hint: Check '
             'NOTION_WORKSPACE_ID, or unset it.\n'),
            self.call('auth', 'token', env={'NOTION_WORKSPACE_ID': 'c'}))

    def test_an_undashed_id_finds_a_token_without_the_list_of_workspaces(self):
        self.write_state('auth.json', {WORKSPACE: 'ntn_canary_stored'})
        for value in (WORKSPACE, WORKSPACE.replace('-', '')):
            with self.subTest(value=value):
                self.assertEqual((0, 'ntn_canary_stored\n', ''), self.call(
                    'auth', 'token', env={'NOTION_WORKSPACE_ID': value}, secrets_ok=True))

    def test_without_a_usable_token_nothing_is_sent(self):
        signed_out = 'error: Not logged in.\n  hint: Run `ntn login`, or set NOTION_API_TOKEN.\n'
        odd = ('error: NOTION_API_TOKEN has characters that no token has.\n  hint: Set it again, '
               'without spaces and line ends.\n')
        rows = [({}, signed_out), ({'NOTION_API_TOKEN': ''}, signed_out),
                ({'NOTION_API_TOKEN': ' \n'}, signed_out)]
        rows += [({'NOTION_API_TOKEN': value}, odd) for value in (
            'ntn_canary a', 'ntn_canary_a\r\nX-Evil: 1', 'ntn_canary_\xe9', 'ntn_canary_\x1b')]
        for env, err in rows:
            for argv in (['auth', 'token'], ['whoami'], ['api', 'v1/users/me']):
                with self.subTest(env=env, argv=argv):
                    self.assertEqual((4, '', err), self.call(*argv, env=env, stdin=None))
        self.assertEqual([], self.sandbox.requests)

    def test_a_credential_does_not_show_its_token(self):
        self.assertEqual(
            "Credential(token=[redacted], source='auth.json', workspace_id='w')",
            repr(ntn.Credential(CANARY, 'auth.json', 'w')))
        self.assertEqual("Approval(token=[redacted], workspace_id='w', workspace_name='W')",
                         repr(ntn.Approval(CANARY, 'w', 'W')))

    # whoami -----------------------------------------------------------------------------------

    ROW = ('b0000000-0000-4000-8000-000000000002\tNotion CLI\tbot\tann@example.com\t' + WORKSPACE
           + '\tAcme\ta0000000-0000-4000-8000-000000000001\tAnn\tuser\n')

    def test_whoami_is_a_row_in_a_pipe_and_labelled_on_a_terminal(self):
        self.store_login()
        labelled = ('ID            b0000000-0000-4000-8000-000000000002\n'
                    'Name          Notion CLI\n'
                    'Type          bot\n'
                    'Email         ann@example.com\n'
                    'Workspace     Acme\n'
                    'Workspace ID  %s\n'
                    'Owner         Ann\n'
                    'Token from    %s/auth.json\n' % (WORKSPACE, self.home))
        for argv, tty, expected in (
                ([], (), self.ROW), (['--plain'], (), self.ROW),
                (['--plain'], ('stdout',), self.ROW), ([], ('stdout',), labelled)):
            with self.subTest(argv=argv, tty=tty):
                self.assertEqual((0, expected, ''), self.call('whoami', *argv, tty=tty))
        self.assertEqual((0, self.ROW, ''), self.ntn('whoami', stdin=None))

    def test_whoami_json_is_the_answer_as_it_came(self):
        self.store_login()
        for body in (b'{"a":1.10,  "b":"\\u0041\xc3\xa9"}', b'{"a": 1}\n'):
            with self.subTest(body=body):
                self.sandbox.on('GET', '/v1/users/me', Answer(200, body))
                self.assertEqual((0, to_text(body).rstrip('\n') + '\n', ''),
                                 self.call('whoami', '--json'))

    def test_whoami_shows_what_is_there_on_one_line(self):
        self.store_login()
        for user, row in (
                ({}, [''] * 9), ([], [''] * 9), ({'bot': {'owner': {'type': 'workspace',
                                                                   'workspace': True}}},
                                                 [''] * 8 + ['workspace']),
                ({'id': 'i', 'name': None, 'type': 'person', 'person': {'email': 'p@x'}},
                 ['i', '', 'person', 'p@x'] + [''] * 5),
                ({'id': 5, 'name': 'a\tb\nc\x1b[2J', 'type': [], 'person': 'x', 'bot': []},
                 ['', 'a b c\\u001b[2J'] + [''] * 7)):
            with self.subTest(user=user):
                self.sandbox.on('GET', '/v1/users/me', Answer.json(user))
                self.assertEqual((0, '\t'.join(row) + '\n', ''), self.call('whoami'))

    def test_whoami_names_the_source_of_a_refused_token(self):
        self.store_login()
        self.sandbox.valid_tokens.clear()
        refused = ('error: Public API request failed: API token is invalid.\n  request id: '
                   '%s\n  hint: The token came from %%s. %%s\n' % REQUEST_ID)
        self.sandbox.always('GET', '/v1/users/me', Answer.error(401, 'unauthorized', 'Bad.'))
        for env, source, what in (
                ({}, os.path.join(self.home, 'auth.json'), 'Run `ntn login` to get a new one.'),
                ({'NOTION_API_TOKEN': CANARY}, 'NOTION_API_TOKEN', 'Set it to a valid one.')):
            for options in ([], ['--json']):
                with self.subTest(env=env, options=options):
                    self.assertEqual((4, '', refused % (source, what)),
                                     self.call('whoami', *options, env=env))


# ---- Request inputs ------------------------------------------------------------------------------

class GrammarTest(unittest.TestCase):
    """The language of `ntn api`'s inputs, without a server."""

    BODIES = [  # (the body, the inputs)
        # Strings and JSON values
        ('{"a":"1"}', 'a=1'),
        ('{"a":""}', 'a='),
        ('{"a":" x "}', 'a= x '),
        ('{"a":"true"}', 'a=true'),
        ('{"a":"\\"\\\\\\n\\t"}', 'a="\\\n\t'),
        ('{"a":"é漢🐕"}', 'a=é漢🐕'),
        ('{"a":"\\u0000\\u001b\\u007f\\u0085\\u202e"}', 'a=\0\x1b\x7f\x85\u202e'),
        ('{"a":true}', 'a:=true'),
        ('{"a":null}', 'a:=null'),
        ('{"a":"x"}', 'a:="x"'),
        ('{"a":{"b":[1,{}]}}', 'a:= {"b" : [1, {} ]} '),
        ('{"a":[]}', 'a:=[]'),
        ('{"a":"\\ud800"}', 'a:="\\ud800"'),
        ('{"a":"\\u2028"}', 'a:="\\u2028"'),
        ('{"a":2}', 'a:={"b":1}', 'a:=2'),
        ('{"a":{"b":2}}', 'a:={"b":1,"b":2}'),
        # Numbers keep their text
        ('{"a":1}', 'a:=1'),
        ('{"a":1.10}', 'a:=1.10'),
        ('{"a":-0}', 'a:=-0'),
        ('{"a":-0.0}', 'a:=-0.0'),
        ('{"a":1e400}', 'a:=1e400'),
        ('{"a":1E+2}', 'a:=1E+2'),
        ('{"a":12345678901234567890123.0}', 'a:=12345678901234567890123.0'),
        ('{"a":[0.1,{"b":2.50}]}', 'a:=[0.1,{"b":2.50}]'),
        ('{"a":{"b":1.0,"c":"1.0"}}', 'a[b]:=1.0', 'a[c]=1.0'),
        ('{"a":%s}' % ('9' * 5000), 'a:=' + '9' * 5000),
        # The separator: the first outside brackets, the longest there
        ('{"url":"https://x/?a==b"}', 'url=https://x/?a==b'),
        ('{"a":":=1"}', 'a=:=1'),
        ('{"a":"b:c"}', 'a=b:c'),
        ('{"a":"[x"}', 'a=[x'),
        ('{"a":"]"}', 'a=]'),
        ('{"a":"="}', 'a:="="'),
        ('{"a":{"b=c":"1"}}', 'a[b=c]=1'),
        ('{"a":{"b:=c":"1"}}', 'a[b:=c]=1'),
        ('{"a":{"b==c":1}}', 'a[b==c]:=1'),
        ('{"a b":"1"}', 'a b=1'),
        ('{"a-b/c?":"1"}', 'a-b/c?=1'),
        ('{"é":"1"}', 'é=1'),
        # Keys
        ('{"a":{"b":"1"}}', 'a[b]=1'),
        ('{"a":{"b":"1"}}', 'a.b=1'),
        ('{"a":{"b":{"c":{"d":"1"}}}}', 'a.b[c].d=1'),
        ('{"a":{"b":{"c":"1"}}}', 'a[b]c=1'),
        ('{"a":{"b":{"c":{"d":"1"}}}}', 'a[b]c[d]=1'),
        ('{"a":"1"}', '[a]=1'),
        ('{"a":{"b":"1"}}', '[a][b]=1'),
        ('{"a":{"b":"1"}}', '[a].b=1'),
        ('{"a":{"b":"1"}}', '[a]b=1'),
        ('{"a":{"b.c":"1"}}', 'a[b.c]=1'),
        ('{"a":{"b[c":"1"}}', 'a[b[c]=1'),
        ('{"a":{" ":"1"}}', 'a[ ]=1'),
        ('{"a":{" 0":"1"}}', 'a[ 0]=1'),
        ('{"a":{"-1":"1"}}', 'a[-1]=1'),
        ('{"a":{"1.0":"1"}}', 'a[1.0]=1'),
        ('{"a":{"0x1":"1"}}', 'a.0x1=1'),
        ('{"a":{"٣":"1"}}', 'a[٣]=1'),
        ('{"a":{"²":"1"}}', 'a.²=1'),
        ('{"a":{"\\"\\\\":"1"}}', 'a["\\]=1'),
        ('{"properties":{"Due: date":{"date":{"start":"2026-01-01"}}}}',
         'properties[Due: date][date][start]=2026-01-01'),
        ('{"properties":{"v1.0":{"number":3}}}', 'properties[v1.0][number]:=3'),
        ('{"a":"1","b":"2","c":"3"}', 'a=1', 'b=2', 'c=3'),
        ('{"a":{"b":"1","c":"2"},"d":"3"}', 'a[b]=1', 'd=3', 'a.c=2'),
        # Arrays
        ('{"a":["1"]}', 'a[0]=1'),
        ('{"a":["1"]}', 'a.0=1'),
        ('{"a":["1"]}', 'a[000]=1'),
        ('{"a":["1"]}', 'a[]=1'),
        ('{"a":["1","2"]}', 'a[]=1', 'a[]=2'),
        ('{"a":["1","2"]}', 'a[1]=2', 'a[0]=1'),
        ('{"a":[null,null,"1"]}', 'a[2]=1'),
        ('{"a":[null,null,"1","2"]}', 'a[2]=1', 'a[]=2'),
        ('{"a":[{"b":"1"},{"b":"2"}]}', 'a[][b]=1', 'a[][b]=2'),
        ('{"a":[{"b":"1","c":"2"}]}', 'a[0][b]=1', 'a[0].c=2'),
        ('{"a":[["1"]]}', 'a[][]=1'),
        ('{"a":[["1"]]}', 'a.0.0=1'),
        ('{"a":[{"b":"1"}]}', 'a[0]b=1'),
        ('{"a":[{"b":"1"},null,"2"]}', 'a[2]=2', 'a[0][b]=1'),
        ('{"a":[1,2,"3"]}', 'a:=[1,2]', 'a[]=3'),
        ('{"a":["0",2]}', 'a:=[1,2]', 'a[0]=0'),
        ('{"a":{"b":1,"c":"2"}}', 'a:={"b":1}', 'a[c]=2'),
        ('{"a":[%s"1"]}' % ('null,' * 9999), 'a[9999]=1'),
        ('{"a":["1"]}', 'a[]=1'),
        # Any segment first
        ('["1"]', '[]=1'),
        ('["1","2"]', '[]=1', '[]=2'),
        ('["1"]', '[0]=1'),
        ('["1"]', '0=1'),
        ('[null,1]', '1:=1'),
        ('[{"a":"1"}]', '0.a=1'),
        ('[{"a":"1"},{"a":"2"}]', '[][a]=1', '[1]a=2'),
        # A later value replaces an earlier one
        ('{"a":"2"}', 'a=1', 'a=2'),
        ('{"a":"2"}', 'a[b]=1', 'a=2'),
        ('{"a":{"b":"2"}}', 'a=1', 'a:={}', 'a[b]=2'),
        ('{"a":"3","b":"2"}', 'a=1', 'b=2', 'a=3'),
        ('{"children":[{"paragraph":{"rich_text":[{"text":{"content":"Hi"}}]}}]}',
         'children[][paragraph][rich_text][][text][content]=Hi'),
    ]

    OTHERS = [  # (query, headers, the inputs)
        ([('a', '1')], [], 'a==1'),
        ([('a', '')], [], 'a=='),
        ([('a', '=1')], [], 'a===1'),
        ([('a', ':1')], [], 'a==:1'),
        ([('b', '1'), ('a', '2'), ('b', '3')], [], 'b==1', 'a==2', 'b==3'),
        ([('filter_properties[]', 'x')], [], 'filter_properties[]==x'),
        ([('a[b=c]', 'é &')], [], 'a[b=c]==é &'),
        ([('a b', '1')], [], 'a b==1'),
        ([], [('X-A', '1')], 'X-A:1'),
        ([], [('X-A', 'b=c')], 'X-A:b=c'),
        ([], [('X-A', ':b')], 'X-A::b'),
        ([], [('X-A', 'https://x/?a==b')], 'X-A:https://x/?a==b'),
        ([], [('X-A', '1 2')], 'X-A: \t1 2\t '),
        ([], [('X-A', '')], 'X-A:'),
        ([], [('X-A', 'é\t漢')], 'X-A:é\t漢'),
        ([], [("!#$%&'*+-.^_`|~1a", '1')], "!#$%&'*+-.^_`|~1a:1"),
        ([], [('X-A', '1'), ('x-a', '2'), ('X-A', '3')], 'X-A:1', 'x-a:2', 'X-A:3'),
        ([('q', '1')], [('X-A', '2')], 'X-A:2', 'q==1'),
        ([], []),
    ]

    def test_body_fields(self):
        for body, *inputs in self.BODIES:
            with self.subTest(inputs=inputs):
                parsed = ntn.RequestInputs(inputs)
                self.assertEqual((True, body, [], []), (
                    parsed.has_body, ntn.encode_json(parsed.body).decode('utf-8'), parsed.query,
                    parsed.headers))
                json.loads(re.sub('9{999,}', '9', body))

    def test_query_parameters_and_headers(self):
        for query, headers, *inputs in self.OTHERS:
            with self.subTest(inputs=inputs):
                parsed = ntn.RequestInputs(inputs)
                self.assertEqual((False, query, headers),
                                 (parsed.has_body, parsed.query, parsed.headers))

    NAME = 'a header name has no such character'
    KEY = 'a key is missing here'
    OWN = 'this header is set by ntn itself'
    CONTROL = 'a header value has no control characters'
    EARLIER = "cannot be set, since an earlier input put %s there"

    ERRORS = [  # (the problem, what is shown, the caret, the inputs); None: the last input
        ('there is no separator in it', None, '   ^', 'abc'),
        ('there is no separator in it', None, '^', ''),
        ('there is no separator in it', None, '      ^', 'a[b=c]'),
        ('this bracket is not closed', None, ' ^', 'a[b=1'),
        ('this bracket is not closed', None, '    ^', 'a[b][c:=1'),
        ('this bracket is not closed', None, '^', '[=1'),
        ('this bracket was not opened', None, ' ^', 'a]=1'),
        ('this bracket was not opened', None, '    ^', 'a[b]]=1'),
        (KEY, None, '^', '=1'),
        (KEY, None, '^', ':=1'),
        (KEY, None, '^', '.a=1'),
        (KEY, None, '  ^', 'a.=1'),
        (KEY, None, '  ^', 'a..b=1'),
        (KEY, None, '     ^', 'a[b].=1'),
        (KEY, None, '   ^', '[].=1'),
        ('there is nothing between the dot and the bracket', None, '  ^', 'a.[b]=1'),
        ('an index goes up to 9999', None, '  ^', 'a[10000]=1'),
        ('an index goes up to 9999', None, '  ^', 'a.99999999999999999999=1'),
        ('an index goes up to 9999', None, '^', '00010000=1'),
        ('this is not valid JSON (Expecting value)', None, '   ^', 'a:='),
        ('this is not valid JSON (Expecting value)', None, '   ^', 'a:=x'),
        ('this is not valid JSON (Expecting value)', None, '    ^', 'a:=[x]'),
        ('this is not valid JSON (Extra data)', None, '    ^', 'a:=01'),
        ('this is not valid JSON (Extra data)', None, '     ^', 'a:=1 2'),
        ('this is not valid JSON (Unterminated string starting at)', None, '    ^', 'a:=["b'),
        ("this is not valid JSON (Expecting ',' delimiter)", None, '      ^', 'a:=[1 2]'),
        ("this is not valid JSON (Expecting ':' delimiter)", None, '       ^', 'a:={"b"}'),
        ('this is not valid JSON (Invalid control character at)', 'a:="\\u0000"', '    ^',
         'a:="\0"'),
        ('this is not valid JSON (NaN is not JSON)', None, '   ^', 'a:=NaN'),
        ('this is not valid JSON (Infinity is not JSON)', None, '   ^', 'a:=Infinity'),
        ('this is not valid JSON (-Infinity is not JSON)', None, '   ^', 'a:=-Infinity'),
        ('the query parameter has no name', None, '^', '==1'),
        ('the header has no name', None, '^', ':1'),
        (NAME, None, ' ^', 'X A:1'),
        (NAME, None, '^', ' X-A:1'),
        (NAME, None, '  ^', 'X-é:1'),
        (NAME, None, ' ^', 'a[b]:1'),
        (NAME, None, '    ^', 'http//x:1'),
        (OWN, None, '^', 'Host:x'),
        (OWN, None, '^', 'content-length:1'),
        (OWN, None, '^', 'TRANSFER-ENCODING:chunked'),
        (CONTROL, 'X-A:1 X-B: 2', '     ^', 'X-A:1\nX-B: 2'),
        (CONTROL, 'X-A:1\\u000d', '     ^', 'X-A:1\r'),
        (CONTROL, 'X-A:\\u0000', '    ^', 'X-A:\0'),
        (CONTROL, 'X-A:漢\\u001b[2J', '      ^', 'X-A:漢\x1b[2J'),
        (CONTROL, 'X-A:e\u0301\\u007f', '     ^', 'X-A:e\u0301\x7f'),
        (CONTROL, 'Authorization:*********', '                    ^', 'Authorization:Bearer\0xy'),
        ('it is not valid UTF-8', 'a=\\udcff', '  ^', 'a=\udcff'),
        ("the key 'b' " + EARLIER % 'a value', None, '  ^', 'a=1', 'a[b]=1'),
        ("the key 'b' " + EARLIER % 'a value', None, '  ^', 'a:=null', 'a.b=1'),
        ("the key 'c' " + EARLIER % 'a value', None, '     ^', 'a[b]:=1', 'a[b][c]=1'),
        ("the key 'b' " + EARLIER % 'an array', None, '  ^', 'a[0]=1', 'a[b]=1'),
        ("the key 'a' " + EARLIER % 'an array', None, '^', '0=1', 'a=1'),
        ('an index ' + EARLIER % 'an object', None, '  ^', 'a[b]=1', 'a[0]=1'),
        ('`[]` ' + EARLIER % 'an object', None, '  ^', 'a[b]=1', 'a[]=1'),
        ('`[]` ' + EARLIER % 'a value', None, '  ^', 'a=1', 'a[]=1'),
        (KEY, '...%s.=%s...' % ('b' * 59, 'c' * 29), ' ' * 63 + '^', 'b' * 99 + '.=' + 'c' * 99),
    ]

    def test_an_error_quotes_the_input_with_a_caret_under_the_place(self):
        for problem, shown, caret, *inputs in self.ERRORS:
            with self.subTest(inputs=inputs):
                with self.assertRaises(ntn.CliError) as raised:
                    ntn.RequestInputs(inputs)
                error = raised.exception
                self.assertEqual((
                    'Cannot read the input: %s.\n  %s\n  %s'
                    % (problem, inputs[-1] if shown is None else shown, caret),
                    'Use `Header:Value`, `name==value`, `path=value`, or `path:=json`.', 5,
                ), (error.message, error.hint, error.code))

    def test_the_token_of_an_input_is_not_quoted_whatever_is_wrong_with_it(self):
        for value in 'Bearer %s\0', ' Bearer\n%s', '%s\udcff', '\x1b%s':
            for name in 'Authorization', 'aUTHORIZATION', 'Cookie', 'Proxy-Authorization':
                with self.subTest(name=name, value=value):
                    with self.assertRaises(ntn.CliError) as raised:
                        ntn.RequestInputs([name + ':' + value % CANARY])
                    self.assertNotIn(CANARY, raised.exception.message)

    def test_nesting_too_deep_to_send_is_refused(self):
        for text in ('a:=' + '[' * 20000, 'a:=' + '[' * 20000 + ']' * 20000,
                     'a' + '[b]' * 20000 + '=1', '.'.join('a' * 20000) + '=1',
                     'a' + '[]' * 20000 + '=1', 'a:=' + '{"a":' * 20000 + '1' + '}' * 20000):
            with self.subTest(text[:9]), self.assertRaises(ntn.CliError) as raised:
                ntn.encode_json(ntn.RequestInputs([text]).body)
            self.assertEqual(5, raised.exception.code)

    ODD = list('ab01.:=" \t-{}[],\\é漢\0\n\x1b\udcff') + [
        ':=', '==', '[a]', '[]', '[0]', 'Host:', '1e9']
    PATHS = 'a b .a .b [a] [b] [:=] [0] [1] [99] [] .0 é'.split() + [' ']
    ENDS = ['=', '=x', '==', '==é', ':x', ':', ':=1', ':=1.10', ':=-0e9', ':=null', ':=true',
            ':=[1]', ':={"a":2}', ':=[{"b":[]}]', ':="\\ud800"', ':="\x7f"', ':=', ':=[', ':=NaN']

    def test_of_20000_odd_inputs_each_is_refused_or_gives_what_can_be_sent(self):
        chance = random.Random(20260311)
        taken = refused = 0
        while taken + refused < 20000:
            inputs = [
                ''.join(chance.choices(self.PATHS, k=chance.randrange(1, 4)))
                + chance.choice(self.ENDS) if chance.random() < 0.8 else
                ''.join(chance.choices(self.ODD, k=chance.randrange(1, 8)))
                for _ in range(chance.randrange(1, 4))]
            try:
                parsed = ntn.RequestInputs(inputs)
            except ntn.CliError as error:
                self.assertEqual(5, error.code, inputs)
                refused += len(inputs)
                continue
            taken += len(inputs)
            url = ntn.build_url('https://api.notion.com', 'v1/x', parsed.query)
            self.assertRegex(url, r'\Ahttps://api\.notion\.com/v1/x[!-~]*\Z', inputs)
            for name, value in parsed.headers:
                self.assertRegex(name + '=' + value, r'\A[^\x00-\x08\x0a-\x1f\x7f]+\Z', inputs)
            if parsed.has_body:
                body = ntn.encode_json(parsed.body).decode('utf-8')
                self.assertIsInstance(json.loads(body, parse_constant=self.fail), (dict, list))
        self.assertGreater(taken, 3000)
        self.assertGreater(refused, 4000)


class PathTest(unittest.TestCase):
    ORIGIN = 'https://api.notion.com'

    def test_paths_become_addresses_at_the_api_origin(self):
        for path, query, expected in [
            ('v1/users/me', [], '/v1/users/me'),
            ('/v1/users/me', [], '/v1/users/me'),
            ('//v1/x', [], '/v1/x'),
            ('https://api.notion.com/v1/x', [], '/v1/x'),
            ('HTTPS://API.Notion.com:443/v1/x?a=b', [], '/v1/x?a=b'),
            ('https://api.notion.com//evil.example/x', [], '/evil.example/x'),
            ('//evil.example/x', [], '/evil.example/x'),
            ('evil.example', [], '/evil.example'),
            ('@evil.example', [], '/@evil.example'),
            (':8080/x', [], '/:8080/x'),
            ('v1/x/', [], '/v1/x/'),
            ('v1//x', [], '/v1//x'),
            ('v1/a b', [], '/v1/a%20b'),
            ('v1/é漢', [], '/v1/%C3%A9%E6%BC%A2'),
            ('v1/a%20b', [], '/v1/a%20b'),
            ('v1/100%', [], '/v1/100%25'),
            ('v1/%zz', [], '/v1/%25zz'),
            ('v1/a#b', [], '/v1/a%23b'),
            ('v1/"<>^`{|}', [], '/v1/%22%3C%3E%5E%60%7B%7C%7D'),
            ("v1/-._~!$&'()*+,;=:@", [], "/v1/-._~!$&'()*+,;=:@"),
            ('v1/..x/x../...', [], '/v1/..x/x../...'),
            ('v1/x?a=b', [], '/v1/x?a=b'),
            ('v1/x?a=../..', [], '/v1/x?a=../..'),
            ('v1/x?a=b c&d=é#f', [], '/v1/x?a=b%20c&d=%C3%A9%23f'),
            ('v1/x?', [], '/v1/x'),
            ('v1/x?', [('a', 'b')], '/v1/x?a=b'),
            ('v1/x?c=d', [('a', 'b')], '/v1/x?c=d&a=b'),
            ('v1/x', [('a', 'b'), ('a', 'c')], '/v1/x?a=b&a=c'),
            ('v1/x', [('a[]', '1&b=2#+ /?é')], '/v1/x?a%5B%5D=1%26b%3D2%23%2B%20%2F%3F%C3%A9'),
            ('v1/x', [('100%', '%20')], '/v1/x?100%25=%2520'),
        ]:
            with self.subTest(path=path, query=query):
                self.assertEqual(self.ORIGIN + expected, ntn.build_url(self.ORIGIN, path, query))

    def test_paths_that_lead_away_or_cannot_be_meant_are_refused(self):
        hint = 'Give a path such as v1/users/me.'
        away = ('%s is not an address of the API, which is at https://api.notion.com.',
                'Give the path alone, such as v1/users/me.')
        for path, shown, (problem, hint) in [
            (path, shown, ('The path %s ' + problem + '.', hint)) for path, shown, problem in [
                ('', '""', 'is empty'), ('/', '"/"', 'is empty'), ('?a=b', '"?a=b"', 'is empty'),
                ('https://api.notion.com', '"https://api.notion.com"', 'is empty'),
                ('..', '".."', 'has a `..` segment in it'),
                ('v1/../x', '"v1/../x"', 'has a `..` segment in it'),
                ('v1/x/..', '"v1/x/.."', 'has a `..` segment in it'),
                ('v1/%2e%2E/x', '"v1/%2e%2E/x"', 'has a `..` segment in it'),
                ('v1/.%2e%2fx', '"v1/.%2e%2fx"', 'has a `..` segment in it'),
                ('v1\\x', '"v1\\\\x"', 'has a backslash in it'),
                ('v1/%5c', '"v1/%5c"', 'has a backslash in it'),
                ('v1/\n', '"v1/\\n"', 'has a control character in it'),
                ('v1/\0', '"v1/\\u0000"', 'has a control character in it'),
                ('v1/x?\r', '"v1/x?\\r"', 'has a control character in it'),
                ('v1/%0a', '"v1/%0a"', 'has a control character in it'),
                ('v1/%7F', '"v1/%7F"', 'has a control character in it'),
                ('v1/\udcff', '"v1/\udcff"', 'is not valid UTF-8'),
            ]
        ] + [(path, re.sub('//.*@', '//***@', path), away) for path in [
            'http://api.notion.com/v1/x', 'https://api.notion.com:444/v1/x', 'https://evil.example',
            'https://api.notion.com.evil.example/', 'https://api.notion.com@evil.example/v1/x',
            'https://evil.example#api.notion.com',
            'https://api.notion.com\\@evil.example/', 'ftp://api.notion.com/', 'file:///etc/passwd',
            'https://api.notion.com:x/', 'https:///v1/x', 'https://[::1/v1/x', 'https://api.notion'
        ]]:
            with self.subTest(path=path):
                with self.assertRaises(ntn.CliError) as raised:
                    ntn.build_url(self.ORIGIN, path, [])
                error = raised.exception
                self.assertEqual((problem % shown, hint, 5),
                                 (error.message, error.hint, error.code))

    def test_a_password_in_an_address_is_not_shown(self):
        with self.assertRaises(ntn.CliError) as raised:
            ntn.build_url(self.ORIGIN, 'https://ann:%s@api.notion.com/v1/x' % CANARY, [])
        self.assertNotIn(CANARY, raised.exception.message)


# ---- Command: api --------------------------------------------------------------------------------

class StdinCase(ApiCase):
    def pipe(self, data=b'', idle=False):
        """The reading end of a pipe that holds `data`; an idle one is not closed after it."""
        reader, writer = os.pipe()
        reader = os.fdopen(reader, 'rb', buffering=0)
        self.addCleanup(reader.close)
        os.write(writer, data)
        if idle:
            self.addCleanup(os.close, writer)
        else:
            os.close(writer)
        return reader

    def file(self, data, offset=0):
        """A file that holds `data` and has been read up to `offset`."""
        file = tempfile.TemporaryFile(dir=self.dir, buffering=0)
        self.addCleanup(file.close)
        file.write(data)
        file.seek(offset)
        return file

    def sent_by(self, *argv, run=None, **options):
        """(method, body) of the request that `ntn api v1/x ...` makes; the answer is empty."""
        for method in 'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE':
            self.sandbox.always(method, '/v1/x', Answer(204))
        del self.sandbox.requests[:]
        self.assertEqual((0, '', ''), (run or self.call)('api', 'v1/x', *argv, **options))
        (request,) = self.sandbox.requests
        return request.method, request.body


class ApiRequestTest(StdinCase):
    def test_the_method_is_post_with_a_body_else_get_and_x_wins(self):
        for argv, expected in [
            ([], ('GET', b'')),
            (['q==1', 'X-A:1'], ('GET', b'')),
            (['a=1'], ('POST', b'{"a":"1"}')),
            (['a:={}'], ('POST', b'{"a":{}}')),
            (['-d', '{}'], ('POST', b'{}')),
            (['-X', 'POST'], ('POST', b'')),
            (['-X', 'patch', 'a=1'], ('PATCH', b'{"a":"1"}')),
            (['-XPUT', '-d[]'], ('PUT', b'[]')),
            (['-X', 'GET', 'a=1'], ('GET', b'{"a":"1"}')),
            (['-X', 'DELETE', '-d', '1'], ('DELETE', b'1')),
            (['-X', 'HEAD'], ('HEAD', b'')),
        ]:
            with self.subTest(argv):
                self.assertEqual(expected, self.sent_by(*argv))

    def test_options_and_inputs_mix_in_any_order(self):
        for words in itertools.permutations(['archived:=true', '-XPATCH', '--no-retry', 'q==1']):
            for argv in [('api', 'v1/x') + words, ('-XPATCH', 'api', '--no-retry', 'v1/x')
                         + tuple(word for word in words if word[0] != '-')]:
                with self.subTest(argv):
                    self.sandbox.on('PATCH', '/v1/x', Answer(204))
                    self.assertEqual((0, '', ''), self.call(*argv))
                    request = self.sandbox.requests.pop()
                    self.assertEqual(('PATCH', b'{"archived":true}', '/v1/x?q=1'),
                                     (request.method, request.body, request.target))

    def test_options_can_be_spelled_in_many_ways(self):
        for argv, expected in [
            (['-XPATCH'], 'PATCH'), (['-X', 'PATCH'], 'PATCH'), (['--method', 'PATCH'], 'PATCH'),
            (['--method=PATCH'], 'PATCH'), (['-XPATCH', '--'], 'PATCH'),
            (['--no-retry', '-XPUT', '--timeout=5', '--env=prod'], 'PUT'),
            (['--', 'q==-X'], 'GET'),
        ]:
            with self.subTest(argv):
                self.assertEqual((expected, b''), self.sent_by(*argv))
        self.assertEqual(('POST', b'{"-X":"1"}'), self.sent_by('--', '-X=1'))
        self.sandbox.send_date = False
        for flags in ['-iv'], ['-vi'], ['-i', '-v'], ['--include', '--verbose'], ['-ivXPUT']:
            with self.subTest(flags):
                result = self.call('api', 'v1/x', *flags)
                self.assertEqual('HTTP/1.1 204 No Content\nContent-Type: application/json\n\n',
                                 result.out)
                self.assertEqual('> ', result.err[:2])

    def test_options_that_cannot_be_taken_are_usage_errors_before_anything_is_sent(self):
        for argv, message in [
            (['-X', ''], "'' is no method.\n  hint: Give one such as -X PATCH."),
            (['--method='], "'' is no method.\n  hint: Give one such as -X PATCH."),
            (['-X', 'GE T'], "'GE T' is no method.\n  hint: Give one such as -X PATCH."),
            (['-XGET\r\nX:'], "'GET\\r\\nX:' is no method.\n  hint: Give one such as -X PATCH."),
            (['-Xé'], "'é' is no method.\n  hint: Give one such as -X PATCH."),
            (['-X'], 'The option -X needs a value.\n  hint: `ntn --help` and `ntn COMMAND --help` '
                     'list the options.'),
            (['-XGET', '--method', 'PUT'], 'The option --method is given twice.'),
            (['--include=1'], 'The option --include takes no value.'),
            (['--metod', 'PUT'], '`ntn api` has no option --metod.\n'
                                 '  hint: Did you mean `--method`?'),
            (['-ix'], '`ntn api` has no option -x.\n  hint: `ntn api --help` lists them.'),
        ] + [
            (['--timeout', value], '--timeout is %r: it takes seconds, such as 10 or 2.5.' % value)
            for value in ('0', '0.0', '-1', 'x', '', 'inf', 'nan', '1e3', ' 1', '1s', '٣', '1' * 7)
        ] + [
            (['--notion-version', value], '%r is no Notion version.\n  hint: Give a date such as '
                                          '2026-03-11.' % value)
            for value in ('2026 03 11', '2026\r\nX-A: 1', 'é')
        ]:
            with self.subTest(argv):
                self.assertEqual((2, '', 'error: %s\n' % message),
                                 self.call('api', 'v1/x', *argv))
        self.assertEqual([], self.sandbox.requests)

    def test_timeouts_that_can_be_taken(self):
        for value in '5', '2.5', '.5', '00010', '999999', '60.000001':
            with self.subTest(value):
                self.assertEqual(('GET', b''), self.sent_by('--timeout', value))

    def test_the_notion_version_comes_from_flag_then_variable_then_default(self):
        for flag, variable, expected in [
            ([], None, '2026-03-11'), ([], '', '2026-03-11'), ([], '2022-06-28', '2022-06-28'),
            (['--notion-version=2025-09-03'], '2022-06-28', '2025-09-03'),
            (['notion-version:2021-05-13'], '2022-06-28', '2021-05-13'),
        ]:
            with self.subTest(flag=flag, variable=variable):
                self.sent_by(*flag, env={'NOTION_API_VERSION': variable})
                self.assertEqual(expected, self.sandbox.requests[0].header('Notion-Version'))

    def test_an_inline_authorization_needs_no_login_and_an_empty_one_sends_none(self):
        self.write_state('auth.json', b'damaged')
        self.write_state('config.json', b'damaged')
        for given, expected in [('Authorization:Basic x', 'Basic x'), ('authorization:', None)]:
            with self.subTest(given):
                self.sent_by(given, env={'NOTION_API_TOKEN': None})
                self.assertEqual(expected, self.sandbox.requests[0].header('Authorization'))

    def test_an_empty_header_takes_the_default_away(self):
        self.sent_by('User-Agent:', 'accept:', 'Accept-Encoding:', 'content-type:', 'a=1')
        self.assertEqual(['Host', 'Authorization', 'Notion-Version', 'Content-Length'],
                         [name for name, _ in self.sandbox.requests[0].headers])

    def test_what_cannot_be_sent_is_refused_before_a_token_is_looked_up(self):
        forms = '  hint: Use `Header:Value`, `name==value`, `path=value`, or `path:=json`.\n'
        for argv, error in [
            (['v1/x', 'Host:evil.example'], 'Cannot read the input: this header is set by ntn '
             'itself.\n  Host:evil.example\n  ^\n' + forms),
            (['v1/x', 'é漢[b=1'], 'Cannot read the input: this bracket is not closed.\n'
             '  é漢[b=1\n     ^\n' + forms),
            (['v1/../x'], 'The path "v1/../x" has a `..` segment in it.\n'
             '  hint: Give a path such as v1/users/me.\n'),
            (['https://evil.example/v1/x'], 'https://evil.example/v1/x is not an address of the '
             'API, which is at %s.\n  hint: Give the path alone, such as v1/users/me.\n'
             % self.sandbox.origin),
            (['v1/x', 'a=1', '-d', '{}'], 'The request has more than one body: -d and inputs '
             '(path=value).\n  hint: Give only one of them.\n'),
        ]:
            with self.subTest(argv):
                self.assertEqual((5, '', 'error: ' + error),
                                 self.call('api', *argv, env={'NOTION_API_TOKEN': None}))
        self.assertEqual([], self.sandbox.requests)

    def test_without_a_token_nothing_is_sent(self):
        for token, message in [
            (None, 'Not logged in.\n  hint: Run `ntn login`, or set NOTION_API_TOKEN.'),
            ('a b', 'NOTION_API_TOKEN has characters that no token has.\n'
                    '  hint: Set it again, without spaces and line ends.'),
        ]:
            with self.subTest(token):
                self.assertEqual((4, '', 'error: %s\n' % message),
                                 self.call('api', 'v1/x', env={'NOTION_API_TOKEN': token}))
        self.assertEqual([], self.sandbox.requests)

    def test_the_same_call_arrives_byte_by_byte_from_a_real_process(self):
        self.sandbox.on('PATCH', '/v1/pages/ID', Answer(200, '{}'))
        result = self.ntn(
            'api', 'v1/pages/ID', '-X', 'PATCH', 'archived:=true',
            'properties[Due: date][date][start]=2026-01-01', 'url=https://x/?a==b', 'q==é',
            'X-Trace:ü', 'n:=1.10', b'name=\xc3\xa9', env={'LC_ALL': 'C'}, stdin=None)
        self.assertEqual((0, '{}\n', ''), result)
        (request,) = self.sandbox.requests
        self.assertEqual('/v1/pages/ID?q=%C3%A9', request.target)
        self.assertEqual('ü', request.header('X-Trace').encode('latin-1').decode('utf-8'))
        self.assertEqual(
            '{"archived":true,"properties":{"Due: date":{"date":{"start":"2026-01-01"}}},'
            '"url":"https://x/?a==b","n":1.10,"name":"é"}', request.body.decode('utf-8'))



class ApiBodyTest(StdinCase):
    ODD = (b'\r\n{ "a" : 1.10,"b":12345678901234567890123.0, "a":2,\t"\\u00e9":'
           b'"\xc3\xa9\xe2\x80\xae" }\n')
    HINT = '\n  hint: Give `</dev/null` or `-X GET` if no body is meant.'

    def test_json_is_sent_byte_for_byte_wherever_it_comes_from(self):
        path = os.path.join(self.dir, 'é [1].json')
        with open(to_bytes(path), 'wb') as file:  # whatever the locale
            file.write(self.ODD)
        pipe = self.pipe(self.ODD)
        for argv, stdin in [
            (['-d', to_text(self.ODD)], None), (['-d', '@' + path], None),
            (['-d', '@/dev/fd/%d' % pipe.fileno()], None),  # what the shell makes of @<(command)
            (['-d', '@-'], self.pipe(self.ODD)), (['-d', '@-'], self.file(self.ODD)),
            (['-d', '@-'], self.file(b'x' + self.ODD, offset=1)),
            ([], self.pipe(self.ODD)), ([], self.file(self.ODD)),
        ]:
            with self.subTest(argv=argv, stdin=stdin):
                self.assertEqual(('POST', self.ODD), self.sent_by(*argv, stdin=stdin))

    def test_stdin_of_a_process_is_a_body_only_if_it_was_meant_as_one(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(b'[1]')
            ours.shutdown(socket.SHUT_WR)
            for name, expected, options in [
                ('pipe', ('POST', b'[1]\n'), {'stdin': b'[1]\n'}),
                ('file', ('POST', b'[2]'), {'stdin': self.file(b'[2]')}),
                ('socket', ('POST', b'[1]'), {'stdin': theirs}),
                ('begun file', ('GET', b''), {'stdin': self.file(b'1\n[2]', offset=2)}),
                ('/dev/null', ('GET', b''), {'stdin': None}),
                ('closed', ('GET', b''), {'prefix': ['sh', '-c', 'exec "$@" <&-', 'sh']}),
            ]:
                with self.subTest(name):
                    self.assertEqual(expected, self.sent_by(run=self.ntn, **options))

    def test_stdin_is_left_alone_where_no_body_can_come_from_it(self):
        for argv, expected in [
            (['-XGET'], ('GET', b'')), (['-XHEAD'], ('HEAD', b'')), (['-XDELETE'], ('DELETE', b'')),
            (['a=1'], ('POST', b'{"a":"1"}')), (['-d', '[]'], ('POST', b'[]')),
            (['-XPATCH', 'a=1'], ('PATCH', b'{"a":"1"}')),
        ]:
            for stdin in self.pipe(b'{"b":2}', idle=True), self.file(b'{"b":2}'):
                with self.subTest(argv=argv, stdin=stdin):
                    self.assertEqual(expected, self.sent_by(*argv, stdin=stdin))
                    self.assertEqual(b'{"b":2}', os.read(stdin.fileno(), 99))

    def test_blank_stdin_is_no_body(self):
        for data in b'', b'\n', b' \r\n\t':
            for stdin in self.pipe(data), self.file(data):
                with self.subTest(data=data, stdin=stdin):
                    self.assertEqual(('GET', b''), self.sent_by(stdin=stdin))
        self.assertEqual(('PATCH', b''), self.sent_by('-XPATCH', stdin=self.pipe(b'\n')))

    def test_stdin_that_is_no_object_or_array_is_refused(self):
        neither = 'The body from standard input is neither a JSON object nor an array.'
        invalid = 'The body from standard input is not valid JSON: '
        for data, message in [
            (b'2\n', neither), (b'"x"', neither), (b'null', neither), (b'true', neither),
            (b'{"a":', invalid + 'Expecting value: line 1 column 6 (char 5).'),
            (b'{} {}', invalid + 'Extra data: line 1 column 4 (char 3).'),
            (b'[NaN]', invalid + 'NaN is not JSON.'),
            (b'[-Infinity]', invalid + '-Infinity is not JSON.'),
            (b'0e1b2c3d-1111\n', invalid + 'Extra data: line 1 column 4 (char 3).'),
            (b'["\xff"]', 'The body from standard input is not UTF-8.'),
            (b'[' * 100000, invalid + 'it is nested too deeply.'),
        ]:
            for stdin in self.pipe(data[:60000]), self.file(data):
                with self.subTest(data=data[:20], stdin=stdin):
                    self.assertEqual((1, '', 'error: %s\n' % (message + self.HINT)),
                                     self.call('api', 'v1/x', stdin=stdin))
        self.assertEqual([], self.sandbox.requests)

    def test_a_body_option_that_cannot_be_read_is_a_local_failure(self):
        hint = '\n  hint: -d takes JSON, @FILE, or @- for standard input.'
        missing, path = os.path.join(self.dir, 'missing'), os.path.join(self.dir, 'bad.json')
        with open(path, 'w') as file:
            file.write('{')
        for value, message in [
            ('@' + missing, 'Cannot read %s: No such file or directory.' % missing + hint),
            ('@' + self.dir, 'Cannot read %s: Is a directory.' % self.dir + hint),
            ('@', 'Cannot read a file without a name: No such file or directory.' + hint),
            ('@' + path, 'The body from %s is not valid JSON: Expecting property name enclosed in '
                         'double quotes: line 1 column 2 (char 1).' % path),
            ('', 'The body from -d is not valid JSON: Expecting value: line 1 column 1 (char 0).'),
            ('{"a":NaN}', 'The body from -d is not valid JSON: NaN is not JSON.'),
            ('@-', 'The body from standard input is not valid JSON: Expecting value: line 1 '
                   'column 1 (char 0).'),
        ]:
            with self.subTest(value):
                self.assertEqual((1, '', 'error: %s\n' % message),
                                 self.call('api', 'v1/x', '-d', value))
        self.assertEqual([], self.sandbox.requests)

    def test_a_scalar_is_a_body_if_it_was_asked_for(self):
        for argv, stdin in [(['-d', '2'], None), (['-d', '@-'], self.pipe(b'2'))]:
            self.assertEqual(('POST', b'2'), self.sent_by(*argv, stdin=stdin))

    def test_a_pipe_that_stays_silent_is_an_error_that_says_what_to_do(self):
        with mock.patch.object(ntn, 'STDIN_SILENCE', 0.05):
            for argv in [], ['-XPATCH']:
                self.assertEqual((
                    2, '', 'error: Standard input is a pipe that has been silent for 0.05 s.\n'
                    '  hint: Give `</dev/null` or `-X GET` if no body is meant, or `-d @-` to wait '
                    'for one.\n'), self.call('api', 'v1/x', *argv, stdin=self.pipe(idle=True)))
        self.assertEqual(10, ntn.STDIN_SILENCE)
        self.assertEqual([], self.sandbox.requests)

    def test_d_at_minus_waits_longer_than_a_pipe_may_be_silent(self):
        reader, writer = os.pipe()
        with os.fdopen(reader, 'rb', buffering=0) as stdin, os.fdopen(writer, 'wb') as source:
            late = threading.Timer(0.1, lambda: (source.write(b'[1]'), source.close()))
            late.start()
            with mock.patch.object(ntn, 'STDIN_SILENCE', 0.01):
                self.assertEqual(('POST', b'[1]'), self.sent_by('-d', '@-', stdin=stdin))
            late.join()

    def test_a_shell_loop_over_a_file_keeps_its_lines(self):
        with open(os.path.join(self.dir, 'ids'), 'w') as file:
            file.write('page-1\n{"page": 2}\npage-3\n')
        loop = 'while read -r id; do "$@" api v1/x "n==$id"; done < %s/ids' % self.dir
        self.sandbox.always('GET', '/v1/x', Answer(204))
        self.assertEqual((0, '', ''), self.ntn(prefix=['sh', '-c', loop, 'sh']))
        self.assertEqual([('GET', [('n', each)]) for each in ('page-1', '{"page": 2}', 'page-3')],
                         [(request.method, request.query) for request in self.sandbox.requests])

    def test_a_shell_loop_over_a_pipe_never_posts_an_id(self):
        loop = r"printf '1\n2\n' | while read -r id; do " '"$@" api v1/x "n==$id"; done'
        self.assertEqual((1, '', 'error: The body from standard input is neither a JSON object nor '
                                 'an array.%s\n' % self.HINT),
                         self.ntn(prefix=['sh', '-c', loop, 'sh']))
        self.assertEqual([], self.sandbox.requests)


class ApiOutputTest(ApiCase):
    def test_the_body_comes_out_byte_for_byte_and_json_ends_with_a_newline(self):
        plain, other = 'application/json', 'text/plain'
        for kind, body, end in [
            (plain, b'{"a": 1.10,\r\n "a":\t"\xc3\xa9\\u00e9"}', b'\n'), (plain, b'{}\n', b''),
            (plain, b'{}\r\n', b''), (plain, b' ', b'\n'), (plain, b'', b''),
            ('Application/Problem+JSON; charset=utf-8', b'[]', b'\n'), (plain, b'{} x', b'\n'),
            (other, b'text', b''), (other, b'', b''), ('image/png', bytes(range(256)) * 999, b''),
        ]:
            with self.subTest(kind=kind, body=body[:20]):
                result = self.get(Answer(200, body, content_type=kind))
                self.assertEqual((0, to_text(body + end), ''), result)

    def test_a_process_writes_the_same_bytes(self):
        body = bytes(range(256)) * 3000
        self.sandbox.on('GET', '/v1/x', Answer(200, body, content_type='x/y', chunked=999))
        self.assertEqual((0, to_text(body), ''), self.ntn('api', 'v1/x', stdin=None))

    def test_include_shows_status_and_headers_before_every_answer(self):
        self.sandbox.send_date = False
        for method, answer, expected in [
            ('GET', Answer(200, '{}', [('X-B', '2'), ('X-A', '1'), ('X-B', '3')]),
             (0, 'HTTP/1.1 200 OK\nContent-Type: application/json\nX-B: 2\nX-A: 1\nX-B: 3\n'
                 'Content-Length: 2\n\n{}\n', '')),
            ('HEAD', Answer(200, '{}'), (0, 'HTTP/1.1 200 OK\nContent-Type: application/json\n'
                                            'Content-Length: 2\n\n', '')),
            ('GET', raw(b'HTTP/1.0 200\r\n\r\nx'), (0, 'HTTP/1.0 200\n\nx', '')),
            ('GET', Answer(404, '{}'), (
                5, 'HTTP/1.1 404 Not Found\nContent-Type: application/json\nContent-Length: 2\n\n',
                'error: Public API request failed (404 Not Found): the answer is no Notion error '
                'but application/json.\n')),
            ('GET', Answer(401, '{}'), (
                4, 'HTTP/1.1 401 Unauthorized\nContent-Type: application/json\n'
                'Content-Length: 2\n\n', 'error: Public API request failed: API token is invalid.\n'
                '  hint: The token came from NOTION_API_TOKEN. Set it to a valid one.\n')),
        ]:
            with self.subTest(method, expected=expected):
                self.sandbox.on(method, '/v1/x', answer)
                self.assertEqual(expected, self.call('api', 'v1/x', '-i', '-X', method))

    def test_a_terminal_shows_what_came_of_a_body_that_breaks_off(self):
        result = self.get(Answer(200, '{"a":\x1b', length=99), tty=('stdout',))
        self.assertEqual((5, '{"a":\\u001b\n'), result[:2])
        self.assertIn('the answer broke off', result.err)

    def test_a_byte_order_mark_is_called_by_its_name(self):
        self.assertEqual((1, '', 'error: The body from -d begins with a byte order mark.\n'
                                 '  hint: Save it as UTF-8 without one.\n'),
                         self.call('api', 'v1/x', '-d', '\ufeff{}'))

    def test_verbose_begins_a_line_of_its_own_after_the_answer(self):
        self.sandbox.on('GET', '/v1/x', Answer.json({'a': 1}))
        process = self.spawn('api', 'v1/x', '-v', stdin=subprocess.DEVNULL,
                             stderr=subprocess.STDOUT)
        lines = process.communicate(timeout=30)[0].decode().splitlines()
        self.assertEqual(['<', '{"a": 1}', '< {"a": 1}'], lines[-3:])

    def test_verbose_shows_request_and_answer_without_secrets(self):
        self.sandbox.send_date = False
        self.sandbox.on('POST', '/v1/x', Answer(
            200, '{"token": "other-\\"secret", "echo":\n"Bearer %s"}\n' % CANARY,
            [('Set-Cookie', 'session=1'), ('X-Echo', CANARY)]))
        result = self.call('api', 'v1/x', 'q==1', 'a[token]=hush', 'Cookie:x=y', '-v',
                           secrets_ok=True)
        self.assertEqual('''\
> POST %s/v1/x?q=1
> Host: 127.0.0.1:%d
> Authorization: [redacted]
> Notion-Version: 2026-03-11
> User-Agent: ntn.py/%s Python/%d.%d
> Accept: application/json
> Accept-Encoding: gzip, deflate
> Content-Type: application/json
> Cookie: [redacted]
> Content-Length: 22
>
> {"a":{"token":"[redacted]"}}
< 200 OK
< Content-Type: application/json
< Set-Cookie: [redacted]
< X-Echo: [redacted]
< Content-Length: 78
<
< {"token": "[redacted]", "echo":
< "Bearer [redacted]"}
<
''' % ((self.sandbox.origin, self.sandbox.port, ntn.VERSION) + sys.version_info[:2]), result.err)
        self.assertEqual((0, '{"token": "other-\\"secret", "echo":\n"Bearer %s"}\n' % CANARY),
                         result[:2])

    def test_verbose_redacts_a_token_given_inline_wherever_it_comes_back(self):
        answer = Answer(400, '{"code": "c", "message": "Bearer ntn_canary_inline"}',
                        [('X-Echo', 'ntn_canary_inline')])
        result = self.get(answer, 'Authorization:Bearer ntn_canary_inline', '-v')
        self.assertEqual((5, ''), result[:2])

    def test_verbose_lets_nothing_act_on_the_terminal(self):
        result = self.get(Answer(200, b'\x1b[2J\x9b\xc2\x9b\xe2\x80\xae\r\n', [('X-A', '\x1b[1m')],
                                 content_type='text/plain'), '-v')
        self.assertEqual(['< X-A: \\u001b[1m', '< \\u001b[2J\\x9b\\u009b\\u202e'],
                         re.findall('^<.*u001b.*', result.err, re.M))

    def test_a_reader_that_has_seen_enough_is_no_failure(self):
        self.sandbox.on('GET', '/v1/x', Answer(200, b'x' * 4000000, chunked=50000))
        process = self.spawn('api', 'v1/x', stdin=subprocess.DEVNULL)
        self.assertEqual(b'xxx', os.read(process.stdout.fileno(), 3))
        process.stdout.close()
        self.assertEqual(b'', process.stderr.read())
        self.assertEqual(0, process.wait(20))

    @unittest.skipUnless(os.path.exists('/dev/full'), 'there is no /dev/full here')
    def test_a_full_disk_and_a_closed_stdout_are_local_failures(self):
        self.sandbox.always('GET', '/v1/x', Answer(200, '{}'))
        for script, message in [
            ('exec "$@" > /dev/full', 'Cannot write to standard output: No space left on device.'),
            ('exec "$@" >&-', 'Standard output is closed, so the result has nowhere to go.'),
        ]:
            with self.subTest(script):
                self.assertEqual((1, '', 'error: %s\n' % message), self.ntn(
                    'api', 'v1/x', stdin=None, prefix=['sh', '-c', script, 'sh']))


class ApiTerminalTest(ApiCase):
    VALUE = ('{"a":1.10,"b":["x\\n\\u001b[2J\\u202e\x7f\u202e\u0085é",null,true,-0e5,'
             '12345678901234567890123.0],"c":{},"d":[],"\\u0007":{"e":""}}')
    SHOWN = '''\
{
  "a": 1.10,
  "b": [
    "x\\n\\u001b[2J\\u202e\\u007f\\u202e\\u0085é",
    null,
    true,
    -0e5,
    12345678901234567890123.0
  ],
  "c": {},
  "d": [],
  "\\u0007": {
    "e": ""
  }
}
'''
    PAINTED = re.sub('(?m)' r'^( *)("[^"]*")(: )|(".*")|(-?[0-9].*[0-9])|(null|true)',
                     lambda found: (found.group(1) or '') + '\x1b[%dm%s\x1b[0m' % next(
                         (code, found.group(group)) for code, group in
                         [(34, 2), (32, 4), (36, 5), (35, 6)] if found.group(group))
                     + (found.group(3) or ''), SHOWN)

    def test_json_is_indented_and_coloured_unless_the_terminal_or_the_user_objects(self):
        for env, expected in [
            ({'TERM': 'xterm'}, self.PAINTED), ({'NO_COLOR': ''}, self.PAINTED),
            ({'NO_COLOR': '1'}, self.SHOWN), ({'TERM': 'dumb'}, self.SHOWN),
        ]:
            with self.subTest(env):
                result = self.get(Answer(200, self.VALUE), tty=('stdout',), env=env)
                self.assertEqual((0, expected, ''), result)

    def test_colour_goes_by_stdout_alone(self):
        self.assertEqual((0, self.VALUE + '\n', ''),
                         self.get(Answer(200, self.VALUE), tty=('stdin', 'stderr')))

    def test_a_real_terminal_shows_it(self):
        self.sandbox.always('GET', '/v1/x', Answer(200, self.VALUE))
        terminal = self.terminal('api', 'v1/x')
        self.assertEqual((0, self.PAINTED), (terminal.wait(), terminal.output))

    def test_what_is_not_json_is_shown_harmless(self):
        for body, expected in [
            (b'', ''), (b'text', 'text\n'), (b'a\tb\n', 'a\tb\n'),
            (b'\x1b]0;x\x07\x9b\xff\xe2\x80\xae\xc2\x85\n', '\\u001b]0;x\\u0007\\x9b\\xff\\u202e'
                                                            '\\u0085\n'),
            (b'{"raw": "\x1b[2J"}', '{"raw": "\\u001b[2J"}\n'),
            (b'{"NaN": NaN}', '{"NaN": NaN}\n'), (b'[' * 100000, '[' * 100000 + '\n'),
        ]:
            with self.subTest(body[:20]):
                result = self.get(Answer(200, body), tty=('stdout',))
                self.assertEqual((0, expected, ''), result)

    def test_an_ascii_terminal_gets_escapes_for_what_it_cannot_show(self):
        result = self.get(Answer(200, '["漢✔…"]'), tty=('stdout',), encoding='ascii',
                          env={'NO_COLOR': '1'})
        self.assertEqual((0, '[\n  "\\u6f22\\u2714\\u2026"\n]\n', ''), result)
        code, out, err = self.get(Answer(200, '"é🐕"'), tty=('stdout',), encoding='ascii')
        self.assertEqual((0, ''), (code, err))
        self.assertRegex(out, r'\A\x1b\[32m"(\\u00e9|\\xe9)(\\U0001f415|\\ud83d\\udc15)"'
                         r'\x1b\[0m\n\Z')

    def test_include_lets_no_header_act_on_the_terminal(self):
        self.sandbox.send_date = False
        result = self.get(Answer(200, '1', [('X-A', '\x1b[2J\x9b')]), '-i', tty=('stdout',),
                          env={'NO_COLOR': '1'})
        self.assertEqual((0, 'HTTP/1.1 200 OK\nContent-Type: application/json\nX-A: \\u001b[2J'
                             '\\u009b\nContent-Length: 1\n\n1\n', ''), result)


class ApiErrorTest(ApiCase):
    def test_an_answer_that_is_an_error_says_what_notion_said_and_how_to_go_on(self):
        html = Answer(403, '<html>\n\x1b[2J', content_type='text/html; charset=utf-8')
        for path, answer, code, message in [
            ('v1/x', Answer.error(400, 'validation_error', 'body failed:\n  \x1b[2Jbody.a'), 5,
             ' (400 Bad Request validation_error): body failed: \\u001b[2Jbody.a\n'
             '  request id: ' + REQUEST_ID),
            ('v1/x', Answer.error(401, 'unauthorized', 'API token is invalid.'), 4,
             ': API token is invalid.\n  request id: %s\n'
             '  hint: The token came from NOTION_API_TOKEN. Set it to a valid one.' % REQUEST_ID),
            ('v1/x', html, 5, ' (403 Forbidden): the answer is no Notion error but text/html.'),
            ('v1/users', None, 5, ' (403 Forbidden restricted_resource): Insufficient permissions '
             'for this endpoint.\n  request id: %s\n  hint: A personal access token sees its own '
             'user: try v1/users/me.' % REQUEST_ID),
            ('v1/pages/missing', None, 5, ' (404 Not Found object_not_found): Could not find page '
             'with ID: missing.\n  request id: ' + REQUEST_ID),
            ('users/me', None, 5, ' (404 Not Found not_found): Nothing is served at this path.\n'
             '  request id: %s\n  hint: The paths of the API begin with v1/: try v1/users/me.'
             % REQUEST_ID),
            ('v1/x', Answer.error(429, 'rate_limited', 'Slow.', [('Retry-After', '7')]), 5,
             ' (429 Too Many Requests rate_limited): Slow.\n  request id: %s\n'
             '  hint: The server asks to wait 7 s before the next try.' % REQUEST_ID),
            ('v1/x', Answer.error(500, 'internal_server_error', 'Oh.'), 5,
             ' (500 Internal Server Error internal_server_error): Oh.\n  request id: '
             + REQUEST_ID),
            ('v1/x', Answer(502, ''), 5,
             ' (502 Bad Gateway): the answer is no Notion error but application/json.'),
            ('v1/x', Answer(599, '[1]', [('X-Request-Id', 'a b')]), 5,
             ' (599): the answer is no Notion error but application/json.\n  request id: a b'),
            ('v1/x', Answer(400, '{"code": 1, "message": {}, "request_id": ["x"]}'), 5,
             ' (400 Bad Request): the answer is no Notion error but application/json.\n'
             "  request id: ['x']"),
        ]:
            with self.subTest(path=path, message=message):
                if answer:
                    self.sandbox.on('GET', '/' + path, answer)
                self.assertEqual((code, '', 'error: Public API request failed%s\n' % message),
                                 self.call('api', path, '--no-retry'))

    def test_a_refused_token_names_where_it_came_from(self):
        self.store_login('ntn_canary_old')
        self.sandbox.valid_tokens.clear()
        again = 'Run `ntn login` to get a new one.'
        for argv, token, hint in [
            ([], CANARY, 'NOTION_API_TOKEN. Set it to a valid one.'),
            ([], None, os.path.join(self.home, 'auth.json') + '. ' + again),
            (['Authorization:Bearer x'], None, 'the Authorization input. Set it to a valid one.'),
        ]:
            with self.subTest(hint):
                self.assertEqual((
                    4, '', 'error: Public API request failed: API token is invalid.\n  request id: '
                    '%s\n  hint: The token came from %s\n' % (REQUEST_ID, hint)),
                    self.call('api', 'v1/users/me', *argv, env={'NOTION_API_TOKEN': token}))


# ---- Calls ---------------------------------------------------------------------------------------

def refused(status, message, hint=''):
    """What stderr says of an answer made by `Answer.error`."""
    return 'error: Public API request failed%s: %s\n  request id: %s\n%s' % (
        ' (%s)' % status if status else '', message, REQUEST_ID,
        '  hint: %s\n' % hint if hint else '')


def page(results, cursor=None):
    """A page of a list, as Notion has it."""
    return Answer.json({'object': 'list', 'results': results, 'next_cursor': cursor,
                        'has_more': cursor is not None})


def limited(after=None):
    """429, with what Retry-After is to say."""
    headers = [] if after is None else [('Retry-After', after)]
    return Answer.error(429, 'rate_limited', 'Slow down.', headers)


class CallCase(ApiCase):
    """A test in which waits take no time, and a pause that nobody asked for ends in .25."""

    def setUp(self):
        super().setUp()
        self.clock = self.fake_clock()
        patcher = mock.patch.object(ntn, 'jitter', lambda: 0.25)
        patcher.start()
        self.addCleanup(patcher.stop)

    def run_with(self, answers, *argv, method='GET', **options):
        """The result of `ntn api v1/x`, the waits, and the number of requests, for answers in
        turn."""
        self.clock.sleeps.clear()
        self.sandbox.requests.clear()
        self.sandbox.scripted.clear()
        self.sandbox.on(method, '/v1/x', *answers)
        result = self.call('api', 'v1/x', *argv, clock=self.clock, **options)
        return result, self.clock.sleeps[:], len(self.sandbox.requests)

    def write_file(self, name, content=b''):
        """A file's path, as a command line has it whatever the locale."""
        path = os.path.join(os.fsencode(self.dir), to_bytes(name))
        with open(path, 'wb') as file:
            file.write(content)
        return os.fsdecode(path)


class RetryTest(CallCase):
    DONE = Answer(200, '{}')
    SLOW = 'Notion answered 429 Too Many Requests.'

    @staticmethod
    def lines(*problems_and_pauses):
        return ''.join('%s Trying again in %s s (try %d of 3).\n' % (problem, pause, number)
                       for number, (problem, pause) in enumerate(problems_and_pauses, 2))

    def test_the_waits_are_those_asked_for(self):
        now = self.clock.time()
        in_30 = email.utils.formatdate(now + 30, usegmt=True)
        for after, pause in [
            ('3', 3), ('0', 0), ('60', 60), (' 7 ', 7), ('007', 7), (in_30, 30),
            ('Thursday, 01-Jan-26 00:00:30 GMT', 30), ('Thu Jan  1 00:00:30 2026', 30),
            ('Fri, 31 Dec 1999 23:59:59 GMT', 0),
            (None, 1.25), ('', 1.25), ('soon', 1.25), ('-5', 1.25), ('1.5', 1.25), ('²', 1.25),
            ('Thu, 99 Foo 2026 00:00:30 GMT', 1.25),
        ]:
            with self.subTest(after=after):
                self.clock.wall = now
                self.assertEqual(
                    (Result(0, '{}\n', self.lines((self.SLOW, pause))), [pause], 2),
                    self.run_with([limited(after), self.DONE]))

    def test_a_date_is_read_by_the_clock_of_the_server_if_it_tells(self):
        later = email.utils.formatdate(self.clock.time() + 3600 + 20, usegmt=True)
        self.sandbox.date_offset = 3600
        self.assertEqual([20], self.run_with([limited(later), self.DONE])[1])
        self.sandbox.date_offset, self.sandbox.send_date = 0, False
        self.clock.wall += 3600 - 20
        self.assertEqual([20], self.run_with([limited(email.utils.formatdate(
            self.clock.time() + 20, usegmt=True)), self.DONE])[1])

    def test_what_asks_for_more_than_a_minute_in_all_fails_at_once_and_says_how_long(self):
        now = self.clock.time()
        late = email.utils.formatdate(now + 3600, usegmt=True)
        for answers, waits, asked in [
            ([limited('61')], [], 61), ([limited('86400')], [], 86400),
            ([limited('9999999999')], [], 9999999999), ([limited(late)], [], 3600),
            ([limited('40'), limited('21')], [40], 21),
            ([limited(), limited('59')], [1.25], 59),
            ([limited('20'), limited('20'), limited('2')], [20, 20], 2),  # the tries are used up
        ]:
            with self.subTest(asked=asked, waits=waits):
                self.clock.wall = now
                err = self.lines(*[(self.SLOW, pause) for pause in waits]) + refused(
                    '429 Too Many Requests rate_limited', 'Slow down.',
                    'The server asks to wait %d s before the next try.' % asked)
                self.assertEqual((Result(5, '', err), waits, len(answers)),
                                 self.run_with(answers + [self.DONE], 'a=1', method='POST'))

    def test_which_answers_are_tried_again_with_which_methods(self):
        for method in 'GET', 'HEAD', 'DELETE', 'POST', 'PATCH', 'PUT':
            for status in 400, 404, 408, 409, 429, 500, 501, 502, 503, 504, 505, 529:
                harmless = status in (429, 529) or (
                    status in (500, 502, 503, 504) and method in ('GET', 'HEAD', 'DELETE'))
                with self.subTest(method=method, status=status):
                    for argv, again in (['-X', method], harmless), (['-X', method, '--no-retry'],
                                                                    False):
                        result, waits, count = self.run_with([Answer(status)] * 3, *argv,
                                                             method=method)
                        name = ' '.join([str(status), http.client.responses.get(status, '')])
                        problem = 'Notion answered %s.' % name.strip()
                        self.assertEqual((5, [1.25, 2.25] if again else [], 3 if again else 1),
                                         (result.code, waits, count))
                        self.assertEqual(
                            self.lines((problem, 1.25), (problem, 2.25)) if again else '',
                            result.err.partition('error: ')[0])

    def test_a_connection_cut_before_the_answer_is_tried_again_where_it_cannot_hurt(self):
        broken = 'Cannot reach Notion: %s broke the connection off (no answer).' % self.peer
        for method in 'GET', 'DELETE', 'POST', 'PATCH':
            with self.subTest(method):
                expected = ((Result(0, '{}\n', self.lines((broken, 1.25))), [1.25], 2)
                            if method in ('GET', 'DELETE') else (self.broken('no answer'), [], 1))
                self.assertEqual(expected, self.run_with([cut(), self.DONE], '-X', method,
                                                         method=method))
        self.assertEqual((self.broken('no answer'), [], 1),
                         self.run_with([cut(), self.DONE], '--no-retry'))

    def test_get_with_503_and_a_cut_connection_ends_well(self):
        self.assertEqual(
            (Result(0, '{}\n', self.lines(
                ('Notion answered 503 Service Unavailable.', 1.25),
                ('Cannot reach Notion: %s broke the connection off (no answer).' % self.peer,
                 2.25))), [1.25, 2.25], 3),
            self.run_with([Answer(503), cut(), self.DONE]))

    def test_a_refused_connection_is_not_tried_again(self):
        self.sandbox.stop()
        self.assertEqual(
            (self.unreachable('%s refuses connections.' % self.peer,
                              'Check that a server listens there, or whether this network '
                              'needs HTTPS_PROXY.'), [], 0), self.run_with([]))

    def test_a_body_that_breaks_off_is_not_tried_again(self):
        for argv in [], ['-v'], ['-i'], ['-v', '-i']:
            with self.subTest(argv=argv):
                result, waits, count = self.run_with([Answer(200, 'abc', length=9), self.DONE],
                                                     *argv)
                self.assertEqual((5, [], 1), (result.code, waits, count))
                self.assertEqual('abc', result.out.rpartition('\n')[2])

    def test_a_refusal_whose_body_breaks_off_stays_a_refusal(self):
        half = Answer(429, 'abc', [('Retry-After', '4')], length=9)
        self.assertEqual((Result(0, '{}\n', self.lines((self.SLOW, 4))), [4], 2),
                         self.run_with([half, self.DONE], 'a=1', method='POST'))

    def test_the_tries_share_a_connection(self):
        self.run_with([limited('1'), limited('1'), self.DONE])
        self.assertEqual(1, len({request.connection for request in self.sandbox.requests}))


class OptionTest(CallCase, StdinCase):
    """Each option with each source of a body and each kind of answer, by rules."""

    TEXT = b'{"a" : 1.10}\n'
    LIST = '{"results": [1.10, "\u00e9"], "has_more": false}'
    OPTIONS = [[], ['-X', 'PATCH'], ['-X', 'GET'], ['-i'], ['-v'], ['--timeout', '9.5'],
               ['--no-retry'], ['--notion-version', '2022-06-28'], ['--paginate'],
               ['--file', 'UPLOAD']]
    SOURCES = [  # arguments, what stdin is, the body
        ([], None, None), (['a:=1.10'], None, b'{"a":1.10}'), (['-d', TEXT.decode()], None, TEXT),
        (['-d', '@FILE'], None, TEXT), (['-d', '@-'], 'pipe', TEXT), ([], 'pipe', TEXT),
        ([], 'file', TEXT)]
    ANSWERS = [Answer(200, LIST)] + [
        Answer.error(status, 'some_code', 'Told so.', [('Retry-After', '0')] * (status == 429))
        for status in (400, 401, 404, 429, 500)]

    def setUp(self):
        super().setUp()
        self.sandbox.send_date = False
        self.paths = {'FILE': self.write_file('body.json', self.TEXT),
                      'UPLOAD': self.write_file('up.txt', b'content')}

    def test_each_option_with_each_source_of_a_body_and_each_status(self):
        for option in self.OPTIONS:
            for source in self.SOURCES:
                for answer in self.ANSWERS:
                    with self.subTest(option=option, source=source[:2], status=answer.status):
                        self.check_row(option, source, answer)

    def check_row(self, option, source, answer):
        given, stdin, body = source
        argv = [self.paths.get(word.lstrip('@'), word) for word in option + given]
        argv = ['@' + path if word == '@FILE' else path for word, path in zip(option + given, argv)]
        for method in 'GET', 'POST', 'PATCH':
            self.sandbox.always(method, '/v1/x', answer)
        result, _, _ = self.run_with([], *argv, stdin=stdin and getattr(self, stdin)(self.TEXT))
        if '--file' in option and '-d' in given:
            self.assertEqual(Result(5, '', 'error: The request has more than one body: --file and '
                                    '-d.\n  hint: Give only one of them.\n'), result)
            self.assertEqual([], self.sandbox.requests)
            return
        if option == ['-X', 'GET'] and not given:
            body = None  # stdin is left alone
        kind = 'application/json'
        if '--file' in option:
            kind, body = self.form(body if given else None)
        self.expect(option, result, answer, self.headers(option, kind, body), body)

    def form(self, field):
        """(type, body) of a form with the file, and with the field of SOURCES."""
        kind = self.sandbox.requests[0].header('Content-Type')
        boundary = '--' + kind.partition('; boundary=')[2]
        head = '\r\nContent-Disposition: form-data; name='
        lines = [boundary, head, '"a"\r\n\r\n1.10\r\n'] if field else []
        lines += [boundary, head, '"file"; filename="up.txt"\r\nContent-Type: text/plain\r\n\r\n',
                  'content\r\n', boundary, '--\r\n']
        return kind, ''.join(lines).encode()

    def headers(self, option, kind, body):
        version = option[1] if '--notion-version' in option else '2026-03-11'
        headers = [('Host', self.peer), ('Authorization', 'Bearer ' + CANARY),
                   ('Notion-Version', version), ('User-Agent', ntn.user_agent()),
                   ('Accept', 'application/json'), ('Accept-Encoding', 'gzip, deflate')]
        return headers + ([('Content-Type', kind)] if body is not None else [])

    def expect(self, option, result, answer, headers, body):
        method = option[1] if '-X' in option else 'GET' if body is None else 'POST'
        again = answer.status == 429 or answer.status == 500 and method == 'GET'
        tries = 3 if again and '--no-retry' not in option else 1
        length = len(body or b'') if body is not None or method == 'PATCH' else None
        sent = headers + ([('Content-Length', str(length))] if length is not None else [])
        self.assertEqual([(method, '/v1/x', sent, body or b'')] * tries,
                         [(each.method, each.target, each.headers, each.body)
                          for each in self.sandbox.requests])
        status = '%d %s' % (answer.status, http.client.responses[answer.status])
        trace = ''
        if '-v' in option:
            shown = [method + ' ' + self.sandbox.origin + '/v1/x']
            shown += ['%s: %s' % header for header in sent] + [''] + (
                body.decode().split('\n') if body else [])
            heads = ['%s: %s' % header for header in answer.headers]
            trace = ''.join([(mark + line).rstrip() + '\n' for mark, lines in [
                ('> ', shown), ('< ', [status] + heads + ['', answer.body.decode()])]
                for line in lines]).replace('Bearer ' + CANARY, '[redacted]')
        pauses = [0, 0] if answer.status == 429 else [1.25, 2.25]
        err = trace + ''.join(
            'Notion answered %s. Trying again in %s s (try %d of 3).\n' % (status, pause, number)
            + trace for number, pause in zip((2, 3)[:tries - 1], pauses))
        out = 'HTTP/1.1 %s\n%s\n\n' % (status, '\n'.join(
            '%s: %s' % header for header in answer.headers)) if '-i' in option else ''
        if answer.status == 200:
            out += '1.10\n"\u00e9"\n' if '--paginate' in option else self.LIST + '\n'
        elif answer.status == 401:
            err += refused('', 'API token is invalid.',
                           'The token came from NOTION_API_TOKEN. Set it to a valid one.')
        else:
            err += refused(status + ' some_code', 'Told so.')
        self.assertEqual(Result({200: 0, 401: 4}.get(answer.status, 5), out, err), result)


class PaginateTest(CallCase):
    CALLS = [('GET', ['v1/blocks/x/children'], 'start_cursor==%s'),
             ('POST', ['v1/search', '-X', 'POST'], 'start_cursor=%s')]

    def paginate(self, *argv, **options):
        return self.call('api', '--paginate', *argv, clock=self.clock, **options)

    def fill(self, count):
        """Have that many results; the lines that print them."""
        self.sandbox.results = [{'number': number} for number in range(count)]
        return ['{"number":%d}\n' % number for number in range(count)]

    def answer_honestly(self, request, handler):
        return self.sandbox.answer_as_notion(request)

    def test_200_pages_come_out_in_order_over_one_connection(self):
        lines = self.fill(20000)
        for method, argv, _ in self.CALLS:
            with self.subTest(method):
                self.sandbox.requests.clear()
                code, out, err = self.paginate(*argv)
                self.assertEqual((0, ''), (code, err))
                self.assertEqual(lines, out.splitlines(True))
                self.assertEqual([method] * 200, [each.method for each in self.sandbox.requests])
                self.assertEqual(1, len({each.connection for each in self.sandbox.requests}))

    def test_stopped_on_page_57_it_names_the_cursor_to_go_on_from(self):
        lines = self.fill(5750)
        for method, argv, form in self.CALLS:
            for last, what in [
                (Answer.error(400, 'validation_error', 'No.'),
                 refused('400 Bad Request validation_error', 'No.', '%s')),
                (Answer(200, '{"results": [1,', length=999), self.broken(
                    'the answer broke off, 984 bytes short').err.replace('again.', 'again. %s')),
                (Answer(200, '[]'), 'error: The answer is no list of results, so there are no pages'
                                    ' to follow.\n  hint: Leave --paginate out. %s\n'),
            ]:
                with self.subTest(method, answer=last.body):
                    self.sandbox.on(method, '/' + argv[0], *[self.answer_honestly] * 56 + [last])
                    on = form % 'cursor-5600'
                    where = 'What came before is complete. Go on with `%s`.' % on
                    code, out, err = self.paginate(*argv)
                    self.assertEqual((5, what % where), (code, err))
                    self.assertEqual(lines[:5600], out.splitlines(True))
                    self.assertEqual(Result(0, ''.join(lines[5600:]), ''),
                                     self.paginate(*argv + [on]))

    def test_the_cursor_replaces_the_one_given_and_the_rest_stays(self):
        for method, argv, expected in [
            ('GET', ['v1/x', 'a==1', 'start_cursor==c 0', 'b==2'],
             [('a=1&start_cursor=c%200&b=2', ''), ('a=1&b=2&start_cursor=c%261', ''),
              ('a=1&b=2&start_cursor=c2', '')]),
            ('GET', ['v1/x?a=1&start_cursor=c0&b=2'],
             [('a=1&start_cursor=c0&b=2', ''), ('a=1&b=2&start_cursor=c%261', ''),
              ('a=1&b=2&start_cursor=c2', '')]),
            ('POST', ['v1/x', 'a:=1.10', 'start_cursor=c0', 'q==1'],
             [('q=1', '{"a":1.10,"start_cursor":"%s"}' % each) for each in ('c0', 'c&1', 'c2')]),
            ('POST', ['v1/x', '-d', '{"a" : 1.10}'],
             [('', '{"a" : 1.10}'), ('', '{"a":1.10,"start_cursor":"c&1"}'),
              ('', '{"a":1.10,"start_cursor":"c2"}')]),
            ('POST', ['v1/x', '-X', 'post'],
             [('', '{}'), ('', '{"start_cursor":"c&1"}'), ('', '{"start_cursor":"c2"}')]),
        ]:
            with self.subTest(argv=argv):
                self.sandbox.requests.clear()
                self.sandbox.on(method, '/v1/x', page([1], 'c&1'), page([], 'c2'), page([2]))
                self.assertEqual(Result(0, '1\n2\n', ''), self.paginate(*argv))
                self.assertEqual(expected, [
                    (each.target.partition('?')[2], each.body.decode())
                    for each in self.sandbox.requests])

    def test_a_cursor_that_comes_again_is_an_error(self):
        for given, cursors, printed, again in [
            ([], ['a', 'a'], 1, 'a'), ([], ['a', 'b', 'c', 'b'], 3, 'b'),
            (['start_cursor==a'], ['a'], 0, 'a'), (['start_cursor==a'], ['b', 'a'], 1, 'a'),
        ]:
            with self.subTest(given=given, cursors=cursors):
                self.sandbox.scripted.clear()
                self.sandbox.on('GET', '/v1/x', *[page([1], cursor) for cursor in cursors])
                code, out, err = self.paginate('v1/x', *given)
                self.assertEqual((5, '1\n' * printed), (code, out))
                self.assertEqual('error: The API gave the cursor %s twice.' % again,
                                 err.partition('\n')[0])

    def test_the_end_is_what_the_answer_says(self):
        for body in ('{"results": [1]}', '{"results": [1], "next_cursor": null}',
                     '{"results": [1], "next_cursor": "x", "has_more": false}',
                     '{"results": [1], "next_cursor": ""}'):
            with self.subTest(body):
                self.sandbox.on('GET', '/v1/x', Answer(200, body))
                self.assertEqual(Result(0, '1\n', ''), self.paginate('v1/x'))

    def test_more_results_without_a_cursor_to_them_are_not_the_end(self):
        for cursor in ('null', '5', '""'):
            with self.subTest(cursor):
                self.sandbox.on('GET', '/v1/x', Answer(
                    200, '{"results": [1], "next_cursor": %s, "has_more": true}' % cursor))
                self.assertEqual(Result(5, '', 'error: The API says that there are more results, '
                                               'but gives no cursor to them.\n'),
                                 self.paginate('v1/x'))

    def test_an_answer_that_is_no_list_is_an_error(self):
        for body in ('', 'no JSON', 'null', '[]', '{}', '"results"', '{"results": {}}',
                     '{"results": null}', '{"results": [NaN]}', b'{"results": ["\xff"]}',
                     '{"object": "page", "id": "x"}', '[' * 100000):
            with self.subTest(body[:30]):
                self.sandbox.on('GET', '/v1/x', Answer(200, body))
                self.assertEqual(
                    Result(5, '', 'error: The answer is no list of results, so there are no pages '
                           'to follow.\n  hint: Leave --paginate out.\n'), self.paginate('v1/x'))

    def test_a_result_keeps_its_digits_and_is_one_line(self):
        digits = '[1.10,12345678901234567890123.0,1E400,-0.0,%s]' % ('9' * 5000)
        for sent, line in [
            (digits, digits), ('{ "b" : 1,\n "a" : [ ] , "c" : { } }', '{"b":1,"a":[],"c":{}}'),
            (r'"a\nb\u2028\u202e\u001b\u00e9\ud83d\ude00\ud800"',
             '"a\\nb\\u2028\\u202e\\u001b\u00e9\U0001f600\\ud800"'),
            ('null', 'null'), ('[' * 400 + ']' * 400, '[' * 400 + ']' * 400),
        ]:
            with self.subTest(sent[:40]):
                self.sandbox.on('GET', '/v1/x', Answer(200, '{"results": [%s, 1]}' % sent))
                self.assertEqual(Result(0, line + '\n1\n', ''), self.paginate('v1/x'))

    def test_a_result_nested_too_deeply_is_no_fault_of_the_program(self):
        self.sandbox.on('GET', '/v1/x', Answer(200, '{"results": [%s]}' % ('[' * 900 + ']' * 900)))
        result = self.paginate('v1/x')
        self.assertNotIn('fault', result.err)
        self.assertIn(result.code, (0, 5))

    def test_what_does_not_go_with_it_is_refused_before_anything_is_sent(self):
        for argv in (['-i'], ['--file', self.write_file('x')], ['-X', 'PATCH'], ['-X', 'DELETE'],
                     ['-X', 'HEAD']):
            with self.subTest(argv=argv):
                self.assertEqual(Result(2, '', 'error: --paginate goes with GET and POST, and '
                                        'without -i and --file.\n'), self.paginate('v1/x', *argv))
        self.assertEqual([], self.sandbox.requests)

    def test_each_page_has_its_own_tries(self):
        self.sandbox.on('GET', '/v1/x', limited('2'), limited('2'), page([1], 'c'),
                        limited('3'), limited('3'), page([2]))
        code, out, _ = self.paginate('v1/x')
        self.assertEqual((0, '1\n2\n', [2, 2, 3, 3]), (code, out, self.clock.sleeps))

    def test_a_count_goes_to_a_terminal_while_the_lines_go_elsewhere(self):
        count = '\r1 result\x1b[K\r3 results\x1b[K'
        failure = refused('404 Not Found object_not_found', 'Gone.',
                          'What came before is complete. '
                          'Go on with `start_cursor==d`.')
        for tty, term, live in [(('stderr',), None, True), (('stdin', 'stderr'), 'xterm', True),
                                (('stderr',), 'dumb', False), (('stdout', 'stderr'), None, False),
                                (('stdout',), None, False), ((), None, False)]:
            for last, code, err in [(page([]), 0, ''),
                                    (Answer.error(404, 'object_not_found', 'Gone.'), 5, failure)]:
                with self.subTest(tty=tty, TERM=term, code=code):
                    self.sandbox.on('GET', '/v1/x', page([1], 'c'), page([2, 3], 'd'), last)
                    shown = count + '\r3 results\x1b[K' * (code == 0) + '\r\x1b[K' if live else ''
                    self.assertEqual(Result(code, '1\n2\n3\n', shown + err),
                                     self.paginate('v1/x', tty=tty, env={'TERM': term}))

    def test_a_person_sees_the_count(self):
        self.sandbox.on('GET', '/v1/x', page([1], 'c'), page([2, 3]))
        terminal = self.terminal('api', 'v1/x', '--paginate', stdout=subprocess.PIPE)
        self.assertEqual((0, '1\n2\n3\n', '\r1 result\x1b[K\r3 results\x1b[K\r\x1b[K'),
                         (terminal.wait(), terminal.stdout, terminal.output))

    def test_a_reader_that_has_seen_enough_ends_it_quietly(self):
        gone = threading.Event()
        self.fill(1000)
        self.sandbox.on('POST', '/v1/search', self.answer_honestly,
                        hang(gone, self.answer_honestly))
        process = self.spawn('api', 'v1/search', '-X', 'POST', '--paginate',
                             stdin=subprocess.DEVNULL)
        self.assertEqual(b'{"number":0}\n', process.stdout.readline())
        process.stdout.close()
        gone.set()
        self.assertEqual((b'', 0), (process.stderr.read(), process.wait(30)))
        self.assertEqual(2, len(self.sandbox.requests))


class UploadTest(CallCase):
    AWKWARD = [
        'plain.txt', 'two words', ' edges ', "it's", 'say "hi".txt', '"', 'back\\slash', '\\"',
        'ends\\', 'a;b', 'a"; filename="b', 'comma,name', '100%', '%22%0A', '--boundary--',
        '-dash', '.hidden', 'caf\u00e9 e\u0301', '\u65e5\u672c\u8a9e.png', '\U0001f600.gif',
        '\u202egnp.exe', '=?utf-8?q?x?=', "utf-8''x", b'\xff\xfe not UTF-8', 'x' * 255,
        'new\nline', 'carriage\r\nReturn: 1', 'tab\tname', '\x1b]0;x\x07', '\x7f',
    ]

    def setUp(self):
        super().setUp()
        for method in 'POST', 'PUT':
            self.sandbox.always(method, '/v1/x', Answer(200, '{}'))

    def upload(self, path, *argv, **options):
        argv = [os.fsdecode(to_bytes(word)) for word in argv]  # whatever the locale
        return self.call('api', 'v1/x', '--file=' + path, *argv, clock=self.clock, **options)

    def parts(self):
        """The parts of the last upload as the email package reads them: name, file name, type,
        content. Latin-1 maps each byte to a character, so that nothing is lost."""
        request = self.sandbox.requests[-1]
        text = 'Content-Type: %s\n\n' % request.header('Content-Type')
        message = email.message_from_string(text + request.body.decode('latin-1'))
        self.assertEqual([], message.defects)
        return [(part.get_param('name', header='content-disposition').encode('latin-1').decode(),
                 part.get_param('filename', '', 'content-disposition').encode('latin-1'),
                 part.get_content_type() if 'Content-Type' in part else None,
                 part.get_payload().encode('latin-1'))
                for part in message.get_payload()]

    def test_awkward_file_names_arrive_in_one_piece(self):
        for name in self.AWKWARD:
            with self.subTest(name):
                path = self.write_file(name, b'content')
                self.assertEqual(Result(0, '{}\n', ''), self.upload(path))
                (field, arrived, _, content), = self.parts()
                as_browsers_do = re.sub(b'[\x00-\x1f\x7f]', lambda found: b'%%%02X' % ord(
                    found.group()), to_bytes(name))
                self.assertEqual(('file', as_browsers_do, b'content'), (field, arrived, content))

    def test_the_type_is_guessed_from_the_name(self):
        for name, kinds in [
            ('a.txt', ['text/plain']), ('a.PNG', ['image/png']), ('a.json', ['application/json']),
            ('a.pdf', ['application/pdf']), ('a', ['application/octet-stream']),
            ('a.nonsense', ['application/octet-stream']), ('txt', ['application/octet-stream']),
            # What is compressed is not what it was before.
            ('a.txt.gz', ['application/gzip', 'application/octet-stream']),
            ('a.tar.bz2', ['application/x-bzip2', 'application/octet-stream']),
        ]:
            with self.subTest(name):
                self.upload(self.write_file(name))
                self.assertIn(self.parts()[0][2], kinds)

    def test_content_arrives_byte_for_byte_with_its_length(self):
        everything = bytes(range(256)) * 300
        for content in b'', b'\r\n', b'\r\n--', b'a\r', everything:
            with self.subTest(size=len(content)):
                self.upload(self.write_file('a.bin', content), '-X', 'PUT')
                request = self.sandbox.requests[-1]
                boundary = request.header('Content-Type').partition('boundary=')[2].encode()
                self.assertEqual(
                    b'--%s\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
                    b'Content-Type: application/octet-stream\r\n\r\n%s\r\n--%s--\r\n'
                    % (boundary, content, boundary), request.body)
                self.assertEqual([('PUT', str(len(request.body)))], [
                    (each.method, each.header('Content-Length'))
                    for each in self.sandbox.requests[-1:]])

    def test_inputs_become_the_fields_of_the_form(self):
        result = self.upload(
            self.write_file('a.txt', b'A'), 'part_number=1', 's=caf\u00e9 \r\n"x"', 'empty=',
            'n:=1.10', 't:=true', 'z:=null', 'text:="a"', 'big:=12345678901234567890123.0',
            'o[b]=\u00e9', 'o[c]:=[1, {"d" : 2.0}]', 'l[]=1', 'l[2]=3', '[odd "key";]=x', 'q==1')
        self.assertEqual(Result(0, '{}\n', ''), result)
        self.assertEqual([
            ('part_number', '1'), ('s', 'caf\u00e9 \r\n"x"'), ('empty', ''), ('n', '1.10'),
            ('t', 'true'), ('z', 'null'), ('text', 'a'), ('big', '12345678901234567890123.0'),
            ('o', '{"b":"\u00e9","c":[1,{"d":2.0}]}'), ('l', '["1",null,"3"]'),
            ('odd "key";', 'x')],
            [(name, content.decode()) for name, _, _, content in self.parts()[:-1]])
        self.assertEqual(('file', b'a.txt', 'text/plain', b'A'), self.parts()[-1])
        self.assertEqual([('q', '1')], self.sandbox.requests[-1].query)

    def test_what_is_no_regular_file_is_refused_before_anything_is_sent(self):
        fifo, link = os.path.join(self.dir, 'fifo'), os.path.join(self.dir, 'link')
        os.mkfifo(fifo)
        os.symlink('nowhere', link)
        file = self.write_file('file')
        for path, message in [
            (self.dir, '%s is no regular file, so it cannot be uploaded.'),
            (fifo, '%s is no regular file, so it cannot be uploaded.'),
            (os.devnull, '%s is no regular file, so it cannot be uploaded.'),
            (link, 'Cannot read %s: No such file or directory.'),
            (file + '/x', 'Cannot read %s: Not a directory.'),
            (self.dir + '/missing \x1b[2J', 'Cannot read %s: No such file or directory.'),
        ]:
            with self.subTest(path):
                shown = message % path.replace('\x1b', '\\u001b')
                self.assertEqual(Result(1, '', 'error: %s\n' % shown), self.upload(path))
        self.assertEqual([], self.sandbox.requests)

    def test_fields_without_names_are_refused(self):
        code, out, err = self.upload(self.write_file('a'), '[]=1')
        self.assertEqual((5, '', 'error: The fields of a form have names, which an array has not.'),
                         (code, out, err.partition('\n')[0]))
        self.assertEqual([], self.sandbox.requests)

    def test_a_retry_reads_the_file_again(self):
        path = self.write_file('a.txt', b'before')
        slow = 'Notion answered 429 Too Many Requests. Trying again in 0 s (try 2 of 3).\n'
        for change, content, error in [
            (lambda: self.write_file('a.txt', b'after!'), b'after!', ''),
            (lambda: self.write_file('a.txt', b'after, and more'), b'after,', ''),
            (lambda: self.write_file('a.txt', b'aft'), None,
             'error: %s became shorter while it was sent.\n' % path),
            (lambda: os.unlink(path), None,
             'error: Cannot read %s: No such file or directory.\n' % path),
        ]:
            with self.subTest(content=content, error=error):
                self.write_file('a.txt', b'before')
                self.sandbox.on('POST', '/v1/x',
                                lambda request, handler, act=change: act() and None or limited('0'))
                result = self.upload(path)
                self.assertEqual(Result(1, '', slow + error) if error
                                 else Result(0, '{}\n', slow), result)
                if content:
                    self.assertEqual(content, self.parts()[0][3])

    def test_progress_is_shown_on_a_terminal_for_more_than_a_megabyte(self):
        big, small = 3 << 20, 1 << 19
        for name, size, tty, term, shown in [
            ('a', big, ('stderr',), None, True), ('a', big, ('stdout', 'stderr'), None, True),
            ('a', small, ('stderr',), None, False), ('a', big, ('stderr',), 'dumb', False),
            ('a', big, ('stdout',), None, False), ('a', big, (), None, False),
            ('a\nb \x1b[2J', big, ('stderr',), None, True),
            ('x' * 200, big, ('stderr',), None, True),
        ]:
            with self.subTest(name=name, size=size, tty=tty, TERM=term):
                code, _, err = self.upload(self.write_file(name, bytes(size)), tty=tty,
                                           env={'TERM': term})
                self.assertEqual(0, code)
                if not shown:
                    self.assertEqual('', err)
                    continue
                lines = err.split('\x1b[K')
                self.assertEqual(['\r', ''], lines[-2:])
                for line in lines[:-1]:
                    self.assertRegex(line, r'\A\r[ -~]{,79}\Z')
                if name == 'a':
                    percents = [int(re.match(r'\rSending a: (\d+) %\Z', line).group(1))
                                for line in lines[:-2]]
                    self.assertEqual((100, sorted(percents)), (percents[-1], percents))


class DescriptionCase(CallCase):
    """A test of what is made from the API's OpenAPI document."""
    CACHE = 'cache/ntn.py-openapi.json'

    def describe(self, *argv, **options):
        return self.call('api', *argv, clock=self.clock, **options)

    def publish(self, document):
        """Have this document on the docs origin, and none in the cache."""
        self.sandbox.openapi = to_bytes(json.dumps(document))
        shutil.rmtree(os.path.join(self.home, 'cache'), ignore_errors=True)

    def publish_paths(self, paths, **more):
        self.publish(dict({'openapi': '3.1.0', 'paths': paths}, **more))

    def fetches(self):
        """The conditional headers of the requests for the document, which are forgotten then."""
        sent = self.sandbox.sent('GET', '/openapi.json')
        self.sandbox.requests.clear()
        return [request.header('If-None-Match') for request in sent]

    def tag(self):
        return '"%s"' % hashlib.sha256(self.sandbox.openapi).hexdigest()

    def read_json(self, result):
        self.assertEqual((0, ''), (result.code, result.err))
        return json.loads(result.out)

    def dangling(self, document):
        """The references in a document that lead nowhere."""
        def resolves(reference):
            value = document
            for key in reference[2:].split('/'):
                key = urllib.parse.unquote(key).replace('~1', '/').replace('~0', '~')
                if key not in (value if isinstance(value, dict) else ()):
                    return False
                value = value[key]
            return reference.startswith('#/')

        queue, found = [document], []
        while queue:
            value = queue.pop()
            if isinstance(value, dict):
                queue += value.values()
                if isinstance(value.get('$ref'), str) and not resolves(value['$ref']):
                    found.append(value['$ref'])
            elif isinstance(value, list):
                queue += value
        return found


class ListTest(DescriptionCase):
    ROWS = [('PATCH', '/v1/blocks/{block_id}/children', 'Append block children'),
            ('POST', '/v1/file_uploads/{file_upload_id}/send', 'Upload a file'),
            ('POST', '/v1/pages', 'Create a page'),
            ('GET', '/v1/pages/{page_id}', 'Retrieve a page'),
            ('PATCH', '/v1/pages/{page_id}', 'Update page'),
            ('POST', '/v1/search', 'Search by title'),
            ('GET', '/v1/users', 'List all users'),
            ('GET', '/v1/users/me', 'Retrieve your token\u2019s bot user')]
    ROWS.insert(0, ('GET', ROWS[0][1], 'Retrieve block children'))
    PLAIN = ''.join('\t'.join(row) + '\n' for row in ROWS)

    def test_a_pipe_gets_rows_and_a_terminal_a_table(self):
        table = ''.join('%-7s %-38s  %s\n' % row
                        for row in [('METHOD', 'PATH', 'SUMMARY')] + self.ROWS)
        for argv, tty, expected in [([], (), self.PLAIN), (['--plain'], (), self.PLAIN),
                                    (['--plain'], ('stdout',), self.PLAIN),
                                    ([], ('stdout',), table)]:
            with self.subTest(argv=argv, tty=tty):
                self.assertEqual(Result(0, expected, ''), self.describe('ls', *argv, tty=tty))

    def test_json_has_tags_and_operation_id(self):
        rows = self.read_json(self.describe('ls', '--json'))
        self.assertEqual([dict(zip(('method', 'path', 'summary'), row)) for row in self.ROWS],
                         [{key: row[key] for key in ('method', 'path', 'summary')} for row in rows])
        self.assertEqual({'method': 'GET', 'path': '/v1/users/me', 'tags': ['Users'],
                          'summary': 'Retrieve your token\u2019s bot user',
                          'operation_id': 'get-self'}, rows[-1])

    def test_a_narrow_terminal_gets_no_broken_lines(self):
        terminal = self.terminal('api', 'ls', cols=50)
        self.assertEqual(0, terminal.wait())
        lines = terminal.output.splitlines()
        self.assertEqual(1 + len(self.ROWS), len(lines))
        self.assertEqual('METHOD  PATH                                    SU', lines[0])
        self.assertEqual(50, max(map(len, lines)))

    def test_no_token_is_needed_or_sent(self):
        plain = self.env.pop('NOTION_API_TOKEN')
        for env in {}, {'NOTION_API_TOKEN': plain}, {'NOTION_API_TOKEN': 'odd one'}:
            shutil.rmtree(self.home, ignore_errors=True)
            self.assertEqual(Result(0, self.PLAIN, ''), self.describe('ls', env=env))
        self.env['NOTION_API_TOKEN'] = plain
        for argv in (['v1/search', '--docs'], ['v1/search', '--spec', 'Authorization:Bearer x']):
            self.assertEqual(0, self.describe(*argv).code)
        self.assertEqual({('Host', 'User-Agent', 'Accept-Encoding')}, {
            tuple(name for name, _ in request.headers) for request in self.sandbox.requests})


class CacheTest(DescriptionCase):
    STALE = 'warning: %s An older copy of the API\'s description is used.\n'

    def ls(self, **options):
        return self.describe('ls', **options)

    def listed(self, *paths):
        return Result(0, ''.join('GET\t%s\t\n' % each for each in paths), '')

    def setUp(self):
        super().setUp()
        self.publish_paths({'/v1/a': {'get': {}}})

    def test_it_is_asked_about_again_after_a_day(self):
        first, same = self.tag(), self.listed('/v1/a')
        for seconds, expected in [(0, [None]), (86399, []), (1, [first]), (86399, []), (1, [first]),
                                  (-86400 * 365, [first])]:  # the clock was set back
            self.clock.wall += seconds
            self.assertEqual(same, self.ls())
            self.assertEqual(expected, self.fetches())
        self.sandbox.openapi = b'{"paths": {"/v1/b": {"get": {}}}}'
        self.assertEqual(same, self.ls())
        self.clock.wall += 86400
        self.assertEqual(self.listed('/v1/b'), self.ls())
        self.assertEqual([first], self.fetches())
        self.clock.wall += 86400
        self.ls()
        self.assertEqual([self.tag()], self.fetches())

    def test_an_old_copy_serves_when_there_is_no_new_one(self):
        self.assertEqual(0, self.ls().code)
        self.clock.wall += 86400
        url = self.sandbox.origin + '/openapi.json answered '
        for answer, why in [
            (Answer(404), url + '404 Not Found.'), (Answer(302), url + '302 Found.'),
            (Answer(200, '<html>'), 'The answer is not JSON.'),
            (Answer(200, '[]'), 'The answer is no OpenAPI document.'),
            (Answer(200, '{"paths": {}}'), 'The answer is no OpenAPI document.'),
            (Answer(200, '{', length=5), 'Cannot reach Notion: %s broke the connection off (the '
                                         'answer broke off, 4 bytes short).' % self.peer),
        ]:
            with self.subTest(why):
                self.sandbox.on('GET', '/openapi.json', answer)
                expected = self.listed('/v1/a')._replace(err=self.STALE % why)
                self.assertEqual(expected, self.ls())
                self.sandbox.on('GET', '/openapi.json', answer)
                with self.subTest('without a copy'):
                    result = self.ls(env={'NOTION_HOME': self.dir + '/empty'})
                    self.assertEqual((5, '', 'error: The API\'s description cannot be fetched from '
                                      '%s. %s' % (self.sandbox.origin, why)),
                                     (result.code, result.out, result.err.partition('\n')[0]))
        self.assertEqual(self.listed('/v1/a'), self.ls())  # and then it is renewed
        self.sandbox.stop()
        self.assertEqual(self.listed('/v1/a'), self.ls())
        self.clock.wall += 86400
        self.assertEqual(self.listed('/v1/a')._replace(
            err=self.STALE % 'Cannot reach Notion: %s refuses connections.' % self.peer), self.ls())

    def test_each_docs_origin_has_its_own_description(self):
        self.assertEqual(self.listed('/v1/a'), self.ls())
        with Sandbox(clock=self.clock.time) as other:
            other.openapi = b'{"paths": {"/v1/other": {"get": {}}}}'
            self.assertEqual(self.listed('/v1/other'),
                             self.ls(env={'NOTION_API_DOCS_BASE_URL': other.origin}))
        self.assertEqual(self.listed('/v1/a'), self.ls())
        self.assertEqual([None, None], self.fetches())

    def test_a_damaged_cache_is_fetched_anew(self):
        now, document = int(self.clock.time()), {'paths': {'/v1/old': {'get': {}}}}
        good = {'origin': self.sandbox.origin, 'etag': '"e"', 'checkedAt': now,
                'document': document}
        for content in (b'', b'{', b'[]', b'\xff', b'[' * 100000, {}, dict(good, origin=None),
                        dict(good, document=[]), dict(good, document=None)):
            with self.subTest(content=str(content)[:60]):
                self.write_state(self.CACHE, content)
                code, out, _ = self.ls()
                self.assertEqual((0, 'GET\t/v1/a\t\n'), (code, out))
                self.ls()
                self.assertEqual(self.listed('/v1/a'), self.ls())
        self.fetches()
        for changes in ({'checkedAt': None}, {'checkedAt': 'x'}, {'checkedAt': -1},
                        {'etag': 5, 'checkedAt': 0}, {'etag': 'a\r\nX: 1', 'checkedAt': 0}):
            with self.subTest(changes):
                self.write_state(self.CACHE, dict(good, **changes))
                self.assertEqual(self.listed('/v1/a'), self.ls())
                self.assertEqual(1, len(self.fetches()))

    def test_it_works_without_a_cache(self):
        for env in ({'NOTION_HOME': self.write_file('file') + '/home'},
                    {'NOTION_HOME': None},
                    {'NOTION_HOME': None, 'XDG_CACHE_HOME': self.dir + '/file'}):
            with self.subTest(env=env):
                for _ in range(2):
                    self.assertEqual(self.listed('/v1/a'), self.ls(env=env))
                self.assertEqual([None, None], self.fetches())


class SpecificationTest(DescriptionCase):
    def spec(self, *argv, **options):
        return self.read_json(self.describe('--spec', *argv, **options))

    def test_it_has_the_operation_and_only_what_that_reaches(self):
        for argv, path, method, parameters, schemas in [
            (['v1/pages/abc', '-X', 'PATCH'], '/v1/pages/{page_id}', 'patch', ['PageId'],
             ['Block', 'Id', 'Page', 'User']),
            (['v1/users/me'], '/v1/users/me', 'get', [], ['Id', 'User']),
            (['v1/users'], '/v1/users', 'get', [], []),
            (['v1/blocks/a/children', '-Xget'], '/v1/blocks/{block_id}/children', 'get', [],
             ['Block']),
        ]:
            with self.subTest(argv=argv):
                item = {method: OPENAPI['paths'][path][method]}
                if parameters:
                    item['parameters'] = OPENAPI['paths'][path]['parameters']
                components = {kind: {name: OPENAPI['components'][kind][name] for name in names}
                              for kind, names in (('parameters', parameters), ('schemas', schemas))
                              if names}
                expected = {'openapi': '3.1.0', 'info': OPENAPI['info'], 'paths': {path: item}}
                self.assertEqual(dict(expected, components=components) if components else expected,
                                 self.spec(*argv))

    def test_any_depth_any_cycle_and_any_place_of_a_reference(self):
        def refer(place):
            return {'$ref': '#/' + place}

        chain = {'S%d' % number: {'items': refer('components/schemas/S%d' % (number + 1))}
                 for number in range(3000)}
        schemas = dict({
            'S3000': refer('components/schemas/S0'), 'a/b~c {d}': {'type': 'string'},
            'Deep': {'properties': {'x': {'anyOf': [{'type': 'null'}]}}}, 'Unreached': {}}, **chain)
        self.publish_paths({
            '/v1/a': {'get': {'x': [refer('components/schemas/S0'), refer('info/contact'),
                                    refer('components/schemas/a~1b~0c%20%7Bd%7D'),
                                    refer('components/schemas/Deep/properties/x'),
                                    refer('paths/~1v1~1b/post/requestBody'),
                                    {'properties': {'$ref': {'type': 'string'}}}]}},
            '/v1/b': {'post': {'requestBody': {'content': {}}}}},
            components={'schemas': schemas}, info={'contact': {}}, tags=[{'name': 'x'}])
        document = self.spec('v1/a')
        self.assertEqual([], self.dangling(document))
        self.assertEqual(set(schemas) - {'Unreached'}, set(document['components']['schemas']))

    def test_a_reference_that_leads_nowhere_is_left_as_it_is(self):
        for reference in ('', '#', '#/', 'x.json#/a/b', '#/components/schemas/Missing', '#/a/b/c/d',
                          'https://elsewhere.invalid/x', '#/components', '#/servers/0',
                          '#/servers/0/url', '#/openapi/x/y', '#/paths', '#/paths/~1v1~1a/get/x'):
            with self.subTest(reference):
                operation = {'x': {'$ref': reference}}
                self.publish_paths({'/v1/a': {'get': operation}}, servers=[{'url': 'https://x'}],
                                   components={'schemas': {}})
                self.assertEqual(operation, self.spec('v1/a')['paths']['/v1/a']['get'])

    def test_the_security_schemes_of_the_operation_come_along(self):
        schemes = {name: {'type': 'http', 'scheme': name} for name in ('bearer', 'basic', 'other')}
        self.publish_paths({'/v1/a': {'get': {}}, '/v1/b': {'get': {'security': [{'basic': []}]}},
                            '/v1/c': {'get': {'security': []}}}, security=[{'bearer': []}],
                           components={'securitySchemes': schemes})
        for path, names in ('v1/a', ['bearer']), ('v1/b', ['basic']), ('v1/c', []):
            with self.subTest(path):
                components = self.spec(path).get('components', {})
                self.assertEqual({name: schemes[name] for name in names},
                                 components.get('securitySchemes', {}))

    def test_a_concrete_path_finds_its_template_and_a_literal_segment_wins(self):
        templates = ['/v1/users/{user_id}', '/v1/users/me', '/v1/{kind}/me', '/v1/{kind}/{id}',
                     '/v1/users/{user_id}/x', '/v1/a b/{c}']
        self.publish_paths({path: {'get': {}} for path in templates})
        for path, template in [
            ('v1/users/me', '/v1/users/me'), ('/v1/users/me', '/v1/users/me'),
            ('v1/users/me/', '/v1/users/me'), ('v1/users/me?a=b', '/v1/users/me'),
            (self.sandbox.origin + '/v1/users/me', '/v1/users/me'),
            ('v1/users/%6de', '/v1/users/me'), ('v1/users/you', '/v1/users/{user_id}'),
            ('v1/pages/me', '/v1/{kind}/me'), ('v1/pages/you', '/v1/{kind}/{id}'),
            ('v1/users/me/x', '/v1/users/{user_id}/x'), ('v1/a b/c', '/v1/a b/{c}'),
            ('v1/users/{user_id}', '/v1/users/{user_id}'),
        ]:
            with self.subTest(path):
                self.assertEqual([template], list(self.spec(path)['paths']))

    def test_what_cannot_be_found_is_said(self):
        pages = '/v1/pages/{page_id} takes GET, PATCH.\n  hint: Choose one, such as -X GET.\n'
        for argv, message in [
            (['v1/pages/abc'], pages), (['v1/pages/abc', '-X', 'POST'], pages),
            (['v1/search', '-X', 'GET'],
             '/v1/search takes POST.\n  hint: Choose one, such as -X POST.\n'),
            (['v1/nothing'],
             'The API has no path /v1/nothing.\n  hint: `ntn api ls` lists them.\n'),
            (['v1/pages/a/b'],
             'The API has no path /v1/pages/a/b.\n  hint: `ntn api ls` lists them.\n'),
            (['users/me'], 'The API has no path /users/me.\n  hint: Its paths begin with v1/.\n'),
        ]:
            for option in '--spec', '--docs', '--help':
                with self.subTest(argv=argv, option=option):
                    self.assertEqual(Result(5, '', 'error: ' + message),
                                     self.describe(option, *argv))
        self.assertEqual(['/openapi.json'], [each.path for each in self.sandbox.requests])

    def test_docs_are_printed_as_they_are(self):
        text = '# post-search\n\nThe documentation of this endpoint.\n'
        for tty in (), ('stdout',):
            self.assertEqual(Result(0, text, ''), self.describe('v1/search', '--docs', tty=tty))
        self.sandbox.always('GET', '/reference/post-search.md', Answer(200, 'a\x1b[2J\u202e'))
        self.assertEqual(Result(0, 'a\\u001b[2J\\u202e\n', ''),
                         self.describe('v1/search', '--docs', tty=('stdout',)))
        self.sandbox.always('GET', '/reference/post-search.md', Answer(404))
        self.assertEqual(Result(5, '', 'error: %s/reference/post-search.md answered 404 Not Found.'
                                '\n' % self.sandbox.origin), self.describe('v1/search', '--docs'))

    def test_docs_are_fetched_from_below_the_docs_origin_only(self):
        for reference in (None, 5, '', '..', '../x', 'a/../b', 'a//b', 'https://elsewhere.invalid',
                          '@elsewhere.invalid', 'a?b', 'a#b', 'a\r\nb', 'a%2e', 'a b', '\u00e9'):
            with self.subTest(reference):
                self.publish_paths({'/v1/a': {'get': {'x-notion-docs-ref': reference}}})
                self.sandbox.requests.clear()
                self.assertEqual(
                    Result(5, '', 'error: There is no documentation of GET /v1/a.\n  hint: Try '
                           '--spec, or `ntn api /v1/a --help`.\n'), self.describe('v1/a', '--docs'))
                self.assertEqual([None], self.fetches())
                self.assertNotIn('Documentation', self.describe('v1/a', '--help').out)

    def test_help_shows_parameters_and_fields(self):
        self.publish_paths({'/v1/a/{id}': {
            'parameters': [{'$ref': '#/components/parameters/Id'}],
            'post': {'summary': 'Do a', 'x-notion-docs-ref': 'reference/a', 'parameters': [
                {'name': 'page_size', 'in': 'query', 'schema': {'type': ['integer', 'null']},
                 'description': 'How  many\nat once'},
                {'name': 'X-Trace', 'in': 'header', 'required': False}],
                'requestBody': {'$ref': '#/components/requestBodies/A'}}}},
            components={
                'parameters': {'Id': {'name': 'id', 'in': 'path', 'required': True,
                                      'schema': {'$ref': '#/components/schemas/Id'}}},
                'requestBodies': {'A': {'content': {'application/json': {'schema': {
                    'required': ['title'], 'properties': {
                        'title': {'type': 'string', 'description': 'x' * 200},
                        'parent': {'oneOf': []},
                        'loop': {'$ref': '#/components/schemas/Loop'}}}}}}},
                'schemas': {'Id': {'type': 'string', 'description': 'The ID'},
                            'Loop': {'$ref': '#/components/schemas/Loop'}}})
        self.assertEqual(Result(0, '\n'.join([
            'POST /v1/a/{id}', 'Do a', '',
            'In the path:',
            '  id                       string   required The ID', '',
            'Query parameters (name==value):',
            '  page_size                integer|null          How many at once', '',
            'Headers (Header:Value):',
            '  X-Trace                  any', '',
            'Body fields (path=value, path:=json), as application/json:',
            '  title                    string   required ' + 'x' * 55,
            '  parent                   oneOf',
            '  loop                     any', '',
            'Documentation: %s/reference/a' % self.sandbox.origin, '',
            '`ntn api --help` explains options and inputs.\n']), ''),
            self.describe('v1/a/b', '--help'))

    def test_hostile_texts_stay_in_their_cells(self):
        text = 'a\tb\nc\r\x1b[2J\x9b1m\x00\x7f\u202e\u2066\u2028\ud800'
        self.publish_paths({'/v1/' + text: {'get': {'summary': text}}, '/v1/a': {'post': {
            'summary': text, 'description': text, 'tags': [text], 'operationId': text,
            'x-notion-docs-ref': 'a/' + text,
            'parameters': [{'name': text, 'in': 'query', 'description': text,
                            'schema': {'type': text}}],
            'requestBody': {'content': {text: {'schema': {'properties': {text: {
                'type': [text], 'description': text}}}}}}}}})
        for tty in (), ('stdout',):
            for argv in ['ls'], ['ls', '--plain'], ['ls', '--json'], ['v1/a', '--spec'], [
                    'v1/a', '--help']:
                with self.subTest(argv=argv, tty=tty):
                    code, out, err = self.describe(*argv, tty=tty)
                    self.assertEqual((0, ''), (code, err))
                    if tty or argv[-1] == '--help':
                        self.assertNotRegex(out, '[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e\u2066]')
                    if argv[-1] in ('--json', '--spec'):
                        json.loads(out)
                    if argv[0] == 'ls' and argv[-1] != '--json':
                        self.assertEqual(3 if tty and argv == ['ls'] else 2, out.count('\n'))
                    if argv[-1] == '--plain':
                        self.assertEqual([2, 2], [line.count('\t') for line in out.splitlines()])

    def test_no_document_however_odd_is_a_fault_of_the_program(self):
        junk = [None, 1, True, 'x', [], {}, [1], ['a'], [[]], [{}], {'a': 1}, {'$ref': '#/info'},
                {'$ref': '#/servers/0/url'}, {'$ref': '#/components/schemas/Page'}]
        base = dict(OPENAPI, servers=[{'url': 'https://x'}], security=[{'bearer': []}])
        base['paths'] = {'/v1/pages/{page_id}': OPENAPI['paths']['/v1/pages/{page_id}']}
        dice = random.Random(20260311)
        found = [dict(base, security=security) for security in (True, [1], [[{}]], {'a': 1})] + [
            dict(base, paths={'/v1/pages/{page_id}': {'parameters': odd, 'patch': {
                'parameters': odd, 'tags': odd, 'security': odd, 'requestBody': {'content': {
                    'application/json': {'schema': {'required': odd, 'properties': {'x': odd}}}}
                }}}}) for odd in junk]
        for number in range(200 + len(found)):
            document = json.loads(json.dumps(found[number] if number < len(found) else base))
            spots, queue = [], [document]
            while queue:
                holder = queue.pop()
                keys = holder if isinstance(holder, dict) else range(len(holder))
                spots += [(holder, key) for key in keys]
                queue += [holder[key] for key in keys if isinstance(holder[key], (dict, list))]
            holder, key = dice.choice(spots)
            if number >= len(found):
                holder[key] = dice.choice(junk)
            with mock.patch.object(ntn, 'load_specification', lambda *_, found=document: found):
                for argv in (['ls', '--json'], ['v1/pages/x', '-XPATCH', '--spec'],
                             ['v1/pages/x', '-XPATCH', '--help']):
                    result = self.describe(*argv)
                    self.assertNotIn('fault', result.err, (argv, document))


class TeachingTest(DescriptionCase):
    def hint(self, *argv):
        """The hint that a refused call ends with."""
        code, out, err = self.describe(*argv)
        self.assertEqual((5, ''), (code, out))
        self.assertEqual('error: Public API request failed', err.partition(' (')[0])
        return err.partition('  hint: ')[2].rstrip('\n')

    def test_refusals_teach(self):
        self.assertEqual(0, self.describe('ls').code)
        self.sandbox.requests.clear()
        methods = 'This path takes GET, PATCH: try -X PATCH.'
        self.sandbox.always('PUT', '/v1/pages/abc', Answer(405))
        self.sandbox.always('POST', '/v1/pages/405', Answer(405))
        me = 'A personal access token sees its own user: try v1/users/me.'
        for argv, expected in [
            (['v1/pages/abc', 'archived:=true'], methods), (['/v1/pages/abc/', 'a=1'], methods),
            (['v1/pages/abc', 'a=1', 'q==1'], methods), (['v1/pages/abc?q=1', 'a=1'], methods),
            ([self.sandbox.origin + '/v1/pages/abc', 'a=1'], methods),
            (['v1/pages/405', 'a=1'], methods),
            (['v1/pages/abc', '-X', 'PUT'], 'This path takes GET, PATCH: try -X GET.'),
            (['v1/search'], 'This path takes POST: try -X POST.'),
            (['v1/nothing'], ''), (['v1/pages/missing'], ''), (['v1/errors/400'], ''),
            (['v1/users'], me), (['/v1/users', 'page_size==1'], me), (['v1/users?a=b'], me),
            ([self.sandbox.origin + '/v1/users'], me), (['v1/errors/403'], ''),
            (['users/me'], 'The paths of the API begin with v1/: try v1/users/me.'),
            (['/pages/abc?a=b', 'a=1'], 'The paths of the API begin with v1/: try v1/pages/abc.'),
            (['v2/users'], ''),
        ]:
            with self.subTest(argv=argv):
                self.assertEqual(expected, self.hint(*argv))
        self.assertEqual([], self.fetches())

    def test_what_is_not_in_the_cache_is_not_fetched_for_it(self):
        self.assertEqual('', self.hint('v1/pages/abc', 'a=1'))
        self.assertEqual('The paths of the API begin with v1/: try v1/users/me.',
                         self.hint('users/me'))
        self.assertEqual([], self.fetches())

    def test_an_old_or_damaged_cache_does_no_harm(self):
        self.write_state(self.CACHE, b'{')
        self.assertEqual('', self.hint('v1/pages/abc', 'a=1'))
        self.publish(OPENAPI)
        self.assertEqual(0, self.describe('ls').code)
        self.clock.wall += 86400 * 365
        self.assertEqual('This path takes GET, PATCH: try -X PATCH.',
                         self.hint('v1/pages/abc', 'a=1'))


class PythonTest(CallCase):
    """`import ntn`, and what it offers. Whatever happens, nothing is printed."""

    def run_python(self, function, env=None):
        """What the function returns, or (message, hint, code) of the CliError that it raises."""
        streams = {'stdout': io.StringIO(), 'stderr': io.StringIO()}
        with mock.patch.dict(os.environ, self.environ(env), clear=True), \
                mock.patch('time.sleep', self.clock.sleep), mock.patch.multiple(sys, **streams):
            try:
                return function()
            except ntn.CliError as error:
                self.assertEqual(error.message, str(error))
                return error.message, error.hint, error.code
            finally:
                self.assertEqual(['', ''], [each.getvalue() for each in streams.values()])

    def request(self, *args, env=None, **options):
        return self.run_python(lambda: ntn.request(*args, **options), env)

    def paginate(self, *args, **options):
        return self.run_python(lambda: list(ntn.paginate(*args, **options)))

    def test_parameters_come_as_pairs_or_as_a_dict_and_as_nothing_else(self):
        for query in ({'id': 5, 'on': True}, [('id', '5'), ('on', True)],
                      (['id', 5], ['on', 'true'])):
            self.request('GET', 'v1/x', query=query, headers={'XY': 'z'})
            sent = self.sandbox.requests.pop()
            self.assertEqual(([('id', '5'), ('on', 'true')], 'z'), (sent.query, sent.header('XY')))
        for query in (['id'], [('a', None)], [('a', b'x')], [('a', 'b', 'c')], [(1, 'x')]):
            with self.subTest(query):
                self.assertEqual(2, self.request('GET', 'v1/x', query=query)[2])
        self.assertEqual(2, self.request('GET', 'v1/x', timeout=None)[2])
        self.assertEqual([], self.sandbox.requests)

    def test_a_location_is_a_redirect_only_where_the_status_says_so(self):
        self.sandbox.on('POST', '/v1/x', Answer(201, '{}', [('Location', '/v1/x/1')]))
        self.assertEqual(201, self.request('POST', 'v1/x').status)

    def test_a_body_that_is_no_json_has_no_pages(self):
        for body in (b'{', b'\xff', b'[1]'):
            with self.subTest(body):
                self.assertEqual(5 if body == b'[1]' else 1,
                                 self.paginate('POST', 'v1/search', body)[2])
        self.assertEqual([], self.sandbox.requests)

    def test_a_response_has_status_headers_body_and_json(self):
        self.sandbox.on('GET', '/v1/x', Answer(201, ' {"a": 1.5}', [('X-A', '1'), ('x-a', '2')],
                                               encoding='gzip'))
        response = self.request('GET', 'v1/x')
        self.assertEqual((201, b' {"a": 1.5}', {'a': 1.5}, ['1', '2'], 'application/json'),
                         (response.status, response.body, response.json(),
                          response.headers.get_all('X-A'), response.headers['content-type']))

    def test_what_is_given_is_what_is_sent(self):
        defaults = [('Host', self.peer), ('Authorization', 'Bearer ' + CANARY),
                    ('Notion-Version', '2026-03-11'), ('User-Agent', ntn.user_agent()),
                    ('Accept', 'application/json'), ('Accept-Encoding', 'gzip, deflate')]
        typed = [('Content-Type', 'application/json')]
        for args, options, method, target, body in [
            (['GET', 'v1/x'], {}, 'GET', '/v1/x', None),
            (['get', '/v1/x'], {'query': [('b', '1 &'), ('a', '\u00e9'), ('b', '')]}, 'GET',
             '/v1/x?b=1%20%26&a=%C3%A9&b=', None),
            (['GET', self.sandbox.origin + '/v1/x?a=b'], {'query': (('c', 'd'),)}, 'GET',
             '/v1/x?a=b&c=d', None),
            (['POST', 'v1/x'], {}, 'POST', '/v1/x', None),
            (['POST', 'v1/x', {'a': [1, None, '\u00e9']}], {}, 'POST', '/v1/x',
             b'{"a": [1, null, "\\u00e9"]}'),
            (['PATCH', 'v1/x', {}], {}, 'PATCH', '/v1/x', b'{}'),
            (['POST', 'v1/x', []], {}, 'POST', '/v1/x', b'[]'),
            (['POST', 'v1/x', False], {}, 'POST', '/v1/x', b'false'),
            (['POST', 'v1/x', 'text'], {}, 'POST', '/v1/x', b'"text"'),
            (['POST', 'v1/x', b'{"a" : 1.10}'], {}, 'POST', '/v1/x', b'{"a" : 1.10}'),
            (['DELETE', 'v1/x'], {'timeout': 5}, 'DELETE', '/v1/x', None),
        ]:
            with self.subTest(args=args, options=options):
                self.sandbox.on(method, '/v1/x', Answer(200, 'done'))
                self.assertEqual(b'done', self.request(*args, **options).body)
                length = [] if body is None and method != 'POST' else [
                    ('Content-Length', str(len(body or b'')))]
                sent = self.sandbox.requests[-1]
                self.assertEqual(
                    (method, target, body or b'',
                     defaults + (typed if body is not None else []) + length),
                    (sent.method, sent.target, sent.body, sent.headers))

    def test_headers_replace_the_defaults_and_a_token_the_stored_one(self):
        self.store_login()
        for env, options, expected in [
            (None, {}, ['Bearer ' + CANARY, '2026-03-11']),
            ({'NOTION_API_TOKEN': None}, {}, ['Bearer ntn_canary_stored', '2026-03-11']),
            (None, {'token': 'ntn_canary_stored'}, ['Bearer ntn_canary_stored', '2026-03-11']),
            ({'NOTION_API_VERSION': '2022-06-28'}, {}, ['Bearer ' + CANARY, '2022-06-28']),
            (None, {'headers': [('notion-version', '2025-09-03'), ('Authorization', 'Bearer x')]},
             ['Bearer x', '2025-09-03']),
            # As on the command line, no token is looked up then.
            ({'NOTION_API_TOKEN': None, 'NOTION_HOME': self.dir + '/none'},
             {'headers': [('Authorization', 'Bearer x')]}, ['Bearer x', '2026-03-11']),
        ]:
            with self.subTest(env=env, options=options):
                self.sandbox.requests.clear()
                self.sandbox.always('GET', '/v1/x', Answer(200))
                result = self.request('GET', 'v1/x', env=env, **options)
                self.assertEqual([expected], [
                    [each.header('Authorization'), each.header('Notion-Version')]
                    for each in self.sandbox.requests], result)

    def test_what_could_become_another_request_is_refused(self):
        for args, options in [
            (['GET', 'v1/x'], {'headers': [('X-A', 'a\r\nX-B: 1')]}),
            (['GET', 'v1/x'], {'headers': [('X-A\r\nX-B', '1')]}),
            (['GET', 'v1/x'], {'headers': [('X A', '1')]}),
            (['GET', 'v1/x'], {'headers': [('X-A', 'a\0')]}),
            (['GET', 'v1/x'], {'headers': [('Host', 'elsewhere.invalid')]}),
            (['POST', 'v1/x', {}], {'headers': [('Content-Length', '1')]}),
            (['POST', 'v1/x', {}], {'headers': [('Transfer-Encoding', 'chunked')]}),
            (['GET /v1/y HTTP/1.1\r\nX:', 'v1/x'], {}), (['GE T', 'v1/x'], {}), (['', 'v1/x'], {}),
            (['GET', 'v1/../x'], {}), (['GET', 'https://elsewhere.invalid/v1/x'], {}),
            (['GET', 'v1/x'], {'token': 'ntn_x\r\nX-B: 1'}), (['GET', 'v1/x'], {'token': ''}),
        ]:
            with self.subTest(args=args, options=options):
                self.sandbox.requests.clear()
                self.clock.sleeps.clear()
                for method in 'GET', 'POST':
                    self.sandbox.always(method, '/v1/x', Answer(200))
                result = self.request(*args, timeout=0.5, **options)
                self.assertIsInstance(result, tuple)
                self.assertEqual(([], []), (self.sandbox.requests, self.clock.sleeps))
                self.assertNotRegex(result[0], 'Cannot reach|request failed')

    def test_failures_are_errors_with_hint_and_code(self):
        tail = '\n  request id: ' + REQUEST_ID
        for answer, options, expected in [
            (Answer.error(404, 'object_not_found', 'Gone.'), {},
             ('Public API request failed (404 Not Found object_not_found): Gone.' + tail, '', 5)),
            (Answer(500, 'x'), {'headers': [('A', 'b')]},
             ('Public API request failed (500 Internal Server Error): the answer is no Notion '
              'error but application/json.', '', 5)),
            (limited('61'), {}, ('Public API request failed (429 Too Many Requests rate_limited): '
                                 'Slow down.' + tail,
                                 'The server asks to wait 61 s before the next try.', 5)),
            (Answer.error(401, 'unauthorized', 'x'), {},
             ('Public API request failed: API token is invalid.' + tail,
              'The token came from NOTION_API_TOKEN. Set it to a valid one.', 4)),
            (Answer.error(401, 'unauthorized', 'x'), {'token': 'ntn_x'},
             ('Public API request failed: API token is invalid.' + tail,
              'The token came from the argument token. Set it to a valid one.', 4)),
            (Answer(301, headers=[('Location', 'https://elsewhere.invalid/x')]), {},
             ('Public API request failed (301 Moved Permanently): it is redirected to '
              'https://elsewhere.invalid, and no redirect is followed.',
              'Check NOTION_API_BASE_URL.', 5)),
            (Answer(200, 'ab', length=3), {},
             ('Cannot reach Notion: %s broke the connection off (the answer broke off, 1 byte '
              'short).' % self.peer, 'Try again.', 5)),
            (cut(), {}, ('Cannot reach Notion: %s broke the connection off (no answer).'
                         % self.peer, 'Try again.', 5)),
        ]:
            with self.subTest(expected[0]):
                self.sandbox.on('POST', '/v1/x', answer)
                self.assertEqual(expected, self.request('POST', 'v1/x', **options))
        self.assertEqual(
            ('Not logged in.', 'Run `ntn login`, or set NOTION_API_TOKEN.', 4),
            self.request('GET', 'v1/x', env={'NOTION_API_TOKEN': None}))
        self.sandbox.on('GET', '/v1/x', Answer(200, 'no JSON'))
        self.assertEqual(('The answer (200 OK) is not JSON.', '', 5),
                         self.run_python(self.request('GET', 'v1/x').json))

    def test_a_limit_holds_for_a_try_as_a_whole(self):
        self.sandbox.on('GET', '/v1/x', hang(self.sandbox.stopping))
        self.assertEqual(
            ('Cannot reach Notion: %s did not answer in time (0.05 s).' % self.peer,
             'Try again later.', 5), self.request('GET', 'v1/x', timeout=0.05))

    def test_it_tries_again_as_the_command_line_does(self):
        for method, answers, waits in [
            ('POST', [limited('2'), limited('3'), Answer(200)], [2, 3]),
            ('GET', [Answer(503), cut(), Answer(200)], [1.25, 2.25]),
        ]:
            with self.subTest(method):
                self.clock.sleeps.clear()
                self.sandbox.on(method, '/v1/x', *answers)
                self.assertEqual(200, self.request(method, 'v1/x').status)
                self.assertEqual(waits, self.clock.sleeps)

    def test_paginate_gives_the_results_of_all_pages(self):
        self.sandbox.results = [{'n': number, 'f': 1.5, 'l': [None, '\u00e9']}
                                for number in range(250)]
        for args in (['GET', 'v1/blocks/x/children'], ['post', 'v1/search'],
                     ['POST', 'v1/search', {'page_size': 7}],
                     ['POST', 'v1/search', b'{"page_size": 50}']):
            with self.subTest(args=args):
                self.sandbox.requests.clear()
                results = self.paginate(*args)
                self.assertEqual(self.sandbox.results, results)
                self.assertEqual([int, float], [type(results[0][key]) for key in 'nf'])
                self.assertEqual(1, len({each.connection for each in self.sandbox.requests}))
        self.paginate('GET', 'v1/blocks/x/children', query=[('page_size', '100'), ('a', 'b')],
                      headers=[('X-A', '1')], token=CANARY)
        self.assertEqual(
            [('page_size=100&a=b', '1'), ('page_size=100&a=b&start_cursor=cursor-100', '1'),
             ('page_size=100&a=b&start_cursor=cursor-200', '1')],
            [(each.target.partition('?')[2], each.header('X-A'))
             for each in self.sandbox.requests[-3:]])

    def test_paginate_asks_no_sooner_than_it_must_and_lets_go_when_closed(self):
        def consume():
            results = ntn.paginate('GET', 'v1/x')
            counts = [len(self.sandbox.requests)]
            for _ in range(3):
                next(results)
                counts.append(len(self.sandbox.requests))
            results.close()
            return counts
        self.sandbox.on('GET', '/v1/x', page([1, 2], 'c'), page([3, 4], 'd'))
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            self.assertEqual([0, 1, 1, 2], self.run_python(consume))

    def test_paginate_retries_and_its_failure_names_the_cursor(self):
        self.sandbox.on('GET', '/v1/x', limited('2'), page([1], 'c'),
                        Answer.error(400, 'validation_error', 'No.'))
        seen = []
        error = self.run_python(lambda: seen.extend(ntn.paginate('GET', 'v1/x')))
        self.assertEqual(([1], [2]), (seen, self.clock.sleeps))
        self.assertEqual(
            ('Public API request failed (400 Bad Request validation_error): No.\n  request id: '
             + REQUEST_ID, 5), (error[0], error[2]))
        self.assertIn('`start_cursor==c`', error[1])

    def test_paginate_has_no_other_errors(self):
        self.sandbox.on('GET', '/v1/x', Answer(200, '{"results": [%s]}' % ('9' * 5000)))
        results = self.paginate('GET', 'v1/x')  # from 3.11 on Python refuses so long a number
        self.assertIn(results[-1], (10 ** 5000 - 1, 5))

    def test_a_process_that_only_imports_it_prints_nothing(self):
        self.sandbox.on('GET', '/v1/x', limited('0'), Answer(503, headers=[('Retry-After', '0')]),
                        Answer(200, '[]'))
        program = ('import sys; sys.path.insert(0, sys.argv[1])\nimport ntn\n'
                   'assert ntn.request("GET", "v1/x").json() == []\n'
                   'assert len(list(ntn.paginate("POST", "v1/search"))) == 3\n'
                   'try:\n    ntn.request("GET", "v1/pages/missing")\n'
                   'except ntn.CliError as error:\n    sys.exit(40 + error.code)\n')
        process = subprocess.Popen(
            [sys.executable, '-c', program, HERE], env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(reap, process)
        out, err = process.communicate(timeout=30)
        self.assertEqual(Result(45, '', ''), self.checked(process.returncode, out, err, False))


@unittest.skipUnless(os.environ.get('NTN_TEST_MEMORY') == '1',
                     'the peak memory is measured only with NTN_TEST_MEMORY=1')
class Memory(ApiCase):
    """Large answers, uploads and lists take no more memory than a small request.

    This moves hundreds of megabytes, so it runs only where NTN_TEST_MEMORY=1 is set.
    """
    LIMIT = 8 << 20  # bytes more than a small request
    # The kernel counts what a process had before exec as its own, so that ntn.py is not started
    # by this large process but by a small one, which reports its peak.
    MEASURE = ('import os, sys\n'
               'child = os.fork()\n'
               'if not child:\n'
               '    os.execv(sys.argv[2], sys.argv[2:])\n'
               '_, status, usage = os.wait4(child, 0)\n'
               'with open(sys.argv[1], "w") as file:\n'
               '    file.write("%d %d" % (status, usage.ru_maxrss))\n')

    class Discarding(Handler):
        """Forgets the body of a request but for its size."""

        def read_body(self):
            left = size = int(self.headers.get('Content-Length') or 0)
            while left:
                left -= len(self.rfile.read(min(left, 1 << 16)))
            return b'%d' % size

    def measure(self, *argv):
        """(peak memory in bytes, size of the output) of a run that ends well."""
        report, output = os.path.join(self.dir, 'report'), os.path.join(self.dir, 'output')
        with open(output, 'wb') as file:
            process = self.spawn('api', *argv, stdin=subprocess.DEVNULL, stdout=file, prefix=[
                sys.executable, '-I', '-S', '-c', self.MEASURE, report])
            self.assertEqual(b'', process.communicate(timeout=300)[1])
        with open(report) as file:
            status, peak = map(int, file.read().split())
        self.assertEqual(0, status)
        return peak * (1 if sys.platform == 'darwin' else 1024), os.path.getsize(output)

    def check_peak(self, size, *argv):
        small, _ = self.measure('v1/users/me')
        peak, printed = self.measure(*argv)
        self.assertEqual(size, printed)
        self.assertLess(peak - small, self.LIMIT)

    def test_200_pages(self):
        self.sandbox.results = [{'number': number, 'text': 'x' * 1000} for number in range(20000)]
        lines = sum(len(json.dumps(each, separators=(',', ':'))) + 1
                    for each in self.sandbox.results)
        self.check_peak(lines, 'v1/search', '-X', 'POST', '--paginate')

    def test_an_upload_of_100_mib(self):
        path = os.path.join(self.dir, 'sparse')
        with open(path, 'wb') as file:
            file.truncate(100 << 20)
        self.sandbox.server.RequestHandlerClass = self.Discarding
        self.sandbox.on('POST', '/v1/x', Answer(200, 'done', content_type='text/plain'))
        self.check_peak(4, 'v1/x', '--file', path)
        self.assertGreater(int(self.sandbox.requests[-1].body), 100 << 20)

    def test_an_answer_of_150_mib(self):
        size = 150 << 20
        for name, header in ('a length', 'Content-Length: %d' % size), ('the end', 'X-A: 1'):
            with self.subTest(name):
                self.sandbox.on('GET', '/v1/x', drip(itertools.chain(
                    [head(header)], itertools.repeat(b'x' * 65536, size // 65536))))
                self.check_peak(size, 'v1/x')

    def test_a_compressed_answer_of_150_mib(self):
        size = 150 << 20
        compressor = zlib.compressobj(wbits=31)
        data = b''.join([compressor.compress(bytes(1 << 20)) for _ in range(150)])
        data += compressor.flush()
        self.sandbox.on('GET', '/v1/x', Answer(
            200, data, [('Content-Encoding', 'gzip')], content_type='text/plain'))
        self.check_peak(size, 'v1/x')


@unittest.skipUnless(os.environ.get('NTN_TEST_OPENAPI'),
                     'NTN_TEST_OPENAPI does not name the OpenAPI document of Notion')
class RealSpecification(DescriptionCase):
    """Notion's own description of its API, as `.ci/run` fetches it, instead of our small one."""

    def setUp(self):
        super().setUp()
        with open(os.environ['NTN_TEST_OPENAPI'], 'rb') as file:
            self.sandbox.openapi = file.read()
        self.document = json.loads(self.sandbox.openapi.decode('utf-8'))
        self.operations = sorted(
            (path, method.upper()) for path, item in self.document['paths'].items()
            for method in item if method in ('get', 'post', 'put', 'patch', 'delete'))
        self.assertGreater(len(self.operations), 15)

    def test_ls_lists_every_operation(self):
        result = self.describe('ls')
        self.assertEqual((0, ''), (result.code, result.err))
        self.assertEqual(self.operations, [
            (path, method) for method, path, _ in
            (line.split('\t') for line in result.out.splitlines())])

    def test_the_spec_of_every_operation_is_whole(self):
        for path, method in self.operations:
            with self.subTest(path=path, method=method):
                concrete = re.sub(r'\{\w+\}', '1f0e8c9a-5b7d-4e2a-9c3b-6d8f7a1b2c3d', path)
                reduced = self.read_json(self.describe(concrete, '-X', method, '--spec'))
                self.assertEqual([], self.dangling(reduced))
                self.assertEqual(self.document['paths'][path][method.lower()],
                                 reduced['paths'][path][method.lower()])
                self.assertEqual(0, self.describe(concrete, '-X', method, '--help').code)


# ---- Terminal ------------------------------------------------------------------------------------

OTHER_WORKSPACE = '66666666-7777-4888-8999-aaaaaaaaaaaa'
MENU = ('Which workspace do you want to use?\n\n'
        '  1  Acme (default)\n  2  Globex\n  3  Authenticate with new workspace\n\n')
PERSON = ('stdin', 'stderr')  # the streams that have to be terminals


class TerminalCase(Case):

    def setUp(self):
        super().setUp()
        self.env['SSH_CONNECTION'] = '192.0.2.1 9 192.0.2.2 22'  # no browser unless asked for

    def login_text(self, number=1, browser=False):
        """What a login says before it waits."""
        code = 'DP9-QL%d' % (number + 4)
        return ('Open this URL in your browser to log in:\n\n'
                '  %s/workers/cli-login?verificationCode=%s\n\n'
                'Confirm that this verification code matches what you see in the browser:\n\n'
                '  %s\n\n' % (self.sandbox.origin, code, code)
                + ('' if browser else
                   'No browser was opened here: open the URL wherever you like.\n'))

    def logged_in(self, name='Acme'):
        return '✔ Logged in to workspace %s\n  The token is stored in %s/auth.json\n' % (
            name, self.home)

    def approve_when_asked(self, *args):
        """The user is so quick that the first poll finds the login approved."""
        def answer(request, handler):
            self.sandbox.approve(*args)
            return self.sandbox.redeem_login(request)
        self.sandbox.on('POST', REDEEM, answer)

    def store_two_logins(self):
        self.store_login()
        self.store_login('ntn_canary_globex', OTHER_WORKSPACE, 'Globex')
        self.write_state('config.json', {'defaultWorkspaceIds': {'prod': WORKSPACE}})

    def make_fifo(self, name):
        """(path, descriptor) of a FIFO that this process keeps open for both directions."""
        path = os.path.join(self.dir, name)
        os.mkfifo(path)
        descriptor = os.open(path, os.O_RDWR)
        self.addCleanup(os.close, descriptor)
        return path, descriptor

    def make_command(self, name, script='exit 0'):
        """A shell script in a directory of its own."""
        path = os.path.join(self.dir, 'bin-' + name, name)
        os.mkdir(os.path.dirname(path))
        with open(path, 'w') as file:
            file.write('#!/bin/sh\n%s\n' % script)
        os.chmod(path, 0o755)
        return path


class TerminalLogin(TerminalCase):

    def test_login_opens_the_browser_waits_and_ends_logged_in(self):
        # A browser of the worst kind: it prints, and does not end before its user closes it.
        (opened, descriptor), (closed, _) = self.make_fifo('opened'), self.make_fifo('closed')
        browser = self.make_command('browser', 'exec 3<%s; echo noise; echo noise >&2; test -t 0; '
                                    'printf "%%s." $? "$@" $# >%s; cat <&3' % (closed, opened))
        terminal = self.terminal('login', env={'BROWSER': browser})
        terminal.expect('left')
        self.assertTrue(select.select([descriptor], [], [], 10)[0])
        url = '%s/workers/cli-login?verificationCode=DP9-QL5' % self.sandbox.origin
        self.assertEqual('1.%s.1.' % url, to_text(os.read(descriptor, 4096)))
        self.sandbox.approve()
        self.assertEqual(0, terminal.wait())
        lines = terminal.output.split('\r')
        self.assertEqual(self.login_text(browser=True), lines.pop(0))
        self.assertEqual('\x1b[K' + self.logged_in(), lines.pop())
        self.assertGreater(len(lines), 1)
        for line in lines:
            self.assertRegex(line, r'\A(Waiting for approval in the browser, (9:5\d|10:00) left)?'
                             r'\x1b\[K\Z')
        self.assertEqual({WORKSPACE: 'ntn_canary_login_1'}, self.state('auth.json'))
        self.assertIsNone(self.state(PENDING))

    def test_ctrl_c_while_waiting_leaves_the_login_to_be_finished(self):
        terminal = self.terminal('login')
        terminal.expect('left\x1b[K')
        terminal.send('\x03')
        self.assertEqual(130, terminal.wait())
        kept = 'The login is still pending: run `%s` to finish it.\n' % POLL_COMMAND
        output = terminal.output.replace('^C', '')  # the terminal's echo, which comes any time
        self.assertEqual(self.login_text(), output.split('\r')[0])
        self.assertEqual(kept, output.split('\x1b[K')[-1])
        self.sandbox.approve()
        self.assertEqual(Result(0, '', self.logged_in()), self.ntn('login', 'poll'))

    def test_ctrl_c_in_the_menu_changes_nothing(self):
        self.store_two_logins()
        terminal = self.terminal('login')
        terminal.expect('Number [1]: ')
        terminal.send('\x03')
        self.assertEqual(130, terminal.wait())
        self.assertEqual(MENU + 'Number [1]: ', terminal.output.replace('^C', '').rstrip('\n'))
        self.assertEqual({'prod': WORKSPACE}, self.state('config.json')['defaultWorkspaceIds'])
        self.assertEqual([], self.sandbox.requests)

    def test_a_person_types_into_the_menu(self):
        self.store_two_logins()
        terminal = self.terminal('login')
        terminal.expect('Number [1]: ')
        terminal.send('Globex\n')
        terminal.expect('Give a number from 1 to 3.\nNumber [1]: ')
        terminal.send('2\n')
        self.assertEqual(0, terminal.wait())
        self.assertEqual(MENU + 'Number [1]: Globex\nGive a number from 1 to 3.\n'
                         'Number [1]: 2\n✔ Switched to workspace Globex\n', terminal.output)

    def test_the_waiting_line_fits_a_narrow_terminal(self):
        terminal = self.terminal('login', cols=20)
        terminal.expect('\x1b[K')
        terminal.send('\x03')
        self.assertEqual(130, terminal.wait())
        line = terminal.output.split('\r')[1]
        self.assertRegex(line, r'\A[^\n]{10,19}\x1b\[K')

    def test_without_a_terminal_for_stdin_and_stderr_the_login_has_two_steps(self):
        for name in PERSON:
            with self.subTest(name):
                number = len(self.sandbox.sessions) + 1
                terminal = self.terminal('login', **{name: subprocess.PIPE})
                self.assertEqual(0, terminal.wait())
                instructions = self.login_text(number, browser=True) + (
                    'Then run this command to complete login:\n\n  %s\n' % POLL_COMMAND)
                self.assertEqual(instructions, terminal.output)
        self.assertEqual([INIT] * 2, [request.path for request in self.sandbox.requests])

    def test_nothing_moves_the_cursor_where_the_terminal_cannot(self):
        for term, live in (('dumb', False), ('xterm', True), (None, True)):
            with self.subTest(TERM=term):
                shutil.rmtree(self.home, ignore_errors=True)
                number = len(self.sandbox.sessions) + 1
                clock = self.fake_clock(on_sleep=self.sandbox.approve)
                result = self.call('login', clock=clock, tty=PERSON, env={'TERM': term})
                line = r'\rWaiting for approval in the browser, (10:00|9:5\d) left\x1b\[K'
                shown = re.sub('(%s)+' % line, '(counting down)', result.err)
                self.assertEqual((0, '', self.login_text(number)
                                  + '(counting down)\r\x1b[K' * live + self.logged_in()),
                                 (result.code, result.out, shown))

    def test_json_for_programs_and_words_for_the_person(self):
        self.approve_when_asked()
        result = self.call('login', '--json', tty=PERSON)
        self.assertEqual((0, self.login_text() + self.logged_in()), (result.code, result.err))
        self.assertEqual({'status': 'confirmed', 'workspace_id': WORKSPACE,
                          'workspace_name': 'Acme', 'stored_in': self.home + '/auth.json'},
                         json.loads(result.out))
        result = self.call('login', '--json', stdin=b'1\n', tty=PERSON)
        self.assertEqual('switched', json.loads(result.out)['status'])

    def test_no_browser_is_taken_at_its_word_in_a_terminal(self):
        result = self.call('login', '--no-browser', tty=PERSON + ('stdout',))
        self.assertEqual((0, ''), (result.code, result.err))
        self.assertIn('login poll\n', result.out)

    def test_a_hostile_workspace_name_stays_on_its_line(self):
        for name, shown in (('\x1b[2J\x1b]0;x\x07', '\\u001b[2J\\u001b]0;x\\u0007'),
                            ('a\r\n  9  Acme', 'a 9 Acme'),
                            ('\u202eemcA\u2066\x9b1m', '\\u202eemcA\\u2066\\u009b1m')):
            with self.subTest(name=name):
                shutil.rmtree(self.home, ignore_errors=True)
                self.approve_when_asked(None, (WORKSPACE, name))
                number = len(self.sandbox.sessions) + 1
                result = self.call('login', tty=PERSON)
                self.assertEqual(Result(0, '', self.login_text(number) + self.logged_in(shown)),
                                 result)
                result = self.call('login', stdin=b'\n', tty=PERSON)
                menu = MENU.replace('Acme', shown).replace('  2  Globex\n  3', '  2')
                self.assertEqual(
                    Result(0, '', menu + 'Number [1]: ✔ Switched to workspace %s\n' % shown),
                    result)


class WorkspaceMenu(TerminalCase):

    def setUp(self):
        super().setUp()
        self.store_two_logins()

    def login(self, stdin=b'', **env):
        return self.call('login', stdin=stdin, tty=PERSON, env=env)

    def default(self):
        return self.state('config.json')['defaultWorkspaceIds']['prod']

    def test_what_is_typed_decides(self):
        again = 'Give a number from 1 to 3.\nNumber [1]: '
        for typed, asked, name in (
                (b'\n', '', 'Acme'), (b' 1 \n', '', 'Acme'), (b'2\n', '', 'Globex'),
                (b'02\n', '', 'Globex'), (b'2', '', 'Globex'), (b'2\r\n', '', 'Globex'),
                (b'0\n4\n-1\n1.0\nx\n\xff\n2\n', again * 6, 'Globex'),
                ('٢\n2\n'.encode(), again, 'Globex'), (b'9' * 5000 + b'\n1\n', again, 'Acme')):
            with self.subTest(typed=typed[:40]):
                self.assertEqual(
                    Result(0, '', '%sNumber [1]: %s✔ Switched to workspace %s\n'
                           % (MENU, asked, name)), self.login(typed))
                self.assertEqual(WORKSPACE if name == 'Acme' else OTHER_WORKSPACE, self.default())
                self.write_state('config.json', {'defaultWorkspaceIds': {'prod': WORKSPACE}})
        self.assertEqual([], self.sandbox.requests)

    def test_the_end_of_input_is_no_choice(self):
        for typed, asked in ((b'', ''), (b'x\n', 'Give a number from 1 to 3.\nNumber [1]: ')):
            with self.subTest(typed=typed):
                self.assertEqual(
                    Result(130, '', MENU + 'Number [1]: ' + asked
                           + '\nerror: No workspace was chosen.\n'), self.login(typed))
        self.assertEqual(WORKSPACE, self.default())
        self.assertEqual([], self.sandbox.requests)

    def test_the_last_entry_is_a_new_login(self):
        self.approve_when_asked(None, ('new', 'Initech'))
        self.assertEqual(
            Result(0, '', MENU + 'Number [1]: ' + self.login_text() + self.logged_in('Initech')),
            self.login(b'3\n'))
        self.assertEqual('new', self.default())
        self.assertEqual({WORKSPACE, OTHER_WORKSPACE, 'new'}, set(self.state('auth.json')))

    def test_without_a_default_the_new_login_is_preset(self):
        self.write_state('config.json', {'version': '1'})
        self.approve_when_asked()
        self.assertEqual(
            Result(0, '', MENU.replace(' (default)', '') + 'Number [3]: ' + self.login_text()
                   + self.logged_in()), self.login(b'\n'))

    def test_a_workspace_whose_token_is_gone_needs_the_browser(self):
        self.write_state('auth.json', {})
        self.approve_when_asked()
        self.assertEqual(
            Result(0, '', MENU + 'Number [1]: The token of workspace Acme is gone, so a new login '
                   'is needed.\n' + self.login_text() + self.logged_in()), self.login(b'\n'))

    def test_the_variable_skips_the_menu(self):
        for wanted in (OTHER_WORKSPACE, OTHER_WORKSPACE.replace('-', '')):
            with self.subTest(NOTION_WORKSPACE_ID=wanted):
                self.assertEqual(Result(0, '', '✔ Switched to workspace Globex\n'),
                                 self.login(NOTION_WORKSPACE_ID=wanted))
                self.assertEqual(OTHER_WORKSPACE, self.default())
        self.approve_when_asked(None, ('unknown', 'Initech'))
        self.assertEqual(Result(0, '', self.login_text() + self.logged_in('Initech')),
                         self.login(NOTION_WORKSPACE_ID='unknown'))

    def test_the_option_skips_the_menu(self):
        for wanted in (OTHER_WORKSPACE, OTHER_WORKSPACE.replace('-', ''), 'Globex'):
            for tty in (PERSON, ()):
                with self.subTest(workspace=wanted, tty=tty):
                    self.assertEqual(Result(0, '', '✔ Switched to workspace Globex\n'),
                                     self.call('login', '--workspace', wanted, tty=tty))
        self.assertEqual([], self.sandbox.requests)

    def test_a_token_in_the_environment_is_pointed_out(self):
        warning = ('warning: NOTION_API_TOKEN is set and takes precedence over what this login '
                   'stores.\n  hint: Unset it to use the login.\n')
        self.assertEqual(
            Result(0, '', warning + MENU + 'Number [1]: ✔ Switched to workspace Acme\n'),
            self.login(b'\n', NOTION_API_TOKEN=CANARY))

    def test_workspaces_of_another_environment_are_not_offered(self):
        self.approve_when_asked()
        self.assertEqual(Result(0, '', self.login_text() + self.logged_in()),
                         self.login(NOTION_ENV='dev'))


class BrowserLaunch(TerminalCase):
    URL = 'https://app.notion.com/workers/cli-login?verificationCode=DP9-QL5'

    def start_browser(self, env):
        """Whether open_browser says that it started one, and the commands it ran."""
        class Process:
            def wait(self):
                return 0

        def start(command, **options):
            if command[0] != sys.executable:  # webbrowser asks xdg-settings, if there is one
                raise FileNotFoundError
            commands.append(command)
            return Process()

        commands = []
        saved = sys.platform, subprocess.Popen, dict(os.environ), sys.modules.get('webbrowser')
        sys.platform, subprocess.Popen = 'linux', start
        os.environ.clear()
        os.environ.update(env)
        sys.modules.pop('webbrowser', None)  # it looks for browsers when it is first used
        try:
            return ntn.open_browser(self.URL, ntn.Console(environ=env)), commands
        finally:
            sys.platform, subprocess.Popen = saved[:2]
            os.environ.clear()
            os.environ.update(saved[2])
            sys.modules['webbrowser'] = saved[3]
            if saved[3] is None:
                del sys.modules['webbrowser']

    def test_a_browser_is_started_only_where_a_person_can_see_it(self):
        paths = {name: os.path.dirname(self.make_command(name)) for name in (
            'firefox', 'xdg-open', 'w3m', 'lynx', 'links', 'elinks', 'www-browser')}
        script = self.make_command('script')
        x11 = {'DISPLAY': ':0', 'TERM': 'xterm'}  # without TERM no text browser is thought of
        ssh = {'SSH_CONNECTION': '192.0.2.1 1 192.0.2.2 22'}
        opened = (True, [[sys.executable, '-I', '-m', 'webbrowser', self.URL]])
        rows = [
            ('firefox', x11, True), ('xdg-open', x11, True),
            ('firefox', {}, False), ('firefox', {'DISPLAY': ''}, False),
            ('firefox', dict(x11, **ssh), False), ('firefox', dict(x11, BROWSER=''), True),
            ('w3m', x11, False), ('lynx', x11, False), ('links', x11, False),
            ('elinks', x11, False), ('www-browser', x11, False), (None, x11, False),
            ('w3m', dict(x11, BROWSER=script), True), (None, dict(ssh, BROWSER=script), True),
            (None, {'BROWSER': script}, True), (None, {'BROWSER': script + ' --new %s'}, True),
            # webbrowser itself has known of Wayland since 3.7 only.
            ('firefox', {'WAYLAND_DISPLAY': 'wayland-0'}, sys.version_info >= (3, 7)),
        ]
        for name, variables, expected in rows:
            with self.subTest(name=name, variables=variables):
                env = dict(variables, PATH=paths.get(name, self.tmp))
                self.assertEqual(opened if expected else (False, []), self.start_browser(env))


# ---- Doctor, debug and help ----------------------------------------------------------------------

REPAIR = '\n  hint: Repair it, or move it away and run `ntn login` again.'
LOGIN_HINT = '\n  hint: Run `ntn login`, or set NOTION_API_TOKEN.'
KEYRING_0 = '\n' + KEYCHAIN_HINT.rstrip()
ACME = 'Acme (%s)' % WORKSPACE


class DoctorCase(TlsCase):
    """A login that works, and a doctor who is asked about it under the clock of `fake_clock`."""

    def setUp(self):
        super().setUp()
        del self.env['NOTION_API_TOKEN']
        self.env.update(SSL_CERT_FILE=os.path.join(self.dir, '127.0.0.1'),
                        SSL_CERT_DIR=os.path.join(self.dir, 'none'))
        self.store_login()
        self.auth = os.path.join(self.home, 'auth.json')
        self.clock = self.fake_clock()

    def check_clean(self, text, secrets_ok=False):
        super().check_clean(text, secrets_ok)
        self.assertNotIn('canary', text)  # all secrets have it, those of the proxy too

    def doctor(self, *argv, **variables):
        """Run it with what the standard library looks up in the environment by itself."""
        with mock.patch.dict(os.environ, self.environ(variables), clear=True), \
                mock.patch.object(ntn, '_tls_context', None):
            return self.call('doctor', *argv, env=variables, clock=self.clock)

    def lines(self, changes=()):
        """{label: line and hint} where all is well but for `changes`."""
        return dict([
            ('CLI version', '✔ ' + ntn.VERSION),
            ('Python', '✔ %s, %s' % (sys.version.split()[0], sys.executable)),
            ('Config directory', '✔ ' + self.home),
            ('State files', '✔ config.json, workspaces.json, auth.json'),
            ('File modes', '✔ private'),
            ('Keychain', '- not used: NOTION_KEYRING is 0'),
            ('Default workspace', '✔ ' + ACME),
            ('Resolved workspace', '✔ ' + ACME),
            ('Token source', '✔ ' + self.auth),
            ('Pending login', '✔ none'),
            ('Proxy', '✔ none'),
            ('CA certificates', '✔ 1 certificate'),
            ('Clock', '✔ right to 1 second'),
            ('Public API access', '✔ %s accepts the token' % self.sandbox.origin),
        ], **dict(changes))

    def text(self, changes=()):
        return ''.join('%-20s %s\n' % line for line in self.lines(changes).items())

    def check(self, code, changes, result):
        self.assertEqual(Result(code, self.text(changes), ''), result)

    def no_answer(self, what, hint):
        return {'Clock': "- the server's time is not known",
                'Public API access': '! Cannot reach Notion: %s\n  hint: %s' % (what, hint)}

    @property
    def signed_out(self):
        """What is different without a login."""
        return {'Default workspace': '✔ none', 'Resolved workspace': '✔ none',
                'Token source': '! Not logged in.' + LOGIN_HINT,
                'Public API access': '✔ %s is reachable' % self.sandbox.origin}

    def forget(self):
        shutil.rmtree(self.home)
        return dict(self.signed_out, **{
            'Config directory': '✔ %s (the first login makes it)' % self.home,
            'State files': '✔ none'})

    def hurry(self):
        """Give servers little time; the messages tell of the usual limit."""
        class Impatient(ntn.Watchdog):
            def __init__(self, limit):
                super().__init__(0.1)
                self.limit = limit
        return mock.patch.object(ntn, 'Watchdog', Impatient)


class DoctorApiTest(DoctorCase):
    def test_a_login_that_works_is_healthy(self):
        self.check(0, {}, self.doctor())

    def test_without_a_login_the_api_is_asked_all_the_same(self):
        self.check(4, self.forget(), self.doctor())
        self.assertIsNone(self.sandbox.requests[0].header('Authorization'))

    def test_a_token_from_the_environment_needs_no_login(self):
        self.sandbox.valid_tokens.add(CANARY)
        changes = dict(self.forget(), **{
            'Resolved workspace': '✔ the one that NOTION_API_TOKEN belongs to',
            'Token source': '✔ NOTION_API_TOKEN',
            'Public API access': '✔ %s accepts the token' % self.sandbox.origin})
        self.check(0, changes, self.doctor(NOTION_API_TOKEN=CANARY))

    def test_each_answer_is_told_apart(self):
        failed = ': Public API request failed '
        again = 'Wait, then try again; see Notion\'s status page.'
        elsewhere = 'Check NOTION_API_BASE_URL and NOTION_API_VERSION.'
        page = '<html>Attention Required!</html>'
        for name, answer, code, what, hint in [
            ('token refused', Answer.error(401, 'unauthorized', 'API token is invalid.'), 4,
             'Public API request failed: API token is invalid. request id: ' + REQUEST_ID,
             'The token came from %s. Run `ntn login` to get a new one.' % self.auth),
            ('forbidden', Answer.error(403, 'restricted_resource', 'Insufficient permissions.'), 5,
             'Forbidden%s(403 Forbidden restricted_resource): Insufficient permissions. '
             'request id: %s' % (failed, REQUEST_ID),
             "Give the token's integration the capability to read users, or ask an admin of the "
             "workspace."),
            ('blocked at the edge', Answer(403, page, content_type='text/html; charset=UTF-8'), 5,
             'Blocked at the network edge, before the API%s(403 Forbidden): the answer is no '
             'Notion error but text/html.' % failed,
             'Try another network, or ask who runs this one to let %s through.'
             % self.sandbox.origin),
            ('rate limited', Answer.error(429, 'rate_limited', 'Slow down.'), 5,
             'Rate limited%s(429 Too Many Requests rate_limited): Slow down. request id: %s'
             % (failed, REQUEST_ID), 'Wait, then try again.'),
            ('rate limited for long', Answer(429, '{}', [('Retry-After', '77')]), 5,
             'Rate limited%s(429 Too Many Requests): the answer is no Notion error but '
             'application/json.' % failed, 'The server asks to wait 77 s before the next try.'),
            ('server error', Answer.error(500, 'internal_server_error', 'Oops.'), 5,
             'Server error%s(500 Internal Server Error internal_server_error): Oops. '
             'request id: %s' % (failed, REQUEST_ID), again),
            ('gateway', Answer(502, page, content_type='text/html'), 5,
             'Server error%s(502 Bad Gateway): the answer is no Notion error but text/html.'
             % failed, again),
            ('redirected', Answer(302, '', [('Location', 'https://portal.example/login?x')]), 5,
             'Redirected%s(302 Found): it is redirected to https://portal.example, and no redirect '
             'is followed.' % failed, 'Check NOTION_API_BASE_URL.'),
            ('another API', Answer(404, page, content_type='text/html'), 5,
             'Refused%s(404 Not Found): the answer is no Notion error but text/html.' % failed,
             elsewhere),
            ('version', Answer.error(400, 'missing_version', 'Unknown\x1b[2J version.'), 5,
             'Refused%s(400 Bad Request missing_version): Unknown\\u001b[2J version. request id: %s'
             % (failed, REQUEST_ID), elsewhere),
        ]:
            with self.subTest(name):
                self.sandbox.on('GET', '/v1/users/me', answer)
                change = '! %s\n  hint: %s' % (what, hint)
                self.check(code, {'Public API access': change}, self.doctor())

    def test_what_is_not_notion_does_not_pass_for_it(self):
        for name in 'signed in', 'signed out':
            if name == 'signed out':
                self.forget()
            for content_type in 'text/html', 'application/json':
                with self.subTest(name, content_type=content_type):
                    self.sandbox.on('GET', '/v1/users/me', Answer(
                        200, '<p>Welcome to Hotel Wifi</p>', content_type=content_type))
                    result = self.doctor()
                    self.assertEqual(5 if name == 'signed in' else 4, result.code)
                    self.assertRegex(result.out, r'\nPublic API access    ! .+\n  hint: .+\n\Z')

    def test_a_stranger_who_asks_for_a_password_does_not_make_a_token_invalid(self):
        self.forget()
        self.sandbox.on('GET', '/v1/users/me', Answer(401, 'Who?', content_type='text/html'))
        result = self.doctor()
        self.assertEqual(4, result.code)
        self.assertRegex(result.out, r'\nPublic API access    ! .+\n')
        for wrong in 'token is invalid', 'Authorization input':
            self.assertNotIn(wrong, result.out)

    def test_a_token_that_the_server_repeats_is_not_shown(self):
        def repeat(request, handler):
            return Answer.error(403, 'x', 'Not for %s.' % request.header('Authorization'))
        for options in [], ['--json']:
            with self.subTest(options=options):
                self.sandbox.on('GET', '/v1/users/me', repeat)
                result = self.doctor(*options)
                self.assertEqual((5, ''), (result.code, result.err))
                self.assertIn('Not for Bearer [redacted].', result.out)

    def test_the_clock_is_compared_with_the_servers(self):
        hint = "\n  hint: Set this machine's clock: TLS depends on it."
        for ahead, line in [
            (0, '✔ right to 1 second'), (-2, '✔ right to 2 seconds'),
            (120, '✔ right to 120 seconds'), (-120, '✔ right to 120 seconds'),
            (121, '! 0:02:01 slow' + hint), (-121, '! 0:02:01 fast' + hint),
            (100 * 3600, '! 100:00:00 slow' + hint), (-3661, '! 1:01:01 fast' + hint),
        ]:
            with self.subTest(ahead):
                self.sandbox.date_offset = ahead
                self.check(0, {'Clock': line}, self.doctor())

    def test_a_server_that_tells_no_time_tells_nothing_of_the_clock(self):
        self.sandbox.send_date = False
        for headers in [], [('Date', 'yesterday')]:
            with self.subTest(headers):
                self.sandbox.on('GET', '/v1/users/me', Answer.json(
                    {'object': 'user'}, headers=headers))
                self.check(0, {'Clock': "- the server's time is not known"}, self.doctor())


class DoctorNetworkTest(DoctorCase):
    def test_a_refused_connection(self):
        self.sandbox.port = self.free_port()
        self.check(5, self.no_answer(self.peer + ' refuses connections.',
                                     'Check that a server listens there, or whether this network '
                                     'needs HTTPS_PROXY.'),
                   self.doctor(NOTION_API_BASE_URL=self.sandbox.origin))

    def test_a_server_that_is_silent_or_cannot_be_reached_is_late(self):
        late = '%s did not answer in time (8 s).'
        with self.hurry(), socket.socket() as full, socket.socket() as first, \
                socket.socket() as second:
            self.sandbox.on('GET', '/v1/users/me', hang(self.sandbox.stopping))
            self.check(5, self.no_answer(late % self.peer, 'Try again later.'), self.doctor())
            full.bind(('127.0.0.1', 0))
            full.listen(0)
            for caller in first, second:  # its queue is full then
                caller.setblocking(False)
                caller.connect_ex(full.getsockname())
            self.sandbox.port = full.getsockname()[1]
            self.check(5, self.no_answer(late % self.peer, 'Try again later.'),
                       self.doctor(NOTION_API_BASE_URL=self.sandbox.origin))

    def test_a_name_that_is_not_known(self):
        error = socket.gaierror(-2, 'Name or service not known')
        with mock.patch('socket.getaddrinfo', side_effect=error):
            result = self.doctor(NOTION_API_BASE_URL='https://notion.invalid')
        self.check(5, self.no_answer(
            'the name notion.invalid cannot be resolved (Name or service not known).',
            'Check the network connection and the name server.'), result)

    def test_a_connection_that_breaks(self):
        self.sandbox.on('GET', '/v1/users/me', cut())
        self.check(5, self.no_answer(self.peer + ' broke the connection off (no answer).',
                                     'Try again.'), self.doctor())

    def test_tls_that_works_and_tls_that_does_not(self):
        old = sys.version_info < (3, 7)  # there ssl does not tell why
        why = 'CERTIFICATE_VERIFY_FAILED' if old else 'self-signed certificate'
        untrusted = ('the certificate of 127.0.0.1 is %snot trusted (%s).' % (
                         'expired or ' if old else '', why),
                     'If your network inspects TLS, set SSL_CERT_FILE to its CA certificate.')
        for name, trusted, problem in [
            ('127.0.0.1', None, None),
            ('127.0.0.1', 'elsewhere.invalid', untrusted),
            ('elsewhere.invalid', None, (
                'the certificate is not one for 127.0.0.1.', 'Something between here and there '
                'answers in its place: a proxy or a wrong address.')),
            ('in 2020', None, untrusted if old else (
                'the certificate of 127.0.0.1 has expired.', "Check this machine's clock.")),
        ]:
            with self.subTest(name=name, trusted=trusted):
                self.sandbox.stop()
                self.sandbox.start()
                result = self.doctor(**self.serve_tls(name, trusted))
                result = result._replace(out=result.out.replace('self signed', 'self-signed'))
                self.check(5 if problem else 0, self.no_answer(*problem) if problem else {
                    'Public API access': '✔ https://%s accepts the token' % self.peer}, result)

    def test_no_certificates_at_all(self):
        self.write('empty.pem', '')
        for name, what in [
            ('empty.pem',
             'SSL_CERT_FILE names %s/empty.pem, which holds no certificate' % self.dir),
            ('missing.pem', 'SSL_CERT_FILE names %s/missing.pem, which is no file' % self.dir),
        ]:
            with self.subTest(name):
                self.sandbox.stop()
                self.sandbox.start()
                hint = 'Unset SSL_CERT_FILE, or set it to a bundle of CA certificates.'
                changes = self.no_answer('127.0.0.1 cannot be verified: %s.' % what, hint)
                changes['CA certificates'] = '! %s.\n  hint: %s' % (what, hint)
                self.check(5, changes, self.doctor(**self.serve_tls(trusted=name)))

    def test_certificates_that_nobody_needs_yet_are_missed_all_the_same(self):
        self.check(5, {
            'CA certificates': '! SSL_CERT_FILE names /missing.pem, which is no file.\n  hint: '
            'Unset SSL_CERT_FILE, or set it to a bundle of CA certificates.'},
            self.doctor(SSL_CERT_FILE='/missing.pem'))

    def test_a_proxy_is_named_without_its_user(self):
        proxy = Server(('127.0.0.1', 0), ProxyHandler)
        proxy.sandbox, proxy.heads, proxy.refusal = self.sandbox, [], b''
        threading.Thread(target=proxy.serve_forever, args=(0.005,), daemon=True).start()
        self.addCleanup(proxy.server_close)
        self.addCleanup(proxy.shutdown)
        address = '127.0.0.1:%d' % proxy.server_address[1]
        tls = self.serve_tls()
        accepts = {'Public API access': '✔ https://%s accepts the token' % self.peer}
        through = dict(accepts, Proxy='✔ ' + address)
        self.check(0, through, self.doctor(
            HTTPS_PROXY='http://ann:canary%20%4042@' + address, **tls))
        self.assertEqual('CONNECT %s HTTP/1.1' % self.peer, proxy.heads.pop()[0])
        self.check(0, accepts, self.doctor(
            HTTPS_PROXY='http://ann:canary%20%4042@' + address, NO_PROXY='127.0.0.1', **tls))
        refused = dict(through, **self.no_answer('', ''))
        refused['Public API access'] = (
            '! The proxy %s refused to connect to %s: 407 Proxy Authentication Required.\n'
            '  hint: Check user name and password in the proxy variable.' % (address, self.peer))
        self.check(5, refused, self.doctor(HTTPS_PROXY='http://ann:canary-wrong@' + address, **tls))

    def test_a_proxy_that_is_not_there(self):
        address = '127.0.0.1:%d' % self.free_port()
        changes = self.no_answer('the proxy %s (for 127.0.0.1) refuses connections.' % address,
                                 'Check the proxy variables.')
        self.check(5, dict(changes, Proxy='✔ ' + address),
                   self.doctor(http_proxy='http://ann:canary@' + address))

    def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(self):
        for name, value, what, hint in [
            ('ALL_PROXY', 'socks5h://ann:canary@127.0.0.1:1', 'is a SOCKS5H proxy, which Python\'s '
             'standard library cannot use.',
             'Set it to an http:// proxy, or add 127.0.0.1 to NO_PROXY.'),
            ('http_proxy', 'http://ann:canary@127.0.0.1:port', 'has no valid address.',
             'Set it to http://HOST:PORT.'),
        ]:
            with self.subTest(name):
                line = '! The proxy in %s %s\n  hint: %s' % (name, what, hint)
                self.check(5, {'Proxy': line, 'Public API access': line,
                               'Clock': "- the server's time is not known"},
                           self.doctor(**{name: value}))


class DoctorStateTest(DoctorCase):
    """The files, the workspaces, and what stands in for them."""

    def test_a_secret_that_others_could_read_is_named_with_its_readers(self):
        pending = {'sessionId': 'sess-canary-1', 'issuedAt': 0}
        for mode, readers in ((0o640, 'its group'), (0o604, 'everybody'),
                              (0o644, 'its group and everybody')):
            with self.subTest(oct(mode)):
                os.chmod(self.auth, mode)
                self.check(1, {'File modes': '! %s could be read by %s.\n  hint: chmod 600 %s' % (
                    self.auth, readers, self.auth)}, self.doctor())
        self.check(0, {}, self.doctor())  # reading them made them private
        path = self.write_state(PENDING, pending, 0o644)
        os.chmod(self.auth, 0o640)
        out = self.doctor().out
        self.assertIn('\n  hint: chmod 600 %s %s\n' % (self.auth, path), out)

    def test_a_hint_can_be_pasted_whatever_the_path_is(self):
        self.home = os.path.join(self.dir, "Ann's home")
        self.write_state('auth.json', {}, 0o644)
        out = self.doctor(NOTION_HOME=self.home).out
        hint = re.search(r'^  hint: (chmod .*)', out, re.M).group(1)
        self.assertEqual(['chmod', '600', os.path.join(self.home, 'auth.json')], shlex.split(hint))

    def test_a_damaged_file_is_named_where_it_matters(self):
        for name, lines in [
            ('config.json', ['Default workspace', 'Resolved workspace', 'Token source']),
            ('workspaces.json', ['Default workspace', 'Resolved workspace']),
            ('auth.json', ['Token source']),
            (PENDING, ['Pending login']),
        ]:
            for content, what in ((b'{"half', 'it is not valid JSON'), (b'\xff', 'it is not valid '
                                  'JSON'), (b'[]', 'it holds no JSON object')):
                with self.subTest(name, content=content):
                    shutil.rmtree(self.home)
                    self.store_login()
                    path = self.write_state(name, content)
                    line = '! %s is damaged: %s.%s' % (path, what, REPAIR)
                    changes = dict.fromkeys(['State files'] + lines, line)
                    if 'Token source' in lines:
                        changes['Public API access'] = self.signed_out['Public API access']
                    self.check(1, changes, self.doctor())

    def test_a_directory_in_place_of_a_file_is_no_fault_of_the_program(self):
        os.unlink(self.auth)
        os.mkdir(self.auth, 0o700)
        line = '! %s is damaged: it is no regular file.%s' % (self.auth, REPAIR)
        self.check(1, {'State files': line, 'Token source': line,
                       'Public API access': self.signed_out['Public API access']}, self.doctor())

    def test_no_damaged_file_hides_another(self):
        paths = [self.write_state(name, b'damaged') for name in (
            'config.json', 'workspaces.json', 'auth.json', PENDING)]
        result = self.doctor()
        self.assertEqual([], [path for path in paths if path + ' is damaged' not in result.out])

    def test_a_damaged_file_does_not_hide_where_the_token_comes_from(self):
        self.sandbox.valid_tokens.add(CANARY)
        self.write_state('workspaces.json', b'damaged')
        out = self.doctor(NOTION_API_TOKEN=CANARY).out
        self.assertRegex(out, r'(?m)^Token source +[!✔] NOTION_API_TOKEN')

    def test_a_directory_that_cannot_be_written_is_named_with_the_reason(self):
        file = os.path.join(self.dir, 'file')
        self.write('file', '')
        hint = '\n  hint: Set NOTION_HOME to a directory that can be written.'
        for home, why in [(file, ''), (os.path.join(file, 'a', 'b'), ', because of ' + file)]:
            with self.subTest(home):
                out = self.doctor(NOTION_HOME=home).out
                self.assertIn('Config directory     ! %s cannot be written%s.%s\n'
                              % (home, why, hint), out)
        self.write_state('cache', b'')
        result = self.doctor()
        self.assertEqual(1, result.code)
        self.assertIn('Config directory     ! %s/cache cannot be written.%s\n' % (self.home, hint),
                      result.out)

    def test_without_a_home_each_check_that_needs_one_says_so(self):
        line = ('! There is no usable home directory to keep files in.\n'
                '  hint: Set NOTION_HOME to a directory that can be written.')
        labels = ['Config directory', 'State files', 'Keychain', 'Default workspace',
                  'Resolved workspace', 'Token source', 'Pending login']
        changes = dict.fromkeys(labels, line)
        changes['Public API access'] = self.signed_out['Public API access']
        self.check(1, changes, self.doctor(NOTION_HOME=None))

    def test_a_token_in_the_environment_that_hides_a_login_is_pointed_out(self):
        self.sandbox.valid_tokens.add(CANARY)
        changes = {'Resolved workspace': '✔ the one that NOTION_API_TOKEN belongs to',
                   'Token source':
                   '! NOTION_API_TOKEN, which hides the login to %s\n  hint: unset '
                   'NOTION_API_TOKEN to use the login' % ACME}
        self.check(0, changes, self.doctor(NOTION_API_TOKEN=CANARY))

    def test_modes_that_cannot_be_seen_are_not_called_private(self):
        path = self.write_state('auth.json', {})
        os.unlink(path)
        os.symlink('auth.json', path)  # leads to itself
        self.assertIn('\nFile modes           - not known\n', self.doctor().out)

    def test_without_a_home_a_token_in_the_environment_is_tried_all_the_same(self):
        self.sandbox.valid_tokens.add(CANARY)
        result = self.doctor(NOTION_HOME=None, NOTION_API_TOKEN=CANARY)
        self.assertEqual((0, ''), (result.code, result.err))
        self.assertIn('\nToken source         ✔ NOTION_API_TOKEN\n', result.out)
        self.assertIn('\nPublic API access    ✔ %s accepts the token\n' % self.sandbox.origin,
                      result.out)

    def test_a_token_in_the_environment_hides_no_login_that_is_not_there(self):
        self.sandbox.valid_tokens.add(CANARY)
        out = self.doctor(NOTION_API_TOKEN=CANARY, NOTION_WORKSPACE_ID='elsewhere').out
        self.assertNotIn('hides', out)

    def test_a_token_that_cannot_be_one_is_not_sent(self):
        changes = {'Resolved workspace': '✔ the one that NOTION_API_TOKEN belongs to',
                   'Token source': '! NOTION_API_TOKEN has characters that no token has.\n  hint: '
                   'Set it again, without spaces and line ends.',
                   'Public API access': self.signed_out['Public API access']}
        self.check(4, changes, self.doctor(NOTION_API_TOKEN='ntn_canary \n2'))

    def test_a_workspace_is_resolved_from_its_variable(self):
        self.store_login('ntn_canary_globex', OTHER_WORKSPACE, 'Globex')
        globex = 'Globex (%s)' % OTHER_WORKSPACE
        for value in WORKSPACE, WORKSPACE.replace('-', ''), 'Acme':
            with self.subTest(value):
                self.check(0, {'Default workspace': '✔ ' + globex},
                           self.doctor(NOTION_WORKSPACE_ID=value))
        self.check(4, {
            'Default workspace': '✔ ' + globex,
            'Resolved workspace': '! NOTION_WORKSPACE_ID is elsewhere, which you have not logged '
            'in to.\n  hint: unset NOTION_WORKSPACE_ID, or run `ntn login`.',
            'Token source': '! No token is stored for workspace elsewhere.\n  hint: Check '
            'NOTION_WORKSPACE_ID, or unset it.',
            'Public API access': self.signed_out['Public API access']},
            self.doctor(NOTION_WORKSPACE_ID='elsewhere'))

    def test_a_token_that_is_gone(self):
        self.write_state('auth.json', {})
        self.check(4, {
            'Token source': '! No token is stored for workspace %s.\n  hint: Run `ntn login` '
            'again, or set NOTION_API_TOKEN.' % WORKSPACE,
            'Public API access': self.signed_out['Public API access']}, self.doctor())

    def test_a_pending_login_is_shown_with_the_time_left_by_the_servers_clock(self):
        now = int(self.clock.wall)
        waits = '✔ waits for approval, %s left; `ntn login poll` finishes it'
        expired = '! expired\n  hint: Run `ntn login` to start a new one.'
        for ahead, expires, line in [
            (0, 600, waits % '10:00'), (0, 61, waits % '1:01'), (0, 1, waits % '0:01'),
            (90, 150, waits % '1:00'), (0, 0, expired), (0, -100, expired), (100, 60, expired),
        ]:
            with self.subTest(ahead=ahead, expires=expires):
                self.sandbox.date_offset = ahead
                self.write_state(PENDING, {'sessionId': 'sess-canary-1', 'issuedAt': now - 900,
                                           'expiresAt': now + expires})
                self.check(0, {
                    'State files': '✔ config.json, workspaces.json, auth.json, pending-login.json',
                    'Pending login': line,
                    'Clock': '✔ right to %s' % ntn.plural(max(1, ahead), 'second')}, self.doctor())

    def test_the_worst_problem_decides_the_exit_code(self):
        self.sandbox.port = self.free_port()
        away = {'NOTION_API_BASE_URL': self.sandbox.origin}
        os.chmod(self.auth, 0o644)
        self.assertEqual(1, self.doctor().code)
        os.chmod(self.auth, 0o644)
        self.assertEqual(5, self.doctor(**away).code)
        self.write_state('auth.json', {}, 0o644)
        self.assertEqual(4, self.doctor(**away).code)


class DoctorKeychainTest(DoctorCase, KeychainCase):
    def test_a_keychain_that_works_is_left_as_it_was(self):
        self.store_login_in_keychain()
        for mode in None, '1':
            with self.subTest(mode):
                self.check(0, {'Keychain': '✔ keeps what is written to it',
                               'Token source': '✔ the keychain'}, self.doctor(NOTION_KEYRING=mode))
                self.assertEqual({ENTRY: 'ntn_canary_stored'}, self.entries())

    def test_no_keychain_is_no_problem_unless_it_is_asked_for(self):
        for plan, what in NO_KEYCHAINS:
            with self.subTest(plan):
                self.behave(plan)
                self.check(0, {'Keychain': '✔ none, so auth.json keeps the tokens'}, self.doctor())
                line = '! ' + what + KEYRING_0
                changes = {'Keychain': line, 'Token source': line,
                           'Public API access': self.signed_out['Public API access']}
                self.check(1, changes, self.doctor(NOTION_KEYRING='1'))

    def test_a_keychain_that_fails_is_told_apart_from_none(self):
        self.hold(ENTRY)
        unreadable = [
            ({'*': 'hang'}, 'The keychain did not answer within 5 s.'), (LOCKED, IS_LOCKED),
            ({'import': 'SyntaxError'}, 'The keychain cannot be used (SyntaxError: no luck).')]
        for plan, what in CARELESS_KEYCHAINS + unreadable:
            with self.subTest(plan):
                self.behave(plan)
                self.check(0, {'Keychain': '! %s\n  hint: export NOTION_KEYRING=0 to do without it'
                               % what}, self.doctor())
                line = '! ' + what + KEYRING_0
                changes = {'Keychain': line, 'Token source': '✔ the keychain'}
                if (plan, what) in unreadable:
                    changes['Token source'] = line
                    changes['Public API access'] = self.signed_out['Public API access']
                self.check(1, changes, self.doctor(NOTION_KEYRING='1'))

    def test_nobody_is_asked_to_unlock_the_keychain_twice_at_once(self):
        self.store_login_in_keychain()
        barrier, load, together = threading.Barrier(2), ntn.load_keyring, []

        def meet():
            try:
                barrier.wait(0.3)
                together.append('two calls')
            except threading.BrokenBarrierError:  # nobody else came
                pass
            return load()
        with mock.patch.object(ntn, 'load_keyring', meet):
            self.doctor()
        self.assertEqual([], together)

    def test_silence_everywhere_ends_with_the_limit_for_all(self):
        self.write_state('auth.json', {})
        self.behave({'*': 'hang'})
        self.sandbox.always('GET', '/v1/users/me', hang(self.sandbox.stopping))
        self.assertLess(ntn.Doctor.LIMIT, 15)
        with mock.patch('threading.Event', ImpatientEvent.__base__), \
                mock.patch.object(ntn.Doctor, 'LIMIT', 1.0):
            result = self.doctor()
        late = '! There was no answer within 1 s.\n  hint: Try again later.'
        self.check(5, dict.fromkeys(
            ['Keychain', 'Token source', 'Clock', 'Public API access'], late), result)


class DoctorOutputTest(DoctorCase):
    """The same findings for programs, for narrow terminals and for those without symbols."""

    def setUp(self):
        super().setUp()
        self.store_login('ntn_canary_globex', OTHER_WORKSPACE, 'Zürich')
        self.env['NOTION_WORKSPACE_ID'] = 'elsewhere'
        self.sandbox.send_date = False  # a real process goes by another clock than the sandbox
        self.expected = self.text({
            'Default workspace': '✔ Zürich (%s)' % OTHER_WORKSPACE,
            'Resolved workspace': '! NOTION_WORKSPACE_ID is elsewhere, which you have not logged '
            'in to.\n  hint: unset NOTION_WORKSPACE_ID, or run `ntn login`.',
            'Token source': '! No token is stored for workspace elsewhere.\n  hint: Check '
            'NOTION_WORKSPACE_ID, or unset it.',
            'Clock': "- the server's time is not known",
            'Public API access': self.signed_out['Public API access']})

    def test_in_a_pipe_it_is_the_same_text(self):
        self.assertEqual(Result(4, self.expected, ''), self.ntn('doctor'))

    def test_without_symbols_there_are_words(self):
        words = self.expected.replace('✔', 'OK').replace('ü', '\\xfc')
        c_locale = {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}
        self.assertEqual(Result(4, words, ''), self.ntn('doctor', env=c_locale))

    def test_in_the_c_locale_it_is_readable(self):
        self.assertEqual(self.expected.replace('✔', 'OK').replace('ü', '\\xfc'),
                         self.ntn('doctor', env={'LC_ALL': 'C'}).out
                         .replace('✔', 'OK').replace('ü', '\\xfc'))

    def test_on_a_narrow_terminal_words_are_neither_lost_nor_cut(self):
        terminal = self.terminal('doctor', cols=40)
        self.assertEqual(4, terminal.wait())
        self.assertEqual(self.expected, terminal.output.replace('\n    ', ' '))
        wide = [line for line in terminal.output.splitlines() if len(line) > 40]
        self.assertEqual([], [line for line in wide if len(line.split()) > 1])

    def test_json_is_one_document_with_the_same_content(self):
        self.sandbox.send_date, self.sandbox.date_offset = True, 200
        os.chmod(self.auth, 0o640)
        text = self.doctor().out
        os.chmod(self.auth, 0o640)
        result = self.doctor('--json')
        checks = json.loads(result.out)
        marks = {'ok': '✔', 'skipped': '-', 'warning': '!', 'error': '!'}
        rebuilt = ''.join('%-20s %s %s\n%s' % (
            check['check'], marks[check['status']], check['value'],
            '  hint: %s\n' % check['hint'] if check['hint'] else '') for check in checks)
        self.assertEqual((4, text, ''), (result.code, rebuilt, result.err))
        self.assertEqual([['check', 'status', 'value', 'hint']] * 14, list(map(list, checks)))
        self.assertEqual(
            {'File modes': 'error', 'Keychain': 'skipped', 'Resolved workspace': 'error',
             'Token source': 'error', 'Clock': 'warning'},
            {check['check']: check['status'] for check in checks if check['status'] != 'ok'})

    def test_verbose_shows_no_secret_either(self):
        self.sandbox.valid_tokens.add(CANARY)
        result = self.doctor('-v', NOTION_API_TOKEN=CANARY, NOTION_WORKSPACE_ID=None,
                             HTTPS_PROXY='http://ann:canary@127.0.0.1:1')
        self.assertEqual(0, result.code)
        self.assertIn('> Authorization: [redacted]\n', result.err)


class DebugTest(DoctorCase):
    """What is pasted into bug reports."""

    def setUp(self):
        super().setUp()
        shutil.rmtree(self.home)
        self.home = os.path.join(self.dir, '.config', 'notion')
        self.pending = os.path.join('..', '..', '.cache', 'notion', 'pending-login.json')
        self.env = dict(self.sandbox.environ, HOME=self.dir)
        self.login()

    def login(self):
        self.store_login('ntn_canary_globex', OTHER_WORKSPACE, 'Glo|bex', env='dev')
        self.store_login()
        auth = self.state('auth.json')
        del auth[OTHER_WORKSPACE]
        self.write_state('auth.json', dict(auth, stray='ntn_canary_stray'))
        self.write_state(self.pending, {'sessionId': 'sess-canary-1', 'issuedAt': 0})

    def debug(self, **variables):
        with mock.patch.dict(sys.modules, keyring=None):
            return self.call('debug', env=variables)

    def text(self, **changes):
        """Every section in its place; a keyword replaces that section."""
        sections = dict(
            [('environment', '**Environment:** `prod`\n'
              '**Login origin:** `{0}`\n**API origin:** `{0}`\n**Variables set:** '
              '`NOTION_API_BASE_URL`, `NOTION_API_DOCS_BASE_URL`, `NOTION_BASE_URL`\n'
              .format(self.sandbox.origin)),
             ('config', '**Path:** `~/.config/notion/config.json`\n\n```json\n%s\n```\n'
              % self.pretty('config.json')),
             ('tokens', '**NOTION_API_TOKEN:** not set\n\n'
              '| Environment | Workspace ID | Workspace name | Token |\n|---|---|---|---|\n'
              '| prod | %s | Acme | ~/.config/notion/auth.json |\n'
              '| dev | %s | Glo\\|bex | none |\n'
              '|  | stray |  | ~/.config/notion/auth.json |\n' % (WORKSPACE, OTHER_WORKSPACE)),
             ('workspaces', '**Path:** `~/.config/notion/workspaces.json`\n\n```json\n%s\n```\n'
              % self.pretty('workspaces.json')),
             ('cache', '**Path:** `~/.cache/notion`\n\n- `pending-login.json`, 45 bytes\n'),
             ('versions', '- ntn.py %s\n- Python %s on %s\n' % (
                 ntn.VERSION, sys.version.split()[0], sys.platform))], **changes)
        titles = ('Resolved Environment', 'Configuration', 'Authentication: Tokens',
                  'Workspace Cache', 'Cache Files', 'Versions')
        return '\n'.join('## %s\n\n%s' % each for each in zip(titles, sections.values()))

    def pretty(self, name):
        try:
            return json.dumps(self.state(name), indent=2)
        except (ValueError, OSError):
            return 'damaged'

    def test_a_usual_state_is_shown_whole(self):
        self.assertEqual(Result(0, self.text(), ''), self.debug())

    def test_variables_are_named_and_their_values_are_not_shown(self):
        names = ['HTTPS_PROXY', 'NOTION_API_BASE_URL', 'NOTION_API_DOCS_BASE_URL',
                 'NOTION_API_TOKEN', 'NOTION_BASE_URL', 'NTN_DEBUG', 'all_proxy']
        result = self.debug(HTTPS_PROXY='http://ann:canary@proxy.invalid:3128', NTN_DEBUG='1',
                            NOTION_API_TOKEN=CANARY, all_proxy='ann:canary@proxy.invalid',
                            AWS_SECRET_ACCESS_KEY='canary', NOTION_ENV='')
        self.assertEqual(0, result.code)
        self.assertIn('**Variables set:** %s\n' % ', '.join('`%s`' % name for name in names),
                      result.out)
        self.assertIn('**NOTION_API_TOKEN:** set\n', result.out)
        self.assertNotIn('proxy.invalid', result.out)

    def test_a_token_that_strayed_into_another_file_is_not_shown(self):
        self.addCleanup(shutil.rmtree, self.home)  # before the harness looks for secrets there
        self.write_state('config.json', {'note': 'ntn_canary_stored', 'keyring': False})
        self.write_state('workspaces.json', {'environments': {'prod': {'x': {
            'name': 'ntn_canary_stray'}}}})
        for mode, shown in (None, 3), ('1', 3):
            with self.subTest(mode):
                result = self.debug(NOTION_KEYRING=mode)
                self.assertEqual((0, shown), (result.code, result.out.count('[redacted]')))

    def test_without_any_file_all_sections_are_there(self):
        shutil.rmtree(self.home)
        shutil.rmtree(os.path.join(self.dir, '.cache'))
        self.assertEqual(Result(0, self.text(
            config='**Path:** `~/.config/notion/config.json`\n\nFile not found.\n',
            tokens='**NOTION_API_TOKEN:** not set\n\n| Environment | Workspace ID | Workspace name '
            '| Token |\n|---|---|---|---|\n',
            workspaces='**Path:** `~/.config/notion/workspaces.json`\n\nFile not found.\n',
            cache='**Path:** `~/.cache/notion`\n\nDirectory not found.\n'), ''), self.debug())

    def test_without_a_home_all_sections_are_there(self):
        line = 'There is no usable home directory to keep files in.\n'
        self.assertEqual(
            Result(0, self.text(config=line, tokens=line, workspaces=line, cache=line), ''),
            self.debug(HOME=os.path.join(NTN, 'home')))

    def test_with_every_file_damaged_all_sections_are_there(self):
        self.addCleanup(shutil.rmtree, self.home)
        for name in 'config.json', 'workspaces.json', 'auth.json', self.pending:
            self.write_state(name, b'{"%s": "ntn_canary_half' % to_bytes(WORKSPACE))
        shown = ('**Path:** `~/.config/notion/%s`\n\n~/.config/notion/%s is damaged: it is not '
                 'valid JSON.\n')
        result = self.debug()
        self.assertIn('/workspaces.json is damaged', self.sections(result)[2])
        self.assertEqual(Result(0, self.text(
            config=shown % (('config.json',) * 2), tokens=self.sections(result)[2],
            workspaces=shown % (('workspaces.json',) * 2),
            cache='**Path:** `~/.cache/notion`\n\n- `pending-login.json`, 57 bytes\n'), ''), result)

    @staticmethod
    def sections(result):
        return re.split(r'(?m)\n?^## .*\n\n', result.out)[1:]

    def test_a_damaged_file_changes_its_own_sections_only(self):
        deep = b'{"a":' + b'[' * 970 + b']' * 970 + b'}'
        for name, own in (('config.json', {1, 2}), ('workspaces.json', {2, 3}), ('auth.json', {2}),
                          (self.pending, {4})):
            for content in b'', b'{"half', b'\xff\xfe', b'[]', b'{"environments": 1}', deep, None:
                with self.subTest(name, content=content and content[:20]):
                    shutil.rmtree(self.home)
                    self.login()
                    healthy = self.sections(self.debug())
                    path = self.write_state(name, content or b'')
                    if content is None:
                        os.unlink(path)
                        os.mkdir(path)
                    result = self.debug()
                    self.assertEqual(0, result.code, result.err)
                    found = self.sections(result)
                    self.assertEqual(len(healthy), len(found))
                    changed = {number for number in range(len(found))
                               if found[number] != healthy[number]}
                    self.assertEqual(set(), changed - own)
                    if content is None:
                        os.rmdir(path)

    def test_no_damaged_file_hides_where_tokens_are(self):
        self.write_state('workspaces.json', b'damaged')
        self.assertIn('| stray |  | ~/.config/notion/auth.json |', self.debug().out)

    def test_a_link_to_nowhere_does_not_hide_the_cache(self):
        os.symlink('nowhere', os.path.join(self.dir, '.cache', 'notion', 'dead'))
        self.assertIn('- `pending-login.json`, 45 bytes\n', self.debug().out)

    def test_the_home_directory_is_abbreviated_however_it_is_written(self):
        for home in self.dir, self.dir + '/', self.dir + '//':
            with self.subTest(home):
                self.assertNotIn(self.dir, self.debug(HOME=home).out)
        with mock.patch('os.path.expanduser', lambda path: path.replace('~', self.dir)):
            self.assertNotIn(self.dir, self.debug(HOME=None).out)

    def test_what_only_looks_like_the_home_directory_is_left_alone(self):
        home = os.path.join(self.dir, 'mnt' + self.dir, 'notion')
        self.assertIn('`~/mnt%s/notion/config.json`' % self.dir,
                      self.debug(NOTION_HOME=home).out)


class HelpTest(Case):
    """test_help_... of the command line are about its form, these about its content."""
    CODES = {  # that each command can end with, besides 2 and 130
        '': '0 1 2 4 5 8 130', 'login': '0 1 4 5', 'login poll': '0 1 4 5 8', 'logout': '0 1 4',
        'whoami': '0 1 4 5', 'auth': '', 'auth token': '0 1 4', 'doctor': '0 4 5 1', 'debug': '',
        'api': '0 1 2 4 5', 'api ls': '0 5'}

    def help(self, command):
        return self.call(*command.split(), '--help').out

    def test_each_help_has_purpose_usage_options_and_exit_codes(self):
        self.assertEqual(set(ntn.COMMANDS), set(self.CODES) - {''})
        for command, codes in self.CODES.items():
            with self.subTest(command):
                text = self.help(command)
                self.assertRegex(text, r'\A[^\n]+[^.\n]\n\nUsage: ntn %s' % (
                    'auth token' if command == 'auth' else command))
                self.assertIn('\nOptions for every command:\n  -v, --verbose  ', text)
                listed = text.partition('\nExit codes: ')[2]
                self.assertEqual(codes.split(), re.findall(r'(?:^|,\s)(?:else the worst: )?(\d+) ',
                                                           listed.replace(': 4', ', 4')))

    def test_the_help_of_login_lists_every_variable(self):
        text = self.help('login').partition('\nEnvironment variables:\n')[2]
        for name in ('NOTION_API_TOKEN NOTION_WORKSPACE_ID NOTION_KEYRING NOTION_HOME NOTION_ENV '
                     'NOTION_API_VERSION NOTION_BASE_URL NOTION_API_BASE_URL '
                     'NOTION_API_DOCS_BASE_URL NTN_DEBUG XDG_CONFIG_HOME XDG_CACHE_HOME HOME '
                     'NO_COLOR TERM BROWSER DISPLAY WAYLAND_DISPLAY SSH_CONNECTION SSL_CERT_FILE '
                     'HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY').split():
            self.assertRegex(text, r'(^|[\s,])%s\b' % name)

    def test_the_examples_work(self):
        self.store_login()
        self.sandbox.always('PATCH', '/v1/blocks/ID/children', Answer.json({}))
        texts = [self.call().out] + [self.help(command) for command in self.CODES]
        examples = [re.split(r'\s{2,}', line)[0] for text in texts
                    for line in re.findall(r'^  ntn (.*)', text, re.M)]
        self.assertLess(10, len(examples))
        for example in examples:
            if example.startswith('log'):
                continue  # login waits for somebody, and logout would end the rest
            with self.subTest(example):
                command = re.split(' [|>] ', example.replace('COMMAND', 'whoami'))[0]
                argv, _, piped = command.partition(' < ')
                result = self.call(*shlex.split(argv), stdin=b'{"a": 1}' if piped else b'',
                                   secrets_ok=argv.startswith('auth token'))
                self.assertEqual((0, ''), (result.code, result.err))

    def test_help_is_made_of_constants(self):
        with open(NTN, encoding='utf-8') as file:
            tree = ast.parse(file.read())
        values = {target.id: node.value for node in tree.body if isinstance(node, ast.Assign)
                  for target in node.targets if isinstance(target, ast.Name)}
        helps = [name for name in values if name.startswith(('HELP', 'BANNER'))]
        self.assertEqual(len(ntn.COMMANDS) + 3, len(helps))
        for name in helps:
            kinds = {type(node).__name__ for node in ast.walk(values[name])} - {
                'Constant', 'Str', 'BinOp', 'Add', 'Mod', 'Load', 'Name'}
            names = {node.id for node in ast.walk(values[name]) if isinstance(node, ast.Name)}
            self.assertEqual((set(), set()), (kinds, names - {'HELP_GLOBAL', 'VERSION'}))


class RedactionTest(Case):
    def test_what_has_the_shape_of_a_token_is_hidden_though_it_is_not_ours(self):
        self.assertEqual('a [redacted] ntn_short', ntn.Console(environ={}).redact(
            'a ntn_0123456789abcdef ntn_short'))

    def test_a_secret_that_begins_another_hides_all_of_it(self):
        console = ntn.Console(environ={})
        console.secrets.update(['ntn_abcdefgh', 'ntn_abcdefgh_and_more', 'short'])
        self.assertEqual('[redacted] [redacted] short', console.redact(
            'ntn_abcdefgh_and_more ntn_abcdefgh short'))


# ---- Program -------------------------------------------------------------------------------------

with open(NTN, encoding='utf-8') as source_file:
    SOURCE = source_file.read()
OPTION_HINT = '`ntn --help` and `ntn COMMAND --help` list the options.'
GLOBAL_OPTIONS = {'-v', '--verbose', '--env', '-h', '--help', '-V', '--version'}
OPTIONS = {  # of each command, besides the global ones
    '': '',
    'login': '--no-browser --workspace --json',
    'login poll': '--no-wait --json',
    'logout': '--workspace',
    'whoami': '--json --plain',
    'auth': '',
    'auth token': '--json --plain',
    'doctor': '--json',
    'debug': '',
    'api': '-X --method -d --data --file -i --include --paginate --timeout --no-retry --spec '
           '--docs --notion-version',
    'api ls': '--json --plain',
}
HEAVY = {'urllib.request', 'ssl', 'http.client', 'webbrowser', 'keyring', 'subprocess', 'tempfile',
         'socket', 'argparse', 'logging', 'dataclasses', 'inspect', 'asyncio', 'threading'}


class ProgramCase(Case):

    def run_python(self, *argv, cwd=None, stdin='', env=None):
        """Run this interpreter on anything but ntn.py's own path."""
        variables = {to_bytes(k): to_bytes(v) for k, v in self.environ(env).items()}
        process = subprocess.Popen(
            [sys.executable] + list(argv), cwd=cwd or self.tmp, env=variables,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(reap, process)
        out, err = process.communicate(to_bytes(stdin), 30)
        return self.checked(process.returncode, out, err, False)

    def help(self, command):
        result = self.call(*command.split(), '--help')
        self.assertEqual((0, ''), (result.code, result.err))
        return result.out

    def break_command(self, error):
        """Have `ntn debug` raise this."""
        def fail(args, settings, console):
            raise error
        saved = ntn.COMMANDS['debug']
        self.addCleanup(ntn.COMMANDS.__setitem__, 'debug', saved)
        ntn.COMMANDS['debug'] = (fail, saved[1])


VERSION_LINE = 'ntn %s\n' % ntn.VERSION


class StartUp(ProgramCase):

    def test_version_and_help_load_nothing_that_they_do_not_need(self):
        code = ('import sys\n'
                'import os\n'
                'os._exit = sys.exit  # which runs what follows\n'
                'try:\n'
                '    exec(compile(sys.stdin.read(), "ntn.py", "exec"), {"__name__": "__main__"})\n'
                'finally:\n'
                '    sys.stderr.write(" ".join(sys.modules))\n')
        for argument in ('--version', '--help', 'login', ''):
            with self.subTest(argument):
                # -S: what a site's own hooks import is not ours.
                argv = ['-S', '-c', code] + ([argument, '--help'] if argument == 'login' else
                                             [argument] if argument else [])
                result = self.run_python(*argv, stdin=SOURCE)
                self.assertEqual(0, result.code)
                self.assertIn('json', result.err.split())
                self.assertEqual(set(), HEAVY.intersection(result.err.split()))

    def test_it_starts_however_it_is_started(self):
        flags = [(), ('-I',), ('-S',), ('-OO',), ('-bb',)]
        flags += [('-P',)] if sys.version_info >= (3, 11) else []
        for each in flags:
            with self.subTest(flags=each):
                self.assertEqual(Result(0, VERSION_LINE, ''),
                                 self.ntn('--version', python_flags=each))
        self.assertEqual(Result(0, VERSION_LINE, ''),
                         self.run_python('-', '--version', stdin=SOURCE))

    def test_it_starts_in_an_empty_environment(self):
        nothing = dict.fromkeys(self.env)
        self.assertEqual(Result(0, self.help(''), ''), self.ntn('--help', env=nothing))

    def test_it_is_executable_and_finds_python3(self):
        with open(os.path.join(self.tmp, 'python3'), 'w') as file:
            file.write('#!/bin/sh\nexec %s "$@"\n' % shlex.quote(sys.executable))
        os.chmod(file.name, 0o755)
        path = os.pathsep.join([self.tmp, self.env['PATH']])
        process = subprocess.Popen([NTN, '--version'], env=self.environ({'PATH': path}),
                                   stdout=subprocess.PIPE)
        self.addCleanup(reap, process)
        self.assertEqual(to_bytes(VERSION_LINE), process.communicate(timeout=30)[0])
        self.assertTrue(SOURCE.startswith('#!/usr/bin/env python3\n'))

    def test_a_module_lying_beside_the_script_is_not_run(self):
        for name in ('json', 're', 'os', 'typing', 'difflib', 'http'):
            with open(os.path.join(self.tmp, name + '.py'), 'w') as file:
                file.write('raise SystemExit("a stray module was run")\n')
        shutil.copy(NTN, os.path.join(self.tmp, 'ntn.py'))
        unknown = Result(2, '', "error: There is no command 'logni'.\n"
                                '  hint: Did you mean `login`?\n')
        copy = os.path.join(self.tmp, 'ntn.py')
        for argv, cwd in ((['ntn.py'], None), (['./ntn.py'], None), (['-'], None),
                          ([copy], self.dir)):
            with self.subTest(argv=argv):
                stdin = SOURCE if argv == ['-'] else ''
                self.assertEqual(unknown, self.run_python(*argv + ['logni'], cwd=cwd, stdin=stdin))

    def test_modules_named_in_pythonpath_are_still_found(self):
        with open(os.path.join(self.tmp, 'json.py'), 'w') as file:
            file.write('raise SystemExit("found")\n')
        self.assertEqual(Result(1, '', 'found\n'),
                         self.ntn('--version', env={'PYTHONPATH': self.tmp}))

    def test_an_old_python_says_what_is_needed(self):
        # It stops at the first line that it cannot parse, and prints it.
        head, line = re.match(r'((?:.*\n)*?)(PYTHON: .*)\n', SOURCE).groups()
        self.assertTrue(all(ord(char) < 128 for char in head + line))
        self.assertRegex(line, r'"3\.6" +# or newer .*python3 ntn\.py')
        statements = ast.parse(SOURCE).body
        self.assertEqual(['Expr', 'Import', 'AnnAssign'],
                         [type(each).__name__ for each in statements[:3]])
        for name in ('python2.7', 'python2', 'python3.4', 'python3.5'):
            path = shutil.which(name)
            if path and not subprocess.call([path, '-c', ''], stderr=subprocess.DEVNULL):
                with self.subTest(path):
                    process = subprocess.Popen([path, NTN, '--version'], stderr=subprocess.PIPE)
                    self.addCleanup(reap, process)
                    self.assertIn(to_bytes(line), process.communicate(timeout=30)[1])
                    self.assertEqual(1, process.returncode)

    def test_importing_it_has_no_side_effects(self):
        code = ('import os, signal, sys\n'
                'sys.path.insert(0, %r)\n'
                'def look():\n'
                '    return (list(sys.path), dict(os.environ), sys.excepthook, os.listdir("."),\n'
                '            signal.getsignal(signal.SIGINT), os.umask(0o22), sys.stdout)\n'
                'before = look()\n'
                'import ntn\n'
                'print(look() == before, "threading" in sys.modules, "socket" in sys.modules)\n'
                % HERE)
        self.assertEqual(Result(0, 'True False False\n', ''), self.run_python('-S', '-c', code))
        self.assertFalse(os.path.exists(self.home))

    def test_non_ascii_arguments_are_utf_8_in_every_locale(self):
        self.store_login()
        for locale in ('C', 'POSIX', 'C.UTF-8'):
            with self.subTest(LC_ALL=locale):
                result = self.ntn('api', 'v1/pages/é', '-X', 'PATCH', 'ü=✔', 'q==ñ', 'X-A:ß',
                                  env={'LC_ALL': locale})
                self.assertEqual((0, ''), (result.code, result.err))
                request = self.sandbox.requests[-1]
                self.assertEqual('/v1/pages/%C3%A9?q=%C3%B1', request.target)
                self.assertEqual('{"ü":"✔"}', to_text(request.body))
                self.assertEqual('ß', to_text(request.header('X-A').encode('latin-1')))


class CommandLine(ProgramCase):

    def test_what_python_code_gives_for_stdout_is_written_to(self):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(0, ntn.main(['--version']))
        self.assertEqual('ntn %s\n' % ntn.VERSION, out.getvalue())

    def test_a_command_is_not_one_word_with_a_space_in_it(self):
        self.assertEqual(Result(2, '', "error: There is no command 'auth token'.\n"
                                       '  hint: Did you mean `auth token`?\n'),
                         self.call('auth token', 'surplus'))

    def test_alone_it_shows_a_banner(self):
        banner = ('ntn.py %s: Notion from a terminal\n\n'
                  '  ntn login                 log in\n'
                  '  ntn api v1/users/me       call the API\n'
                  '  ntn --help                all commands\n' % ntn.VERSION)
        for argv in ((), ('-v',), ('--env', 'dev')):
            with self.subTest(argv=argv):
                self.assertEqual(Result(0, banner, ''), self.call(*argv))

    def test_the_version(self):
        self.assertRegex(ntn.VERSION, r'\A\d+\.\d+\.\d+\Z')
        for line in ('-V', '--version', '-V login', 'api v1/users/me -V', '-vV', '-Vv', '-hV'):
            with self.subTest(line):
                self.assertEqual(Result(0, VERSION_LINE, ''), self.call(*line.split()))

    def test_help_is_found_wherever_it_is_looked_for(self):
        for command in OPTIONS:
            expected = Result(0, self.help(command), '')
            for line in ('%s -h', '-h %s', '--help %s', 'help %s', '%s --env dev -vh'):
                with self.subTest(line=line % command):
                    self.assertEqual(expected, self.call(*(line % command).split()))
        for line in ('auth', 'api', 'api -v', 'auth --env dev'):
            with self.subTest(line):
                self.assertEqual(self.call(*line.split()), self.call('help', line.split()[0]))
        self.assertEqual([], self.sandbox.requests)
        self.assertFalse(os.path.exists(self.home))

    def test_help_fits_and_is_plain(self):
        for command in OPTIONS:
            with self.subTest(command):
                text = self.help(command)
                self.assertEqual([], [line for line in text.splitlines()
                                      if len(line) > 100 or line != line.rstrip()])
                self.assertRegex(text, r'\A[\n -~]+[^\n]\n\Z')  # no encoding can fail to show it
                self.assertIn('Usage: ntn', text)

    def test_help_names_every_command(self):
        self.assertEqual(set(OPTIONS) - {''}, set(ntn.COMMANDS))
        listed = re.findall(r'^  ([a-z ]+?)  ', self.help('').partition('Commands:')[2], re.M)
        self.assertEqual(set(OPTIONS) - {'', 'auth'}, set(listed))

    def test_help_lists_the_options_that_the_command_takes_and_no_other_is_taken(self):
        every = GLOBAL_OPTIONS.union(*map(str.split, OPTIONS.values()))
        with_value = {'--env', '--workspace', '-X', '--method', '-d', '--data', '--file',
                      '--notion-version', '--timeout'}
        for command, own in OPTIONS.items():
            own = GLOBAL_OPTIONS.union(own.split())
            lines = re.findall(r'^ +(-.*?)(?:  |$)', self.help(command), re.M)
            self.assertEqual(own, set(re.findall(r'-[\w-]+', ' '.join(lines))), command)
            for option in every:
                value = ['1'] if option in with_value else []
                with self.subTest(command=command, option=option):
                    result = self.call(*command.split() + [option] + value + ['--help'])
                    if option in own:
                        self.assertEqual((0, ''), (result.code, result.err))
                    else:
                        message = 'error: `%s` has no option %s.\n' % (
                            ('ntn ' + command).strip(), option)
                        self.assertEqual((2, '', message), (
                            result.code, result.out, result.err.partition('  hint')[0]))

    def test_usage_errors(self):
        rows = [
            ('logn', "There is no command 'logn'.", 'Did you mean `login`?'),
            ('whoam -v', "There is no command 'whoam'.", 'Did you mean `whoami`?'),
            ('token', "There is no command 'token'.", 'Did you mean `auth token`?'),
            ('xyzzy', "There is no command 'xyzzy'.", '`ntn --help` lists them.'),
            ('help xyzzy', "There is no command 'xyzzy'.", '`ntn --help` lists them.'),
            ('--version xyzzy', "There is no command 'xyzzy'.", '`ntn --help` lists them.'),
            ('-', "There is no command '-'.", '`ntn --help` lists them.'),
            ('-- --help', "There is no command '--help'.", None),
            ('login pol', "`ntn login` takes no 'pol'.", 'Did you mean `poll`?'),
            ('auth tokn', "`ntn auth` takes no 'tokn'.", 'Did you mean `token`?'),
            ('whoami x y', "`ntn whoami` takes no 'x'.",
             '`ntn whoami --help` tells what it takes.'),
            ('login poll poll', "`ntn login poll` takes no 'poll'.",
             '`ntn login poll --help` tells what it takes.'),
            ('login --jso', '`ntn login` has no option --jso.', 'Did you mean `--json`?'),
            ('api x --include-all', '`ntn api` has no option --include-all.',
             'Did you mean `--include`?'),
            ('api x --not', '`ntn api` has no option --not.', None),
            ('api x --inc', '`ntn api` has no option --inc.', None),
            ('-x', '`ntn` has no option -x.', '`ntn --help` lists them.'),
            ('login -vx', '`ntn login` has no option -x.', '`ntn login --help` lists them.'),
            ('login -XGET', '`ntn login` has no option -X.', '`ntn login --help` lists them.'),
            ('--json', '`ntn` has no option --json.', None),
            ('debug --json', '`ntn debug` has no option --json.', None),
            ('whoami --env', 'The option --env needs a value.', OPTION_HINT),
            ('api x -X', 'The option -X needs a value.', OPTION_HINT),
            ('api x -iX', 'The option -X needs a value.', OPTION_HINT),
            ('login --json=1', 'The option --json takes no value.', ''),
            ('login --json=', 'The option --json takes no value.', ''),
            ('login --env dev --env=dev', 'The option --env is given twice.', ''),
            ('api x -X GET --method GET', 'The option --method is given twice.', ''),
            ('--env prd whoami', "There is no environment 'prd': --env and NOTION_ENV take local, "
             'dev, stg or prod.', 'Did you mean `prod`?'),
            ('api x -X P@ST', "'P@ST' is no method.", 'Give one such as -X PATCH.'),
            ('api x --timeout -1', "--timeout is '-1': it takes seconds, such as 10 or 2.5.", ''),
        ]
        for line, message, hint in rows:
            with self.subTest(line):
                result = self.call(*line.split())
                error, _, found = result.err.partition('  hint: ')
                self.assertEqual((2, '', 'error: %s\n' % message),
                                 (result.code, result.out, error))
                if hint is not None:
                    self.assertEqual(hint + '\n' if hint else '', found)
        self.assertEqual([], self.sandbox.requests)
        self.assertFalse(os.path.exists(self.home))

    def test_a_flag_may_be_repeated(self):
        self.assertEqual(Result(0, VERSION_LINE, ''), self.call('-vv', '-V', '--version'))

    def test_odd_arguments_are_quoted_harmlessly(self):
        for argument in ('\x1b[2J', '--\x1b[2J', '\u202ex', '--x=\x9b', '', '\x00', '-\x07',
                         '\udc80', '-\udcff', 'x' * 100000, '--env=\x1b]0;x\x07'):
            with self.subTest(argument=argument[:20]):
                result = self.call('whoami', argument)
                self.assertEqual((2, ''), (result.code, result.out))
                self.assertRegex(result.err, r'\Aerror: [^\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]+\Z')

    def test_options_and_inputs_mix_in_any_order(self):
        words = [['api'], ['v1/pages/p1'], ['archived:=true']]
        options = [['-X', 'PATCH'], ['--env=dev'], ['-iv']]
        expected = ntn.Arguments(
            'api', {'--method': 'PATCH', '--env': 'dev', '--include': '', '--verbose': ''},
            ['v1/pages/p1', 'archived:=true'])
        for order in itertools.permutations(words + options):
            if [each for each in order if each in words] == words:
                argv = sum(order, [])
                with self.subTest(argv=argv):
                    self.assertEqual(expected, ntn.parse_arguments(argv))

    def test_spellings_of_options(self):
        for line, options in (
                ('-XPATCH', {'--method': 'PATCH'}), ('-X=', {'--method': '='}),
                ('--method=PATCH', {'--method': 'PATCH'}), ('--method=', {'--method': ''}),
                ('--method a=b', {'--method': 'a=b'}), ('--method=a=b', {'--method': 'a=b'}),
                ('-X --', {'--method': '--'}), ('-X -v', {'--method': '-v'}),
                ('-ivXPUT', {'--include': '', '--verbose': '', '--method': 'PUT'}),
                ('-d @-', {'--data': '@-'}), ('-d-', {'--data': '-'}), ('-d -', {'--data': '-'})):
            with self.subTest(line):
                self.assertEqual(ntn.Arguments('api', options, ['x']),
                                 ntn.parse_arguments(['api', 'x'] + line.split()))
        self.assertEqual(ntn.Arguments('api', {}, ['x', '-X', '--', '-y=1']),
                         ntn.parse_arguments(['api', 'x', '--', '-X', '--', '-y=1']))
        self.assertEqual(ntn.Arguments('login poll', {'--json': '', '--no-wait': ''}, []),
                         ntn.parse_arguments(['--json', 'login', '--no-wait', 'poll']))

    def test_the_order_holds_in_a_real_process_too(self):
        self.store_login()
        result = self.ntn('--env', 'prod', 'api', 'v1/pages/p1', '-X', 'PATCH', 'archived:=true',
                          '-i', env={'POSIXLY_CORRECT': '1'})
        self.assertEqual((0, ''), (result.code, result.err))
        request, = self.sandbox.requests
        self.assertEqual(('PATCH', '/v1/pages/p1', b'{"archived":true}'),
                         (request.method, request.target, request.body))


class Ending(ProgramCase):

    def check_clean(self, text, secrets_ok=False):
        trace = 'Traceback (most recent call last):'
        super().check_clean(text.replace(trace, '') if self.env.get('NTN_DEBUG') == '1' else text,
                            secrets_ok)

    def test_an_unforeseen_error_is_one_line(self):
        said = ('error: Unexpected %s, which is a fault of this program.\n'
                '  hint: Run it with NTN_DEBUG=1 to see where it happened.\n')
        for error in (ValueError(CANARY), OSError(28, CANARY), RecursionError(), MemoryError(),
                      type('Odd', (Exception,), {'__str__': None})()):
            for debug in (None, '', '0'):
                with self.subTest(error=type(error), NTN_DEBUG=debug):
                    self.break_command(error)
                    self.assertEqual(Result(1, '', said % type(error).__name__),
                                     self.call('debug', env={'NTN_DEBUG': debug}))

    def test_its_traceback_is_shown_on_request_and_has_no_secrets(self):
        self.env.update(NTN_DEBUG='1', NOTION_API_TOKEN=CANARY)
        self.break_command(ValueError('a \x1b[2J ' + CANARY))
        result = self.call('debug')
        self.assertEqual((1, ''), (result.code, result.out))
        self.assertRegex(result.err, r'\ATraceback \(most recent call last\):\n  File "')
        self.assertTrue(result.err.endswith(
            '\nValueError: a \\u001b[2J [redacted]\n'
            'error: Unexpected ValueError, which is a fault of this program.\n'
            '  hint: Run it with NTN_DEBUG=1 to see where it happened.\n'), result.err)

    @staticmethod
    def interrupt(request, handler):
        """Press Ctrl-C until it is heard: Python loses one that comes just before a system call."""
        while True:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            if select.select([handler.connection], [], [], 1)[0]:
                return cut()

    def test_ctrl_c_during_any_request_is_130(self):
        self.store_login()
        self.write_state(PENDING, {'sessionId': 'sess-canary-1', 'issuedAt': int(time.time())})
        for line, method, path in (
                ('whoami', 'GET', '/v1/users/me'), ('doctor', 'GET', '/v1/users/me'),
                ('api v1/pages/p1', 'GET', '/v1/pages/p1'),
                ('api v1/pages/p1 --timeout 20', 'GET', '/v1/pages/p1'),
                ('login', 'POST', INIT), ('login poll --no-wait', 'POST', REDEEM)):
            with self.subTest(line):
                self.sandbox.on(method, path, self.interrupt)
                result = self.call(*line.split())
                self.assertEqual((130, ''), (result.code, result.err))

    def test_ctrl_c_while_a_body_arrives_is_130(self):
        self.store_login()

        def answer(request, handler):
            handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{')
            return self.interrupt

        self.sandbox.on('GET', '/v1/pages/p1', answer)
        result = self.call('api', 'v1/pages/p1')
        self.assertEqual((130, ''), (result.code, result.err))

    def test_ctrl_c_before_the_program_has_begun_is_130(self):
        with open(os.path.join(self.tmp, 'json.py'), 'w') as file:
            file.write('raise KeyboardInterrupt\n')
        self.assertEqual(Result(130, '', ''), self.ntn('whoami', env={'PYTHONPATH': self.tmp}))

    def test_streams_that_are_closed_or_full(self):
        self.store_login()
        full = 'error: Cannot write to standard output: No space left on device.\n'
        closed = 'error: Standard output is closed, so the result has nowhere to go.\n'
        rows = [
            ('>&-', '--version', 1, closed), ('>&-', 'api v1/users/me', 1, closed),
            ('>/dev/full', 'api v1/users/me', 1, full),
            ('2>&-', 'xyzzy', 2, ''), ('2>/dev/full', 'xyzzy', 2, ''),
            ('<&- >&- 2>&-', 'api v1/users/me', 1, ''),
            ('<&- >/dev/null', 'api v1/users/me', 0, ''),
        ]
        for redirection, line, code, err in rows:
            if '/dev/full' in redirection and not os.path.exists('/dev/full'):
                continue
            with self.subTest(line + ' ' + redirection):
                shell = ['sh', '-c', 'exec "$@" ' + redirection, 'sh']
                self.assertEqual(Result(code, '', err), self.ntn(*line.split(), prefix=shell))

    def test_a_reader_that_has_seen_enough_is_no_failure(self):
        self.store_login()
        reader, writer = os.pipe()
        os.close(reader)
        self.addCleanup(os.close, writer)
        for line in ('--help', 'api v1/users/me'):
            with self.subTest(line):
                process = self.spawn(*line.split(), stdin=subprocess.DEVNULL, stdout=writer)
                err = process.communicate(timeout=30)[1]
                self.assertEqual((0, b''), (process.returncode, err))


class House(Case):
    """What the docstring of ntn.py promises about the file itself."""

    @classmethod
    def setUpClass(cls):
        cls.functions = {}  # by qualified name; what is nested belongs to the outermost
        cls.tree = ast.parse(SOURCE)
        for node in cls.tree.body:
            members = node.body if isinstance(node, ast.ClassDef) else [node]
            prefix = node.name + '.' if isinstance(node, ast.ClassDef) else ''
            cls.functions.update((prefix + each.name, each) for each in members
                                 if isinstance(each, ast.FunctionDef))
        cls.used = {name: set(cls.names(node)) for name, node in cls.functions.items()}

    def users(self, pattern):
        """The functions that use a name of this pattern."""
        matches = re.compile(pattern + r'\Z').match
        return {name for name, used in self.used.items() if any(map(matches, used))}

    @staticmethod
    def names(node):
        """The dotted names that are used below a node; an import is named with the word before."""
        for each in ast.walk(node):
            if isinstance(each, ast.Import):
                for alias in each.names:
                    yield 'import ' + alias.name
            elif isinstance(each, ast.ImportFrom):
                for alias in each.names:
                    yield 'import %s.%s' % (each.module, alias.name)
            elif isinstance(each, (ast.Name, ast.Attribute)):
                parts = []
                while isinstance(each, ast.Attribute):
                    parts.append(each.attr)
                    each = each.value
                parts.append(each.id if isinstance(each, ast.Name) else '')
                yield '.'.join(reversed(parts))

    def test_each_effect_has_one_door(self):
        rows = [
            ('connections', r'(.*\.)?(create_connection|connect|connect_ex|listen|urlopen|'
             r'urlretrieve|build_opener)|import socket\..*', {'open_connection'}),
            ('requests', r'.*HTTPS?Connection', {'Client._connect'}),
            ('TLS', r'.*create_default_context', {'tls_context'}),
            ('unverified TLS', r'.*(_unverified|CERT_NONE|check_hostname|verify_mode|SSLContext).*',
             set()),
            ('environment variables', r'os\.(environb?|getenvb?|putenv|unsetenv)|import os\..*',
             {'Console.__init__'}),
            ('standard streams', r'sys\.(__)?std(in|out|err)(__)?', {'Console.__init__'}),
            ('output', r'print|(.*\.)?stdout\.(buffer\.)?(write|writelines|flush)|os\.writev?',
             {'Console.emit'}),
            ('messages', r'(.*\.)?stderr\.(buffer\.)?(write|writelines|flush)', {'Console._write'}),
            ('processes', r'subprocess\.[A-Za-z]*[a-z]\w*|os\.(system|popen|fork\w*|exec\w+|'
             r'spawn\w+|posix_spawn\w*|startfile)|(.*\.)?webbrowser\.open\w*|import subprocess\..*',
             {'open_browser'}),
            ('foreign code', r'eval|exec|compile|__import__|.*import_module'
             r'|import (pickle|marshal|ctypes)\b.*', set()),
            ('files', r'open|(io|os)\.open|os\.fdopen', {
                'read_file', 'write_file', 'sync_directory', 'locked', 'discard',
                'read_body_option', 'measure_file', 'make_form'}),
            ('changes to the disk', r'os\.(replace|rename|link|symlink|mkdir|makedirs|f?chmod)', {
                'read_file', 'write_file', 'make_directory', 'locked', 'set_aside'}),
            ('deletion', r'os\.(unlink|remove|removedirs|rmdir|truncate)|shutil\.(rmtree|move)',
             {'write_file'}),
        ]
        for effect, pattern, doors in rows:
            with self.subTest(effect):
                self.assertEqual(doors, self.users('(?:%s)' % pattern))

    def test_keyring_is_imported_in_one_place_only(self):
        self.assertEqual({'load_keyring'}, self.users(r'import keyring\b.*'))
        at_start = {name for node in self.tree.body for name in self.names(node)
                    if isinstance(node, (ast.Import, ast.ImportFrom))}
        self.assertEqual({'import json', 'import os', 'import re', 'import sys', 'import time'},
                         {name for name in at_start if '.' not in name})

    def test_a_bearer_token_is_written_in_one_place_only(self):
        self.assertEqual(1, SOURCE.count('Bearer'))
        self.assertRegex(SOURCE, r'(?s)\ndef api_headers\((?:(?!\ndef ).)*Bearer')

    def test_the_map_names_the_rooms_in_their_order(self):
        listed = re.findall(r'^ {4,5}(\d+ [A-Z][A-Za-z ]*?)  ', ntn.__doc__, re.M)
        banners = re.findall(r'^# ---- (.*?) (-+)$', SOURCE, re.M)
        self.assertEqual(listed, [name for name, _ in banners])
        self.assertEqual([str(number) for number in range(1, 11)],
                         [name.split()[0] for name in listed])
        self.assertEqual(1, len({len(name + dashes) for name, dashes in banners}))

    def test_the_doors_that_the_docstring_names_exist(self):
        promises = ntn.__doc__.partition('Promises')[2]
        doors = set(re.findall(r'`([A-Za-z]+[._][A-Za-z_.]+)`', promises))
        self.assertIn('open_connection', doors)
        self.assertEqual(set(), doors - set(self.functions) - {'Console.environ'})

    def test_the_licence_travels_with_the_file(self):
        self.assertIn('# SPDX-License-Identifier: MIT\n', SOURCE[:200])

    def test_no_function_is_longer_than_50_lines(self):
        lengths = {name: max(getattr(each, 'lineno', 0) for each in ast.walk(node)) - node.lineno
                   for name, node in self.functions.items()}
        self.assertEqual({}, {name: lines for name, lines in lengths.items() if lines >= 50})

    def test_no_line_is_wider_than_100(self):
        with open(__file__, encoding='utf-8') as file:
            for name, text in (('ntn.py', SOURCE), ('test_ntn.py', file.read())):
                wide = [number for number, line in enumerate(text.split('\n'), 1)
                        if len(line) > 100 or line != line.rstrip() or '\t' in line]
                self.assertEqual((name, []), (name, wide))


# ----------------------------------------------------------------------------------------------
# Entry point
# ----------------------------------------------------------------------------------------------

SUITE_LIMIT = 600  # seconds


class CountingResult(unittest.TextTestResult):
    """Counts what passed; the rest unittest keeps itself, test by test."""
    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def occupy_standard_streams():
    """Open what was closed of the descriptors 0 to 2, lest a socket or a terminal get one."""
    descriptor = 0
    while descriptor <= 2:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)


def flatten(suite):
    for test in suite:
        yield from flatten(test) if isinstance(test, unittest.TestSuite) else [test]


def run_tests(names, part=0, parts=1):
    """Run the tests named, or all, or each of `parts` of them; (passed, failed, skip reasons)."""
    faulthandler.dump_traceback_later(SUITE_LIMIT, exit=True)  # a suite that hangs shows where
    module, load = sys.modules[__name__], unittest.defaultTestLoader
    tests = load.loadTestsFromNames(names, module) if names else load.loadTestsFromModule(module)
    suite = unittest.TestSuite(list(flatten(tests))[part::parts])
    result = unittest.TextTestRunner(verbosity=0, resultclass=CountingResult).run(suite)
    faulthandler.cancel_dump_traceback_later()
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    passed = result.passed + len(result.expectedFailures)
    return passed, failed, [reason for _, reason in result.skipped]


def run_in_parts():
    """Run all tests in as many processes as there are processors, for they mostly wait."""
    parts = min(os.cpu_count() or 1, 4)
    flags = [flag for option in sys.warnoptions for flag in ('-W', option)]
    processes = [subprocess.Popen(
        [sys.executable] + flags + [os.path.abspath(__file__), '--part', '%d/%d' % (part, parts)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for part in range(parts)]
    passed = failed = 0
    skipped = []
    for process in processes:
        out = process.communicate()[0]
        try:
            counts = json.loads(to_text(out))
        except ValueError:  # it did not come to its end, and has said why
            counts = 0, 1, []
        passed, failed, skipped = passed + counts[0], failed + counts[1], skipped + counts[2]
    return passed, failed, skipped


def report(passed, failed, skipped):
    """The last line is the count; the status is 0 only if some tests ran and none failed."""
    for reason, count in sorted(collections.Counter(skipped).items()):
        print('skipped: %s (%d)' % (reason, count))
    print('%d passed, %d failed, %d skipped' % (passed, failed, len(skipped)), flush=True)
    return 0 if passed and not failed else 1


def main(argv):
    parser = argparse.ArgumentParser(description='Run the tests of ntn.py, or its sandbox.')
    parser.add_argument('names', nargs='*', metavar='NAME',
                        help="a test class or CLASS.test_method, or 'sandbox'; default: all tests")
    parser.add_argument('--port', type=int, default=0, help='of the sandbox; default: a free one')
    parser.add_argument('--part', help=argparse.SUPPRESS)  # as run_in_parts calls itself
    options = parser.parse_args(argv)
    occupy_standard_streams()
    if options.names == ['sandbox']:
        return serve_sandbox(options.port)
    if options.part:
        print(json.dumps(run_tests([], *map(int, options.part.split('/')))))
        return 0
    return report(*(run_tests(options.names) if options.names else run_in_parts()))


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
