#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# /// script
# requires-python = ">=3.6"
# dependencies = []
# ///
"""ntn.py: Notion login and authenticated Notion API calls from a terminal, in one file.

    python3 ntn.py login                                log in with a browser
    python3 ntn.py login --no-browser                   ... in two steps, without one here
    python3 ntn.py api v1/users/me                      call the API with the stored token
    python3 ntn.py api v1/pages/ID -X PATCH in_trash:=true

It needs Python 3.6 or newer and its standard library; `keyring` is used if it is installed. It
shares files, keychain entries and protocol with the official `ntn` client. MIT licence.
Home: whoever publishes this file writes its address here.

The rooms, each of which uses only itself and those above it:
     1 Constants        names, limits and addresses
     2 Errors           what went wrong, what to do, with which exit code
     3 Settings         flags, then environment variables, then defaults
     4 Console          streams, clock, redaction; JSON with exact numbers; calls with a time limit
     5 HTTP             connections, proxies, TLS, answers
     6 State            files, lock and keychain, and what is kept in them
     7 Login            the protocol, and the waiting
     8 Request inputs   the language of `ntn api`'s arguments, URLs, standard input
     9 Commands         what each command does, beside its options
    10 Command line     arguments in, exit code out; what Python code may call

Promises, each held by a test:
  - One door per effect: connections are opened in `open_connection`, state is read and written in
    `read_file` and `write_file`, environment variables come from `Console.environ`, output leaves
    by `Console.emit`, `keyring` is imported in `load_keyring`, a browser starts in `open_browser`.
  - A token goes to the API origin and nowhere else, and no redirect is followed with it. It is
    printed by `auth token` alone: not in messages, not by -v, not in a traceback.
  - Nothing on disk is half-written, and no damaged file is overwritten.

An auditor's questions, and what to search for: where the token is sent, `Bearer`; who can read it,
`0o600`; what is written where, `write_file` and `STATE_FILES`; what Ctrl-C does,
`KeyboardInterrupt`; how a command is added, `COMMANDS`; exit codes, `EXIT_OK`.
"""
import sys

PYTHON: str = "3.6"  # or newer is what ntn.py needs: start it with python3, as python3 ntn.py
# An older Python stops at the line above, whose syntax it does not know, and prints it. From here
# on 3.6 is the floor: no walrus, no positional-only parameters, no dataclasses, typing.NamedTuple.

if __name__ == "__main__":
    import signal  # Ctrl-C while this file is loading: die of it, without a traceback
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        del sys.path[0]  # the script's own directory: a json.py downloaded beside it must not run

import json
import os
import re
import time
from contextlib import closing, contextmanager, suppress
from functools import lru_cache, partial
from typing import (Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional,
                    Sequence, Set, TextIO, Tuple, TypeVar, Union, cast)
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit

__all__ = ["main", "request", "paginate", "CliError"]  # what may be imported and relied on

# ---- 1 Constants --------------------------------------------------------------------------------

VERSION = "2.0.0"
NOTION_VERSION = "2026-03-11"  # never looked up: what a script sends must not change by itself
EXIT_OK, EXIT_LOCAL, EXIT_USAGE, EXIT_AUTH, EXIT_API = 0, 1, 2, 4, 5
EXIT_PENDING, EXIT_INTERRUPTED = 8, 130

ENVIRONMENTS = {  # name: (login origin, API origin)
    "prod": ("https://www.notion.so", "https://api.notion.com"),
    "stg": ("https://stg.notion.so", "https://api-stg.notion.com"),
    "dev": ("https://dev.notion.so", "https://api-dev.notion.com"),
    "local": ("http://localhost:3000", "https://api-dev.notion.com"),
}
DOCS_ORIGIN = "https://developers.notion.com"
ORIGIN_VARIABLES = ("NOTION_BASE_URL", "NOTION_API_BASE_URL", "NOTION_API_DOCS_BASE_URL")
LOGIN_HOSTS = ("notion.so", "notion.com")                   # these, and hosts below them
BROWSER_HOSTS = ("notion.so", "notion.com", "notion.site")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")

CONFIG, WORKSPACES, AUTH = "config.json", "workspaces.json", "auth.json"
PENDING, SPECIFICATION = "pending-login.json", "ntn.py-openapi.json"
STATE_FILES = {CONFIG: "config", WORKSPACES: "config", AUTH: "config",  # in which directory
               PENDING: "cache", SPECIFICATION: "cache"}
SECRET_FILES = (AUTH, PENDING)

IDLE_TIMEOUT = 60.0   # seconds without any progress
CALL_LIMIT = 30.0     # seconds for one call of login and whoami as a whole
DOCTOR_LIMIT = 8.0    # seconds for doctor's call of the API
KEYCHAIN_LIMIT = 5.0  # seconds for one call of the keychain; in doctor, for all of them
UNLOCK_LIMIT = 60.0   # the same where somebody is there to unlock it
STDIN_SILENCE = 10.0  # seconds after which a silent pipe is taken for a forgotten one
NOTICE_AFTER = 2.0    # seconds before a line says what is waited for
LOCK_LIMIT = 10.0     # seconds to wait for another ntn that is writing
TRIES = 3             # of a request that may be repeated
RETRY_LIMIT = 60.0    # seconds to spend waiting between them
POLL_PAUSE, POLL_PAUSE_LIMIT = 2.0, 10.0  # seconds between polls; the most while there is trouble
LOGIN_LIFETIME = 600  # seconds, where the server does not say
SPEC_LIFETIME = 86400  # seconds before the cached API description is asked about again
LOGIN_SIZE = 1 << 20  # bytes of a login answer, at most
BODY_SIZE = 64 << 20  # bytes of any other answer that is read as a whole, at most
CHUNK = 65536         # bytes

USER_AGENT = "ntn.py/%s Python/%d.%d" % ((VERSION,) + sys.version_info[:2])
TOKEN = r"[\x21-\x7e]+"
# What has the shape of a token is redacted too, whoever it belongs to; also development_ntn_...
TOKEN_SHAPE = r"(?<![A-Za-z0-9])(ntn|secret|adm|nrt)_[A-Za-z0-9]{16,}"
WORKSPACE_ID = r"[A-Za-z0-9-]{1,64}"
VERIFICATION_CODE = r"(?=.{1,32}\Z)[A-Z0-9]+(-[A-Z0-9]+)*"
# Controls but tab and newline, what reorders text, lone surrogates: none may reach a terminal raw.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
                         "\ud800-\udfff]")
SECRET_FIELD = r'("(?:token|sessionId)"\s*:\s*")(?:[^"\\]|\\.)*'
SECRET_HEADERS = {"authorization", "proxy-authorization", "cookie", "set-cookie"}

Json = Any
Pairs = List[Tuple[str, str]]
Result = TypeVar("Result")

# ---- 2 Errors -----------------------------------------------------------------------------------

class CliError(Exception):
    """An expected failure: `message` for people, `hint` what to do, `code` to exit with.

    Where the API answered, `status`, `api_code` (such as "object_not_found"), `request_id` and
    `body` (bytes) say what; else they are None.
    """

    code = EXIT_LOCAL
    status: Optional[int] = None
    api_code: Optional[str] = None
    request_id: Optional[str] = None
    body: Optional[bytes] = None

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint

class UsageError(CliError):
    """A word on the command line or in a variable that the program cannot take."""
    code = EXIT_USAGE

class AuthError(CliError):
    """No token, a refused token, or a login that has ended without one."""
    code = EXIT_AUTH

class ApiError(CliError):
    """The API refused, or what was to be sent to it cannot be sent."""
    code = EXIT_API

class NetworkError(ApiError):
    """No answer, half of one, or one that says nothing but to try again later."""
    pause: float = 0  # seconds that the server asks to wait

class BrokenConnection(NetworkError):
    """The other side hung up: what can be repeated may work the next time."""

class DamagedFile(CliError):
    """A state file that is there but cannot be understood: never overwritten, never ignored."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__("%s is damaged: %s." % (path, problem),
                         "Repair it, or move it away and run `ntn login` again.")

def reason(error: BaseException) -> str:
    """What an OSError says, without its number and file name."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

def attempt(step: Callable[[], Result]) -> Tuple[Optional[Result], Optional[CliError]]:
    """(what `step` returns, None), or (None, the CliError that it raises)."""
    try:
        return step(), None
    except CliError as error:
        return None, error

@contextmanager
def failing(action: str, hint: str = "") -> Iterator[None]:
    """What the system refuses in the block becomes the CliError "Cannot ACTION: REASON."."""
    try:
        yield
    except OSError as error:
        raise CliError("Cannot %s: %s." % (action, reason(error)), hint) from None

def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word most like `word`, or nothing."""
    import difflib
    found = difflib.get_close_matches(word, sorted(known), 1, 0.75)
    return "Did you mean `%s`?" % found[0] if found else ""

# ---- 3 Settings ---------------------------------------------------------------------------------

class Credential(NamedTuple):
    """A token with where it came from; printing one never shows the token."""
    token: str
    source: str  # for people: a variable, a file, the keychain
    workspace_id: Optional[str]

    def __repr__(self) -> str:
        return "Credential(token=[redacted], source=%r, workspace_id=%r)" % self[1:]

class Settings:
    """What flags, variables (an empty one is unset) and defaults add up to, in this precedence."""

    def __init__(self, environ: Mapping[str, str], environment: Optional[str] = None,
                 notion_version: Optional[str] = None) -> None:
        """UsageError names the flag or variable that cannot be taken."""
        get = environ.get
        self.environment = get("NOTION_ENV", "prod") if environment is None else environment
        if self.environment not in ENVIRONMENTS:
            raise UsageError("There is no environment %r: --env and NOTION_ENV take local, dev, "
                             "stg or prod." % self.environment,
                             nearest(self.environment, ENVIRONMENTS))
        self.notion_version = (get("NOTION_API_VERSION", NOTION_VERSION)
                               if notion_version is None else notion_version)
        if not re.fullmatch(TOKEN, self.notion_version):
            raise UsageError("%r is not a valid Notion-Version." % self.notion_version,
                             "Use a date such as %s." % NOTION_VERSION)
        self.keyring = get("NOTION_KEYRING")
        if self.keyring not in (None, "0", "1"):
            raise UsageError("NOTION_KEYRING is %r: it takes 0 (file only) or 1 (keychain only)."
                             % self.keyring, "Unset it to use the keychain where there is one.")
        origins = []
        for variable, default in zip(ORIGIN_VARIABLES,
                                     ENVIRONMENTS[self.environment] + (DOCS_ORIGIN,)):
            origin = parse_origin(environ[variable]) if variable in environ else default
            if origin is None or variable in environ and not is_safe_origin(origin):
                raise UsageError(  # without its value, which may have a password in it
                    variable + " must be an origin: https, or http to this machine.",
                    "Use https://HOST, or http://localhost:PORT for a server of your own.")
            origins.append(origin)
        self.login_origin, self.api_origin, self.docs_origin = origins
        token = get("NOTION_API_TOKEN", "").strip()
        self.credential = Credential(token, "NOTION_API_TOKEN", None) if token else None
        self.workspace_id = get("NOTION_WORKSPACE_ID")
        self.config_dir, self.cache_dir = find_directories(get)

def parse_origin(url: str, exact: bool = True) -> Optional[str]:
    """`scheme://host[:port]` of an http or https URL as one comparable text; None if it is none,
    names a user, or (`exact`) goes on after the host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if (parts.scheme not in ("http", "https")
            or not re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", host)
            or "@" in parts.netloc or not url.isprintable() or re.search(r"[\s\\]", url)
            or exact and (parts.path not in ("", "/") or "?" in url or "#" in url)):
        return None
    default = {"http": 80, "https": 443}[parts.scheme]
    return "%s://%s%s" % (parts.scheme, "[%s]" % host if ":" in host else host,
                          "" if port in (None, default) else ":%d" % (port or 0))

def is_safe_origin(origin: str) -> bool:
    """Whether it is https, or http to this machine: nothing else may carry a token."""
    return bool(re.match(
        r"https://|http://(localhost|127(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}|\[::1\])(:\d+)?\Z",
        origin))

def find_directories(get: Callable[[str], Optional[str]]) -> Tuple[Optional[str], Optional[str]]:
    """(config, cache) directories as absolute paths; None where no home can be found."""
    override = os.path.abspath(get("NOTION_HOME") or "")
    if get("NOTION_HOME"):
        return override, os.path.join(override, "cache")
    config, cache = (  # by the XDG specification a relative path is ignored
        os.path.join(get(name) or "", "notion") if os.path.isabs(get(name) or "") else None
        for name in ("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME", "XDG_CACHE_HOME"))
    home = os.path.normpath(get("HOME") or os.path.expanduser("~"))
    if os.path.isdir(home):
        parent, old = os.path.join(home, ".config"), os.path.join(home, ".notion")
        standard = os.path.join(parent, "notion")
        usable = not os.path.lexists(parent) or os.access(os.path.join(parent, ""), os.W_OK)
        prefer_old = not os.path.isdir(standard) and (os.path.isdir(old) or not usable)
        config = config or (old if prefer_old else standard)
        cache = cache or os.path.join(home, ".cache", "notion")
    return config, cache

# ---- 4 Console ----------------------------------------------------------------------------------

COLOURS = {"error:": "31", "✗": "31", "warning:": "33", "!": "33", "✔": "32", "string": "32",
           "number": "36", "-": "36", "literal": "35", "key": "1;34"}

class Console:
    """The program's surroundings: streams, environment variables (an empty one counts as unset),
    and the clock, which needs the functions time, monotonic and sleep of `time`, in seconds.
    All that is shown passes here, so that no secret and no control character gets through."""

    def __init__(self, environ: Optional[Mapping[str, str]] = None, stdin: Optional[TextIO] = None,
                 stdout: Optional[TextIO] = None, stderr: Optional[TextIO] = None,
                 clock: Any = time) -> None:
        variables = os.environ if environ is None else environ
        self.environ = {name: value for name, value in variables.items() if value}
        self.stdin = sys.stdin if stdin is None else stdin  # each is None if closed from outside
        self.stdout = sys.stdout if stdout is None else stdout
        self.stderr = sys.stderr if stderr is None else stderr
        self.clock, self.verbose, self._live = clock, False, False
        self.secrets: Set[str] = set()

    def is_terminal(self, stream: Optional[TextIO]) -> bool:
        return stream is not None and not stream.closed and stream.isatty()

    def is_fancy(self, stream: Optional[TextIO]) -> bool:
        """Whether escape sequences do on `stream` what they should."""
        return (self.is_terminal(stream) and self.environ.get("TERM") != "dumb"
                and (os.name != "nt" or "WT_SESSION" in self.environ))

    @property
    def interactive(self) -> bool:
        return self.is_terminal(self.stdin) and self.is_terminal(self.stderr)

    def paint(self, text: str, kind: str, stream: Optional[TextIO]) -> str:
        """`text` in the colour of its kind, where `stream` is a terminal that wants colours."""
        if not self.is_fancy(stream) or "NO_COLOR" in self.environ:
            return text
        return "\x1b[%sm%s\x1b[0m" % (COLOURS[kind], text)

    def emit(self, data: Union[str, bytes]) -> None:
        """Write to stdout: text as the terminal can show it, bytes as they are."""
        if self.stdout is None:
            raise CliError("Standard output is closed, so the result has nowhere to go.")
        data = encode_text(data, self.stdout) if isinstance(data, str) else data
        buffer = getattr(self.stdout, "buffer", None)
        try:
            if buffer is None:  # a StringIO, when Python code calls `main`
                self.stdout.write(data.decode("utf-8", "replace"))
                return
            buffer.write(data)
            buffer.flush()
        except OSError as error:
            self.stdout = None
            if isinstance(error, BrokenPipeError):
                raise  # the reader has seen enough, which is no failure: see main
            raise CliError("Cannot write to standard output: %s." % reason(error)) from None

    def emit_json(self, value: Json) -> None:
        self.emit((format_json(value, "  ") + "\n").encode("utf-8"))

    def say(self, text: str, end: str = "\n") -> None:
        """Write words for people to stderr, the first of them in its colour."""
        mark = text.partition(" ")[0]
        text = self.typed(visible(self.redact(text)))
        if mark in COLOURS:
            text = self.paint(mark, mark, self.stderr) + text[len(mark):]
        self._write("\r\x1b[K" * self._live + text + end)
        self._live = False

    def typed(self, text: str) -> str:
        """`text` with each command in it, such as `ntn login`, as it can be typed here."""
        return text.replace("`ntn ", "`%s " % own_command()) if "`ntn " in text else text

    def live(self, text: str) -> None:
        """Replace the line being shown on the terminal; the empty text removes it."""
        if self.is_fancy(self.stderr) and (text or self._live):
            from shutil import get_terminal_size
            text = one_line(self.redact(text))[:get_terminal_size().columns - 1]
            self._write("\r" + text + "\x1b[K")
            self._live = bool(text)

    def trace(self, mark: str, text: str) -> None:
        """With --verbose, write `text` to stderr with `mark` before each line."""
        if self.verbose:
            text = re.sub(SECRET_FIELD, r"\1[redacted]", text)
            self.say("\n".join((mark + " " + line).rstrip() for line in text.split("\n")))

    def redact(self, text: str) -> str:
        # A copy, since another thread may add one; longest first, for one may be part of another.
        for secret in sorted(self.secrets.copy(), key=len, reverse=True):
            if len(secret) > 7:  # else it is no real one, and ordinary words would suffer
                text = text.replace(secret, "[redacted]")
        return re.sub(TOKEN_SHAPE, "[redacted]", text)

    def _write(self, text: str) -> None:
        if self.stderr is not None:
            try:
                data = encode_text(text, self.stderr)
                self.stderr.write(data.decode(self.stderr.encoding or "utf-8"))
                self.stderr.flush()
            except OSError:
                self.stderr = None  # nobody can be told

def own_command() -> str:
    """How this program can be started again from the same directory."""
    from shlex import quote as quoted
    from shutil import which
    script = sys.argv[0] if __name__ == "__main__" else __file__
    installed = which("ntn")
    if not os.path.isfile(script) or installed and os.path.samefile(installed, script):
        return "ntn"
    if os.name == "nt":
        return "py %s" % script
    # Out of a virtual environment that is not activated, another python3 may have no keyring.
    python, here = which("python3") or "", os.path.dirname(sys.executable)
    is_same = sys.prefix == sys.base_prefix or os.path.dirname(python) == here
    return "%s %s" % (quoted("python3" if python and is_same else sys.executable), quoted(script))

def encode_text(text: str, stream: Optional[TextIO]) -> bytes:
    """`text` in the encoding of `stream`, with other signs for what that cannot express."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return text.replace("✔", "OK").replace("✗", "X").encode(encoding, "backslashreplace")

def visible(text: str) -> str:
    """`text` with what could act on a terminal or reorder the line written as an escape."""
    return UNPRINTABLE.sub(lambda found: "\\u%04x" % ord(found.group()), text)

def one_line(text: str) -> str:
    """`text` as it can stand in a message or a table."""
    return visible(" ".join(text.split()))

def plural(count: int, noun: str) -> str:
    return "%d %s%s" % (count, noun, "" if count == 1 else "s")

def call_with_limit(function: Callable[[], Result], limit: Optional[float],
                    notice: Callable[[], None] = lambda: None, finish: bool = False) -> Result:
    """What `function` returns or raises, or TimeoutError once `limit` seconds have passed. It runs
    in a daemon thread, since the worker of a thread pool that hangs for ever keeps the process
    alive. `notice` is called if it takes longer than NOTICE_AFTER. Ctrl-C ends this at once; with
    `finish` when the function is done, and only a second one at once."""
    import threading
    results: List[Tuple[Any, Optional[BaseException]]] = []
    done = threading.Event()  # Thread.join does not wait again after a Ctrl-C

    def work() -> None:
        try:
            results.append((function(), None))
        except BaseException as error:
            results.append((None, error))
        done.set()

    threading.Thread(target=work, daemon=True).start()
    first = NOTICE_AFTER if limit is None else min(NOTICE_AFTER, limit)
    try:
        if not done.wait(first):
            notice()
            done.wait(None if limit is None else limit - first)
    except KeyboardInterrupt:
        if finish:
            done.wait()
        raise
    result, error = results[0] if results else (None, TimeoutError())
    if error is not None:
        raise error
    return cast(Result, result)

class Number:
    """A JSON number as it was written: a float would lose 1.10 and 12345678901234567890123.0."""

    def __init__(self, text: str) -> None:
        self.text = text

def parse_json(text: str) -> Json:
    """A JSON text with its numbers as they were written; ValueError if it is none."""
    def refuse(name: str) -> None:
        raise ValueError("%s is not JSON" % name)
    try:
        return json.loads(text, parse_float=Number, parse_int=Number, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None

QUOTE = json.JSONEncoder(ensure_ascii=False).encode

def format_json(value: Json, indent: str = "",
                paint: Callable[[str, str], str] = lambda text, kind: text,
                margin: str = "\n") -> str:
    """A JSON text of `value`, with a Number as it was written; compact, or indented and painted.
    No string in it holds a character that could act on a terminal."""
    if isinstance(value, Number):
        return paint(value.text, "number")
    if isinstance(value, str):
        return paint(visible(QUOTE(value)), "string")
    inner = margin + indent
    if isinstance(value, dict):
        ends, separator = "{}", ": " if indent else ":"
        parts = [paint(visible(QUOTE(key)), "key") + separator
                 + format_json(item, indent, paint, inner) for key, item in value.items()]
    elif isinstance(value, list):
        ends, parts = "[]", [format_json(item, indent, paint, inner) for item in value]
    else:
        return paint(QUOTE(value), "literal")
    if indent and parts:
        return ends[0] + inner + ("," + inner).join(parts) + margin + ends[1]
    return ends[0] + ",".join(parts) + ends[1]

def read_object(value: Json, *keys: str) -> Dict[str, Json]:
    """The object at these keys, empty where another program or server left something else there."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}

def read_text(value: Json, *keys: str) -> str:
    """The string at these keys, empty where there is none."""
    found = read_object(value, *keys[:-1]).get(keys[-1])
    return found if isinstance(found, str) else ""

def make_object(value: Dict[str, Json], *keys: str) -> Dict[str, Json]:
    """The object at these keys, made if it is not there."""
    for key in keys:
        if not isinstance(value.get(key), dict):
            value[key] = {}
        value = value[key]
    return value

# ---- 5 HTTP -------------------------------------------------------------------------------------

class FileBody(NamedTuple):
    """A request body that is made anew, piece by piece, for each try."""
    length: int  # bytes
    chunks: Callable[[], Iterator[bytes]]
    content_type: str

Body = Union[None, bytes, FileBody]
Proxy = Tuple[str, Dict[str, str]]

class Response:
    """An answer with any status. `headers` keeps repeats and order and ignores case in look-ups."""

    def __init__(self, raw: Any, client: "Client") -> None:
        self.status: int = raw.status
        self.status_text = ("%d %s" % (raw.status, raw.reason.strip())).strip()
        self.version: int = raw.version  # 10 or 11
        self.headers = raw.headers
        self.is_json = "json" in raw.headers.get("Content-Type", "").lower()
        self._raw, self._client, self._body = raw, client, None  # type: Any, Client, Any

    def __repr__(self) -> str:
        kind = self.headers.get("Content-Type", "no type").split(";")[0].strip()
        return "<Response %d %s, %s>" % (self.status, kind, "unread" if self._body is None
                                         else plural(len(self._body), "byte"))

    def __getstate__(self) -> Dict[str, Any]:
        """What a pickle or a copy needs: the answer without its connection."""
        return dict(self.__dict__, _body=self.body, _raw=None, _client=None)

    def chunks(self, most: Optional[int] = None, shown: bool = False) -> Iterator[bytes]:
        """The body as it arrives, decoded. -v tells its size alone if it is `shown` beside. Raises
        NetworkError if it breaks off, ApiError if it is longer than `most` bytes."""
        if self._body is not None:
            yield from (self._body, b"")
            return
        console, complete, size, traced = self._client.console, False, 0, []
        packed = "gzip" in self.headers.get("Content-Encoding", "").lower()
        try:
            for piece in unpack(self._wire_chunks()) if packed else self._wire_chunks():
                size += len(piece)
                if most is not None and size > most:
                    raise ApiError("The answer is larger than %d MiB." % (most >> 20))
                traced += [piece] if console.verbose and not shown else []
                yield piece
            complete = True
            yield b""  # tells that it is whole, before anything is traced
        except Exception as error:
            raise self._client.explain(error) from None
        finally:
            self._raw.close()
            self._client.close(keep=complete)
            if size:
                console.trace("<", "(a body of %s)" % plural(size, "byte") if shown
                              else b"".join(traced).decode("utf-8", "backslashreplace"))

    def _wire_chunks(self) -> Iterator[bytes]:
        left, came = self._raw.length, False  # None where the end of the body is told otherwise
        while left != 0:
            chunk = self._raw.read1(CHUNK if left is None else min(CHUNK, left))
            if not chunk:
                break
            came = True
            left = None if left is None else left - len(chunk)
            yield chunk
        if self._client.expired:  # shutting the socket down looks like an end, too
            raise TimeoutError
        if left:  # http.client takes an early end for the end
            raise ConnectionResetError("%s missing" % plural(left, "byte"))
        if left is None and not came and not self._raw.chunked:
            raise ConnectionResetError("no body")  # its length may stand in headers cut off

    @property
    def body(self) -> bytes:
        """The whole body as bytes, decoded. ApiError if it is too large to be read as a whole."""
        if self._body is None:
            self._body = b"".join(self.chunks(self._client.most))
        return bytes(self._body)

    def drain(self) -> None:
        """Read the body as far as it comes, so that the connection may serve the next request."""
        try:
            self._body = self.body
        except ApiError:
            self._body = b""

    def json(self, decode: Callable[[str], Json] = json.loads) -> Json:
        """The body as json.loads has it. ApiError if it is not JSON."""
        try:
            return decode(self.body.decode("utf-8"))
        except (ValueError, RecursionError):
            raise ApiError("The answer is not JSON (%s)." % self.status_text) from None

    def date(self, name: str = "Date") -> Optional[float]:
        """A header that is a date, such as the server's time, as unix seconds."""
        from email.utils import mktime_tz, parsedate_tz
        with suppress(ValueError, OverflowError, IndexError):
            parsed = parsedate_tz(self.headers.get(name, "")[:100])
            return None if parsed is None else float(mktime_tz(parsed))
        return None

    def retry_after(self, now: float) -> Optional[float]:
        """Seconds that the server asks to wait, as seconds or as a date (RFC 9110, 10.2.3)."""
        text = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]{1,15}", text):
            return float(text)
        until = self.date("Retry-After")
        return None if until is None else max(0.0, until - (self.date() or now))

def unpack(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The content of a gzip body, in pieces of at most CHUNK bytes; it may have several members."""
    import zlib
    stream: Any = None
    for data in chunks:
        while data:
            if stream is None or stream.eof:
                stream = zlib.decompressobj(31)
            piece = stream.decompress(data, CHUNK)
            if piece:
                yield piece
            data = stream.unconsumed_tail or stream.unused_data
    if stream is not None:
        yield from filter(None, [stream.flush()])
        if not stream.eof:
            raise ConnectionResetError("the compressed answer is not complete")

def jitter() -> float:
    """Up to half a second, so that many clients do not ask in step."""
    return os.urandom(1)[0] / 512

class Client:
    """Sends requests, one after the other, and keeps the connection for the next one. `limit`:
    seconds for each try as a whole; None: no limit but IDLE_TIMEOUT without progress. `most`: bytes
    of an answer that is read as a whole."""

    def __init__(self, console: Console, limit: Optional[float], most: int = BODY_SIZE) -> None:
        self.console, self.limit, self.most = console, limit, most
        self.expired = False  # whether the limit has ended this try
        self._connection, self._timer, self._proxy = None, None, None  # type: Any, Any, Any
        self._origin, self._end = "", 0.0

    def close(self, keep: bool = False) -> None:
        """A try is over; `keep` says whether its connection can be used again."""
        if self._timer is not None:
            self._timer.cancel()
        if self._connection is not None and not keep:
            self._connection.close()
            self._connection = None

    def send(self, method: str, url: str, headers: Pairs, body: Body = None) -> Response:
        """The answer, whatever its status, or NetworkError. No redirect is followed."""
        origin = str(parse_origin(url, exact=False))
        target = url[url.index("/", 8):] if "/" in url[8:] else "/"
        headers = [("Host", origin.split("//")[1])] + headers
        length = body.length if isinstance(body, FileBody) else len(body or b"")
        if body is not None or method in ("POST", "PUT", "PATCH"):
            headers.append(("Content-Length", str(length)))
        self._trace(">", "%s %s" % (method, url), headers, body or b"")
        self.expired, self._end = False, self.console.clock.monotonic() + (self.limit or 0)
        try:
            self._connect(origin)
            if self._proxy is not None and origin.startswith("http:"):
                target, headers = url, headers + list(self._proxy[1].items())
            response = Response(self._transmit(method, target, headers, body), self)
        except BaseException as error:
            self.close()
            raise (self.explain(error) if isinstance(error, Exception) else error) from None
        self._trace("<", response.status_text, response.headers.items())
        return response

    def explain(self, error: BaseException) -> CliError:
        """What an exception of this connection, which is of no use any more, means for people."""
        import http.client
        import socket
        import ssl
        import zlib
        self.close()
        if isinstance(error, CliError):
            return error
        environ, limit = self.console.environ, self.limit or IDLE_TIMEOUT
        host, peer = host_and_port(self._origin)[0], self._origin.split("//")[1]
        proxy = "the proxy " + self._proxy[0].split("//")[1] if self._proxy else ""
        peer = "%s (for %s)" % (proxy, host) if proxy else peer
        names = " and ".join(name for name in ORIGIN_VARIABLES
                             if parse_origin(environ.get(name, "")) == self._origin)
        refusal = re.match(r"Tunnel connection failed: (\d+)", str(error))  # http.client's words
        why = {"RemoteDisconnected": "no answer", "IncompleteRead": "the answer is not complete"}
        if isinstance(error, http.client.HTTPException):
            name = type(error).__name__
            error = ConnectionError(why.get(name, "the answer is not HTTP: " + name))
        table: List[Tuple[Any, str, str]] = [  # the first that fits; without words it broke off
            ((socket.timeout, TimeoutError), "%s did not answer in time (%g s)." % (peer, limit),
             "Try again later%s." % ("" if limit in (IDLE_TIMEOUT, CALL_LIMIT, DOCTOR_LIMIT)
                                     else ", or with a longer time limit")),
            ((socket.gaierror, UnicodeError), "the name %s cannot be resolved (%s)." % (
                host_and_port(self._proxy[0])[0] if self._proxy else host, reason(error)),
             "Check the network connection and the name server."),
            (ConnectionRefusedError, "%s refuses connections." % peer,
             "Check the proxy variables." if proxy else
             "Start the server that %s names, or unset that to use Notion." % names if names
             else "Check whether this network needs HTTPS_PROXY."),
            ((ssl.SSLEOFError, ssl.SSLZeroReturnError), "", ""),
            ((ssl.SSLError, ssl.CertificateError), *explain_tls(error, host, environ)),
            ((zlib.error, ConnectionError, ValueError), "", ""),
            (OSError if refusal else (), "%s refused to connect to %s (%s)." % (
                proxy, host, refusal and refusal.group(1)),
             "Check user name and password in the proxy variable, or add the host to NO_PROXY."),
            (BaseException, "%s: %s." % (peer, reason(error)), "Check the network connection.")]
        error = TimeoutError() if self.expired else error
        what, hint = next(row[1:] for row in table if isinstance(error, row[0]))
        return NetworkError("Cannot reach Notion: " + what, hint) if what else BrokenConnection(
            "The connection to %s broke off (%s)." % (peer, reason(error)), "Try again.")

    def send_with_retries(self, method: str, url: str, headers: Pairs, body: Body = None
                          ) -> Response:
        """As `send`, with more tries after 429 and 529, which say that nothing was done; and, if a
        method may be sent twice, after 5xx and a broken connection, where nobody knows."""
        repeatable = method in ("GET", "HEAD", "DELETE")
        statuses, tries, waited = (429, 529) + (500, 502, 503, 504) * repeatable, 0, 0.0
        while True:
            tries, asked = tries + 1, None
            try:
                response = self.send(method, url, headers, body)
                if response.status not in statuses:
                    return response
                asked = response.retry_after(self.console.clock.time())
                if tries == TRIES or asked is not None and waited + asked > RETRY_LIMIT:
                    return response
                response.drain()
                problem = "Notion answered %s." % response.status_text
            except BrokenConnection as error:
                if tries == TRIES or not repeatable:
                    raise
                problem = error.message
            pause = 2.0 ** (tries - 1) + jitter() if asked is None else asked
            self.console.say("%s Trying again in %.3g s (try %d of %d)."
                             % (problem, pause, tries + 1, TRIES))
            self.console.clock.sleep(pause)
            waited += pause

    def _connect(self, origin: str) -> None:
        """Open a connection, or take the one that is open, and watch over it for this try."""
        import select
        import socket
        import threading

        def expire() -> None:
            self.expired = True
            with suppress(OSError):
                # The plain socket's method: the TLS one must not be called from another thread.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

        if self._connection is not None:
            sock = self._connection.sock
            # Readable between two requests: the server has closed it, or says what nobody asked.
            if origin != self._origin or sock is None or select.select([sock], [], [], 0)[0]:
                self.close()
        if self._connection is None:
            self._origin, self._proxy = origin, None
            self._proxy = find_proxy(origin)
            self._connection = open_connection(origin, self._proxy, self.limit or IDLE_TIMEOUT)
        sock, left = self._connection.sock, IDLE_TIMEOUT
        if self.limit is not None:
            # A socket's own timeout starts anew with each operation, so that a server which sends a
            # byte a second never meets it: the timer ends the try as a whole.
            left = max(0.001, self._end - self.console.clock.monotonic())
            self._timer = threading.Timer(left, expire)
            self._timer.daemon = True
            self._timer.start()
        sock.settimeout(left)

    def _transmit(self, method: str, target: str, headers: Pairs, body: Body) -> Any:
        connection = self._connection
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value.encode("utf-8"))
        try:
            connection.endheaders()
            for chunk in [body] if isinstance(body, bytes) else body.chunks() if body else []:
                connection.send(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass  # a server may refuse a body before its end: its answer says why, if there is one
        raw = connection.getresponse()
        lengths = {length.strip() for length in raw.headers.get_all("Content-Length") or []}
        coding = raw.headers.get("Transfer-Encoding")
        if (raw.status < 200 or raw.headers.get_payload()  # a line that is no header
                or len(lengths) > 1 or coding and (lengths or coding.lower() != "chunked")
                or not all(re.fullmatch("[0-9]{1,18}", length) for length in lengths)):
            raw.close()
            raise ConnectionResetError("its headers contradict each other or HTTP")
        return raw

    def _trace(self, mark: str, line: str, headers: Iterable[Tuple[str, str]], body: Body = b""
               ) -> None:
        if self.console.verbose:
            self.console.trace(mark, "\n".join([line] + header_lines(headers) + [""]))
            if body:
                self.console.trace(mark, body.decode("utf-8", "backslashreplace") if isinstance(
                    body, bytes) else "(a body of %s)" % plural(body.length, "byte"))

def header_lines(headers: Iterable[Tuple[str, str]], secrets: bool = False) -> List[str]:
    """Headers, each as one line, by default without secrets; a folded one is unfolded."""
    return [("%s: %s" % (name, "[redacted]" if name.lower() in SECRET_HEADERS and not secrets
                         else " ".join(map(str.strip, value.splitlines())))).rstrip()
            for name, value in headers]

def open_connection(origin: str, proxy: Optional[Proxy], limit: float) -> Any:
    """A connection to `origin`, through `proxy` if there is one: the only way out.
    `limit` (seconds) bounds name look-up, TCP, the proxy's tunnel and TLS together."""
    import http.client
    address = host_and_port(proxy[0] if proxy else origin)
    if origin.startswith("https:"):
        connection: Any = http.client.HTTPSConnection(*address, context=tls_context())
        if proxy:
            connection.set_tunnel(*host_and_port(origin), proxy[1])
    else:
        connection = http.client.HTTPConnection(*address)
    connection.timeout, connection.auto_open = limit, 0  # it never connects again by itself
    connection._create_connection = create_connection  # the hook for it that http.client has
    try:
        call_with_limit(connection.connect, limit)
    except BaseException:
        connection.close()
        raise
    return connection

def host_and_port(origin: str) -> Tuple[str, int]:
    parts = urlsplit(origin)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

def create_connection(address: Tuple[str, int], timeout: float, source: Any = None) -> Any:
    """A socket to one of the addresses that a name has, each of which gets its share of the time:
    socket.create_connection gives each the whole, so that one that is dead would use it up."""
    import socket
    host = address[0].encode("ascii")  # a str would load the tables of IDNA, which takes 3 ms
    found: List[Any] = socket.getaddrinfo(host, address[1], 0, socket.SOCK_STREAM)
    for number, (_, _, _, _, place) in enumerate(found, 1):
        with suppress(*[OSError] * (number < len(found))):  # the last one tells why
            return socket.create_connection(
                (place[0].encode("ascii"), place[1]), timeout / len(found), source)

@lru_cache(maxsize=None)
def tls_context() -> Any:
    """The TLS context, made once: reading the certificates takes longer than all else."""
    import ssl
    context = ssl.create_default_context()
    # Python 3.13 added this flag, which refuses the CA certificates of many companies'
    # TLS-inspecting proxies that 3.12, curl and browsers accept. All else is verified as ever.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context

def find_proxy(origin: str) -> Optional[Proxy]:
    """The HTTP proxy that variables or the system name for `origin`: its own origin, and headers.
    NetworkError if it is of no use."""
    if sys.platform not in ("darwin", "win32") and not any(
            name.lower().endswith("_proxy") for name in os.environ):
        return None  # without the import, which takes longer than all the rest
    from base64 import b64encode
    from urllib.request import getproxies, proxy_bypass  # which know about REQUEST_METHOD, too
    scheme, peer = origin.split("://")
    proxies = getproxies()
    kind = scheme if proxies.get(scheme) else "all"
    url = proxies.get(kind)
    if not url or proxy_bypass(peer):
        return None
    name, _, rest = (("" if "://" in url else "http://") + url).partition("://")
    user, at, address = rest.partition("/")[0].rpartition("@")
    place = parse_origin("http://" + address)
    if place is None or name.lower() != "http":
        raise NetworkError("The proxy in %s_PROXY %s." % (kind.upper(), (
            "is a %s proxy, which Python's standard library cannot use" % name.upper()
            if place else "has no valid address")),
            "Set it to http://HOST:PORT, or add %s to NO_PROXY." % host_and_port(origin)[0])
    if scheme == "http" and not is_safe_origin(place):
        return None  # the origin is this machine: nothing may leave it in the clear
    secret = b64encode(":".join(map(unquote, (user + ":").split(":")[:2])).encode("utf-8"))
    return place, {"Proxy-Authorization": "Basic " + secret.decode("ascii")} if at else {}

def explain_tls(error: BaseException, host: str, environ: Mapping[str, str]) -> Tuple[str, str]:
    """(what, hint) for an error of the ssl module."""
    text = str(getattr(error, "verify_message", "") or getattr(error, "reason", "") or error)
    if "match" in text:  # or mismatch
        return "the certificate is not one for %s." % host, (
            "Another server answers for it: a proxy, a captive portal or a wrong address.")
    if "CERTIFICATE_VERIFY_FAILED" not in str(error):
        return "the TLS connection to %s failed (%s)." % (host, text), (
            "Check that the address is right and speaks TLS.")
    what, hint = missing_certificates(environ)
    if what:
        return "%s cannot be verified: %s." % (host, what), hint
    return "the certificate of %s is not trusted (%s)." % (host, text), (
        "Check this machine's clock." if "expired" in text or "not yet valid" in text else
        "If your network inspects TLS, set SSL_CERT_FILE to its CA certificate.")

def missing_certificates(environ: Mapping[str, str]) -> Tuple[str, str]:
    """(why no certificate can be verified here, what to do); empty if some can."""
    import ssl
    named, directory = environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().capath
    # What may not be listed may still be searched, by a file's name.
    searched = directory and (not os.access(directory, os.R_OK) or os.listdir(directory))
    some = searched or tls_context().cert_store_stats()["x509_ca"]
    if named and not (some and os.path.isfile(named)):
        return "SSL_CERT_FILE names %s, which %s" % (named, (
            "holds no certificate" if os.path.isfile(named) else "does not exist")), (
            "Unset SSL_CERT_FILE, or set it to a bundle of CA certificates.")
    return ("", "") if some else ("no CA certificates are installed", (
        "Run Install Certificates.command in the folder of this Python under Applications."
        if sys.platform == "darwin" else
        "Install your system's package ca-certificates, or set SSL_CERT_FILE to a bundle."))

# ---- 6 State ------------------------------------------------------------------------------------

def read_file(path: str) -> Dict[str, Json]:
    """The object in a state file, empty if there is no file; DamagedFile if it is anything else.
    A secret that others can read is made private."""
    data = b"{}"
    with failing("read " + path, "Check its permissions."), suppress(FileNotFoundError):
        if not os.path.isfile(path) and os.path.exists(path):  # opening a FIFO would wait
            raise DamagedFile(path, "it is not a regular file")
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & 0o077 and os.name != "nt" and os.path.basename(path) in SECRET_FILES:
                with suppress(OSError):  # it is not ours: doctor tells
                    os.fchmod(file.fileno(), 0o600)
            data = file.read()
    try:
        value = parse_json(data.decode("utf-8-sig"))
    except ValueError:
        raise DamagedFile(path, "it is not valid JSON") from None
    if not isinstance(value, dict):
        raise DamagedFile(path, "it does not hold a JSON object")
    return value

def write_file(path: str, value: Optional[Dict[str, Json]]) -> None:
    """Replace a state file as a whole, or delete it (None): a kill leaves the old one or the new.
    It is private from its first byte. Callers hold the directory's lock."""
    path = os.path.realpath(path)  # a link stays a link
    temporary = path + ".tmp"  # nobody else writes it under our lock
    with failing("write " + path, "Check the directory's permissions and free space, or set "
                 "NOTION_HOME elsewhere."):
        with suppress(FileNotFoundError):
            os.unlink(path if value is None else temporary)  # which a kill may have left
        if value is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            try:
                with open(temporary, "wb", opener=lambda name, _: os.open(name, flags, 0o600)
                          ) as file:
                    os.chmod(temporary, 0o600)
                    file.write(format_json(value, "  ").encode("utf-8"))
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
        if os.name != "nt":
            with suppress(OSError):  # some directories and network file systems refuse this
                descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
                try:
                    os.fsync(descriptor)  # makes the rename or removal last
                finally:
                    os.close(descriptor)

def make_directory(path: str) -> None:
    """Create a directory and its missing parents, each for this user alone."""
    if not os.path.isdir(path):
        make_directory(os.path.dirname(path))
        with suppress(FileExistsError):  # another process was faster
            os.mkdir(path, 0o700)
            os.chmod(path, 0o700)

def try_lock(descriptor: int) -> bool:
    """Whether the lock is ours now. OSError where the file system has no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except (BlockingIOError, PermissionError):
        return False

class KeychainError(CliError):
    """The keychain is there, but locked, silent or broken: what it holds is not known."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "Set NOTION_KEYRING=0 to use file-based auth instead of the OS "
                         "keychain.")

class NoKeychain(KeychainError):
    """There is no keychain here, so nothing is stored in it."""

def load_keyring() -> Any:
    """The keyring library with a backend that stores. Raises NoKeychain, or whatever it raises."""
    try:
        import keyring
    except ModuleNotFoundError as error:
        if error.name != "keyring":
            raise
        raise NoKeychain("The Python package keyring is not installed.") from None
    if type(keyring.get_keyring()).__module__ in ("keyring.backends.fail", "keyring.backends.null"):
        raise NoKeychain("No keychain was found on this system.")
    return keyring

class Keychain:
    """The operating system's keychain: one entry for each workspace, as the official client's. Each
    call has a limit, for a keychain may wait for ever for somebody to unlock it. After a call that
    was not answered none is tried again. `deadline`, if set, bounds all calls together."""
    name, service = "the keychain", "notion-cli"  # for people, and for the keychain

    def __init__(self, console: Console) -> None:
        self._console, self.deadline = console, None  # type: Console, Optional[float]
        self._silent: Optional[KeychainError] = None

    def get(self, account: str) -> Optional[str]:
        return self._call(lambda keyring: keyring.get_password(self.service, account)) or None

    def set(self, account: str, token: str) -> None:
        """Store a token, and see that it reads back."""
        self._call(lambda keyring: keyring.set_password(self.service, account, token))
        if self.get(account) != token:
            raise KeychainError("The keychain does not keep what is written to it.")

    def delete(self, account: str) -> bool:
        """Forget a token; whether there was one."""
        found = self.get(account) is not None
        if found:
            self._call(lambda keyring: keyring.delete_password(self.service, account))
        return found

    def prove(self) -> None:
        """Find out that `set` would work, with an entry that is gone afterwards."""
        account = "ntn-probe-%d" % os.getpid()
        _, failure = attempt(partial(self.set, account, os.urandom(8).hex()))
        _, second = attempt(partial(self.delete, account))
        if failure or second:
            raise failure or second  # type: ignore[misc]

    def _call(self, action: Callable[[Any], Any]) -> Any:
        if self._silent is not None:
            raise self._silent
        console, limit, notice = self._console, KEYCHAIN_LIMIT, ""
        if self.deadline is not None:
            limit = max(0.01, self.deadline - console.clock.monotonic())
        elif console.interactive:
            limit, notice = UNLOCK_LIMIT, "Waiting for the keychain: it may ask to be unlocked."
        try:
            return call_with_limit(lambda: action(load_keyring()), limit,
                                   lambda: console.say(notice) if notice else None)
        except (KeychainError, KeyboardInterrupt):
            raise
        except TimeoutError:
            self._silent = KeychainError("The keychain did not answer within %.0f s." % limit)
            raise self._silent from None
        except BaseException as error:  # a backend may raise anything: Rust's panics, SystemExit
            name = type(error).__name__
            if name == "NoKeyringError":
                raise NoKeychain("No keychain was found on this system.") from None
            problem = "is locked" if name == "KeyringLocked" else "cannot be used"
            raise KeychainError("The keychain %s (%s)." % (problem, one_line(
                "%s: %s" % (name, error)).rstrip(" .:"))) from None

class PendingLogin(NamedTuple):
    """A login that waits for approval. Times are unix seconds by the server's clock."""
    session_id: str
    environment: str
    origin: str
    issued_at: int
    expires_at: int
    url: str   # "" where another program has started it
    code: str

class State:
    """All that is kept between two runs: workspaces, defaults, tokens and the pending login. It
    knows the files and the keychain, and which of the two holds tokens when. NOTION_KEYRING, or
    else `keyring` in config.json, says: auth.json alone (0, false), the keychain alone (1, true),
    or the keychain where it can be used (unset)."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self.settings, self.console = settings, console
        self.keychain = Keychain(console)
        self.unusable: Optional[KeychainError] = None  # why auth.json is used instead
        self._lock_deadline: Optional[float] = None

    def path(self, name: str) -> str:
        """Where a state file is, whether it is there or not; "" without a home directory."""
        settings = self.settings
        directory = settings.config_dir if STATE_FILES[name] == "config" else settings.cache_dir
        return os.path.join(directory, name) if directory else ""

    def load(self, name: str) -> Dict[str, Json]:
        """The object in a state file, empty if there is none. Raises DamagedFile, CliError."""
        return read_file(self.path(name)) if self.path(name) else {}

    @contextmanager
    def locked(self, name: str) -> Iterator[str]:
        """The path of a state file, to be changed while no other process changes it. The lock
        ends with the process, however that ends. CliError once LOCK_LIMIT is over."""
        path, clock = self.path(name), self.console.clock
        if not path:
            raise CliError("There is no usable home directory to keep files in.",
                           "Set NOTION_HOME to a directory that can be written.")
        directory = os.path.dirname(path)
        lock = os.path.join(directory, ".lock")
        with failing("write in " + directory, "Check its permissions, or set NOTION_HOME to "
                     "another directory, on a local disk."):
            make_directory(directory)
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(lock, flags, 0o600)
            os.chmod(lock, 0o600)  # a umask can take the owner's bits away
            while not try_lock(descriptor):
                self._lock_deadline = self._lock_deadline or clock.monotonic() + LOCK_LIMIT
                if clock.monotonic() >= self._lock_deadline:
                    raise CliError("Another process has held %s for %g s." % (lock, LOCK_LIMIT),
                                   "Find it with `fuser %s`, then try again." % lock)
                clock.sleep(0.05)
        try:
            yield path
        finally:
            os.close(descriptor)

    def update(self, name: str, change: Callable[[Dict[str, Json]], Any]) -> None:
        """Read, let `change` work on the object, and write, all under one lock; what it does not
        touch is kept. It may return False to leave the file as it is."""
        with self.locked(name) as path:
            value = read_file(path)
            if name in (CONFIG, WORKSPACES):
                value.setdefault("version", "1")
            if change(value) is not False:
                write_file(path, value)

    def put(self, name: str, values: Dict[str, Json], *where: str) -> None:
        """Set keys of the object at the keys `where` of a state file."""
        self.update(name, lambda data: make_object(data, *where).update(values))

    def remove(self, name: str, keys: Iterable[str], *where: str) -> Set[str]:
        """Take keys out of the object at `where` in a state file; returns those that were there."""
        found: Set[str] = set()

        def change(data: Dict[str, Json]) -> bool:
            entries = read_object(data, *where)
            found.update(key for key in keys if entries.pop(key, None) is not None)
            return bool(found)
        if self.load(name):
            self.update(name, change)
        return found

    def prove(self, name: str) -> None:
        """Find out that a state file can be replaced; one that is damaged is moved aside."""
        with self.locked(name) as path:
            there = os.path.isfile(path)
            try:
                value = read_file(path)
            except DamagedFile as error:
                # What a link leads to, if that is no file, is not ours to move.
                real = os.path.realpath(path) if os.path.isfile(path) else path
                aside = real + ".damaged-%d" % self.console.clock.time()
                while os.path.lexists(aside):
                    aside += "x"
                with failing("move " + real):
                    os.replace(real, aside)
                self.console.say("warning: %s It was moved to %s." % (error.message, aside))
                there, value = False, {}
            write_file(path, value)
            if not there:
                write_file(path, None)

    def workspaces(self, environment: str = "") -> Dict[str, str]:
        """{workspace ID: name} of an environment, this one by default, in the file's order."""
        environment = environment or self.settings.environment
        entries = read_object(self.load(WORKSPACES), "environments", environment)
        return {key: read_text(entry, "name") or key for key, entry in entries.items()
                if isinstance(entry, dict)}

    def default_workspace(self) -> str:
        """The ID of this environment's default workspace, or ""."""
        return read_text(self.load(CONFIG), "defaultWorkspaceIds", self.settings.environment)

    def find_workspace(self, wanted: str) -> Optional[str]:
        """The ID of a known workspace, by its ID, dashed or not, or by its name, also in another
        case. AuthError if several have it."""
        known = self.workspaces()
        for matches in ([key for key in known if undashed(key) == undashed(wanted)],
                        [key for key in known if known[key] == wanted],
                        [key for key in known if known[key].lower() == wanted.lower()]):
            if len(matches) > 1:
                raise AuthError("Several workspaces are called %r: %s." % (
                    wanted, ", ".join(matches)), "Name the one you mean by its ID.")
            if matches:
                return matches[0]
        return None

    def current_workspace(self) -> str:
        """The workspace that commands work with: NOTION_WORKSPACE_ID, else the default, or ""."""
        wanted = self.settings.workspace_id
        if not wanted:
            return self.default_workspace()
        found = re.fullmatch("(.{8})(.{4})(.{4})(.{4})(.{12})", undashed(wanted))
        return self.find_workspace(wanted) or ("-".join(found.groups()) if found else wanted)

    def keyring_mode(self) -> str:
        """Where tokens live: "file", "keychain", or "automatic"."""
        modes = {"0": "file", False: "file", "1": "keychain", True: "keychain", None: "automatic"}
        value: Json = self.settings.keyring or self.load(CONFIG).get("keyring")
        if not isinstance(value, (bool, type(None))) and not self.settings.keyring:
            raise UsageError("`keyring` in %s is %s: it can be true, false, or left out." % (
                self.path(CONFIG), format_json(value)))
        return modes[value]

    def get_token(self, workspace_id: str) -> Optional[Credential]:
        """The stored token. A keychain that cannot tell is an error, not an empty one."""
        mode, source = self.keyring_mode(), self.path(AUTH)
        token = "" if mode == "keychain" else read_text(self.load(AUTH), workspace_id)
        if mode != "file" and not token:
            try:
                token, source = self.keychain.get(workspace_id) or "", self.keychain.name
            except NoKeychain:
                if mode == "keychain":
                    raise
        self.console.secrets.add(token)
        return Credential(token, source, workspace_id) if token else None

    def ask_keychain(self, action: Callable[[], None]) -> bool:
        """Whether the keychain is the place for tokens, and `action` with it worked. Where it may
        not be used or, in automatic mode, does not work, auth.json is the place."""
        mode = self.keyring_mode()
        if mode == "file" or self.unusable is not None:
            return False
        try:
            action()
            return True
        except KeychainError as error:
            if mode == "keychain":
                raise
            self.unusable = error
            return False

    def put_in_file(self, workspace_id: str, token: str) -> str:
        """Store a token in auth.json, read it back there, and return the path."""
        path = self.path(AUTH)
        self.put(AUTH, {workspace_id: token})
        if self.load(AUTH).get(workspace_id) != token:
            raise CliError("%s does not keep what is written to it." % path)
        if self.unusable:
            self.console.say("%s The token is in %s instead; NOTION_KEYRING=0 silences this." % (
                self.unusable.message, path))
        return path

    def credential(self) -> Credential:
        """NOTION_API_TOKEN, else the stored token of the current workspace; AuthError if none."""
        found, environment = self.settings.credential, self.settings.environment
        option = "" if environment == "prod" else " --env " + environment
        hint = "Run `ntn login%s`, or set NOTION_API_TOKEN." % option
        if found is None:
            workspace_id = self.current_workspace()
            if not workspace_id and self.workspaces():
                raise AuthError("No default workspace is set.",
                                "Choose one with `ntn login --workspace NAME`: %s." % ", ".join(
                                    map(one_line, self.workspaces().values())))
            if not workspace_id:
                raise AuthError("Not logged in%s." % option.replace("--env", "to the environment"),
                                hint)
            found = self.get_token(workspace_id)
            if found is None:
                raise AuthError("No token is stored for workspace %s." % workspace_id,
                                "Check NOTION_WORKSPACE_ID, or unset it."
                                if self.settings.workspace_id else hint)
        if not re.fullmatch(TOKEN, found.token):
            raise AuthError("The token from %s has characters that no token has." % found.source,
                            hint)
        return found

    def save_pending(self, pending: PendingLogin) -> None:
        self.put(PENDING, {
            "sessionId": pending.session_id, "issuedAt": pending.issued_at,
            "expiresAt": pending.expires_at, "environment": pending.environment,
            "origin": pending.origin, "url": pending.url, "verificationCode": pending.code})

    def load_pending(self) -> Optional[PendingLogin]:
        """The login started last, None if there is none. Only sessionId and issuedAt need be there,
        and what another program may have written is checked as if a server had sent it."""
        data = self.load(PENDING)
        session_id, environment, origin, url, code = (read_text(data, key) for key in (
            "sessionId", "environment", "origin", "url", "verificationCode"))
        if not session_id:
            return None
        self.console.secrets.add(session_id)
        issued_at = parse_time(data.get("issuedAt")) or self.console.clock.time()
        if environment not in ENVIRONMENTS or not (
                parse_origin(origin) == origin and is_safe_origin(origin)):
            environment, origin = self.settings.environment, self.settings.login_origin
        if not (is_login_url(url, origin) and re.fullmatch(VERIFICATION_CODE, code)):
            url, code = "", ""
        return PendingLogin(session_id, environment, origin, int(issued_at),
                            choose_expiry(data.get("expiresAt"), issued_at), url, code)

    def delete_pending(self, pending: PendingLogin) -> bool:
        """Forget the pending login if it still is this one; whether it was."""
        if self.load(PENDING).get("sessionId") != pending.session_id:
            return False
        with self.locked(PENDING) as path:
            found = read_file(path).get("sessionId") == pending.session_id
            if found:
                write_file(path, None)
        return found

def undashed(workspace_id: str) -> str:
    return workspace_id.replace("-", "").lower()

def parse_time(value: Json) -> Optional[float]:
    """Unix seconds from seconds, milliseconds or ISO 8601; None from anything else."""
    text = value.text if isinstance(value, Number) else str(value)
    found = re.match(  # in UTC, as Notion's are
        r"([1-9]\d{3})-(0[1-9]|1[0-2])-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?!.*[+-])", text)
    if found:
        from calendar import timegm
        return float(timegm(tuple(map(int, found.groups()))))
    number = float(text) if re.fullmatch(r"-?\d{1,15}(\.\d+)?", text) else None
    return number / 1000 if number and abs(number) > 1e11 else number

def choose_expiry(value: Json, issued_at: float) -> int:
    """When a login expires: what the server said, if that can be."""
    left = (parse_time(value) or 0) - issued_at
    return int(issued_at + (left if 0 < left < 86400 else LOGIN_LIFETIME))

def is_below(url: str, domains: Sequence[str]) -> bool:
    """Whether `url` is https, without a user or odd characters, on one of `domains` or below."""
    origin = parse_origin(url, exact=False) or ""
    host = "." + host_and_port(origin)[0]
    return origin.startswith("https:") and host.endswith(tuple("." + name for name in domains))

def is_login_url(url: str, origin: str) -> bool:
    """Whether a browser may be sent to `url`: an address of Notion's, or of the login origin."""
    return is_below(url, BROWSER_HOSTS) or parse_origin(url, exact=False) == origin

# ---- 7 Login ------------------------------------------------------------------------------------
# The calls and their fields were observed between the official client 0.4.0 and a loopback server.

NO_SESSION = ("No pending login session found.",
              "Run 'ntn login' first to start a new login session.")
ADMIN_HINT = ("A workspace admin can limit who may create personal access tokens, and guests "
              "cannot log in.")

class LoginOver(AuthError):
    """The server will never approve this session: it has refused it, or let it expire."""

    def __init__(self, why: str = "") -> None:
        super().__init__("The login was refused (%s). Run `ntn login` to start a new one." % why
                         if why else "Login session expired. Run 'ntn login' to start a new one.",
                         ADMIN_HINT)

class Login(Client):
    """The login protocol: its calls, the waiting, and what is kept in the end."""

    def __init__(self, state: State) -> None:
        super().__init__(state.console, CALL_LIMIT, LOGIN_SIZE)
        self.state, self.settings = state, state.settings
        self.date: Optional[float] = None  # the server's time by its last answer

    def call(self, origin: str, name: str, **body: str) -> Dict[str, Json]:
        """The answer to one call. Raises LoginOver or ApiError. Only 307 and 308 are followed, with
        the body, and only to Notion over https: another redirect would hand the session over."""
        url = "%s/api/v3/%s" % (origin, name)
        headers = [("Content-Type", "application/json"), ("Accept", "application/json"),
                   ("User-Agent", USER_AGENT)]
        for _ in range(5):
            response = self.send("POST", url, headers, json.dumps(body).encode("utf-8"))
            if not 300 <= response.status < 400:
                break
            response.drain()  # the connection may serve the next request
            url = redirect_target(url, response)
            if response.status not in (307, 308) or not is_below(url, LOGIN_HOSTS):
                raise ApiError("The login was redirected (%d) to %s, which is not Notion's login."
                               % (response.status, parse_origin(url, exact=False) or "nowhere"),
                               "Check NOTION_BASE_URL and your network.")
        content = response.body  # also where it says nothing: the connection serves the next call
        if response.status in (408, 429) or response.status >= 500:
            later = NetworkError("Notion answered %s." % response.status_text, "Try again later.")
            later.pause = response.retry_after(self.console.clock.time()) or 0
            raise later
        if 400 <= response.status < 500 and body:
            raise LoginOver(response.status_text)
        answer, self.date = None, response.date()
        with suppress(ValueError):
            answer = parse_json(content.decode("utf-8"))
        if response.status != 200 or not isinstance(answer, dict):
            raise ApiError("The login server's answer cannot be understood (%s)."
                           % response.status_text, "Check NOTION_BASE_URL and --env.")
        return answer

    def start(self) -> PendingLogin:
        """A new session, whose address and code have been checked."""
        origin = self.settings.login_origin
        answer = self.call(origin, "workersCliLoginInit")
        session_id, code = read_text(answer, "sessionId"), read_text(answer, "verificationCode")
        url = read_text(answer, "browserUrl") or read_text(answer, "authorizationUrl")
        self.console.secrets.add(session_id)
        if not session_id:
            raise ApiError("The login server's answer has no session.", "Try again.")
        if not re.fullmatch(VERIFICATION_CODE, code):
            raise ApiError("The login server sent an invalid verification code.", "Try again.")
        if not is_login_url(url, origin):
            raise ApiError("The login server sent an address that is not Notion's: %s."
                           % (parse_origin(url, exact=False) or "not a web address"),
                           "It was not opened. Check NOTION_BASE_URL and your network.")
        now = self.date or self.console.clock.time()
        return PendingLogin(session_id, self.settings.environment, origin, int(now),
                            choose_expiry(answer.get("expiresAt"), now), url, code)

    def poll(self, pending: PendingLogin) -> Optional[Tuple[str, str, str]]:
        """Ask once: (token, workspace ID, name of the workspace), or None while it is pending."""
        answer = self.call(pending.origin, "workersCliLoginRedeem", sessionId=pending.session_id)
        status, token, key = (read_text(answer, name) for name in ("status", "token", "spaceId"))
        if status == "pending":
            return None
        if not status:
            raise ApiError("The login server's answer has no status.", "Try again.")
        if status != "confirmed":
            raise LoginOver("" if status == "expired" else one_line(status))
        self.console.secrets.add(token)
        if not (re.fullmatch(TOKEN, token) and re.fullmatch(WORKSPACE_ID, key)):
            raise ApiError("The login was approved, but without a valid %s." % (
                "workspace ID" if re.fullmatch(TOKEN, token) else "token"), "Try again.")
        return token, key, read_text(answer, "spaceName").strip() or key

    def wait(self, pending: PendingLogin) -> Tuple[str, str, str]:
        """Poll until the login is approved; a network or server in trouble is waited out. The time
        left is counted on the monotonic clock, set by each answer's Date: what the local wall clock
        says does not matter. Raises LoginOver, or the last failure without an answer."""
        console, clock = self.console, self.console.clock
        deadline = clock.monotonic() + pending.expires_at - pending.issued_at
        failure: Optional[ApiError] = None
        pause, failures = POLL_PAUSE, 0
        try:
            while True:
                data, _ = attempt(partial(self.state.load, PENDING))
                if data is not None and data.get("sessionId") != pending.session_id:
                    raise AuthError(*NO_SESSION)  # a logout, or another poll, has ended it
                try:
                    approved = self.poll(pending)
                    if approved is not None:
                        return approved
                    if self.date is not None:
                        deadline = clock.monotonic() + pending.expires_at - self.date
                    failure, failures, pause = None, 0, POLL_PAUSE
                except NetworkError as error:
                    if not failures:
                        console.say("%s Still waiting." % error.message)
                    failure, failures = error, failures + 1
                    pause = max(error.pause, min(POLL_PAUSE * 2 ** failures, POLL_PAUSE_LIMIT))
                end = min(clock.monotonic() + pause + jitter(), deadline)
                while clock.monotonic() < end:
                    left = max(0, int(deadline - clock.monotonic()))
                    console.live("Waiting for approval in the browser, %d:%02d left"
                                 % divmod(left, 60))
                    clock.sleep(min(1, max(0.01, end - clock.monotonic())))
                if clock.monotonic() >= deadline:
                    raise failure or LoginOver()
        finally:
            console.live("")

    def keep(self, pending: PendingLogin, token: str, key: str, name: str) -> str:
        """Keep what an approved login brought, make it the default, and return where its token is.
        Ctrl-C waits while files are written; while the keychain is asked it ends this at once."""
        state, place, kept, in_keychain = self.state, self.state.keychain.name, False, False

        def keep_in_files() -> str:
            path = place if in_keychain else state.put_in_file(key, token)
            state.put(WORKSPACES, {"id": key, "name": name},
                      "environments", pending.environment, key)
            state.put(CONFIG, {pending.environment: key}, "defaultWorkspaceIds")
            state.delete_pending(pending)
            nonlocal kept
            kept = True
            return path

        try:
            in_keychain = state.ask_keychain(partial(state.keychain.set, key, token))
            place = call_with_limit(keep_in_files, None, finish=True)
        except KeyboardInterrupt:
            if not kept:
                self.console.say("The approved login was not kept and is lost: run `ntn login` "
                                 "again.")
            raise
        if in_keychain:
            _, failure = attempt(partial(state.remove, AUTH, [key]))  # a token is in one place
            if failure is not None:
                self.console.say("warning: An older token of this workspace could not be removed. "
                                 + failure.message)
        return place

def redirect_target(url: str, response: Response) -> str:
    try:
        return str(urljoin(url, response.headers.get("Location") or ""))
    except ValueError:
        return ""

def open_browser(url: str, console: Console) -> bool:
    """Start a browser where a person can see it; False where the printed URL has to do. It runs in
    a process of its own: a browser may print, and webbrowser waits for some of them."""
    import subprocess
    import threading
    import webbrowser
    given = console.environ
    if "BROWSER" not in given:
        desktop = sys.platform in ("darwin", "win32", "cygwin") or "DISPLAY" in given
        if "SSH_CONNECTION" in given or not (desktop or "WAYLAND_DISPLAY" in given):
            return False
        try:
            name = os.path.basename(getattr(webbrowser.get(), "name", ""))
        except webbrowser.Error:
            return False
        if name in ("www-browser", "links", "elinks", "lynx", "w3m"):
            return False
    with suppress(OSError):
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "webbrowser", url], env=given, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        threading.Thread(target=process.wait, daemon=True).start()
        return True
    return False

# ---- 8 Request inputs ---------------------------------------------------------------------------

INPUT_HINT = "Use `Header:Value`, `name==value`, `path=value`, or `path:=json`."
NO_BODY_HINT = "To send no body, add </dev/null or -X GET."
MAX_INDEX = 9999
UNENCODABLE = "[\ud800-\udfff]"
CONTROL = "[\x00-\x1f\x7f-\x9f]"
ID_SEGMENT = "[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|me"
GAP = Number("null")  # a place in an array that only a higher index has made so far

Segment = Union[str, int, None]  # a key, an index, or None for `[]`, one after the last

def input_error(text: str, place: int, problem: str) -> ApiError:
    """What to raise for an input that cannot be taken: it is quoted, with a caret at the place."""
    from unicodedata import combining, east_asian_width
    name, colon, value = text.partition(":")
    text = name + colon + "*" * len(value) if name.strip().lower() in SECRET_HEADERS else text
    start = max(0, place - 60)
    before, after = (re.sub(r"\s", " ", visible(part))
                     for part in (text[start:place], text[place:start + 90]))
    columns = sum(0 if combining(char) else 1 + (east_asian_width(char) in "WF") for char in before)
    return ApiError("Cannot read the input: %s.\n  %s\n  %s^" % (
        problem, before + after, " " * columns), INPUT_HINT)

class RequestInputs:
    """What the arguments after PATH add up to: headers, query parameters and body fields."""

    def __init__(self, arguments: Iterable[str] = ()) -> None:
        self.headers: Pairs = []
        self.query: Pairs = []
        self.body: Json = None  # an object or an array, once there is a field
        for text in arguments:
            self.add(text)

    @property
    def has_token(self) -> bool:
        return any(name.lower() == "authorization" for name, _ in self.headers)

    def add(self, text: str) -> None:
        """Take one input. Its separator is the first outside brackets, the longest there."""
        odd = re.search(UNENCODABLE, text)
        if odd:
            raise input_error(text, odd.start(), "it is not valid UTF-8")
        place, separator = find_separator(text)
        name, value = text[:place], text[place + len(separator):]
        if separator == ":":
            self.add_header(name, value.strip(" \t"), text)
        elif separator == "==":
            if not name:
                raise input_error(text, 0, "the query parameter has no name")
            self.query.append((name, value))
        else:
            path = parse_body_path(text, name)
            try:
                content = parse_json(value) if separator == ":=" else value
            except ValueError as error:
                raise input_error(
                    text, place + 2 + getattr(error, "pos", 0), "this is not valid JSON (%s)" %
                    (getattr(error, "msg", None) or error)) from None
            self.body = store_at(self.body, path, content, text)

    def add_header(self, name: str, value: str, text: str) -> None:
        """Take one header; `text` is the input as it was given."""
        odd = re.search(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]|\A\Z", name)  # not in a token of RFC 9110
        if odd:
            raise input_error(text, odd.start(), "a header name cannot have this character")
        if name.lower() in ("host", "content-length", "transfer-encoding"):
            raise input_error(text, 0, "this header is set by ntn itself")
        control = re.search("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]", value)
        if control:
            raise input_error(text, len(name) + 1 + control.start(),
                              "a header value cannot have control characters")
        self.headers.append((name, value))

def find_separator(text: str) -> Tuple[int, str]:
    """(place, separator) of an input."""
    opened = None
    for place, char in enumerate(text):
        if opened is not None:
            opened = None if char == "]" else opened
        elif char == "[":
            opened = place
        elif char in ":=":
            pair = text[place:place + 2]
            return place, pair if pair in (":=", "==") else char
    if opened is not None:
        raise input_error(text, opened, "this bracket is not closed")
    raise input_error(text, len(text), "there is no =, :=, == or : in it")

def parse_body_path(text: str, path: str) -> List[Tuple[int, Segment]]:
    """(place, segment) of a body path such as a[b].c[0][]; `a[b]c` is `a.b.c`."""
    segments: List[Tuple[int, Segment]] = []
    wanted = True  # a key has to come: at the start, and after a dot
    for token in re.finditer(r"\[([^\]]*)\]|[^.\[\]]+|[.\]]", path):
        place, found, inner = token.start(), token.group(), token.group(1)
        if found == "]":
            raise input_error(text, place, "this bracket was not opened")
        if wanted and (found == "." or inner is not None and segments):
            raise input_error(text, place, "a key is missing here")
        wanted = found == "."
        if not wanted:
            place, key = (place, found) if inner is None else (place + 1, inner)
            is_index = re.fullmatch("[0-9]+", key)
            if is_index and len(key.lstrip("0")) > 4:
                raise input_error(text, place, "an index goes up to %d" % MAX_INDEX)
            segments.append((place, int(key) if is_index else key or None))
    if wanted:
        raise input_error(text, len(path), "a key is missing here")
    return segments

def store_at(root: Json, path: List[Tuple[int, Segment]], value: Json, text: str) -> Json:
    """`root` with `value` at `path`; containers that are missing on the way are made."""
    top = [GAP if root is None else root]
    holder: Json = top
    step: Segment = 0
    for place, segment in path:
        found = holder[step]
        if found is GAP:
            found = holder[step] = {} if isinstance(segment, str) else []
        if not isinstance(found, dict if isinstance(segment, str) else list):
            kind = ("an object" if isinstance(found, dict)
                    else "an array" if isinstance(found, list) else "a value")
            raise input_error(text, place, "an earlier input put %s here" % kind)
        if isinstance(found, list):
            segment = len(found) if segment is None else segment
            found.extend([GAP] * (int(segment) + 1 - len(found)))
        else:
            found.setdefault(segment, GAP)
        holder, step = found, segment
    holder[step] = value
    return top[0]

def build_url(api_origin: str, path: str, query: Iterable[Tuple[str, str]]) -> str:
    """The address to call, which is below the API origin or refused with an ApiError."""
    def quote_rest(text: str, safe: str) -> str:
        """Percent-encode what cannot stand in a URL, and leave what is encoded already."""
        return re.sub("%(?![0-9A-Fa-f]{2})", "%25", quote(text, safe="%:@!$&'()*+,;=~[]" + safe))

    rest = path.lstrip("/")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
        if parse_origin(path, exact=False) != api_origin:
            raise ApiError("That is not an address of the API, which is at %s." % api_origin,
                           "Use the path alone, such as v1/users/me.")
        rest = re.sub(r"^[^:]+://[^/?#]*/*", "", path)
    where, _, given = rest.partition("?")
    decoded, query = unquote(where), list(query)
    if any(re.search(UNENCODABLE, text) for pair in query for text in pair):
        raise ApiError("A query parameter is not valid UTF-8.")
    problem = ("is not valid UTF-8" if re.search(UNENCODABLE, path)
               else "has a backslash in it" if "\\" in decoded
               else "has a control character in it" if re.search(CONTROL, decoded + path)
               else "has a `..` segment in it" if ".." in decoded.split("/")
               else "" if where else "is empty")
    if problem:
        raise ApiError("The path %s %s." % (QUOTE(path), problem),
                       "Use a path such as v1/users/me.")
    parts = [quote_rest(given, "/?")] if given else []
    parts += ["%s=%s" % (quote(name, safe=""), quote(value, safe="")) for name, value in query]
    url = "%s/%s%s" % (api_origin, quote_rest(where, "/"), "?" + "&".join(parts) if parts else "")
    if parse_origin(url, exact=False) != api_origin:  # the token follows this address
        raise ApiError("The path %s leads away from %s." % (QUOTE(path), api_origin))
    return url

def read_body_option(text: str, console: Console) -> bytes:
    """The bytes that -d names: JSON itself, @FILE or @- (stdin, however long it takes)."""
    hint = "-d takes JSON, @FILE, or @- for standard input."
    if text in ("-", "@"):
        raise UsageError("-d %s is not a body." % text, hint)
    if not text.startswith("@"):
        return check_json(text.encode("utf-8", "surrogateescape"), "-d")
    if text == "@-":
        return check_json(read_stdin(console, None), "standard input")
    path = text[1:].encode("utf-8", "surrogateescape")  # as the system knows it: see `run`
    with failing("read " + one_line(text[1:]), hint), open(path, "rb") as file:
        return check_json(file.read(), text[1:])

def check_json(data: bytes, source: str, containers_only: bool = False) -> bytes:
    """`data`, unchanged, if it is JSON; else CliError."""
    try:
        value = parse_json(data.decode("utf-8"))
        if containers_only and not isinstance(value, (dict, list)):
            raise ValueError("it is neither an object nor an array")
    except ValueError as error:
        raise CliError("The body from %s cannot be sent as JSON: %s." % (one_line(source), error),
                       NO_BODY_HINT if containers_only else "") from None
    return data

def stdin_waits(console: Console) -> Optional[bool]:
    """Whether there is something to be read in standard input; None where no body can be there:
    a terminal has none, and a file that was begun already belongs to the shell loop around us."""
    import stat
    try:
        descriptor = console.stdin.fileno() if console.stdin else -1
        status = os.fstat(descriptor)
    except (OSError, ValueError):  # closed, or not a file of the system's
        return None
    if stat.S_ISREG(status.st_mode):
        return status.st_size > 0 if os.lseek(descriptor, 0, os.SEEK_CUR) == 0 else None
    if not (stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)):
        return None
    if os.name == "nt":
        return False  # it cannot be told without reading
    import fcntl
    import termios
    return any(fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4))

def read_stdin(console: Console, limit: Optional[float]) -> bytes:
    """All of standard input; UsageError if nothing comes for `limit` seconds."""
    if console.stdin is None:
        raise CliError("Standard input is closed, so no body can be read from it.")
    notice = partial(console.say, "Waiting for a JSON body from standard input.")
    with failing("read standard input"):
        descriptor = console.stdin.fileno()
        try:  # os.read, since a thread that hangs in a buffered stream breaks Python's exit
            chunks = [call_with_limit(lambda: os.read(descriptor, CHUNK), limit, notice)]
        except TimeoutError:
            raise UsageError("Standard input is a pipe that has been silent for %g s."
                             % STDIN_SILENCE, NO_BODY_HINT[:-1] + "; to wait for one, -d @-."
                             ) from None
        while chunks[-1]:
            chunks.append(os.read(descriptor, CHUNK))
    return b"".join(chunks)

def read_piped_body(method: str, path: str, console: Console) -> Optional[bytes]:
    """A JSON body from stdin, where one can be there and the method or the path takes one."""
    segment = path.partition("?")[0].rstrip("/").rpartition("/")[2]
    if not method and re.fullmatch(ID_SEGMENT, segment):  # Notion's API has no POST for such a path
        if stdin_waits(console):
            console.say("note: Standard input is not sent to this path without -X PATCH.")
        return None
    if method in ("GET", "HEAD", "DELETE") or stdin_waits(console) is None:
        return None
    data = read_stdin(console, STDIN_SILENCE)
    return check_json(data, "standard input", containers_only=True) if data.strip() else None

# ---- 9 Commands ---------------------------------------------------------------------------------
# A command's options and help stand above the function that does its work.

Args = Any  # an argparse.Namespace: the options by name, and `inputs`, what else was given
Work = Callable[[Args, State], int]

class Command(NamedTuple):
    summary: str
    options: Tuple[Tuple[str, ...], ...]  # spellings, the name of its value if it takes one, help
    epilog: str
    work: Optional[Work]

COMMANDS: Dict[str, Command] = {}  # by name, such as "login poll"
JSON = ("--json", "", "print one JSON document")
PLAIN = ("--plain", "", "print what a pipe gets, also on a terminal")
API_VERSION = ("--notion-version", "V", "as the variable NOTION_API_VERSION")
WORKSPACE = ("--workspace", "ID|NAME")

def command(name: str, summary: str, *options: Tuple[str, ...], epilog: str = ""
            ) -> Callable[[Work], Work]:
    """Makes the function below it a command."""
    def register(work: Work) -> Work:
        COMMANDS[name] = Command(summary, options, epilog, work)
        return work
    return register

# 9.1 Calls of the API and their failures ---------------------------------------------------------

class Api(Client):
    """Calls of the API over one connection, with one credential (None: the headers have one)."""

    def __init__(self, state: State, credential: Optional[Credential], limit: Optional[float],
                 headers: Sequence[Tuple[str, str]] = (), retry: bool = True) -> None:
        super().__init__(state.console, limit)
        self.settings, self.credential, self._headers = state.settings, credential, list(headers)
        self._send = self.send_with_retries if retry else self.send

    def ask(self, method: str, path: str, query: Pairs, body: Body = None) -> Response:
        """The answer, whatever its status. The only place that puts a token into a header."""
        url = build_url(self.settings.api_origin, path, query)
        headers = [("Notion-Version", self.settings.notion_version),
                   ("User-Agent", USER_AGENT), ("Accept", "application/json"),
                   ("Accept-Encoding", "gzip")]
        if self.credential:
            headers.insert(0, ("Authorization", "Bearer " + self.credential.token))
        if body is not None:
            headers.append(("Content-Type", body.content_type if isinstance(body, FileBody)
                            else "application/json"))
        names = {name.lower() for name, _ in self._headers}
        # A given header replaces the default of its name; an empty one takes it away, as in curl.
        headers = [header for header in headers if header[0].lower() not in names]
        return self._send(method, url, headers + [pair for pair in self._headers if pair[1]], body)

    def call(self, method: str, path: str, query: Pairs, body: Body = None) -> Response:
        """The answer, its body read. An ApiError or AuthError for a status from 300 up."""
        response = self.ask(method, path, query, body)
        if response.status >= 300:
            raise api_error(response, self.credential, path)
        _ = response.body
        return response

    def pages(self, method: str, path: str, query: Pairs, body: Optional[bytes],
              decode: Callable[[str], Json]) -> Iterator[List[Json]]:
        """The results of each page of a list. A CliError names the cursor to go on from."""
        path, _, given = path.partition("?")
        query = parse_qsl(given, keep_blank_values=True) + query
        value = parse_json(check_json(body, "the argument body").decode("utf-8")) if body else {}
        if not isinstance(value, dict):
            raise ApiError("The body is not a JSON object, so a next page cannot be asked for.",
                           "Remove --paginate.")
        body = b"{}" if method == "POST" and body is None else body
        seen = {str(found) for name, found in query + list(value.items()) if name == "start_cursor"}
        cursor, separator = "", "==" if method == "GET" else "="
        while True:
            try:
                page = read_object(self.call(method, path, query, body).json(decode))
                results, more = page.get("results"), page.get("has_more")
                following = read_text(page, "next_cursor") if more is not False else ""
                if not isinstance(results, list):
                    raise ApiError("The answer is not a paginated list.", "Remove --paginate.")
                if more is True and not following or following in seen:
                    raise ApiError("The API gave the cursor %s twice." % one_line(following)
                                   if following else "The API gave no cursor to further results.")
            except CliError as error:
                if cursor:
                    import shlex
                    error.hint = ("%s The results so far are complete. Continue with `%s`." % (
                        error.hint, shlex.quote("start_cursor" + separator + one_line(cursor)))
                        ).strip()
                raise
            yield results
            if not following:
                return
            cursor = following
            seen.add(cursor)
            if method == "GET":
                query = [pair for pair in query if pair[0] != "start_cursor"]
                query.append(("start_cursor", cursor))
            else:
                body = format_json(dict(value, start_cursor=cursor)).encode("utf-8")

def api_error(response: Response, credential: Optional[Credential], path: str = "") -> CliError:
    """What an answer with a status from 300 up means; its body becomes the message."""
    answer, status = read_error(response), response.status_text
    code = read_text(answer, "code")
    request_id = read_text(answer, "request_id") or response.headers.get("x-request-id")
    tail = "\n  request id: %s" % one_line(request_id) if request_id else ""
    if response.status < 400 and response.headers.get("Location"):
        target = parse_origin(redirect_target("", response), exact=False) or "another address"
        error: CliError = ApiError(
            "Public API request failed (%s): it is redirected to %s, and no redirect is followed."
            % (status, target), "Check NOTION_API_BASE_URL.")
    elif response.status == 401:
        error = AuthError("Public API request failed: API token is invalid." + tail,
                          "The token came from %s. %s" % (
                              credential.source if credential else "the Authorization input",
                              "Run `ntn login` to get a new one." if credential
                              and credential.workspace_id else "Set it to a valid one."))
    else:
        lines = filter(None, map(one_line, read_text(answer, "message").splitlines()))
        kind = one_line(response.headers.get("Content-Type", "").split(";")[0])
        message = ("\n    ".join(lines) if read_text(answer, "message")
                   else one_line(response.body[:300].decode("utf-8", "replace"))
                   if response.is_json and response.body.strip()
                   else "the server sent %s instead of a Notion error." % (kind or "nothing"))
        error = ApiError("Public API request failed (%s): %s%s" % (
            (status + " " + one_line(code)).strip(), message, tail), advise(response, answer, path))
    error.status, error.body = response.status, response.body
    error.api_code, error.request_id = code or None, request_id
    return error

def read_error(response: Response) -> Dict[str, Json]:
    """The object in the body of an error, empty if there is none or it does not come."""
    response.drain()
    with suppress(ApiError):
        return read_object(response.json())
    return {}

def advise(response: Response, answer: Dict[str, Json], path: str) -> str:
    """A hint for the commonest mistakes, or when to try again."""
    where = re.sub(r"^[^:/]+://[^/]+", "", path).partition("?")[0].strip("/")
    if response.status == 400 and re.search(r"\barchived\b", str(answer.get("message"))):
        return "Since version 2026-03-11 the field is called in_trash: try in_trash:=true."
    if (response.status in (404, 405) or answer.get("code") == "invalid_request_url") and (
            where and not re.match(r"(admin/)?v\d+(/|\Z)", where)):
        return "The paths of the API begin with v1/: try v1/%s." % where
    if response.status not in (429, 503, 529):
        return ""
    why, asked = read_text(answer, "additional_data", "rate_limit_reason"), response.retry_after(
        time.time())
    words = "The reason is %s. " % one_line(why) if why else ""
    return (words + "The server asks to wait %d s." % asked if asked else words).strip()

# 9.2 The API's own description -------------------------------------------------------------------

class Operation(NamedTuple):
    """One method of one path in the API's OpenAPI description."""
    method: str
    path: str
    content: Dict[str, Json]

    def text(self, key: str) -> str:
        return one_line(read_text(self.content, key))

    @property
    def reference(self) -> str:
        """Where the docs origin documents it; "" if nowhere below that origin."""
        path = self.text("x-notion-docs-ref").strip("/")
        return path if re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", path) else ""

class Description:
    """The API's OpenAPI document, which may hold anything anywhere."""

    def __init__(self, state: State) -> None:
        """Take it from the cache for a day, then ask the docs origin, without a token, for a newer
        one. ApiError if it can neither be fetched nor found."""
        self.origin, now = state.settings.docs_origin, state.console.clock.time()
        cached, _ = attempt(partial(state.load, SPECIFICATION))  # a damaged one is fetched anew
        same = read_text(cached, "origin") == self.origin
        self.document = read_object(cached, "document") if same else {}
        etag = read_text(cached, "etag") if self.document else ""
        age = now - (parse_time(read_object(cached).get("checkedAt")) or 0)
        if self.document and 0 <= age < SPEC_LIFETIME:
            return
        try:
            response = fetch_docs("/openapi.json", state, [("If-None-Match", etag)] if re.fullmatch(
                r"[\x20-\x7e]+", etag) else [])
            if response.status != 304 or not self.document:
                found = parse_json(response.body.decode("utf-8"))
                if not read_object(found, "paths"):
                    raise ValueError
                self.document, etag = found, response.headers.get("ETag")
        except (CliError, ValueError) as error:
            problem = getattr(error, "message", "The answer is not an OpenAPI document.")
            if not self.document:
                raise ApiError("The API's description cannot be fetched from %s. %s" % (
                    self.origin, problem), getattr(error, "hint", "")) from None
            state.console.say("warning: %s An older copy of the API's description is used."
                              % problem)
            return
        with suppress(CliError, RecursionError):  # it works without a cache, just slower
            state.prove(SPECIFICATION)
            state.put(SPECIFICATION, {"origin": self.origin, "etag": etag, "checkedAt": int(now),
                                      "document": self.document})

    def operations(self) -> List[Operation]:
        """All operations, by path, then method."""
        paths = read_object(self.document, "paths")
        found = [Operation(method.upper(), path, content) for path in paths
                 for method, content in read_object(paths[path]).items()
                 if isinstance(content, dict) and method.upper() in METHODS]
        return sorted(found, key=lambda operation: (operation.path, operation.method))

    def find(self, path: str) -> List[Operation]:
        """The operations of the path that `path` is an instance of; a literal segment wins."""
        segments, operations = path.strip("/").split("/"), self.operations()
        best: Tuple[List[bool], str] = ([], "")
        for operation in operations:
            parts = operation.path.strip("/").split("/")
            same = [part == segment for part, segment in zip(parts, segments)]
            if len(parts) == len(segments) and all(
                    equal or re.fullmatch(r"\{[^}]*\}", part) for part, equal in zip(parts, same)):
                best = max(best, (same, operation.path))
        return [operation for operation in operations if operation.path == best[1]]

    def resolve(self, value: Json) -> Dict[str, Json]:
        """`value`, or the object that its reference leads to, which may lead to another."""
        for _ in range(20):
            keys = follow(read_object(value).get("$ref"))
            value = read_object(self.document, *keys) if keys else value
        return read_object(value)

    def reduce(self, operation: Operation) -> Dict[str, Json]:
        """A document with this operation alone and what its references reach, at any depth."""
        document, item = self.document, read_object(self.document, "paths", operation.path)
        kept = {key: value for key, value in item.items() if key in ("parameters", "servers")}
        kept[operation.method.lower()] = operation.content
        reduced: Dict[str, Json] = {"paths": {operation.path: kept}}
        reduced.update((key, document[key]) for key in ("openapi", "info", "servers")
                       if key in document)
        queue: List[Json] = [kept]
        for requirement in as_list(operation.content.get("security", document.get("security"))):
            queue += [{"$ref": "#/components/securitySchemes/" + name}
                      for name in read_object(requirement)]
        while queue:
            value = queue.pop()
            queue += value.values() if isinstance(value, dict) else as_list(value)
            # A component as a whole, such as components, schemas, Page
            keys = follow(read_object(value).get("$ref"))[:3]
            place = read_object(document, *keys[:-1])
            if keys and keys[-1] in place:
                target = make_object(reduced, *keys[:-1])
                if keys[-1] not in target:
                    target[keys[-1]] = place[keys[-1]]
                    queue.append(place[keys[-1]])
        return reduced

    def explain(self, operation: Operation) -> str:
        """The help of one call: what it is, its parameters and the fields of its body."""
        def row(name: Json, value: Json, required: Json) -> str:
            entry = self.resolve(value)
            schema = self.resolve(entry.get("schema", entry))
            kind = schema.get("type", "any")
            words = entry.get("description") or schema.get("description") or ""
            return ("  %-24s %-8s %-9s%s" % (
                one_line(str(name)), "|".join(map(str, as_list(kind) or [kind])),
                "required " * bool(required), one_line(str(words))))[:100].rstrip()

        shared = as_list(read_object(self.document, "paths", operation.path).get("parameters"))
        lines = ["%s %s" % (operation.method, one_line(operation.path)), operation.text("summary")]
        for entry in map(self.resolve, shared + as_list(operation.content.get("parameters"))):
            title = "\n%s parameters:" % str(entry.get("in")).capitalize()
            lines += [title] * (title not in lines)
            lines.append(row(entry.get("name"), entry, entry.get("required")))
        content = read_object(self.resolve(operation.content.get("requestBody")), "content")
        for kind in content:
            schema = self.resolve(read_object(content, kind).get("schema"))
            lines += ["\nBody fields (path=value, path:=json), as %s:" % one_line(kind)]
            lines += [row(name, value, name in as_list(schema.get("required")))
                      for name, value in read_object(schema, "properties").items()]
        if operation.reference:
            lines.append("\nDocumentation: %s/%s" % (self.origin, operation.reference))
        return visible("\n".join(lines) + "\n\n")

def fetch_docs(path: str, state: State, headers: Any = ()) -> Response:
    """An answer with status 200 or 304 of the docs origin."""
    url = state.settings.docs_origin + path
    with closing(Client(state.console, CALL_LIMIT)) as client:
        response = client.send_with_retries("GET", url, list(headers) + [
            ("User-Agent", USER_AGENT), ("Accept-Encoding", "gzip")])
        _ = response.body
    if response.status not in (200, 304):
        raise ApiError("%s answered %s." % (url, response.status_text))
    return response

def as_list(value: Json) -> List[Json]:
    return value if isinstance(value, list) else []

def follow(reference: Json) -> List[str]:
    """The keys that a reference such as #/components/schemas/Page leads through (RFC 6901)."""
    keys = reference[2:].split("/") if isinstance(reference, str) else []
    return [unquote(key).replace("~1", "/").replace("~0", "~") for key in keys]

# 9.3 login, logout -------------------------------------------------------------------------------

LOGIN_TEXT = """Open this URL in your browser to log in:

  %s

Confirm that this verification code matches what you see in the browser:

  %s
"""

@command(
    "login", "log in with a browser",
    ("--no-browser", "", "print the address and exit; finish with `login poll`"),
    (*WORKSPACE, "switch to a workspace you are logged in to"), JSON, epilog="""\
In a terminal, login opens a browser and waits for your approval. Elsewhere, and
with --no-browser, it prints an address and a verification code, and
`%(prog)s poll` finishes the login.

examples:
  %(prog)s
  %(prog)s --workspace Acme
  %(prog)s --no-browser --json | jq -r .url""")
def cmd_login(args: Args, state: State) -> int:
    console, login = state.console, Login(state)
    warn_of_token(state)
    interactive, chosen = console.interactive and not args.no_browser, None
    if args.workspace is not None:
        chosen = known_workspace(state, args.workspace)
    else:
        state.prove(CONFIG)
        state.prove(WORKSPACES)
        wanted = state.settings.workspace_id
        if interactive:
            chosen = state.find_workspace(wanted) if wanted else pick_workspace(state)
    credential = state.get_token(chosen) if chosen else None
    if chosen and credential:
        words = "Still using" if state.default_workspace() == chosen else "Switched to"
        state.put(CONFIG, {state.settings.environment: chosen}, "defaultWorkspaceIds")
        return report_login(args, state, words, "switched", chosen, credential.source)
    if chosen:
        console.say("The token of workspace %s is gone, so a new login is needed."
                    % one_line(state.workspaces().get(chosen, chosen)))
    prove_login(state)
    with closing(login):
        pending, replaced = login.start(), state.load_pending()
        state.save_pending(pending)
        if replaced and replaced.code:
            console.say("This replaces the pending login with the code %s." % replaced.code)
        if interactive:
            console.say(LOGIN_TEXT % (pending.url, pending.code))
            console.say("Your browser should open now; if not, open the URL yourself."
                        if open_browser(pending.url, console) else "Open the URL on any device.")
            return complete_login(args, login, pending)
    command = own_command() + " login poll"
    if args.json:
        console.emit_json({"url": pending.url, "verification_code": pending.code,
                           "expires_at": pending.expires_at, "poll_command": command})
    else:  # programs rely on these lines
        console.emit(LOGIN_TEXT % (pending.url, pending.code)
                     + "\nThen run this command to complete login:\n\n  %s\n" % command)
    return EXIT_OK

def warn_of_token(state: State) -> None:
    if state.settings.credential is not None:
        state.console.say("warning: NOTION_API_TOKEN is set and takes precedence over what this "
                          "login stores.\n  hint: Unset it to use the login.")

def prove_login(state: State) -> None:
    """Find out, before anything is sent, that a login can be kept: its session works only once."""
    if not state.ask_keychain(state.keychain.prove):
        state.prove(AUTH)
    for name in (CONFIG, WORKSPACES, PENDING):
        state.prove(name)

def report_login(args: Args, state: State, words: str, status: str, key: str, place: str) -> int:
    name = state.workspaces().get(key)
    state.console.say("✔ %s workspace %s" % (words, one_line(name or key)))
    if status == "confirmed":
        state.console.say("  The token is stored in %s" % place)
    if args.json:
        state.console.emit_json({"status": status, "workspace_id": key, "workspace_name": name,
                                 "stored_in": place})
    return EXIT_OK

def known_workspace(state: State, wanted: str) -> str:
    """The ID of a workspace that is logged in to; else AuthError."""
    found = state.find_workspace(wanted)
    if found is None:
        known = ", ".join("%s (%s)" % (one_line(name), key)
                          for key, name in state.workspaces().items())
        raise AuthError("You are not logged in to a workspace named %r." % wanted,
                        "You are logged in to: %s." % known if known else
                        "Run `ntn login` to log in to it.")
    return found

def pick_workspace(state: State) -> Optional[str]:
    """Ask on the terminal which known workspace to use; None for a new login."""
    console, known, default = state.console, state.workspaces(), state.default_workspace()
    if not known:
        return None
    choices: List[Optional[str]] = list(known) + [None]
    labels = [one_line(known[key]) + " (default)" * (key == default) for key in known]
    labels.append("Authenticate with new workspace")
    preset = choices.index(default if default in known else None) + 1
    console.say("\n".join(["Which workspace do you want to use?", ""] + [
        "  %d  %s" % pair for pair in enumerate(labels, 1)] + [""]))
    while True:
        console.say("Number or name [%d]: " % preset, end="")
        line = console.stdin.buffer.readline() if console.stdin else b""
        if not line:  # Ctrl-D
            raise KeyboardInterrupt
        answer = line.decode("utf-8", "replace").strip().lower() or str(preset)
        named = [key for key in known if known[key].lower().startswith(answer)]
        if re.fullmatch("[0-9]{1,6}", answer) and 1 <= int(answer) <= len(labels):
            return choices[int(answer) - 1]
        if len(named) == 1:
            return named[0]
        console.say("Type a number from 1 to %d, or the start of a name." % len(labels))

def complete_login(args: Args, login: Login, pending: PendingLogin, once: bool = False) -> int:
    """Wait for the approval and keep what it brings; whatever interrupts leaves the session."""
    console, state = login.console, login.state
    kept = "The login is still pending: run `ntn login poll` to finish it."
    try:
        approved = login.poll(pending) if once else login.wait(pending)
    except KeyboardInterrupt:
        console.say("\n" * console.is_terminal(console.stderr) + kept)
        raise
    except NetworkError as error:
        raise ApiError(error.message, kept) from None
    except LoginOver:
        if state.delete_pending(pending):
            raise
        raise AuthError("Another process has finished or ended this login.",
                        "Run `ntn whoami` to check.") from None
    if approved is None:
        console.say("The login is still pending: approve it in the browser.")
        if args.json:
            console.emit_json({"status": "pending", "expires_at": pending.expires_at})
        return EXIT_PENDING
    place = login.keep(pending, *approved)
    return report_login(args, state, "Logged in to", "confirmed", approved[1], place)

@command("login poll", "finish a login that was started with `login --no-browser`",
         ("--no-wait", "", "ask once; exit code 8 if the login is not approved yet"), JSON)
def cmd_login_poll(args: Args, state: State) -> int:
    pending = state.load_pending()
    if pending is None:
        raise AuthError(*NO_SESSION)
    if args.env is not None:
        pending = pending._replace(environment=state.settings.environment,
                                   origin=state.settings.login_origin)
    state.settings.environment = pending.environment
    warn_of_token(state)
    prove_login(state)
    if pending.url:
        state.console.say(LOGIN_TEXT % (pending.url, pending.code))
    with closing(Login(state)) as login:
        return complete_login(args, login, pending, once=args.no_wait)

@command("logout", "forget the stored logins of this environment",
         (*WORKSPACE, "forget this workspace alone"),
         epilog="It needs no network; a token stays valid at Notion until it is revoked there.")
def cmd_logout(args: Args, state: State) -> int:
    console, environment = state.console, state.settings.environment
    failures: Dict[str, str] = {}  # message: hint

    def forget(step: Callable[..., Any], *values: Any) -> Any:
        """What `step` returns; what fails must not keep the rest from being forgotten."""
        result, failure = attempt(partial(step, *values))
        failures.update({failure.message: failure.hint} if failure else {})
        return result

    chosen = None if args.workspace is None else known_workspace(state, args.workspace)
    names: Dict[str, str] = forget(state.workspaces) or {}
    default = forget(state.default_workspace)
    names.update({default: default} if default and default not in names else {})
    names = {chosen: names.get(chosen, chosen)} if chosen else names  # others forget, too
    deleted = forget(state.remove, AUTH, names)
    left: Set[str] = set(names) if deleted is None else set()  # so that logout can be repeated
    done = [deleted]
    for key, name in names.items():
        found, failure = attempt(partial(state.keychain.delete, key))
        done.append(found)
        if failure and not isinstance(failure, NoKeychain):
            if key in (deleted or ()):
                console.say("warning: %s An older token may be left in it." % failure.message)
            else:
                left.add(key)
                failures["The token of workspace %s is left: %s" % (
                    one_line(name), failure.message)] = failure.hint
    gone = [key for key in names if key not in left]
    if default in names:
        done.append(forget(state.remove, CONFIG, [environment], "defaultWorkspaceIds"))
    done.append(forget(state.remove, WORKSPACES, gone, "environments", environment))
    pending = None if chosen else forget(state.load_pending)
    if pending is not None and pending.environment == environment:
        done.append(forget(state.delete_pending, pending))
    if state.settings.credential is not None:
        console.say("warning: NOTION_API_TOKEN is set and still in effect.\n  hint: Unset it.")
    for message in list(failures)[:-1]:
        console.say("error: " + message)
    for message in list(failures)[-1:]:
        raise CliError(message, "The rest was forgotten." if any(done) else failures[message])
    console.say("✔ Logged out" if any(done) else "✔ Already logged out")
    if any(done) and gone:
        console.say("  Forgotten: %s. At Notion the token stays valid until you revoke it in "
                    "your settings." % ", ".join(one_line(names[key]) for key in gone))
    return EXIT_OK

# 9.4 api -----------------------------------------------------------------------------------------

@command(
    "api", "call the Notion API",
    ("-X", "--method", "METHOD", "HTTP method (default: POST with a body, else GET)"),
    ("-d", "--data", "JSON", "the body: JSON, @FILE, or @- for standard input"),
    ("--file", "FILE", "upload FILE as form field `file`; path=value adds fields"),
    ("-i", "--include", "", "show status and headers before the body"),
    ("--paginate", "", "follow next_cursor; print each result as one line of JSON"), API_VERSION,
    ("--timeout", "S", "limit for one attempt (default: 60 s without progress)"),
    ("--no-retry", "", "do not try again after 429, 5xx or a broken connection"),
    ("--spec", "", "print the OpenAPI description of this call"),
    ("--docs", "", "print the documentation of this call"), epilog="""\
PATH is a path such as v1/users/me, or an address at the API's origin. Options and
inputs mix in any order. `%(prog)s ls` lists what can be called, and
`%(prog)s PATH --help` explains one.

inputs (in quotes if they contain brackets, which zsh takes for patterns):
  path=value       a body field that is a string      title=Roadmap
  path:=json       a body field that is any JSON      in_trash:=true
  name==value      a query parameter                  page_size==100
  Header:Value     a request header                   X-Trace:abc (X-Trace: for none)
In a path, a[b] and a.b are keys, a[0] and a.0 are places in an array, a[] appends.

examples:
  %(prog)s v1/pages parent.page_id=ID 'properties[title][0][text][content]=Hello'
  %(prog)s v1/pages/ID -X PATCH in_trash:=true
  %(prog)s v1/search query=roadmap filter.property=object filter.value=page
  %(prog)s v1/search query=roadmap --paginate | jq -r .id

Without a body in inputs, -d or --file, a JSON object or array is read from a pipe
or a file, unless the path ends in an ID or `me` (then -X PATCH reads it):
  jq -n '{query: "roadmap"}' | %(prog)s v1/search""")
def cmd_api(args: Args, state: State) -> int:
    console = state.console
    if not args.inputs:
        raise UsageError("`ntn api` needs a PATH.", "Use one such as v1/users/me.")
    console.emit("")  # fails where nothing can be printed, before anything is sent
    method, path = parse_method(args.method), args.inputs[0]
    if args.spec or args.docs or args.help:
        return describe_call(args, method, state)
    if args.paginate and (args.include or args.file is not None
                          or method not in ("", "GET", "POST")):
        raise UsageError("--paginate goes with GET and POST, and without -i and --file.")
    if args.timeout is not None and not (
            re.fullmatch(r"(?=.)[0-9]{0,6}(\.[0-9]+)?", args.timeout) and float(args.timeout)):
        raise UsageError("--timeout is %r: it takes seconds, such as 10 or 2.5." % args.timeout)
    timeout = None if args.timeout is None else float(args.timeout)
    inputs = RequestInputs(args.inputs[1:])
    build_url(state.settings.api_origin, path, inputs.query)  # refuses what is no path
    body = choose_body(args, inputs, console)
    for name, value in inputs.headers:
        if name.lower() in SECRET_HEADERS:
            console.secrets.update(value.split()[-1:])
    credential = None if inputs.has_token else state.credential()
    if body is None:
        body = read_piped_body(method, path, console)
    method = method or ("GET" if body is None else "POST")
    with closing(Api(state, credential, timeout, inputs.headers, not args.no_retry)) as api:
        if args.paginate and not isinstance(body, FileBody):
            for results in api.pages(method, path, inputs.query, body, parse_json):
                lines = [format_json(item) + "\n" for item in results]
                console.emit("".join(lines).encode("utf-8"))
            return EXIT_OK
        response, error = api.ask(method, path, inputs.query, body), None
        if args.include:
            lines = ["HTTP/1.%d %s" % (response.version % 10, response.status_text)]
            lines += header_lines(response.headers.items(), secrets=True)
            console.emit(visible("\n".join(lines)) + "\n\n")
        if response.status >= 300:
            error = api_error(response, credential, path)
        if args.include or error is None:
            show_body(response, console)
    if error:
        raise error
    return EXIT_OK

def parse_method(text: Optional[str]) -> str:
    """What -X says in capitals; "" if it is not given."""
    if text is not None and not re.fullmatch("[A-Za-z]+", text):
        raise UsageError("%r is not an HTTP method." % text, "Use one such as PATCH.")
    return (text or "").upper()

def choose_body(args: Args, inputs: RequestInputs, console: Console) -> Body:
    """The body that the command line gives; None if it gives none."""
    sources = (["--file"] * (args.file is not None) + ["-d"] * (args.data is not None)
               + ["inputs (path=value)"] * (inputs.body is not None))
    if len(sources) > 1 and "-d" in sources:
        raise ApiError("The request has more than one body: %s." % " and ".join(sources),
                       "Use only one of them.")
    if args.file is not None:
        return make_form(args.file, inputs.body, console)
    if args.data is not None:
        return read_body_option(args.data, console)
    return None if inputs.body is None else format_json(inputs.body).encode("utf-8")

def make_form(name: str, fields: Json, console: Console) -> FileBody:
    """A multipart form (RFC 7578) with `fields` and the part `file`, streamed from disk."""
    if isinstance(fields, list):
        raise ApiError("Form fields need names, so an array cannot be sent with --file.",
                       INPUT_HINT)
    from mimetypes import guess_type
    path = name.encode("utf-8", "surrogateescape")  # as the system knows it: see `run`
    base, shown = os.path.basename(name), one_line(name)
    kind, packed = guess_type(base)
    with failing("read " + shown):
        if os.path.exists(path) and not os.path.isfile(path):  # opening a FIFO would wait
            raise OSError("it is not a regular file")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size

    def quoted(text: str) -> str:
        """For a quoted parameter; what would end the line is percent-encoded, as browsers do."""
        text = re.sub(r'(["\\])', r"\\\1", text)
        return re.sub("[\x00-\x1f\x7f]", lambda found: "%%%02X" % ord(found.group()), text)

    line = "--ntn-" + os.urandom(16).hex()
    part = line + '\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s'
    head = "".join(part % (quoted(key), "", item if type(item) is str else format_json(item))
                   + "\r\n" for key, item in (fields or {}).items())
    head += part % ("file", '; filename="%s"\r\nContent-Type: %s' % (
        quoted(base), kind if kind and not packed else "application/octet-stream"), "")
    before, after = head.encode("utf-8", "surrogateescape"), ("\r\n%s--\r\n" % line).encode("ascii")

    def chunks() -> Iterator[bytes]:
        yield before
        left = size
        try:
            with failing("read " + shown), open(path, "rb") as file:
                while left:
                    chunk = file.read(min(CHUNK, left))
                    if not chunk:
                        raise CliError("%s changed during the upload." % shown)
                    left -= len(chunk)
                    yield chunk
                    console.live("Sending %s: %d%%" % (base, (size - left) * 100 // size))
        finally:
            console.live("")
        yield after

    return FileBody(len(before) + size + len(after), chunks,
                    "multipart/form-data; boundary=" + line[2:])

def show_body(response: Response, console: Console) -> None:
    """The body on stdout: for a terminal made readable and harmless, else byte for byte."""
    terminal, last, came = console.is_terminal(console.stdout), b"\n", []
    shown = terminal and console.is_terminal(console.stderr)
    try:
        for chunk in response.chunks(BODY_SIZE if terminal else None, shown):
            if terminal:
                came.append(chunk)
            elif chunk or response.is_json and not last.endswith(b"\n"):
                console.emit(chunk or b"\n")
                last = chunk
    finally:
        if came:
            text = b"".join(came).decode("utf-8", "backslashreplace")
            try:
                paint = partial(console.paint, stream=console.stdout)
                text = format_json(parse_json(text), "  ", paint)
            except (ValueError, RecursionError):
                text = visible(text)
            console.emit(text + "\n" * (text[-1:] not in ("", "\n")))

def describe_call(args: Args, method: str, state: State) -> int:
    """`ntn api PATH` with --spec, --docs or --help."""
    console, origin = state.console, state.settings.api_origin
    path = unquote(build_url(origin, args.inputs[0], [])[len(origin):].split("?")[0])
    try:
        description = Description(state)
    except ApiError as error:
        if not args.help:
            raise
        console.say("warning: %s This is the general help." % error.message)
        show_help(args, console)
        return EXIT_OK
    operations = description.find(path)
    if not operations:
        raise ApiError("The API has no path %s." % one_line(path), "`ntn api ls` lists them."
                       if path.startswith("/v1/") else "Its paths begin with v1/.")
    methods = [operation.method for operation in operations]
    chosen = [operation for operation in operations if method in ("", operation.method)]
    if not chosen or len(chosen) > 1 and not args.help:
        raise ApiError("%s takes %s." % (operations[0].path, ", ".join(methods)),
                       "Choose one, such as -X %s." % methods[0])
    operation = chosen[0]
    if args.spec:
        console.emit_json(description.reduce(operation))
    elif args.docs and not operation.reference:
        raise ApiError("There is no documentation of %s %s." % operation[:2])
    elif args.docs:
        show_body(fetch_docs("/%s.md" % operation.reference, state), console)
    else:
        for operation in chosen:
            console.emit(description.explain(operation))
        console.emit(console.typed("`ntn api --help` explains options and inputs.\n"))
    return EXIT_OK

@command("api ls", "list what can be called", JSON, PLAIN)
def cmd_api_ls(args: Args, state: State) -> int:
    console, operations = state.console, Description(state).operations()
    rows = [(each.method, one_line(each.path), each.text("summary")) for each in operations]
    template = "%s\t%s\t%s\n"
    if args.json:
        console.emit_json([{
            "method": each.method, "path": each.path, "summary": each.text("summary"),
            "tags": each.content.get("tags") or [], "operation_id": each.text("operationId")}
            for each in operations])
        return EXIT_OK
    if not args.plain and console.is_terminal(console.stdout):
        rows.insert(0, ("METHOD", "PATH", "SUMMARY"))
        template = "%%-7s %%-%ds  %%s\n" % max(len(path) for _, path, _ in rows)
    console.emit("".join(template % row for row in rows).encode("utf-8", "backslashreplace"))
    return EXIT_OK

# 9.5 whoami, auth token --------------------------------------------------------------------------

@command("whoami", "show the current user and workspace", API_VERSION, JSON, PLAIN, epilog="""\
In a pipe it is one line, tab-separated: id, name, type, email, workspace_id,
workspace_name, owner_id, owner_name, owner_type.""")
def cmd_whoami(args: Args, state: State) -> int:
    console, credential = state.console, state.credential()
    with closing(Api(state, credential, CALL_LIMIT)) as api:
        response = api.call("GET", "v1/users/me", [])
    if args.json:
        console.emit(response.body.rstrip(b"\n") + b"\n")
        return EXIT_OK
    text, owner = partial(read_text, response.json()), ("bot", "owner", "user")
    row = [("ID", text("id")), ("Name", text("name")), ("Type", text("type")),
           ("Email", text("person", "email") or text(*owner, "person", "email")),
           ("Workspace ID", text("bot", "workspace_id")),
           ("Workspace", text("bot", "workspace_name")), ("Owner ID", text(*owner, "id")),
           ("Owner", text(*owner, "name")), ("Owner type", text(*owner, "type"))]
    if args.plain or not console.is_terminal(console.stdout):
        line = "\t".join(one_line(value) for _, value in row) + "\n"
        console.emit(line.encode("utf-8", "backslashreplace"))
    else:
        for label, value in row + [("Token from", credential.source)]:
            console.emit("%-14s%s\n" % (label, one_line(value)) if value else "")
    return EXIT_OK

COMMANDS["auth"] = Command("work with the stored token: `auth token`", (), "", None)

@command("auth token", "print the token that commands use", JSON, PLAIN)
def cmd_auth_token(args: Args, state: State) -> int:
    credential = state.credential()
    if args.json:
        state.console.emit_json(credential._asdict())
    else:
        state.console.emit(credential.token + "\n")
    return EXIT_OK

# 9.6 doctor --------------------------------------------------------------------------------------

class Check(NamedTuple):
    """What doctor found out about one thing."""
    value: str
    status: str = "ok"  # or warning, error, skipped
    hint: str = ""
    code: int = EXIT_OK

class Doctor:
    """The checks, each a method that returns a Check or raises CliError. The token and the API's
    answer are asked for once; the keychain has KEYCHAIN_LIMIT in all, the API DOCTOR_LIMIT."""

    def __init__(self, state: State) -> None:
        self.state, self.settings, self.clock = state, state.settings, state.console.clock
        deadline = state.keychain.deadline = self.clock.monotonic() + KEYCHAIN_LIMIT
        self.loose = [path for path in map(state.path, SECRET_FILES)  # before reading mends them
                      if os.name != "nt" and os.path.exists(path) and os.stat(path).st_mode & 0o077]
        self.credential, self.no_token = attempt(state.credential)
        start = self.clock.monotonic()
        with closing(Api(state, self.credential, DOCTOR_LIMIT, retry=False)) as api:
            self.answer, self.no_answer = attempt(partial(api.ask, "GET", "v1/users/me", []))
            if self.answer is not None:
                self.answer.drain()
        # What the API took is not the keychain's
        state.keychain.deadline = deadline + self.clock.monotonic() - start

    def name(self, key: str) -> str:
        name = self.state.workspaces().get(key, "name not known") if key else ""
        return "%s (%s)" % (name, key) if key else "none"

    def directory(self) -> Check:
        for path in (self.settings.cache_dir, self.settings.config_dir):
            place = path or ""
            while place and not os.path.lexists(place):
                place = os.path.dirname(place)
            place = os.path.join(place, "")  # no file is one; /proc says that it can be written
            if not os.access(place, os.W_OK | os.X_OK) or place.startswith("/proc/"):
                if not path and self.settings.credential:
                    return Check("There is no home directory.", "skipped")
                raise CliError("%s cannot be written." % path if path else "There is no home "
                               "directory.", "Set NOTION_HOME to a directory that can be written.")
        return Check(str(path))

    def modes(self) -> Check:
        if self.loose:
            import shlex
            raise CliError("Others can read %s." % ", ".join(self.loose),
                           "chmod 600 " + " ".join(map(shlex.quote, self.loose)))
        return Check("private" if os.name != "nt" else "set by Windows")

    def keychain(self) -> Check:
        mode = self.state.keyring_mode()
        if mode == "file":
            return Check("not used: %s" % ("NOTION_KEYRING is 0" if self.settings.keyring
                                           else 'config.json says "keyring": false'), "skipped")
        _, failure = attempt(self.state.keychain.prove)
        if failure and mode == "keychain":
            raise failure
        if isinstance(failure, NoKeychain):
            return Check("%s Tokens are kept in auth.json." % failure.message, "skipped")
        return Check(failure.message, "warning", failure.hint) if failure else Check("works")

    def workspace(self) -> Check:
        if self.settings.credential is not None:
            return Check("the one that NOTION_API_TOKEN belongs to")
        current = self.state.current_workspace()
        if self.settings.workspace_id and current not in self.state.workspaces():
            raise AuthError("NOTION_WORKSPACE_ID is %s, which you are not logged in to." % current,
                            "Unset NOTION_WORKSPACE_ID, or run `ntn login`.")
        return Check(self.name(current))

    def token(self) -> Check:
        if self.credential is None:
            raise self.no_token or AuthError("Not logged in.")
        return Check(self.credential.source)

    def proxy(self) -> Check:
        found = find_proxy(self.settings.api_origin)
        return Check(found[0].split("//")[1] if found else "none")

    def certificates(self) -> Check:
        what, hint = missing_certificates(self.state.console.environ)
        if what:
            raise ApiError(what[0].upper() + what[1:] + ".", hint)
        count = tls_context().cert_store_stats()["x509_ca"]
        return Check(plural(count, "certificate") if count else "a directory of certificates")

    def skew(self) -> Check:
        date = self.answer.date() if self.answer else None
        if date is None:
            return Check("the server's time is not known", "skipped")
        skew = int(self.clock.time() - date)
        if abs(skew) <= 120:
            return Check("correct")
        size, unit = next((abs(skew) // seconds, unit) for seconds, unit in (
            (86400, "day"), (3600, "hour"), (60, "minute")) if abs(skew) >= seconds)
        return Check("%s %s" % (plural(size, unit), "ahead" if skew > 0 else "behind"), "warning",
                     "Set this machine's clock: TLS depends on it.")

    def api(self) -> Check:
        origin, response = self.settings.api_origin, self.answer
        if response is None:
            raise self.no_answer or ApiError("no answer")
        status, kind = response.status, read_error(response).get("object")
        if status < 300 and kind == "user":
            return Check("%s accepts the token" % origin)
        if status == 401 and kind == "error" and self.credential is None:
            return Check("%s is reachable" % origin)
        if status < 300 or status == 401 and kind != "error":
            raise ApiError("What answers at %s is not Notion's API." % origin,
                           "Log in to this network, or check NOTION_API_BASE_URL.")
        error = api_error(response, self.credential)
        if status == 403 and "html" in response.headers.get("Content-Type", "").lower():
            status = 0
        what, hint = {
            0: ("Blocked at the network edge, before the API: ",
                "Try another network, or ask who runs this one to let %s through." % origin),
            401: ("", ""), 403: ("Forbidden: ", "Give the token's integration the capability to "
                                 "read users, or ask an admin of the workspace."),
            429: ("Rate limited: ", "Wait, then try again."),
        }.get(status, ("Server error: " if status >= 500 else "Refused: ",
                       "Check NOTION_API_BASE_URL, then Notion's status page."))
        return Check(what + error.message, "error", error.hint or hint, error.code)

    CHECKS: List[Tuple[str, Callable[[Any], Check]]] = [
        ("CLI version", lambda self: Check(VERSION)),
        ("Python", lambda self: Check("%s, %s" % (sys.version.split()[0], sys.executable))),
        ("Config directory", directory), ("File modes", modes), ("Keychain", keychain),
        ("Default workspace", lambda self: Check(self.name(self.state.default_workspace()))),
        ("Resolved workspace", workspace), ("Token source", token), ("Proxy", proxy),
        ("CA certificates", certificates), ("Clock", skew), ("Public API access", api)]

@command("doctor", "find out why something does not work",
         ("--json", "", "an array of: check, status (ok, warning, error or skipped), value, hint"),
         epilog="It takes 15 seconds at most. In the keychain it writes and deletes an entry.")
def cmd_doctor(args: Args, state: State) -> int:
    console, doctor, checks, codes = state.console, Doctor(state), [], []
    for label, method in doctor.CHECKS:
        try:
            check = method(doctor)
        except CliError as error:
            check = Check(error.message, "error", error.hint, error.code)
        codes.append(check.code)
        checks.append({"check": label, "status": check.status,
                       "value": one_line(console.redact(check.value)),
                       "hint": one_line(console.typed(console.redact(check.hint)))})
    if args.json:
        console.emit_json(checks)
    else:
        for each in checks:
            sign = {"ok": "✔", "warning": "!", "error": "✗", "skipped": "-"}[each["status"]]
            console.emit("%-20s %s %s\n" % (
                each["check"], console.paint(sign, sign, console.stdout), each["value"]))
            console.emit("  hint: %s\n" % each["hint"] if each["hint"] else "")
        statuses = [each["status"] for each in checks]
        found = [plural(statuses.count(status), noun) for status, noun in
                 (("error", "problem"), ("warning", "warning")) if status in statuses]
        console.emit("\n%s.\n" % (", ".join(found) or "Everything works"))
    return next((code for code in (EXIT_AUTH, EXIT_API) if code in codes),
                EXIT_LOCAL if any(codes) else EXIT_OK)

# 9.7 debug ---------------------------------------------------------------------------------------

@command("debug", "show the state of this installation, for a bug report")
def cmd_debug(args: Args, state: State) -> int:
    """Markdown: where tokens are, but no token, no session, and no password of a proxy."""
    from hashlib import sha256
    console, settings, cache = state.console, state.settings, os.path.dirname(state.path(PENDING))
    names = ["`%s`" % name for name in sorted(console.environ) if re.match(
        r"(NOTION|NTN|XDG|SSL|SSH|PYTHON_KEYRING)_|.*_PROXY\Z|NO_COLOR\Z|BROWSER\Z", name.upper())]
    lines = ["## Resolved Environment", "", "**Environment:** `%s`" % settings.environment,
             "**Login origin:** `%s`" % settings.login_origin,
             "**API origin:** `%s`" % settings.api_origin,
             "**Variables set:** %s" % (", ".join(names) or "none")]
    for title, section in (("Configuration", describe_file(state, CONFIG)),
                           ("Authentication: Tokens", describe_tokens(state)),
                           ("Workspace Cache", describe_file(state, WORKSPACES))):
        lines += ["", "## " + title, ""]
        try:
            lines.extend(section)
        except (CliError, RecursionError) as error:
            lines.append(one_line(str(error)))
    files = sorted(os.listdir(cache)) if os.path.isdir(cache) else []
    lines += ["", "## Cache Files", "", "**Path:** `%s`" % cache, "", *map("- `%s`".__mod__, files),
              "", "## Versions", "", "- ntn.py %s\n- Python %s on %s" % (
                  VERSION, sys.version.split()[0], sys.platform)]
    with suppress(NameError, OSError), open(__file__, "rb") as file:  # not python3 - < ntn.py
        lines.append("- SHA-256 of ntn.py: %s" % sha256(file.read()).hexdigest())
    console.emit(console.redact(visible("\n".join(lines))) + "\n")
    return EXIT_OK

def describe_file(state: State, name: str) -> Iterator[str]:
    yield "**Path:** `%s`\n" % state.path(name)
    data = state.load(name)
    yield "```json\n%s\n```" % format_json(data, "  ") if data else "Nothing is stored."

def describe_tokens(state: State) -> Iterator[str]:
    """A table of every known workspace and of every token in auth.json, and where each token is."""
    state.keychain.deadline = state.console.clock.monotonic() + KEYCHAIN_LIMIT
    yield "**NOTION_API_TOKEN:** %s\n" % ("set" if state.settings.credential else "not set")
    yield "| Environment | Workspace ID | Workspace name | Token |\n|---|---|---|---|"
    stored, damaged = attempt(partial(state.load, AUTH))
    rows = {key: ("", "") for key in stored or {}}  # workspace ID: environment, name
    for environment in ENVIRONMENTS:
        known, problem = attempt(partial(state.workspaces, environment))
        rows.update((key, (environment, name)) for key, name in (known or {}).items())
    state.console.secrets.update(read_text(stored, key) for key in rows)
    for key, (environment, name) in rows.items():
        credential, failure = attempt(partial(state.get_token, key))
        where = credential.source if credential else failure.message if failure else "none"
        yield "| %s |" % " | ".join(one_line(cell).replace("|", "\\|")
                                    for cell in (environment, key, name, where))
    for error in filter(None, (problem, damaged)):
        yield "\n" + error.message

# 9.8 The program itself --------------------------------------------------------------------------

def show_help(args: Args, console: Console) -> None:
    args.parser.prog = ("%s %s" % (own_command(), args.command)).strip()
    console.emit(args.parser.format_help())

COMMANDS[""] = Command("Notion login and authenticated Notion API calls from a terminal", (), """\
commands:
%s`%%(prog)s COMMAND --help` explains each.

environment variables:
  NOTION_API_TOKEN     a token to use instead of any stored one
  NOTION_WORKSPACE_ID  the workspace to work with; skips the menu of login
  NOTION_KEYRING       0: tokens in auth.json only; 1: in the keychain only
  NOTION_HOME          one directory for all files
  NOTION_ENV           environment, as --env
  NOTION_API_VERSION   Notion-Version header (default 2026-03-11)
  NOTION_BASE_URL, NOTION_API_BASE_URL, NOTION_API_DOCS_BASE_URL
                       other servers: https, or http on this machine
  NTN_DEBUG            1: show where an unforeseen error happened
  XDG_CONFIG_HOME, XDG_CACHE_HOME, HOME, NO_COLOR, TERM, BROWSER, DISPLAY,
  WAYLAND_DISPLAY, SSH_CONNECTION, SSL_CERT_FILE, HTTP_PROXY, HTTPS_PROXY,
  ALL_PROXY and NO_PROXY as usual

exit codes: 0 done, 1 local failure, 2 usage, 4 authentication, 5 the API or the
network, 8 login still pending, 130 interrupted""" % "".join(
    "  %-12s %s\n" % (name, each.summary) for name, each in COMMANDS.items()), None)

# ---- 10 Command line ----------------------------------------------------------------------------

OPTIONS = [  # of every command
    ("-v", "--verbose", "", "show requests and answers on stderr, without secrets"),
    ("--env", "NAME", "environment: local, dev, stg or prod"),
    ("-h", "--help", "", "show this help"), ("-V", "--version", "", "show the version")]
HABITS = {  # what other tools are typed like: the hint what to type here
    "auth login": "Use `ntn login`.", "auth status": "Use `ntn whoami`.",
    "auth logout": "Use `ntn logout`.", "api list": "Use `ntn api ls`.",
    "version": "Use `ntn --version`.", "help": "Use `ntn --help`.",
    "-H": "A header is an input: Header:Value.", "-f": "A field is an input: path=value.",
    "-F": "A field is an input: path:=json."}

def make_parser(name: str, every: bool = False) -> Any:
    """The parser of a command's options, or of those of `every` command. It has no positional
    arguments, since argparse before 3.7 cannot mix them with options in any order: the command and
    its inputs are what parse_known_args leaves over."""
    import argparse

    class Formatter(argparse.RawDescriptionHelpFormatter):
        def _format_action_invocation(self, action: argparse.Action) -> str:
            """The same on every Python: "-X, --method METHOD"."""
            return " ".join([", ".join(action.option_strings)] + [str(action.metavar or "")])

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> Any:
            raise UsageError(message[0].upper() + message[1:] + ".", look_up(name))

    parser: Any = Parser(prog="ntn", add_help=False, formatter_class=lambda prog: Formatter(
        prog, max_help_position=26, width=84))
    parser.color = False  # 3.14 would colour the help, by what sys.stdout is
    parser.flags = set()
    groups = {"options": [option for each in (COMMANDS if every else [name])
                          for option in COMMANDS[each].options],
              "options for every command": OPTIONS}
    for title, options in groups.items():
        group = parser.add_argument_group(title)
        for *flags, value, words in options:
            kind: Any = {"metavar": value} if value else {"action": "store_true"}
            if not parser.flags.intersection(flags):
                group.add_argument(*flags, help=words, **kind)
            parser.flags.update(flags)
    summary, _, parser.epilog, _ = COMMANDS[name]
    parser.description = summary[0].upper() + summary[1:]
    parser.usage = {"": "%(prog)s COMMAND [OPTION ...]", "auth": "%(prog)s token [OPTION ...]",
                    "api": "%(prog)s PATH [INPUT ...] [OPTION ...]\n       %(prog)s ls"}.get(
                        name, "%(prog)s [OPTION ...]")
    return parser

def look_up(name: str) -> str:
    """The hint where to look."""
    return "`%s --help` shows what can be given." % ("ntn " + name).strip()

def parse_arguments(argv: List[str]) -> Args:
    """A command line: its options, `command`, `inputs`, `given` and `parser`; or UsageError."""
    cut = argv.index("--") if "--" in argv else len(argv)
    given, parser = argv[:cut], make_parser(next(filter(COMMANDS.get, argv), ""), every=True)
    # argparse takes abbreviations, and without them (`allow_abbrev=False`) no -XPATCH before 3.8:
    # no option that is not known as it stands may reach it.
    known = [word for word in given if word[:2] != "--" or word.partition("=")[0] in parser.flags]
    words = [word for word in parser.parse_known_args(known)[1]
             if not re.match("-[^0-9.]", word)] + argv[cut + 1:]
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else "".join(words[:1])
    if name not in COMMANDS or name and name == words[0] and " " in name:
        raise UsageError("There is no command %r." % words[0], suggest(words[0]))
    parser = make_parser(name)
    unknown = sorted({word.partition("=")[0] for word in given if word[:2] == "--"} - parser.flags)
    args, left = parser.parse_known_args([] if unknown else given)
    for flag in unknown + [word for word in left if re.match("-[^0-9.]", word)]:
        raise UsageError("`%s` has no option %s." % (("ntn " + name).strip(), one_line(flag)),
                         HABITS.get(flag[:2]) or nearest(flag, parser.flags) or look_up(name))
    args.command, args.parser, args.given, args.inputs = (
        name, parser, given, words[len(name.split()):])
    if args.inputs and (name != "api" or "/" not in args.inputs[0]):
        hint = suggest(args.inputs[0], name)
        if name != "api" or hint != look_up(name):
            raise UsageError("Unexpected argument %r." % args.inputs[0], hint)
    return args

def suggest(word: str, name: str = "") -> str:
    """What to type in place of a word that is not a command, or not what goes on after `name`."""
    if word.upper() in METHODS:
        return "Did you mean `ntn api -X %s PATH`?" % word.upper()
    if "/" in word and not name:
        return "Did you mean `ntn api %s`?" % word
    words = (name + " " + word).strip()
    longer = [known for known in COMMANDS if known.endswith(" " + words)]
    others = [known for known in COMMANDS if known != name]
    return HABITS.get(words) or nearest((longer + [words])[0], others).replace(
        "`", "`ntn ", 1) or look_up(name)

def run(argv: List[str], console: Console) -> int:
    if os.name != "nt":  # as UTF-8, whatever the locale: 3.6 takes them for ASCII under LC_ALL=C
        with suppress(UnicodeEncodeError):  # from Python, where a string can hold anything
            argv = [os.fsencode(text).decode("utf-8", "surrogateescape") for text in argv]
    args = parse_arguments(argv)
    console.verbose, work = args.verbose, COMMANDS[args.command].work
    if args.version:
        console.emit("ntn %s\n" % VERSION)
    elif not args.given and not args.command:
        console.emit("ntn.py %s: Notion from a terminal\n\n%s" % (VERSION, "".join(
            "  %s %-18s %s\n" % (own_command(), words, summary) for words, summary in (
                ("login", "log in"), ("api v1/users/me", "call the API"),
                ("--help", "all commands")))))
    elif args.help and not args.inputs or work is None or args.given == ["api"]:
        show_help(args, console)
    else:
        version = getattr(args, "notion_version", None)
        state = State(Settings(console.environ, args.env, version), console)
        if state.settings.credential is not None:
            console.secrets.add(state.settings.credential.token)
        return work(args, state)
    return EXIT_OK

def main(argv: Optional[Sequence[str]] = None, console: Optional[Console] = None) -> int:
    """The command line; returns the exit code and raises nothing.
    `argv`: the arguments without the program's name, by default those of this process."""
    console = console or Console()
    try:
        return run(sys.argv[1:] if argv is None else list(argv), console)
    except CliError as error:
        console.say("error: " + error.message + ("\n  hint: " + error.hint if error.hint else ""))
        return error.code
    except KeyboardInterrupt:
        console.say("", end="\n" * console.is_terminal(console.stderr))  # below the ^C
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_OK
    except RecursionError:
        console.say("error: The JSON is nested too deeply.")
        return EXIT_API
    except Exception as error:
        if console.environ.get("NTN_DEBUG") == "1":
            import traceback
            console.say(traceback.format_exc().rstrip())
        console.say("error: Internal error (%s): this is a bug in ntn.py.\n  hint: Run it with "
                    "NTN_DEBUG=1 to see where it happened." % type(error).__name__)
        return EXIT_LOCAL

def request(method: str, path: str, body: Json = None, query: Any = (), headers: Any = (),
            token: Optional[str] = None, timeout: float = 60) -> Response:
    """Call the Notion API from Python; the answer has .status, .headers, .body and .json().

    `path`: such as "v1/users/me". `body`: bytes, or anything that json can write. `query` and
    `headers`: pairs, or a dict. `token`: None means NOTION_API_TOKEN or the stored login.
    `timeout`: seconds for one try as a whole.
    Raises CliError if there is no answer, if it is a redirect, or if its status is 400 or above.
    Source: https://developers.notion.com/reference
    """
    api, call = prepare_call(method, path, body, query, headers, token, timeout)
    with closing(api):
        response = api.ask(*call)
        _ = response.body
        if response.status >= (300 if response.headers.get("Location") else 400):
            raise api_error(response, api.credential)
        return response

def paginate(method: str, path: str, body: Json = None, query: Any = (), headers: Any = (),
             token: Optional[str] = None, timeout: float = 60) -> Iterator[Json]:
    """The results of all pages of a list, one by one; arguments and errors are those of `request`.

    Source: https://developers.notion.com/reference/intro#pagination
    """
    api, call = prepare_call(method, path, body, query, headers, token, timeout)
    with closing(api):
        for results in api.pages(*call, json.loads):
            yield from results

def prepare_call(method: Any, path: Any, body: Json, query: Any, headers: Any, token: Any,
                 timeout: Any) -> Tuple[Api, Tuple[str, str, Pairs, Optional[bytes]]]:
    """(what calls the API, with which arguments); UsageError where Python code errs."""
    if not (isinstance(method, str) and isinstance(path, str) and isinstance(token or "", str)
            and isinstance(timeout, (int, float)) and timeout > 0):
        raise UsageError("method and path must be strings, token a string or None, and timeout "
                         "a number of seconds.")
    console = Console()
    console.stderr = None  # a library says nothing
    settings = Settings(console.environ)
    if token is not None:
        settings.credential = Credential(token, "the `token` argument", None)
    inputs = RequestInputs()
    for name, value in check_pairs(headers):
        inputs.add_header(name, value, "%s:%s" % (name, value))
    state = State(settings, console)
    credential = None if inputs.has_token else state.credential()
    data = body if isinstance(body, bytes) else None
    try:
        if body is not None and data is None:
            data = json.dumps(body, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise CliError("The body cannot be written as JSON: %s." % error) from None
    return (Api(state, credential, timeout, inputs.headers),
            (parse_method(method), path, check_pairs(query), data))

def check_pairs(given: Any) -> Pairs:
    """(name, value) of query parameters or headers, also from a dict; else UsageError."""
    try:
        pairs = list(given.items() if hasattr(given, "items") else given)
        if all(not isinstance(pair, str) and isinstance(pair[0], str)
               and isinstance(pair[1], (str, int, float)) for pair in pairs):
            return [(name, value if isinstance(value, str) else json.dumps(value))
                    for name, value in pairs]
    except (TypeError, ValueError, IndexError):
        pass
    raise UsageError("query and headers need (name, value) pairs; got %r." % (given,))

if __name__ == "__main__":
    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    status = main()
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()
    if status == EXIT_INTERRUPTED and os.name == "posix":
        os.kill(os.getpid(), signal.SIGINT)  # die of it, so that a shell loop around this stops
    os._exit(status)  # sys.exit would wait for the threads that a keychain may have left hanging
