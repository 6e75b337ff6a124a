#!/usr/bin/env python3
"""Tests of ntn.py, and the stand-in for Notion that they run against.

    python3 test_ntn.py                         run all tests
    python3 test_ntn.py NAME ...                run some: CLASS or CLASS.test_method
    python3 test_ntn.py sandbox [--port N]      serve the stand-in, to try ntn.py without an account
    python3 test_ntn.py fuzz [--seconds N]      try odd inputs, answers and files for longer
    python3 test_ntn.py bench                   compare ntn.py with bare scripts

Python 3.6 is enough, and nothing outside the loopback is talked to. Server, files, processes and
terminals are real; only the clock, the browser and the keychain are stood in for. The secrets that
the stand-in hands out begin with a prefix that may appear in no output: every test is a leak test.

SPDX-License-Identifier: MIT
"""
import argparse
import ast
import base64
import collections
import contextlib
import difflib
import email.utils
import errno
import faulthandler
import functools
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
import urllib.request
import uuid
import warnings
import zlib
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
NOW = 1767225600  # 2026-01-01T00:00:00Z, when each test begins
WORKSPACE = '11111111-2222-3333-4444-555555555555'
OTHER = '66666666-7777-4888-8999-aaaaaaaaaaaa'  # another workspace
REQUEST_ID = '0e1ab4a7-5d3c-4c2f-9b8e-6f7a8b9c0d1e'
PENDING = 'cache/pending-login.json'
STATE = 'auth.json', 'config.json', 'workspaces.json', PENDING
INIT, REDEEM = '/api/v3/workersCliLoginInit', '/api/v3/workersCliLoginRedeem'
PERSON = 'stdin', 'stderr'  # the streams that have to be terminals where somebody is asked
LOG_IN = 'Run `ntn login`, or set NOTION_API_TOKEN.'
START = "Run 'ntn login' first to start a new login session."
REPAIR = 'Repair it, or move it away and run `ntn login` again.'
KEYCHAIN_HINT = 'Set NOTION_KEYRING=0 to use file-based auth instead of the OS keychain.'

def to_bytes(text):
    """UTF-8 whatever the locale that the tests run in; ntn.py itself is given C.UTF-8."""
    return text if isinstance(text, bytes) else text.encode('utf-8', 'surrogateescape')

def to_text(data):
    return bytes(data).decode('utf-8', 'surrogateescape')

def plain(text):
    """A text of ntn.py with `ntn COMMAND`, where it names the command that can be typed here."""
    return re.sub(r"`[^`\n]*\bntn\.py'? ", '`ntn ', text)

# ---- Harness 1: requests and answers -------------------------------------------------------------

class Request(collections.namedtuple(
        'Request', 'method target path query headers body connection')):
    """A request as it came over the wire; `target` and the headers have not been touched."""

    def json(self):
        return json.loads(self.body.decode('utf-8'))

    def header(self, name):
        """The header's values joined by a comma, as HTTP defines; None if it was not sent."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ', '.join(values) if values else None

class Answer:
    """A well-formed response, and some slightly malformed ones.

    `encoding='gzip'` compresses the body. `chunked` is the size of the pieces of a chunked body.
    `length` overrides Content-Length; the connection is closed then, so that a longer promise is a
    broken one. `close` drops the connection after the answer without having announced it.
    """

    def __init__(self, status=200, body=b'', headers=(), content_type='application/json',
                 encoding=None, chunked=0, length=None, close=False):
        self.status, self.body, self.chunked = status, to_bytes(body), chunked
        self.headers = [('Content-Type', content_type)] + list(headers)
        self.close = close or length is not None
        if encoding:
            compressor = zlib.compressobj(wbits=31)
            self.body = compressor.compress(self.body) + compressor.flush()
            self.headers.append(('Content-Encoding', encoding))
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
        start, body = '\r\n'.join(lines + ['', '']).encode('latin-1'), self.body
        if self.chunked:
            pieces = [body[i:i + self.chunked] for i in range(0, len(body), self.chunked)] + [b'']
            body = b''.join(b'%x\r\n%s\r\n' % (len(piece), piece) for piece in pieces)
        handler.close_connection = handler.close_connection or self.close
        handler.wfile.write(start if request.method == 'HEAD' else start + body)

def drip(pieces):
    """Answer with these raw bytes, each piece sent as the iterable gives it, and hang up."""
    def answer(request, handler):
        handler.close_connection = True
        for piece in pieces:
            handler.wfile.write(piece)
    return answer

def raw(data=b''):
    """Answer with precisely these bytes, status line and all, and hang up."""
    return drip([data])

cut = raw  # where they are none, or part of an answer: to break the connection

def hang(event, answer=None):
    """Keep silent until `event` is set; then answer, or hang up if there is no answer."""
    def wait(request, handler):
        while not event.wait(0.01) and not handler.sandbox.stopping.is_set():
            pass
        return answer or cut()
    return wait

def head(*lines):
    """The head of an answer, as the wire has it."""
    return ''.join(line + '\r\n' for line in ('HTTP/1.1 200 OK',) + lines + ('',)).encode('latin-1')

def answer_with(fields, changes):
    """An answer of these fields, some of them changed; None takes one away."""
    fields = dict(fields, **changes)
    return Answer(200, json.dumps({key: each for key, each in fields.items() if each is not None}))

def begun(**changes):
    return answer_with({'sessionId': 'sess-canary-1', 'verificationCode': 'DP9-QL5',
                        'browserUrl': 'https://app.notion.com/x'}, changes)

def confirmed(**changes):
    return answer_with({'status': 'confirmed', 'token': 'ntn_canary_new', 'spaceId': WORKSPACE,
                        'spaceName': 'Acme'}, changes)

# ---- Harness 2: the documents of the stand-in ----------------------------------------------------

def describe(summary, tag, operation_id, **more):
    """An operation of the OpenAPI document."""
    return dict({'summary': summary, 'tags': [tag], 'operationId': operation_id,
                 'x-notion-docs-ref': 'reference/' + operation_id}, **more)

def refer(name):
    return {'$ref': '#/components/' + name}

OPERATIONS = '''\
get /v1/users/me Users get-self: Retrieve your token’s bot user
get /v1/users Users get-users: List all users
post /v1/search Search post-search: Search by title
post /v1/pages Pages post-page: Create a page
get /v1/pages/{page_id} Pages retrieve-a-page: Retrieve a page
patch /v1/pages/{page_id} Pages patch-page: Update page
get /v1/blocks/{block_id}/children Blocks get-block-children: Retrieve block children
patch /v1/blocks/{block_id}/children Blocks patch-block-children: Append block children
post /v1/file_uploads/{file_upload_id}/send Uploads send-a-file-upload: Upload a file
'''

def make_openapi():
    schemas = {'Page': {'type': 'object', 'properties': {
        'parent': {'type': 'object', 'description': 'Where it is'},
        'children': {'type': 'array', 'items': refer('schemas/Page')}}}}
    document = {'openapi': '3.1.0', 'info': {'title': 'Notion API', 'version': '2026-03-11'},
                'paths': {}, 'components': {'schemas': schemas}}
    body = {'requestBody': {'content': {'application/json': {'schema': refer('schemas/Page')}}}}
    for method, path, tag, name, summary in re.findall('(.*) (.*) (.*) (.*): (.*)', OPERATIONS):
        document['paths'].setdefault(path, {'parameters': [
            {'name': each, 'in': 'path', 'required': True, 'schema': {'type': 'string'}}
            for each in re.findall('{(.*)}', path)]})[method] = describe(
                summary, tag, name, **body if tag == 'Pages' and method != 'get' else {})
    return document

OPENAPI = make_openapi()

APPROVAL_PAGE = '''<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>ntn.py sandbox</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width">
<style>
:root { color-scheme: light dark }
body { max-width: 28rem; margin: 10vh auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif }
code { display: block; padding: 1rem; font: 600 2rem/1.2 ui-monospace; overflow-wrap: anywhere }
select, button { box-sizing: border-box; width: 100%%; min-height: 3rem; margin: .5rem 0 }
</style>
<h1>%s</h1><p>%s</p><small>A sandbox: no account is needed or touched.</small>
'''
APPROVAL_TEXTS = {  # by the state of the login
    'pending': ('Log in to ntn.py?', '''Approve only if your terminal shows this code:
<code>{code}</code><form method="post">
<label>ntn.py will get access to the workspace {workspaces}</label>
<button name="decision" value="approve">Approve</button>
<button name="decision" value="deny">Deny</button></form>'''),
    'approved': ('✔ Approved', 'ntn.py gets access to the workspace <b>{workspace}</b>. '
                               'Close this page and go back to your terminal.'),
    'denied': ('Denied', 'The login {code} was denied: ntn.py gets no access.'),
    'expired': ('Too late', 'The login {code} has expired. Start another one in your terminal.'),
    'unknown': ('Unknown code', 'There is no login with the code {code}.')}

# ---- Harness 3: the stand-in for Notion ----------------------------------------------------------

class Refusal(Exception):
    """Ends the work on a request: status, code and message of the error to answer with."""

def invalid(where, should, value=None):
    """The refusal of a parameter, as Notion words it; `where` is such as 'body.page_size'."""
    return Refusal(400, 'validation_error', '%s failed validation: %s should be %s, instead was '
                   '`%s`.' % (where.partition('.')[0], where, should,
                              'undefined' if value is None else json.dumps(value)))

class Session:
    """A login that was begun: 'pending', then 'approved' or 'denied', and 'used' in the end."""

    def __init__(self, number, expires):
        self.id, self.token = 'sess-canary-%d' % number, 'ntn_canary_login_%d' % number
        self.code, self.expires = 'DP9-QL%d' % (number + 4), expires
        self.state, self.workspace = 'pending', None

ROUTES = []  # (pattern of 'METHOD path', method of Sandbox that answers)

def route(pattern):
    """Register a method of Sandbox, which gets the groups of the pattern as arguments."""
    def register(function):
        ROUTES.append((re.compile(pattern + r'\Z'), function))
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

    def __getattr__(self, name):
        """The base class asks for do_METHOD; any method is fine here."""
        return self.serve if name.startswith('do_') else self.__getattribute__(name)

    def log_message(self, *args):
        pass

    def serve(self):
        target = self.requestline.split()[1]  # self.path is tidied up by some Pythons
        path, _, query = re.sub(r'\Ahttps?://[^/?]*', '', target).partition('?')
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
        length = int(self.headers.get('Content-Length') or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # given up: no request, and no use for the next answer
            raise ConnectionResetError
        request = Request(self.command, target, path, pairs, self.headers.items(), body,
                          self.number)
        self.sandbox.requests.append(request)
        answer = self.sandbox.choose_answer(request)
        while answer:
            answer = answer(request, self)

class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    block_on_close = False  # a client that never hangs up must not keep a test from ending
    daemon_threads = True
    request_queue_size = 128

    def serve(self):
        """Serve in a thread; the interval is how long a shutdown may take."""
        threading.Thread(target=self.serve_forever, args=(0.005,), daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that went away is none of our business; a mistake in a test's answer is."""
        if not isinstance(sys.exc_info()[1], OSError):
            self.sandbox.note_fault()

class Sandbox:
    """Notion on the loopback: login, approval page, a little of the API, its documentation.

    It does what Notion would, unless `on` or `always` say otherwise, but that any page exists but
    `missing`. It can be stopped and started again on the same port, with all it knows.
    """

    def __init__(self, port=0, verbose=False):
        self.port, self.verbose = port, verbose  # verbose: its own faults are printed
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.connections, self.connection_numbers = set(), itertools.count(1)
        self.reset()

    def reset(self):
        """Be as at the start, on the same port."""
        self.clock = time.time
        self.date_offset, self.send_date = 0, True  # seconds that Notion's clock is ahead of ours
        self.lifetime = 600  # seconds that a login session lasts
        self.workspaces = [(WORKSPACE, 'Acme')]  # approvals take them in turn, if none is chosen
        self.valid_tokens, self.issued_tokens = set(), []  # the latter by logins
        self.openapi = json.dumps(OPENAPI).encode('ascii')
        self.pages, self.children = {}, {}  # by ID; the children of pages and blocks
        self.results = []  # what is searched in; the children, too, of what has none of its own
        for number, title in enumerate(('Roadmap', 'Roadmap of last year', 'Reading list')):
            page = self.find_page('0000000%d-0000-4000-8000-000000000000' % number)
            page['properties']['title'] = {'title': [{'text': {'content': title}}]}
            self.results.append(page)
        self.requests, self.errors = [], []  # errors: tracebacks of mistakes in the answers
        self.sessions = []
        self.scripted, self.standing = collections.defaultdict(collections.deque), {}

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
        self.server.serve()
        return self

    def stop(self, *exc_info):
        if not self.stopping.is_set():
            self.stopping.set()
            self.server.shutdown()
            self.server.server_close()
            for connection in list(self.connections):
                with contextlib.suppress(OSError):  # it is over already
                    connection.shutdown(socket.SHUT_RDWR)

    __enter__, __exit__ = start, stop

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
            except Exception:
                self.note_fault()
                return Answer.error(500, 'internal_server_error', 'The sandbox has a fault.')

    def note_fault(self):
        self.errors.append(traceback.format_exc())
        if self.verbose:
            print(self.errors[-1], file=sys.stderr, flush=True)

    def answer_as_notion(self, request):
        is_api = request.path.startswith('/v1/')
        if is_api:
            self.authorize(request)
        called = '%s %s' % (request.method.replace('HEAD', 'GET'), request.path)
        for pattern, function in ROUTES:
            match = pattern.match(called)
            if match:
                return function(self, request, *match.groups())
        raise (Refusal(400, 'invalid_request_url', 'Invalid request URL.') if is_api else
               Refusal(404, 'not_found', 'Nothing is served at this path.'))

    # Time and login -------------------------------------------------------------------------------

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

    def find_state(self, session):
        """The session's own, or 'expired'; 'unknown' if there is no session."""
        if session is None:
            return 'unknown'
        is_over = session.state in ('denied', 'used') or session.expires > self.now()
        return session.state if is_over else 'expired'

    def decide(self, session, approved, workspace=None):
        """Whether the decision was in time; a second one changes nothing."""
        if self.find_state(session) != 'pending':
            return False
        if approved:
            turn = sum(each.workspace is not None for each in self.sessions)
            session.workspace = workspace or self.workspaces[turn % len(self.workspaces)]
        session.state = 'approved' if approved else 'denied'
        return True

    def approve(self, code=None, workspace=None):
        """Do what the user does in the browser; `workspace` is an (id, name)."""
        return self.decide(self.find_session(code), True, workspace)

    @route('POST ' + INIT)
    def begin_login(self, request):
        self.read_object(request)
        session = Session(len(self.sessions) + 1, self.now() + self.lifetime)
        self.sessions.append(session)
        url = '%s/workers/cli-login?verificationCode=%s' % (self.origin, session.code)
        return begun(sessionId=session.id, verificationCode=session.code, browserUrl=url,
                     expiresAt=int(session.expires))

    @route('POST ' + REDEEM)
    def redeem_login(self, request):
        wanted = self.read_object(request).get('sessionId')
        session = next((each for each in self.sessions if each.id == wanted), None)
        state = self.find_state(session)
        if state in ('denied', 'unknown', 'used'):
            raise Refusal(400, 'validation_error', 'The login was denied.' if state == 'denied' else
                          'No such login session.')
        if state != 'approved':
            return Answer.json({'status': state})
        session.state = 'used'
        self.issued_tokens.append(session.token)
        return confirmed(token=session.token, spaceId=session.workspace[0],
                         spaceName=session.workspace[1])

    @route('(?:GET|POST) /workers/cli-login')
    def show_approval_page(self, request):
        code = dict(request.query).get('verificationCode', '')
        session = self.find_session(code)
        status = 200 if session else 404
        if session and request.method == 'POST':
            form = dict(urllib.parse.parse_qsl(to_text(request.body)))
            chosen = [each for each in self.workspaces if each[0] == form.get('workspace')]
            in_time = self.decide(session, form.get('decision') == 'approve', *chosen)
            status = 200 if in_time else 409
        heading, text = APPROVAL_TEXTS[self.find_state(session).replace('used', 'approved')]
        chosen = session and session.workspace or ('', '')
        options = ['<option value="%s">%s' % (key, html.escape(name))
                   for key, name in self.workspaces]
        text = text.format(code=html.escape(code), workspace=html.escape(chosen[1]),
                           workspaces='<select name="workspace">%s</select>' % ''.join(options))
        return Answer(status, APPROVAL_PAGE % (heading, text), [('Cache-Control', 'no-store')],
                      content_type='text/html; charset=utf-8')

    # API ------------------------------------------------------------------------------------------

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
    def read_object(request, **defaults):
        """The body; its fields of these names are of the default's type, or become the default."""
        try:
            value = json.loads(request.body.decode('utf-8') or '{}')
        except (ValueError, RecursionError):
            raise Refusal(400, 'invalid_json', 'Error parsing JSON body.') from None
        if not isinstance(value, dict):
            raise invalid('body', 'an object', value)
        if 'archived' in value and (request.header('Notion-Version') or '') >= '2026-03-11':
            raise invalid('body.archived', 'not present', value['archived'])
        for name, default in defaults.items():
            kind = {dict: 'an object', list: 'an array', str: 'a string'}[type(default)]
            if not isinstance(value.setdefault(name, default), type(default)):
                raise invalid('body.' + name, kind, value[name])
        return value

    @staticmethod
    def answer_list(items, parameters, place='body'):
        """A part of these by page_size and start_cursor, which came in the 'query' or 'body'."""
        size, cursor = parameters.get('page_size', 100), parameters.get('start_cursor', 'cursor-0')
        if not re.match(r'([1-9]\d?|100)\Z', str(size)):
            raise invalid(place + '.page_size', 'a number from 1 to 100', size)
        if not re.match(r'cursor-\d{1,9}\Z', str(cursor)):
            raise invalid(place + '.start_cursor', 'a cursor that was given out', cursor)
        start, end = int(cursor[7:]), int(cursor[7:]) + int(size)
        more = end < len(items)
        return Answer.json({'object': 'list', 'results': items[start:end],
                            'next_cursor': 'cursor-%d' % end if more else None, 'has_more': more})

    @route('GET /v1/users/me')
    def show_self(self, request):
        token = self.authorize(request)
        space = next((each.workspace for each in self.sessions if each.token == token),
                     self.workspaces[0])
        ann = {'object': 'user', 'id': 'a0000000-0000-4000-8000-000000000001', 'name': 'Ann',
               'avatar_url': None, 'type': 'person', 'person': {'email': 'ann@example.com'}}
        return Answer.json({
            'object': 'user', 'id': 'b0000000-0000-4000-8000-000000000002', 'name': 'Notion CLI',
            'avatar_url': None, 'type': 'bot', 'bot': {
                'owner': {'type': 'user', 'user': ann},
                'workspace_id': space[0], 'workspace_name': space[1]}})

    @route('GET /v1/users')
    def list_users(self, request):
        raise Refusal(403, 'restricted_resource', 'Insufficient permissions for this endpoint.')

    @route('POST /v1/search')
    def search(self, request):
        fields = self.read_object(request, query='', filter={'property': 'object'})
        query, kind = fields['query'].lower(), fields['filter'].get('value')
        if 'property' not in fields['filter']:
            raise invalid('body.filter.property', 'defined')
        found = [each for each in self.results if not each.get('in_trash')
                 and (kind is None or kind == each.get('object'))
                 and (not query or query in self.find_title(each).lower())]
        return self.answer_list(found, fields)

    @staticmethod
    def find_title(page):
        """The text of a page's title, in whatever form that was given."""
        title = json.dumps(page.get('properties', {}).get('title'), ensure_ascii=False)
        return ''.join(re.findall(r'"content": "((?:[^"\\]|\\.)*)', title))

    def find_page(self, page_id):
        if page_id == 'missing':
            raise Refusal(404, 'object_not_found', 'Could not find page with ID: missing.')
        return self.pages.setdefault(page_id, {
            'object': 'page', 'id': page_id, 'in_trash': False, 'properties': {},
            'url': 'https://www.notion.so/' + page_id.replace('-', '')})

    @route('POST /v1/pages')
    def create_page(self, request):
        page = self.find_page(str(uuid.uuid4()))
        self.append_children(request, page['id'])
        self.results = self.results + [page]
        return self.show_page(request, page['id'])

    @route('(?:GET|PATCH) /v1/pages/([^/]+)')
    def show_page(self, request, page_id):
        page = self.find_page(page_id)
        if request.method != 'GET':
            fields = self.read_object(request, properties={})
            fields.pop('children', None)
            fields['properties'] = dict(page['properties'], **fields['properties'])
            if 'archived' in fields:  # so older versions call it
                fields['in_trash'] = fields.pop('archived')
            page.update(fields)
        return Answer.json(page)

    @route('GET /v1/blocks/([^/]+)/children')
    def list_children(self, request, block_id):
        children = self.children.get(block_id, self.results)
        return self.answer_list(children, dict(request.query), 'query')

    @route('PATCH /v1/blocks/([^/]+)/children')
    def append_children(self, request, block_id):
        blocks = [dict({'object': 'block', 'id': str(uuid.uuid4()), 'has_children': False,
                        'in_trash': False, 'type': next(iter(each), '')}, **each)
                  for each in self.read_object(request, children=[])['children']]
        self.children.setdefault(block_id, []).extend(blocks)
        return self.answer_list(blocks, {})

    @route('POST /v1/file_uploads(?:/([^/]+)/send)?')
    def receive_file(self, request, upload_id):
        return Answer.json({'object': 'file_upload', 'id': upload_id or str(uuid.uuid4()),
                            'status': 'uploaded' if upload_id else 'pending',
                            'content_length': len(request.body)})

    @route('GET /v1/rate-limited')
    def limit_rate(self, request):
        return Answer.error(429, 'rate_limited', 'You have been rate limited.',
                            [('Retry-After', '1')])

    @route('GET /v1/errors/([^/]+)')
    def fail_as_asked(self, request, status):
        if not re.match(r'[45]\d\d\Z', status):
            raise invalid('path.status', 'a number from 400 to 599', status)
        raise Refusal(int(status), 'sandbox_error', 'This is the error you asked for.')

    @route('GET /openapi.json')
    def show_openapi(self, request):
        tag = '"%s"' % hashlib.sha256(self.openapi).hexdigest()
        if request.header('If-None-Match') == tag:
            return Answer(304, headers=[('ETag', tag)])
        return Answer(200, self.openapi, [('ETag', tag)])

    @route('GET /reference/([^/]+).md')
    def show_reference(self, request, name):
        return Answer(200, '# %s\n\nThe documentation of this endpoint.\n' % name,
                      content_type='text/markdown; charset=utf-8')

SANDBOX_HELP = '''\
# Paste the lines above into another terminal, and log in there: python3 ntn.py login
# Worth trying then: python3 ntn.py api v1/search query=roadmap
#                    ... v1/errors/503, v1/rate-limited or v1/pages/missing in place of v1/search
# Ctrl-C here ends the sandbox and removes its directory. Afterwards, in the other terminal:
unset %s'''

def serve_sandbox(port):
    """The command `sandbox`: print what to export, and serve until interrupted."""
    for name in {'SIGTERM', 'SIGHUP'} & set(dir(signal)):  # a closed terminal: tidy up, too
        signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix='ntn-sandbox-') as home, \
                Sandbox(port, verbose=True) as sandbox:
            sandbox.workspaces.append((OTHER, 'Globex'))
            # Without a keychain: trying things out must leave nothing in the user's own.
            variables = dict(sandbox.environ, NOTION_HOME=home, NOTION_KEYRING='0')
            for name, value in variables.items():
                print('export %s=%s' % (name, shlex.quote(value)), flush=True)
            print(SANDBOX_HELP % ' '.join(variables), file=sys.stderr, flush=True)
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the shell's prompt gets a line of its own
        return 0
    except (OSError, OverflowError) as error:  # the latter for a port above 65535
        print('error: the sandbox cannot be served: %s' % error, file=sys.stderr)
        return 1

# ---- Harness 4: running ntn.py -------------------------------------------------------------------

# How a run ended. Bytes that are not UTF-8 are kept as surrogate escapes.
Result = collections.namedtuple('Result', 'code out err')

def without_instructions(result):
    """The result of a `login poll` without the address and the code, which it shows again."""
    return result._replace(err=re.sub(r'(?s)Open this URL.*?\n\n  DP9-QL\d+\n\n', '', result.err))

def read_rows(text):
    """The two sides of each line of a table; the left one as a shell would split it."""
    pairs = [line.split(' => ') for line in text.splitlines() if line]
    return [(shlex.split(left), right) for left, right in pairs]

def rows(table):
    """Run a test once for each row, which is its arguments, with everything made anew for each."""
    table = list(table)

    def decorate(function):
        @functools.wraps(function)
        def test(self):
            for number, row in enumerate(table):
                with self.subTest(row=row):
                    if number:
                        self.renew()
                    function(self, *(row if isinstance(row, tuple) else (row,)))
        del test.__wrapped__  # else pytest takes the row's names for fixtures
        return test
    return decorate

class FakeClock:
    """Time that passes only when someone sleeps. `on_sleep` is called after each sleep."""

    def __init__(self):
        self.wall, self.uptime = float(NOW), 1000.0
        self.sleeps, self.on_sleep = [], lambda: None

    def time(self):
        return self.wall

    def monotonic(self):
        return self.uptime

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.wall += seconds
        self.uptime += seconds
        self.on_sleep()

def reap(process):
    """End a process if it still runs, and let go of all that belongs to it."""
    process.kill()
    process.wait()
    for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
        with contextlib.suppress(OSError):  # what was still to be written has no reader any more
            stream.close()

class Terminal:
    """ntn.py in a terminal of its own, and somebody who reads and types there."""
    # Run between fork and ntn.py: makes the terminal the controlling one, so that Ctrl-C is a
    # signal. A preexec_fn would do the same, but is not safe beside the sandbox's threads.
    ADOPT = ('import fcntl, os, sys, termios\n'
             'terminal = os.open(sys.argv[1], os.O_RDWR)\n'
             'fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)\n'
             'os.close(terminal)\n'
             'os.execv(sys.argv[2], sys.argv[2:])\n')

    def __init__(self, case, argv, env, streams):
        self.case = case
        self.master, slave = os.openpty()
        try:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
            self.process = case.spawn(
                *argv, env=env, start_new_session=True,
                prefix=[sys.executable, '-I', '-S', '-c', self.ADOPT, os.ttyname(slave)],
                **dict({'stdin': slave, 'stdout': slave, 'stderr': slave}, **streams))
        finally:
            os.close(slave)
        self.data, self.open = b'', True
        case.addCleanup(self.close)

    @property
    def output(self):
        """What the screen was sent, with the line ends that the program wrote."""
        return plain(to_text(self.data).replace('\r\n', '\n'))

    def pump(self, timeout):
        """Collect what comes in time; whether there can be more."""
        if self.open and select.select([self.master], [], [], timeout)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # so Linux reports that nobody holds the terminal any more
                data = b''
            self.data, self.open = self.data + data, bool(data)
            return self.open
        return False

    def until(self, done, complaint, timeout):
        deadline = time.monotonic() + timeout
        while not done():
            if time.monotonic() > deadline:
                self.case.fail('%s; the output:\n%s' % (complaint, self.output))
            self.pump(0.02)

    def expect(self, text, timeout=10):
        """Wait until the output contains this text."""
        self.until(lambda: text in self.output, '%r did not come' % text, timeout)

    def send(self, text):
        os.write(self.master, to_bytes(text))

    def wait(self, timeout=10):
        """The exit code, once the program has ended."""
        self.until(lambda: self.process.poll() is not None, 'the program goes on', timeout)
        while self.pump(0.2):
            pass
        return self.process.returncode

    def close(self):
        self.process.kill()
        while self.pump(0.01):
            pass
        os.close(self.master)
        self.case.check_clean(to_text(self.data))

class Case(unittest.TestCase):
    """A test with a sandbox, a directory and an environment of its own.

    self.dir    a temporary directory; self.tmp, below it, is the TMPDIR of ntn.py
    self.home   NOTION_HOME; it does not exist yet
    self.env    the environment that ntn.py gets; HOME is below a file, where nothing can be made
    self.clock  that of `call` and of the sandbox; it stands still unless somebody sleeps
    """
    maxDiff = None

    def setUp(self):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix='ntn-test-'))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.addCleanup(self.check_files)
        self.home, self.tmp = os.path.join(self.dir, 'home'), os.path.join(self.dir, 'tmp')
        os.mkdir(self.tmp)
        self.sandbox = Sandbox().start()
        self.addCleanup(self.check_sandbox)
        self.addCleanup(self.sandbox.stop)
        self.env = dict(
            self.sandbox.environ, PATH=os.environ.get('PATH', os.defpath), TMPDIR=self.tmp,
            HOME=os.path.join(os.path.abspath(__file__), 'home'), NOTION_HOME=self.home,
            NOTION_KEYRING='0', LC_ALL='C.UTF-8', PYTHONDONTWRITEBYTECODE='1',
            PYTHONWARNINGS='error')
        self.patch(ntn, 'jitter', lambda: 0.0)  # pauses are exact
        self.enter(mock.patch.dict(os.environ, COLUMNS='80'))  # whatever terminal this runs in
        self.forget_certificates()
        self.prepare()

    def prepare(self):
        """Called before each test and each row; a class adds what its tests need besides."""
        self.clock = FakeClock()
        self.sandbox.clock = self.clock.time

    def renew(self):
        """Forget what the row before has left: on disk, and in the sandbox."""
        self.check_files()
        self.check_sandbox()
        shutil.rmtree(self.home, ignore_errors=True)
        self.sandbox.reset()
        self.prepare()

    # Doors: all that is replaced inside ntn.py is named here --------------------------------------

    def enter(self, context):
        """Enter a context for as long as the test runs; what it gives."""
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    def patch(self, owner, name, value):
        self.enter(mock.patch.object(owner, name, value))

    def limit(self, **limits):
        """Change limits of ntn.py, in seconds, by the names of its constants."""
        for name, seconds in limits.items():
            self.patch(ntn, name, seconds)

    def forget_certificates(self):
        """The TLS context is made once for a process: the next call is to make its own."""
        getattr(ntn.tls_context, 'cache_clear', lambda: None)()

    def hurry(self, factor=lambda limit: 100):
        """Let what is waited for in a thread, a keychain or a silent pipe, time out sooner."""
        real = ntn.call_with_limit
        self.limit(NOTICE_AFTER=0.02)
        self.patch(ntn, 'call_with_limit', lambda function, limit, *more, **options: real(
            function, limit and limit / factor(limit), *more, **options))

    def names(self, **addresses):
        """Let host names, with _ for the dots, stand for this (address, port), or several."""
        real, self.looked_up = socket.getaddrinfo, []
        table = {host.replace('_', '.'): found for host, found in addresses.items()}

        def look_up(host, port, family=0, type=0, proto=0, flags=0):
            found = table.get(to_text(to_bytes(host)), [(host, port)])
            self.looked_up.append('%s:%s' % (to_text(to_bytes(host)), port))
            return [entry for each in (found if isinstance(found, list) else [found])
                    for entry in real(each[0], each[1], family, type, proto, flags)]
        self.patch(socket, 'getaddrinfo', look_up)

    # Running --------------------------------------------------------------------------------------

    def environ(self, overrides):
        """self.env with changes; None takes a variable away."""
        merged = dict(self.env, **(overrides or {}))
        return {name: value for name, value in merged.items() if value is not None}

    def spawn(self, *argv, env=None, prefix=(), python_flags=(), **options):
        """Start ntn.py and return the Popen, which is ended and reaped after the test. `prefix` is
        a command that runs the interpreter; `options` are Popen's, streams not given are pipes."""
        command = [*prefix, sys.executable, *python_flags, NTN, *argv]
        variables = {to_bytes(k): to_bytes(v) for k, v in self.environ(env).items()}
        options = dict(dict.fromkeys(('stdin', 'stdout', 'stderr'), subprocess.PIPE), **options)
        process = subprocess.Popen(list(map(to_bytes, command)), env=variables, **options)
        self.addCleanup(reap, process)
        return process

    def ntn(self, *argv, stdin=b'', timeout=30, **options):
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
        return self.checked(process.returncode, out, err)

    def call(self, *argv, stdin=b'', env=None, tty=(), encoding='utf-8', secrets_ok=False):
        """Run ntn.main in this process, which is fast and lets the clock be stood in for.

        `stdin`: bytes, which come as a regular file, None for /dev/null, or a binary file.
        `tty`: which of 'stdin', 'stdout', 'stderr' say that they are terminals.
        """
        if isinstance(stdin, bytes):
            source = tempfile.TemporaryFile(dir=self.dir)
            source.write(stdin)
            source.seek(0)
        else:
            source = open(stdin.fileno() if stdin else os.devnull, 'rb', closefd=not stdin)
        binary = {'stdin': source, 'stdout': io.BytesIO(), 'stderr': io.BytesIO()}
        streams = {}
        for name, stream in binary.items():
            errors = 'backslashreplace' if name == 'stderr' else 'strict'  # as Python has it
            streams[name] = io.TextIOWrapper(stream, encoding, errors, newline='')
            streams[name].isatty = lambda name=name: name in tty
        with source:
            console = ntn.Console(environ=self.environ(env), clock=self.clock, **streams)
            code = ntn.main(list(argv), console)
        streams['stdout'].flush()
        streams['stderr'].flush()
        return self.checked(code, binary['stdout'].getvalue(), binary['stderr'].getvalue(),
                            secrets_ok)

    def terminal(self, *argv, env=None, **streams):
        """Run ntn.py in a terminal; a stream given as subprocess.PIPE or a file goes elsewhere."""
        if termios is None or not os.path.exists('/dev/ptmx'):
            self.skipTest('there are no pseudo-terminals here')
        return Terminal(self, argv, dict({'TERM': 'xterm'}, **(env or {})), streams)

    def free_port(self):
        """A port that refuses connections: it is taken, but nobody listens there."""
        holder = self.enter(socket.socket())
        holder.bind(('127.0.0.1', 0))
        return holder.getsockname()[1]

    # Leaks ----------------------------------------------------------------------------------------

    def checked(self, code, out, err, secrets_ok=False):
        result = Result(code, plain(to_text(out)), plain(to_text(err)))
        self.check_clean(result.out + result.err, secrets_ok)
        return result

    def check_clean(self, text, secrets_ok=False):
        """No output shows a traceback, nor a secret unless that is what was asked for."""
        for unwanted in ('Traceback',) + (() if secrets_ok else SECRET_PREFIXES):
            self.assertNotIn(unwanted, text)

    def check_files(self):
        """Tokens and sessions are on disk in their own files only."""
        for directory, _, names in itertools.chain(os.walk(self.home), os.walk(self.tmp)):
            for path in (os.path.join(directory, name) for name in names):
                own = os.path.basename(path).startswith(('auth.json', 'pending-login.json'))
                if not own and stat.S_ISREG(os.lstat(path).st_mode):
                    with open(path, 'rb') as file:
                        self.check_clean(to_text(file.read()))

    def check_sandbox(self):
        self.assertEqual([], self.sandbox.errors)

    # What is expected, and what is on disk --------------------------------------------------------

    @staticmethod
    def fails(code, message, hint='', out=''):
        """How a run ends that fails like this."""
        return Result(code, out, 'error: %s\n%s' % (message, '  hint: %s\n' % hint if hint else ''))

    def refuses(self, line, code, message, hint='', **options):
        """A command fails like this, and nothing is sent."""
        self.assertEqual(self.fails(code, message, hint), self.call(*line.split(), **options))
        self.assertEqual([], self.sandbox.requests)

    @property
    def peer(self):
        return '127.0.0.1:%d' % self.sandbox.port

    @property
    def auth(self):
        return self.path('auth.json')

    def write(self, name, content='', mode=0o644):
        """Put a file, text or bytes, below self.dir; its path, whatever the locale."""
        path = os.path.join(os.fsencode(self.dir), to_bytes(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as file:
            file.write(to_bytes(content))
        os.chmod(path, mode)
        return os.fsdecode(path)

    def tree(self):
        """All of NOTION_HOME: {path: (mode, content)}, the content parsed if it is JSON."""
        found = {}
        for directory, names, files in os.walk(self.home):
            for name in names + files:
                path = os.path.relpath(os.path.join(directory, name), self.home)
                content = self.read(path) if name in files else None
                with contextlib.suppress(ValueError, RecursionError, AttributeError):
                    content = json.loads(content.decode('utf-8'))
                found[path] = '%03o' % stat.S_IMODE(os.lstat(self.path(path)).st_mode), content
        return found

    def path(self, name):
        return os.path.join(self.home, name)

    def read(self, name):
        """The bytes of a state file."""
        with open(self.path(name), 'rb') as file:
            return file.read()

    def state(self, name):
        """A state file's content, as an object; None if there is no such file."""
        try:
            return json.loads(self.read(name).decode('utf-8'))
        except FileNotFoundError:
            return None

    def write_state(self, name, content, mode=0o600):
        """Put a state file there: bytes as they are, anything else as JSON. Returns its path."""
        for directory in self.home, os.path.dirname(self.path(name)):
            os.makedirs(directory, 0o700, exist_ok=True)
        content = content if isinstance(content, bytes) else json.dumps(content)
        return self.write(self.path(name), content, mode)

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

    def store_pending(self):
        """Have a login that was begun, of which the sandbox knows nothing yet."""
        self.write_state(PENDING, {'sessionId': 'sess-canary-1', 'issuedAt': NOW})

    def log_in(self, run=None, **options):
        """A whole login to Acme in two steps; the result of the second, without what it repeats."""
        run = run or self.call
        self.assertEqual(0, run('login', '--no-browser', **options).code)
        self.sandbox.approve(workspace=(WORKSPACE, 'Acme'))
        return without_instructions(run('login', 'poll', **options))

def parse_inputs(*arguments):
    """(headers, query, body as JSON text or None) that the inputs of `ntn api PATH` add up to."""
    inputs = ntn.RequestInputs(arguments)
    body = ntn.format_json(inputs.body) if inputs.body is not None else None
    return inputs.headers, inputs.query, body

# ---- Harness 5: a network with TLS and proxies ---------------------------------------------------

class ApiCase(Case):
    """A test of what `ntn api` and the server say to each other."""

    def prepare(self):
        super().prepare()
        self.env['NOTION_API_TOKEN'] = CANARY
        self.sandbox.valid_tokens.add(CANARY)

    def get(self, answer, *argv, **options):
        """Run `ntn api v1/x` once in this process; the server's next GET gets this answer."""
        self.sandbox.on('GET', '/v1/x', answer)
        return self.call('api', 'v1/x', '--no-retry', *argv, **options)

    def call_with(self, variables, *argv, **options):
        """Run a command, with variables that the standard library looks up by itself."""
        self.forget_certificates()
        with mock.patch.dict(os.environ, self.environ(variables), clear=True):
            return self.call(*argv, env=variables, **options)

    def broken(self, how, out=''):
        """How a run ends that gets no answer, or half of one."""
        return self.fails(5, 'The connection to %s broke off (%s).' % (self.peer, how),
                          'Try again.', out)

    def late(self, limit, out='', hint='Try again later, or with a longer time limit.'):
        return self.fails(5, 'Cannot reach Notion: %s did not answer in time (%s s).' % (
            self.peer, limit), hint, out)

def pem(label, data):
    lines = re.findall('.{1,64}', base64.b64encode(data).decode('ascii'))
    return '\n'.join(['-----BEGIN %s-----' % label] + lines + ['-----END %s-----\n' % label])

# Worth nothing: made for these tests with `openssl ca`. All certificates are of the one key, and
# signed with it; they hold until 2049, but for one. `inspected` was signed by `inspector`, whose
# basicConstraints are not critical, as a careless company's; each of the others by itself. They are
# in DER, joined by \n\n, compressed.
KEY, *CERTIFICATES = zlib.decompress(base64.b85decode('''
c-k{)Y-eI*Fc4;A*J|@PXUoLM#sOw9GqSVf8e}suGO{S#+{$(P$DG@#|AfMs)~CF_E|j<`?}G7+^2j}%0=#oRpIPX_?8LwlQL>dq
NNS0{#DDgt)GM#vSKGXJci-6ctL<%<Gyiu?(q%MtTKG+{_w}cb%kP|vY>(vnX#1E!?zqNp2DiQY3|wY#aTzo*Y8y0OT)@o4$i&2`
Yrq9{3kx%o0goY<0S6m%C<`+WV}*g7IIod`fguorL6kVJi6s&jO?4zz?@`0ei&YGi4ETW-$qF+v{%2t|U<OhU0YMfH1GaXSdIknY
WREa=G8niqDKeZAd$jJxNl*SoFCr8#)=fEf*TTTC@qFX`n}2UiK3(J%3siF9#M`y5*&l<K{0I<}$(~pv)!*2@P$|+zu*Lb2%zlFy
aDbT^G~R;-m@m!%t0XDFDrp&Dh6ehW0VV?pFi`{HCc)I4;?(kt)S^_q%)GM1oXixI&~s-naA8vLyJ~IxI;bM${NgD`CoKFb`1Q8q
+NEWW?SHluzFcL0qlQVL>WwGI&TN-mm1z%I>mU4HR8cg&CZP4HU6+|p#c}P6jNq`-LL@eCoMBgmCG5alBWz(;HMkO+2ZMntlR|)Q
VZ;eN-Cy>_NmI@=eY05A7T>d_RrM!R(NaS-&5%#Pv^MGbx0rk0cM^P8zFpTPAt@o`o%{IDCe9ekSFiLo`{ovb!z<LF@eee-{7}M6
#8AjU01^V6nR&$psmUezMFi6vc3m_KKYIgP10Hbr!2(Yf#N%TTV-Z=Zw`=kKnlGP27O)!5dU@=L{5M@413r*6KPa$)zGPy-614nA
r;dKT^r7LQ9@|qZKKHgqO5OqC@!fw^5B@0fU$CqJ7__}9x+_f_EM9;3bzn+=#RiX#cZ*mOJB-cR%V+QBo|XFq9JF2rjUS;w>qDEM
O--R?(3$|VgFGm-lvyMU#2T;%C*h>3$S{jL{hZ>88(P&R34G1!j`A%9p7QLjy1A}(_3tGLGRm10JQ`&utq!e8Sgmw+iI@CJ=4Cyn
mfvbTb3&V8Qu^lChpvOevj&KjpaB|yGjHdSR4(SxG5|{riZS!HBP77A3@ji4*2I~YUy_-hr&pZc#I2==;BY~i$@#fWJa7phk5CH7
5(Bqm9J5Yu)SFc>mCIRE^N_*jw}F=?>B@WMzx%YU-f)92lS1l*E&3U)jvx27*DAOlmpxs$rERGhbK{lSEGe(M?WN`c0MXgFoB
'''.replace('\n', ''))).split(b'\n\n')
KEY = pem('PRIVATE KEY', KEY)
CERTIFICATES = dict(zip(['127.0.0.1', 'elsewhere.invalid', 'in 2020', 'inspector', 'inspected',
                         'notion'], [pem('CERTIFICATE', each) for each in CERTIFICATES]))

class TlsCase(ApiCase):
    def setUp(self):
        super().setUp()
        for name, text in CERTIFICATES.items():
            self.write(name, KEY + text)

    def prepare(self):
        super().prepare()
        if isinstance(self.sandbox.server.socket, ssl.SSLSocket):
            self.restart()
        self.sandbox.always('GET', '/v1/x', Answer(200, '{"secure": true}\n'))

    def restart(self):
        self.sandbox.stop()
        self.sandbox.start()

    def serve_tls(self, name='127.0.0.1', trusted=None):
        """Let the sandbox speak TLS with this certificate; the variables to reach it."""
        self.restart()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(self.dir, name))
        server = self.sandbox.server
        server.socket = context.wrap_socket(server.socket, server_side=True)
        return {'NOTION_API_BASE_URL': 'https://' + self.peer,
                'SSL_CERT_FILE': os.path.join(self.dir, trusted or name),
                'SSL_CERT_DIR': os.path.join(self.dir, 'none')}

class ProxyHandler(socketserver.StreamRequestHandler):
    """Forwards requests and opens tunnels, if the password is right."""

    def handle(self):
        lines = list(iter(lambda: self.rfile.readline().decode('latin-1').rstrip('\r\n'), ''))
        self.server.heads.append(list(lines))
        secret = 'Proxy-Authorization: Basic YW5uOmNhbmFyeSBANDI='  # ann:canary @42
        refusal = self.server.refusal or secret not in lines and (
            b'HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 4\r\n\r\nNo!\n')
        if refusal:
            self.wfile.write(refusal)
            return
        lines.remove(secret)
        method, target, _ = lines[0].split(' ')
        parts = urllib.parse.urlsplit(target if '//' in target else '//' + target)
        with socket.create_connection((parts.hostname, parts.port)) as peer:
            if method == 'CONNECT':
                self.wfile.write(b'HTTP/1.1 200 Connection established\r\n\r\n')
            else:
                peer.sendall('\r\n'.join(lines + ['', '']).encode('latin-1'))
            others, data = {self.connection: peer, peer: self.connection}, b'x'
            while data:
                for source in select.select(list(others), [], [])[0]:
                    data = source.recv(65536)
                    others[source].sendall(data)

class ProxyCase(TlsCase):
    """A test with a proxy: its `address`, the `url` that has the right password, the `heads` of
    the requests that it got, and what it answers instead, if there is a `refusal`."""
    USER = 'ann:canary%20%4042@'

    def prepare(self):
        super().prepare()
        self.proxy = Server(('127.0.0.1', 0), ProxyHandler)
        self.proxy.sandbox, self.proxy.heads, self.proxy.refusal = self.sandbox, [], b''
        self.address = '127.0.0.1:%d' % self.proxy.server_address[1]
        self.url = 'http://%s%s' % (self.USER, self.address)
        self.proxy.serve()
        self.addCleanup(self.proxy.server_close)
        self.addCleanup(self.proxy.shutdown)

    def check_clean(self, text, secrets_ok=False):
        super().check_clean(text, secrets_ok)
        for form in 'canary%20%4042', 'canary @42', 'YW5uOmNhbmFyeSBANDI':
            self.assertNotIn(form, text)

# ---- Harness 6: a keychain -----------------------------------------------------------------------

# The library `keyring` as far as ntn.py uses it; its keychain is a file, which processes share.
# FAKE_KEYRING is a JSON object that says what happens at a step: {"set": "KeyringLocked"}. A step
# is import, get_keyring, set, get, delete, one of the last three for an account alone ("set X"),
# or * for those three.
FAKE_KEYRING = r'''
import concurrent.futures, json, os, sys, threading

KeyringError = type('KeyringError', (Exception,), {})
for name in 'KeyringLocked', 'InitError', 'PasswordSetError', 'PasswordDeleteError':
    globals()[name] = type(name, (KeyringError,), {})
NoKeyringError = type('NoKeyringError', (KeyringError, RuntimeError), {})
PanicException = type('PanicException', (BaseException,), {})  # Rust's, as by cryptography
DBusError = type('DBusError', (Exception,), {})  # knows nothing of keyring, as many do
plan = json.loads(os.environ.get('FAKE_KEYRING', '{}'))
path, revealed = os.environ['FAKE_KEYRING_FILE'], ''
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
    with open(path, 'a+') as file:
        file.seek(0)
        return json.loads(file.read() or '{}')

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

act('import')
'''
ENTRY = 'notion-cli/' + WORKSPACE

class KeychainCase(Case):
    """Tests with a stand-in for keyring, in the automatic mode. `behave` says what it does."""

    def setUp(self):
        super().setUp()
        library = os.path.dirname(os.path.dirname(
            self.write('library/keyring/__init__.py', FAKE_KEYRING)))
        self.entries_path = os.path.join(self.dir, 'keychain.json')
        variables = {'FAKE_KEYRING': '{}', 'FAKE_KEYRING_FILE': self.entries_path}
        self.env.update(variables, PYTHONPATH=library)
        del self.env['NOTION_KEYRING']
        self.lookups = []  # 'keyring', for each time that it was looked for
        self.enter(mock.patch.dict(os.environ, variables))
        self.patch(sys, 'path', [library] + sys.path)
        self.patch(sys, 'meta_path', [self] + sys.meta_path)
        self.patch(os, 'fsync', lambda descriptor: None)  # slow, and of no use to these tests
        self.hurry(self.haste)
        self.addCleanup(sys.modules.update, self.take_keyring_away())
        self.addCleanup(self.take_keyring_away)
        self.behave({})

    def haste(self, limit):
        """A keychain that hangs costs 50 ms; one that answers may be as slow as it likes."""
        return 100 if 'hang' in str(self.plan) else 1

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
        with open(self.entries_path, 'a+') as file:
            file.seek(0)
            return json.loads(file.read() or '{}')

    def hold(self, *entries):
        """Have the keychain hold just these tokens, which are the stored ones' of `store_login`."""
        self.write('keychain.json', json.dumps(dict.fromkeys(entries, 'ntn_canary_stored')))

    def store_login_in_keychain(self):
        self.store_login()
        self.write_state('auth.json', {})
        self.hold(ENTRY)

    def log_in(self, run=None, plan=None, **options):
        """As in Case; a plan is the keychain's in the second step."""
        def run_by_plan(*argv, **options):
            if argv[1] == 'poll' and plan is not None:
                self.behave(plan)
            return (run or self.call)(*argv, **options)
        return super().log_in(run_by_plan, **options)

    def press_when_it_hangs(self):
        """Press Ctrl-C as soon as the keychain is silent."""
        def press():
            while not getattr(sys.modules.get('keyring'), 'hanging', None):
                time.sleep(0.01)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        self.limit(KEYCHAIN_LIMIT=3000)  # 30 s in a hurry
        threading.Thread(target=press, daemon=True).start()

# ---- 1 Constants and promises --------------------------------------------------------------------

with open(NTN, encoding='utf-8') as program_file:
    SOURCE = program_file.read()
DOORS = [  # what is done to the world; in which functions alone; by which names
    ('connections', 'open_connection create_connection', r'(.*\.)?'
     r'(create_connection|connect|connect_ex|listen|urlopen|urlretrieve|build_opener)'),
    ('requests', 'open_connection', r'.*HTTPS?Connection'),
    ('TLS', 'tls_context', r'.*create_default_context'),
    ('unverified TLS', '', r'.*(_unverified|CERT_NONE|check_hostname|verify_mode|SSLContext).*'),
    ('variables', 'Console.__init__ find_proxy', r'os\.(environ|getenv|putenv|unsetenv)b?'),
    ('standard streams', 'Console.__init__', r'sys\.(__)?std(in|out|err)(__)?'),
    ('output', 'Console.emit', r'print|(.*\.)?stdout\.(buffer\.)?(write\w*|flush)|os\.writev?'),
    ('messages', 'Console._write', r'(.*\.)?stderr\.(buffer\.)?(write\w*|flush)'),
    ('processes', 'open_browser', r'subprocess\.[A-Za-z]*[a-z]\w*|(.*\.)?webbrowser\.open\w*'
     r'|os\.(system|popen|fork\w*|exec\w+|spawn\w+|posix_spawn\w*|startfile)'),
    ('keychain', 'load_keyring', r'import keyring\b.*'),
    ('foreign code', '', r'eval|exec|compile|__import__|.*import_module'),
    ('what would hide from the other rows', '', r'import (pickle|marshal|ctypes)\b.*'
     r'|import (os|socket|subprocess)\..*'),
    ('files', 'read_file write_file State.locked read_body_option make_form cmd_debug',
     r'open|(io|os)\.open|os\.fdopen'),
    ('changes to the disk', 'read_file write_file make_directory State.locked State.prove',
     r'os\.(replace|rename|link|symlink|mkdir|makedirs|f?chmod)'),
    ('deletion', 'write_file', r'os\.(unlink|remove\w*|rmdir|truncate)|shutil\.(rmtree|move)')]

def names_used(node):
    """The dotted names that are used below a node; an import is named with the word before."""
    for each in ast.walk(node):
        if isinstance(each, (ast.Import, ast.ImportFrom)):
            module = each.module + '.' if isinstance(each, ast.ImportFrom) else ''
            yield from ('import ' + module + alias.name for alias in each.names)
        elif isinstance(each, (ast.Name, ast.Attribute)):
            parts = []
            while isinstance(each, ast.Attribute):
                parts.insert(0, each.attr)
                each = each.value
            yield '.'.join([getattr(each, 'id', '')] + parts)

TREE = ast.parse(SOURCE)
FUNCTIONS = {prefix + each.name: each  # and methods; what is nested belongs to the outermost
             for prefix, owner in [('', TREE)] + [
                 (node.name + '.', node) for node in TREE.body if isinstance(node, ast.ClassDef)]
             for each in owner.body if isinstance(each, ast.FunctionDef)}

class HouseTest(unittest.TestCase):
    """What the docstring of ntn.py promises about the file itself."""

    def test_each_effect_has_its_doors_and_the_docstring_names_real_ones(self):
        used = {name: set(names_used(node)) for name, node in FUNCTIONS.items()}
        for effect, doors, pattern in DOORS:
            with self.subTest(effect):
                found = {name for name in used if any(re.fullmatch(pattern, n) for n in used[name])}
                self.assertEqual(set(doors.split()), found)
        named = re.findall('`([A-Za-z]+[._][A-Za-z_.]+)`', ntn.__doc__.partition('Promises')[2])
        self.assertEqual({'Console.environ', 'STATE_FILES', 'EXIT_OK'}, set(named).difference(used))
        self.assertEqual(1, SOURCE.count('"Bearer '))  # a token is put into a request in one place

    def test_the_rooms_are_those_of_the_map_and_each_uses_only_itself_and_those_above_it(self):
        banners = list(re.finditer(r'^# ---- (\d+) (.*?) -+$', SOURCE, re.M))
        self.assertEqual(re.findall(r'^ {4,5}(\d+) ([A-Z][A-Za-z ]*?)  ', ntn.__doc__, re.M),
                         [banner.groups() for banner in banners])
        self.assertEqual(list(range(1, 11)), [int(banner.group(1)) for banner in banners])
        starts = [SOURCE.count('\n', 0, banner.start()) for banner in banners]
        rooms = {node: sum(start < node.lineno for start in starts) for node in TREE.body}
        home = {node.name: room for node, room in rooms.items() if hasattr(node, 'name')}
        self.assertEqual([], [(room, name) for node, room in rooms.items()
                              for name in set(names_used(node)) if home.get(name, 0) > room])

    @unittest.skipIf(sys.version_info < (3, 8), 'this ast does not tell where a function begins')
    def test_functions_are_short(self):
        lengths = {name: max(getattr(each, 'lineno', 0) for each in ast.walk(node)) - node.lineno
                   for name, node in FUNCTIONS.items()}
        self.assertEqual({}, {name: lines for name, lines in lengths.items() if lines >= 50})
        self.assertLessEqual(sorted(lengths.values())[len(lengths) * 9 // 10], 25)

    def test_neither_file_grows_long_or_wide(self):
        for path, limit in (NTN, 3000), (__file__, 5860):
            with self.subTest(path), open(path, encoding='utf-8') as file:
                lines = file.read().splitlines()
                self.assertEqual([], [line for line in lines if len(line) > 100
                                      or line != line.rstrip() or '\t' in line])
                self.assertLess(len(lines), limit)

    def test_at_the_top_are_licence_requirements_and_the_imports_that_every_run_needs(self):
        self.assertIn('\n# SPDX-License-Identifier: MIT\n# /// script\n'
                      '# requires-python = ">=3.6"\n# dependencies = []\n# ///\n', SOURCE[:200])
        imports = [node for node in TREE.body if isinstance(node, ast.Import)]
        self.assertEqual({'import ' + name for name in 'json os re sys time'.split()},
                         {name for node in imports for name in names_used(node)})

# ---- 2 Errors ------------------------------------------------------------------------------------

# What is refused before anything happens: exit code, command line (a shell would split it so, with
# variables in front), message and hint. A name in <> stands for PHRASES.
REFUSALS = r'''
2 logn => There is no command 'logn'. | Did you mean `ntn login`?
2 token => There is no command 'token'. | Did you mean `ntn auth token`?
2 'auth token' surplus => There is no command 'auth token'. | Did you mean `ntn auth token`?
2 help login => There is no command 'help'. | Use `ntn --help`.
2 --version - => There is no command '-'. | `ntn --help` <shows>
2 -- --help => There is no command '--help'. | `ntn --help` <shows>
2 v1/users/me => There is no command 'v1/users/me'. | Did you mean `ntn api v1/users/me`?
2 api POST v1/x => Unexpected argument 'POST'. | Did you mean `ntn api -X POST PATH`?
2 api lss => Unexpected argument 'lss'. | Did you mean `ntn api ls`?
2 auth login => Unexpected argument 'login'. | Use `ntn login`.
2 auth status => Unexpected argument 'status'. | Use `ntn whoami`.
2 login pol => Unexpected argument 'pol'. | Did you mean `ntn login poll`?
2 whoami '' => Unexpected argument ''. | `ntn whoami --help` <shows>
2 login poll poll x => Unexpected argument 'poll'. | `ntn login poll --help` <shows>
2 api v1/x --meth PUT => `ntn api` has no option --meth. | Did you mean `--method`?
2 login --no => `ntn login` has no option --no. | `ntn login --help` <shows>
2 login -XGET => `ntn login` has no option -XGET. | `ntn login --help` <shows>
2 api v1/x -H 'X: y' => `ntn api` has no option -H. | A header is an input: Header:Value.
2 api v1/x -iX => Argument -X/--method: expected one argument. | `ntn api --help` <shows>
2 whoami --json=1 => Argument --json: ignored explicit argument '1'. | `ntn whoami --help` <shows>
2 --env prd whoami => There is no environment 'prd': <environments> | Did you mean `prod`?
2 NOTION_ENV=PROD debug => There is no environment 'PROD': <environments>
2 logout --env '' => There is no environment '': <environments>
2 NOTION_KEYRING=2 doctor => NOTION_KEYRING is '2': it takes 0 <or 1>
2 NOTION_API_VERSION=1é whoami => '1é' is not a valid Notion-Version. | <date>
2 whoami --notion-version '' => '' is not a valid Notion-Version. | <date>
2 --env dev api => `ntn api` needs a PATH. | Use one such as v1/users/me.
2 api v1/x -d - => -d - is not a body. | <body>
2 api v1/x -X '' => '' is not an HTTP method. | Use one such as PATCH.
2 api v1/x -X 'GE T' => 'GE T' is not an HTTP method. | Use one such as PATCH.
2 api v1/x --timeout '' => --timeout is '': it takes seconds, such as 10 or 2.5.
2 api v1/x --timeout 0.0 => --timeout is '0.0': it takes seconds, such as 10 or 2.5.
2 api v1/x --timeout 1e3 => --timeout is '1e3': it takes seconds, such as 10 or 2.5.
2 api v1/x --timeout ٣ => --timeout is '٣': it takes seconds, such as 10 or 2.5.
2 api v1/x --timeout 1000000 => --timeout is '1000000': it takes seconds, such as 10 or 2.5.
2 api v1/x --paginate -X PATCH => --paginate goes with GET and POST, and without -i and --file.
2 api v1/x --paginate -X POST -i => --paginate goes with GET and POST, and without -i and --file.
2 api v1/x --paginate --file f => --paginate goes with GET and POST, and without -i and --file.
5 api v1/x a=1 -d 1 => The request has more than one body: -d and inputs (path=value). | <one>
1 NOTION_API_TOKEN=x api v1/x -d @/dev/null/x => Cannot read /dev/null/x: Not a directory. | <body>
1 NOTION_API_TOKEN=x api v1/x -d @/ => Cannot read /: Is a directory. | <body>
5 api .. => The path ".." has a `..` segment in it. | Use a path such as v1/users/me.
4 whoami => Not logged in. | <login>
4 NOTION_HOME= HOME=/dev/null/x auth token => Not logged in. | <login>
4 NOTION_HOME= HOME=/dev/null api v1/x -iv --no-retry => Not logged in. | <login>
4 NOTION_HOME= HOME=/dev/null/x login poll => No pending login session found. | <start>
1 NOTION_HOME= HOME=/dev/null/x login => There is no usable home <directory>
1 NOTION_HOME=/dev/null/x login => Cannot write in /dev/null/x: Not a directory. | <elsewhere>
4 --env dev api v1/x => Not logged in to the environment dev. | <login dev>
4 NOTION_WORKSPACE_ID=abc whoami => No token is stored for workspace abc. | <unset>
4 logout --workspace A => You are not logged in to a workspace named 'A'. | <log in>
4 NOTION_API_TOKEN='a b' whoami => The token from NOTION_API_TOKEN <odd> | <login>
'''
PHRASES = dict(re.findall('(.*?): (.*)', '''\
shows: shows what can be given.
environments: --env and NOTION_ENV take local, dev, stg or prod.
or 1: (file only) or 1 (keychain only). | Unset it to use the keychain where there is one.
date: Use a date such as 2026-03-11.
one: Use only one of them.
body: -d takes JSON, @FILE, or @- for standard input.
directory: directory to keep files in. | Set NOTION_HOME to a directory that can be written.
elsewhere: Check its permissions, or set NOTION_HOME to another directory, on a local disk.
login dev: Run `ntn login --env dev`, or set NOTION_API_TOKEN.
unset: Check NOTION_WORKSPACE_ID, or unset it.
log in: Run `ntn login` to log in to it.
odd: has characters that no token has.'''), login=LOG_IN, start=START)

def take_variables(words):
    """(variables, argv) of the words of a command line."""
    variables = [word for word in words if re.match('[A-Z_]+=', word)]
    return dict(word.split('=', 1) for word in variables), words[len(variables):]

class RefusalTest(Case):
    @rows(read_rows(re.sub('<(.+?)>', lambda found: PHRASES[found.group(1)], REFUSALS)))
    def test_it_is_refused_before_anything_happens(self, words, refusal):
        variables, argv = take_variables(words[1:])
        self.assertEqual(self.fails(int(words[0]), *refusal.split(' | ')),
                         self.call(*argv, env=variables))
        self.assertEqual([], self.sandbox.requests)
        self.assertFalse(os.path.exists(self.home))

# ---- 3 Settings ----------------------------------------------------------------------------------

class SettingsTest(Case):
    @rows(read_rows('''
        NOTION_API_VERSION=2022 NOTION_WORKSPACE_ID=66666666777748888999aaaaaaaaaaaa => other 2022
        NOTION_API_VERSION=2022 NOTION_ENV=prod --env dev --notion-version 2025 => dev 2025
        NOTION_HOME= NOTION_ENV=dev NOTION_API_TOKEN=" ntn_canary_given\t" => given 2026-03-11
        NOTION_API_VERSION=2022 NOTION_API_TOKEN=x notion-version:2021 \
            "authorization:Bearer ntn_canary_typed" => typed 2021
        NOTION_API_TOKEN= NOTION_WORKSPACE_ID= NOTION_ENV= NOTION_API_VERSION= => stored 2026-03-11
        '''.rstrip()))
    def test_a_flag_beats_a_variable_and_a_variable_file_and_default(self, words, sent):
        self.store_login('ntn_canary_other', OTHER, 'Globex')
        self.store_login('ntn_canary_dev', 'd' * 32, env='dev')
        self.store_login('ntn_canary_stored')
        variables, argv = take_variables(words)
        self.call('api', 'v1/x', *argv, env=variables)
        request, = self.sandbox.requests
        self.assertEqual('Bearer ntn_canary_' + sent, ' '.join(
            map(request.header, ('Authorization', 'Notion-Version'))))

    ORIGINS = 'NOTION_BASE_URL', 'NOTION_API_BASE_URL', 'NOTION_API_DOCS_BASE_URL'
    PROD = 'https://www.notion.so', 'https://api.notion.com', 'https://developers.notion.com'

    @rows(read_rows('''
        --env prod => - - -
        --env stg => https://stg.notion.so https://api-stg.notion.com -
        NOTION_ENV=dev => https://dev.notion.so https://api-dev.notion.com -
        NOTION_ENV=local => http://localhost:3000 https://api-dev.notion.com -
        NOTION_BASE_URL=https://my_host:8443 NOTION_API_BASE_URL= => https://my_host:8443 - -
        NOTION_BASE_URL=http://LOCALHOST:80 => http://localhost - -
        NOTION_API_BASE_URL=HTTPS://API.Example.COM:443/ => - https://api.example.com -
        NOTION_API_BASE_URL=https://[2001:db8::1]:8443 => - https://[2001:db8::1]:8443 -
        NOTION_BASE_URL=http://127.8.9.10/ => http://127.8.9.10 - -
        NOTION_API_DOCS_BASE_URL=http://[::1]:8080 => - - http://[::1]:8080'''))
    def test_each_environment_has_its_origins_and_a_variable_overrides_one(self, words, origins):
        variables, argv = take_variables(words)
        env = dict(dict.fromkeys(self.ORIGINS), NOTION_API_TOKEN=CANARY, **variables)
        origins = [own if each == '-' else each for each, own in zip(origins.split(), self.PROD)]
        self.assertEqual(origins[:2], re.findall(
            r'origin:\*\* `(.*)`', self.call('debug', *argv, env=env).out))
        nobody = socket.getaddrinfo('127.0.0.1', self.free_port(), 0, socket.SOCK_STREAM)
        look_up = self.enter(mock.patch.object(socket, 'getaddrinfo', return_value=nobody))
        for line, origin in zip(('login --no-browser', 'api v1/x', 'api ls'), origins):
            look_up.reset_mock()
            self.call(*line.split() + argv, env=env)
            parts = urllib.parse.urlsplit(origin)
            port = parts.port or {'https': 443, 'http': 80}[parts.scheme]
            self.assertEqual((to_bytes(parts.hostname), port), look_up.call_args_list[0][0][:2])

    @rows(zip('''
        http://api.notion.com http://10.0.0.1 http://0.0.0.0 http://[::] http://128.0.0.1
        http://[::2]:80 http://localhost.example.com http://notlocalhost http://127.0.0.1x
        http://127.0.0.1.example.com http://127.999.999.999 http://127.0.0.256 ftp://a.example -
        api.example.com //a.example https:// https:/// https:a file:///etc/passwd https://[::1
        https://ann@a.example https://ann:pass/wo@rd@a.example http://ann@localhost
        https://a.example/path https://a.example// https://a.example? https://a.example/?q=1
        https://a.example#x https://a.example:99999 https://a.example:port https://a.ex\xe4mple
        https://a.example\\@b.example https://a.example\u202e'''.split() + [
            'https://a b.example', ' https://a.example', 'https://a.example\n', 'https://a.ex\0'],
        itertools.cycle(ORIGINS), itertools.cycle([
            'login', 'logout', 'whoami', 'auth token', 'doctor', 'debug', 'api v1/x', 'api ls'])))
    def test_no_command_starts_with_another_origin(self, text, variable, line):
        self.store_login()
        before = self.tree()
        self.refuses(line, 2, variable + ' must be an origin: https, or http to this machine.',
                     'Use https://HOST, or http://localhost:PORT for a server of your own.',
                     env={variable: text})
        self.assertEqual(before, self.tree())

    @rows(read_rows('''
        .notion/ .config/ => ~/.notion ~/.cache/notion
        .notion/ .config/notion/ => ~/.config/notion ~/.cache/notion
        .notion@/dev/null => ~/.config/notion ~/.cache/notion
        .config@/dev/null => ~/.notion ~/.cache/notion
        .config@nowhere => ~/.notion ~/.cache/notion
        .notion/ XDG_CONFIG_HOME=~/x XDG_CACHE_HOME= => ~/x/notion ~/.cache/notion
        XDG_CONFIG_HOME=x XDG_CACHE_HOME=./y => ~/.config/notion ~/.cache/notion
        XDG_CONFIG_HOME=~/x XDG_CACHE_HOME=~/y HOME=/dev/null => ~/x/notion ~/y/notion
        .notion/ XDG_CONFIG_HOME=~/x NOTION_HOME=RELATIVE/n/ => ~/n ~/n/cache'''))
    def test_files_are_in_the_first_directory_that_can_be_used(self, words, places):
        home = tempfile.mkdtemp(dir=self.dir)
        env = {'HOME': home, 'NOTION_HOME': ''}
        for word in words:  # a directory/, a link@target or a variable
            name, sign, value = re.match('([^=@]+)([=@]?)(.*)', word).groups()
            if sign == '=':
                env[name] = value.replace('~', home).replace('RELATIVE', os.path.relpath(home))
            elif sign == '@':
                os.symlink(value, os.path.join(home, name))
            else:
                os.makedirs(os.path.join(home, name))
        self.assertIn(' is stored in %s/auth.json\n' % places.split()[0],
                      self.log_in(env=env).err.replace(home, '~'))
        files = '{0}/.lock {0}/auth.json {0}/config.json {0}/workspaces.json {1}/.lock'
        written = {os.path.join(directory, name).replace(home, '~')
                   for directory, _, names in os.walk(home) for name in names}
        self.assertEqual(set(files.format(*places.split()).split()),
                         written - {'~/.config', '~/.notion'})

    def test_without_a_home_there_is_nothing_to_log_out_of(self):
        result = self.call('logout', env={'NOTION_HOME': None})
        self.assertEqual((0, '', '✔ Already logged out\n'), result)

# ---- 4 Console -----------------------------------------------------------------------------------

class ConsoleTest(ApiCase):
    HOSTILE = 'a\nerror: \x1b[2J\x9b1m\u202eb'

    @rows([(line, Answer()) for line in (
        'HOSTILE', '--HOSTILE\udc80', '-HOSTILE', 'debug --env=HOSTILE', 'api v1/x -X HOSTILE',
        'api v1/x HOSTILE:1', 'api HOSTILE', 'api v1/x --file HOSTILE', 'api v1/x --docs',
        'api v1/x --help', 'api ls', 'debug', 'login --workspace HOSTILE!',
        'login --workspace ' + WORKSPACE)] + [
        ('whoami', Answer.json({'object': 'user', 'name': HOSTILE})),
        ('doctor', Answer.error(403, 'c', HOSTILE)),
        ('login poll', Answer.json({'status': HOSTILE})),
        ('login poll', confirmed(spaceName=HOSTILE)),
        ('api v1/x', Answer.error(400, 'c', HOSTILE)),
        ('api v1/x', Answer.json({'request_id': HOSTILE}, 400)),
        ('api v1/x', raw(b'HTTP/1.1 500 \x1b[2J\x9b\r\nContent-Length: 0\r\n\r\n')),
        ('api v1/x', Answer(400, '', content_type='text/\x1b[2J\x9b')),
        ('api v1/x', Answer(200, '{"a": "\x1b[2J', length=99)),
        ('api v1/x', Answer(200, HOSTILE, content_type='text/plain')),
        ('api v1/x -i', Answer(200, '', [('X-A', '\x1b[2J\x9b')])),
        ('api v1/x -v', Answer(200, '', [('X-A', '\x1b[2J\x9b')])),
        ('api v1/x --paginate', Answer.json({'results': [HOSTILE]})),
        ('api v1/x --paginate', Answer.json(
            {'results': [], 'next_cursor': HOSTILE, 'has_more': True}))])
    def test_nothing_that_is_shown_can_act_on_the_terminal(self, line, answer):
        self.store_login(name=self.HOSTILE)
        self.store_pending()
        self.sandbox.openapi = json.dumps({'paths': {'/v1/x': {'get': describe(
            self.HOSTILE, self.HOSTILE, self.HOSTILE, **{'x-notion-docs-ref': 'reference/x'})}}
        }).encode('ascii')
        self.sandbox.always('GET', '/reference/x.md', Answer(200, self.HOSTILE))
        for method, path in ('GET', '/v1/x'), ('GET', '/v1/users/me'), ('POST', REDEEM):
            self.sandbox.always(method, path, answer)
        argv = [word.replace('HOSTILE', self.HOSTILE) for word in line.split()]
        _, out, err = self.call(*argv, tty=('stdout',), env={'NO_COLOR': '1'})
        self.assertRegex(out + err, r'\\(x|u00)1b\[2J')
        self.assertNotRegex(out + err, '[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e\ud800-\udfff]')
        self.assertNotIn('\nerror: \\', err)  # a line of its own would be believed

    JSON = '{"a":[-0,1.10,null,{}],"\u202e":"x\\n\\u001b[2J\\u202e\x7f\u202e\u0085é"}'
    PAINTED = ('{\n  <k>"a"<>: [\n    <n>-0<>,\n    <n>1.10<>,\n    <l>null<>,\n    {}\n  ],\n'
               '  <k>"\\u202e"<>: <s>"x\\n\\u001b[2J\\u202e\\u007f\\u202e\\u0085é"<>\n}\n')
    PLAIN, COLOURED = re.sub('<.?>', '', PAINTED), re.sub('<(.?)>', lambda mark: '\x1b[%sm' % {
        'k': '1;34', 's': '32', 'n': '36', 'l': '35', '': '0'}[mark.group(1)], PAINTED)

    @rows([({'TERM': 'xterm'}, 'stdout', COLOURED), ({'TERM': 'dumb'}, 'stdout stderr', PLAIN),
           ({'NO_COLOR': ''}, 'stdout stderr', COLOURED), ({}, 'stdin stderr', JSON + '\n'),
           ({'NO_COLOR': '1'}, 'stdout stderr', PLAIN)])
    def test_colours_are_for_a_terminal_whose_user_does_not_object(self, env, tty, shown):
        self.assertEqual((0, shown, ''), self.get(Answer(200, self.JSON), tty=tty, env=env))
        painted = 'stderr' in tty and shown != self.PLAIN
        for line, word, colour in ('xyzzy', 'error:', 31), ('logout', '✔', 32), (
                'login --no-browser', 'warning:', 33):
            err = self.call(*line.split(), env=env, tty=tty).err
            self.assertIn('\x1b[%dm%s\x1b[0m ' % (colour, word) if painted else word + ' ', err)
            self.assertEqual(painted, '\x1b' in err)

    def test_a_real_terminal_shows_them(self):
        self.sandbox.always('GET', '/v1/x', Answer(200, self.JSON))
        terminal = self.terminal('api', 'v1/x')
        self.assertEqual((0, self.COLOURED), (terminal.wait(), terminal.output))

    @rows([(b'', ''), (b'text', 'text\n'), (b'a\tb\n', 'a\tb\n'), (b'[' * 9000, '[' * 9000 + '\n'),
           (b'{"NaN": NaN}', '{"NaN": NaN}\n'), (b'\x1b]0;x\x07\x9b\xff\xe2\x80\xae\xc2\x85\n',
                                                 '\\u001b]0;x\\u0007\\x9b\\xff\\u202e\\u0085\n'),
           (to_bytes('["漢✔…"]'), '[\n  \x1b[32m"\\u6f22OK\\u2026"\x1b[0m\n]\n', 'ascii')])
    def test_a_terminal_shows_what_it_can(self, body, shown, encoding='utf-8'):
        self.assertEqual((0, shown, ''),
                         self.get(Answer(200, body), tty='stdout', encoding=encoding))

    def test_verbose_shows_all_but_secrets(self):
        echo = 'Bearer %s ntn_canary_typed ntn_canary_proxy ntn_canary_cookie' % CANARY
        body = '{"token": "other-\\"secret", "message":\n"%s"}\n' % echo
        self.sandbox.on('POST', '/v1/x', Answer(400, body, [('Set-Cookie', 'a=1'), ('X', echo)]))
        err = self.call(
            'api', 'v1/x', 'q==1', 'a[token]=hush', 'Authorization:Bearer ntn_canary_typed', '-v',
            'Proxy-Authorization:Basic ntn_canary_proxy', 'Cookie:ntn_canary_cookie\u3000').err
        self.assertEqual([
            '> POST %s/v1/x?q=1' % self.sandbox.origin, '> Authorization: ***',
            '> Proxy-Authorization: ***', '> Cookie: ***', '> {"a":{"token":"***"}}',
            '< Set-Cookie: ***', '< X: Bearer *** *** *** ***', '< {"token": "***", "message":',
            '< "Bearer *** *** *** ***"}',
            'error: Public API request failed (400 Bad Request): Bearer *** *** *** ***'],
            re.findall(r'.*(?:\*|POST).*', err.replace('[redacted]', '***')))
        for header in 'Authorization:\xa0', 'Cookie:\u3000':  # blank, which is no fault
            self.assertEqual((0, '{}\n', ''), self.get(Answer(200, '{}'), header))
        self.assertEqual(0, self.call('login', '--no-browser', '-v').code)
        self.sandbox.approve()
        self.assertIn('> {"sessionId": "[redacted]"}\n< ', self.call('login', 'poll', '-v').err)

    def test_what_is_known_as_secret_or_has_the_shape_of_a_token_is_hidden(self):
        console = ntn.Console(environ={})
        console.secrets.update(['abcdefgh', 'abcdefgh_and_more', 'short'])
        shown = 'abcdefgh_and_more abcdefgh ntn_# secret_# adm_# nrt_# development_ntn_#'
        self.assertEqual(
            '* * * * * * development_*'.replace('*', '[redacted]'),
            console.redact(shown.replace('#', '0123456789abcDEF')))
        harmless = 'short ntn_0123456789abcde xnrt_0123456789abcdef'
        self.assertEqual(harmless, console.redact(harmless))
        self.assertEqual("Credential(token=[redacted], source='x', workspace_id=None)",
                         repr(ntn.Credential(CANARY, 'x', None)))

# ---- 5 HTTP --------------------------------------------------------------------------------------

SHORT = '{"text": "0123456789abcdef"}\n'
LONG = '{"text": "%s"}\n' % ('0123456789abcdef' * 9000)  # more than two reads
GZIP = ('Content-Encoding', 'gzip')
CHUNKED, WHOLE = head('Transfer-Encoding: chunked'), b'2\r\n{}\r\n0\r\n\r\n'
NO_ERROR = 'the server sent nothing instead of a Notion error.'
NOT_HTTP = 'the answer is not HTTP: '
HALF_ZIP, INCOMPLETE = 'the compressed answer is not complete', 'the answer is not complete'
CONTRADICTION = 'its headers contradict each other or HTTP'

def zipped(*parts):
    """These texts compressed, each by itself, one after the other."""
    return b''.join(Answer(body=part, encoding='gzip').body for part in parts)

class AnswerTest(ApiCase):
    def test_headers_keep_their_order_and_repeats_and_replace_the_defaults(self):
        self.get(Answer(), 'X-A:1', 'X-b:2', 'user-agent:mine', 'X-A:3', 'x-a:')
        self.assertEqual([
            ('Host', self.peer), ('Authorization', 'Bearer ' + CANARY),
            ('Notion-Version', '2026-03-11'), ('Accept', 'application/json'),
            ('Accept-Encoding', 'gzip'), ('X-A', '1'), ('X-b', '2'), ('user-agent', 'mine'),
            ('X-A', '3')], self.sandbox.requests[0].headers)

    @rows([False, True])
    def test_an_answer_that_comes_before_the_body_was_read_is_the_answer(self, lingering):
        def refuse(connection, *_):
            connection.recv(1000)
            connection.sendall(b'HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\n{}')
            if lingering:
                connection.shutdown(socket.SHUT_WR)
            while lingering and connection.recv(1 << 20):
                pass
        self.sandbox.server.RequestHandlerClass = refuse
        self.assertEqual(
            self.fails(5, 'Public API request failed (413 Content Too Large): ' + NO_ERROR),
            self.call('api', 'v1/x', '-d', '@' + self.write('big.json', '"%s"' % ('a' * 9000000))))

    @rows([('GET', answer, LONG) for answer in (
        Answer(body=LONG), Answer(body=LONG, chunked=1000), raw(head() + LONG.encode()),
        Answer(body=LONG, encoding='gzip', chunked=7),
        Answer(body=zipped(LONG[:1000], LONG[1000:]), headers=[GZIP], chunked=9),
        Answer(body=zipped(LONG[:9], LONG[9:]), headers=[('Content-Encoding', 'X-GZip')]),
        Answer(body=LONG, headers=[('Content-Encoding', 'identity')]),
        Answer(body=LONG, headers=[('Content-Length', str(len(LONG)))]))] + [  # twice, that is
        (method, answer, '') for method, answer in (
            ('DELETE', Answer(204)), ('GET', Answer(200, headers=[GZIP])),
            ('PATCH', Answer(204, headers=[('Content-Length', '5')])),
            ('GET', Answer(200, chunked=5)), ('HEAD', Answer(200, 'hello', encoding='gzip')),
            ('HEAD', Answer(200, 'hello', chunked=1)))] + [
        ('GET', raw(data), '{}') for data in (
            head('Content-Length: 2 ') + b'{}', head('TRANSFER-Encoding:\tChunked') + WHOLE,
            b'HTTP/1.1 100 Continue\r\n\r\n' + head('Content-Length: 2') + b'{}')])
    def test_a_body_comes_out_the_same_however_it_was_framed_and_encoded(self, method, answer, out):
        self.sandbox.on(method, '/v1/x', answer)
        self.assertEqual((0, out, ''), self.call('api', 'v1/x', '-X', method))

    @rows([
        (Answer(body='12345', length=7), '12345', '2 bytes missing'),
        (Answer(length=1), '', '1 byte missing'),
        (raw(CHUNKED + b'3\r\nabc\r\n'), 'abc', INCOMPLETE),
        (raw(CHUNKED + b'9\r\nabc'), 'abc', INCOMPLETE),
        (raw(CHUNKED + b'3\r\nabc\r\nodd\r\n'), 'abc', INCOMPLETE),
        (Answer(body=zipped(SHORT)[:-9], headers=[GZIP]), SHORT, HALF_ZIP),
        (Answer(body=zipped(SHORT)[:-1], headers=[GZIP], chunked=5), SHORT, HALF_ZIP),
        (Answer(body=zipped(SHORT), headers=[GZIP], length=99), SHORT,
         '%d bytes missing' % (99 - len(zipped(SHORT)))),
        (Answer(body='no gzip', headers=[GZIP]), '',
         'Error -3 while decompressing data: incorrect header check'),
        (cut(), '', 'no answer'),
        (cut(b'SSH-2.0-OpenSSH_9.6\r\n'), '', NOT_HTTP + 'BadStatusLine'),
        (cut(b'HTTP/3.0 200 OK\r\n\r\n'), '', NOT_HTTP + 'UnknownProtocol'),
        (cut(head('X-Long: ' + 'x' * 70000)), '', NOT_HTTP + 'LineTooLong'),
        (drip(itertools.chain([head()[:-2]], itertools.repeat(b'X-More: 1\r\n' * 100))), '',
         NOT_HTTP + 'HTTPException'),
        (raw(head()), '', 'no body'),  # its length may have stood in lines that were cut off
        (raw(head('no header at all') + b'half'), '', CONTRADICTION),
        (raw(head('Odd name: 1', 'Content-Length: 9') + b'half'), '', CONTRADICTION),
        (raw(head(': nameless', 'Content-Length: 9') + b'half'), 'half', '5 bytes missing'),
        (raw(head(' folded from nowhere', 'Content-Length: 9') + b'half'), 'half',
         '5 bytes missing'),
        (raw(head('Content-Length: 2', 'Content-Length: 3') + b'{}'), '', CONTRADICTION),
        (raw(head('Content-Length: 2', 'Transfer-Encoding: chunked') + WHOLE), '', CONTRADICTION),
        (raw(head('Transfer-Encoding: gzip, chunked') + WHOLE), '', CONTRADICTION),
        (raw(head('Transfer-Encoding: chunked ') + WHOLE), '', CONTRADICTION),  # unread by Python
    ] + [(raw(head('Content-Length: ' + length) + b'{}'), '', CONTRADICTION)
         for length in ('', '+2', '-2', '0x2', '1_0', '2, 2', '\xb2', '9' * 19)])
    def test_an_answer_that_is_broken_is_a_failure_after_what_came(self, answer, out, how):
        self.assertEqual(self.broken(how, out), self.get(answer))

    @rows([head('Content-Length: 2', 'Content-Type: application/json') + b'{}',
           CHUNKED + WHOLE[:-4]])
    def test_an_answer_cut_anywhere_is_a_failure(self, whole):
        results = [(end, self.get(cut(whole[:end]))) for end in range(len(whole))]
        self.assertEqual([], [whole[:end] for end, result in results if result.code != 5])
        self.assertIn('{', [result.out for _, result in results])

    @rows(zip([301, 302, 303, 307, 308], *zip(
        ('GET', 'http://{other}/v1/y?token=1', 'http://{other}'),
        ('POST', 'http://ann:pw@{other}/', 'another address'), ('GET', '/v1/y', 'another address'),
        ('GET', '//elsewhere.invalid/\x1b[2J', 'another address'),
        ('PATCH', 'file:///etc/passwd', 'another address'))))
    def test_no_redirect_is_followed_and_the_token_goes_nowhere(
            self, status, method, location, shown):
        with Sandbox() as other:
            address = '127.0.0.1:%d' % other.port
            self.sandbox.on(method, '/v1/x', Answer(
                status, 'moved', [('Location', location.format(other=address))]))
            self.assertEqual(self.fails(
                5, 'Public API request failed (%d %s): it is redirected to %s, and no redirect is '
                'followed.' % (status, http.client.responses[status], shown.format(other=address)),
                'Check NOTION_API_BASE_URL.'), self.call('api', 'v1/x', '-X', method))
            self.assertEqual(([], 1), (other.requests, len(self.sandbox.requests)))

class LimitTest(ApiCase):
    def prepare(self):
        super().prepare()
        self.clock = time  # limits are waited for

    def trickle(self, start):
        """An answer of this, then byte after byte for longer than any limit here."""
        def slow_bytes():
            for _ in range(300):
                if self.sandbox.stopping.wait(0.01):
                    return
                yield b'0'
            self.sandbox.errors.append('The client was still there at the end.')
        return drip(itertools.chain([start], slow_bytes()))

    @rows([None, b'HTTP/1.1 2', b'HTTP/1.1 200 OK\r\nX: ', head(), head('Content-Length: 999999'),
           CHUNKED + b'ffff\r\n'])
    def test_timeout_ends_a_try_however_slowly_the_server_goes_on(self, start):
        answer = self.trickle(start) if start else hang(self.sandbox.stopping)
        result = self.get(answer, '--timeout=.05')
        self.assertEqual(self.late('0.05', '0' * len(result.out)), result)

    @rows([(b'401 No', 4, 'Public API request failed: API token is invalid.',
            'The token came from NOTION_API_TOKEN. Set it to a valid one.'),
           (b'400 No', 5, 'Public API request failed (400 No): ' + NO_ERROR)])
    def test_an_error_whose_body_does_not_come_is_still_that_error(self, status, *expected):
        start = b'HTTP/1.1 %s\r\nContent-Length: 999\r\n\r\n' % status
        for answer in self.trickle(start), cut(start + b'{"message": "hal'):
            self.assertEqual(self.fails(*expected), self.get(answer, '--timeout=.05'))

    def test_timeout_covers_a_tls_handshake_and_the_look_up_of_the_name(self):
        line = {'NOTION_API_BASE_URL': 'https://' + self.peer}, 'api', 'v1/x', '--timeout=.1'
        self.sandbox.server.RequestHandlerClass = lambda *_: self.sandbox.stopping.wait(30)
        self.assertEqual(self.late('0.1'), self.call_with(*line))
        self.patch(socket, 'getaddrinfo', lambda *_, **__: self.sandbox.stopping.wait(30))
        self.assertEqual(self.late('0.1'), self.call_with(*line))

    def test_without_a_limit_no_progress_for_a_minute_is_too_long_and_slowness_is_not(self):
        self.assertEqual(60, ntn.IDLE_TIMEOUT)
        self.limit(IDLE_TIMEOUT=0.3)
        steps = (b'1' for _ in range(12) if not self.sandbox.stopping.wait(0.04))
        self.assertEqual((0, '1' * 12, ''), self.get(drip(itertools.chain([head()], steps))))
        self.assertEqual(self.late('0.3', hint='Try again later.'),
                         self.get(hang(self.sandbox.stopping)))

    bomb = staticmethod(functools.lru_cache(maxsize=None)(lambda: zipped(' ' * (64 << 20)) * 4))
    LIMITED = ('import os, resource, sys\n'
               'resource.setrlimit(resource.RLIMIT_DATA, (192 << 20, 192 << 20))\n'
               'os.execv(sys.argv[1], sys.argv[1:])\n')

    @rows([('api v1/x', 200, 0, ''),  # what is streamed is not bounded
           ('api v1/x', 400, 5, 'Public API request failed (400 Bad Request): the server sent '
            'application/json instead of a Notion error.'),
           ('api v1/x --paginate', 200, 5, 'The answer is larger than 64 MiB.'),
           ('whoami', 200, 5, 'The answer is larger than 64 MiB.'),
           ('api ls', 200, 5, "The API's description cannot be fetched from {origin}. The answer "
            'is larger than 64 MiB.'),
           ('login', 200, 5, 'The answer is larger than 1 MiB.'),
           ('login poll', 200, 5, 'The answer is larger than 1 MiB.')])
    def test_256_mib_that_come_as_little_gzip_need_no_192(self, line, status, code, what):
        if termios is None:
            self.skipTest('memory cannot be limited here')
        self.store_pending()
        for key in [('GET', '/v1/x'), ('GET', '/v1/users/me'), ('GET', '/openapi.json'),
                    ('POST', INIT), ('POST', REDEEM)]:
            self.sandbox.always(*key, Answer(status, self.bomb(), [GZIP]))
        process = self.spawn(*line.split(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             prefix=[sys.executable, '-c', self.LIMITED])
        err = to_text(process.communicate(timeout=60)[1])
        expected = self.fails(code, what.format(origin=self.sandbox.origin)).err if code else ''
        self.assertEqual((code, expected), (
            process.returncode, ''.join(err.partition('error: ')[1:])))

    @rows([lambda size: raw(head('X: a' + ' ' * size + 'b', 'Content-Length: 0')),
           lambda size: Answer.error(400, 'x', 'a' + ' ' * size + 'b' + '\n' * size),
           lambda size: Answer(200, '"token"' + ' ' * size + '"token": "' + '\\' * size),
           lambda size: Answer(429, '', [('Retry-After', '1' * size), ('Date', '1 ' * size)])])
    def test_four_times_as_much_takes_about_four_times_as_much_of_the_processor(self, make):
        def cost(size):
            times = []
            for _ in range(3):
                start = time.process_time()
                self.get(make(size), '-v')
                times.append(time.process_time() - start)
            return min(times)
        self.assertLess(cost(32000), 10 * cost(8000))

# The scheme of the API's origin; how a request goes there; the variables that say so.
WAYS = '''
http   direct     HTTPS_PROXY={url}
http   direct     http_proxy=
http   forwarded  http_proxy={url}
http   forwarded  http_proxy={url} HTTP_PROXY=http://127.0.0.1:1
http   forwarded  all_proxy={url}
http   forwarded  http_proxy={user}{address}
http   forwarded  http_proxy=http://{user}localhost:{port}
http   direct     http_proxy=http://{user}proxy.example:{port}
http   direct     HTTP_PROXY={url} REQUEST_METHOD=GET
http   forwarded  http_proxy={url} REQUEST_METHOD=GET
http   direct     HTTP_PROXY={url} NO_PROXY=example.com,127.0.0.1
http   direct     HTTP_PROXY={url} no_proxy={peer}
http   direct     HTTP_PROXY={url} NO_PROXY=*
http   forwarded  HTTP_PROXY={url} NO_PROXY=example.com
https  direct     https_proxy={url} no_proxy=127.0.0.1
https  tunnelled  ALL_PROXY={url}
https  tunnelled  https_proxy={url} REQUEST_METHOD=GET
https  tunnelled  https_proxy=http://{user}proxy.example:{port}
'''.strip().split('\n')
OLD = sys.version_info < (3, 7)  # there ssl does not tell why
NO_BUNDLE = 'Unset SSL_CERT_FILE, or set it to a bundle of CA certificates.'
INSPECTS = 'If your network inspects TLS, set SSL_CERT_FILE to its CA certificate.'

class WayTest(ProxyCase):
    """Each trouble once through `api` and once through `doctor`, which say the same of it."""

    def prepare(self):
        super().prepare()
        self.env.update(SSL_CERT_FILE=os.path.join(self.dir, '127.0.0.1'),
                        SSL_CERT_DIR=os.path.join(self.dir, 'none'))
        self.sandbox.always('GET', '/v1/users/me', Answer.json({'object': 'user'}))

    def check(self, variables, what='', hint='', proxy='none', **checks):
        """Compare what `api` says, and all checks of doctor's that look at the network."""
        places = dict(url=self.url, user=self.USER, address=self.address, peer=self.peer,
                      port=self.address.split(':')[1], dir=self.dir)
        variables = {name: text.format(**places) for name, text in variables.items()}
        what, hint = what.format(**places), hint.format(**places)
        if what and not what.startswith('The '):
            what = 'Cannot reach Notion: ' + what
        expected = self.fails(5, what, hint) if what else Result(0, '{"secure": true}\n', '')
        self.assertEqual(expected, self.plain(self.call_with(
            variables, 'api', 'v1/x', '--timeout=%g' % ntn.DOCTOR_LIMIT,
            *['--no-retry'] * what.startswith('The connection'))))
        origin = variables.get('NOTION_API_BASE_URL', self.sandbox.origin)
        expected = dict({
            'Proxy': ('ok', proxy, ''), 'CA certificates': ('ok', '1 certificate', ''),
            'Clock': ('skipped', "the server's time is not known", '') if what else
                     ('ok', 'correct', ''),
            'Public API access': ('error', what, hint) if what else
                                 ('ok', origin + ' accepts the token', '')}, **checks)
        code, out, err = self.plain(self.call_with(variables, 'doctor', '--json'))
        found = {each['check']: (each['status'], each['value'], each['hint'])
                 for each in json.loads(out)}
        self.assertEqual(expected, {name: found[name] for name in expected})
        failed = any(status == 'error' for status, _, _ in expected.values())
        self.assertEqual((5 if failed else 0, ''), (code, err))

    @staticmethod
    def plain(result):
        """As OpenSSL 3 spells it."""
        return Result(result.code, *(each.replace('self signed', 'self-signed')
                                     for each in result[1:]))

    @rows(WAYS)
    def test_what_the_variables_say_of_proxies_is_done_and_the_password_stays_there(self, row):
        scheme, way, text = row.split(None, 2)
        here = '127.0.0.1', self.address.split(':')[1]
        self.names(proxy_example=here, localhost=here)
        host = re.search('localhost|proxy.example|$', text).group() or '127.0.0.1'
        self.check(dict(self.serve_tls() if scheme == 'https' else {},
                        **dict(word.split('=', 1) for word in text.split())),
                   proxy='none' if way == 'direct' else self.address.replace('127.0.0.1', host))
        lines = self.proxy.heads[0] if self.proxy.heads else ['']
        self.assertEqual({'direct': '', 'forwarded': 'GET http://%s/v1/x' % self.peer,
                          'tunnelled': 'CONNECT ' + self.peer}[way], lines[0].split(' HTTP')[0])
        self.assertFalse(way == 'tunnelled' and CANARY in ''.join(lines))
        self.assertEqual([('Bearer ' + CANARY, None)] * 2, [
            (each.header('Authorization'), each.header('Proxy-Authorization'))
            for each in self.sandbox.requests])

    @rows([(name, '%s://{user}127.0.0.1:1' % kind.lower(), "is a %s proxy, which Python's standard "
            'library cannot use.' % kind) for name, kind in (
        ('ALL_PROXY', 'SOCKS5'), ('all_proxy', 'SOCKS5H'), ('http_proxy', 'HTTPS'))] + [
        ('HTTP_PROXY', value, 'has no valid address.') for value in (
            'http://{user}', 'http://127.0.0.1:99999', 'http://{user}127.0.0.1:port',
            'http://[::1', 'http://ann:canary%20%4042/@127.0.0.1:1')])
    def test_a_proxy_that_cannot_be_used_is_refused_by_the_name_of_its_variable(
            self, name, value, what):
        what = 'The proxy in %s %s' % (name.upper(), what)
        hint = 'Set it to http://HOST:PORT, or add 127.0.0.1 to NO_PROXY.'
        self.check({name: value}, what, hint, Proxy=('error', what, hint))
        self.assertEqual([], self.sandbox.requests)

    REFUSED = 'the proxy {address} refused to connect to 127.0.0.1 (%d).'
    PASSWORD = 'Check user name and password in the proxy variable, or add the host to NO_PROXY.'

    @rows([(b'HTTP/1.1 403 Fil\x1btered\r\n\r\n', REFUSED % 403, PASSWORD),
           (b'', REFUSED % 407, PASSWORD),
           (b'SSH-2.0\r\n', 'The connection to the proxy {address} (for 127.0.0.1) broke off ('
            + NOT_HTTP + 'BadStatusLine).', 'Try again.')])
    def test_a_proxy_that_will_not_connect_is_named(self, refusal, what, hint):
        self.proxy.refusal = refusal
        for user in [self.USER] if refusal else ['', 'ann:wrong-canary@']:
            self.check({'NOTION_API_BASE_URL': 'https://{peer}',
                        'https_proxy': 'http://' + user + self.address}, what, hint, self.address)
        self.assertEqual([], self.sandbox.requests)

    @rows([  # the server's certificate; the one that is trusted; what is said; what to do
        ('127.0.0.1', 'elsewhere.invalid', 'self-signed certificate', INSPECTS),
        ('inspected', '127.0.0.1', 'unable to get local issuer certificate', INSPECTS),
        ('in 2020', '', 'certificate has expired', INSPECTS if OLD else
         "Check this machine's clock."),
        ('elsewhere.invalid', '', 'the certificate is not one for 127.0.0.1.',
         'Another server answers for it: a proxy, a captive portal or a wrong address.'),
        ('127.0.0.1', 'missing', '{dir}/missing, which does not exist.', NO_BUNDLE),
        ('127.0.0.1', 'empty', '{dir}/empty, which holds no certificate.', NO_BUNDLE)])
    def test_a_certificate_must_vouch_for_this_host_now_also_behind_a_proxy(
            self, name, trusted, what, hint):
        self.write('empty')
        tls, checks = self.serve_tls(name, trusted), {}
        if hint == NO_BUNDLE:
            what = 'SSL_CERT_FILE names ' + what
            checks['CA certificates'] = 'error', what.format(dir=self.dir), hint
            what = '127.0.0.1 cannot be verified: ' + what
        elif not what.startswith('the'):
            what = 'the certificate of 127.0.0.1 is not trusted (%s).' % (
                'CERTIFICATE_VERIFY_FAILED' if OLD else what)
        for variables, proxy in (tls, 'none'), (dict(tls, https_proxy=self.url), self.address):
            self.check(variables, what, hint, proxy, **checks)
        self.assertEqual([], self.sandbox.requests)

    def test_a_ca_certificate_as_companies_make_them_is_trusted_on_every_python(self):
        self.check(self.serve_tls('inspected', 'inspector'))

    @rows([('linux', "Install your system's package ca-certificates, or set SSL_CERT_FILE to a "
                     'bundle.'),
           ('darwin', 'Run Install Certificates.command in the folder of this Python under '
                      'Applications.')])
    def test_where_there_are_no_certificates_the_hint_says_what_to_install(self, platform, hint):
        self.patch(sys, 'platform', platform)
        what = 'o CA certificates are installed.'
        self.check(dict(self.serve_tls(), SSL_CERT_FILE=''),
                   '127.0.0.1 cannot be verified: n' + what, hint,
                   **{'CA certificates': ('error', 'N' + what, hint)})

    def test_a_server_or_a_proxy_that_is_not_there_or_hangs_up_is_named(self):
        nowhere = '127.0.0.1:%d' % self.free_port()
        self.check({'http_proxy': 'http://{user}' + nowhere}, 'the proxy %s (for 127.0.0.1) refuses'
                   ' connections.' % nowhere, 'Check the proxy variables.', nowhere)
        self.check({'NOTION_API_BASE_URL': 'http://' + nowhere}, nowhere + ' refuses connections.',
                   'Start the server that NOTION_API_BASE_URL names, or unset that to use Notion.')
        for path in '/v1/x', '/v1/users/me':
            self.sandbox.always('GET', path, cut())
        self.check({}, 'The connection to {peer} broke off (no answer).', 'Try again.')
        with self.assertRaises(ssl.SSLError) as caught, socket.create_connection(
                ('127.0.0.1', self.sandbox.port)) as connection:
            ssl.create_default_context().wrap_socket(connection, server_hostname='x')
        self.check({'NOTION_API_BASE_URL': 'https://{peer}'}, 'the TLS connection to 127.0.0.1 '
                   'failed (%s).' % caught.exception.reason,
                   'Check that the address is right and speaks TLS.')

    def dead_address(self):
        """One that swallows what is sent to it."""
        full, *callers = [self.enter(socket.socket()) for _ in range(3)]
        full.bind(('127.0.0.1', 0))
        full.listen(0)
        for each in callers:  # its queue is full then
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        return full.getsockname()

    @rows([False, True])
    def test_a_server_that_is_silent_or_dead_is_late(self, dead):
        self.limit(DOCTOR_LIMIT=0.1)
        for path in '/v1/x', '/v1/users/me':
            self.sandbox.always('GET', path, hang(self.sandbox.stopping))
        peer = '%s:%d' % self.dead_address() if dead else self.peer
        self.check({'NOTION_API_BASE_URL': 'http://' + peer},
                   peer + ' did not answer in time (0.1 s).', 'Try again later.')

    def test_a_dead_address_of_a_name_does_not_hide_the_live_one(self):
        self.limit(DOCTOR_LIMIT=0.5)
        self.names(localhost=[self.dead_address(), ('127.0.0.1', self.free_port()),
                              ('127.0.0.1', self.sandbox.port)])
        self.check({'NOTION_API_BASE_URL': 'http://localhost:1'})

    @rows([('notion.invalid', 'the name %s cannot be resolved (%s).'),
           ('a..invalid', 'the name %s cannot be resolved (%s).'),
           ('a' * 64 + '.invalid', 'the name %s cannot be resolved (%s).'),
           ('unreachable.invalid', '%s: %s.')])
    def test_a_name_that_leads_nowhere_says_what_the_system_says(self, host, what):
        self.names(notion_invalid=('127.0.0.1', 'no service'),
                   unreachable_invalid=('255.255.255.255', 443))
        with self.assertRaises(OSError) as caught:
            socket.create_connection((host.encode('ascii'), 443))
        why = getattr(caught.exception, 'strerror', None) or str(caught.exception)
        self.check({'NOTION_API_BASE_URL': 'https://' + host}, what % (host, why),
                   'Check the network connection%s.' % (
                       ' and the name server' if 'resolved' in what else ''))

class RetryTest(ApiCase):
    """Waits take no time, and a pause that nobody asked for ends in .25."""
    DONE = Answer(200, '{}')
    SLOW = 'Notion answered 429 Too Many Requests.'

    def prepare(self):
        super().prepare()
        self.patch(ntn, 'jitter', lambda: 0.25)

    def run_with(self, *answers, argv=(), method='GET'):
        """The result of `ntn api v1/x` for answers in turn, the waits, the number of requests."""
        self.sandbox.on(method, '/v1/x', *answers)
        result = self.call('api', 'v1/x', *argv)
        return result, self.clock.sleeps, len(self.sandbox.requests)

    @staticmethod
    def limited(after=None):
        """429, with what Retry-After is to say."""
        return Answer.error(429, 'rate_limited', 'Slow down.',
                            [('Retry-After', after)] * (after is not None))

    @staticmethod
    def lines(*problems_and_pauses):
        return ''.join('%s Trying again in %s s (try %d of 3).\n' % (problem, pause, number)
                       for number, (problem, pause) in enumerate(problems_and_pauses, 2))

    @rows([('3', 3), ('0', 0), ('60', 60), (' 7 ', 7), ('Thu, 01 Jan 2026 00:00:30 GMT', 30),
           ('Thursday, 01-Jan-26 00:00:30 GMT', 30), ('Thu Jan  1 00:00:30 2026', 30),
           ('Fri, 31 Dec 1999 23:59:59 GMT', 0), (None, 1.25), ('', 1.25), ('-5', 1.25),
           ('1.5', 1.25), ('²', 1.25), ('Thu, 99 Foo 2026 00:00:30 GMT', 1.25),
           # By the clock of the server, which may not tell the time.
           ('Thu, 01 Jan 2026 01:00:20 GMT', 20, 3600),
           ('Thu, 01 Jan 2026 00:00:20 GMT', 20, None)])
    def test_the_waits_are_those_asked_for(self, after, pause, ahead=0):
        self.sandbox.date_offset, self.sandbox.send_date = ahead or 0, ahead is not None
        self.assertEqual((Result(0, '{}\n', self.lines((self.SLOW, pause))), [pause], 2),
                         self.run_with(self.limited(after), self.DONE))

    @rows([(['61'], [], 61), (['9999999999'], [], 9999999999), (['40', '21'], [40], 21),
           ([None, '59'], [1.25], 59), (['20', '20', '2'], [20, 20], 2)])  # the tries are used up
    def test_what_asks_for_more_than_a_minute_in_all_fails_at_once_and_says_how_long(
            self, after, waits, asked):
        failed = self.fails(5, 'Public API request failed (429 Too Many Requests rate_limited): '
                            'Slow down.\n  request id: ' + REQUEST_ID,
                            'The server asks to wait %d s.' % asked)
        err = self.lines(*[(self.SLOW, pause) for pause in waits]) + failed.err
        self.assertEqual((Result(5, '', err), waits, len(after)), self.run_with(
            *map(self.limited, after), argv=['a=1'], method='POST'))

    @rows(itertools.product(['GET', 'HEAD', 'DELETE', 'POST', 'PATCH', 'PUT'],
                            [408, 429, 500, 501, 502, 503, 504, 505, 529, None], [True, False]))
    def test_what_is_tried_again_with_which_methods(self, method, status, retry):
        again = retry and (status in (429, 529) or method in ('GET', 'HEAD', 'DELETE') and (
            status in (500, 502, 503, 504, None)))
        result, waits, count = self.run_with(*[Answer(status) if status else cut()] * 3,
                                             method=method, argv=['-X', method] + (
                                                 [] if retry else ['--no-retry']))
        self.assertEqual((5, [1.25, 2.25] if again else [], 3 if again else 1),
                         (result.code, waits, count))
        why = ('Notion answered %s' % ('%s %s' % (
            status, http.client.responses.get(status, ''))).strip() if status else
            'The connection to %s broke off (no answer)' % self.peer) + '.'
        self.assertEqual(self.lines((why, 1.25), (why, 2.25)) if again else '',
                         result.err.partition('error: ')[0])

    def test_a_limit_is_for_one_try_and_the_pause_after_it_does_not_count(self):
        self.clock.on_sleep = lambda: time.sleep(0.7)
        result, _, _ = self.run_with(self.limited('1'), self.DONE, argv=['--timeout=.5'])
        self.assertEqual((0, [1, 1]), (result.code, self.connections()))

    @rows([(), ('-v',), ('-i',)])
    def test_a_body_that_breaks_off_is_not_tried_again(self, *argv):
        result, waits, count = self.run_with(Answer(200, 'abc', length=9), argv=argv)
        self.assertEqual((5, 'abc', [], 1), (
            result.code, result.out.rpartition('\n')[2], waits, count))

    def connections(self):
        """The number of the connection that each request came by, from 1."""
        numbers = [request.connection for request in self.sandbox.requests]
        return [sorted(set(numbers)).index(number) + 1 for number in numbers]

    def test_the_connection_is_kept_whatever_the_answer(self):
        pages = [json.dumps({'results': [number], 'next_cursor': number and str(number),
                             'has_more': number > 0}) for number in (2, 1, 0)]
        result, _, _ = self.run_with(
            self.limited('1'), Answer(503, 'a', chunked=1), Answer(200, pages[0]),
            Answer(500, 'b', encoding='gzip'), Answer(200, pages[1], encoding='gzip', chunked=9),
            Answer(200, pages[2], chunked=4), argv=['--paginate'])
        self.assertEqual((0, '2\n1\n0\n'), result[:2])
        self.assertEqual([1] * 6, self.connections())

    STRAY = head('Content-Length: 5') + b'"bad"'  # an answer to nothing, which is nobody's

    @rows([(Answer(503, 'a', [('Connection', 'close')]), b''),
           (Answer(503, 'a', close=True), b''),  # which is not said
           (Answer(503, 'a', length=9), b''), (raw(b'nonsense\r\n'), b''),
           (Answer(503, 'a'), STRAY),
           (raw(b'HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n' + STRAY), b'')])
    def test_a_connection_is_not_used_again_once_it_is_of_no_use(self, answer, later):
        def give(request, handler):
            answer(request, handler)
            if later and asleep.wait(10):
                handler.wfile.write(later)
            if handler.close_connection:
                handler.connection.shutdown(socket.SHUT_RDWR)
            given.set()
        asleep, given = threading.Event(), threading.Event()
        self.clock.on_sleep = lambda: (asleep.set(), given.wait(10))
        result, _, count = self.run_with(give, self.DONE)
        self.assertEqual((0, '{}\n', 2, 1), result[:2] + (count, result.err.count('Trying')))
        self.assertEqual([1, 2], self.connections())

# ---- 6 State: files ------------------------------------------------------------------------------

NO_SPACE = "Check the directory's permissions and free space, or set NOTION_HOME elsewhere."
LOGGED_IN = '✔ Logged in to workspace Acme\n  The token is stored in %s\n'
ALREADY_OUT = Result(0, '', '✔ Already logged out\n')
PRIVATE = {'.': '700', 'cache': '700', 'cache/.lock': '600', '.lock': '600', 'auth.json': '600',
           'config.json': '600', 'workspaces.json': '600'}

def logged_out(*names):
    """How a logout ends that has forgotten these workspaces."""
    stays = ' At Notion the token stays valid until you revoke it in your settings.\n'
    forgotten = '  Forgotten: %s.%s' % (', '.join(names), stays) if names else ''
    return Result(0, '', '✔ Logged out\n' + forgotten)

LOGGED_OUT = logged_out('Acme')

class StateCase(Case):
    def modes(self):
        """{path below NOTION_HOME: permissions} of all there is, NOTION_HOME itself as '.'."""
        found = {name: mode for name, (mode, _) in self.tree().items()}
        return dict(found, **{'.': '%03o' % stat.S_IMODE(os.stat(self.home).st_mode)})

    def store_everything(self):
        """Two workspaces, and a login to Acme, the default, that waits and is approved."""
        self.store_login('ntn_canary_other', 'other', 'Other')
        self.store_login()
        self.store_pending()
        self.sandbox.always('POST', REDEEM, confirmed(token='ntn_canary_login_1'))

class FileTest(StateCase):
    def test_files_have_the_shapes_of_the_official_client(self):
        self.call('login', '--no-browser')
        self.assertEqual(
            '{\n  "sessionId": "sess-canary-1",\n  "issuedAt": 1767225600,\n'
            '  "expiresAt": 1767226200,\n  "environment": "prod",\n  "origin": "%s",\n'
            '  "url": "%s/workers/cli-login?verificationCode=DP9-QL5",\n'
            '  "verificationCode": "DP9-QL5"\n}' % ((self.sandbox.origin,) * 2),
            to_text(self.read(PENDING)))
        self.sandbox.approve(workspace=(WORKSPACE, 'Acmé ☃'))
        self.call('login', 'poll')
        expected = [{WORKSPACE: 'ntn_canary_login_1'}, {
            'version': '1', 'defaultWorkspaceIds': {'prod': WORKSPACE}}, {
            'version': '1', 'environments': {'prod': {
                WORKSPACE: {'id': WORKSPACE, 'name': 'Acmé ☃'}}}}]
        for _ in range(2):
            self.assertEqual([json.dumps(each, indent=2, ensure_ascii=False) for each in expected],
                             [to_text(self.read(name)) for name in STATE[:3]])
            self.call('logout')
            expected[0].clear()
            expected[1]['defaultWorkspaceIds'].clear()
            expected[2]['environments']['prod'].clear()
        self.assertEqual(PRIVATE, self.modes())

    @rows(['"\\ud800 € \\u007f"', 'null', '[]', '1e400', '-1E+400', '0.1234567890123456789012345',
           '1.10', '1' * 5000])
    def test_what_is_not_understood_is_kept_as_it_is_written(self, strange):
        whole = dict(zip(STATE, ({'x': 'ntn_canary_x', 'number': 5, 'strange': '?'}, {
            'version': '7', 'defaultWorkspaceIds': {'dev': 'x', 'prod': 'old', 'next': 5},
            'keyring': False, 'strange': '?'}, {
            'version': 2, 'strange': '?', 'environments': {
                'dev': {'x': {'id': 'x', 'name': 'X'}, 'y': 5}, 'next': [],
                'prod': {WORKSPACE: {'id': WORKSPACE, 'name': 'Old', '': '?'}, 'odd': None}}}, {
            'strange': '?'})))

        def check():
            self.assertEqual([json.dumps(whole[name], indent=2).replace('"?"', strange)
                              for name in STATE[:3]],
                             [to_text(self.read(name)) for name in STATE[:3]])
        for name in STATE:
            self.write_state(name, to_bytes(json.dumps(whole[name]).replace('"?"', strange)))
        self.assertEqual(0, self.log_in().code)
        whole['auth.json'][WORKSPACE] = 'ntn_canary_login_1'
        whole['config.json']['defaultWorkspaceIds']['prod'] = WORKSPACE
        whole['workspaces.json']['environments']['prod'][WORKSPACE]['name'] = 'Acme'
        check()
        self.assertEqual(LOGGED_OUT, self.call('logout', '--workspace', WORKSPACE))
        del whole['auth.json'][WORKSPACE]
        del whole['config.json']['defaultWorkspaceIds']['prod']
        del whole['workspaces.json']['environments']['prod'][WORKSPACE]
        check()

    CHOOSE = 'No default workspace is set.', 'Choose one with `ntn login --workspace NAME`: Acme.'

    @rows(itertools.product([5, None, [], {}, '', ['text'], {'token': 'text'}], [
        ('auth.json', lambda value: {WORKSPACE: value}, (
            'No token is stored for workspace %s.' % WORKSPACE, LOG_IN)),
        ('config.json', lambda value: {'defaultWorkspaceIds': {'prod': value}}, CHOOSE),
        ('config.json', lambda value: {'defaultWorkspaceIds': value}, CHOOSE)]))
    def test_values_of_other_types_are_no_tokens_and_no_workspaces(self, value, case):
        name, make, failure = case
        self.store_login()
        self.write_state(name, make(value))
        self.refuses('auth token', 4, *failure)
        self.write_state('workspaces.json', {'environments': {'prod': value}})
        self.write_state('config.json', {})
        self.assertEqual(ALREADY_OUT, self.call('logout'))

    @rows(itertools.product(['auth token', 'whoami', 'api v1/users/me'], [
        'ntn_canary a', 'ntn_canary_a\r\nX-Evil: 1', 'ntn_canary_é', '\x00']))
    def test_a_stored_token_with_odd_characters_is_never_sent_nor_shown(self, line, token):
        self.store_login(token)
        self.refuses(line, 4, 'The token from %s has characters that no token has.'
                     % self.path('auth.json'), LOG_IN, stdin=None)

    def put(self, name, content):
        """Put something in the place of a state file: bytes, or what is no regular file."""
        path = self.write_state(name, content if isinstance(content, bytes) else b'')
        if not isinstance(content, bytes):
            os.unlink(path)
            content(path)
        return path

    def link_to_fifo(path):
        os.mkfifo(path + '-target')
        os.symlink(path + '-target', path)

    DAMAGE = [(content, 'PATH is damaged: it is not valid JSON.', REPAIR) for content in (
        b'', b'{', b'{"a": 1} x', b'{"a": "\xff"}', b'[' * 100000, b'{"a": NaN}')] + [
        (content, 'PATH is damaged: it does not hold a JSON object.', REPAIR)
        for content in (b'[]', b'null')] + [
        (content, 'PATH is damaged: it is not a regular file.', REPAIR)
        for content in (os.mkfifo, os.mkdir, link_to_fifo)] + [
        (lambda path: os.symlink(path, path),
         'Cannot read PATH: Too many levels of symbolic links.', 'Check its permissions.')]

    @rows(itertools.product(DAMAGE, [
        ('auth.json', 'api v1/users/me'), ('config.json', 'whoami'), (PENDING, 'login poll'),
        ('workspaces.json', 'logout --workspace Acme'),
        ('workspaces.json', 'login --workspace Acme')]))
    def test_a_damaged_file_is_an_error_and_stays_as_it_is(self, damage, met):
        (content, message, hint), (name, line) = damage, met
        self.store_everything()
        path = self.put(name, content)
        untouched = [each for each in STATE if each != name]
        before = [self.read(each) for each in untouched], os.lstat(path).st_ino
        run = self.ntn if content == os.mkfifo else self.call  # it might wait for a writer
        self.assertEqual(self.fails(1, message.replace('PATH', path), hint),
                         run(*line.split(), stdin=None))
        self.assertEqual(before, ([self.read(each) for each in untouched], os.lstat(path).st_ino))
        if isinstance(content, bytes):
            self.assertEqual(content, self.read(name))
        self.assertEqual([], self.sandbox.requests)

    @rows(itertools.product(DAMAGE[:-1], ['login --no-browser', 'login poll']))
    def test_a_login_moves_damaged_files_aside_and_goes_on(self, damage, line):
        content, message, _ = damage
        names = STATE if line == 'login --no-browser' else STATE[:3]
        if names != STATE:
            self.call('login', '--no-browser')
            self.sandbox.approve()
        paths = [self.put(name, content) for name in names]
        code, _, err = self.call(*line.split())
        self.assertEqual((0, {'warning: %s It was moved to %s.damaged-1767225600.' % (
            message.replace('PATH', path), path) for path in paths}), (code, {
                each for each in err.splitlines() if each.startswith('warning')}))
        if isinstance(content, bytes):
            self.assertEqual([content] * len(names), [
                self.read(name + '.damaged-1767225600') for name in names])
            self.write_state('auth.json', content)  # a second one does not overwrite the first
            self.call('login', '--no-browser')
            self.assertEqual(content, self.read('auth.json.damaged-1767225600x'))

    def test_a_byte_order_mark_does_no_harm(self):
        self.store_login()
        for name in STATE[:3]:
            self.write_state(name, b'\xef\xbb\xbf' + self.read(name))
        self.assertEqual(0, self.call('whoami').code)

class WritingTest(StateCase):
    def watch_logins(self, umask):
        """Log in twice and out again; (is a directory, mode) of all that was there at any time: it
        is looked at after every call into the operating system, so nothing is too short-lived."""
        seen = set()

        def watch(frame, event, function):
            if event == 'c_return' and function.__module__ in ('posix', 'nt', 'io', '_io', 'fcntl'):
                sys.setprofile(None)
                for directory, names, files in os.walk(self.home):
                    seen.update((name not in files, stat.S_IMODE(
                        os.lstat(os.path.join(directory, name)).st_mode))
                        for name in names + files + ['.'])
                sys.setprofile(watch)
        previous = os.umask(umask)
        try:
            sys.setprofile(watch)
            codes = [self.log_in().code, self.log_in().code, self.call('logout').code]
        finally:
            sys.setprofile(None)
            os.umask(previous)
        self.assertEqual([0, 0, 0], codes)
        return seen

    def test_no_state_is_ever_readable_by_others(self):
        self.home = self.env['NOTION_HOME'] = os.path.join(self.dir, 'new', 'and', 'deep')
        self.assertEqual({(True, 0o700), (False, 0o600)}, self.watch_logins(0))
        self.assertEqual([0o40700] * 2, [os.stat(os.path.join(self.dir, name)).st_mode
                                         for name in ('new', 'new/and')])

    def test_a_strict_umask_takes_nothing_from_the_owner(self):
        self.watch_logins(0o777)
        self.assertEqual(PRIVATE, self.modes())

    @rows(itertools.product([('auth.json', 'auth token'), (PENDING, 'login poll --no-wait')],
                            [0o640, 0o604, 0o777, 0o601]))
    def test_a_secret_that_others_could_read_is_made_private(self, met, mode):
        name, line = met
        self.store_login()
        self.call('login', '--no-browser')
        os.chmod(self.path(name), mode)
        self.call(*line.split(), secrets_ok=True)
        self.assertEqual('600', self.modes()[name])

    def test_a_link_stays_a_link(self):
        self.store_login('ntn_canary_other', 'other', 'Other')
        elsewhere = tempfile.mkdtemp(dir=self.dir)
        for name in STATE[:3]:
            target = os.path.join(elsewhere, 'my-' + name)
            os.rename(self.path(name), target)
            os.symlink(os.path.relpath(target, self.home), self.path(name))
        self.assertEqual(0, self.log_in().code)
        self.assertEqual(({'my-' + name for name in STATE[:3]}, [True] * 3), (
            set(os.listdir(elsewhere)), [os.path.islink(self.path(name)) for name in STATE[:3]]))
        self.assertEqual({'other': 'ntn_canary_other', WORKSPACE: 'ntn_canary_login_1'},
                         self.state('auth.json'))

    @rows([os.symlink, os.link, lambda victim, path: os.mkfifo(path)])
    def test_a_left_over_temporary_file_is_in_nobodys_way(self, make):
        victim = self.write_state('victim', b'precious')
        for name in STATE:
            make(victim, self.write_state(name, {}) + '.tmp')
        self.assertEqual(0, self.log_in().code)
        self.assertEqual(set(STATE[:3]) | {'victim', '.lock', 'cache', 'cache/.lock'},
                         set(self.tree()))
        self.assertEqual(b'precious', self.read('victim'))

    def test_another_process_may_make_the_directory_first(self):
        mkdir = os.mkdir

        def be_late(path, mode=0o777):
            mkdir(path, mode)
            mkdir(path, mode)  # which fails: it is there
        with mock.patch('os.mkdir', be_late):
            self.assertEqual(0, self.call('login', '--no-browser').code)

    def hold_lock(self, directory):
        """Hold the lock as another process would; the file, whose closing ends that."""
        path = os.path.join(self.home, directory, '.lock')
        os.makedirs(os.path.dirname(path), exist_ok=True)
        file = self.enter(open(path, 'w'))
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    @rows([('', 'login --no-browser'), ('cache', 'login --no-browser'), ('', 'login poll'),
           ('cache', 'login poll'), ('', 'login --workspace Acme'), ('', 'logout'),
           ('', 'logout --workspace Acme'), ('cache', 'logout')])
    def test_a_lock_held_for_10_s_is_an_error_that_names_it(self, directory, line):
        self.store_everything()
        if line in ('login --no-browser', 'login poll') and not directory:
            self.write_state('auth.json', b'{')  # which is not moved while another one writes
        before = [self.tree().get(name) for name in STATE]
        lock = self.hold_lock(directory)
        self.refuses(line, 1, 'Another process has held %s for 10 s.' % lock.name,
                     'The rest was forgotten.' if line == 'logout' else
                     'Find it with `fuser %s`, then try again.' % lock.name)
        self.assertAlmostEqual(10, sum(self.clock.sleeps), delta=0.1)
        if line != 'logout':  # which goes on where it is not kept from it
            self.assertEqual(before, [self.tree().get(name) for name in STATE])

    def test_a_lock_is_waited_for_and_not_needed_to_read(self):
        self.store_login()
        self.clock.on_sleep = self.hold_lock('').close
        self.assertEqual(0, self.call('whoami').code)
        self.assertEqual(LOGGED_OUT, self.call('logout'))

    def test_processes_at_once_lose_nothing(self):
        polls = []
        for number in range(8):  # each with a login of its own that waits, all with one auth.json
            self.sandbox.workspaces = [('w-%d' % number, 'W')]
            env = {'NOTION_HOME': None, 'XDG_CONFIG_HOME': self.dir,
                   'XDG_CACHE_HOME': os.path.join(self.dir, 'cache-%d' % number)}
            self.assertEqual(0, self.call('login', '--no-browser', env=env).code)
            self.sandbox.approve()
            polls.append(env)
        polls = [self.spawn('login', 'poll', env=env, stdin=subprocess.DEVNULL) for env in polls]
        self.assertEqual([0] * 8, [each.communicate(timeout=60) and each.returncode
                                   for each in polls])
        self.home = os.path.join(self.dir, 'notion')
        self.assertEqual({'w-%d' % number: 'ntn_canary_login_%d' % (number + 1)
                          for number in range(8)}, self.state('auth.json'))
        self.assertEqual({'w-%d' % number for number in range(8)},
                         set(self.state('workspaces.json')['environments']['prod']))

    NO_FILES = ('import os, resource, sys\n'
                'resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n'
                'os.execv(sys.argv[1], sys.argv[1:])\n')

    @rows(itertools.product(['full', ('os.fsync', errno.ENOSPC), ('os.replace', errno.EBUSY)], [
        ('login --no-browser', 'config.json'), ('login poll', 'auth.json'),
        ('login --workspace Other', 'config.json'), ('logout', None)]))
    def test_a_write_that_fails_at_any_step_leaves_the_old_content(self, failure, command):
        line, name = command
        self.store_everything()
        before = self.tree()
        if failure == 'full':
            result, why = self.ntn(*line.split(), prefix=[
                sys.executable, '-I', '-S', '-c', self.NO_FILES]), 'File too large'
        else:
            why = os.strerror(failure[1])
            with mock.patch(failure[0], side_effect=OSError(failure[1], why)):
                result = self.call(*line.split())
        if line == 'logout':  # which does what it can: to delete a file takes no space
            del before[PENDING]
            self.assertEqual(Result(1, '', ''.join(
                'error: Cannot write %s: %s.\n' % (self.path(each), why) for each in STATE[:2])
                + '  hint: The rest was forgotten.\n'), result)
        else:
            self.assertEqual(self.fails(1, 'Cannot write %s: %s.' % (self.path(name), why),
                                        NO_SPACE), result)
        self.assertEqual((before, []), ({
            name: entry for name, entry in self.tree().items() if '.lock' not in name},
            self.sandbox.requests))

    def test_content_is_on_the_disk_before_its_name_is_and_then_the_directory(self):
        steps = []

        def note(name, function):
            def noting(*arguments):
                of = os.fstat(arguments[0]).st_mode if name == 'fsync' else 0
                steps.append(name + ' directory' * stat.S_ISDIR(of))
                return function(*arguments)
            self.patch(os, name, noting)
        self.store_everything()
        note('fsync', os.fsync)
        note('replace', os.replace)
        self.call('login', '--workspace', 'Other')
        self.assertEqual(['fsync', 'replace', 'fsync directory'], steps)

class KillTest(StateCase):
    # Runs a command again and again, each time from the same files and in a fork that kills itself
    # before or after one of its calls that change a file, each in turn. Whatever file is then
    # looked at has its old content or its new one, and the command can be run again.
    KILLER = r'''
import json, os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
import ntn
command, home = sys.argv[2:], os.environ['NOTION_HOME']
nowhere = open(os.devnull, 'w')
os.fsync = os.get_inheritable  # does nothing, and is a call: a kill takes nothing from the cache
CALLS = 'open', 'chmod', 'get_inheritable', 'replace', 'unlink'

def load():
    found = {}
    for name in 'auth.json', 'config.json', 'workspaces.json', 'cache/pending-login.json':
        try:
            with open(os.path.join(home, name), 'rb') as file:
                found[name] = json.dumps(json.load(file), indent=2)
        except FileNotFoundError:
            found[name] = None
    return found

def run(instant=0):
    """Run it up to this call; (status, number of calls)."""
    calls = 0
    def count(frame, event, function):
        nonlocal calls
        if (event in ('c_call', 'c_return') and function.__module__ == 'posix'
                and function.__name__ in CALLS):
            calls += 1
            if calls == instant:
                os.kill(os.getpid(), signal.SIGKILL)
    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        sys.setprofile(count)
        threading.setprofile(count)
        code = ntn.main(command, ntn.Console(stderr=nowhere))
        sys.setprofile(None)
        os.write(sender, b'%d' % calls)
        os._exit(code)
    os.close(sender)
    status = os.waitpid(child, 0)[1]
    with open(receiver, 'rb') as file:
        return status, int(file.read() or 0)

def restore():
    for name, text in before.items():
        with open(os.path.join(home, name), 'w') as file:
            file.write(text)

before = load()
ntn.main(command, ntn.Console(stderr=nowhere))  # which also loads all modules
restore()
status, calls = run()
after, seen = load(), set()
assert status == 0 and before != after, (status, after)
for instant in range(1, calls + 1):
    restore()
    run(instant)
    found = load()
    for name, text in found.items():
        assert text in (before[name], after[name]), (instant, name, text)
    left = tuple(found.values()), tuple(os.listdir(home)), tuple(os.listdir(home + '/cache'))
    if left not in seen:
        seen.add(left)
        status = run()[0] if found != after else 0
        assert (status, load()) == (0, after), (instant, status, found, load())
nowhere.close()
print(calls > 10, len({texts for texts, *_ in seen}))
'''

    # How many states of the four files are met, the old one and the new one included.
    @rows([('login poll', 3), ('login --workspace Other', 2), ('logout', 5),
           ('logout --workspace Acme', 4)])
    def test_a_kill_at_any_instant_leaves_the_old_content_or_the_new(self, line, states):
        self.store_everything()
        killer = subprocess.Popen(
            [sys.executable, '-c', self.KILLER, HERE] + line.split(), env=self.environ({}),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(reap, killer)
        self.assertEqual('True %d\n' % states, to_text(killer.communicate(timeout=120)[0]))

# ---- 6 State: the keychain -----------------------------------------------------------------------

WAITING = 'Waiting for the keychain: it may ask to be unlocked.\n'
SILENT = 'The keychain did not answer within 5 s.'
INSTEAD = '%s The token is in %s instead; NOTION_KEYRING=0 silences this.\n'
NO_TOKEN = 'No token is stored for workspace %s.' % WORKSPACE, LOG_IN
NONE = 'No keychain was found on this system.'
UNUSABLE = 'The keychain cannot be used (%s: no luck).'
IS_LOCKED = 'The keychain is locked (KeyringLocked: no luck).'
LOSES = 'The keychain does not keep what is written to it.'
KEYCHAINS = [  # kind; what the keychain does, see FAKE_KEYRING, None if there is no such package;
    # what is said of it
    ('good', {}, ''), ('none', None, 'The Python package keyring is not installed.'),
    ('none', {'backend': 'fail', '*': 'RuntimeError'}, NONE),
    ('none', {'backend': 'null', 'set': 'lose'}, NONE), ('none', {'*': 'NoKeyringError'}, NONE),
    ('broken', {'*': 'KeyringLocked'}, IS_LOCKED), ('broken', {'get': 'KeyringLocked'}, IS_LOCKED)
] + [('broken', {step: 'hang'}, SILENT) for step in ('import', 'get_keyring', 'get', '*')] + [
    ('broken', dict([pair.split(':')]), UNUSABLE % pair.partition(':')[2]) for pair in '''
        import:RuntimeError import:ImportError import:ModuleNotFoundError import:PanicException
        import:SystemExit get_keyring:InitError *:DBusError get:PanicException'''.split()] + [
    # These can be read, but not written to.
    ('careless', {'set': 'lose'}, LOSES), ('careless', {'set': 'KeyringLocked'}, IS_LOCKED),
    ('careless', {'set': 'PasswordSetError'}, UNUSABLE % 'PasswordSetError'),
    ('careless', {'delete': 'PasswordDeleteError'}, UNUSABLE % 'PasswordDeleteError'),
    ('hanging', {'set': 'hang'}, SILENT), ('hanging', {'delete': 'hang'}, SILENT)]
FEW = [each for each in KEYCHAINS if each[1] in (
    None, {}, {'import': 'hang'}, {'*': 'KeyringLocked'}, {'set': 'lose'}, {'set': 'hang'})]
MODES = [  # mode; NOTION_KEYRING; `keyring` in config.json, if it is there
    ('file', '0', 'absent'), ('keychain', None, True), ('automatic', None, 'absent'),
    ('file', None, False), ('file', '', False), ('file', '0', True), ('file', '0', 'odd'),
    ('keychain', '1', 'absent'), ('keychain', '1', False), ('automatic', '', None)]
GIVEN, NO_KEYRING = {'NOTION_API_TOKEN': CANARY}, {'NOTION_KEYRING': '0'}

def combinations():
    """A few keychains in every mode, and every keychain in three."""
    for keychain, mode in itertools.product(KEYCHAINS, MODES):
        if keychain in FEW or mode in MODES[:3]:
            yield keychain + mode

class KeychainTest(KeychainCase):
    def choose(self, plan, variable, config):
        """Let the keychain do this, and choose a mode; call it when other files are in place."""
        self.behave(plan)
        self.env.pop('NOTION_KEYRING', None)
        self.env.update({} if variable is None else {'NOTION_KEYRING': variable})
        if config != 'absent':
            self.write_state('config.json', dict(self.state('config.json') or {}, keyring=config))

    def source(self):
        """Where `auth token` finds the token, or how it fails."""
        result = self.call('auth', 'token', '--json', secrets_ok=True)
        return json.loads(result.out)['source'] if result.out else result

    def unusable(self, problem):
        return self.fails(1, problem, KEYCHAIN_HINT)

    @rows(combinations())
    def test_a_login_goes_where_the_mode_says_if_that_place_works(
            self, kind, plan, problem, mode, variable, config):
        self.hold()
        self.choose(plan, variable, config)
        if mode == 'keychain' and kind != 'good':  # before anything is sent
            self.store_pending()
            before = self.tree()
            for line in 'login', 'login --no-browser', 'login poll', 'login poll --no-wait':
                self.assertEqual(self.unusable(problem), self.call(*line.split()))
            self.assertEqual([], self.sandbox.requests)
            found = {name: each for name, each in self.tree().items() if '.lock' not in name}
            return self.assertEqual(before, found)
        in_file = mode == 'file' or kind != 'good'
        said = INSTEAD % (problem, self.auth) if mode != 'file' and in_file else ''
        place = self.auth if in_file else 'the keychain'
        self.assertEqual(Result(0, '', said + LOGGED_IN % place), self.log_in())
        token = {WORKSPACE: 'ntn_canary_login_1'}
        self.assertEqual(token if in_file else None, self.state('auth.json'))
        entries = {key: each for key, each in self.entries().items()
                   if kind == 'good' or 'probe' not in key}  # a good one's proof left nothing
        self.assertEqual({} if in_file else {ENTRY: 'ntn_canary_login_1'}, entries)
        self.assertEqual(place, self.source())

    @rows(itertools.product(['lose', 'PasswordSetError'], [None, '1']))
    def test_a_keychain_that_fails_after_its_proof(self, what, variable):
        problem = LOSES if what == 'lose' else (
            'The keychain cannot be used (PasswordSetError: no luck with [redacted]).')
        self.behave({})
        result = self.log_in(plan={'set ' + WORKSPACE: what, 'reveal': 'yes'},
                             env={'NOTION_KEYRING': variable})
        self.assertEqual(self.unusable(problem) if variable else Result(0, '', INSTEAD % (
            problem, self.auth) + LOGGED_IN % self.auth), result)
        self.assertEqual(variable is None, self.state('auth.json') is not None)

    @rows([None, '1'])
    def test_a_login_to_the_keychain_removes_the_copy_in_the_file_if_it_can(self, variable):
        self.hold()
        self.store_login('ntn_canary_other', 'other', 'Other')
        self.store_login()
        self.assertEqual(0, self.log_in(env={'NOTION_KEYRING': variable}).code)
        self.assertEqual(({ENTRY: 'ntn_canary_login_1'}, {'other': 'ntn_canary_other'}),
                         (self.entries(), self.state('auth.json')))
        self.write_state('auth.json', b'{')
        self.assertEqual(
            Result(0, '', 'warning: An older token of this workspace could not be removed. %s is '
                   'damaged: it is not valid JSON.\n' % self.auth
                   + LOGGED_IN % 'the keychain'), self.log_in(env={'NOTION_KEYRING': variable}))
        self.assertEqual({ENTRY: 'ntn_canary_login_2'}, self.entries())

    def test_a_login_to_the_file_leaves_the_keychain_alone(self):
        self.store_login_in_keychain()
        self.env['NOTION_KEYRING'] = '0'
        self.assertEqual(Result(0, '', LOGGED_IN % self.auth), self.log_in())
        self.assertEqual(([], {ENTRY: 'ntn_canary_stored'}), (self.lookups, self.entries()))
        del self.env['NOTION_KEYRING']
        self.assertEqual(self.auth, self.source())  # which is read first

    @rows(row for row in combinations() if row[0] != 'hanging')
    def test_a_token_is_read_where_the_mode_lets_it_be(
            self, kind, plan, problem, mode, variable, config):
        readable, nothing = kind in ('good', 'careless'), self.fails(4, *NO_TOKEN)
        unread = nothing if mode == 'file' or readable or (
            kind == 'none' and mode == 'automatic') else self.unusable(problem)
        self.hold()
        self.store_login()
        self.choose(plan, variable, config)
        self.assertEqual(unread if mode == 'keychain' else self.auth, self.source())
        self.hold(ENTRY)
        self.assertEqual(self.auth if mode != 'keychain' else 'the keychain' if readable
                         else unread, self.source())
        self.write_state('auth.json', {})
        found = 'the keychain' if readable and mode != 'file' else unread
        self.assertEqual(found, self.source())
        if isinstance(found, Result):
            self.assertEqual(found, self.call('api', 'v1/users/me', stdin=None))
            self.assertEqual([], self.sandbox.requests)

    def test_an_odd_token_in_the_keychain_is_never_sent(self):
        self.store_login_in_keychain()
        self.write('keychain.json', json.dumps({ENTRY: 'ntn_canary a\nX-Evil: 1'}))
        self.refuses('whoami', 4, 'The token from the keychain has characters that no token has.',
                     LOG_IN)

    @rows(itertools.product([{}, None], [  # command, variables, whether the token is in the file
        (line, GIVEN, False) for line in ('auth token', 'whoami', 'api v1/users/me')] + [
        (line, NO_KEYRING, False) for line in ('auth token', 'doctor', 'login --no-browser',
                                               'login poll --no-wait', 'debug')] + [
        (line, {}, True) for line in ('auth token', 'whoami', 'api v1/users/me', 'debug',
                                      'login --workspace Acme')] + [
        (line, {}, False) for line in ('--help', '--version', '', 'api', 'api ls')] + [
        ('api v1/users/me', dict(GIVEN, NOTION_KEYRING='1'), False)]))
    def test_keyring_is_not_looked_for_where_no_keychain_is_needed(self, plan, case):
        line, env, in_file = case
        self.behave(plan)
        (self.store_login if in_file else self.store_login_in_keychain)()
        self.store_pending()
        del self.lookups[:]
        self.call(*line.split(), env=env, stdin=None, secrets_ok=True)
        self.assertEqual([], self.lookups)
        self.call('auth', 'token', env={'NOTION_KEYRING': '1'}, secrets_ok=True)
        self.assertEqual(['keyring'], self.lookups)

    @rows([(PERSON, 60), ((), 5), (('stdin', 'stdout'), 5), (('stderr',), 5)])
    def test_somebody_at_a_terminal_has_60_s_to_unlock_it_and_is_told(self, tty, seconds):
        self.store_login_in_keychain()
        self.behave({'get': 'hang'})
        expected = self.unusable('The keychain did not answer within %d s.' % seconds)
        self.assertEqual(expected._replace(err=WAITING * (seconds == 60) + expected.err),
                         self.call('auth', 'token', tty=tty, env={'NO_COLOR': '1'}))

    def test_after_silence_it_is_not_asked_again(self):
        self.behave({'import': 'hang'})
        self.store_login('ntn_canary_other', 'other', 'Other')
        self.store_login()
        warning = 'warning: %s An older token may be left in it.\n' % SILENT
        self.assertEqual(Result(0, '', 2 * warning + logged_out('Other', 'Acme').err),
                         self.call('logout'))
        self.assertEqual(['keyring'], self.lookups)

    @rows(['hang', 'hang in a pool'])
    def test_a_silent_keychain_does_not_keep_the_process(self, what):
        self.store_login_in_keychain()
        self.write('library/sitecustomize.py', (
            'import threading\n'  # a second of this process is a tenth of ours
            'wait = threading.Event.wait\n'
            'threading.Event.wait = lambda event, timeout=None: wait(\n'
            '    event, timeout and timeout / 10)\n'))
        self.behave({'get': what})
        self.assertEqual(self.unusable(SILENT), self.ntn('api', 'v1/users/me', stdin=None))

    def test_ctrl_c_ends_the_waiting_at_once(self):
        self.store_login_in_keychain()
        self.behave({'get': 'hang'})
        self.press_when_it_hangs()
        self.assertEqual(Result(130, '', ''), self.call('auth', 'token'))

    @rows(itertools.product(KEYCHAINS, MODES[:3], [True, False]))
    def test_logout_empties_both_places_or_says_what_is_left(self, keychain, mode, in_file):
        kind, plan, problem = keychain
        (self.store_login if in_file else self.store_login_in_keychain)()
        self.hold(ENTRY)
        self.choose(plan, *mode[1:])
        removed = kind == 'good' or kind != 'none' and 'set' in plan
        expected = self.fails(1, 'The token of workspace Acme is left: ' + problem,
                              'The rest was forgotten.')
        if removed or kind == 'none' or in_file:
            warning = 'warning: %s An older token may be left in it.\n' % problem
            expected = LOGGED_OUT._replace(
                err=warning * (not removed and kind != 'none') + LOGGED_OUT.err)
        self.assertEqual(expected, self.call('logout'))
        self.assertEqual(({} if removed else {ENTRY: 'ntn_canary_stored'}, {}),
                         (self.entries(), self.state('auth.json')))
        self.behave({})  # so that what was left can be done
        self.assertEqual(LOGGED_OUT if expected.code else ALREADY_OUT, self.call('logout'))

    def test_logout_leaves_the_tokens_of_others(self):
        self.store_login('ntn_canary_other', 'other', 'Other')
        self.store_login_in_keychain()
        others = 'notion-cli/other', 'notion-cli/unknown', 'else/' + WORKSPACE
        self.hold(ENTRY, *others)
        self.assertEqual(LOGGED_OUT, self.call('logout', '--workspace', 'Acme'))
        self.assertEqual(set(others), set(self.entries()))

    @rows(combinations())
    def test_doctor_takes_the_keychain_on_a_round_trip(
            self, kind, plan, problem, mode, variable, config):
        self.store_login()
        self.hold(ENTRY)
        self.choose(plan, variable, config)
        result = self.call('doctor', '--json')
        found = [(each['status'], each['value'], each['hint']) for each in json.loads(result.out)
                 if each['check'] == 'Keychain']
        expected = ('warning' if mode == 'automatic' else 'error'), problem, KEYCHAIN_HINT
        if mode == 'file':
            expected = 'skipped', 'not used: ' + (
                'NOTION_KEYRING is 0' if variable else 'config.json says "keyring": false'), ''
        elif kind == 'good':
            expected = 'ok', 'works', ''
            self.assertEqual({ENTRY: 'ntn_canary_stored'}, self.entries())
        elif kind == 'none' and mode == 'automatic':
            expected = 'skipped', problem + ' Tokens are kept in auth.json.', ''
        self.assertEqual([expected], found)

    def test_debug_shows_where_each_token_is(self):
        keys = 'w-none', 'w-keychain', 'w-file', 'w-locked'
        for key in keys:
            self.store_login(workspace=key, name='Name of ' + key)
        self.write_state('auth.json', {'w-file': 'ntn_canary_stored'})
        self.hold('notion-cli/w-keychain')
        self.behave({'get w-locked': 'KeyringLocked'})
        table = [line for line in self.call('debug').out.splitlines() if line.startswith('| prod')]
        self.assertEqual({'| prod | %s | Name of %s | %s |' % (key, key, where) for key, where in (
            zip(keys, ('none', 'the keychain', self.auth, IS_LOCKED)))}, set(table))

    @rows([0, 1, '1', 'true', '', [], {}, 1.5])
    def test_other_values_in_config_json_are_usage_errors(self, value):
        self.store_login_in_keychain()
        self.choose({}, None, value)
        for line in 'login --no-browser', 'auth token', 'api v1/users/me':
            code, out, err = self.call(*line.split(), stdin=None)
            self.assertEqual((2, ''), (code, out))
            self.assertIn('error: `keyring` in %s is %s: it can be true, false, or left out.' % (
                self.path('config.json'), json.dumps(value)), err)
        self.assertEqual([], self.sandbox.requests)

class RealKeychain(KeychainCase):
    """The keychain for real, where there is a Secret Service; see .ci/run for how to start one."""
    LOOK_UP = ('import keyring, sys\n'
               'name = type(keyring.get_keyring()).__module__\n'
               'if name != "keyring.backends.SecretService":\n'
               '    sys.exit("keyring uses " + name)\n'
               'print(keyring.get_password("notion-cli", sys.argv[1]) or "", end="")\n')

    def setUp(self):
        Case.setUp(self)  # without the stand-in
        del self.env['NOTION_KEYRING'], self.env['PYTHONWARNINGS']  # the library's are not ours
        self.env['DBUS_SESSION_BUS_ADDRESS'] = os.environ.get('DBUS_SESSION_BUS_ADDRESS')
        problem = 'DBUS_SESSION_BUS_ADDRESS is not set'
        if self.env['DBUS_SESSION_BUS_ADDRESS']:
            problem = self.look_up()[1].strip()
        if problem and os.environ.get('NTN_TEST_REQUIRE_KEYCHAIN') == '1':
            self.fail('no Secret Service can be used: ' + problem)
        if problem:
            self.skipTest('no Secret Service can be used: ' + problem.splitlines()[-1])
        self.addCleanup(self.ntn, 'logout')

    def look_up(self):
        """The token in the keychain, as another program sees it, and what went wrong."""
        process = subprocess.Popen(
            [sys.executable, '-c', self.LOOK_UP, WORKSPACE], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(reap, process)
        return tuple(map(to_text, process.communicate(timeout=30)))

    def test_a_login_lives_there_alone_until_the_logout(self):
        def places():
            return self.look_up()[0], (self.state('auth.json') or {}).get(WORKSPACE)
        self.assertEqual(Result(0, '', LOGGED_IN % 'the keychain'), self.log_in(self.ntn))
        self.assertEqual(('ntn_canary_login_1', None), places())
        self.assertEqual(0, self.ntn('api', 'v1/users/me', stdin=None).code)
        self.assertIn('\nKeychain             ✔ works\n', self.ntn('doctor').out)
        self.log_in(self.ntn, env={'NOTION_KEYRING': '0'})
        self.assertEqual(('ntn_canary_login_1', 'ntn_canary_login_2'), places())
        self.log_in(self.ntn)
        self.assertEqual(('ntn_canary_login_3', None), places())
        self.assertEqual(LOGGED_OUT, self.ntn('logout'))
        self.assertEqual(('', None), places())
        for name in 'fail', 'null':
            env = {'PYTHON_KEYRING_BACKEND': 'keyring.backends.%s.Keyring' % name}
            self.assertEqual(Result(0, '', INSTEAD % (NONE, self.auth) + LOGGED_IN % self.auth),
                             self.log_in(self.ntn, env=env))

# ---- 7 Login -------------------------------------------------------------------------------------

ADMIN = ('A workspace admin can limit who may create personal access tokens, and guests cannot log '
         'in.')
EXPIRED = "Login session expired. Run 'ntn login' to start a new one.", ADMIN
NO_SESSION = 'No pending login session found.', START
UNFINISHED = 'The login is still pending: run `ntn login poll` to finish it.'
BUSY = 'Notion answered 503 Service Unavailable. Still waiting.\n'
TOKEN_SET = ('warning: NOTION_API_TOKEN is set and takes precedence over what this login stores.\n'
             '  hint: Unset it to use the login.\n')

class LoginCase(Case):
    """Logins in this process; the first one's code is DP9-QL5, the second one's DP9-QL6."""

    def setUp(self):
        super().setUp()
        self.env.update(NO_COLOR='1', SSH_CONNECTION='192.0.2.1 9 192.0.2.2 22')
        self.patch(os, 'fsync', lambda descriptor: None)  # a slow disk proves nothing here
        self.patch(ntn, 'own_command', lambda: 'ntn')

    def start(self, *options, **settings):
        """Start a login in two steps, which `poll` finishes."""
        self.assertEqual(0, self.call('login', '--no-browser', *options, **settings).code)

    def poll(self, *options, **settings):
        return self.call('login', 'poll', *options, **settings)

    def url(self, number=1):
        return '%s/workers/cli-login?verificationCode=DP9-QL%d' % (self.sandbox.origin, number + 4)

    def asked(self, number=1):
        """What somebody is told to do."""
        return ('Open this URL in your browser to log in:\n\n  %s\n\nConfirm that this '
                'verification code matches what you see in the browser:\n\n  DP9-QL%d\n\n'
                % (self.url(number), number + 4))

    def polled(self, code, err, number=1):
        """How a poll ends, which shows first what the login has shown."""
        return Result(code, '', self.asked(number) + err)

    def logged_in(self, name='Acme'):
        return '✔ Logged in to workspace %s\n  The token is stored in %s\n' % (name, self.auth)

    def defaults(self):
        return self.state('config.json')['defaultWorkspaceIds']

class WorkspaceCase(LoginCase):
    """There are Globex and Acme, the default, and another Globex in the environment dev."""
    MENU = ('Which workspace do you want to use?\n\n'
            '  1  Globex\n  2  Acme (default)\n  3  Authenticate with new workspace\n\n')
    ASK = 'Number or name [2]: '
    AGAIN = 'Type a number from 1 to 3, or the start of a name.\n' + ASK

    def prepare(self):
        super().prepare()
        self.store_login('ntn_canary_globex', OTHER, 'Globex')
        self.store_login('ntn_canary_dev', 'dev-1', 'Globex', 'dev')
        self.store_login()

ORIGINS = [(url, re.match('https?://[^/#]*', url).group()) for url in '''
    http://www.notion.so/ https://evilnotion.so/ https://notion.so.evil.example/ http://127.0.0.1:1/
    https://evil.example/notion.so https://evil.example#.notion.so https://notion.so./'''.split()]
ODD_URLS = r'''
    https://user@notion.so/ https://@notion.so/ https://notion.so:99999/ https://[::1 file:///etc/x
    https://notion.so@evil.example/ https://evil.example\@notion.so/ javascript:alert(1) --flag
    https://notion.so\.evil.example/ https:// https:notion.so //notion.so/ notion.so
    https://ñotion.so/ https://notion.so/\x http://PEER@evil.example'''.split() + [
        'https://notion.so/' + each for each in ('a b', '\n', '\x1b[2J', '\x7f', '\u202e', '\xa0')]
SERVER, APPROVED = "The login server's answer ", 'The login was approved, but without a valid '
UNCLEAR = SERVER + 'cannot be understood (REASON).|Check NOTION_BASE_URL and --env.'
REFUSED = 'The login was refused (%s). Run `ntn login` to start a new one.|' + ADMIN
FATES = [  # what is asked; what the answer may be; exit code, 4 if it ends the login; message|hint
    ([INIT], [begun(sessionId=each) for each in (None, '', 5)], 5, SERVER + 'has no session.'),
    ([INIT], [begun(verificationCode=each) for each in (
        '', 'A' * 33, 'DP9-ql5', '-A', 'A-', 'A--B', 'A B', 'A\n', '\uff11', 5)], 5,
     'The login server sent an invalid verification code.'),
    ([REDEEM], [confirmed(status=each) for each in (None, 5, [])], 5, SERVER + 'has no status.'),
    ([REDEEM], [confirmed(token=each) for each in (
        None, '', 5, 'ntn_canary a', 'a\n', '\xe9', '\x7f')], 5, APPROVED + 'token.'),
    ([REDEEM], [confirmed(spaceId=each) for each in (
        None, '', 5, '../x', 'a\n', 'a' * 65, 'a_b', '\xe4')], 5, APPROVED + 'workspace ID.'),
    ([REDEEM], map(Answer, (400, 401, 404, 410)), 4, REFUSED % 'REASON'),
    ([REDEEM], [Answer.json({'status': 'denied'})], 4, REFUSED % 'denied'),
    ([REDEEM], [Answer.json({'status': 'CONFIRMED'})], 4, REFUSED % 'CONFIRMED'),
    ([REDEEM], [Answer.json({'status': 'expired'})], 4, '|'.join(EXPIRED)),
    ([INIT], [Answer(403)], 5, UNCLEAR),
    ([INIT, REDEEM], [Answer(204), Answer(201, confirmed().body)] + [Answer(200, each) for each in (
        b'', b'{', b'[]', b'null', b'[' * 99999, b'{"status": "\xff"}', b'{"expiresAt": NaN}')], 5,
     UNCLEAR),
    ([INIT], map(Answer, (408, 429, 500)), 5, 'Notion answered REASON.|Try again later.'),
    ([REDEEM], map(Answer, (408, 429, 500)), 5, 'Notion answered REASON.|' + UNFINISHED),
    ([REDEEM], [cut()], 5, 'The connection to PEER broke off (no answer).|' + UNFINISHED),
] + [([INIT], [url], 5, "The login server sent an address that is not Notion's: %s.|It was not "
      'opened. Check NOTION_BASE_URL and your network.' % shown) for url, shown in ORIGINS + [
          (url, 'not a web address') for url in ODD_URLS + ['']] + [('https://PEER',) * 2]
] + [([INIT, REDEEM], [Answer(status, headers=[('Location', url)])], 5, 'The login was redirected '
      "(%d) to %s, which is not Notion's login.|Check NOTION_BASE_URL and your network."
      % (status, shown)) for status, url, shown in [
          (each, 'https://notion.so', 'https://notion.so') for each in (300, 302, 399)] + [
          (307, url, shown) for url, shown in ORIGINS + [('https://notion.site',) * 2] + [
              (url, 'nowhere') for url in ODD_URLS[:7]] + [('/elsewhere', 'http://PEER')]]]

class LoginAnswerTest(WorkspaceCase):
    @rows([(path, answer, code, text) for paths, answers, code, text in FATES
           for answer in answers for path in paths])
    def test_an_answer_ends_the_login_only_if_it_says_so(self, path, answer, code, text):
        if isinstance(answer, str):  # where a browser shall be sent
            answer = begun(browserUrl=answer.replace('PEER', self.peer))
        status = getattr(answer, 'status', 200)
        reason = '%d %s' % (status, http.client.responses.get(status))
        message, _, hint = text.replace('REASON', reason).replace('PEER', self.peer).partition('|')
        err = self.fails(code, message, hint or 'Try again.').err
        lines = ['login'] if path == INIT else ['login poll --no-wait', 'login poll --json']
        for number, line in enumerate(lines[:1 if hint == UNFINISHED else 2], 1):
            self.start()
            before = self.tree()
            self.sandbox.on('POST', path, answer)
            self.assertEqual(Result(code, '', self.asked(number) * (path == REDEEM) + err),
                             self.call(*line.split()))
            if code == 4:
                del before[PENDING]
            self.assertEqual(before, self.tree())

    @rows(itertools.product(
        [('browserUrl', '7'), ('authorizationUrl', 'A' * 15 + '-B-' + 'B' * 14)],
        '''https://notion.so https://www.notion.so/a?b=c&d=%20#e https://notion.com/ ORIGIN ORIGIN/x
        https://a.b.notion.site/x HTTPS://WWW.NOTION.SO/x'''.split()))
    def test_what_can_be_trusted_is_shown(self, way, url):
        (field, code), url = way, url.replace('ORIGIN', self.sandbox.origin)
        changes = {'browserUrl': None, field: url, 'verificationCode': code}
        self.sandbox.on('POST', INIT, begun(**changes))
        self.assertEqual([url, code, 'ntn login poll'],
                         re.findall('\n\n  (.*)\n', self.call('login').out))

class LoginRedirectTest(TlsCase):
    """All of Notion's hosts are the sandbox here, with a certificate for the two domains."""

    @rows(itertools.product(
        [('login', INIT, begun(), {}),
         ('login poll', REDEEM, confirmed(), {'sessionId': 'sess-canary-1'})],
        [(307, ['www.notion.so'] * 4), (307, ['www.notion.so'] * 5),
         (308, ['notion.com', 'app.notion.com:8443'])]))
    def test_it_is_followed_within_notion_four_times_with_the_body(self, call, redirects):
        (line, path, answer, body), (status, hosts) = call, redirects
        env = dict(self.serve_tls('notion'), NOTION_BASE_URL='https://' + self.peer)
        here = '127.0.0.1', self.sandbox.port
        self.names(notion_com=here, www_notion_so=here, app_notion_com=here)
        self.store_pending()
        self.sandbox.on('POST', path, *[
            Answer(status, '{}', [('Location', 'https://%s%s' % (host, path))]) for host in hosts
        ] + [answer])
        self.assertEqual(0 if len(hosts) < 5 else 5, self.call_with(env, *line.split()).code)
        self.assertEqual([(host, body) for host in ([self.peer] + hosts)[:5]], [
            (each.header('Host'), each.json()) for each in self.sandbox.sent('POST', path)])

class TwoStepTest(LoginCase):
    """A login that is started without a terminal, and finished by `login poll`."""

    def test_the_first_prints_lines_that_programs_rely_on_and_names_what_it_replaces(self):
        note = ''  # for what another program has begun there is no code
        self.store_pending()
        for number, (line, *tty) in enumerate([
                ['login'], ['login', 'stdin', 'stdout'], ['login', 'stdout', 'stderr'],
                ['login --no-browser', 'stdin', 'stdout', 'stderr']], 1):
            self.assertEqual(Result(0, self.asked(number) + 'Then run this command to complete '
                                    'login:\n\n  ntn login poll\n', note),
                             self.call(*line.split(), tty=tty))
            note = 'This replaces the pending login with the code DP9-QL%d.\n' % (number + 4)

    def test_the_command_that_it_shows_works_when_pasted(self):
        env = {'PATH': os.path.dirname(sys.executable)}
        shown = json.loads(self.ntn('login', '--json', env=env).out)['poll_command']
        self.sandbox.approve()
        done = subprocess.run(shlex.split(shown), env=self.environ(env), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
        self.assertEqual(self.polled(0, self.logged_in()),
                         self.checked(done.returncode, done.stdout, done.stderr, False))

    def test_json_is_one_document_each_time_and_no_call_has_credentials(self):
        self.store_login()
        self.clock.on_sleep = self.sandbox.approve
        done = {'status': 'confirmed', 'workspace_id': WORKSPACE, 'workspace_name': 'Acme',
                'stored_in': self.auth}
        for line, code, document, err in (
                ('login', 0, {'url': self.url(), 'verification_code': 'DP9-QL5',
                              'expires_at': NOW + 600, 'poll_command': 'ntn login poll'}, ''),
                ('login poll --no-wait', 8, {'status': 'pending', 'expires_at': NOW + 600},
                 self.asked() + 'The login is still pending: approve it in the browser.\n'),
                ('login poll', 0, done, self.asked() + self.logged_in()),
                ('login --env stg', 0, done, self.asked(2) + 'Open the URL on any device.\n'
                 + '\r{0} 10:00 left\x1b[K\r{0} 9:59 left\x1b[K\r\x1b[K'.format(
                     'Waiting for approval in the browser,') + self.logged_in())):
            self.assertEqual(
                Result(code, json.dumps(document, indent=2) + '\n', TOKEN_SET + err),
                self.call(*line.split(), '--json', env={'NOTION_API_TOKEN': CANARY},
                          tty=PERSON if 'stg' in line else ()))
        one, two = {'sessionId': 'sess-canary-1'}, {'sessionId': 'sess-canary-2'}
        self.assertEqual([{}, one, one, one, {}, two, two],
                         [each.json() for each in self.sandbox.requests])
        for request in self.sandbox.requests:
            self.assertEqual([
                ('Host', self.peer), ('Content-Type', 'application/json'),
                ('Accept', 'application/json'),
                ('User-Agent', 'ntn.py/%s Python/%d.%d' % ((ntn.VERSION,) + sys.version_info[:2])),
                ('Content-Length', str(len(request.body)))], request.headers)

    @rows([('sessionId', None), ('sessionId', 5)] + list(itertools.product(
        ['issuedAt', 'environment', 'origin', 'expiresAt', 'url', 'verificationCode'],
        [None, 5, -1, [], 'http://evil.example', 'https://a@evil.example'])))
    def test_what_another_program_has_started_can_be_finished(self, name, value):
        self.start()
        self.write_state(PENDING, dict(self.state(PENDING), **{name: value}))
        self.sandbox.approve()
        shown = self.asked() * (name not in ('url', 'verificationCode')) + self.logged_in()
        if name == 'sessionId':
            self.assertEqual(self.fails(4, *NO_SESSION), self.poll())
        else:
            self.assertEqual(Result(0, '', shown), self.poll())
            self.assertEqual({'prod': WORKSPACE}, self.defaults())

    def test_only_the_session_that_was_asked_for_is_ended(self):
        newer = {'sessionId': 'sess-canary-newer', 'issuedAt': 1}
        self.start()
        self.sandbox.on('POST', REDEEM, lambda request, handler: (
            self.write_state(PENDING, newer) and Answer.json({'status': 'expired'})))
        failed = self.fails(4, 'Another process has finished or ended this login.',
                            'Run `ntn whoami` to check.')
        self.assertEqual(self.polled(4, failed.err), self.poll())
        self.assertEqual(newer, self.state(PENDING))

    @rows(itertools.product([name + '.tmp' for name in STATE] + ['.lock', 'cache/.lock'],
                            ['login', 'login poll']))
    def test_it_proves_that_it_can_write_before_anything_is_sent(self, name, line):
        self.store_pending()
        path = self.path(name)
        os.makedirs(os.path.join(path, 'full'))
        what = 'in ' + os.path.dirname(path) if 'lock' in name else path[:-len('.tmp')]
        code, out, err = self.call(*line.split())
        self.assertEqual((1, '', 'error: Cannot write %s: Is a directory.' % what, []),
                         (code, out, err.split('\n')[0], self.sandbox.requests))

    @rows([('--env dev', '', 'dev'), ('', '', 'prod'), ('--env local', '', 'local'),
           ('--env dev', '--env stg', 'stg')])
    def test_a_poll_goes_where_the_login_was_started_unless_told(self, begin, finish, env):
        self.start(*begin.split())
        self.sandbox.approve()
        other = 'localhost:%d' % self.sandbox.port
        self.names(localhost=('127.0.0.1', self.sandbox.port))
        self.assertEqual(self.polled(0, self.logged_in()), self.poll(
            *finish.split(), env={'NOTION_ENV': 'stg', 'NOTION_BASE_URL': 'http://' + other}))
        self.assertEqual([other if finish else self.peer], [
            each.header('Host') for each in self.sandbox.sent('POST', REDEEM)])
        self.assertEqual(({env: WORKSPACE}, [env]), (
            self.defaults(), list(self.state('workspaces.json')['environments'])))

class LoginWaitTest(LoginCase):
    @rows([  # Notion's clock ahead of ours; how far ours is set before the poll; expiresAt; seconds
        (offset, shift, NOW + (offset or 0) + 20, 20) for offset, shift in itertools.product(
            [-36000, 0, 36000, None], [-18000, 0, 18000])] + [
        (0, 0, value, 20) for value in (
            NOW + 20.5, NOW * 1000 + 20000, str(NOW + 20), '2026-01-01T00:00:20Z',
            '2026-01-01T00:00:20.999Z', '2026-01-01T00:00:20', '2026-01-01 00:00:20Z')] + [
        (0, 0, value, 600) for value in (  # what cannot be means 10 minutes
            None, '2026-99-99T00:05:00Z', '0000-01-01T00:00:00Z', '2026-01-01', 'soon', True, -5,
            NOW, NOW + 86400, 10 ** 20)] + [
        (0, 0, NOW + lifetime, lifetime) for lifetime in (1, 86399)])
    def test_it_lasts_until_its_expiry_by_the_servers_clock(self, offset, shift, value, lifetime):
        self.sandbox.send_date, self.sandbox.date_offset = offset is not None, offset or 0
        self.sandbox.on('POST', INIT, begun(expiresAt=value))
        told = json.loads(self.call('login', '--json').out)['expires_at']
        began, state = NOW + (offset or 0), self.state(PENDING)
        self.assertEqual((began + lifetime, began, began + lifetime),
                         (told, state['issuedAt'], state['expiresAt']))
        self.clock.wall += shift
        self.sandbox.date_offset += max(0, lifetime - 20) - shift  # all but the last 20 s are over
        self.sandbox.always('POST', REDEEM, Answer.json({'status': 'pending'}))
        self.assertEqual(self.fails(4, *EXPIRED), without_instructions(
            self.poll(tty=PERSON, env={'TERM': 'dumb'})))  # no line can be replaced
        self.assertEqual((min(20, lifetime), None),
                         (round(sum(self.clock.sleeps), 3), self.state(PENDING)))

    @rows([  # answers; the pauses after them; what is said
        ([Answer(status)], [4], 'Notion answered %d %s. Still waiting.\n' % (
            status, http.client.responses[status])) for status in (408, 429, 500, 504)] + [
        ([Answer(503, headers=[('Retry-After', text)])], [pause], BUSY) for text, pause in (
            ('1', 4), ('120', 120), ('Thu, 01 Jan 2026 00:00:50 GMT', 50), ('later', 4))] + [
        ([answer], [4], 'The connection to PEER broke off (%s). Still waiting.\n' % how)
        for answer, how in (
            (raw(b'x\r\n\r\n'), 'the answer is not HTTP: BadStatusLine'),
            (cut(head('Content-Length: 100') + b'{"status":'), '90 bytes missing'))] + [
        ([Answer(503)] * 5 + [Answer.json({'status': 'pending'})] * 3 + [Answer(503)] * 2,
         [4, 8, 10, 10, 10, 2, 2, 2, 4, 8], BUSY * 2)])
    def test_trouble_is_waited_out_with_growing_pauses(self, answers, pauses, words):
        def answer(request, handler):
            times.append(self.clock.uptime)
            return answers[len(times) - 1] if len(times) <= len(answers) else (
                self.sandbox.redeem_login(request))
        times = []
        self.start()
        self.sandbox.approve()
        self.sandbox.always('POST', REDEEM, answer)
        self.assertEqual(self.polled(0, words.replace('PEER', self.peer) + self.logged_in()),
                         self.poll())
        self.assertEqual(pauses, [after - before for before, after in zip(times, times[1:])])
        self.assertEqual(1 + ('PEER' in words), len({
            each.connection for each in self.sandbox.sent('POST', REDEEM)}))

    def test_a_server_that_is_gone_until_the_expiry_has_refused_nothing(self):
        self.start()
        before = self.tree()
        self.sandbox.stop()
        words = 'Cannot reach Notion: %s refuses connections.' % self.peer
        self.assertEqual(self.polled(5, words + ' Still waiting.\n' + self.fails(
            5, words, UNFINISHED).err), self.poll())
        self.assertEqual((600, before), (round(sum(self.clock.sleeps), 3), self.tree()))

class LoginInterruptionTest(KeychainCase, LoginCase):
    """Ctrl-C while an approved login is stored; see below for one while it is waited for."""
    LOST = 'The approved login was not kept and is lost: run `ntn login` again.\n'

    @rows([1, 2])
    def test_one_waits_until_all_is_written_and_a_second_one_does_not(self, presses):
        def approve_while_locked(request, handler):
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.sandbox.approve()
            answered.set()
            return self.sandbox.redeem_login(request)
        self.start()
        answered, pending = threading.Event(), self.state(PENDING)
        self.sandbox.on('POST', REDEEM, approve_while_locked)
        with open(self.path('.lock'), 'w') as lock:
            process = self.spawn('login', 'poll', env={'NOTION_KEYRING': '0'})
            self.assertTrue(answered.wait(10))
            for _ in range(presses):
                time.sleep(0.3)  # now it waits for the lock, and for nothing that tells
                process.send_signal(signal.SIGINT)
            if presses == 2:
                process.wait(10)
            fcntl.flock(lock, fcntl.LOCK_UN)
            out, err = process.communicate(timeout=10)
        self.assertEqual((-signal.SIGINT, b'', presses == 2), (
            process.returncode, out, plain(to_text(err)).endswith(self.LOST)))
        self.assertEqual(  # the pending login goes last of all
            (None, pending) if presses == 2 else ({WORKSPACE: 'ntn_canary_login_1'}, None),
            (self.state('auth.json'), self.state(PENDING)))

    def test_one_while_the_keychain_is_asked_ends_it_at_once(self):
        self.start()
        self.sandbox.approve()
        self.behave({'set ' + WORKSPACE: 'hang'})
        self.press_when_it_hangs()
        self.assertEqual(self.polled(130, self.LOST), self.poll())
        self.assertEqual((None, None), (self.state('auth.json'), self.state('config.json')))

class SwitchTest(WorkspaceCase):
    @rows([(each, OTHER, '✔ Switched to workspace Globex\n') for each in (
        'gLOBEX', OTHER.replace('-', ''), OTHER.upper())] + [
        ('Acme', WORKSPACE, '✔ Still using workspace Acme\n'),
        ('Twin', 't1', '✔ Switched to workspace Twin\n'),
        ('TWIN', None, "error: Several workspaces are called 'TWIN': t1, t2.\n"
         '  hint: Name the one you mean by its ID.\n'),
        ('Acm', None, "error: You are not logged in to a workspace named 'Acm'.\n  hint: You are "
         'logged in to: Globex (%s), Acme (%s), Twin (t1), twin (t2).\n' % (OTHER, WORKSPACE))])
    def test_a_known_workspace_is_switched_to_without_a_prompt_or_the_network(
            self, wanted, key, words):
        self.store_login('ntn_canary_t1', 't1', 'Twin')
        self.store_login('ntn_canary_t2', 't2', 'twin')
        self.write_state('config.json', {'defaultWorkspaceIds': {'prod': WORKSPACE, 'dev': 'x'}})
        out = json.dumps({'status': 'switched', 'workspace_id': key, 'workspace_name':
                          words.split()[-1], 'stored_in': self.auth}, indent=2) + '\n'
        self.assertEqual(Result(0, out, words) if key else Result(4, '', words), self.call(
            'login', '--json', '--workspace', wanted, tty=PERSON))
        if key:  # which now is the default; the variable skips the menu, too
            env = {'NOTION_WORKSPACE_ID': key.replace('-', ''), 'NOTION_API_TOKEN': CANARY}
            words = TOKEN_SET + words.replace('Switched to', 'Still using')
            self.assertEqual(Result(0, '', words), self.call('login', tty=PERSON, env=env))
        self.assertEqual(({'prod': key or WORKSPACE, 'dev': 'x'}, []),
                         (self.defaults(), self.sandbox.requests))

    @rows([(typed, 0, 'Acme') for typed in (b'\n', b' 2 \n', b'2', b'02\r\n', b'a\n')] + [
        (typed, 0, 'Globex') for typed in (b'1\n', b'globex\n', b'G')] + [
        (b'0\n4\n-1\n1.0\nx\nGlobexx\n\xff\n1\n', 7, 'Globex'), ('٢\n1\n'.encode(), 1, 'Globex'),
        (b'9' * 5000 + b'\n\n', 1, 'Acme'), (b'', 0, None), (b'x\n', 1, None)])
    def test_what_is_typed_into_the_menu_decides(self, typed, again, name):
        end = {'Acme': '✔ Still using workspace Acme\n', None: '\n',
               'Globex': '✔ Switched to workspace Globex\n'}[name]
        self.assertEqual(Result(0 if name else 130, '',
                                self.MENU + self.ASK + self.AGAIN * again + end),
                         self.call('login', stdin=typed, tty=PERSON))
        self.assertEqual((OTHER if name == 'Globex' else WORKSPACE, []),
                         (self.defaults()['prod'], self.sandbox.requests))

    def test_a_hostile_name_stays_on_its_line_of_the_menu(self):
        self.store_login('ntn_canary_x', 'x', 'a\r\n  9  Acme\x1b[2J\u202e\x9b1m')
        self.assertIn('\n  3  a 9 Acme\\u001b[2J\\u202e\\u009b1m (default)\n  4  Auth',
                      self.call('login', tty=PERSON).err)

    GONE = 'The token of workspace Acme is gone, so a new login is needed.\n'
    MOVED = 'warning: {0} is damaged: it is not valid JSON. It was moved to {0}.damaged-%d.\n' % NOW

    @rows([  # a state file and its new content; the environment; what is typed; what comes first
        (None, {}, {}, b'3\n', 'MENU'), (None, {}, {'NOTION_ENV': 'stg'}, b'', ''),
        (None, {}, {'NOTION_WORKSPACE_ID': WORKSPACE[:-1] + '6'}, b'', ''),
        ('config.json', {}, {}, b'\n', 'MENU'), ('auth.json', {}, {}, b'\n', 'MENU' + GONE),
        ('auth.json', {}, {'NOTION_WORKSPACE_ID': WORKSPACE.replace('-', '')}, b'', GONE),
        ('workspaces.json', b'{', {}, b'', MOVED),
        ('config.json', b'{', {}, b'\n', MOVED + 'MENU')])
    def test_anything_else_is_a_new_login(self, name, content, env, typed, words):
        menu = self.MENU + self.ASK
        if name:
            words = words.replace('{0}', self.write_state(name, content))
        if name == 'config.json':  # without a default, the new login is
            menu = menu.replace(' (default)', '').replace('[2]', '[3]')
        key = env.get('NOTION_WORKSPACE_ID', 'N' * 64)
        tokens = dict(self.state('auth.json'), **{key: 'ntn_canary_new'})
        self.sandbox.on('POST', REDEEM, confirmed(spaceId=key, spaceName=' '))
        self.assertEqual(  # the workspace has no name, so it goes by its ID
            Result(0, '', words.replace('MENU', menu) + self.asked()
                   + 'Open the URL on any device.\n' + self.logged_in(key)),
            self.call('login', stdin=typed, tty=PERSON, env=env))
        env = env.get('NOTION_ENV', 'prod')
        self.assertEqual((key, {'id': key, 'name': key}, tokens), (
            self.defaults()[env], self.state('workspaces.json')['environments'][env][key],
            self.state('auth.json')))

class TerminalLoginTest(WorkspaceCase):
    OPENED = 'Your browser should open now; if not, open the URL yourself.\n'

    def make_browser(self, name):
        """A browser of the worst kind, which prints and does not end; the event of its opening."""
        def show(request, handler):
            self.assertEqual(self.url(), self.sandbox.origin + request.target)
            opened.set()
            return hang(threading.Event())
        opened = threading.Event()
        self.sandbox.always('GET', '/workers/cli-login', show)
        return self.write(os.path.join(tempfile.mkdtemp(dir=self.dir), name), (
            '#!%s -IS\nimport os, sys, urllib.request\nprint("noise", flush=True)\n'
            'if not any(map(os.isatty, range(3))):\n    urllib.request.urlopen(sys.argv[-1])\n'
            % sys.executable), 0o755), opened

    def test_it_opens_the_browser_waits_and_ends_logged_in(self):
        browser, opened = self.make_browser('browser')
        terminal = self.terminal('login', '--env', 'stg', env={'BROWSER': browser})
        terminal.expect('left')
        self.assertTrue(opened.wait(10))
        self.sandbox.approve()
        self.assertEqual(0, terminal.wait())
        live = r'(\rWaiting for approval in the browser, (9:5\d|10:00) left\x1b\[K)+\r\x1b\[K'
        self.assertRegex(terminal.output, r'\A%s%s%s\Z' % (
            re.escape(self.asked() + self.OPENED), live, re.escape(self.logged_in())))
        self.assertEqual((WORKSPACE, None), (self.defaults()['stg'], self.state(PENDING)))

    def test_ctrl_c_while_waiting_leaves_the_login_to_be_finished(self):
        terminal = self.terminal('login', '--env', 'stg')
        terminal.expect('left\x1b[K')
        terminal.send('\x03')
        self.assertEqual(-signal.SIGINT, terminal.wait())
        self.assertEqual(UNFINISHED,
                         terminal.output.replace('^C', '').rpartition('\x1b[K')[2].strip())
        self.sandbox.approve()
        self.assertEqual(self.polled(0, self.logged_in()), self.ntn('login', 'poll'))

    def test_a_person_types_into_the_menu_and_presses_ctrl_c(self):
        terminal = self.terminal('login')
        terminal.expect(self.ASK)
        terminal.send('nobody\n')
        terminal.expect(self.AGAIN)
        terminal.send('\x03')
        self.assertEqual(-signal.SIGINT, terminal.wait())
        self.assertEqual(self.MENU + self.ASK + 'nobody\n' + self.AGAIN + '\n',
                         terminal.output.replace('^C', ''))
        self.assertEqual((WORKSPACE, []), (self.defaults()['prod'], self.sandbox.requests))

    @rows([  # what there is to be run; variables; whether it is opened
        (name, 'DISPLAY=:0', name == 'firefox') for name in
        'firefox none w3m lynx links elinks www-browser'.split()] + [
        ('firefox', '', False), ('firefox', 'DISPLAY=:0 SSH_CONNECTION=1', False),
        ('w3m', 'DISPLAY=:0 BROWSER=SCRIPT', True),
        ('none', 'SSH_CONNECTION=1 BROWSER="SCRIPT --new %s"', True),
        # webbrowser itself has known of Wayland since 3.7 only.
        ('firefox', 'WAYLAND_DISPLAY=wayland-0', sys.version_info >= (3, 7))])
    def test_a_browser_is_opened_only_where_a_person_can_see_it(self, name, variables, seen):
        if sys.platform != 'linux':
            self.skipTest('browsers are found in another way here')
        browser, opened = self.make_browser(name)
        self.env.pop('SSH_CONNECTION', None)
        env = self.environ({'PATH': os.path.dirname(browser), 'TERM': 'dumb'})
        env.update(each.replace('SCRIPT', browser).split('=', 1) for each in shlex.split(variables))
        self.sandbox.on('POST', REDEEM, hang(opened, confirmed()) if seen else confirmed())
        with mock.patch.dict(sys.modules), mock.patch.dict(os.environ, env, clear=True):
            sys.modules.pop('webbrowser', None)  # it looks for browsers when it is imported
            result = self.call('login', '--env', 'stg', tty=PERSON, env=env)
        words = self.OPENED if seen else 'Open the URL on any device.\n'
        self.assertEqual(Result(0, '', self.asked() + words + self.logged_in()), result)
        self.assertEqual(seen, opened.is_set())

# Logout, whoami, auth token -----------------------------------------------------------------------

class LogoutTest(WorkspaceCase):
    def files_without(self, keys):
        """What the three files should hold without these workspaces."""
        auth, config, cached = [self.state(name) for name in STATE[:3]]
        for key, (name, entries) in itertools.product(keys, cached['environments'].items()):
            auth.pop(key, None)
            if entries.pop(key, None) and config['defaultWorkspaceIds'].get(name) == key:
                del config['defaultWorkspaceIds'][name]
        return dict(zip(STATE, [auth, config, cached]))

    @rows([  # a command; whom it forgets; whether the login that is pending in prod stays
        ('logout', ['Globex', 'Acme'], [OTHER, WORKSPACE], False),
        ('logout --env dev', ['Globex'], ['dev-1'], True),
        ('logout --workspace Acme', ['Acme'], [WORKSPACE], True),
        ('logout --workspace globex', ['Globex'], [OTHER], True),
        ('logout --workspace ' + OTHER.replace('-', '').upper(), ['Globex'], [OTHER], True)])
    def test_it_forgets_what_it_was_told_to_and_nothing_else(self, line, names, keys, stays):
        self.start()
        del self.sandbox.requests[:]
        expected = self.files_without(keys)
        self.assertEqual(logged_out(*names), self.call(*line.split()))
        if '--workspace' not in line:
            self.assertEqual(ALREADY_OUT, self.call(*line.split()))
        self.assertEqual(expected, {name: self.state(name) for name in STATE[:3]})
        self.assertEqual((stays, []), (self.state(PENDING) is not None, self.sandbox.requests))

    @rows([('config.json', {'defaultWorkspaceIds': {'prod': 'x'}}, ['x']),
           ('workspaces.json', {'environments': {'prod': {'x': {'name': 'X'}}}}, ['X']),
           (PENDING, {'sessionId': 'sess-canary-1', 'issuedAt': 1}, [])])
    def test_anything_left_of_a_login_is_something_to_forget(self, name, content, names):
        shutil.rmtree(self.home)
        env = {'NOTION_API_TOKEN': CANARY}
        warning = 'warning: NOTION_API_TOKEN is set and still in effect.\n  hint: Unset it.\n'
        for expected in ALREADY_OUT, logged_out(*names), ALREADY_OUT:
            if expected != ALREADY_OUT:
                self.write_state(name, content)
            self.assertEqual(expected._replace(err=warning + expected.err),
                             self.call('logout', env=env))

    @rows([(name,) for name in STATE] + [STATE])
    def test_a_damaged_file_is_left_and_named_and_the_rest_is_done(self, *damaged):
        self.start()
        keys = [WORKSPACE] if damaged == ('workspaces.json',) else [OTHER, WORKSPACE]
        expected = dict(self.files_without(keys), **{PENDING: None})  # of others nothing is known
        if 'auth.json' in damaged:  # so that logging out can be repeated
            expected['workspaces.json'] = self.state('workspaces.json')
        paths = [self.write_state(name, b'{') for name in damaged]
        code, out, err = self.call('logout')
        *lines, hint = err.splitlines()
        self.assertEqual((1, '', {'error: %s is damaged: it is not valid JSON.' % path
                                  for path in paths}), (code, out, set(lines)))
        self.assertEqual('  hint: ' + (REPAIR if len(damaged) > 1 else 'The rest was forgotten.'),
                         hint)
        self.assertEqual([b'{'] * len(damaged), [self.read(name) for name in damaged])
        for name in set(expected) - set(damaged):
            self.assertEqual(expected[name], self.state(name))

    def test_it_ends_a_poll_that_waits(self):
        self.start()
        self.clock.on_sleep = lambda: self.call('logout')
        self.assertEqual(self.polled(4, self.fails(4, *NO_SESSION).err), self.poll())

class CredentialTest(WorkspaceCase):
    @rows([([], {}, 'ntn_canary_stored\n'), (['--plain', '--env', 'dev'], {}, 'ntn_canary_dev\n'),
           ([], GIVEN, CANARY + '\n'),
           (['--json'], {}, {'token': 'ntn_canary_stored', 'source': 'AUTH',
                             'workspace_id': WORKSPACE}),
           (['--json'], GIVEN, {'token': CANARY, 'source': 'NOTION_API_TOKEN',
                                'workspace_id': None})])
    def test_the_token_is_printed_alone_or_with_its_source(self, argv, env, out):
        if isinstance(out, dict):
            out = json.dumps(out, indent=2).replace('AUTH', self.auth) + '\n'
        self.assertEqual(Result(0, out, ''),
                         self.call('auth', 'token', *argv, env=env, secrets_ok=True))
        self.assertEqual([], self.sandbox.requests)

    ROW = ('b0000000-0000-4000-8000-000000000002\tNotion CLI\tbot\tann@example.com\t' + WORKSPACE
           + '\tAcme\ta0000000-0000-4000-8000-000000000001\tAnn\tperson\n')
    LABELLED = ''.join('%-14s%s\n' % pair for pair in zip(
        ['ID', 'Name', 'Type', 'Email', 'Workspace ID', 'Workspace', 'Owner ID', 'Owner',
         'Owner type', 'Token from'], ROW.strip().split('\t') + ['AUTH']))

    @rows([('whoami', (), ROW), ('whoami --plain', ('stdout',), ROW),
           ('whoami', ('stdout',), LABELLED), ('whoami --notion-version 2025-09-03', (), ROW)])
    def test_whoami_is_a_row_in_a_pipe_and_labelled_on_a_terminal(self, line, tty, out):
        self.assertEqual(Result(0, out.replace('AUTH', self.auth), ''),
                         self.call(*line.split(), tty=tty))
        self.assertEqual('2025-09-03' if 'version' in line else '2026-03-11',
                         self.sandbox.requests[0].header('Notion-Version'))

    @rows([('', {}, [''] * 9), ('', [], [''] * 9),
           ('', {'bot': {'owner': {'type': 'workspace', 'workspace': True}}}, [''] * 9),
           ('', {'id': 'i', 'name': None, 'type': 'person', 'person': {'email': 'p@x'}},
            ['i', '', 'person', 'p@x'] + [''] * 5),
           ('', {'id': 5, 'name': 'a\tb\nc\x1b[2J', 'type': [], 'person': 'x', 'bot': []},
            ['', 'a b c\\u001b[2J'] + [''] * 7),
           ('--json', b'{"a":1.10,  "b":"\\u0041\xc3\xa9"}', None)])
    def test_whoami_shows_what_is_there(self, option, user, row):
        body = user if isinstance(user, bytes) else json.dumps(user)
        self.sandbox.on('GET', '/v1/users/me', Answer(200, body))
        out = to_text(body) if row is None else '\t'.join(row)
        self.assertEqual(Result(0, out + '\n', ''), self.call('whoami', *option.split()))

# ---- 8 Request inputs ----------------------------------------------------------------------------

INPUT_HINT = 'Use `Header:Value`, `name==value`, `path=value`, or `path:=json`.'

class PureTest(unittest.TestCase):
    """A test without a server and files: nothing is left from row to row."""

    def renew(self):
        pass

    def refused(self, function, *arguments):
        """Message and hint of the error that a call ends with, which is always exit code 5."""
        with self.assertRaises(ntn.CliError) as raised:
            function(*arguments)
        self.assertEqual(5, raised.exception.code)
        return raised.exception.message, raised.exception.hint

class GrammarTest(PureTest):
    """The language of `ntn api`'s inputs; Fuzz tries thousands more."""

    @rows(read_rows(r'''
a= => {"a":""}
'a= x ' => {"a":" x "}
'a="\' => {"a":"\"\\"}
a=é漢🐕 => {"a":"é漢🐕"}
'a:= {"b" : [1, {} ]} ' => {"a":{"b":[1,{}]}}
a:='"\ud800\u2028"' => {"a":"\ud800\u2028"}
a:=-0.0 => {"a":-0.0}
a:=1e400 => {"a":1e400}
a:=12345678901234567890123.0 => {"a":12345678901234567890123.0}
a[b]:=1.10 a[c]=1.0 => {"a":{"b":1.10,"c":"1.0"}}

url=https://x/?a==b => {"url":"https://x/?a==b"}
a=:=1 => {"a":":=1"}
a=[x => {"a":"[x"}
a[b:=c]=1 => {"a":{"b:=c":"1"}}
a[b==c]:=1 => {"a":{"b==c":1}}

a.b[c].d=1 => {"a":{"b":{"c":{"d":"1"}}}}
a[b]c[d]=1 => {"a":{"b":{"c":{"d":"1"}}}}
[a]b=1 => {"a":{"b":"1"}}
a[b[c]=1 => {"a":{"b[c":"1"}}
a.0x1=1 => {"a":{"0x1":"1"}}
a[٣]=1 => {"a":{"٣":"1"}}
'p[Due: date][date][start]=2026-01-01' => {"p":{"Due: date":{"date":{"start":"2026-01-01"}}}}
properties[v1.0][number]:=3 => {"properties":{"v1.0":{"number":3}}}
a[b]=1 d=3 a.c=2 => {"a":{"b":"1","c":"2"},"d":"3"}

a.0=1 => {"a":["1"]}
a[000]=1 => {"a":["1"]}
a[1]=2 a[0]=1 => {"a":["1","2"]}
a[2]=1 a[]=2 => {"a":[null,null,"1","2"]}
a[][b]=1 a[][b]=2 => {"a":[{"b":"1"},{"b":"2"}]}
a:=[1,2] a[]=3 a[0]=0 => {"a":["0",2,"3"]}
a:='{"b":1}' a[c]=2 => {"a":{"b":1,"c":"2"}}
[]=1 []=2 => ["1","2"]
[][a]=1 [1]a=2 => [{"a":"1"},{"a":"2"}]
a=1 a:={} a[b]=2 => {"a":{"b":"2"}}
''') + [(['a=\n\t\0\x1b\x7f\x85\u202e'], '{"a":"\\n\\t\\u0000\\u001b\\u007f\\u0085\\u202e"}'),
        (['a:=' + '9' * 5000], '{"a":%s}' % ('9' * 5000)),
        (['a[9999]=1'], '{"a":[%s"1"]}' % ('null,' * 9999))])
    def test_fields_become_a_body(self, inputs, body):
        self.assertEqual(([], [], body), parse_inputs(*inputs))

    @rows([  # inputs, query parameters, headers
        ('a==', [('a', '')], []), ('a===1', [('a', '=1')], []), ('a==:1', [('a', ':1')], []),
        ('b==1 a==2 b==3', [('b', '1'), ('a', '2'), ('b', '3')], []),
        ("'a[b=c]==é &'", [('a[b=c]', 'é &')], []), ('X-A::b=c', [], [('X-A', ':b=c')]),
        ('X-A:https://x/?a==b', [], [('X-A', 'https://x/?a==b')]), ('X-A:', [], [('X-A', '')]),
        ("'X-A: \t1 2\t '", [], [('X-A', '1 2')]), ("'X-A:é\t漢'", [], [('X-A', 'é\t漢')]),
        ('"!#$%&\'*+-.^_`|~1a:1"', [], [("!#$%&'*+-.^_`|~1a", '1')]),
        ('X-A:1 q==1 x-a:2 X-A:3', [('q', '1')], [('X-A', '1'), ('x-a', '2'), ('X-A', '3')])])
    def test_others_become_query_parameters_and_headers(self, line, query, headers):
        self.assertEqual((headers, query, None), parse_inputs(*shlex.split(line)))

    @rows(read_rows(r'''
abc^ => there is no =, :=, == or : in it
a^[b=1 => this bracket is not closed
a[b]^]=1 => this bracket was not opened
^=1 => a key is missing here
a[b].^=1 => a key is missing here
a.^[b]=1 => a key is missing here
a[^10000]=1 => an index goes up to 9999
a.^99999999999999999999=1 => an index goes up to 9999
a:=^ => this is not valid JSON (Expecting value)
'a:=1 ^2' => this is not valid JSON (Extra data)
'a:=[^"b' => this is not valid JSON (Unterminated string starting at)
'a:=[1 ^2]' => this is not valid JSON (Expecting ',' delimiter)
a:=^NaN => this is not valid JSON (NaN is not JSON)
a:=^-Infinity => this is not valid JSON (-Infinity is not JSON)
^==1 => the query parameter has no name
^:1 => a header name cannot have this character
'X^ A:1' => a header name cannot have this character
X-^é:1 => a header name cannot have this character
^Host:x => this header is set by ntn itself
^content-length:1 => this header is set by ntn itself
^TRANSFER-ENCODING:chunked => this header is set by ntn itself
a=1 a[^b]=1 => an earlier input put a value here
a[0]=1 a[^b]=1 => an earlier input put an array here
0=1 ^a=1 => an earlier input put an array here
a[b]=1 a[^0]=1 => an earlier input put an object here
a[b]=1 a[^]=1 => an earlier input put an object here
'''))
    def test_an_error_quotes_the_input_with_a_caret_under_the_place(self, inputs, problem):
        *before, last = inputs
        shown, caret = last.replace('^', ''), ' ' * last.index('^') + '^'
        self.assertEqual(('Cannot read the input: %s.\n  %s\n  %s' % (problem, shown, caret),
                          INPUT_HINT), self.refused(parse_inputs, *before, shown))

    CONTROL = 'a header value cannot have control characters'

    @rows([  # the input, the problem, how the input is shown, the columns before the caret
        ('a:="\0"', 'this is not valid JSON (Invalid control character at)', 'a:="\\u0000"', 4),
        ('a=\udcff', 'it is not valid UTF-8', 'a=\\udcff', 2),
        ('X-A:1\nX-B: 2', CONTROL, 'X-A:1 X-B: 2', 5),
        ('X-A:漢\x1b[2J', CONTROL, 'X-A:漢\\u001b[2J', 6),  # a character of two columns
        ('X-A:e\u0301\x7f', CONTROL, 'X-A:e\u0301\\u007f', 5),  # and one of none
        ('Authorization:Bearer\0xy', CONTROL, 'Authorization:*********', 20),
        ('cookie:%s\udcff' % CANARY, 'it is not valid UTF-8', 'cookie:' + '*' * 32, 38),
        ('b' * 99 + '.=' + 'c' * 99, 'a key is missing here',
         '%s.=%s' % ('b' * 59, 'c' * 29), 60)])
    def test_an_input_is_quoted_harmlessly_and_not_at_length(self, text, problem, shown, columns):
        self.assertEqual('Cannot read the input: %s.\n  %s\n  %s^' % (
            problem, shown, ' ' * columns), self.refused(parse_inputs, text)[0])

class PathTest(PureTest):
    ORIGIN = 'https://api.notion.com'

    @rows(read_rows(r'''
HTTPS://API.Notion.com:443/v1/x?a=b => /v1/x?a=b
https://api.notion.com//evil.example/x => /evil.example/x
//evil.example/x => /evil.example/x
'v1/a b' => /v1/a%20b
v1/é漢 => /v1/%C3%A9%E6%BC%A2
v1/a%20b => /v1/a%20b
v1/%zz => /v1/%25zz
v1/a#b => /v1/a%23b
'v1/"<>^`{|}' => /v1/%22%3C%3E%5E%60%7B%7C%7D
"v1/-._~!$&'()*+,;=:@" => /v1/-._~!$&'()*+,;=:@
v1/..x/x../... => /v1/..x/x../...
'v1/x?a=b c&d=é#f' => /v1/x?a=b%20c&d=%C3%A9%23f
v1/x?c=d a==b a==c => /v1/x?c=d&a=b&a=c
v1/x 'a[]==1&b=2#+ /?é' => /v1/x?a%5B%5D=1%26b%3D2%23%2B%20%2F%3F%C3%A9
v1/x 100%==%20 => /v1/x?100%25=%2520
'''))
    def test_paths_become_addresses_at_the_api_origin(self, words, target):
        query = [tuple(word.split('==', 1)) for word in words[1:]]
        self.assertEqual(self.ORIGIN + target, ntn.build_url(self.ORIGIN, words[0], query))

    @rows([(path, 'The path %s %s.' % (json.dumps(path, ensure_ascii=False), problem), 'Use a path '
            'such as v1/users/me.') for problem, paths in [
        ('is empty', ['', '/', '?a=b', ORIGIN]),
        ('has a `..` segment in it', ['..', 'v1/../x', 'v1/x/..', 'v1/%2e%2E/x', 'v1/.%2e%2fx']),
        ('has a backslash in it', ['v1\\x', 'v1/%5c']),
        ('has a control character in it', ['v1/\n', 'v1/\0', 'v1/x?\r', 'v1/%0a', 'v1/%7F']),
        ('is not valid UTF-8', ['v1/\udcff'])] for path in paths] + [
        (path, 'That is not an address of the API, which is at https://api.notion.com.',
         'Use the path alone, such as v1/users/me.') for path in (
            'http://api.notion.com/v1/x', 'https://api.notion.com:444/v1/x', 'https://evil.example',
            'https://api.notion.com.evil.example/', 'https://api.notion.com@evil.example/v1/x',
            'https://evil.example#api.notion.com', 'https://api.notion.com\\@evil.example/',
            'file:///etc/passwd', 'https://api.notion.com:x/', 'https:///v1/x', 'https://[::1/v1/x',
            'https://api.notion', 'https://ann:%s@api.notion.com/v1/x' % CANARY)])
    def test_paths_that_cannot_be_meant_and_addresses_elsewhere_are_refused(self, path, *expected):
        self.assertEqual(expected, self.refused(ntn.build_url, self.ORIGIN, path, []))

class StdinCase(ApiCase):
    def pipe(self, data=b'', idle=False):
        """The reading end of a pipe that holds `data`; an idle one is not closed after it."""
        reader, writer = os.pipe()
        os.write(writer, data)
        if idle:
            self.addCleanup(os.close, writer)
        else:
            os.close(writer)
        return self.enter(os.fdopen(reader, 'rb', buffering=0))

    def file(self, data, offset=0):
        """A file that holds `data` and has been read up to `offset`."""
        file = self.enter(tempfile.TemporaryFile(dir=self.dir, buffering=0))
        file.write(data)
        file.seek(offset)
        return file

    def sent_by(self, *argv, run=None, path='v1/x', err='', **options):
        """(method, body) of the request that `ntn api v1/x ...` makes; the answer is empty."""
        for method in 'GET', 'HEAD', 'POST', 'PATCH', 'DELETE':
            self.sandbox.always(method, '/' + path.partition('?')[0], Answer(204))
        self.sandbox.requests.clear()
        self.assertEqual((0, '', err), (run or self.call)('api', path, *argv, **options))
        request, = self.sandbox.requests
        return request.method, request.body

class BodyTest(StdinCase):
    ODD = (b'\r\n{ "a" : 1.10,"b":12345678901234567890123.0, "a":2,\t"\\u00e9":'
           b'"\xc3\xa9\xe2\x80\xae" }\n')
    HINT = 'To send no body, add </dev/null or -X GET.'

    def test_json_is_sent_byte_for_byte_wherever_it_comes_from(self):
        path, pipe = self.write('é [1].json', self.ODD), self.pipe(self.ODD)
        for argv, stdin in [
            (['-d', to_text(self.ODD)], None), (['-d', '@' + path], None),
            (['-d', '@-'], self.pipe(self.ODD)), (['-d', '@-'], self.file(b'x' + self.ODD, 1)),
            ([], self.pipe(self.ODD)), ([], self.file(self.ODD)),
        ] + [  # what the shell makes of @<(command)
            (['-d', '@/dev/fd/%d' % pipe.fileno()], None)] * os.path.exists('/dev/fd'):
            self.assertEqual(('POST', self.ODD), self.sent_by(*argv, stdin=stdin))
        for argv in ['-d', '2'], ['-d', '@-']:  # which may be a scalar, since it was asked for
            self.assertEqual(('POST', b'2'), self.sent_by(*argv, stdin=self.pipe(b'2')))

    def test_stdin_of_a_process_is_a_body_only_if_it_was_meant_as_one(self):
        ours, theirs = map(self.enter, socket.socketpair())
        ours.sendall(b'[1]')
        ours.shutdown(socket.SHUT_WR)
        closed = [sys.executable, '-I', '-S', '-c', 'import os, sys\nos.close(0)\n'
                  'os.execv(sys.argv[1], sys.argv[1:])']
        for expected, options in [
                (('POST', b'[1]\n'), {'stdin': b'[1]\n'}),
                (('POST', b'[2]'), {'stdin': self.file(b'[2]')}),
                (('POST', b'[1]'), {'stdin': theirs}),
                (('GET', b''), {'stdin': self.file(b'1\n[2]', offset=2)}),
                (('GET', b''), {'stdin': None}), (('GET', b''), {'prefix': closed})]:
            self.assertEqual(expected, self.sent_by(run=self.ntn, **options))
        self.assertEqual(self.fails(1, 'Standard input is closed, so no body can be read from it.'),
                         self.ntn('api', 'v1/x', '-d', '@-', prefix=closed))

    NOTE = 'note: Standard input is not sent to this path without -X PATCH.\n'

    @rows([('-XGET', 'GET', b''), ('-XDELETE', 'DELETE', b''), ('a=1', 'POST', b'{"a":"1"}'),
           ('-d []', 'POST', b'[]'), ('-XPATCH a=1', 'PATCH', b'{"a":"1"}'), ('', 'GET', b'')])
    def test_stdin_is_left_alone_where_no_body_can_come_from_it(self, line, method, body):
        path = 'v1/x' if line else 'v1/users/me'
        for stdin in self.pipe(b'{"b":2}', idle=True), self.file(b'{"b":2}'):
            self.assertEqual((method, body), self.sent_by(
                *line.split(), path=path, stdin=stdin, err='' if line else self.NOTE))
            self.assertEqual(b'{"b":2}', os.read(stdin.fileno(), 99))

    @rows([('v1/users/me', True), ('v1/pages/%s/' % WORKSPACE.upper(), True),
           ('v1/pages/%s?a=b' % WORKSPACE.replace('-', ''), True), ('v1/search', False),
           ('v1/pages/' + WORKSPACE[:-1], False), ('v1/pages/a' + WORKSPACE, False),
           ('v1/blocks/%s/children' % WORKSPACE, False), ('v1/users/you', False)])
    def test_a_path_that_ends_in_an_id_is_read_and_stdin_left_to_the_loop(self, path, is_id):
        ours, theirs = map(self.enter, socket.socketpair())
        ours.sendall(b'[1]')
        ours.shutdown(socket.SHUT_WR)
        for stdin in self.pipe(b'[1]'), self.file(b'[1]'), theirs:
            self.assertEqual(('GET', b'') if is_id else ('POST', b'[1]'), self.sent_by(
                path=path, stdin=stdin, err=self.NOTE * is_id))
        nothing = self.pipe(b'' if is_id else b' \r\n')
        for stdin in nothing, self.file(b''), self.file(b'[1]', 1), None:
            self.assertEqual(('GET', b''), self.sent_by(path=path, stdin=stdin))
        for argv, body in (['-XPATCH'], b'[1]'), (['a=1'], b'{"a":"1"}'), (['-d@-'], b'[1]'):
            self.assertEqual(('PATCH' if '-XPATCH' in argv else 'POST', body), self.sent_by(
                *argv, path=path, stdin=self.pipe(b'[1]')))

    @rows([(given, data, why) for data, why, sources in [  # what it holds; what is wrong with it
        (b'{"a":', 'Expecting value: line 1 column 6 (char 5)', 'stdin @- @PATH TEXT'),
        (b'0e1b-1\n', 'Extra data: line 1 column 4 (char 3)', 'stdin @- @PATH TEXT'),
        (b'[NaN]', 'NaN is not JSON', 'stdin @- @PATH TEXT'),
        (b'DEEP', 'it is nested too deeply', '@PATH TEXT'),
        (b'', 'Expecting value: line 1 column 1 (char 0)', '@- @PATH TEXT'),
        (b'2\n', 'it is neither an object nor an array', 'stdin'),
        (b'null', 'it is neither an object nor an array', 'stdin'),
        (b'["\xff"]', "'utf-8' codec can't decode byte 0xff in position 2: invalid start byte",
         'stdin @- @PATH')] for given in sources.split()])
    def test_a_body_that_is_not_json_is_refused_wherever_it_comes_from(self, given, data, why):
        data = data.replace(b'DEEP', b'[' * 1000000)
        path = self.write('body', data)
        argv, where, hint = {
            'stdin': ([], 'standard input', self.HINT), '@-': (['-d@-'], 'standard input', ''),
            '@PATH': (['-d@' + path], path, ''), 'TEXT': (['-d', to_text(data)], '-d', '')}[given]
        for stdin in self.pipe(data[:99]), self.file(data):
            self.assertEqual(
                self.fails(1, 'The body from %s cannot be sent as JSON: %s.' % (where, why), hint),
                self.call('api', 'v1/x', *argv, stdin=stdin))
        self.assertEqual([], self.sandbox.requests)

    def test_a_stream_that_is_no_file_of_the_system_cannot_be_waited_for(self):
        err = io.StringIO()
        console = ntn.Console(self.environ({}), io.StringIO('{}'), io.StringIO(), err)
        self.assertEqual(1, ntn.main(['api', 'v1/x', '-d', '@-'], console))
        self.assertEqual('error: Cannot read standard input: fileno.\n', err.getvalue())

    @rows(['a' + '[b]' * 2000 + '=1', 'a' + '[]' * 2000 + '=1', 'a:=' + '[' * 20000 + ']' * 20000])
    def test_nesting_too_deep_to_send_is_refused(self, text):
        code, out, err = self.call('api', 'v1/x', text)
        self.assertEqual((5, '', ['nested too deeply']), (code, out, re.findall('nested.*ly', err)))
        self.assertEqual([], self.sandbox.requests)

    WAITING = 'Waiting for a JSON body from standard input.\n'

    def test_a_pipe_that_stays_silent_for_10_s_is_an_error_that_says_what_to_do(self):
        self.hurry(lambda limit: 200)
        failed = self.fails(2, 'Standard input is a pipe that has been silent for 10 s.',
                            self.HINT[:-1] + '; to wait for one, -d @-.')
        self.assertEqual(failed._replace(err=self.WAITING + failed.err),
                         self.call('api', 'v1/x', stdin=self.pipe(idle=True)))
        self.assertEqual([], self.sandbox.requests)

    def test_d_at_minus_waits_for_ever(self):
        self.hurry(lambda limit: 1000)  # so that 10 s have long passed when the body comes
        reader, writer = os.pipe()
        late = threading.Timer(0.2, lambda: (os.write(writer, b'[1]'), os.close(writer)))
        late.start()
        self.addCleanup(late.join)
        self.assertEqual(('POST', b'[1]'), self.sent_by('-d', '@-', err=self.WAITING, stdin=(
            self.enter(os.fdopen(reader, 'rb', buffering=0)))))

    def test_a_body_that_is_late_is_waited_for_and_after_2_s_a_line_says_so(self):
        self.sandbox.on('POST', '/v1/x', Answer(204))
        process = self.spawn('api', 'v1/x')
        self.assertEqual(to_bytes(self.WAITING), process.stderr.readline())
        self.assertEqual((b'', b''), process.communicate(b'[1]', 30))
        self.assertEqual([b'[1]'], [each.body for each in self.sandbox.requests])

    def test_nothing_is_refused_later_than_it_can_be(self):
        nothing = {'env': {'NOTION_API_TOKEN': None}, 'stdin': self.pipe(idle=True)}
        self.refuses('api v1/x é漢[b=1', 5, 'Cannot read the input: this bracket is not closed.\n'
                     '  é漢[b=1\n     ^', INPUT_HINT, **nothing)
        self.assertEqual(5, self.call('api', 'https://evil.example/v1/x', **nothing).code)

# ---- 9 Commands: api -----------------------------------------------------------------------------

def refused(status, message, hint=''):
    """What stderr says of an answer made by `Answer.error`."""
    return Case.fails(5, 'Public API request failed%s: %s\n  request id: %s' % (
        ' (%s)' % status if status else '', message, REQUEST_ID), hint).err

SET_VALID = 'The token came from NOTION_API_TOKEN. Set it to a valid one.'
TRASH = 'Since version 2026-03-11 the field is called in_trash: try in_trash:=true.'

class OptionTest(StdinCase):
    """Each option with each source of a body and each kind of answer, by rules."""
    TEXT = b'{"a" : 1.10}\n'
    LIST = '{"results": [1.10, "\u00e9"], "has_more": false}'
    OPTIONS = ['', '-X PATCH', '-X GET', '-i', '-v', '--timeout 9.5', '--no-retry',
               '--notion-version 2022-06-28', '--paginate', '--file {dir}/up.txt']
    SOURCES = [  # arguments, what stdin is, the body
        ('', None, None), ('a:=1.10', None, b'{"a":1.10}'), ('-d {"a":1}', None, b'{"a":1}'),
        ('-d @{dir}/body.json', None, TEXT), ('-d @-', 'pipe', TEXT), ('', 'pipe', TEXT),
        ('', 'file', TEXT)]
    ANSWERS = [Answer(200, LIST)] + [
        Answer.error(status, 'some_code', 'Told so.', [('Retry-After', '0')] * (status == 429))
        for status in (400, 401, 404, 429, 500)]

    @rows(itertools.product(OPTIONS, SOURCES, ANSWERS))
    def test_each_option_with_each_source_of_a_body_and_each_answer(self, option, source, answer):
        given, stdin, body = source
        self.sandbox.send_date = False
        self.write('body.json', self.TEXT)
        self.write('up.txt', b'content')
        for method in 'GET', 'POST', 'PATCH':
            self.sandbox.always(method, '/v1/x', answer)
        result = self.call(
            'api', 'v1/x', *[word.replace('{dir}', self.dir) for word in option.split()
                             + given.split()],
            stdin=stdin and getattr(self, stdin)(self.TEXT))
        if 'file' in option and '-d' in given:
            self.assertEqual((self.fails(5, 'The request has more than one body: --file and -d.',
                                         'Use only one of them.'), []),
                             (result, self.sandbox.requests))
            return
        if option == '-X GET' and not given:
            body = None  # stdin is left alone
        kind = 'application/json'
        if 'file' in option:
            kind, body = self.form(given)
        self.check(option, result, answer, kind, body)

    def form(self, field):
        """(type, body) of a form with the file, and with the field of SOURCES."""
        kind = self.sandbox.requests[0].header('Content-Type')
        start = '--%s\r\nContent-Disposition: form-data; name=' % kind.partition('; boundary=')[2]
        body = (start + '"a"\r\n\r\n1.10\r\n') * bool(field) + start + (
            '"file"; filename="up.txt"\r\nContent-Type: text/plain\r\n\r\ncontent\r\n')
        return kind, to_bytes(body + start.partition('\r\n')[0] + '--\r\n')

    def check(self, option, result, answer, kind, body):
        """The requests and the result are as they must be."""
        method = option[3:] if '-X' in option else 'GET' if body is None else 'POST'
        sent = [('Host', self.peer), ('Authorization', 'Bearer ' + CANARY),
                ('Notion-Version', option[17:] if 'version' in option else '2026-03-11'),
                ('User-Agent', 'ntn.py/%s Python/%d.%d' % (ntn.VERSION, *sys.version_info[:2])),
                ('Accept', 'application/json'), ('Accept-Encoding', 'gzip')]
        sent += [('Content-Type', kind)] * (body is not None)
        sent += [('Content-Length', str(len(body or b'')))] * (method != 'GET' or body is not None)
        again = answer.status == 429 or answer.status == 500 and method == 'GET'
        tries = 3 if again and option != '--no-retry' else 1
        self.assertEqual([(method, '/v1/x', sent, body or b'')] * tries, [
            (each.method, each.target, each.headers, each.body) for each in self.sandbox.requests])
        status = '%d %s' % (answer.status, http.client.responses[answer.status])
        start = ['%s: %s' % header for header in answer.headers] + ['']
        shown = ['%s %s/v1/x' % (method, self.sandbox.origin)]
        shown += ['%s: %s' % header for header in sent] + ['']
        shown += to_text(body).split('\n') if body else []
        trace = ''.join((mark + line).rstrip() + '\n' for mark, lines in [
            ('> ', shown), ('< ', [status] + start + [to_text(answer.body)])]
            for line in lines).replace('Bearer ' + CANARY, '[redacted]') * (option == '-v')
        err = trace + ''.join(
            'Notion answered %s. Trying again in %d s (try %d of 3).\n%s' % (
                status, 0 if answer.status == 429 else number - 1, number, trace)
            for number in range(2, tries + 1))
        out = 'HTTP/1.1 %s\n%s\n' % (status, '\n'.join(start)) if option == '-i' else ''
        if answer.status == 200 or option == '-i':
            out += '1.10\n"\u00e9"\n' if 'paginate' in option else to_text(answer.body) + '\n'
        if answer.status == 401:
            err += refused('', 'API token is invalid.', SET_VALID)
        elif answer.status != 200:
            err += refused(status + ' some_code', 'Told so.')
        self.assertEqual(Result({200: 0, 401: 4}.get(answer.status, 5), out, err), result)

    @rows([('Authorization:Basic x', 'Basic x'), ('authorization:', None)])
    def test_with_an_authorization_given_no_token_is_looked_for(self, given, expected):
        self.write_state('auth.json', b'damaged')
        self.sent_by(given, env={'NOTION_API_TOKEN': None})
        self.assertEqual(expected, self.sandbox.requests[0].header('Authorization'))

class OutputTest(ApiCase):
    JSON = 'application/json'

    @rows([(JSON, b'{"a": 1.10,\r\n "a":\t"\xc3\xa9\\u00e9"}', b'\n'), (JSON, b'{}\n', b''),
           (JSON, b'{}\r\n', b''), (JSON, b' ', b'\n'), (JSON, b'{} x', b'\n'),
           ('Application/Problem+JSON; charset=utf-8', b'[]', b'\n'), ('text/plain', b'text', b''),
           ('image/png', bytes(range(256)) * 999, b'')])
    def test_a_body_comes_out_byte_for_byte_and_json_ends_with_a_newline(self, kind, body, end):
        self.assertEqual((0, to_text(body + end), ''),
                         self.get(Answer(200, body, content_type=kind)))

    @rows([('GET', Answer(200, '{}', [('X-B', '2'), ('X-A', '1'), ('X-B', '3')]), 'HTTP/1.1 200 OK'
            '\nContent-Type: application/json\nX-B: 2\nX-A: 1\nX-B: 3\nContent-Length: 2\n\n{}\n'),
           ('HEAD', Answer(200, '{}'), 'HTTP/1.1 200 OK\nContent-Type: application/json\n'
            'Content-Length: 2\n\n'), ('GET', raw(b'HTTP/1.0 200\r\n\r\nx'), 'HTTP/1.0 200\n\nx')])
    def test_include_shows_status_and_headers_as_they_came(self, method, answer, out):
        self.sandbox.send_date = False
        self.sandbox.on(method, '/v1/x', answer)
        self.assertEqual((0, out, ''), self.call('api', 'v1/x', '-i', '-X', method))

    def test_a_terminal_shows_what_came_of_a_body_that_breaks_off(self):
        self.assertEqual(self.broken('93 bytes missing', '{"a":\\u001b\n'),
                         self.get(Answer(200, '{"a":\x1b', length=99), tty=('stdout',)))

    @rows([(('stdout',), '{"a": 1}'), (('stdout', 'stderr'), '(a body of 8 bytes)')])
    def test_verbose_shows_a_body_once_on_a_terminal(self, tty, shown):
        result = self.get(Answer.json({'a': 1}), '-v', tty=tty, env={'NO_COLOR': '1'})
        self.assertEqual((0, '{\n  "a": 1\n}\n'), result[:2])
        self.assertEqual(['<', '< ' + shown], result.err.splitlines()[-2:])

    def test_verbose_begins_a_line_of_its_own_after_the_answer(self):
        self.sandbox.on('GET', '/v1/x', Answer.json({'a': 1}))
        process = self.spawn('api', 'v1/x', '-vXGET', stderr=subprocess.STDOUT)
        self.assertEqual([b'<', b'{"a": 1}', b'< {"a": 1}'],
                         process.communicate(timeout=30)[0].splitlines()[-3:])

class FailureTest(ApiCase):
    ID = '\n  request id: ' + REQUEST_ID
    BOT = '{"additional_data": {"rate_limit_reason": "bot"}}'

    @rows([  # the answer to `api v1/x`; what is said behind "Public API request failed"; hint
        (Answer.error(400, 'validation_error', 'body failed:\n  \x1b[2Jbody.a'),
         ' (400 Bad Request validation_error): body failed:\n    \\u001b[2Jbody.a' + ID, ''),
        (Answer.error(400, 'validation_error', 'body.archived should be not present'),
         ' (400 Bad Request validation_error): body.archived should be not present' + ID, TRASH),
        (Answer(403, '<html>\n\x1b[2J', content_type='text/html; charset=utf-8'),
         ' (403 Forbidden): the server sent text/html instead of a Notion error.', ''),
        (Answer(429, BOT, [('Retry-After', '7')]),
         ' (429 Too Many Requests): ' + BOT, 'The reason is bot. The server asks to wait 7 s.'),
        (Answer(400, BOT), ' (400 Bad Request): ' + BOT, ''),
        (Answer(502, ''),
         ' (502 Bad Gateway): the server sent application/json instead of a Notion error.', ''),
        (Answer(599, '[1]', [('X-Request-Id', 'a b')]), ' (599): [1]\n  request id: a b', ''),
        (Answer(400, '[%s]' % ('1' * 400)), ' (400 Bad Request): [%s' % ('1' * 299), ''),
        (Answer(400, '{"code": 1, "message": {}, "request_id": ["x"]}'),
         ' (400 Bad Request): {"code": 1, "message": {}, "request_id": ["x"]}', '')])
    def test_an_answer_that_is_an_error_says_what_notion_said_and_how_to_go_on(
            self, answer, message, hint):
        self.assertEqual(self.fails(5, 'Public API request failed' + message, hint),
                         self.get(answer))

    @rows([([], None, 'The token came from {home}/auth.json. Run `ntn login` to get a new one.'),
           (['Authorization:Bearer x'], CANARY,
            'The token came from the Authorization input. Set it to a valid one.')])
    def test_a_refused_token_names_where_it_came_from(self, given, token, hint):
        self.store_login('ntn_canary_old')
        self.sandbox.valid_tokens.clear()
        self.assertEqual((4, '', refused('', 'API token is invalid.', hint.format(home=self.home))),
                         self.call('api', 'v1/users/me', *given, env={'NOTION_API_TOKEN': token}))

def page(results, cursor=None):
    """A page of a list, as Notion has it."""
    return Answer.json({'object': 'list', 'results': results, 'next_cursor': cursor,
                        'has_more': cursor is not None})

NO_LIST = 'error: The answer is not a paginated list.\n  hint: Remove --paginate.'
NO_CURSOR = 'error: The API gave no cursor to further results.\n'
NUMBERS = '[1.10,12345678901234567890123.0,1E400,-0.0,%s]' % ('9' * 5000)

class PaginateTest(ApiCase):
    CALLS = [('GET', 'v1/blocks/x/children', 'start_cursor==%s'),
             ('POST', 'v1/search -X POST', 'start_cursor=%s')]

    def paginate(self, line, *argv, **options):
        return self.call('api', '--paginate', *line.split(), *argv, **options)

    def fill(self, count):
        """Have that many results; the lines that print them."""
        self.sandbox.results = [{'number': number} for number in range(count)]
        return ['{"number":%d}\n' % number for number in range(count)]

    LATER = ' The results so far are complete. Continue with `{}`.\n'

    @rows(itertools.product(CALLS, [
        (Answer.error(400, 'validation_error', 'No.'),
         refused('400 Bad Request validation_error', 'No.', LATER.strip())),
        (Answer(200, '[1,', length=9), 'error: The connection to {peer} broke off (6 bytes '
         'missing).\n  hint: Try again.' + LATER), (Answer(200, '[]'), NO_LIST + LATER)]))
    def test_all_come_in_order_and_if_stopped_it_names_the_cursor_to_go_on_from(self, called, last):
        (method, line, form), (answer, expected) = called, last
        lines = self.fill(5750)
        self.sandbox.on(method, '/' + line.split()[0], *[
            lambda request, handler: self.sandbox.answer_as_notion(request)] * 56 + [answer])
        there = form % 'cursor-5600'
        code, out, err = self.paginate(line)
        self.assertEqual((5, lines[:5600], expected.format(there, peer=self.peer)),
                         (code, out.splitlines(True), err))
        sent = [(each.method, each.connection) for each in self.sandbox.requests]
        self.assertEqual([(method, sent[0][1])] * 57, sent)
        self.assertEqual((0, ''.join(lines[5600:]), ''), self.paginate(line, there))

    @rows([
        ('GET', 'v1/x a==1 start_cursor==c0 b==2', [
            ('a=1&start_cursor=c0&b=2', ''), ('a=1&b=2&start_cursor=c%261', ''),
            ('a=1&b=2&start_cursor=c2', '')]),
        ('GET', 'v1/x?a=1&start_cursor=c0&b=2', [
            ('a=1&start_cursor=c0&b=2', ''), ('a=1&b=2&start_cursor=c%261', ''),
            ('a=1&b=2&start_cursor=c2', '')]),
        ('POST', 'v1/x a:=1.10 start_cursor=c0 q==1', [
            ('q=1', '{"a":1.10,"start_cursor":"%s"}' % each) for each in ('c0', 'c&1', 'c2')]),
        ('POST', 'v1/x -d {"a":1.10}', [
            ('', '{"a":1.10}'), ('', '{"a":1.10,"start_cursor":"c&1"}'),
            ('', '{"a":1.10,"start_cursor":"c2"}')]),
        ('POST', 'v1/x -X post', [
            ('', '{}'), ('', '{"start_cursor":"c&1"}'), ('', '{"start_cursor":"c2"}')])])
    def test_the_cursor_replaces_the_one_given_and_the_rest_stays(self, method, line, expected):
        self.sandbox.on(method, '/v1/x', page([1], 'c&1'), page([], 'c2'), page([2]))
        self.assertEqual((0, '1\n2\n', ''), self.paginate(line))
        self.assertEqual(expected, [(each.target.partition('?')[2], to_text(each.body))
                                    for each in self.sandbox.requests])

    @rows([('v1/x', 'aa', 1), ('v1/x', 'abcb', 3), ('v1/x start_cursor==a', 'ba', 1),
           ('v1/x start_cursor=a', 'a', 0)])
    def test_a_cursor_that_comes_again_is_an_error(self, line, cursors, printed):
        self.sandbox.on('GET' if '=a' not in line or '==' in line else 'POST', '/v1/x',
                        *[page([1], cursor) for cursor in cursors])
        code, out, err = self.paginate(line)
        self.assertEqual((5, '1\n' * printed, 'error: The API gave the cursor %s twice.' % (
            cursors[-1])), (code, out, err.partition('\n')[0]))

    @rows([('{"results": [1]%s}' % more, 0, '1\n', '') for more in (
        '', ', "next_cursor": null', ', "next_cursor": ""',
        ', "next_cursor": "x", "has_more": false')] + [
        ('{"results": [1], "has_more": true%s}' % more, 5, '', NO_CURSOR) for more in (
            '', ', "next_cursor": null', ', "next_cursor": 5', ', "next_cursor": ""')] + [
        (body, 5, '', NO_LIST + '\n') for body in ('null', '{}', '"results"', '{"results": {}}')
    ] + [(body, 5, '', 'error: The answer is not JSON (200 OK).\n') for body in (
        '', 'no JSON', '{"results": [NaN]}', b'{"results": ["\xff"]}', '[' * 100000)] + [
        ('{"results": [%s, 1]}' % sent, 0, line + '\n1\n', '') for sent, line in [
            (NUMBERS, NUMBERS),
            ('{ "b" : 1,\n "a" : [ ] , "c" : { } }', '{"b":1,"a":[],"c":{}}'),
            (r'"a\nb\u2028\u202e\u001b\u00e9\ud83d\ude00\ud800"',
             '"a\\nb\\u2028\\u202e\\u001b\u00e9\U0001f600\\ud800"'),
            ('[' * 400 + ']' * 400, '[' * 400 + ']' * 400)]])
    def test_a_page_is_printed_if_it_is_one_and_the_end_is_where_it_says_so(
            self, body, code, out, err):
        self.assertEqual((code, out, err), self.get(Answer(200, body), '--paginate'))

    def test_a_cursor_of_any_type_is_left_to_the_api_to_refuse(self):
        for value in '[]', '{}', '5':
            self.assertEqual('body.start_cursor', re.search(r'body\.\w+', self.paginate(
                'v1/search start_cursor:=' + value).err).group())

    def test_only_an_object_can_have_a_cursor_put_into_it(self):
        self.refuses('api v1/x []=1 --paginate', 5, 'The body is not a JSON object, so a next page '
                     'cannot be asked for.', 'Remove --paginate.')

class UploadTest(StdinCase):
    def prepare(self):
        super().prepare()
        self.sandbox.always('POST', '/v1/x', Answer(200, '{}'))

    def upload(self, path, *argv, **options):
        argv = [os.fsdecode(to_bytes(word)) for word in argv]  # whatever the locale
        return self.call('api', 'v1/x', '--file=' + path, *argv, **options)

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
                 part.get_payload().encode('latin-1')) for part in message.get_payload()]

    @rows([(name, None, content) for name, content in zip([
        'say "hi"', '"', 'ends\\', 'a"; filename="b', '%22%0A', '--boundary--', 'a', 'txt',
        'caf\u00e9 e\u0301', '\U0001f600', "utf-8''x", b'\xff\xfe', 'x' * 255, 'new\nline',
        'carriage\r\nReturn: 1', '\x1b]0;x\x07\x7f', 'a.nonsense', 'a.txt.gz'], itertools.cycle([
            b'', b'\r\n--', bytes(range(256)) * 300]))] + [
        ('a.PNG', 'image/png', b'x'), ('a.json', 'application/json', b'{')])
    def test_name_and_content_arrive_in_one_piece_and_the_type_is_guessed(
            self, name, kind, content):
        self.sandbox.on('PUT', '/v1/x', Answer(200))
        self.upload(self.write(name, content), '-X', 'PUT')
        as_browsers_do = re.sub(b'[\x00-\x1f\x7f]', lambda found: b'%%%02X' % ord(found.group()),
                                to_bytes(name))
        self.assertEqual([('file', as_browsers_do, kind or 'application/octet-stream', content)],
                         self.parts())

    def test_inputs_become_the_fields_of_the_form(self):
        self.assertEqual((0, '{}\n', ''), self.upload(
            self.write('a.txt', b'A'), 'part_number=1', 's=caf\u00e9 \r\n"x"', 'empty=',
            't:=true', 'z:=null', 'text:="a"', 'big:=12345678901234567890123.0',
            'o[b]=\u00e9', 'o[c]:=[1, {"d" : 2.0}]', 'l[]=1', 'l[2]=3', '[odd "key";]=x', 'q==1'))
        self.assertEqual([
            ('part_number', '1'), ('s', 'caf\u00e9 \r\n"x"'), ('empty', ''), ('t', 'true'),
            ('z', 'null'), ('text', 'a'), ('big', '12345678901234567890123.0'),
            ('o', '{"b":"\u00e9","c":[1,{"d":2.0}]}'), ('l', '["1",null,"3"]'),
            ('odd "key";', 'x'), ('file', 'A')],
            [(name, content.decode()) for name, _, _, content in self.parts()])
        self.assertEqual([('q', '1')], self.sandbox.requests[-1].query)

    @rows([('{dir}', 1, 'Cannot read {dir}: it is not a regular file.'),
           ('{dir}/fifo', 1, 'Cannot read {dir}/fifo: it is not a regular file.'),
           ('{dir}/file/x', 1, 'Cannot read {dir}/file/x: Not a directory.'),
           ('{dir}/file', 5, 'Form fields need names, so an array cannot be sent with --file.')])
    def test_what_cannot_be_uploaded_is_refused_before_anything_is_sent(self, path, code, message):
        if 'fifo' in path:
            os.mkfifo(os.path.join(self.dir, 'fifo'))
        self.write('file')
        path, message = path.replace('{dir}', self.dir), message.replace('{dir}', self.dir)
        self.assertEqual(self.fails(code, message, INPUT_HINT if code == 5 else ''),
                         self.upload(path, *['[]=1'] * (code == 5)))
        self.assertEqual([], self.sandbox.requests)

    @rows([(b'after!', b'after!', ''), (b'after, and more', b'after,', ''),
           (b'aft', None, 'error: {} changed during the upload.\n'),
           (None, None, 'error: Cannot read {}: No such file or directory.\n')])
    def test_a_retry_reads_the_file_again(self, change, content, error):
        def refuse(request, handler):
            os.unlink(path)
            if change is not None:
                self.write('a.txt', change)
            return Answer.error(429, 'rate_limited', 'Slow down.', [('Retry-After', '0')])
        path = self.write('a.txt', b'before')
        self.sandbox.on('POST', '/v1/x', refuse)
        err = 'Notion answered 429 Too Many Requests. Trying again in 0 s (try 2 of 3).\n'
        self.assertEqual((1, '', err + error.format(path)) if error else (0, '{}\n', err),
                         self.upload(path))
        if content:
            self.assertEqual(content, self.parts()[0][3])

    BIG = (1 << 20) + 1

    @rows([('a', 3 * BIG, 'stdout stderr', 'xterm', True), ('a', 1 << 20, 'stderr', 'xterm', True),
           ('a', BIG, 'stderr', 'dumb', False), ('a', BIG, 'stdout', 'xterm', False),
           ('a\nb \x1b[2J', BIG, 'stderr', '', True), ('x' * 200, BIG, 'stderr', '', True)])
    def test_progress_is_shown_on_a_terminal(self, name, size, tty, term, shown):
        code, _, err = self.upload(self.write(name, bytes(size)), tty=tty.split(),
                                   env={'TERM': term})
        self.assertEqual(0, code)
        width = '79' if len(name) > 79 else '1,79'  # the last column stays free
        self.assertRegex(err, r'\A(\r[ -~]{%s}\x1b\[K)+\r\x1b\[K\Z' % width if shown else r'\A\Z')
        if shown and name == 'a':
            percents = [int(each) for each in re.findall(r'\rSending a: (\d+)%\x1b', err)]
            self.assertEqual((sorted(percents), 100), (percents, percents[-1]))

# ---- 9 Commands: the API's description -----------------------------------------------------------

class DescriptionTest(ApiCase):
    """What is made from the API's OpenAPI document, and how that is fetched."""

    def prepare(self):
        super().prepare()
        self.publish({'/v1/a': {'get': {}}})

    def publish(self, paths, **more):
        """Have this description on the docs origin, and none in the cache."""
        self.sandbox.openapi = to_bytes(json.dumps(dict({'paths': paths}, **more)))
        self.tag = '"%s"' % hashlib.sha256(self.sandbox.openapi).hexdigest()
        shutil.rmtree(self.path('cache'), ignore_errors=True)

    def api(self, line, **options):
        return self.call('api', *line.split(), **options)

    def parsed(self, line):
        code, out, err = self.api(line)
        self.assertEqual((0, ''), (code, err))
        return json.loads(out)

    def check(self, path, asked, warning='', **options):
        """`api ls` lists this path, and asks with these values of If-None-Match."""
        self.assertEqual(Result(0, 'GET\t%s\t\n' % path, warning), self.api('ls', **options))
        sent = self.sandbox.sent('GET', '/openapi.json')
        self.assertEqual(asked, [each.header('If-None-Match') for each in sent])
        self.sandbox.requests.clear()

    def test_a_pipe_gets_rows_a_terminal_a_table_and_a_program_tags_and_operation_ids(self):
        self.publish({'/v1/users': {'post': {}, 'get': describe('List', 'Users', 'get-users')},
                      '/v1/a\tb\n': {'get': {'summary': ' a\r\nb\tc'}, 'parameters': []}})
        table = ('METHOD  PATH       SUMMARY\nGET     /v1/a b    a b c\n'
                 'GET     /v1/users  List\nPOST    /v1/users  \n')
        plain = 'GET\t/v1/a b\ta b c\nGET\t/v1/users\tList\nPOST\t/v1/users\t\n'
        for line, tty, expected in (
                ('ls', (), plain), ('ls', ('stdout',), table), ('ls --plain', ('stdout',), plain)):
            self.assertEqual(Result(0, expected, ''), self.api(line, tty=tty))
        keys = 'method', 'path', 'summary', 'tags', 'operation_id'
        self.assertEqual([dict(zip(keys, each)) for each in (
            ('GET', '/v1/a\tb\n', 'a b c', [], ''), ('GET', '/v1/users', 'List', ['Users'],
            'get-users'), ('POST', '/v1/users', '', [], ''))], self.parsed('ls --json'))

    @rows([None, CANARY, 'odd one'])
    def test_no_token_is_needed_or_sent(self, token):
        for line in 'ls', 'v1/search --spec', 'v1/search --help', 'v1/search --docs Cookie:a':
            self.publish(OPENAPI['paths'])
            self.assertEqual(0, self.api(line, env={'NOTION_API_TOKEN': token}).code)
        self.assertEqual([['Host', 'User-Agent', 'Accept-Encoding']] * 5, [
            [name for name, _ in each.headers] for each in self.sandbox.requests])

    def test_it_is_asked_about_again_after_a_day(self):
        day = 86400
        for seconds, asked in [(0, [None]), (day - 1, []), (1, [self.tag]), (day - 1, []),
                               (-365 * day, [self.tag])]:  # the clock was set back
            self.clock.wall += seconds
            self.check('/v1/a', asked)
        self.sandbox.openapi = b'{"paths": {"/v1/b": {"get": {}}}}'
        for path, asked in ('/v1/a', []), ('/v1/b', [self.tag]):
            self.check(path, asked)
            self.clock.wall += day

    @rows([(Answer(302), '{url} answered 302 Found.', ''),
           (Answer(200, '{', length=5), 'The connection to {peer} broke off (4 bytes missing).',
            'Try again.')] + [(Answer(200, body), 'The answer is not an OpenAPI document.', '')
                              for body in (b'\xff', '[]', '{"paths": {}}')])
    def test_an_old_copy_serves_when_there_is_no_new_one(self, answer, why, hint):
        why = why.format(url=self.sandbox.origin + '/openapi.json', peer=self.peer)
        self.sandbox.on('GET', '/openapi.json', answer)
        self.assertEqual(self.fails(5, "The API's description cannot be fetched from %s. %s" % (
            self.sandbox.origin, why), hint), self.api('ls'))
        self.check('/v1/a', [None, None])
        self.clock.wall += 86400
        self.sandbox.on('GET', '/openapi.json', answer)
        self.check('/v1/a', [self.tag],
                   "warning: %s An older copy of the API's description is used.\n" % why)
        self.check('/v1/a', [self.tag])  # and then it is renewed
        self.check('/v1/a', [])

    @rows([({}, '/v1/old', [])] + [(changes, '/v1/a', [tag]) for changes, tag in [
        (None, None), ({'origin': 'https://elsewhere.invalid'}, None), ({'document': []}, None),
        ({'checkedAt': None}, '"e"'), ({'checkedAt': 'x'}, '"e"'),
        ({'etag': 5, 'checkedAt': 0}, None), ({'etag': 'a\r\nX: 1', 'checkedAt': 0}, None)]])
    def test_a_damaged_or_foreign_copy_is_replaced(self, changes, path, asked):
        good = {'origin': self.sandbox.origin, 'etag': '"e"', 'checkedAt': int(self.clock.time()),
                'document': {'paths': {'/v1/old': {'get': {}}}}}
        copy = self.write_state('cache/ntn.py-openapi.json',
                                [] if changes is None else dict(good, **changes))
        self.check(path, asked, 'warning: {0} is damaged: it does not hold a JSON object. It was '
                   'moved to {0}.damaged-1767225600.\n'.format(copy) * (changes is None))
        self.check(path, [])

    @rows([(NTN + '/home', ''), (None, ''), ('{home}', '[' * 800 + ']' * 800)])
    def test_it_works_where_nothing_can_be_kept(self, home, deep):
        self.sandbox.openapi = to_bytes('{"paths": {"/v1/a": {"get": {}}}, "x": [%s]}' % deep)
        for _ in range(1 if deep else 2):  # some Pythons can write it
            self.check('/v1/a', [None], env={'NOTION_HOME': home and home.format(home=self.home)})

    HELP = '''\
POST /v1/a/{id}
Do a

Path parameters:
  id                       string   required The ID

Query parameters:
  page_size                integer|null          How many at once

Body fields (path=value, path:=json), as application/json:
  title                    string   required %s
  loop                     any

Documentation: {origin}/reference/a

`ntn api --help` explains options and inputs.
''' % ('x' * 55)

    def test_what_is_shown_is_the_operation_and_all_that_it_reaches_whatever_the_references(self):
        get = {'summary': 'Get a', 'security': [{'basic': []}], 'x': [{'$ref': each} for each in (
            '', '#', '#/', 'x.json#/a/b', '#/components/schemas/Missing', '#/a/b/c/d', '#/paths',
            'https://elsewhere.invalid/x', '#/servers/0', '#/servers/0/url', '#/openapi/x/y',
            '#/paths/~1v1~1a~1{id}/get/x', None, 5, [], {})]}
        post = {'summary': 'Do a', 'x-notion-docs-ref': 'reference/a', 'parameters': [
            {'name': 'page_size', 'in': 'query', 'schema': {'type': ['integer', 'null']},
             'description': 'How  many\nat once'}], 'requestBody': refer('requestBodies/A'), 'x': [
                 refer('schemas/a~1b~0c%20%7Bd%7D'), refer('schemas/Deep/properties/x'),
                 {'$ref': '#/info/contact'}, {'$ref': '#/paths/~1v1~1b/post/requestBody'},
                 {'properties': {'$ref': {}}}]}
        fields = {'title': {'type': 'string', 'description': 'x' * 200}, 'loop': refer('schemas/0')}
        known = {
            'parameters': {'Id': {'name': 'id', 'in': 'path', 'required': True,
                                  'schema': refer('schemas/Id')}},
            'requestBodies': {'A': {'content': {'application/json': {'schema': {
                'required': ['title'], 'properties': fields}}}}},
            'securitySchemes': {name: {'scheme': name} for name in ('bearer', 'basic', 'other')},
            'schemas': dict({str(number): {'items': refer('schemas/%d' % ((number + 1) % 3000))}
                             for number in range(3000)}, **{
                'a/b~c {d}': {}, 'Deep': {'properties': {'x': {}}}, 'Unreached': {},
                'Id': {'type': 'string', 'description': 'The ID'}})}
        base = {'openapi': '3.1.0', 'info': {'contact': {}}, 'servers': [{'url': 'https://x'}]}
        shared = {'servers': [{'url': 'https://y'}], 'parameters': [refer('parameters/Id')]}
        other = {'/v1/b': {'post': {'security': [], 'requestBody': {}}}}
        self.publish(dict(other, **{'/v1/a/{id}': dict(shared, get=get, post=post)}),
                     components=known, security=[{'bearer': []}], tags=[{'name': 'x'}], **base)
        for option, item, paths, reached in [
                ('-Xget', {'get': get}, {}, {'securitySchemes': ['basic'], 'schemas': ['Id']}),
                ('-Xpost', {'post': post}, other, {
                    'securitySchemes': ['bearer'], 'requestBodies': ['A'],
                    'schemas': set(known['schemas']) - {'Unreached'}})]:
            components = {kind: {name: known[kind][name] for name in names}
                          for kind, names in dict(reached, parameters=['Id']).items()}
            paths = dict(paths, **{'/v1/a/{id}': dict(shared, **item)})
            self.assertEqual(dict(base, paths=paths, components=components),
                             self.parsed('v1/a/b --spec ' + option))
        self.assertEqual(dict(base, paths=other), self.parsed('v1/b --spec'))
        text = self.HELP.replace('{origin}', self.sandbox.origin)
        first = text.partition('Query')[0].replace('POST', 'GET').replace('Do', 'Get')
        for option, expected in (' -X POST', text), ('', first + text):
            self.assertEqual(Result(0, expected, ''), self.api('v1/a/b --help' + option))

    @rows(read_rows('''\
{origin}/v1/users/%6de?a=b => /v1/users/me
/v1/users/me/ => /v1/users/me
v1/users/you => /v1/users/{user_id}
v1/users/me/x => /v1/users/{user_id}/x
v1/pages/me => /v1/{kind}/me
v1/a%25b/c => /v1/a%b/{c}
v1/pages/you => /v1/{kind}/{id} takes GET, PATCH. | Choose one, such as -X GET.
v1/one -XGET => /v1/one takes POST. | Choose one, such as -X POST.
v1/nothing => The API has no path /v1/nothing. | `ntn api ls` lists them.
users/me => The API has no path /users/me. | Its paths begin with v1/.'''))
    def test_a_concrete_path_finds_its_template_and_a_literal_segment_wins(self, line, expected):
        paths = ('/v1/users/{user_id} /v1/users/me /v1/{kind}/me /v1/{kind}/{id} '
                 '/v1/users/{user_id}/x /v1/a%b/{c}')
        self.publish(dict({'/v1/one': {'post': {}}}, **dict.fromkeys(
            paths.split(), {'get': {}, 'patch': {}})))
        line = ' '.join(line).replace('{origin}', self.sandbox.origin)
        if '|' not in expected:
            found = self.parsed(line + ' -XGET --spec')
            self.assertEqual({'paths': {expected: {'get': {}}}}, found)
            return
        for option in (' --spec', ' --docs', ' --help')[:2 if line == 'v1/pages/you' else 3]:
            self.assertEqual(self.fails(5, *expected.split(' | ')), self.api(line + option))

    def test_docs_are_fetched_from_below_the_docs_origin_only(self):
        odd = [None, 5, '', '..', '../x', 'a/../b', 'a//b', 'https://elsewhere.invalid', 'a?b',
               'a#b', '@elsewhere.invalid', 'a\r\nb', 'a%2e', 'a b', '\u00e9', 'reference/x']
        self.publish({'/v1/a%d' % number: {'get': {'x-notion-docs-ref': each}}
                      for number, each in enumerate(odd)})
        self.assertEqual(Result(0, '# x\n\nThe documentation of this endpoint.\n', ''),
                         self.api('v1/a15 --docs'))
        for path in ('v1/a%d' % number for number in range(15)):
            self.assertEqual(self.fails(5, 'There is no documentation of GET /%s.' % path),
                             self.api(path + ' --docs'))
            self.assertNotIn('Documentation', self.api(path + ' --help').out)
        self.assertEqual(2, len(self.sandbox.requests))

    def test_without_a_description_help_is_the_general_one_and_says_why(self):
        self.sandbox.stop()
        self.assertEqual(Result(0, self.api('--help').out, (
            "warning: The API's description cannot be fetched from %s. Cannot reach Notion: %s "
            'refuses connections. This is the general help.\n') % (self.sandbox.origin, self.peer)),
            self.api('v1/users/me --help'))

    @rows([None, 1, True, 'x', [], {}, [1], ['a'], [[]], [{}], {'a': 1}] + [
        {'$ref': '#/' + each} for each in ('info', 'components/x', 'components/schemas/Page')])
    def test_whatever_stands_in_a_description_all_can_be_shown(self, odd):
        schema = {'required': odd, 'properties': {'x': odd, 'y': {'type': odd}}}
        for content in odd, {'application/json': odd}, {'application/json': {'schema': schema}}:
            self.publish({'/v1/b': odd, '/v1/a': {'parameters': odd, 'get': odd, 'patch': {
                'parameters': odd, 'tags': odd, 'security': odd, 'summary': odd,
                'operationId': odd, 'requestBody': {'content': content}}}},
                info=odd, servers=odd, components=dict(OPENAPI['components'], x=odd))
            self.parsed('ls --json')
            self.parsed('v1/a -X PATCH --spec')
            self.assertEqual((0, ''), self.api('v1/a -X PATCH --help')[::2])

    def test_all_that_notion_describes_can_be_listed_and_shown(self):
        if not os.environ.get('NTN_TEST_OPENAPI'):
            self.skipTest("NTN_TEST_OPENAPI names no copy of Notion's own OpenAPI document")
        with open(os.environ['NTN_TEST_OPENAPI'], 'rb') as file:
            self.sandbox.openapi = file.read()
        paths = json.loads(to_text(self.sandbox.openapi))['paths']
        operations = sorted((path, method.upper()) for path in paths for method in paths[path]
                            if method in ('get', 'post', 'put', 'patch', 'delete'))
        self.assertGreater(len(operations), 15)
        self.assertEqual(operations, [tuple(line.split('\t')[1::-1])
                                      for line in self.api('ls').out.splitlines()])
        for path, method in operations:
            line = '%s -X %s ' % (re.sub(r'\{\w+\}', WORKSPACE, path), method)
            spec = self.parsed(line + '--spec')
            self.assertEqual(paths[path][method.lower()], spec['paths'][path][method.lower()])
            for kind, name in re.findall('#/components/(.*?)/(.*?)["/]', json.dumps(spec)):
                self.assertIn(name, spec['components'][kind])
            self.assertEqual((0, ''), self.api(line + '--help')[::2])

    @rows([(line, '') for line in 'v1/nothing v1/pages/missing v2/users admin/v1/x odd'.split()] + [
        (line, 'The paths of the API begin with v1/: try v1/' + path) for line, path in [
            ('users/me', 'users/me.'), ('v1x/', 'v1x.'), ('/pages/abc?a=b a=1', 'pages/abc.'),
            ('{origin}/users', 'users.')]])
    def test_a_refusal_teaches_what_is_known_without_the_description(self, line, expected):
        self.sandbox.always('GET', '/odd', Answer.error(400, 'odd', 'No.'))
        code, out, err = self.api(line.replace('{origin}', self.sandbox.origin))
        self.assertEqual((5, '', expected), (code, out, err.partition('  hint: ')[2].rstrip('\n')))
        self.assertEqual([], self.sandbox.sent('GET', '/openapi.json'))

# ---- 9 Commands: doctor --------------------------------------------------------------------------

HEALTHY = '''\
CLI version  ✔ {version}
Python  ✔ {python}
Config directory  ✔ {home}
File modes  ✔ private
Keychain  ✔ works
BOTH  ✔ Acme ({id})
Token source  ✔ {home}/auth.json
Proxy  ✔ none
CA certificates  ✔ 1 certificate
Clock  ✔ correct
API  ✔ {origin} accepts the token
'''
WORDS = {
    'SIGNED OUT': 'NOWHERE\nREACHABLE\nToken source  ✗ Not logged in. | LOG IN',
    'NOWHERE': 'BOTH  ✔ none', 'BOTH': 'Default workspace, Resolved workspace',
    'REACHABLE': 'API  ✔ {origin} is reachable', 'LOG IN': LOG_IN, 'REPAIR': REPAIR,
    'GIVEN': 'Resolved workspace  ✔ the one that NOTION_API_TOKEN belongs to\n'
             'Token source  ✔ NOTION_API_TOKEN',
    'STRANGER': "API  ✗ What answers at {origin} is not Notion's API. | Log in to this network, "
                'or check NOTION_API_BASE_URL.',
    'API  ': 'Public API access  ', 'FAILED': 'Public API request failed',
    ' ID': ' request id: ' + REQUEST_ID, 'CLOCK': "Set this machine's clock: TLS depends on it.",
    'WHAT': 'the server sent text/html instead of a Notion error.',
    'SET IT': 'Set NOTION_HOME to a directory that can be written.',
    'CHECK': "Check NOTION_API_BASE_URL, then Notion's status page."}
# The exit code; what is stored, set and answered; what is found that is not as in HEALTHY.
FINDINGS = '''\
0
4 no files => SIGNED OUT
0 NOTION_API_TOKEN={canary} => GIVEN
0 NOTION_HOME=; NOTION_API_TOKEN={canary} => NOWHERE & GIVEN
    Config directory  - There is no home directory.
4 NOTION_HOME= => SIGNED OUT & Config directory  ✗ There is no home directory. | SET IT
4 NOTION_HOME=/proc/x => SIGNED OUT & Config directory  ✗ /proc/x/cache cannot be written. | SET IT
4 NOTION_ENV=stg => NOWHERE & REACHABLE
    Token source  ✗ Not logged in to the environment stg.
        | Run `ntn login --env stg`, or set NOTION_API_TOKEN.
0 workspaces.json={} => BOTH  ✔ name not known ({id})
0 NOTION_WORKSPACE_ID=Acme; config.json={} => Default workspace  ✔ none
4 NOTION_WORKSPACE_ID=elsewhere => REACHABLE
    Resolved workspace  ✗ NOTION_WORKSPACE_ID is elsewhere, which you are not logged in to.
        | Unset NOTION_WORKSPACE_ID, or run `ntn login`.
    Token source  ✗ No token is stored for workspace elsewhere.
        | Check NOTION_WORKSPACE_ID, or unset it.
1 config.json={"half => REACHABLE
    Keychain, BOTH, Token source  ✗ {home}/config.json is damaged: it is not valid JSON. | REPAIR
1 workspaces.json=[]; auth.json=[] => REACHABLE
    BOTH  ✗ {home}/workspaces.json is damaged: it does not hold a JSON object. | REPAIR
    Token source  ✗ {home}/auth.json is damaged: it does not hold a JSON object. | REPAIR
4 auth.json={}; mode=640 604 => REACHABLE
    Token source  ✗ No token is stored for workspace {id}. | LOG IN
    File modes  ✗ Others can read {home}/auth.json, {home}/cache/pending-login.json.
        | chmod 600 {auth} {pending}
0 mode=700 700
0 SSL_CERT_FILE={dir}/file; SSL_CERT_DIR={dir} => CA certificates  ✔ a directory of certificates
0 date=120
0 date=121 => Clock  ! 2 minutes behind | CLOCK
0 date=-121 => Clock  ! 2 minutes ahead | CLOCK
0 date=-3661 => Clock  ! 1 hour ahead | CLOCK
0 date=360000 => Clock  ! 4 days behind | CLOCK
4 answer=401 unauthorized No. => API  ✗ FAILED: API token is invalid. ID
        | The token came from {home}/auth.json. Run `ntn login` to get a new one.
5 answer=403 a b => API  ✗ Forbidden: FAILED (403 Forbidden a): b ID | Give the token's
        integration the capability to read users, or ask an admin of the workspace.
5 answer=403 <p> => API  ✗ Blocked at the network edge, before the API: FAILED (403 Forbidden):
        WHAT | Try another network, or ask who runs this one to let {origin} through.
5 answer=429 a b => API  ✗ Rate limited: FAILED (429 Too Many Requests a): b ID
        | Wait, then try again.
5 answer=500 a b => API  ✗ Server error: FAILED (500 Internal Server Error a): b ID | CHECK
5 answer=300 <p> => API  ✗ Refused: FAILED (300 Multiple Choices): WHAT | CHECK
5 answer=400 a archived ntn_canary_stored => API  ✗ Refused: FAILED (400 Bad Request a): archived
        [redacted] ID | Since version 2026-03-11 the field is called in_trash: try in_trash:=true.
5 answer=401 <p> => STRANGER
5 answer=200 <p> => STRANGER
5 answer=200 {"object": "list"} => STRANGER
4 no files; answer=401 <p> => SIGNED OUT & STRANGER'''

class DoctorTest(KeychainCase, TlsCase):
    """Each kind of keychain is in room 6; here are its limits, and what it does to other checks."""
    SIGNS = {'✔': 'ok', '!': 'warning', '✗': 'error', '-': 'skipped'}

    def haste(self, limit):
        self.limits.append(limit)
        return 100 if 'hang' in str(self.plan) and limit > 1 else 1

    def prepare(self):
        super().prepare()
        self.home = os.path.join(self.dir, "Ann's home")
        self.env.update(NOTION_API_TOKEN='', NOTION_HOME=self.home, SSL_CERT_FILE=os.path.join(
            self.dir, '127.0.0.1'), SSL_CERT_DIR=os.path.join(self.dir, 'none'))
        self.store_login()
        self.limits = []

    def doctor(self, *argv, env=None, **options):
        return self.call_with(env or {}, 'doctor', *argv, **options)

    def fill(self, text):
        for word, meaning in list(WORDS.items()) + [
                ('{version}', ntn.VERSION), ('{home}', self.home), ('{id}', WORKSPACE),
                ('{python}', '%s, %s' % (sys.version.split()[0], sys.executable)),
                ('{dir}', self.dir), ('{canary}', CANARY), ('{origin}', self.sandbox.origin),
                ('{auth}', shlex.quote(self.path('auth.json'))),  # which can be pasted
                ('{pending}', shlex.quote(self.path(PENDING)))]:
            text = text.replace(word, meaning)
        return text

    def check(self, code, changes='', **variables):
        """Doctor finds all well but for these lines."""
        expected = {}
        text = re.sub('\n {8}', ' ', HEALTHY + changes.replace(' & ', '\n'))
        for line in self.fill(text).splitlines():
            labels, _, finding = line.strip().partition('  ')
            value, _, hint = finding[2:].partition(' | ')
            for each in labels.split(', '):
                expected[each] = each, self.SIGNS[finding[0]], value, hint
        found, out, err = self.doctor('--json', env=variables)
        keys = 'check', 'status', 'value', 'hint'
        self.assertEqual((code, [dict(zip(keys, each)) for each in expected.values()], ''),
                         (found, json.loads(out), err))

    @rows(re.split(r'\n(?=\d)', FINDINGS))
    def test_each_finding(self, row):
        if '/proc/' in row and not os.path.isdir('/proc/self'):
            self.skipTest('there is no /proc here')
        settings, lines = re.split(' => |\n', row + '\n', maxsplit=1)
        variables = {}
        self.sandbox.valid_tokens.add(CANARY)
        self.write('file')
        for each in self.fill(settings[2:]).split('; '):
            name, _, value = each.partition('=')
            if name == 'no files':
                shutil.rmtree(self.home)
            elif name == 'mode':
                os.chmod(self.path('auth.json'), int(value[:3], 8))
                self.write_state(PENDING, {}, int(value[4:], 8))
            elif name == 'date':
                self.sandbox.date_offset = int(value)
            elif name == 'answer':
                status, kind, message = (value + ' ').split(' ', 2)
                self.sandbox.always('GET', '/v1/users/me', Answer.error(
                    int(status), kind, message.strip()) if message else Answer(
                    int(status), kind, content_type='text/html' if kind == '<p>' else 'text/json'))
            elif name.endswith('.json'):
                self.write_state(name, to_bytes(value))
            elif name:
                variables[name] = value
        self.check(int(settings[0]), lines, **variables)
        no_token = re.search('SIGNED OUT|Token source  ✗', lines)
        self.assertEqual([not no_token], [
            'Authorization' in dict(each.headers) for each in self.sandbox.requests])

    @rows([({}, 'Everything works'), ({'NOTION_ENV': 'stg'}, '1 problem, 1 warning'),
           ({'NOTION_HOME': os.devnull + '/x'}, '5 problems, 1 warning')])
    def test_what_programs_are_told_is_shown_in_colour_and_without_symbols_too(self, env, counts):
        self.sandbox.date_offset = 200 * bool(env)
        self.behave(None)
        code, out, err = self.doctor('--json', env=env)
        colours = ' '.join('\x1b[%dm%s\x1b[0m' % each for each in zip((32, 33, 31, 36), '✔!✗-'))
        for signs, options in [('✔ ! ✗ -', {}), ('OK ! X -', {'encoding': 'ascii'}),
                               (colours, {'tty': ('stdout',)})]:
            signs = dict(zip(self.SIGNS.values(), signs.split()))
            text = ''.join('%-20s %s %s\n%s' % (
                each['check'], signs[each['status']], each['value'],
                each['hint'] and '  hint: %s\n' % each['hint']) for each in json.loads(out))
            self.assertEqual(Result(code, '%s\n%s.\n' % (text, counts), ''),
                             self.doctor(env=dict(env, TERM='xterm'), **options))

    def test_silence_everywhere_ends_within_15_s(self):
        self.write_state('auth.json', {})
        self.behave({'*': 'hang'})
        self.sandbox.always('GET', '/v1/users/me', hang(self.sandbox.stopping))
        self.assertLess(5 + ntn.DOCTOR_LIMIT, 15)
        self.limit(DOCTOR_LIMIT=0.1)
        late = 'The keychain did not answer within 5 s. | ' + KEYCHAIN_HINT
        self.check(5, "Keychain  ! %s & Token source  ✗ %s & Clock  - the server's time is not "
                   'known & API  ✗ Cannot reach Notion: %s did not answer in time (0.1 s). | Try '
                   'again later.' % (late, late, self.peer))
        self.assertEqual([5, 0.1], self.limits)  # each was asked once

    def test_a_slow_api_leaves_the_keychain_its_time(self):
        def answer(request, handler):
            self.clock.uptime += 7
            return Answer.json({'object': 'user'})
        self.store_login_in_keychain()
        self.sandbox.always('GET', '/v1/users/me', answer)
        self.check(0, 'Token source  ✔ the keychain')
        self.assertEqual({5, ntn.DOCTOR_LIMIT}, set(self.limits))

# ---- 9 Commands: debug ---------------------------------------------------------------------------

class DebugTest(Case):
    """What is pasted into bug reports."""
    SECTIONS = [
        ('Resolved Environment', '**Environment:** `prod`\n**Login origin:** `{login}`\n'
         '**API origin:** `{api}`\n**Variables set:** {names}'),
        ('Configuration', '**Path:** `{home}/config.json`\n\n{config}'),
        ('Authentication: Tokens', '**NOTION_API_TOKEN:** {given}\n\n'
         '| Environment | Workspace ID | Workspace name | Token |\n|---|---|---|---|{tokens}'),
        ('Workspace Cache', '**Path:** `{home}/workspaces.json`\n\n{workspaces}'),
        ('Cache Files', '**Path:** `{cache}`\n{files}'),
        ('Versions', '- ntn.py {version}\n- Python {python}\n- SHA-256 of ntn.py: {hash}')]

    def prepare(self):
        super().prepare()
        self.enter(mock.patch.dict(sys.modules, keyring=None))  # as if it were not installed
        self.store_login('ntn_canary_globex', OTHER, 'Glo|bex', env='dev')
        self.store_login()
        self.write_state('auth.json', {WORKSPACE: 'ntn_canary_stored', 'stray': 'ntn_canary_stray'})
        self.store_pending()

    def check(self, variables, **places):
        with open(NTN, 'rb') as file:
            places.update(version=ntn.VERSION, hash=hashlib.sha256(file.read()).hexdigest(),
                          python='%s on %s' % (sys.version.split()[0], sys.platform))
        self.assertEqual(Result(0, '\n'.join('## %s\n\n%s\n' % (title, text.format(**places))
                                             for title, text in self.SECTIONS), ''),
                         self.call('debug', env=variables))

    def test_every_section_is_there_and_no_secret_wherever_it_strayed(self):
        self.check(dict(dict.fromkeys(self.env), HOME=self.dir), login='https://www.notion.so',
                   api='https://api.notion.com', home=self.dir + '/.config/notion',
                   cache=self.dir + '/.cache/notion', names='none', given='not set', tokens='',
                   files='', config='Nothing is stored.', workspaces='Nothing is stored.')
        self.addCleanup(shutil.rmtree, self.home)  # before the harness looks for secrets there
        shown = {}
        for name in 'config', 'workspaces':
            value = dict(self.state(name + '.json'), x='ntn_canary_stray')
            self.write_state(name + '.json', value)
            value['x'] = '[redacted]'
            shown[name] = '```json\n%s\n```' % json.dumps(value, indent=2)
        for mode, found, none in ('0', self.path('auth.json'), 'none'), (
                '1', *['The Python package keyring is not installed.'] * 2):
            self.check({'HTTPS_PROXY': 'http://ann:canary@proxy.invalid:3128', 'NOTION_ENV': '',
                        'all_proxy': 'ann:canary@proxy.invalid', 'NOTION_API_TOKEN': CANARY,
                        'NTN_DEBUG': '1', 'AWS_SECRET_ACCESS_KEY': 'x', 'NOTION_KEYRING': mode},
                       login=self.sandbox.origin, api=self.sandbox.origin, home=self.home,
                       cache=self.path('cache'), given='set', files='\n- `pending-login.json`',
                       tokens='\n| prod | {0} | Acme | {2} |\n|  | stray |  | {2} |\n'
                       '| dev | {1} | Glo\\|bex | {3} |'.format(WORKSPACE, OTHER, found, none),
                       names='`HTTPS_PROXY`, `NOTION_API_BASE_URL`, `NOTION_API_DOCS_BASE_URL`, '
                       '`NOTION_API_TOKEN`, `NOTION_BASE_URL`, `NOTION_HOME`, `NOTION_KEYRING`, '
                       '`NTN_DEBUG`, `all_proxy`', **shown)

    @rows(itertools.product(
        [('config.json', {1, 2}), ('workspaces.json', {2, 3}), ('auth.json', {2})],
        [b'{"half', b'{"environments": 1}', b'{"a":' + b'[' * 970 + b']' * 970 + b'}']))
    def test_a_damaged_file_changes_its_own_sections_only(self, place, content):
        name, own = place
        self.env['NOTION_KEYRING'] = ''
        healthy = self.call('debug').out.split('## ')
        self.write_state(name, content)
        found = self.call('debug').out.split('## ')
        self.assertEqual(7, len(found))
        changed = {number - 1 for number in range(1, 7) if found[number] != healthy[number]}
        self.assertLessEqual(changed, own)
        for number in own if content == b'{"half' else ():  # where tokens are depends on each
            self.assertIn('/%s is damaged' % name, found[number + 1])
        if name == 'workspaces.json':  # tokens of which it tells nothing are found all the same
            self.assertIn('\n|  | stray |  | %s/auth.json |' % self.home, found[3])

# ---- 10 Command line -----------------------------------------------------------------------------

VERSION_LINE = 'ntn %s\n' % ntn.VERSION
PYTHON = os.path.realpath(sys.executable)  # and not one of a virtual environment
README = os.path.join(HERE, 'README.md')

class StartUpTest(ApiCase):
    def run_any(self, *argv, cwd='tmp', stdin=SOURCE, env=None):
        """The result of any process, hints as they are; `cwd` is below self.dir."""
        variables = {to_bytes(k): to_bytes(v) for k, v in self.environ(env).items()}
        done = subprocess.run(argv, cwd=os.path.join(self.dir, cwd), env=variables, timeout=30,
                              input=to_bytes(stdin), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.check_clean(to_text(done.stdout + done.stderr))
        return Result(done.returncode, to_text(done.stdout), to_text(done.stderr))

    def test_it_starts_however_it_is_started(self):
        os.symlink(sys.executable, os.path.join(self.tmp, 'python3'))
        nothing_else = dict(dict.fromkeys(self.env), PATH=self.tmp)
        flags = ['-I', '-S', '-OO', '-bb'] + ['-P'] * (sys.version_info >= (3, 11))
        ways = [[sys.executable, flag, NTN] for flag in flags] + [[sys.executable, '-']]
        ways += [[sys.executable, '-B', '-m', 'ntn']] + [[NTN]] * os.path.exists('/usr/bin/env')
        for argv in ways:
            self.assertEqual((0, VERSION_LINE, ''), self.run_any(
                *argv, '--version', cwd=HERE, env=nothing_else), argv)

    @rows([  # the interpreter, the script, PATH; how hints name the program
        (PYTHON, "far/it's ntn.py", 'bin', 'python3 \'far/it\'"\'"\'s ntn.py\''),
        (PYTHON, 'ntn.py', 'other', 'python3 ntn.py'), (PYTHON, '-', 'other', 'ntn'),
        (PYTHON, 'ntn.py', 'nothing', shlex.quote(PYTHON) + ' ntn.py'),
        (PYTHON, 'ntn.py', 'bin', 'ntn'),
        ('venv/bin/python3', 'ntn.py', 'venv/bin', 'python3 ntn.py'),
        # Out of a virtual environment that is not activated, another python3 may have no keyring.
        ('venv/bin/python3', 'ntn.py', 'other', '<place>/venv/bin/python3 ntn.py')])
    def test_the_command_that_is_named_can_be_typed_here_and_runs_no_stray_module(
            self, python, script, path, command):
        place = tempfile.mkdtemp(dir=self.tmp)
        files = {'ntn.py': SOURCE, "far/it's ntn.py": SOURCE, 'other/python3': '',
                 'venv/pyvenv.cfg': 'home = %s\n' % os.path.dirname(PYTHON)}
        strays = itertools.product(('', 'far/'), 'json re os typing difflib http argparse'.split())
        files.update(('%s%s.py' % each, 'raise SystemExit("a stray module")\n') for each in strays)
        for name, content in files.items():
            self.write(os.path.join(place, name), content, 0o755)
        for name in 'bin', 'venv/bin':
            os.makedirs(os.path.join(place, name))
            os.symlink(PYTHON, os.path.join(place, name, 'python3'))
        os.symlink(os.path.join(place, 'ntn.py'), os.path.join(place, 'bin', 'ntn'))
        run = functools.partial(self.run_any, cwd=place, env={
            'PATH': os.path.join(place, path), 'NOTION_API_TOKEN': None})
        start, command = [os.path.join(place, python), script], command.replace('<place>', place)
        self.assertEqual(self.fails(2, "There is no command 'logni'.", 'Did you mean `%s login`?'
                                    % command), run(*start, 'logni'))
        told = json.loads(run(*start, 'login', '--json').out)['poll_command']
        self.assertEqual(command + ' login poll', told)
        self.sandbox.approve()
        if 'bin' in path and command != 'ntn':  # which needs a program called env
            self.assertEqual(0, run(*shlex.split(told)).code)

    def test_an_old_python_says_what_is_needed(self):
        # It stops at the first line that it cannot parse, and prints it.
        start, line = re.match(r'((?:.*\n)*?)(PYTHON: .*)\n', SOURCE).groups()
        self.assertRegex(start + line, r'\A[\0-\x7f]*"3\.6" +# or newer .*python3 ntn\.py')
        self.assertEqual(['Expr', 'Import', 'AnnAssign'],
                         [type(each).__name__ for each in ast.parse(SOURCE).body[:3]])
        for path in filter(None, map(shutil.which, ('python2.7', 'python3.5'))):
            code, _, err = self.run_any(path, NTN, '--version')
            self.assertIn((code, line in err), [(1, True), (127, False)])  # pyenv's, if it has none

    CALLER = '''
import contextlib, copy, io, os, pickle, signal, sys
sys.path.insert(0, %r)
def look():
    return (os.umask(0o22), list(sys.path), dict(os.environ), os.listdir('.'), sys.stdout,
            sys.excepthook, signal.getsignal(signal.SIGINT))
os.umask(0o22)
before = look()
import ntn
for line in '--version', '--help', 'login --help', '':
    with contextlib.redirect_stdout(io.StringIO()):
        assert ntn.main(line.split()) == 0
heavy = set('asyncio http.client keyring logging socket ssl subprocess tempfile '
            'urllib.request webbrowser'.split()).intersection(sys.modules)
assert not heavy, 'it loads what it does not need: %%s' %% heavy
response = copy.copy(pickle.loads(pickle.dumps(ntn.request('GET', 'v1/x'))))
assert (response.status, response.json()) == (200, [])
assert len(list(ntn.paginate('POST', 'v1/search'))) == 3
try:
    ntn.request('GET', 'v1/pages/missing')
except ntn.CliError as error:
    assert look() == before, 'it has side effects'
    sys.exit(40 + error.code)
''' % HERE

    def test_to_import_and_use_it_loads_little_and_changes_and_prints_nothing(self):
        self.sandbox.on('GET', '/v1/x', Answer(503, '', [('Retry-After', '0')]), Answer(200, '[]'))
        # -S: what a site's own hooks import is not ours.
        self.assertEqual((45, '', ''), self.run_any(sys.executable, '-S', '-c', self.CALLER))
        self.assertFalse(os.path.exists(self.home))

    @rows(['C', 'C.UTF-8'])
    def test_non_ascii_arguments_are_utf_8_in_every_locale(self, locale):
        argv = ['api', 'v1/pages/é', '-X', 'PATCH', 'ü=✔', 'q==ñ', 'X-A:ß']
        self.assertEqual((0, ''), self.ntn(*argv, env={'LC_ALL': locale})[::2])
        sent, = self.sandbox.requests
        self.assertEqual(('/v1/pages/%C3%A9?q=%C3%B1', '{"ü":"✔"}', 'ß'.encode('utf-8')), (
            sent.target, to_text(sent.body), sent.header('X-A').encode('latin-1')))

class CommandLineTest(ApiCase):
    BANNER = ('ntn.py %s: Notion from a terminal\n\n  ntn login              log in\n'
              '  ntn api v1/users/me    call the API\n  ntn --help             all commands\n')

    @rows([('', BANNER % ntn.VERSION)] + [(line, VERSION_LINE) for line in (
        '-V', '--version', '-V login', 'api v1/users/me -V', '-Vv', '-hV')])
    def test_alone_it_shows_a_banner_and_its_version_with_anything(self, line, expected):
        code, out, err = self.call(*line.split())
        self.assertEqual((0, expected, '', []), (
            code, out.replace(ntn.own_command(), 'ntn'), err, self.sandbox.requests))
        self.assertRegex(ntn.VERSION, r'\A\d+\.\d+\.\d+\Z')

    @rows([(line, 'PUT', '') for line in (
        '-XPUT', '-X=PUT', '-X put', '--method PUT', '--method=PUT', '-ivXPUT', '-XPUT --',
        '-vv -i -v -i -XPUT', '--env=prod -XPUT --timeout=5',
        '-XGET --method PUT --env=dev --env prod')] + [  # the last one counts
        ('--no-retry --no-retry', 'GET', ''), ('q==-X', 'GET', ''), ('-d@-', 'POST', '[0]'),
        ('-d-1', 'POST', '-1'), ('-d=-1', 'POST', '-1'), ('--data=-1', 'POST', '-1'),
        ('--data={"a":"=b"}', 'POST', '{"a":"=b"}'), ('-iv -- a=--', 'POST', '{"a":"--"}'),
        ('-- -X=1', 'POST', '{"-X":"1"}'), ('a:=-5 -5=b -XPUT', 'PUT', '{"a":-5,"-5":"b"}')])
    def test_options_can_be_spelled_in_many_ways(self, line, method, body):
        self.sandbox.always(method, '/v1/x', Answer(204))
        stdin = b'[0]' if '@' in line else b''
        code, out, err = self.call('api', 'v1/x', *line.split(), stdin=stdin)
        sent, = self.sandbox.requests
        self.assertEqual((method, body, 0), (sent.method, to_text(sent.body), code))
        self.assertEqual(('i' in line.split('X')[0], '-v' in line or '-iv' in line),
                         (out.startswith('HTTP/1.1 204 '), err.startswith('> ')))

    def test_options_and_inputs_and_words_mix_in_any_order(self):
        words = [('api',), ('v1/pages/p1',), ('in_trash:=true',)]
        results = set()
        for order in itertools.permutations(words + [('-X', 'PATCH'), ('--env=prod',), ('-iv',)]):
            if [each for each in order if each in words] == words:
                code, out, err = self.call(*sum(order, ()))
                results.add((code, out[:16], err[:8], self.sandbox.requests.pop().body))
        self.assertEqual({(0, 'HTTP/1.1 200 OK\n', '> PATCH ', b'{"in_trash":true}')}, results)
        self.assertEqual((0, CANARY + '\n', ''), self.call(
            '--env', 'prod', 'auth', '--plain', 'token', secrets_ok=True))

    COMMANDS = {  # with the options of each, besides those of all
        '': '', 'login': '--no-browser --workspace --json', 'login poll': '--no-wait --json',
        'logout': '--workspace', 'whoami': '--json --plain --notion-version', 'auth': '',
        'auth token': '--json --plain', 'doctor': '--json', 'debug': '', 'api ls': '--json --plain',
        'api': '-X --method -d --data --file -i --include --paginate --timeout --no-retry --spec '
               '--docs --notion-version'}

    @rows(sorted(COMMANDS.items()))
    def test_help_is_found_everywhere_and_fits_and_tells_usage_purpose_and_options(
            self, command, own):
        expected = self.call(*command.split(), '--help')
        text = expected.out.replace(ntn.own_command(), 'ntn')
        for line in '%s -h', '-h %s', '--help %s', '%s --env dev -vh':
            self.assertEqual(expected, self.call(*(line % command).split()))
        for name in 'NOTION_ENV', 'NOTION_KEYRING', 'NOTION_API_VERSION', 'NOTION_BASE_URL':
            self.assertEqual(expected, self.call(*command.split(), '-h', env={name: ' bad'}))
            self.assertEqual(0, self.call(env={name: ' bad'}).code)
        if command in ('auth', 'api'):
            self.assertEqual(expected, self.call(command))
        self.assertEqual((0, ''), (expected.code, expected.err))
        self.assertEqual(([], {}), (self.sandbox.requests, self.tree()))
        self.assertEqual([], re.findall('.{86,}|.* $', text, re.M))
        self.assertRegex(text, r'\A[\n -~]+[^\n]\n\Z')  # no encoding can fail to show it
        self.assertRegex(text, r'\Ausage: ntn %s.*\n(.+\n)?\n[A-Z].*[^.]\n\n' % command)
        options = own + ' -v --verbose --env -h --help -V --version'
        self.assertEqual(sorted(options.split()), sorted(re.findall(
            r'-[\w-]+', ' '.join(re.findall(r'^ +(-.*?)(?:  |$)', text, re.M)))))

    def test_help_names_every_command_and_variable_and_exit_code(self):
        head, commands, variables, codes = re.split(
            '\n\n(?=commands:|environment variables:|exit codes:)', self.call('--help').out)
        self.assertIn('\n\nNotion login and authenticated Notion API calls from a terminal\n', head)
        listed = re.findall(r'^  ([a-z][a-z ]*?)  ', commands, re.M)
        self.assertEqual(sorted(self.COMMANDS), sorted(listed + ['']))
        self.assertEqual(
            'NOTION_API_TOKEN NOTION_WORKSPACE_ID NOTION_KEYRING NOTION_HOME NOTION_ENV '
            'NOTION_API_VERSION NOTION_BASE_URL NOTION_API_BASE_URL NOTION_API_DOCS_BASE_URL '
            'NTN_DEBUG XDG_CONFIG_HOME XDG_CACHE_HOME HOME NO_COLOR TERM BROWSER DISPLAY '
            'WAYLAND_DISPLAY SSH_CONNECTION SSL_CERT_FILE HTTP_PROXY HTTPS_PROXY ALL_PROXY '
            'NO_PROXY'.split(), re.findall(r'\b[A-Z_]{4,}\b', variables))
        self.assertEqual('0 1 2 4 5 8 130'.split(), re.findall(r'\d+', codes))

    def test_every_example_shown_anywhere_works_in_zsh_too(self):
        self.store_login()
        texts = [self.call(*each.split(), '--help').out for each in self.COMMANDS]
        text = '\n'.join([ntn.__doc__, to_text(self.read(README))] + texts).replace('\\\n', ' ')
        examples = set(re.findall(r'^ +(?:\$ )?(.* \| |)(?:ntn|python3 (?:-m ntn|ntn\.py)) +(.*)',
                                  text.replace(ntn.own_command(), 'ntn'), re.M))
        self.assertLess(12, len(examples))
        for piped, example in sorted(examples):
            line = re.split(r' [|>] | {2,}', example)[0]
            # What zsh takes for a pattern is quoted.
            self.assertNotRegex(re.sub(r'"[^"]*"|\'[^\']*\'', '', line), r'[][*?]')
            line = re.sub(r'--file \S+', '--file ' + shlex.quote(NTN), line)
            line, _, source = line.partition(' < ')
            if not line.startswith('log'):  # login waits for somebody, logout ends the rest
                result = self.call(*shlex.split(line), secrets_ok=line.startswith('auth'),
                                   stdin=b'{"query": "a"}' if piped or source else b'')
                self.assertEqual((0, ''), (result.code, result.err), line)

    def test_the_output_that_the_readme_shows_is_what_is_printed(self):
        shown = re.search(r'\n    \$ python3 ntn.py login\n((?:    .*\n|\n)+?)\n    \$ ',
                          to_text(self.read(README))).group(1)
        home = os.path.dirname(self.write('ann/x'))
        terminal = self.terminal('login', env={'HOME': home, 'NOTION_HOME': None, 'NO_COLOR': '1',
                                               'BROWSER': 'true', 'NOTION_API_TOKEN': None})
        terminal.expect('DP9-QL5')
        self.sandbox.approve()
        self.assertEqual(0, terminal.wait())
        output = re.sub(r'\r[^\r\n]*\x1b\[K', '', terminal.output)  # the line that counts down
        self.assertEqual(re.sub('(?m)^    ', '', shown), output.replace(
            self.sandbox.origin, 'https://app.notion.com').replace(home, '/home/ann'))

class EndingTest(ApiCase):
    def check_clean(self, text, secrets_ok=False):
        debug = self.env.get('NTN_DEBUG') == '1'
        super().check_clean(text.replace('Traceback', '') if debug else text, secrets_ok)

    @rows([(ValueError('\x1b[2J ' + CANARY), None), (OSError(28, CANARY), ''), (MemoryError(), '0'),
           (type('Odd', (Exception,), {'__str__': None})(), None), (ValueError(CANARY), '1')])
    def test_an_unforeseen_error_is_one_line_and_a_traceback_only_on_request(self, error, debug):
        self.env['NTN_DEBUG'] = debug
        self.sandbox.always('GET', '/v1/x', Answer.error(429, 'c', 'm', [('Retry-After', '1')]))
        self.clock.sleep = mock.Mock(side_effect=error)
        code, out, err = self.call('api', 'v1/x')
        said = self.fails(1, 'Internal error (%s): this is a bug in ntn.py.' % type(error).__name__,
                          'Run it with NTN_DEBUG=1 to see where it happened.').err
        trace = (r'Traceback \(most recent call last\):\n  File "(?s:.*)\nValueError: .redacted.\n'
                 if debug == '1' else '')
        self.assertEqual((1, ''), (code, out))
        self.assertRegex(err, r'\A.* Trying again .*\n%s%s\Z' % (trace, re.escape(said)))

    @rows(itertools.product(
        ['whoami', 'doctor', 'api v1/users/me', 'api v1/users/me --timeout 20', 'api ls', 'login',
         'login poll --no-wait'], [b'', head('Content-Length: 9') + b'{']))
    def test_ctrl_c_during_any_request_is_130(self, line, start):
        def interrupt(request, handler):
            handler.wfile.write(start)
            while True:  # until it is heard: Python loses one that comes just before a system call
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                if select.select([handler.connection], [], [], 1)[0]:
                    return cut()
        self.store_login()
        self.store_pending()
        for path in '/v1/users/me', '/openapi.json', INIT, REDEEM:
            self.sandbox.on('POST' if path in (INIT, REDEEM) else 'GET', path, interrupt)
        err = 'The login is still pending: run `ntn login poll` to finish it.\n' * ('poll' in line)
        self.assertEqual((130, err), self.call(*line.split(), env={'NOTION_API_TOKEN': None})[::2])

    def test_ctrl_c_on_a_terminal_kills_the_process_on_a_line_of_its_own(self):
        self.sandbox.on('GET', '/v1/x', hang(threading.Event()))
        terminal = self.terminal('api', 'v1/x')
        terminal.until(lambda: self.sandbox.requests, 'no request came', 10)
        terminal.send('\x03')
        self.assertEqual((-signal.SIGINT, '^C\n'), (terminal.wait(), terminal.output))

    def test_ctrl_c_before_the_program_has_begun_kills_it_silently(self):
        self.write('tmp/json.py', 'import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n')
        self.assertEqual((-signal.SIGINT, '', ''), self.ntn('whoami', env={'PYTHONPATH': self.tmp}))

    DONE = {'closed': 'os.close({})', 'full': 'os.dup2(os.open("/dev/full", os.O_WRONLY), {})',
            'unread': 'source, sink = os.pipe(); os.dup2(sink, {}); os.close(source)',
            'written': 'os.dup2(os.open("/dev/null", os.O_WRONLY), {})',  # so does nohup
            'ignored': 'signal.signal(signal.SIGINT, signal.SIG_IGN)'}

    def after(self, how, streams='0'):
        """A prefix for `spawn`: ntn.py begins after this was done."""
        done = [self.DONE[how].format(each) for each in streams]
        return [sys.executable, '-I', '-S', '-c', '\n'.join(
            ['import os, signal, sys', *done, 'os.execv(sys.argv[1], sys.argv[1:])'])]

    def test_where_ctrl_c_is_ignored_it_stays_so(self):  # as in a background job of a shell
        def answer(request, handler):
            started.wait(10)
            process.send_signal(signal.SIGINT)
            return Answer(200, '{}')
        self.sandbox.on('GET', '/v1/x', answer)
        started = threading.Event()
        process = self.spawn('api', 'v1/x', prefix=self.after('ignored'), stdin=subprocess.DEVNULL)
        started.set()
        self.assertEqual((b'{}\n', b''), process.communicate(timeout=30))

    @rows([  # what is done to which streams; commands; the code and what is said
        ('closed', '1', '--version, api v1/users/me, whoami', 1,
         'error: Standard output is closed, so the result has nowhere to go.\n'),
        ('full', '1', '--version, api v1/users/me, whoami', 1,
         'error: Cannot write to standard output: No space left on device.\n'),
        ('closed', '2', 'xyzzy', 2, ''), ('full', '2', 'xyzzy', 2, ''),
        ('closed', '0', 'api v1/users/me', 0, ''), ('closed', '2', 'api v1/users/me', 0, ''),
        ('closed', '012', 'api v1/users/me', 1, ''), ('written', '0', 'api v1/users/me', 0, ''),
        ('unread', '1', '--help, api v1/users/me, whoami, auth token, debug, doctor, api ls', 0,
         '')])
    def test_streams_that_are_closed_or_full_or_that_nobody_reads(
            self, how, streams, lines, code, said):
        if how == 'full' and not os.path.exists('/dev/full'):
            self.skipTest('there is no /dev/full here')
        self.store_login()
        for line in lines.split(', '):
            result = self.ntn(*line.split(), stdin=None, prefix=self.after(how, streams))
            self.assertEqual((code, code == 0 and how != 'unread', said),
                             (result.code, bool(result.out), result.err), line)

class PythonTest(ApiCase):
    """`import ntn`, and what it offers. Whatever happens, nothing is printed."""

    def prepare(self):
        super().prepare()
        self.patch(time, 'sleep', self.clock.sleep)
        self.store_login()

    def python(self, function, env=None):
        """What the function returns, or all that the CliError says that it raises."""
        printed = io.StringIO()
        with mock.patch.dict(os.environ, self.environ(env), clear=True), \
                contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                return function()
            except ntn.CliError as error:
                self.assertEqual(error.message, str(error))
                return (error.message, error.hint, error.code, error.status, error.api_code,
                        error.request_id, error.body)
            finally:
                self.assertEqual('', printed.getvalue())

    def request(self, method='POST', path='v1/x', env=None, **options):
        return self.python(lambda: ntn.request(method, path, **options), env)

    def paginate(self, method='POST', path='v1/x', env=None, **options):
        return self.python(lambda: list(ntn.paginate(method, path, **options)), env)

    @rows([(['api', 'v1/x'], 0, '{"a": "é"}\n', ''),
           (['logni'], 2, '', "error: There is no command 'logni'.\n")])
    def test_main_writes_where_python_code_wants_it(self, argv, *expected):
        self.sandbox.on('GET', '/v1/x', Answer(200, '{"a": "é"}'))
        with mock.patch.dict(os.environ, self.environ(None), clear=True), \
                contextlib.redirect_stdout(io.StringIO()) as out, \
                contextlib.redirect_stderr(io.StringIO()) as err:
            code = ntn.main(argv)
        self.assertEqual(expected, (code, out.getvalue(), err.getvalue().partition('  hint')[0]))

    def test_a_response_has_status_headers_body_and_json(self):
        self.sandbox.on('POST', '/v1/x', Answer(200, 'no JSON'), Answer(
            201, ' {"a": 1.5}', [('X-A', '1'), ('x-a', '2')], encoding='gzip'))
        self.assertEqual(('The answer is not JSON (200 OK).', '', 5, *[None] * 4),
                         self.python(self.request().json))
        response = self.request()
        self.assertEqual(
            (201, b' {"a": 1.5}', {'a': 1.5}, ['1', '2'], 'application/json',
             '<Response 201 application/json, 11 bytes>'),
            (response.status, response.body, response.json(), response.headers.get_all('X-A'),
             response.headers['content-type'], repr(response)))
        for answer in Answer(201, 'ok', [('Location', '/v1/x/1')]), Answer(304), Answer(399):
            self.sandbox.on('POST', '/v1/x', answer)  # neither redirect nor refusal
            self.assertEqual(answer.status, self.request().status)

    @rows([
        (Answer.error(401, 'unauthorized', 'x'),
         'Public API request failed: API token is invalid.\n  request id: ' + REQUEST_ID,
         'The token came from the `token` argument. Set it to a valid one.', 4,
         401, 'unauthorized', REQUEST_ID),
        (Answer(300, 'a', [('Location', 'https://elsewhere.invalid/x')]),
         'Public API request failed (300 Multiple Choices): it is redirected to '
         'https://elsewhere.invalid, and no redirect is followed.',
         'Check NOTION_API_BASE_URL.', 5, 300, None, None),
        (Answer(400, '{}'), 'Public API request failed (400 Bad Request): {}', '', 5, 400,
         None, None)])
    def test_an_error_tells_all_that_the_api_said(self, answer, *said):
        self.sandbox.on('POST', '/v1/x', answer)
        self.assertEqual((*said, answer.body), self.request(token='ntn_x'))
        self.sandbox.on('POST', '/v1/x', cut())
        self.assertEqual((5, None, None, None, None), self.request()[2:])

    @rows([  # what is given; what is sent: method, query, body, token, version
        (dict(method='get', path='/v1/x', query=[('b', '1 &'), ('a', 'é'), ('b', '')]),
         'GET', '?b=1%20%26&a=%C3%A9&b='), (dict(method='DELETE', timeout=5), 'DELETE'),
        (dict(path='v1/x?a=b', query={'c': 5, 'd': True}), 'POST', '?a=b&c=5&d=true'),
        (dict(query=(['id', 5], ['on', 1.5])), 'POST', '?id=5&on=1.5'),
        (dict(method='PATCH', body={}), 'PATCH', '', b'{}'),
        (dict(body=False), 'POST', '', b'false'),
        (dict(body={'a': [None, 'é']}), 'POST', '', b'{"a": [null, "\\u00e9"]}'),
        (dict(body=b'{"a" : 1.10}'), 'POST', '', b'{"a" : 1.10}'),
        (dict(env={'NOTION_API_TOKEN': None}), 'POST', '', b'', 'ntn_canary_stored'),
        (dict(token='ntn_canary_stored'), 'POST', '', b'', 'ntn_canary_stored'),
        # With one of its own no token is looked up, as on the command line.
        (dict(env={'NOTION_API_TOKEN': None, 'NOTION_HOME': '/dev/null/none'}, headers=[
            ('notion-version', '2025-09-03'), ('Authorization', 'Bearer x')]),
         'POST', '', b'', 'x', '2025-09-03')])
    def test_what_is_given_is_what_is_sent(self, options, method, query='', body=b'', token=CANARY,
                                           version='2026-03-11'):
        self.sandbox.on(method, '/v1/x', Answer(200, 'done'))
        self.assertEqual(b'done', self.request(**options).body)
        sent, = self.sandbox.requests
        self.assertEqual(
            (method, '/v1/x' + query, body, 'Bearer ' + token, version,
             'application/json' if body else None,
             str(len(body)) if body or method == 'POST' else None),
            (sent.method, sent.target, sent.body, *map(sent.header, (
                'Authorization', 'Notion-Version', 'Content-Type', 'Content-Length'))))

    @rows([(code, {name: value}) for code, name, *values in [
        (5, 'headers', [('X-A', 'a\r\nX-B: 1')], {'Content-Length': 1}),
        (5, 'path', 'v1/../x', 'https://elsewhere.invalid/v1/x'), (5, 'query', {'a': '\udcff'}),
        (4, 'token', 'ntn_x\r\nX-B: 1', ''),
        (4, 'env', {'NOTION_API_TOKEN': None, 'NOTION_WORKSPACE_ID': 'x'}),
        (1, 'body', object(), float('nan')), (2, 'method', 'GET /v1/y HTTP/1.1\r\nX:', None),
        (2, 'path', None, b'v1/x'), (2, 'token', b'x'), (2, 'headers', 5, [('a', 'b', 'c')]),
        (2, 'query', None, ['id'], [('a', None)], [('a', b'x')], [(1, 'x')]),
        (2, 'timeout', None, 0, '5', float('nan'))] for value in values])
    def test_what_cannot_be_sent_is_refused(self, code, options):
        self.sandbox.always('POST', '/v1/x', Answer(200))
        for function in self.request, self.paginate:
            message, _, *rest = function(**options)
            self.assertEqual([code, None, None, None, None], rest, message)
            self.assertNotRegex(message, 'Cannot reach|request failed')
        self.assertEqual(([], []), (self.sandbox.requests, self.clock.sleeps))

    def test_paginate_gives_the_results_of_all_pages(self):
        self.sandbox.results = [{'n': number, 'f': 1.5, 'l': [None, 'é']} for number in range(250)]
        for args, body in ((['GET', 'v1/blocks/x/children'], None), (['post', 'v1/search'], None),
                           (['POST', 'v1/search'], b'{"page_size": 50}')):
            self.sandbox.requests.clear()
            self.assertEqual(self.sandbox.results, self.paginate(
                *args, body=body, query={'a': 'b'}, headers={'X-A': '1'}))
            (_, *sent), = {(each.connection, ('a', 'b') in each.query, each.header('X-A'))
                           for each in self.sandbox.requests}
            self.assertEqual([True, '1'], sent)

    def test_paginate_asks_no_sooner_than_it_must_tries_again_and_lets_go_when_closed(self):
        def consume():
            first = ntn.paginate('POST', 'v1/x')
            self.assertEqual([], self.sandbox.requests)
            next(first)
            first.close()
            for result in ntn.paginate('POST', 'v1/x'):
                given.append((result, len(self.sandbox.requests)))
        given = []
        self.sandbox.on(
            'POST', '/v1/x', page([0], 'b'), page([1, 2], 'c'),
            Answer(429, '', [('Retry-After', '2')]), page([3], 'd'), Answer.error(400, 'c', 'm'))
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            hint = self.python(consume)[1]
        self.assertEqual(([(1, 2), (2, 2), (3, 4)], [2]), (given, self.clock.sleeps))
        self.assertIn('`start_cursor=d`', hint)
        for code, body in (1, b'{'), (1, b'\xff'), (5, b'[1]'):  # no object, no pages
            self.assertEqual(code, self.paginate(body=body)[2])

# ---- The sandbox ---------------------------------------------------------------------------------

class SandboxTest(Case):
    def ask(self, method, url, body=None, version='2026-03-11'):
        """(status, text) of the answer to a request that is not ntn.py's."""
        self.sandbox.valid_tokens.add(CANARY)
        host = urllib.parse.urlsplit(url).netloc or self.peer
        with contextlib.closing(http.client.HTTPConnection(host)) as connection:
            connection.request(method, url, body, {'Notion-Version': version,
                                                   'Authorization': 'Bearer ' + CANARY})
            response = connection.getresponse()
            return response.status, response.read().decode('utf-8')

    def look(self, url, form=None):
        """(status, heading, buttons, page) that a browser gets."""
        status, text = self.ask('POST' if form else 'GET', url, form)
        self.assertNotRegex(text, r'<script|@import|url\(|(src|href)="(?!data:,)')
        buttons = re.findall('<button name="decision" value="(.*?)">', text)
        return (status, *re.findall('<h1>(.*)</h1>', text), buttons, text)

    @rows([signal.SIGINT, signal.SIGTERM])
    def test_the_command_serves_until_a_signal_and_leaves_nothing(self, number):
        process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), 'sandbox'], env=self.environ({}),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(reap, process)
        lines = [to_text(process.stdout.readline()) for _ in range(5)]
        env = dict(re.match(r'export (\w+)=(\S+)\n\Z', line).groups() for line in lines)
        url = json.loads(self.ntn('login', '--no-browser', '--json', env=env).out)['url']
        self.assertEqual((200, '✔ Approved', []), self.look(url, 'decision=approve')[:3])
        self.assertEqual(0, self.ntn('login', 'poll', env=env).code)
        for code, line in ((0, 'v1/search query=roadmap'), (5, 'v1/pages/missing'),
                           (5, 'v1/errors/503 --no-retry'), (5, 'v1/rate-limited --no-retry')):
            self.assertEqual(code, self.ntn('api', *line.split(), env=env).code)
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        self.assertEqual((0, '', SANDBOX_HELP % ' '.join(env) + '\n\n'),
                         (process.returncode, to_text(out), to_text(err)))
        self.assertEqual([], os.listdir(self.tmp))

    @rows([  # what was done there, what is shown then, with which buttons and which words
        ('', 'Log in to ntn.py?', ['approve', 'deny'], 'Globex &amp; &lt;b&gt;</select>'),
        ('decision=approve&workspace=2', '✔ Approved', [], '<b>Globex &amp; &lt;b&gt;</b>'),
        ('decision=deny', 'Denied', [], 'ntn.py gets no access'),
        ('wait', 'Too late', [], 'has expired')])
    def test_the_page_asks_once_and_says_what_became_of_it(self, step, heading, buttons, words):
        self.sandbox.workspaces.append(('2', 'Globex & <b>'))
        url = json.loads(self.call('login', '--no-browser', '--json').out)['url']
        if step == 'wait':
            self.clock.sleep(600)
        elif step:
            self.assertEqual((200, heading, buttons), self.look(url, step)[:3])
        found = self.look(url)
        self.assertEqual((200, heading, buttons), found[:3])
        self.assertIn(words, found[3])
        if not buttons:  # a second decision is none
            self.assertEqual((409, *found[1:]), self.look(url, 'decision=approve'))
        unknown = self.look(url.partition('=')[0] + '=%3Cb%3E', 'decision=approve')
        self.assertEqual((404, 'Unknown code', []), unknown[:3])
        self.assertIn('the code &lt;b&gt;.', unknown[3])

    @rows([('GET', 'errors/abc', None, 'path.status'),
           ('GET', 'blocks/x/children?page_size=a', None, 'query.page_size'),
           ('GET', 'blocks/x/children?start_cursor=a', None, 'query.start_cursor'),
           ('POST', 'search', {'page_size': 101}, 'body.page_size'),
           ('POST', 'search', {'query': []}, 'body.query'),
           ('POST', 'search', {'filter': {}}, 'body.filter.property'),
           ('PATCH', 'pages/x', {'archived': True}, 'body.archived')])
    def test_it_refuses_what_notion_refuses(self, method, path, body, where):
        status, text = self.ask(method, '/v1/' + path, body and json.dumps(body))
        error = json.loads(text)
        self.assertEqual((400, 'validation_error'), (status, error['code']))
        self.assertTrue(error['message'].startswith('%s failed validation: %s should be ' % (
            where.partition('.')[0], where)), error)

    def test_it_keeps_and_finds_what_it_is_given(self):
        def api(method, path, version='2026-03-11', **fields):
            return json.loads(self.ask(method, '/v1/' + path, json.dumps(fields), version)[1])

        def titles(**fields):
            answer = api('POST', 'search', **fields)
            return [*map(self.sandbox.find_title, answer['results']), answer['next_cursor']]
        self.assertEqual(['Roadmap', 'cursor-1'], titles(query='ROAD', page_size=1))
        self.assertEqual(['Roadmap of last year', None],
                         titles(query='ROAD', page_size=1, start_cursor='cursor-1'))
        page = api('POST', 'pages', children=[{'divider': {}}],
                   properties={'title': [{'text': {'content': 'Plan'}}]})
        blocks = 'blocks/%s/children' % page['id']
        added = api('PATCH', blocks, children=[{'paragraph': {}}] * 2)['results']
        listed = api('GET', blocks + '?page_size=100')['results']
        self.assertEqual((['divider', 'paragraph', 'paragraph'], added, ['Plan', None]), (
            [each['type'] for each in listed], listed[1:], titles(query='plan')))
        changed = api('PATCH', 'pages/' + page['id'], '2025-09-03', archived=True)
        self.assertEqual((dict(page, in_trash=True), [None]), (changed, titles(query='plan')))

# ---- Fuzz ----------------------------------------------------------------------------------------
#
# Cases are drawn by chance and held against what DESIGN says of them. A case is a line: its kind,
# and what it consists of. Those that once found something stand in Fuzz.FOUND.

GAP = type('Gap', (), {'__repr__': lambda self: 'None'})()  # nothing is there: null, if it stays so
INPUT = re.compile(r'((?:\[[^\]]*\]|[^\[:=])*)(:=|==|:|=)(.*)', re.DOTALL)
BODY_PATH = re.compile(r'(\[[^\]]*\]|[^][.]+)(\[[^\]]*\]|\.[^][.]+|(?<=\])[^][.]+)*')
HEADER = re.compile(r"(?!(host|content-length|transfer-encoding):)[a-z0-9!#$%&'*+.^_`|~-]+:"
                    r'[\t -~\x80-\U0010ffff]*', re.IGNORECASE)

def read_json(text):
    """Its value, in which a number is ('number', TEXT); ValueError if it is not JSON."""
    def keep(number):
        return 'number', number
    return json.loads(text, parse_int=keep, parse_float=keep, parse_constant=int)  # int() refuses

def read_inputs(inputs):
    """DESIGN 9 as read by someone who has not seen ntn.py: (headers, query, body or GAP), or None
    if it allows no such inputs."""
    headers, query, body = [], [], GAP
    try:
        for text in inputs:
            to_bytes(text).decode('utf-8')
            match = INPUT.fullmatch(text)
            name, separator, value = match.groups() if match else ('', '', '')
            if separator == ':' and HEADER.fullmatch(name + ':' + value.strip(' \t')):
                headers.append((name, value.strip(' \t')))
            elif separator == '==' and name:
                query.append((name, value))
            elif separator in ('=', ':=') and BODY_PATH.fullmatch(name):
                path = [a or b for a, b in re.findall(r'\[([^\]]*)\]|([^][.]+)', name)]
                body = put(body, path, value if separator == '=' else read_json(value))
            else:
                return None
    except ValueError:
        return None
    return headers, query, body

def put(node, path, value):
    """The node, with this value where the path leads; '' in a path appends."""
    if not path:
        return value
    key, is_index = path[0], re.fullmatch('[0-9]*', path[0])
    if node is GAP:
        node = [] if is_index else {}
    if not isinstance(node, list if is_index else dict):
        raise ValueError('it goes through something else')
    if is_index:
        key = int(key) if key else len(node)
        if key > 9999 and path[0]:
            raise ValueError('the index is too large')
        node.extend([GAP] * (key + 1 - len(node)))
    node[key] = put(node[key] if is_index else node.get(key, GAP), path[1:], value)
    return node

def change(chance, data, pieces):
    """The text or the bytes, with some of these pieces in it, or with its own elsewhere."""
    for _ in range(chance.choice([1, 1, 2, 3])):
        at, source = chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)
        piece = chance.choice([data[:0], data[source:source + chance.choice([1, 9, 60])]] + pieces)
        data = data[:at] + piece + data[at + chance.choice([0, 1, len(piece), 20]):]
    return data

def change_value(chance, value):
    """The JSON value, with an odd one somewhere in it, as a key or as a value."""
    if not value or not isinstance(value, dict) or chance.random() < 0.2:
        return chance.choice([None, True, 0, -1, 1.5, 1e300, 10 ** 30, '', 'é\x1b\n', '\ud800',
                              '../x', [], {}, [{}], {'': 1}, 'Acme', 'pending', WORKSPACE])
    key = chance.choice(list(value))
    if chance.random() < 0.2:
        return {'é.\n' if each == key else each: value[each] for each in value}
    return dict(value, **{key: change_value(chance, value[key])})

class Fuzz(ApiCase):
    FOUND = [
        ('inputs', 'a[2]=1', 'a[0].b:=1.10', 'a[][]=2', 'q[=]==', 'X-A: \t1\t'),
        ('sent', 'Authorization:\xa0'),
        ('answer', 'api v1/x --paginate',
         b'HTTP/1.1 200 OK\r\n\r\n{"results": [], "next_cursor": "\\ud800"}'),
        ('state', 'logout', b'[' * 9999, None, b'{"another": "ntn_canary_other"}', None)]
    COUNTS = {'inputs': 3000, 'sent': 100, 'url': 3000, 'answer': 80, 'cut': 60, 'state': 80}

    @rows(FOUND)
    def test_what_was_found_once(self, kind, *case):
        self.assertIsNone(self.problem(kind, case))

    @rows(sorted(COUNTS))
    def test_what_chance_draws(self, kind):
        self.try_cases(kind, self.COUNTS[kind], time.time())

    def try_cases(self, kind, count, seed):
        chance = random.Random('%s %s' % (kind, seed))
        for _ in range(count):
            case = getattr(self, 'draw_' + kind)(chance)
            problem = self.problem(kind, case)
            if problem:
                case = self.shrink(kind, case)
                self.fail('with seed %s, a row for Fuzz.FOUND:\n        %r,\n%s' % (
                    seed, (kind,) + case, self.problem(kind, case) or problem))

    def problem(self, kind, case):
        """What is wrong with a case, or None."""
        self.sandbox.reset()
        self.prepare()
        self.sandbox.valid_tokens.add('ntn_canary_stored')
        try:
            getattr(self, 'check_' + kind)(*case)
            self.check_sandbox()
        except Exception as error:  # whatever it is
            return '%s: %s' % (type(error).__name__, error)
        finally:
            self.sandbox.__dict__.pop('choose_answer', None)
            shutil.rmtree(self.home, ignore_errors=True)
        return None

    def shrink(self, kind, case):
        """A case with a problem, too, of which hardly anything can be left out."""
        for number in reversed(range(kind in ('answer', 'state'), len(case))):  # a command stays
            before, after = case[:number], case[number + 1:]
            width = 0 if kind == 'cut' else len(case[number] or '')  # less of a cut one is whole
            while width:
                for at in reversed(range(0, len(case[number]), width)):
                    part = case[number][:at] + case[number][at + width:]
                    if self.problem(kind, before + (part,) + after):
                        case = before + (part,) + after
                width //= 2
            if kind in ('inputs', 'sent') and self.problem(kind, before + after):
                case = before + after
        return case

    # Inputs: the arguments after PATH. `sent` is the same, all the way to the server.

    STARTS = 'a a a a b b b [b] é 0 [0] [] .a X-A'.split()
    STEPS = ('.a|.b|[b]|[b]|[0]|.0|[1]|[007]|[99]|[]|[]|[Due: x]|[v1.0]|[:=]|[٣]|[ ]|.²|c|[10000]'
             ).split('|')
    ENDS = ('= =x =x == ==é ===x =:=1 =[x] :=1 :=1.10 :=-0e9 :=1e999 :=null :=true :=[1] '
            ':={"a":2} :=[{"b":[]}] :={} :="\\ud800" :="\x7f" := :=[ :=NaN :=-Infinity :=01 :x'
            ).split()
    NAMES = "X-A x-a Authorization accept Notion-Version Host Content-Length !#$%&'*+-^_`|~".split()
    VALUES = 'x|y|z|a b|\t| |:|=|é|\xa0|\u3000|\x85||\x7f|\n'.split('|')
    ODD = list('ab01.:=" \t-{}[],\\é漢\0\n\x1b\udcff')

    def draw_inputs(self, chance):
        def draw_input():
            steps = chance.choices(self.STEPS, k=chance.choice([0, 1, 1, 2]))
            text = chance.choice(self.STARTS) + ''.join(steps) + chance.choice(self.ENDS)
            if chance.random() < 0.2:
                text = chance.choice(self.NAMES) + ':' + chance.choice(self.VALUES) * 2
            return change(chance, text, self.ODD) if chance.random() < 0.1 else text
        return tuple(draw_input() for _ in range(chance.randrange(1, 4)))

    draw_sent = draw_inputs

    def check_inputs(self, *inputs):
        try:
            headers, query, body = parse_inputs(*inputs)
        except ntn.CliError as error:
            self.assertEqual((5, None), (error.code, read_inputs(inputs)))
        else:
            body = GAP if body is None else read_json(body)
            self.assertEqual(repr(read_inputs(inputs)), repr((headers, query, body)))

    def check_sent(self, *inputs):
        inputs = [text for text in inputs if not text.startswith('-')]
        self.sandbox.choose_answer = lambda request: Answer()
        result, meant = self.call('api', 'v1/x', *inputs, stdin=None), read_inputs(inputs)
        if meant is None:
            self.assertEqual((5, []), (result.code, self.sandbox.requests))
            return
        self.assertEqual((0, 1), (result.code, len(self.sandbox.requests)), result)
        request, (headers, query, body) = self.sandbox.requests[0], meant
        names = {name.lower() for name, _ in headers}
        self.assertEqual(  # an empty header takes the default of its name away, as in curl
            [(name, to_bytes(value).decode('latin-1')) for name, value in headers if value],
            [(name, value) for name, value in request.headers if name.lower() in names])
        sent = read_json(to_text(request.body)) if request.body else GAP
        self.assertEqual(repr(('GET' if body is GAP else 'POST', query, body)),
                         repr((request.method, request.query, sent)))

    # URLs: a path

    PIECES = ('v1 users me / / // .. . \\ %2e %2E %2f %5c %0a %7F %zz % %25 ? # @ : ; & = é ．． '
              'https:// HTTPS://api.notion.com http://api.notion.com api.notion.com '
              'https://api.notion.com/ :443 :80 :x .evil [::1] ann:pw@ \x7f \u3000 \udcff '
              ).split(' ') + list(' \n\t\0')

    def draw_url(self, chance):
        return ''.join(chance.choices(self.PIECES, k=chance.randrange(1, 8))),

    def check_url(self, path):
        """It is at the API's origin and means the same, or it is refused for a reason."""
        decode = urllib.parse.unquote_to_bytes
        is_address = re.match('[a-z][a-z0-9+.-]*://', path, re.IGNORECASE)
        own = re.match('https://api[.]notion[.]com(:443|:)?(?=[/?#]|$)', path, re.IGNORECASE)
        where, _, query = path[own.end() if own else 0:].lstrip('/').partition('?')
        bad = not where or is_address and not own or re.search(
            '[\0-\x1f\x7f\ud800-\udfff]', path) or re.search(
                br'[\0-\x1f\x7f\\]|(^|/)[.][.](/|$)', decode(to_bytes(where)))
        try:
            url = ntn.build_url('https://api.notion.com', path, [])
        except ntn.CliError as error:
            self.assertEqual(5, error.code)
            self.assertTrue(bad or is_address and re.search(r'[\s\\]', path), error.message)
        else:
            self.assertFalse(bad, url)
            self.assertRegex(url, r'\Ahttps://api[.]notion[.]com/[!-"$-~]*\Z')
            sent = url[len('https://api.notion.com/'):].partition('?')
            self.assertEqual([decode(to_bytes(where)), decode(to_bytes(query))],
                             [decode(sent[0]), decode(sent[2])])

    # Answers: a command and the bytes that it gets, or bytes that were cut

    CALLS = ('api v1/x', 'api v1/x -iv', 'api v1/x --paginate', 'api v1/x --paginate -X POST',
             'api ls', 'api v1/users/me --help', 'api v1/users/me --spec', 'api v1/users/me --docs',
             'whoami', 'doctor --json', 'login --no-browser', 'login poll --no-wait')
    BODY = {  # what each of them asks for
        'sessionId': 'session', 'verificationCode': 'DP9-QL5', 'expiresAt': 4e9, 'code': 'a_code',
        'browserUrl': 'https://www.notion.so/x', 'status': 'confirmed', 'spaceId': WORKSPACE,
        'spaceName': 'Acme', 'token': 'ntn_some_token', 'results': [{'id': 'é'}, 1.10],
        'next_cursor': None, 'id': 'b', 'name': 'CLI', 'type': 'bot', 'bot': {
            'workspace_id': WORKSPACE, 'owner': {'type': 'user', 'user': {
                'id': 'a', 'name': 'Ann', 'type': 'person', 'person': {'email': 'ann@x.example'}}}},
        'paths': {'/v1/users/me': {'get': describe('Who am I?', 'Users', 'get-self')}}}
    FORMS = [{}, {'chunked': 9}, {'encoding': 'gzip'}, {'encoding': 'gzip', 'chunked': 40}] * 2 + [
        {'status': status, 'headers': [('Retry-After', '1'), ('Location', 'https://x.example/y')]}
        for status in (302, 307, 400, 401, 403, 404, 429, 500)]
    WIRE = (b'\r\n|\n|\r|\0|:| |;|,|-|\xff|\x1f\x8b\x08|\r\n\r\n|+1|0x9|0|99999999999999999999'
            b'|null|[]|{}|"|1e999|\\ud800|\xc3|-5\r\n|0\r\n\r\n|FFFFFFFFFFFFFFFF\r\n').split(b'|')
    WIRE += [line + b'\r\n' for line in (
        b'HTTP/9 200 X|HTTP/1.0 200 X|HTTP/1.1 204 X|HTTP/1.1 100 X\r\n|Content-Length: 3'
        b'|Content-Length: 99|Transfer-Encoding: chunked|Content-Encoding: gzip|Retry-After: \xb2'
        b'|Content-Type: text/html; charset=\xff|Date: x|Location: //[|X-A: a\r\n b').split(b'|')]

    def draw_whole(self, chance, body):
        handler = mock.Mock(wfile=io.BytesIO(), sandbox=mock.Mock(date_header=lambda: []))
        Answer(body=json.dumps(body), **chance.choice(self.FORMS))(mock.Mock(method='GET'), handler)
        return handler.wfile.getvalue()

    def draw_answer(self, chance):
        data = self.draw_whole(chance, change_value(chance, self.BODY))
        return chance.choice(self.CALLS), (
            change(chance, data, self.WIRE) if chance.random() < 0.5 else data)

    def check_answer(self, command, data):
        self.sandbox.choose_answer = lambda request: raw(data)
        self.store_pending()
        self.check_end(self.call(*command.split()))

    def draw_cut(self, chance):
        data = self.draw_whole(chance, self.BODY)
        return data[:chance.randrange(len(data) - 5)],  # a chunked one is over before its last 5

    def check_cut(self, data):
        self.sandbox.choose_answer = lambda request: raw(data)
        self.assertIn(self.call('api', 'v1/x', '--no-retry').code,
                      (4, 5) if b' 401' in data else (5,))

    def check_end(self, result):
        fault = re.search(r'Unexpected \w*|Internal error.*|$', result.out + result.err).group()
        self.assertEqual(('', True), (fault, result.code in (0, 1, 2, 4, 5, 8)), result)

    # States: a command, and what is in the four files; None if one is not there

    RUNS = ('whoami', 'auth token', 'debug', 'doctor --json', 'logout', 'logout --workspace Acme',
            'login poll --no-wait')
    FILES = dict(zip(STATE, [
        {WORKSPACE: 'ntn_canary_stored', 'another': 'ntn_canary_other', 'odd': [1]},
        {'version': '1', 'keyring': False, 'defaultWorkspaceIds': {'prod': WORKSPACE}},
        {'version': '1', 'x': [1], 'environments': {
            'prod': {WORKSPACE: {'id': WORKSPACE, 'name': 'Acme'}}}},
        {'sessionId': 'sess-canary-1', 'issuedAt': 1767225600, 'expiresAt': 1767226200,
         'environment': 'prod', 'url': 'https://www.notion.so/x', 'code': 'DP9-QL5'}]))
    TEXT = b'{|}|[|]|"|:|,|\\|\0|\xff|\n|NaN|null|1e999|{}|\\ud800'.split(b'|')

    def draw_state(self, chance):
        def draw_file(value):
            value = change_value(chance, value) if chance.random() < 0.5 else value
            data = to_bytes(json.dumps(value))
            return chance.choice([data] * 6 + [None, change(chance, data, self.TEXT)])
        return (chance.choice(self.RUNS), *map(draw_file, self.FILES.values()))

    def check_state(self, command, *contents):
        """No damaged file is overwritten, no token is lost, and what only reads changes nothing."""
        session = Session(1, NOW + 600)
        self.sandbox.sessions = [session]
        self.sandbox.approve()
        before = {name: data for name, data in zip(STATE, contents) if data is not None}
        for name, data in before.items():
            self.write_state(name, data)
        self.check_end(self.call(*command.split(), env={'NOTION_API_TOKEN': None},
                                 secrets_ok=command == 'auth token'))
        after = {name: self.read(name) for name in self.tree() if os.path.isfile(self.path(name))}
        if not command.startswith('log'):
            self.assertEqual(before, {name: after[name] for name in after if name in before})
        for name, data in before.items():
            try:
                value = json.loads(data.decode('utf-8'))
            except (ValueError, RecursionError):
                value = None
            if not isinstance(value, dict):  # a login that must go on moves it aside
                self.assertIn(data, after.values() if 'poll' in command else [after.get(name)])
            elif name == 'auth.json':
                kept = json.loads(after[name].decode('utf-8'))
                for key in set(value) & {'another', 'odd'}:
                    self.assertEqual(repr(value[key]), repr(kept.get(key, GAP)), key)
        if session.state == 'used':
            self.assertIn(to_bytes(session.token), after['auth.json'])

@contextlib.contextmanager
def set_up(case):
    case.setUp()
    try:
        yield case
    finally:
        case.doCleanups()

def fuzz(seconds, seed=None):
    """The command `fuzz`: draw cases for so long; 1 if something was found."""
    seed = int(time.time()) if seed is None else seed
    end, found = time.monotonic() + seconds, collections.Counter()
    print('seed %d' % seed, flush=True)
    with set_up(Fuzz()) as case:
        while time.monotonic() < end:
            for kind, count in sorted(Fuzz.COUNTS.items()):
                try:
                    found[kind] += count // 10
                    case.try_cases(kind, count // 10, '%d.%d' % (seed, found[kind]))
                except AssertionError as error:
                    found['problems'] += 1
                    print(error, flush=True)
    print(', '.join('%d %s' % (count, kind) for kind, count in sorted(found.items())))
    return 1 if found['problems'] else 0

# ---- Bench ---------------------------------------------------------------------------------------

# The kernel counts what a process had before exec as its own, so that what is measured is started
# by a small process: it prints status, seconds, and the peak of the memory in KiB (bytes on macOS).
MEASURE = ('import os, sys, time\n'
           'start = time.perf_counter()\n'
           'child = os.fork()\n'
           'if not child:\n'
           '    os.dup2(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_TRUNC), 1)\n'
           '    os.execv(sys.argv[2], sys.argv[2:])\n'
           '_, status, usage = os.wait4(child, 0)\n'
           'print(status, time.perf_counter() - start, usage.ru_maxrss)\n')

class MeasuringCase(TlsCase):
    def measure(self, *arguments, output=os.devnull):
        """(seconds, MiB at its peak) of a Python with these arguments."""
        out = subprocess.check_output(
            [PYTHON, '-I', '-S', '-c', MEASURE, output, PYTHON] + list(arguments), cwd=self.dir,
            stdin=subprocess.DEVNULL, env=self.environ({'PYTHONWARNINGS': None}))
        status, seconds, peak = map(float, out.split())
        self.assertEqual(0, status, arguments)
        return seconds, peak / (1 << 20 if sys.platform == 'darwin' else 1 << 10)

    def offer(self):
        """Have what is large in the sandbox and in `sparse`."""
        def stream(*lines):
            return lambda request, handler: drip(itertools.chain(
                [head(*lines)], itertools.repeat(b'x' * 65536, 2400)))
        compressor = zlib.compressobj(wbits=31)
        data = [compressor.compress(bytes(1 << 20)) for _ in range(150)] + [compressor.flush()]
        self.sandbox.always('GET', '/v1/large', stream('Content-Length: %d' % (150 << 20)))
        self.sandbox.always('GET', '/v1/unannounced', stream('X-A: 1'))
        self.sandbox.always('GET', '/v1/zipped', Answer(200, b''.join(data), [(
            'Content-Encoding', 'gzip')], content_type='text/plain'))
        self.sandbox.results = [{'number': number, 'x': 'x' * 1000} for number in range(20000)]
        os.truncate(self.write('sparse'), 100 << 20)

class Memory(MeasuringCase):
    """Large answers, uploads and lists take no more memory than a small request."""

    def setUp(self):
        if not os.environ.get('NTN_TEST_MEMORY'):
            self.skipTest('peak memory, with hundreds of megabytes, only with NTN_TEST_MEMORY=1')
        super().setUp()

    @rows([('v1/large', 150 << 20), ('v1/unannounced', 150 << 20), ('v1/zipped', 150 << 20),
           ('v1/search -X POST --paginate', 20468890),
           ('v1/file_uploads/x/send --file sparse', 88)])
    def test_8_mib_more_than_for_a_small_request_are_enough(self, line, size):
        self.offer()
        output = os.path.join(self.dir, 'output')
        _, small = self.measure(NTN, 'api', 'v1/users/me')
        _, peak = self.measure(NTN, 'api', *line.split(), output=output)
        self.assertEqual(size, os.path.getsize(output))
        self.assertLess(peak - small, 8)

class Bench(MeasuringCase):
    """ntn.py beside bare scripts that do as much, on the same interpreter."""
    BARE_GET = ('import os, sys, urllib.request\n'
                'for _ in range(int(sys.argv[1])):\n'
                '    with urllib.request.urlopen(urllib.request.Request(\n'
                '            os.environ["NOTION_API_BASE_URL"] + "/v1/users/me", headers={\n'
                '                "Authorization": "Bearer " + os.environ["NOTION_API_TOKEN"],\n'
                '                "Notion-Version": "2026-03-11"})) as response:\n'
                '        sys.stdout.buffer.write(response.read())\n')

    def compare(self, times, *runs):
        """Print the medians of so many interleaved runs, beside those of the first command."""
        measured = [[self.measure(*line.split()) for _, line in runs] for _ in range(times)]
        medians = [[sorted(values)[times // 2] for values in zip(*each)] for each in zip(*measured)]
        for (name, _), (seconds, peak) in zip(runs, medians):
            print('%-28s %8.1f ms %6.2f times %8.1f MiB %+6.1f MiB' % (
                name, seconds * 1000, seconds / medians[0][0], peak, peak - medians[0][1]))
        print(flush=True)

    def compare_all(self):
        self.offer()
        self.write('start.py', 'import argparse, json\n')
        self.write('get.py', self.BARE_GET)
        shutil.copy(NTN, self.dir)
        subprocess.check_call([PYTHON, '-m', 'compileall', '-q', self.dir])  # for -m ntn
        bare = 'bare GET', 'get.py 1'
        self.compare(20, ('bare argparse and json', 'start.py'), ('--version', 'ntn.py -V'))
        self.compare(20, bare, ('api GET as a file', 'ntn.py api v1/users/me'),
                     ('api GET as a module', '-m ntn api v1/users/me'))
        self.compare(3, bare, ('an answer of 150 MiB', 'ntn.py api v1/large'), (
            'an upload of 100 MiB', 'ntn.py api v1/file_uploads/x/send --file sparse'))
        self.env.update(self.serve_tls())
        self.compare(3, ('200 bare GETs by https', 'get.py 200'),
                     ('200 pages by https', 'ntn.py api v1/search -X POST --paginate'))

def bench():
    """The command `bench`."""
    print('Python %s; medians of interleaved runs' % sys.version.split()[0])
    with set_up(Bench()) as case:
        case.compare_all()
    return 0

# ---- Runner --------------------------------------------------------------------------------------

SUITE_LIMIT = 600  # seconds

def occupy_standard_streams():
    """Open what was closed of the descriptors 0 to 2, lest a socket or a terminal get one."""
    descriptor = 0
    while descriptor <= 2:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)

def find_tests():
    """All tests, by CLASS.test_method."""
    tests, found = {}, [unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])]
    for each in found:
        if isinstance(each, unittest.TestSuite):
            found.extend(each)
        else:
            tests[each.id().partition('.')[2]] = each
    return tests

def run_tests(tests):
    """How many passed, how many failed, and why others were skipped, as a list of the reasons."""
    faulthandler.dump_traceback_later(SUITE_LIMIT, exit=True)  # a suite that hangs shows where
    result = unittest.TextTestRunner(verbosity=0).run(unittest.TestSuite(tests))
    faulthandler.cancel_dump_traceback_later()
    every = {test.id() for test in tests}

    def concerned(test):
        """The tests that an entry of unittest's lists stands for: one, that of a row, a class's."""
        name = getattr(test, 'test_case', test).id()
        prefix = re.sub(r'\A\w+Class \((.*)\)\Z', r'\1.', name)
        return {name} if prefix == name else {each for each in every if each.startswith(prefix)}
    failed = set().union(*(concerned(test) for test, _ in result.failures + result.errors),
                         *map(concerned, result.unexpectedSuccesses))
    skipped = {name: why for test, why in result.skipped for name in concerned(test) - failed}
    return len(every) - len(failed) - len(skipped), len(failed), list(skipped.values())

def run_in_parts():
    """Run all tests in twice as many processes as there are processors, for they often wait."""
    parts = 2 * min(os.cpu_count() or 1, 4)
    flags = [flag for option in sys.warnoptions for flag in ('-W', option)]
    processes = [subprocess.Popen(
        [sys.executable] + flags + [os.path.abspath(__file__), '--part', str(part), str(parts)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for part in range(parts)]
    passed, failed, skipped = 0, 0, []
    for process in processes:
        try:
            counts = json.loads(to_text(process.communicate()[0]))
        except ValueError:  # it did not come to its end, and has said why
            counts = 0, 1, []
        passed, failed, skipped = passed + counts[0], failed + counts[1], skipped + counts[2]
    return passed, failed, skipped

def report(passed, failed, skipped):
    """The last line is the count; the status is 0 only if some tests ran and none failed."""
    sys.stderr.flush()  # before 3.9 it would come after
    for reason, count in sorted(collections.Counter(skipped).items()):
        print('skipped: %s (%d)' % (reason, count))
    print('%d passed, %d failed, %d skipped' % (passed, failed, len(skipped)), flush=True)
    return 0 if passed and not failed else 1

def main(argv):
    parser = argparse.ArgumentParser(description='Run the tests of ntn.py, or something else.')
    parser.add_argument('names', nargs='*', metavar='NAME', help='of a test class, or CLASS.test; '
                        "or 'sandbox', 'fuzz' or 'bench'; default: all tests")
    parser.add_argument('--port', type=int, default=0, help='of the sandbox; default: a free one')
    parser.add_argument('--seconds', type=float, default=60, help='that fuzz takes; default: 60')
    parser.add_argument('--seed', type=int, help='of fuzz; default: by the clock')
    parser.add_argument('--part', type=int, nargs=2, help=argparse.SUPPRESS)  # for run_in_parts
    options = parser.parse_args(argv)
    occupy_standard_streams()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has it ignored
    commands = {'sandbox': lambda: serve_sandbox(options.port), 'bench': bench,
                'fuzz': lambda: fuzz(options.seconds, options.seed)}
    if len(options.names) == 1 and options.names[0] in commands:
        return commands[options.names[0]]()
    tests = find_tests()
    if options.part:
        print(json.dumps(run_tests(list(tests.values())[options.part[0]::options.part[1]])))
        return 0
    known = set(tests).union(name.partition('.')[0] for name in tests)
    for name in options.names:
        if name not in known:
            nearest = difflib.get_close_matches(name, known.union(commands), 1, 0)[0]
            parser.error('no test is called %s; did you mean %s?' % (name, nearest))
    chosen = [tests[name] for name in tests if {name, name.partition('.')[0]} & {*options.names}]
    return report(*(run_tests(chosen) if chosen else run_in_parts()))

if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
