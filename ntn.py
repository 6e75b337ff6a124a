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
`KeyboardInterrupt`; how a command is added, `COMMANDS`.

Exit codes: 0 done, 1 local failure, 2 usage, 4 authentication, 5 the API or the network,
8 login still pending, 130 interrupted.
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
                    Sequence, Set, TextIO, Tuple, TypeVar, Union)

__all__ = ["main", "request", "paginate", "CliError"]  # what may be imported and relied on

# ---- 1 Constants --------------------------------------------------------------------------------

VERSION = "2.0.0"
NOTION_VERSION = "2026-03-11"  # never looked up: what a script sends must not change by itself

EXIT_OK, EXIT_LOCAL, EXIT_USAGE, EXIT_AUTH, EXIT_API, EXIT_PENDING, EXIT_INTERRUPTED = (
    0, 1, 2, 4, 5, 8, 130)

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
POLL_PAUSE = 2.0      # seconds between two questions whether the login is approved
POLL_PAUSE_LIMIT = 10.0  # to which they grow while the network or the server is in trouble
LOGIN_LIFETIME = 600  # seconds, where the server does not say
SPEC_LIFETIME = 86400  # seconds before the cached API description is asked about again
LOGIN_SIZE = 1 << 20  # bytes of a login answer, at most
BODY_SIZE = 64 << 20  # bytes of any other answer that is read as a whole, at most
PROGRESS_SIZE = 1 << 20  # bytes of an upload from which on its progress is shown
CHUNK = 65536         # bytes

TOKEN = re.compile(r"[\x21-\x7e]+")
# What has the shape of a token is redacted too, whoever it belongs to; also development_ntn_...
TOKEN_SHAPE = re.compile(r"(?<![A-Za-z0-9])(ntn|secret|adm|nrt)_[A-Za-z0-9]{16,}")
WORKSPACE_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
VERIFICATION_CODE = re.compile(r"(?=.{1,32}\Z)[A-Z0-9]+(-[A-Z0-9]+)*")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110
# Controls but tab and newline, what reorders text, lone surrogates: none may reach a terminal raw.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
                         "\ud800-\udfff]")
SECRET_FIELD = re.compile(r'("(?:token|sessionId)"\s*:\s*")(?:[^"\\]|\\.)*')
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
    """No answer, or half of one."""

    broken = False  # whether the connection broke off


class LockHeld(CliError):
    """Another process is writing, and does not end."""


class DamagedFile(CliError):
    """A state file that is there but cannot be understood: never overwritten, never ignored."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__("%s is damaged: %s." % (path, problem),
                         "Repair it, or move it away and run `ntn login` again.")


def reason(error: BaseException) -> str:
    """What an OSError says, without its number and file name."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


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


class Settings(NamedTuple):
    """What flags, environment variables and defaults add up to."""

    environment: str
    login_origin: str
    api_origin: str
    docs_origin: str
    notion_version: str
    workspace_id: Optional[str]     # NOTION_WORKSPACE_ID
    credential: Optional[Credential]  # NOTION_API_TOKEN
    keyring: Optional[str]          # NOTION_KEYRING
    config_dir: Optional[str]       # None where there is no usable home
    cache_dir: Optional[str]


def load_settings(environ: Mapping[str, str], environment: Optional[str] = None,
                  notion_version: Optional[str] = None) -> Settings:
    """Settings by precedence: flag, environment variable, default. An empty variable is unset.

    Raises UsageError, which names the flag or variable.
    """
    get = {name: value for name, value in environ.items() if value}.get
    environment = get("NOTION_ENV", "prod") if environment is None else environment
    if environment not in ENVIRONMENTS:
        raise UsageError("There is no environment %r: --env and NOTION_ENV take local, dev, stg "
                         "or prod." % environment, nearest(environment, ENVIRONMENTS))
    if notion_version is None:
        notion_version = get("NOTION_API_VERSION", NOTION_VERSION)
    if not TOKEN.fullmatch(notion_version):
        raise UsageError("%r is not a valid Notion-Version." % notion_version,
                         "Use a date such as %s." % NOTION_VERSION)
    keyring = get("NOTION_KEYRING")
    if keyring not in (None, "0", "1"):
        raise UsageError("NOTION_KEYRING is %r: it takes 0 (file only) or 1 (keychain only)."
                         % keyring, "Unset it to use the keychain where there is one.")
    token = get("NOTION_API_TOKEN", "").strip()
    origins = [choose_origin(variable, get(variable), default) for variable, default in
               zip(ORIGIN_VARIABLES, ENVIRONMENTS[environment] + (DOCS_ORIGIN,))]
    return Settings(environment, origins[0], origins[1], origins[2], notion_version,
                    get("NOTION_WORKSPACE_ID"),
                    Credential(token, "NOTION_API_TOKEN", None) if token else None,
                    keyring, *find_directories(get))


def choose_origin(variable: str, text: Optional[str], default: str) -> str:
    """The origin in `variable`, which must not send a token in the clear over a network."""
    origin = default if text is None else parse_origin(text)
    if origin is None or text is not None and not is_safe_origin(origin):
        raise UsageError("%s is %r: it must be an origin such as https://api.example.com, or http "
                         "to this machine." % (variable, mask_userinfo(str(text))),
                         "Use https://HOST, or http://localhost:PORT for a server of your own.")
    return origin


def mask_userinfo(url: str) -> str:
    """`url` as it may be quoted: what stands before an @ may be a password, with a slash in it."""
    scheme, slashes, rest = url.partition("//")
    userinfo, at, host = rest.rpartition("@")
    return scheme + slashes + "***@" + host if at else url


def parse_origin(url: str, exact: bool = True) -> Optional[str]:
    """`scheme://host[:port]` of an http or https URL as one comparable text.

    None if it is none, names a user, or (`exact`) goes on after the host.
    """
    from urllib.parse import urlsplit
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
    return "%s://%s%s" % (parts.scheme, bracketed(host), "" if port in (None, default)
                          else ":%d" % (port or 0))


def split_origin(origin: str) -> Tuple[str, int]:
    """(host, port) of an origin."""
    from urllib.parse import urlsplit
    parts = urlsplit(origin)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def bracketed(host: str) -> str:
    """A host as it stands in a URL, where an IPv6 address needs brackets."""
    return "[%s]" % host if ":" in host else host


def is_safe_origin(origin: str) -> bool:
    """Whether it is https, or http to this machine."""
    octet = r"\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
    loopback = r"(localhost|127(%s){3}|\[::1\])(:\d+)?\Z" % octet
    return bool(re.match("https://|http://" + loopback, origin))


def find_directories(get: Callable[[str], Optional[str]]) -> Tuple[Optional[str], Optional[str]]:
    """(config, cache) directories as absolute paths; None where no home can be found."""
    override = os.path.abspath(get("NOTION_HOME") or "")
    if get("NOTION_HOME"):
        return override, os.path.join(override, "cache")
    found: List[Optional[str]] = []
    for name in ("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        base = get(name) or ""  # the XDG specification: a relative path is ignored
        found.append(os.path.join(base, "notion") if os.path.isabs(base) else None)
    home = os.path.normpath(get("HOME") or get("USERPROFILE") or os.path.expanduser("~"))
    if os.path.isdir(home):
        parent, old = os.path.join(home, ".config"), os.path.join(home, ".notion")
        standard = os.path.join(parent, "notion")
        usable = not os.path.lexists(parent) or os.access(os.path.join(parent, ""), os.W_OK)
        prefer_old = not os.path.isdir(standard) and (os.path.isdir(old) or not usable)
        found = [found[0] or (old if prefer_old else standard),
                 found[1] or os.path.join(home, ".cache", "notion")]
    return found[0], found[1]


# ---- 4 Console ----------------------------------------------------------------------------------

COLOURS = {"error:": "31", "✗": "31", "warning:": "33", "!": "33", "✔": "32", "string": "32",
           "number": "36", "-": "36", "literal": "35", "key": "1;34"}
ASCII_SIGNS = {"✔": "OK", "✗": "X"}


class Console:
    """The program's surroundings: streams, environment variables and the clock.

    Everything that is shown passes here, so that no secret and no control character gets through.
    `clock` needs the functions time, monotonic and sleep of the `time` module, in seconds.
    """

    def __init__(self, environ: Optional[Mapping[str, str]] = None, stdin: Optional[TextIO] = None,
                 stdout: Optional[TextIO] = None, stderr: Optional[TextIO] = None,
                 clock: Any = time) -> None:
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self.stdin = sys.stdin if stdin is None else stdin  # each is None if closed from outside
        self.stdout = sys.stdout if stdout is None else stdout
        self.stderr = sys.stderr if stderr is None else stderr
        self.clock = clock
        self.verbose = False
        self.secrets: Set[str] = set()
        self._live = False

    def get(self, name: str) -> Optional[str]:
        """An environment variable; an empty one counts as unset."""
        return self.environ.get(name) or None

    def is_terminal(self, stream: Optional[TextIO]) -> bool:
        try:
            return stream is not None and stream.isatty()
        except ValueError:  # closed
            return False

    def is_fancy(self, stream: Optional[TextIO]) -> bool:
        """Whether escape sequences do on `stream` what they should."""
        return (self.is_terminal(stream) and self.get("TERM") != "dumb"
                and (os.name != "nt" or "WT_SESSION" in self.environ))

    @property
    def interactive(self) -> bool:
        return self.is_terminal(self.stdin) and self.is_terminal(self.stderr)

    def paint(self, text: str, kind: str, stream: Optional[TextIO]) -> str:
        """`text` in the colour of its kind, where `stream` is a terminal that wants colours."""
        if text in ASCII_SIGNS and encode_text(text, stream).startswith(b"\\"):
            text = ASCII_SIGNS[text]
        if not self.is_fancy(stream) or self.get("NO_COLOR"):
            return text
        return "\x1b[%sm%s\x1b[0m" % (COLOURS[kind], text)

    def emit(self, data: Union[str, bytes]) -> None:
        """Write to stdout: text as the terminal can show it, bytes as they are."""
        if self.stdout is None:
            raise CliError("Standard output is closed, so the result has nowhere to go.")
        buffer = getattr(self.stdout, "buffer", None)
        try:
            if buffer is None:  # a StringIO, when Python code calls `main`
                self.stdout.write(
                    data if isinstance(data, str) else data.decode("utf-8", "replace"))
                return
            buffer.write(encode_text(data, self.stdout) if isinstance(data, str) else data)
            buffer.flush()
        except OSError as error:
            discard(self.stdout)
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
            text = SECRET_FIELD.sub(r"\1[redacted]", text)
            self.say("\n".join((mark + " " + line).rstrip() for line in text.split("\n")))

    def redact(self, text: str) -> str:
        # A copy, since another thread may add one; longest first, for one may be part of another.
        for secret in sorted(self.secrets.copy(), key=len, reverse=True):
            if len(secret) > 7:  # else it is no real one, and ordinary words would suffer
                text = text.replace(secret, "[redacted]")
        return TOKEN_SHAPE.sub("[redacted]", text)

    def _write(self, text: str) -> None:
        if self.stderr is not None:
            try:
                data = encode_text(text, self.stderr)
                self.stderr.write(data.decode(self.stderr.encoding or "utf-8"))
                self.stderr.flush()
            except OSError:
                discard(self.stderr)  # nobody can be told


def own_command() -> str:
    """How this program can be started again from the same directory."""
    from shlex import quote
    from shutil import which
    script = sys.argv[0] if __name__ == "__main__" else __file__
    installed, python = which("ntn"), which("python3")
    if not os.path.isfile(script) or installed and os.path.samefile(installed, script):
        return "ntn"
    if os.name == "nt":
        return "py %s" % script
    # Out of a virtual environment that is not activated, python3 may have no keyring.
    is_same = python and os.path.dirname(python) == os.path.dirname(sys.executable)
    name = "python3" if python and (is_same or sys.prefix == sys.base_prefix) else sys.executable
    return "%s %s" % (quote(name), quote(script))


def encode_text(text: str, stream: Optional[TextIO]) -> bytes:
    """`text` in the encoding of `stream`, with escapes for what that cannot express."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace")


def discard(stream: TextIO) -> None:
    """Let what is still buffered go nowhere: the interpreter's own flush at exit would fail too."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def visible(text: str) -> str:
    """`text` with what could act on a terminal or reorder the line written as an escape."""
    return UNPRINTABLE.sub(lambda found: "\\u%04x" % ord(found.group()), text)


def one_line(text: str) -> str:
    """`text` as it can stand in a message or a table."""
    return visible(" ".join(text.split()))


def plural(count: int, noun: str) -> str:
    return "%d %s%s" % (count, noun, "" if count == 1 else "s")


class LimitPassed(TimeoutError):
    """A function took too long; whatever it does is abandoned."""


def call_with_limit(function: Callable[[], Result], limit: Optional[float],
                    notice: Optional[Callable[[], None]] = None) -> Result:
    """What `function` returns or raises, or LimitPassed once `limit` seconds have passed.

    It runs in a daemon thread: one that hangs for ever cannot keep the process alive, as the
    worker of a thread pool would. `notice` is called if it takes longer than NOTICE_AFTER.
    """
    import threading
    results: List[Result] = []
    errors: List[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)
        done.set()

    threading.Thread(target=work, daemon=True).start()
    if notice is not None and not done.wait(NOTICE_AFTER):
        notice()
        limit = None if limit is None else limit - NOTICE_AFTER
    if not done.wait(limit):
        raise LimitPassed("no answer in time")
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Ctrl-C off until the block is done; a second one ends it at once."""
    import signal
    caught: List[int] = []

    def handle(number: int, frame: Any) -> None:
        caught.append(number)
        if len(caught) > 1:
            raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGINT, handle)
    except ValueError:  # this is not the main thread, to which signals go
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if caught:
        raise KeyboardInterrupt


class Number:
    """A JSON number as it was written: a float would lose 1.10 and 12345678901234567890123.0."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __float__(self) -> float:
        return float(self.text)


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

    No string in it holds a character that could act on a terminal.
    """
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


def encode_json(value: Json) -> bytes:
    """`value` as compact JSON; ApiError where Python cannot go as deep as it."""
    try:
        return format_json(value).encode("utf-8")
    except RecursionError:
        raise ApiError("The JSON is nested too deeply.") from None


def read_object(value: Json, *keys: str) -> Dict[str, Json]:
    """The object at these keys, empty where another program or server left something else there."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


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


class Response:
    """An answer with any status. `headers` keeps repeats and order and ignores case in look-ups."""

    def __init__(self, raw: Any, client: "Client") -> None:
        self.status: int = raw.status
        self.status_text = ("%d %s" % (raw.status, raw.reason.strip())).strip()
        self.version: int = raw.version  # 10 or 11
        self.headers = raw.headers
        self.is_json = "json" in raw.headers.get("Content-Type", "").lower()
        self._raw, self._client, self._body = raw, client, None  # type: Any, Client, Any
        self._traced: List[bytes] = []

    def __repr__(self) -> str:
        kind = self.headers.get("Content-Type", "no type").split(";")[0].strip()
        return "<Response %d %s, %s>" % (self.status, kind, "unread" if self._body is None
                                         else plural(len(self._body), "byte"))

    def __getstate__(self) -> Dict[str, Any]:
        """What a pickle or a copy needs: the answer without its connection."""
        return dict(self.__dict__, _body=self.body, _raw=None, _client=None, _traced=[])

    def chunks(self, most: Optional[int] = None) -> Iterator[bytes]:
        """The body as it arrives, decoded.

        Raises NetworkError if it breaks off, ApiError if it is longer than `most` bytes.
        """
        if self._body is not None:
            yield self._body
            return
        complete, size = False, 0
        packed = "gzip" in self.headers.get("Content-Encoding", "").lower()
        try:
            for piece in unpack(self._wire_chunks()) if packed else self._wire_chunks():
                size += len(piece)
                if most is not None and size > most:
                    raise ApiError("The answer is larger than %d MiB." % (most >> 20))
                if self._client.console.verbose:
                    self._traced.append(piece)
                yield piece
            complete = True
        except Exception as error:
            raise self._client.explain(error) from None
        finally:
            self._raw.close()
            self._client.end_try(complete)

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

    def trace_body(self, size_only: bool = False) -> None:
        """With --verbose, show what came of the body, or how much."""
        data, self._traced = b"".join(self._traced), []
        if data:
            self._client.console.trace("<", "(a body of %s)" % plural(len(data), "byte")
                                       if size_only else data.decode("utf-8", "backslashreplace"))

    @property
    def body(self) -> bytes:
        """The whole body as bytes, decoded. ApiError if it is too large to be read as a whole."""
        if self._body is None:
            try:
                self._body = b"".join(self.chunks(self._client.most))
            finally:
                self.trace_body()
        return bytes(self._body)

    def drain(self) -> None:
        """Read the body as far as it comes, so that the connection may serve the next request."""
        try:
            self._body = self.body
        except ApiError:
            self._body = b""

    def json(self) -> Json:
        """The body as json.loads has it. ApiError if it is not JSON."""
        try:
            return json.loads(self.body.decode("utf-8"))
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
        yield stream.flush()
        if not stream.eof:
            raise ConnectionResetError("the compressed answer is not complete")


def jitter() -> float:
    """Up to half a second, so that many clients do not ask in step."""
    return os.urandom(1)[0] / 512


class Client:
    """Sends requests, one after the other, and keeps the connection for the next one.

    `limit`: seconds for each try as a whole; None: no limit but IDLE_TIMEOUT without progress.
    `most`: bytes of an answer that is read as a whole.
    """

    def __init__(self, console: Console, limit: Optional[float], most: Optional[int] = None
                 ) -> None:
        self.console, self.limit, self.most = console, limit, most or BODY_SIZE
        self.expired = False  # whether the limit has ended this try
        self._connection, self._timer, self._proxy = None, None, None  # type: Any, Any, Any
        self._origin, self._end = "", 0.0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def end_try(self, keep: bool) -> None:
        """A try is over; `keep` says whether its connection can be used again."""
        if self._timer is not None:
            self._timer.cancel()
        if not keep:
            self.close()

    def send(self, method: str, url: str, headers: Pairs, body: Body = None) -> Response:
        """The answer to one request, whatever its status; no redirect is followed.

        Raises NetworkError where there is no answer.
        """
        origin = str(parse_origin(url, exact=False))
        target = url[url.index("/", 8):] if "/" in url[8:] else "/"
        headers = [("Host", origin.split("//")[1])] + headers
        if body is not None or method in ("POST", "PUT", "PATCH"):
            length = body.length if isinstance(body, FileBody) else len(body or b"")
            headers.append(("Content-Length", str(length)))
        self._trace(">", "%s %s" % (method, url), headers)
        if isinstance(body, FileBody):
            self.console.trace(">", "(a body of %s)" % plural(body.length, "byte"))
        elif body and self.console.verbose:
            self.console.trace(">", body.decode("utf-8", "backslashreplace"))
        self.expired, self._end = False, self.console.clock.monotonic() + (self.limit or 0)
        try:
            self._connect(origin)
            if self._proxy is not None and origin.startswith("http:"):
                target, headers = url, headers + list(self._proxy.headers.items())
            response = Response(self._transmit(method, target, headers, body), self)
        except Exception as error:
            raise self.explain(error) from None
        except BaseException:
            self.end_try(keep=False)
            raise
        self._trace("<", response.status_text, response.headers.items())
        return response

    def explain(self, error: BaseException) -> CliError:
        """What an exception of this connection means, which is of no use any more."""
        self.end_try(keep=False)
        if isinstance(error, CliError):
            return error
        return explain_failure(TimeoutError() if self.expired else error, self._origin,
                               self._proxy, self.limit or IDLE_TIMEOUT, self.console.environ)

    def send_with_retries(self, method: str, url: str, headers: Pairs, body: Body = None
                          ) -> Response:
        """As `send`, but a request that may be repeated is, after a pause, up to TRIES times.

        429 and 529 say that nothing was done; after 500, 502, 503, 504 and a broken connection
        nobody knows, so that only a method which may be sent twice is.
        """
        repeatable = method in ("GET", "HEAD", "DELETE")
        tries, waited = 0, 0.0
        while True:
            tries, asked = tries + 1, None
            try:
                response = self.send(method, url, headers, body)
                status = response.status
                if status not in (429, 529) and not (repeatable and status in (500, 502, 503, 504)):
                    return response
                asked = response.retry_after(self.console.clock.time())
                if tries == TRIES or asked is not None and waited + asked > RETRY_LIMIT:
                    return response
                response.drain()
                problem = "Notion answered %s." % response.status_text
            except NetworkError as error:
                if tries == TRIES or not repeatable or not error.broken:
                    raise
                problem = error.message
            pause = 2.0 ** (tries - 1) + jitter() if asked is None else asked
            self.console.say("%s Trying again in %.3g s (try %d of %d)." % (
                problem, pause, tries + 1, TRIES))
            self.console.clock.sleep(pause)
            waited += pause

    def _connect(self, origin: str) -> None:
        """Open a connection, or take the one that is open, and watch over it for this try."""
        import select
        import threading
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
            self._timer = threading.Timer(left, self._expire, [sock])
            self._timer.daemon = True
            self._timer.start()
        sock.settimeout(left)

    def _expire(self, sock: Any) -> None:
        import socket
        self.expired = True
        with suppress(OSError):
            # The plain socket's method: the TLS one must not be called from another thread.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

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

    def _trace(self, mark: str, line: str, headers: Iterable[Tuple[str, str]]) -> None:
        if self.console.verbose:
            self.console.trace(mark, "\n".join([line] + header_lines(headers) + [""]))


def header_lines(headers: Iterable[Tuple[str, str]], secrets: bool = False) -> List[str]:
    """Headers, each as one line, by default without secrets; a folded one is unfolded."""
    return [("%s: %s" % (name, "[redacted]" if name.lower() in SECRET_HEADERS and not secrets
                         else " ".join(map(str.strip, value.splitlines())))).rstrip()
            for name, value in headers]


def open_connection(origin: str, proxy: Optional["Proxy"], limit: float) -> Any:
    """A connection to `origin`, through `proxy` if there is one. The only way out.

    `limit` (seconds) bounds name look-up, TCP, the proxy's tunnel and TLS together.
    """
    import http.client
    host, port = split_origin(origin)
    address = (proxy.host, proxy.port) if proxy else (host, port)
    if origin.startswith("https:"):
        connection: Any = http.client.HTTPSConnection(*address, context=tls_context())
        if proxy:
            connection.set_tunnel(host, port, proxy.headers)
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


def create_connection(address: Tuple[str, int], timeout: float, source: Any = None) -> Any:
    """A socket to one of the addresses that a name has, each of which gets its share of the time.

    socket.create_connection gives each the whole: one that is dead would use it up.
    """
    import socket
    found: List[Any] = socket.getaddrinfo(address[0], address[1], 0, socket.SOCK_STREAM)
    for entry in found[:-1]:
        with suppress(OSError):
            return socket.create_connection(entry[4][:2], timeout / len(found), source)
    return socket.create_connection(found[-1][4][:2], timeout / len(found), source)


@lru_cache(maxsize=None)
def tls_context() -> Any:
    """The TLS context, made once: reading the certificates takes longer than all else."""
    import ssl
    context = ssl.create_default_context()
    # Python 3.13 added this flag, which refuses the CA certificates of many companies'
    # TLS-inspecting proxies that 3.12, curl and browsers accept. All else is verified as ever.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


class Proxy(NamedTuple):
    """An HTTP proxy; its headers hold its password."""

    host: str
    port: int
    headers: Dict[str, str]

    def __repr__(self) -> str:
        return "%s:%d" % (bracketed(self.host), self.port)


def find_proxy(origin: str) -> Optional[Proxy]:
    """The proxy that variables or the system name for `origin`; NetworkError if it is of no use."""
    if sys.platform not in ("darwin", "win32") and not any(
            name.lower().endswith("_proxy") for name in os.environ):
        return None  # without the import, which takes longer than all the rest
    from base64 import b64encode
    from urllib.parse import unquote, urlsplit
    from urllib.request import getproxies, proxy_bypass  # which know about REQUEST_METHOD, too
    scheme, peer = origin.split("://")
    proxies = getproxies()
    kind = scheme if proxies.get(scheme) else "all"
    url = proxies.get(kind)
    if not url or proxy_bypass(peer):
        return None
    try:
        parts = urlsplit(url if "://" in url else "http://" + url)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError:
        host = ""
    if not host or parts.scheme != "http":
        raise NetworkError(
            "The proxy in %s_PROXY %s." % (kind.upper(), (
                "is a %s proxy, which Python's standard library cannot use" % parts.scheme.upper()
                if host else "has no valid address")),
            "Set it to http://HOST:PORT, or add %s to NO_PROXY." % split_origin(origin)[0])
    if scheme == "http" and not is_safe_origin("http://" + bracketed(host)):
        return None  # the origin is this machine: nothing may leave it in the clear
    user, at, _ = parts.netloc.rpartition("@")
    secret = b64encode(":".join(map(unquote, (user + ":").split(":")[:2])).encode("utf-8"))
    return Proxy(host, port, {"Proxy-Authorization": "Basic " + secret.decode("ascii")}
                 if at else {})


def explain_failure(error: BaseException, origin: str, proxy: Optional[Proxy], limit: float,
                    environ: Mapping[str, str]) -> NetworkError:
    """What an exception on the way to `origin` means, in words for people."""
    import http.client
    import socket
    import ssl
    import zlib
    host, port = split_origin(origin)
    peer = "the proxy %r (for %s)" % (proxy, host) if proxy else "%s:%d" % (bracketed(host), port)
    variables = " and ".join(name for name in ORIGIN_VARIABLES
                             if parse_origin(environ.get(name, "")) == origin)
    refusal = re.match(r"Tunnel connection failed: (\d+)", str(error))  # http.client's words
    table: List[Tuple[Any, str, str]] = [  # the first that fits; without words it broke off
        ((socket.timeout, TimeoutError), "%s did not answer in time (%g s)." % (peer, limit),
         "Try again later%s." % ("" if limit in (IDLE_TIMEOUT, CALL_LIMIT, DOCTOR_LIMIT)
                                 else ", or with a longer time limit")),
        ((socket.gaierror, UnicodeError), "the name %s cannot be resolved (%s)." % (
            proxy.host if proxy else host, reason(error)),
         "Check the network connection and the name server."),
        (ConnectionRefusedError, "%s refuses connections." % peer,
         "Check the proxy variables." if proxy else
         "Start the server that %s names, or unset that to use Notion." % variables if variables
         else "Check whether this network needs HTTPS_PROXY."),
        ((ssl.SSLEOFError, ssl.SSLZeroReturnError), "", "Try again."),
        ((ssl.SSLError, ssl.CertificateError), *explain_tls(error, host, environ)),
        ((http.client.HTTPException, zlib.error, ConnectionError, ValueError), "", "Try again."),
        (OSError if refusal else (), "the proxy %r refused to connect to %s:%d (%s)." % (
            proxy, bracketed(host), port, refusal and refusal.group(1)),
         "Check user name and password in the proxy variable, or add the host to NO_PROXY."),
        (BaseException, "%s: %s." % (peer, reason(error)), "Check the network connection.")]
    what, hint = next(row[1:] for row in table if isinstance(error, row[0]))
    if what:
        return NetworkError("Cannot reach Notion: " + what, hint)
    name, why = type(error).__name__, reason(error)
    if isinstance(error, http.client.HTTPException):
        why = {"RemoteDisconnected": "no answer", "IncompleteRead": "the answer is not complete"
               }.get(name, "the answer is not HTTP: " + name)
    failure = NetworkError("The connection to %s broke off (%s)." % (peer, why), hint)
    failure.broken = True
    return failure


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
    if "expired" in text or "not yet valid" in text:
        return "the certificate of %s %s." % (
            host, "has expired" if "expired" in text else "is not valid yet"), (
            "Check this machine's clock.")
    # Python 3.6 does not say which of the two it is.
    what = "not trusted" if hasattr(error, "verify_message") else "expired or not trusted"
    return "the certificate of %s is %s (%s)." % (host, what, text), (
        "If your network inspects TLS, set SSL_CERT_FILE to its CA certificate.")


def missing_certificates(environ: Mapping[str, str]) -> Tuple[str, str]:
    """(why no certificate can be verified here, what to do); empty if some can."""
    import ssl
    named, directory = environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().capath
    # What may not be listed may still be searched, by a file's name.
    searched = directory and (not os.access(directory, os.R_OK) or os.listdir(directory))
    some = searched or tls_context().cert_store_stats()["x509_ca"]
    if named and (not some or not os.path.isfile(named)):
        return "SSL_CERT_FILE names %s, which %s" % (named, (
            "holds no certificate" if os.path.isfile(named) else "does not exist")), (
            "Unset SSL_CERT_FILE, or set it to a bundle of CA certificates.")
    return ("", "") if some else ("no CA certificates are installed", (
        "Run Install Certificates.command in the folder of this Python under Applications."
        if sys.platform == "darwin" else
        "Install your system's package ca-certificates, or set SSL_CERT_FILE to a bundle."))


# ---- 6 State ------------------------------------------------------------------------------------


def read_file(path: str) -> Optional[bytes]:
    """What a state file holds; None if there is none. DamagedFile if it is no regular file.

    A secret that others can read is made private. O_NONBLOCK keeps a FIFO from being waited for.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
        mode = os.fstat(descriptor).st_mode
        if mode & 0o170000 != 0o100000:
            os.close(descriptor)
            raise DamagedFile(path, "it is not a regular file")
        with open(descriptor, "rb") as file:
            if mode & 0o077 and os.name != "nt" and os.path.basename(path) in SECRET_FILES:
                with suppress(OSError):  # it is not ours: doctor tells
                    os.fchmod(descriptor, 0o600)
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CliError("Cannot read %s: %s." % (path, reason(error)),
                       "Check its permissions.") from None


def write_file(path: str, data: Optional[bytes]) -> None:
    """Replace a state file as a whole, or delete it (None): a kill leaves the old one or the new.

    It is private from its first byte. Callers hold the directory's lock.
    """
    path = os.path.realpath(path)  # a link stays a link
    temporary = path + ".tmp"  # nobody else writes it under our lock
    try:
        with suppress(FileNotFoundError):
            os.unlink(path if data is None else temporary)  # which a kill may have left
        if data is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            descriptor = os.open(temporary, flags, 0o600)
            try:
                with open(descriptor, "wb") as file:
                    if os.name != "nt":
                        os.fchmod(descriptor, 0o600)
                    file.write(data)
                    file.flush()
                    os.fsync(descriptor)
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
    except OSError as error:
        import errno
        hint = "Check the directory's permissions and free space, or set NOTION_HOME elsewhere."
        if error.errno == errno.EBUSY:
            hint = "It is mounted as a single file and cannot be replaced: mount its directory."
        raise CliError("Cannot write %s: %s." % (path, reason(error)), hint) from None


def make_directory(path: str) -> None:
    """Create a directory and its missing parents, each for this user alone."""
    if not os.path.isdir(path):
        if os.path.dirname(path) != path:  # else it is a drive of Windows that is not there
            make_directory(os.path.dirname(path))
        try:
            os.mkdir(path, 0o700)
            os.chmod(path, 0o700)
        except FileExistsError:  # another process was faster
            if not os.path.isdir(path):
                raise


@contextmanager
def locked(directory: str, clock: Any) -> Iterator[None]:
    """Hold the directory's lock, which ends with the process however that ends."""
    path = os.path.join(directory, ".lock")
    try:
        make_directory(directory)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise CliError("Cannot write in %s: %s." % (directory, reason(error)),
                       "Check its permissions, or set NOTION_HOME to another directory.") from None
    try:
        deadline = clock.monotonic() + LOCK_LIMIT
        if os.fstat(descriptor).st_mode & 0o600 != 0o600:
            os.chmod(path, 0o600)  # a umask can take the owner's bits away
        while not try_lock(descriptor, path):
            if clock.monotonic() >= deadline:
                raise LockHeld("Another process has held %s for %g s." % (path, LOCK_LIMIT),
                               "Find it with `fuser %s`, and try again when it is done." % path)
            clock.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, path: str) -> bool:
    """Whether the lock is ours now. CliError where the file system has no locks."""
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
    except OSError as error:
        raise CliError("Cannot lock %s: %s." % (path, reason(error)),
                       "Set NOTION_HOME to a directory on a local disk.") from None


def load_json(path: str) -> Dict[str, Json]:
    """The object in a state file, empty if there is no file. DamagedFile if it is anything else."""
    data = read_file(path)
    try:
        value = {} if data is None else parse_json(data.decode("utf-8-sig"))
    except ValueError:
        raise DamagedFile(path, "it is not valid JSON") from None
    if not isinstance(value, dict):
        raise DamagedFile(path, "it does not hold a JSON object")
    return value


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
    backend = type(keyring.get_keyring())
    if backend.__module__ in ("keyring.backends.fail", "keyring.backends.null"):
        raise NoKeychain("No keychain was found on this system.")
    return keyring


class Keychain:
    """The operating system's keychain: one entry for each workspace, as the official client's.

    Each call has a limit, for a keychain may wait for ever for somebody to unlock it. After a call
    that was not answered none is tried again. `deadline`, if set, bounds all calls together.
    """

    name = "the keychain"  # for people
    service = "notion-cli"

    def __init__(self, console: Console) -> None:
        self.deadline: Optional[float] = None  # by the monotonic clock
        self._console = console
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
        if self.get(account) is None:
            return False
        self._call(lambda keyring: keyring.delete_password(self.service, account))
        return True

    def prove(self) -> None:
        """Find out that `set` would work, with an entry that is gone afterwards."""
        account = "ntn-probe-%d" % os.getpid()
        try:
            self.set(account, os.urandom(8).hex())
        except KeychainError:
            with suppress(KeychainError):
                self.delete(account)
            raise
        self.delete(account)

    def _call(self, action: Callable[[Any], Any]) -> Any:
        if self._silent is not None:
            raise self._silent
        console, limit, notice = self._console, KEYCHAIN_LIMIT, None
        if self.deadline is not None:
            limit = max(0.01, self.deadline - console.clock.monotonic())
        elif console.interactive:
            limit = UNLOCK_LIMIT
            notice = partial(console.say, "Waiting for the keychain: it may ask to be unlocked.")
        try:
            return call_with_limit(lambda: action(load_keyring()), limit, notice)
        except (KeychainError, KeyboardInterrupt):
            raise
        except LimitPassed:
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

    def __repr__(self) -> str:
        return "PendingLogin(session_id=[redacted], environment=%r, origin=%r)" % self[1:3]


class State:
    """All that is kept between two runs: workspaces, defaults, tokens and the pending login.

    It knows the files and the keychain, and which of the two holds tokens when. NOTION_KEYRING, or
    else `keyring` in config.json, says: auth.json alone (0, false), the keychain alone (1, true),
    or the keychain where it can be used (unset).
    """

    def __init__(self, settings: Settings, console: Console) -> None:
        self.settings, self.console = settings, console
        self.keychain = Keychain(console)
        self.unusable: Optional[KeychainError] = None  # why auth.json is used instead

    def path(self, name: str) -> str:
        """Where a state file is, whether it is there or not; "" without a home directory."""
        settings = self.settings
        directory = settings.config_dir if STATE_FILES[name] == "config" else settings.cache_dir
        return os.path.join(directory, name) if directory else ""

    def exists(self, name: str) -> bool:
        return os.path.lexists(self.path(name))

    def load(self, name: str) -> Dict[str, Json]:
        """The object in a state file, empty if there is none. Raises DamagedFile, CliError."""
        path = self.path(name)
        return load_json(path) if path else {}

    @contextmanager
    def locked(self, name: str) -> Iterator[str]:
        """The path of a state file, to be changed."""
        path = self.path(name)
        if not path:
            raise CliError("There is no usable home directory to keep files in.",
                           "Set NOTION_HOME to a directory that can be written.")
        with locked(os.path.dirname(path), self.console.clock):
            yield path

    def update(self, name: str, change: Callable[[Dict[str, Json]], Any], create: bool = True
               ) -> bool:
        """Read, let `change` work on the object, and write, all under one lock; whether written.

        `change` may return False to leave the file as it is. What it does not touch is kept.
        Without `create` nothing is done where there is no file.
        """
        if not create and not self.exists(name):
            return False
        with self.locked(name) as path:
            value = load_json(path)
            if name in (CONFIG, WORKSPACES):
                value.setdefault("version", "1")
            if change(value) is False:
                return False
            try:
                text = format_json(value, "  ")
            except RecursionError:
                raise DamagedFile(path, "it is nested too deeply") from None
            write_file(path, text.encode("utf-8"))
            return True

    def prove(self, name: str) -> None:
        """Find out that a state file can be replaced; one that is damaged is moved aside."""
        with self.locked(name) as path:
            data = None
            try:
                load_json(path)
                data = read_file(path)
            except DamagedFile as error:
                # What a link leads to, if that is no file, is not ours to move.
                real = os.path.realpath(path) if os.path.isfile(path) else path
                aside = real + ".damaged-%d" % self.console.clock.time()
                while os.path.lexists(aside):
                    aside += "x"
                try:
                    os.replace(real, aside)
                except OSError:
                    raise error from None
                self.console.say("warning: %s It was moved to %s." % (error.message, aside))
            write_file(path, data or b"{}")
            if data is None:
                write_file(path, None)

    def workspaces(self, environment: str = "") -> Dict[str, str]:
        """{workspace ID: name} of an environment, this one by default, in the file's order."""
        environment = environment or self.settings.environment
        entries = read_object(self.load(WORKSPACES), "environments", environment)
        names = {key: entry.get("name") for key, entry in entries.items()
                 if isinstance(entry, dict)}
        return {key: name if name and isinstance(name, str) else key for key, name in names.items()}

    def default_workspace(self) -> Optional[str]:
        found = read_object(self.load(CONFIG), "defaultWorkspaceIds").get(self.settings.environment)
        return found if isinstance(found, str) and found else None

    def find_workspace(self, wanted: str) -> Optional[str]:
        """The ID of a known workspace, by its ID, dashed or not, or by its name.

        Upper and lower case are the same where only one name fits. AuthError if several do.
        """
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

    def current_workspace(self) -> Optional[str]:
        """The workspace that commands work with: NOTION_WORKSPACE_ID, else the default."""
        wanted = self.settings.workspace_id
        if not wanted:
            return self.default_workspace()
        found = re.fullmatch("(.{8})(.{4})(.{4})(.{4})(.{12})", undashed(wanted))
        return self.find_workspace(wanted) or ("-".join(found.groups()) if found else wanted)

    def set_default(self, workspace_id: str) -> None:
        self.update(CONFIG, lambda data: make_object(data, "defaultWorkspaceIds").update(
            {self.settings.environment: workspace_id}))

    def add_workspace(self, workspace_id: str, name: str) -> None:
        self.update(WORKSPACES, lambda data: make_object(
            data, "environments", self.settings.environment, workspace_id
            ).update(id=workspace_id, name=name))

    def forget_default(self, workspace_ids: Iterable[str]) -> bool:
        """Have no default any more if it is one of these; whether it was."""
        def change(data: Dict[str, Json]) -> bool:
            defaults = read_object(data, "defaultWorkspaceIds")
            return (defaults.get(self.settings.environment) in list(workspace_ids)
                    and bool(defaults.pop(self.settings.environment)))
        return self.update(CONFIG, change, create=False)

    def forget_workspaces(self, workspace_ids: Iterable[str]) -> bool:
        """Take workspaces out of workspaces.json; whether any was there."""
        def change(data: Dict[str, Json]) -> bool:
            entries = read_object(data, "environments", self.settings.environment)
            return any([entries.pop(key, None) is not None for key in workspace_ids])
        return self.update(WORKSPACES, change, create=False)

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
        mode, token, source = self.keyring_mode(), None, self.path(AUTH)
        if mode != "keychain":
            token = self.load(AUTH).get(workspace_id)
        if mode != "file" and not (token and isinstance(token, str)):
            try:
                token, source = self.keychain.get(workspace_id), self.keychain.name
            except NoKeychain:
                if mode == "keychain":
                    raise
        if not token or not isinstance(token, str):
            return None
        self.console.secrets.add(token)
        return Credential(token, source, workspace_id)

    def prove_tokens(self) -> None:
        """Find out that a token can be stored, and where. Raises CliError if nowhere."""
        mode = self.keyring_mode()
        if mode != "file":
            try:
                return self.keychain.prove()
            except KeychainError as error:
                if mode == "keychain":
                    raise
                self.unusable = error
        self.prove(AUTH)

    def put_in_keychain(self, workspace_id: str, token: str) -> bool:
        """Store a token in the keychain; False if auth.json is the place for it."""
        mode = self.keyring_mode()
        if mode == "file" or self.unusable is not None:
            return False
        try:
            self.keychain.set(workspace_id, token)
            return True
        except KeychainError as error:
            if mode == "keychain":
                raise
            self.unusable = error
            return False

    def put_in_file(self, workspace_id: str, token: str) -> str:
        """Store a token in auth.json, read it back there, and return the path."""
        path = self.path(AUTH)
        self.update(AUTH, lambda data: data.update({workspace_id: token}))
        if self.load(AUTH).get(workspace_id) != token:
            raise CliError("%s does not keep what is written to it." % path)
        if self.unusable:
            self.console.say("%s The token is in %s instead; NOTION_KEYRING=0 silences this." % (
                self.unusable.message, path))
        return path

    def delete_from_file(self, workspace_ids: Iterable[str]) -> Set[str]:
        """Delete tokens from auth.json; the workspaces that had one there."""
        found: Set[str] = set()

        def change(data: Dict[str, Json]) -> bool:
            found.update(key for key in workspace_ids if data.pop(key, None) is not None)
            return bool(found)
        self.update(AUTH, change, create=False)
        return found

    def credential(self) -> Credential:
        """The token to use: NOTION_API_TOKEN, else the stored one of the current workspace.

        From here on no message can show it. Raises AuthError where there is none.
        """
        found, environment = self.settings.credential, self.settings.environment
        option = "" if environment == "prod" else " --env " + environment
        hint = "Run `ntn login%s`, or set NOTION_API_TOKEN." % option
        if found is None:
            workspace_id = self.current_workspace()
            if workspace_id is None:
                known = ", ".join(map(one_line, self.workspaces().values()))
                if known:
                    raise AuthError("No default workspace is set.",
                                    "Choose one with `ntn login --workspace NAME`: %s." % known)
                raise AuthError("Not logged in%s." % option.replace("--env", "to the environment"),
                                hint)
            found = self.get_token(workspace_id)
            if found is None:
                raise AuthError("No token is stored for workspace %s." % workspace_id,
                                "Check NOTION_WORKSPACE_ID, or unset it."
                                if self.settings.workspace_id else hint)
        if not TOKEN.fullmatch(found.token):
            raise AuthError("The token from %s has characters that no token has." % found.source,
                            hint)
        return found

    def save_pending(self, pending: PendingLogin) -> None:
        self.update(PENDING, lambda data: data.update(
            sessionId=pending.session_id, issuedAt=pending.issued_at, expiresAt=pending.expires_at,
            environment=pending.environment, origin=pending.origin, url=pending.url,
            verificationCode=pending.code))

    def load_pending(self) -> Optional[PendingLogin]:
        """The login started last, None if there is none. Only sessionId and issuedAt need be there,
        and what another program may have written is checked as if a server had sent it."""
        data = self.load(PENDING)
        session_id = data.get("sessionId")
        if not isinstance(session_id, str) or not session_id:
            return None
        self.console.secrets.add(session_id)
        issued_at = parse_time(data.get("issuedAt")) or self.console.clock.time()
        environment, origin, url, code = (
            str(data.get(key)) for key in ("environment", "origin", "url", "verificationCode"))
        if environment not in ENVIRONMENTS or not (
                parse_origin(origin) == origin and is_safe_origin(origin)):
            environment, origin = self.settings.environment, self.settings.login_origin
        if not (is_login_url(url, origin) and VERIFICATION_CODE.fullmatch(code)):
            url, code = "", ""
        return PendingLogin(session_id, environment, origin, int(issued_at),
                            choose_expiry(data.get("expiresAt"), issued_at), url, code)

    def is_pending(self, pending: PendingLogin) -> bool:
        """Whether this login is still the one that waits; a file that cannot tell ends nothing."""
        try:
            return self.load(PENDING).get("sessionId") == pending.session_id
        except CliError:
            return True

    def delete_pending(self, pending: PendingLogin) -> bool:
        """Forget the pending login if it still is this one; whether it was."""
        if not self.exists(PENDING):
            return False
        with self.locked(PENDING) as path:
            found = load_json(path).get("sessionId") == pending.session_id
            if found:
                write_file(path, None)
            return found


def undashed(workspace_id: str) -> str:
    return workspace_id.replace("-", "").lower()


def parse_time(value: Json) -> Optional[float]:
    """Unix seconds from seconds, milliseconds or ISO 8601; None from anything else."""
    from datetime import datetime
    text = value.text if isinstance(value, Number) else str(value)
    with suppress(ValueError, OverflowError):
        if isinstance(value, str) and not text.isdigit():
            # As Python 3.6 reads it: no fraction, and an offset without a colon
            text = re.sub(r"\.\d+", "", text.replace(" ", "T")).replace("Z", "+0000")
            text = re.sub(r"([+-]\d\d):(\d\d)$", r"\1\2", text)
            text += "" if re.search(r"T.*[+-]\d{4}$", text) else "+0000"
            return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").timestamp()
        number = float(text)
        return None if abs(number) > 1e15 else number / 1000 if abs(number) > 1e11 else number
    return None


def choose_expiry(value: Json, issued_at: float) -> int:
    """When a login expires: what the server said, if that can be."""
    expires_at = parse_time(value)
    if expires_at is None or not 0 < expires_at - issued_at < 86400:
        expires_at = issued_at + LOGIN_LIFETIME
    return int(expires_at)


def is_below(url: str, domains: Sequence[str]) -> bool:
    """Whether `url` is https, without a user or odd characters, on one of `domains` or below."""
    origin = parse_origin(url, exact=False) or ""
    host = "." + split_origin(origin)[0]
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
    """The server will never approve this session."""

    expired = False


def refused(why: str) -> LoginOver:
    return LoginOver("The login was refused (%s)." % why,
                     "Run `ntn login` to start a new one. " + ADMIN_HINT)


def expired() -> LoginOver:
    error = LoginOver("Login session expired. Run 'ntn login' to start a new one.", ADMIN_HINT)
    error.expired = True
    return error


class TryLater(ApiError):
    """An answer that says nothing about the login: too many requests, or a server in trouble."""

    pause: float = 0  # seconds that the server asks to wait


def call_login(client: Client, origin: str, name: str, body: Dict[str, str]
               ) -> Tuple[Dict[str, Json], Response]:
    """One call of the login protocol; (answer, response).

    Only 307 and 308 are followed, with the body, and only to Notion over https: any other redirect
    would carry the session to a stranger. Raises LoginOver, TryLater or ApiError.
    """
    url = "%s/api/v3/%s" % (origin, name)
    headers = [("Content-Type", "application/json"), ("Accept", "application/json"),
               ("User-Agent", user_agent())]
    for _ in range(5):
        response = client.send("POST", url, headers, json.dumps(body).encode("utf-8"))
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
        later = TryLater("Notion answered %s." % response.status_text, "Try again later.")
        later.pause = response.retry_after(client.console.clock.time()) or 0
        raise later
    if 400 <= response.status < 500 and name.endswith("Redeem"):
        raise refused(response.status_text)
    try:
        answer = parse_json(content.decode("utf-8"))
    except ValueError:
        answer = None
    if response.status != 200 or not isinstance(answer, dict):
        raise ApiError("The login server's answer cannot be understood (%s)."
                       % response.status_text, "Check NOTION_BASE_URL and --env.")
    return answer, response


def redirect_target(url: str, response: Response) -> str:
    from urllib.parse import urljoin
    try:
        return str(urljoin(url, response.headers.get("Location") or ""))
    except ValueError:
        return ""


def user_agent() -> str:
    return "ntn.py/%s Python/%d.%d" % (VERSION, sys.version_info[0], sys.version_info[1])


def start_login(client: Client, settings: Settings) -> PendingLogin:
    """A new session, whose address and code have been checked."""
    answer, response = call_login(client, settings.login_origin, "workersCliLoginInit", {})
    session_id, code = answer.get("sessionId"), answer.get("verificationCode")
    url = answer.get("browserUrl") or answer.get("authorizationUrl")
    if not isinstance(session_id, str) or not session_id:
        raise ApiError("The login server's answer has no session.", "Try again.")
    client.console.secrets.add(session_id)
    if not isinstance(code, str) or not VERIFICATION_CODE.fullmatch(code):
        raise ApiError("The login server sent an invalid verification code.", "Try again.")
    if not isinstance(url, str) or not is_login_url(url, settings.login_origin):
        raise ApiError("The login server sent an address that is not Notion's: %s."
                       % (parse_origin(str(url), exact=False) or "not a web address"),
                       "It was not opened. Check NOTION_BASE_URL and your network.")
    now = response.date() or client.console.clock.time()
    return PendingLogin(session_id, settings.environment, settings.login_origin, int(now),
                        choose_expiry(answer.get("expiresAt"), now), url, code)


def poll_login(client: Client, pending: PendingLogin
               ) -> Tuple[Optional[Credential], str, Optional[float]]:
    """Ask once: (token, or None while it is pending; name of its workspace; the server's time).

    Raises LoginOver, TryLater, NetworkError or ApiError.
    """
    answer, response = call_login(client, pending.origin, "workersCliLoginRedeem",
                                  {"sessionId": pending.session_id})
    status = answer.get("status")
    if status == "pending":
        return None, "", response.date()
    if status == "expired":
        raise expired()
    if not isinstance(status, str):
        raise ApiError("The login server's answer has no status.", "Try again.")
    if status != "confirmed":
        raise refused(one_line(status))
    token, workspace_id, name = (answer.get(key) for key in ("token", "spaceId", "spaceName"))
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise ApiError("The login was approved, but without a valid token.", "Try again.")
    client.console.secrets.add(token)
    if not isinstance(workspace_id, str) or not WORKSPACE_ID.fullmatch(workspace_id):
        raise ApiError("The login was approved, but without a valid workspace ID.", "Try again.")
    name = name if isinstance(name, str) and name.strip() else workspace_id
    return Credential(token, "the login", workspace_id), name, response.date()


def wait_for_approval(client: Client, pending: PendingLogin, state: State
                      ) -> Tuple[Credential, str]:
    """Poll until the login is approved; a network or server in trouble is waited out.

    The time left is counted on the monotonic clock, set by each answer's Date: what the local wall
    clock says does not matter. Raises LoginOver, or the last failure if there was no answer.
    """
    console = client.console
    clock = console.clock
    deadline = clock.monotonic() + pending.expires_at - pending.issued_at
    failure: Optional[ApiError] = None
    pause, failures = POLL_PAUSE, 0
    try:
        while True:
            if not state.is_pending(pending):  # a logout, or another poll, has ended it
                raise AuthError(*NO_SESSION)
            try:
                credential, name, now = poll_login(client, pending)
                if credential is not None:
                    return credential, name
                if now is not None:
                    deadline = clock.monotonic() + pending.expires_at - now
                failure, failures, pause = None, 0, POLL_PAUSE
            except (NetworkError, TryLater) as error:
                if not failures:
                    console.say("%s Still waiting." % error.message)
                failure, failures = error, failures + 1
                pause = max(getattr(error, "pause", 0),
                            min(POLL_PAUSE * 2 ** failures, POLL_PAUSE_LIMIT))
            count_down(console, deadline, pause + jitter())
            if clock.monotonic() >= deadline:
                raise failure or expired()
    finally:
        console.live("")


def count_down(console: Console, deadline: float, pause: float) -> None:
    """Sleep for `pause` seconds, at most until `deadline`, under a line that counts down."""
    clock = console.clock
    end = min(clock.monotonic() + pause, deadline)
    while clock.monotonic() < end:
        left = max(0, int(deadline - clock.monotonic()))
        console.live("Waiting for approval in the browser, %d:%02d left" % divmod(left, 60))
        clock.sleep(min(1, max(0.01, end - clock.monotonic())))


def finish_login(credential: Credential, name: str, pending: PendingLogin, state: State) -> str:
    """Keep what an approved login brought, make it the default, and return where its token is.

    Ctrl-C waits while files are written; while the keychain is asked it ends this at once.
    """
    workspace_id, place, kept = str(credential.workspace_id), state.keychain.name, False
    try:
        in_keychain = state.put_in_keychain(workspace_id, credential.token)
        with uninterrupted():
            if not in_keychain:
                place = state.put_in_file(workspace_id, credential.token)
            state.add_workspace(workspace_id, name)
            state.set_default(workspace_id)
            state.delete_pending(pending)
            kept = True
    except KeyboardInterrupt:
        if not kept:
            state.console.say("The approved login was not kept and is lost: run `ntn login` again.")
        raise
    if in_keychain:
        try:  # a token is in one place
            state.delete_from_file([workspace_id])
        except CliError as error:
            state.console.say("warning: An older token of this workspace could not be removed. "
                              + error.message)
    return place


def open_browser(url: str, console: Console) -> bool:
    """Start a browser where a person can see it; False where the printed URL has to do.

    It runs in a process of its own: a browser may print, and webbrowser waits for some of them.
    """
    import subprocess
    import threading
    import webbrowser
    if not console.get("BROWSER"):
        if console.get("SSH_CONNECTION") or not (
                sys.platform in ("darwin", "win32", "cygwin") or console.get("DISPLAY")
                or console.get("WAYLAND_DISPLAY")):
            return False
        try:
            name = os.path.basename(getattr(webbrowser.get(), "name", ""))
        except webbrowser.Error:
            return False
        if name in ("www-browser", "links", "elinks", "lynx", "w3m"):
            return False
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "webbrowser", url], env=dict(console.environ),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
    except OSError:
        return False
    threading.Thread(target=process.wait, daemon=True).start()
    return True


# ---- 8 Request inputs ---------------------------------------------------------------------------

INPUT_HINT = "Use `Header:Value`, `name==value`, `path=value`, or `path:=json`."
NO_BODY_HINT = "To send no body, add </dev/null or -X GET."
MAX_INDEX = 9999
UNENCODABLE = re.compile("[\ud800-\udfff]")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
ID_SEGMENT = re.compile("[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|me")
GAP = Number("null")  # a place in an array that only a higher index has made so far

Segment = Union[str, int, None]  # a key, an index, or None for `[]`, one after the last


class InputError(ApiError):
    """An input that cannot be taken, quoted with a caret under the place."""

    def __init__(self, text: str, place: int, problem: str) -> None:
        from unicodedata import combining, east_asian_width
        start = max(0, place - 60)
        before = ("..." if start else "") + text[start:place]
        after = text[place:start + 90] + ("..." if text[start + 90:] else "")
        before, after = (re.sub(r"\s", " ", visible(part)) for part in (before, after))
        columns = sum(0 if combining(char) else 1 + (east_asian_width(char) in "WF")
                      for char in before)
        super().__init__("Cannot read the input: %s.\n  %s\n  %s^" % (
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
    def has_body(self) -> bool:
        return self.body is not None

    @property
    def has_token(self) -> bool:
        return any(name.lower() == "authorization" for name, _ in self.headers)

    def add(self, text: str) -> None:
        """Take one input; its separator is the first outside brackets, the longest at that place.

        Raises InputError, which quotes it.
        """
        odd = UNENCODABLE.search(text)
        if odd:
            raise InputError(mask_secret(text), odd.start(), "it is not valid UTF-8")
        place, separator = find_separator(text)
        name, value = text[:place], text[place + len(separator):]
        if separator == ":":
            self.add_header(name, value.strip(" \t"), mask_secret(text))
        elif separator == "==":
            if not name:
                raise InputError(text, 0, "the query parameter has no name")
            self.query.append((name, value))
        else:
            path = parse_body_path(text, name)
            content = value if separator == "=" else parse_input_json(text, place + 2)
            self.body = store_at(self.body, path, content, text)

    def add_header(self, name: str, value: str, quoted: str) -> None:
        """Take one header; `quoted` is the input as an error may show it."""
        odd = next((place for place, char in enumerate(name) if not HEADER_NAME.match(char)), None)
        if odd is not None or not name:
            raise InputError(quoted, odd or 0, "this character is not allowed in a header name"
                             if name else "the header has no name")
        if name.lower() in ("host", "content-length", "transfer-encoding"):
            raise InputError(quoted, 0, "this header is set by ntn itself")
        control = re.search("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]", value)
        if control:
            raise InputError(quoted, len(name) + 1 + control.start(),
                             "a header value cannot have control characters")
        self.headers.append((name, value))


def mask_secret(text: str) -> str:
    """An input as it may be quoted."""
    name, colon, value = text.partition(":")
    return name + colon + "*" * len(value) if name.strip().lower() in SECRET_HEADERS else text


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
        raise InputError(text, opened, "this bracket is not closed")
    raise InputError(text, len(text), "there is no =, :=, == or : in it")


def parse_body_path(text: str, path: str) -> List[Tuple[int, Segment]]:
    """(place, segment) of a body path such as a[b].c[0][]; `a[b]c` is `a.b.c`."""
    segments: List[Tuple[int, Segment]] = []
    wanted = True  # a key has to come: at the start, and after a dot
    for token in re.finditer(r"\[([^\]]*)\]|[^.\[\]]+|[.\]]", path):
        place, found, inner = token.start(), token.group(), token.group(1)
        if found == "]":
            raise InputError(text, place, "this bracket was not opened")
        if found == ".":
            if wanted:
                raise InputError(text, place, "a key is missing here")
            wanted = True
            continue
        if inner is not None and wanted and segments:
            raise InputError(text, place, "there is nothing between the dot and the bracket")
        place, key = (place, found) if inner is None else (place + 1, inner)
        segment: Segment = key or None
        if re.fullmatch("[0-9]+", key):
            if len(key.lstrip("0")) > 4:
                raise InputError(text, place, "an index goes up to %d" % MAX_INDEX)
            segment = int(key)
        segments.append((place, segment))
        wanted = False
    if wanted:
        raise InputError(text, len(path), "a key is missing here")
    return segments


def parse_input_json(text: str, place: int) -> Json:
    """The JSON that an input has from `place` on."""
    try:
        return parse_json(text[place:])
    except ValueError as error:
        raise InputError(text, place + getattr(error, "pos", 0), "this is not valid JSON (%s)" % (
            getattr(error, "msg", None) or str(error))) from None


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
            what = ("the key %r" % segment if isinstance(segment, str)
                    else "`[]`" if segment is None else "an index")
            kind = ("an object" if isinstance(found, dict)
                    else "an array" if isinstance(found, list) else "a value")
            raise InputError(text, place, "%s cannot be set, since an earlier input put %s there"
                             % (what, kind))
        if isinstance(found, list):
            segment = len(found) if segment is None else segment
            found.extend([GAP] * (int(segment) + 1 - len(found)))
        elif segment not in found:
            found[segment] = GAP
        holder, step = found, segment
    holder[step] = value
    return top[0]


def build_url(api_origin: str, path: str, query: Iterable[Tuple[str, str]]) -> str:
    """The address to call, which is below the API origin or refused with an ApiError."""
    from urllib.parse import quote, unquote

    def quote_rest(text: str, safe: str) -> str:
        """Percent-encode what cannot stand in a URL, and leave what is encoded already."""
        return re.sub("%(?![0-9A-Fa-f]{2})", "%25", quote(text, safe="%:@!$&'()*+,;=~[]" + safe))

    rest = path.lstrip("/")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
        if parse_origin(path, exact=False) != api_origin:
            raise ApiError("%s is not an address of the API, which is at %s." % (
                mask_userinfo(path), api_origin), "Use the path alone, such as v1/users/me.")
        rest = re.sub(r"^[^:]+://[^/?#]*/*", "", path)
    where, _, given = rest.partition("?")
    decoded = unquote(where)
    problem = ("is not valid UTF-8" if UNENCODABLE.search(path)
               else "has a backslash in it" if "\\" in decoded
               else "has a control character in it" if CONTROL.search(decoded + path)
               else "has a `..` segment in it" if ".." in decoded.split("/")
               else "" if where else "is empty")
    if problem:
        raise ApiError("The path %s %s." % (QUOTE(path), problem),
                       "Use a path such as v1/users/me.")
    query = list(query)
    if any(UNENCODABLE.search(name + value) for name, value in query):
        raise ApiError("A query parameter is not valid UTF-8.")
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
        if console.stdin is None:
            raise CliError("-d @- cannot read standard input: it is closed.")
        return check_json(read_stdin(console, None), "standard input")
    try:
        with open(native_path(text[1:]), "rb") as file:
            return check_json(file.read(), text[1:])
    except OSError as error:
        raise CliError("Cannot read %s: %s." % (one_line(text[1:]), reason(error)), hint) from None


def native_path(path: str) -> str:
    """A file name from the command line as the system knows it (see `decode_arguments`)."""
    return path if os.name == "nt" else os.fsdecode(path.encode("utf-8", "surrogateescape"))


def check_json(data: bytes, source: str, containers_only: bool = False) -> bytes:
    """`data`, unchanged, if it is JSON; else CliError."""
    hint, value = NO_BODY_HINT if containers_only else "", None
    try:
        value = parse_json(data.decode("utf-8"))
        problem = "" if isinstance(value, (dict, list)) or not containers_only else (
            "is neither a JSON object nor an array")
    except UnicodeDecodeError:
        problem = "is not UTF-8"
    except ValueError as error:
        problem = "is not valid JSON: %s" % error
        if data.startswith(b"\xef\xbb\xbf"):
            problem, hint = "begins with a byte order mark", "Save it as UTF-8 without one."
    if problem:
        raise CliError("The body from %s %s." % (one_line(source), problem), hint)
    return data


def stdin_waits(console: Console) -> Optional[bool]:
    """Whether there is something to be read in standard input; None where no body can be there.

    Read are a pipe, a socket, or a file from its start: a terminal has no body, and a file that
    was begun already belongs to the shell loop around us.
    """
    if console.stdin is None:
        return None
    import stat
    try:
        descriptor = console.stdin.fileno()
        status = os.fstat(descriptor)
    except (OSError, ValueError):  # not a file of the system's: a caller's own stream
        return True
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
    assert console.stdin is not None
    try:
        descriptor = console.stdin.fileno()
    except (OSError, ValueError):
        return console.stdin.buffer.read()
    notice = partial(console.say, "Waiting for a JSON body from standard input.")
    try:  # os.read, since a thread that hangs in a buffered stream breaks the interpreter's exit
        chunks = [call_with_limit(lambda: os.read(descriptor, CHUNK), limit, notice)]
    except LimitPassed:
        raise UsageError("Standard input is a pipe that has been silent for %g s." % STDIN_SILENCE,
                         NO_BODY_HINT[:-1] + "; to wait for one, -d @-.") from None
    while chunks[-1]:
        chunks.append(os.read(descriptor, CHUNK))
    return b"".join(chunks)


def read_piped_body(method: str, path: str, console: Console) -> Optional[bytes]:
    """A JSON body from stdin, where one can be there and the method or the path takes one."""
    segment = path.partition("?")[0].rstrip("/").rpartition("/")[2]
    if not method and ID_SEGMENT.fullmatch(segment):  # Notion's API has no POST for such a path
        if stdin_waits(console):
            console.say("note: Standard input is not sent to this path without -X PATCH.")
        return None
    if method in ("GET", "HEAD", "DELETE") or stdin_waits(console) is None:
        return None
    data = read_stdin(console, STDIN_SILENCE)
    return check_json(data, "standard input", containers_only=True) if data.strip() else None


# ---- 9 Commands ---------------------------------------------------------------------------------
# Each `add_NAME` declares the options of a command and words its help, beside the `cmd_NAME` that
# does its work and returns the exit code.

Args = Any  # an argparse.Namespace: the options by name, and `inputs`, what else was given
Option = Any  # declares an option: its spellings, help and, if it takes one, the name of its value


# 9.1 Calls of the API and their failures ---------------------------------------------------------


class Api:
    """Calls of the API over one connection, with one credential (None: the headers have one)."""

    def __init__(self, state: State, credential: Optional[Credential], limit: Optional[float],
                 headers: Sequence[Tuple[str, str]] = (), retry: bool = True) -> None:
        self.state, self.credential, self._headers = state, credential, list(headers)
        client = Client(state.console, limit)
        self.close = client.close
        self._send = client.send_with_retries if retry else client.send

    def send(self, method: str, path: str, query: Pairs, body: Body = None) -> Response:
        """The answer, whatever its status."""
        url = build_url(self.state.settings.api_origin, path, query)
        names = {name.lower() for name, _ in self._headers}
        # A given header replaces the default of its name; an empty one takes it away, as in curl.
        headers = [header for header in self._defaults(body) if header[0].lower() not in names]
        return self._send(method, url, headers + [pair for pair in self._headers if pair[1]], body)

    def _defaults(self, body: Body) -> Pairs:
        """The headers of a call; the only place that puts a token into one."""
        headers = []
        if self.credential:
            headers.append(("Authorization", "Bearer " + self.credential.token))
        headers += [("Notion-Version", self.state.settings.notion_version),
                    ("User-Agent", user_agent()), ("Accept", "application/json"),
                    ("Accept-Encoding", "gzip")]
        if body is not None:
            headers.append(("Content-Type", body.content_type if isinstance(body, FileBody)
                            else "application/json"))
        return headers

    def call(self, method: str, path: str, query: Pairs, body: Body = None) -> Response:
        """The answer, its body read. An ApiError or AuthError for a status from 300 up."""
        response = self.send(method, path, query, body)
        if response.status >= 300:
            raise api_error(response, self.credential, teach(response, method, path, self.state))
        _ = response.body
        return response

    def pages(self, method: str, path: str, query: Pairs, body: Optional[bytes],
              decode: Callable[[str], Json]) -> Iterator[List[Json]]:
        """The results of each page of a list, decoded by `decode`.

        Raises CliError; its hint names the cursor to go on from.
        """
        from urllib.parse import parse_qsl
        path, _, given = path.partition("?")
        query = parse_qsl(given, keep_blank_values=True) + query
        if method == "POST" and body is None:
            body = b"{}"
        value = parse_json(body.decode("utf-8")) if body else {}
        if not isinstance(value, dict):
            raise ApiError("The body is not a JSON object, so a next page cannot be asked for.",
                           "Remove --paginate.")
        cursor, seen = "", {found for name, found in query if name == "start_cursor"}
        seen.add(str(value.get("start_cursor")))
        while True:
            try:
                results, following = read_page(self.call(method, path, query, body), decode)
                if following in seen:
                    raise ApiError("The API gave the cursor %s twice." % one_line(following))
            except CliError as error:
                if cursor:
                    from shlex import quote
                    given = "start_cursor%s%s" % ("==" if method == "GET" else "=", cursor)
                    error.hint = ("%s The results so far are complete. Continue with `%s`." % (
                        error.hint, quote(one_line(given)))).strip()
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
                value["start_cursor"] = cursor
                body = encode_json(value)


def read_page(response: Response, decode: Callable[[str], Json]) -> Tuple[List[Json], str]:
    """(results, cursor of the next page, "" on the last)."""
    try:
        page = decode(response.body.decode("utf-8"))
    except (ValueError, RecursionError):
        page = None
    results = page.get("results") if isinstance(page, dict) else None
    if not isinstance(results, list):
        raise ApiError("The answer is not a paginated list.", "Remove --paginate.")
    cursor = page.get("next_cursor") if page.get("has_more") is not False else None
    if page.get("has_more") is True and not (cursor and isinstance(cursor, str)):
        raise ApiError("The API says that there are more results, but gives no cursor to them.")
    return results, cursor if isinstance(cursor, str) else ""


def api_error(response: Response, credential: Optional[Credential], hint: str = "") -> CliError:
    """What an answer with a status from 300 up means; its body becomes the message."""
    answer, status = read_error(response), response.status_text
    request_id = answer.get("request_id") or response.headers.get("x-request-id")
    tail = "\n  request id: %s" % one_line(str(request_id)) if request_id else ""
    code = answer.get("code")
    if response.status < 400 and response.headers.get("Location"):
        target = parse_origin(redirect_target("", response), exact=False) or "another address"
        error: CliError = ApiError(
            "Public API request failed (%s): it is redirected to %s, and no redirect is followed."
            % (status, target), "Check NOTION_API_BASE_URL.")
    elif response.status == 401:
        error = AuthError(
            "Public API request failed: API token is invalid." + tail,
            "The token came from %s. %s" % (
                credential.source if credential else "the Authorization input",
                "Run `ntn login` to get a new one." if credential and credential.workspace_id
                else "Set it to a valid one."))
    else:
        status += " " + one_line(code) if isinstance(code, str) else ""
        error = ApiError("Public API request failed (%s): %s%s" % (
            status, describe_error(response, answer.get("message")), tail),
            hint or explain_wait(response, answer))
    error.status, error.body = response.status, response.body
    error.api_code = code if isinstance(code, str) else None
    error.request_id = request_id if isinstance(request_id, str) else None
    return error


def read_error(response: Response) -> Dict[str, Json]:
    """The object in the body of an error, empty if there is none or it does not come."""
    response.drain()
    try:
        return read_object({"": response.json()}, "")
    except ApiError:
        return {}


def describe_error(response: Response, message: Json) -> str:
    """The API's message, a line each; else what came instead of a Notion error."""
    if isinstance(message, str):
        return "\n    ".join(filter(None, map(one_line, message.splitlines())))
    if response.is_json and response.body.strip():
        text = one_line(response.body[:2000].decode("utf-8", "replace"))
        return text[:300] + ("..." if len(text) > 300 else "")
    kind = response.headers.get("Content-Type", "").split(";")[0]
    return "the server sent %s instead of a Notion error." % (one_line(kind) or "nothing")


def explain_wait(response: Response, answer: Dict[str, Json]) -> str:
    """What the server says about trying again."""
    words = ""
    why = read_object(answer, "additional_data").get("rate_limit_reason")
    if response.status == 429 and isinstance(why, str):
        words = "The reason is %s. " % one_line(why)
    asked = response.retry_after(time.time()) if response.status in (429, 503, 529) else None
    if asked:
        words += "The server asks to wait %d s before the next try." % asked
    return words.strip()


def teach(response: Response, method: str, path: str, state: State) -> str:
    """A hint for the commonest mistakes behind a refusal; what it needs to know is in the cache."""
    url = build_url(state.settings.api_origin, path, [])
    where = url[len(state.settings.api_origin):].split("?")[0].strip("/")
    answer = read_error(response)
    if response.status == 400 and re.search(r"\barchived\b", str(answer.get("message"))):
        return "Since version 2026-03-11 the field is called in_trash: try in_trash:=true."
    if response.status == 403 and where == "v1/users":
        return "This kind of token can only see its own user: try v1/users/me."
    if response.status in (404, 405) or answer.get("code") == "invalid_request_url":
        if not re.match(r"(admin/)?v\d+(/|\Z)", where):
            return "The paths of the API begin with v1/: try v1/%s." % where
        methods = [operation.method for operation in find_operations(
            read_object(load_cached_specification(state), "document"), where)]
        if methods and method not in methods:
            best = "PATCH" if method == "POST" and "PATCH" in methods else methods[0]
            return "This path takes %s: try -X %s." % (", ".join(methods), best)
    return ""


# 9.2 The API's own description -------------------------------------------------------------------


class Operation(NamedTuple):
    """One method of one path in the API's OpenAPI description."""

    method: str
    path: str
    content: Dict[str, Json]

    def text(self, key: str) -> str:
        value = self.content.get(key)
        return one_line(value) if isinstance(value, str) else ""

    @property
    def reference(self) -> str:
        """Where the docs origin documents it; "" if nowhere below that origin."""
        path = self.text("x-notion-docs-ref").strip("/")
        return path if re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", path) else ""


def load_cached_specification(state: State) -> Dict[str, Json]:
    """{"origin", "etag", "checkedAt": unix seconds, "document"} as it was fetched last, or {}."""
    try:
        cached = state.load(SPECIFICATION)
    except CliError:
        return {}  # only a cache: it is fetched anew
    same = cached.get("origin") == state.settings.docs_origin and read_object(cached, "document")
    return cached if same else {}


def load_specification(state: State) -> Dict[str, Json]:
    """The API's OpenAPI document, from the cache for a day, then asked about again.

    It is public: no token is sent. Raises ApiError if it can neither be fetched nor found.
    """
    cached, now = load_cached_specification(state), state.console.clock.time()
    document, etag = read_object(cached, "document"), cached.get("etag")
    if 0 <= now - (parse_time(cached.get("checkedAt")) or 0) < SPEC_LIFETIME:
        return document
    known = isinstance(etag, str) and re.fullmatch(r"[\x20-\x7e]+", etag)
    try:
        response = fetch_docs("/openapi.json", state, [("If-None-Match", etag)] if known else [])
        if response.status != 304 or not cached:
            document, etag = parse_json(response.body.decode("utf-8")), response.headers.get("ETag")
            if not read_object(document, "paths"):
                raise ApiError("The answer is not an OpenAPI document.")
    except (CliError, ValueError) as problem:
        error = problem if isinstance(problem, CliError) else ApiError("The answer is not JSON.")
        if not cached:
            raise ApiError("The API's description cannot be fetched from %s. %s" % (
                state.settings.docs_origin, error.message), error.hint) from None
        state.console.say("warning: %s An older copy of the API's description is used."
                          % error.message)
        return read_object(cached, "document")
    with suppress(CliError):  # it works without a cache, just slower
        state.prove(SPECIFICATION)
        state.update(SPECIFICATION, lambda data: data.update(
            origin=state.settings.docs_origin, etag=etag, checkedAt=int(now), document=document))
    return document


def fetch_docs(path: str, state: State, headers: Any = ()) -> Response:
    """An answer with status 200 or 304 of the docs origin."""
    url = state.settings.docs_origin + path
    with closing(Client(state.console, CALL_LIMIT)) as client:
        response = client.send_with_retries("GET", url, list(headers) + [
            ("User-Agent", user_agent()), ("Accept-Encoding", "gzip")])
        _ = response.body
    if response.status not in (200, 304):
        raise ApiError("%s answered %s." % (url, response.status_text))
    return response


def list_operations(document: Dict[str, Json]) -> List[Operation]:
    """All operations, by path, then method."""
    found = [Operation(method.upper(), path, content)
             for path, item in read_object(document, "paths").items() if isinstance(item, dict)
             for method, content in item.items() if isinstance(content, dict)
             and method.upper() in METHODS]
    return sorted(found, key=lambda operation: (operation.path, operation.method))


def find_operations(document: Dict[str, Json], path: str) -> List[Operation]:
    """The operations of the path that `path` is an instance of; a literal segment wins."""
    segments = path.strip("/").split("/")
    matches: Dict[str, List[bool]] = {}
    operations = list_operations(document)
    for operation in operations:
        parts = operation.path.strip("/").split("/")
        same = [part == segment for part, segment in zip(parts, segments)]
        if len(parts) == len(segments) and all(
                equal or re.fullmatch(r"\{[^}]*\}", part) for part, equal in zip(parts, same)):
            matches[operation.path] = same
    best = max(matches, key=lambda template: matches[template], default=None)
    return [operation for operation in operations if operation.path == best]


def as_list(value: Json) -> List[Json]:
    """`value` if it is an array, else none: a document may hold anything anywhere."""
    return value if isinstance(value, list) else []


def parse_reference(reference: str) -> List[str]:
    """The keys that a reference such as #/components/schemas/Page leads through (RFC 6901)."""
    from urllib.parse import unquote
    return [unquote(key).replace("~1", "/").replace("~0", "~") for key in reference[2:].split("/")]


def reduce_specification(document: Dict[str, Json], operation: Operation) -> Dict[str, Json]:
    """A document with this operation alone and what its references reach, at any depth."""
    item = read_object(document, "paths", operation.path)
    kept = {key: value for key, value in item.items() if key in ("parameters", "servers")}
    kept[operation.method.lower()] = operation.content
    reduced: Dict[str, Json] = {
        key: document[key] for key in ("openapi", "info", "servers") if key in document}
    reduced["paths"] = {operation.path: kept}
    queue: List[Json] = [kept]
    for requirement in as_list(operation.content.get("security", document.get("security"))):
        queue += [{"$ref": "#/components/securitySchemes/" + name}
                  for name in read_object({"": requirement}, "")]
    while queue:
        value = queue.pop()
        if isinstance(value, list):
            queue += value
        elif isinstance(value, dict):
            queue += value.values()
            if isinstance(value.get("$ref"), str):
                keys = parse_reference(value["$ref"])
                # A component as a whole, such as components, schemas, Page
                keys = keys[:3 if keys[0] in ("components", "paths") else 1]
                place = read_object(document, *keys[:-1])
                target = make_object(reduced, *keys[:-1])
                if keys[-1] in place and keys[-1] not in target:
                    target[keys[-1]] = place[keys[-1]]
                    queue.append(place[keys[-1]])
    return reduced


def format_operation(document: Dict[str, Json], operation: Operation, docs_origin: str) -> str:
    """The help of one call: what it is, its parameters and the fields of its body."""
    def resolved(value: Json) -> Dict[str, Json]:
        """`value`, or the object that its reference leads to, which may lead to another."""
        for _ in range(20):
            reference = read_object({"": value}, "").get("$ref")
            if not isinstance(reference, str):
                break
            value = read_object(document, *parse_reference(reference))
        return read_object({"": value}, "")

    def row(name: str, schema: Json, required: bool, description: Json) -> str:
        schema = resolved(schema)
        kind = schema.get("type") or next((key for key in ("oneOf", "anyOf", "allOf", "enum")
                                           if key in schema), "any")
        kind = "|".join(map(str, kind)) if isinstance(kind, list) else str(kind)
        text = one_line(str(description or schema.get("description") or ""))
        return ("  %-24s %-8s %-9s%s" % (one_line(name), kind, "required " * required, text)
                )[:100].rstrip()

    sections: List[Tuple[str, List[str]]] = []
    parameters = [resolved(entry) for source in (
        read_object(document, "paths", operation.path), operation.content)
                  for entry in as_list(source.get("parameters"))]
    for place, title in (("path", "In the path"), ("query", "Query parameters (name==value)"),
                         ("header", "Headers (Header:Value)")):
        sections.append((title, [
            row(str(entry.get("name")), entry.get("schema"), bool(entry.get("required")),
                entry.get("description")) for entry in parameters if entry.get("in") == place]))
    content = read_object(resolved(operation.content.get("requestBody")), "content")
    for kind in content:
        schema = resolved(read_object(content, kind).get("schema"))
        required = as_list(schema.get("required"))
        sections.append(("Body fields (path=value, path:=json), as %s" % kind, [
            row(name, value, name in required, "")
            for name, value in read_object(schema, "properties").items()]))
    lines = ["%s %s" % (operation.method, one_line(operation.path)), operation.text("summary"), ""]
    for title, rows in sections:
        lines += [title + ":"] + rows + [""] if rows else []
    reference = operation.reference
    lines += ["Documentation: %s/%s" % (docs_origin, reference), ""] if reference else []
    return visible("\n".join(lines) + "\n")


# 9.3 login, logout -------------------------------------------------------------------------------

LOGIN_TEXT = """Open this URL in your browser to log in:

  %s

Confirm that this verification code matches what you see in the browser:

  %s
"""


def add_login(option: Option) -> str:
    option("--no-browser", help="print the address and exit; finish with `login poll`")
    option("--workspace", help="switch to a workspace you are logged in to", value="ID|NAME")
    option("--json", help="print one JSON document")
    return """\
In a terminal, login opens a browser and waits for your approval. Elsewhere, and
with --no-browser, it prints an address and a verification code, and
`%(prog)s poll` finishes the login.

examples:
  %(prog)s
  %(prog)s --workspace Acme
  %(prog)s --no-browser --json | jq -r .url"""


def cmd_login(args: Args, state: State) -> int:
    console = state.console
    warn_of_token(state)
    if args.workspace is None:  # else no login is needed, and nothing need be moved
        state.prove(CONFIG)
        state.prove(WORKSPACES)
    interactive = console.interactive and not args.no_browser
    chosen = choose_workspace(args, state, interactive)
    if chosen is not None and switch(args, state, chosen):
        return EXIT_OK
    prove_login(state)
    with closing(Client(console, CALL_LIMIT, LOGIN_SIZE)) as client:
        pending, replaced = start_login(client, state.settings), state.load_pending()
        state.save_pending(pending)
        if replaced and replaced.code:
            console.say("This replaces the pending login with the code %s." % replaced.code)
        if not interactive:
            return show_instructions(args, state, pending)
        console.say(LOGIN_TEXT % (pending.url, pending.code))
        console.say("Your browser should open now; if not, open the URL yourself."
                    if open_browser(pending.url, console) else "Open the URL on any device.")
        return wait_and_finish(args, client, pending, state)


def warn_of_token(state: State) -> None:
    if state.settings.credential is not None:
        state.console.say("warning: NOTION_API_TOKEN is set and takes precedence over what this "
                          "login stores.\n  hint: Unset it to use the login.")


def prove_login(state: State) -> None:
    """Find out, before anything is sent, that a login can be kept: its session works only once."""
    state.prove_tokens()
    for name in (CONFIG, WORKSPACES, PENDING):
        state.prove(name)


def switch(args: Args, state: State, chosen: str) -> bool:
    """Make a known workspace the default; False if its token is gone."""
    name = one_line(state.workspaces().get(chosen, chosen))
    credential, before = state.get_token(chosen), state.default_workspace()
    if credential is None:
        state.console.say("The token of workspace %s is gone, so a new login is needed." % name)
        return False
    state.set_default(chosen)
    state.console.say("✔ %s workspace %s" % (
        "Still using" if before == chosen else "Switched to", name))
    report_login(args, state, "switched", chosen, credential.source)
    return True


def choose_workspace(args: Args, state: State, interactive: bool) -> Optional[str]:
    """The known workspace to switch to, or None for a new login."""
    if args.workspace is not None:
        return known_workspace(state, args.workspace)
    if interactive and not state.settings.workspace_id:
        return pick_workspace(state)
    return state.find_workspace(state.settings.workspace_id or "") if interactive else None


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
    choices: List[Optional[str]] = list(known)
    labels = [one_line(known[key]) + " (default)" * (key == default) for key in known]
    labels.append("Authenticate with new workspace")
    preset = choices.index(default) + 1 if default in known else len(labels)
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
            return (choices + [None])[int(answer) - 1]
        if len(named) == 1:
            return named[0]
        console.say("Type a number from 1 to %d, or the start of a name." % len(labels))


def show_instructions(args: Args, state: State, pending: PendingLogin) -> int:
    """The second half of a login in two steps; programs rely on these lines."""
    command = own_command() + " login poll"
    if args.json:
        state.console.emit_json({
            "url": pending.url, "verification_code": pending.code,
            "expires_at": pending.expires_at, "poll_command": command})
    else:
        state.console.emit(LOGIN_TEXT % (pending.url, pending.code)
                           + "\nThen run this command to complete login:\n\n  %s\n" % command)
    return EXIT_OK


def wait_and_finish(args: Args, client: Client, pending: PendingLogin, state: State) -> int:
    """Wait for the approval and keep what it brings; whatever interrupts leaves the session."""
    kept = "The login is still pending: run `ntn login poll` to finish it."
    try:
        credential, name = wait_for_approval(client, pending, state)
    except KeyboardInterrupt:
        state.console.say("\n" * state.console.is_terminal(state.console.stderr) + kept)
        raise
    except (NetworkError, TryLater) as error:
        raise ApiError(error.message, kept) from None
    except LoginOver as error:
        raise end_login(error, pending, state) from None
    return conclude_login(args, credential, name, pending, state)


def end_login(error: LoginOver, pending: PendingLogin, state: State) -> CliError:
    """What to say of a login that is over; its session can be forgotten."""
    if state.delete_pending(pending) or error.expired:
        return error
    return AuthError("Another process has finished or ended this login.",
                     "Run `ntn whoami` to check.")


def conclude_login(args: Args, credential: Credential, name: str, pending: PendingLogin,
                   state: State) -> int:
    stored_in = finish_login(credential, name, pending, state)
    state.console.say("✔ Logged in to workspace %s\n  The token is stored in %s" % (
        one_line(name), stored_in))
    wanted = state.settings.workspace_id
    if wanted and undashed(wanted) != undashed(str(credential.workspace_id)):
        state.console.say("warning: NOTION_WORKSPACE_ID names another workspace and takes "
                          "precedence.")
    report_login(args, state, "confirmed", str(credential.workspace_id), stored_in)
    return EXIT_OK


def report_login(args: Args, state: State, status: str, workspace_id: str, place: str) -> None:
    if args.json:
        state.console.emit_json({
            "status": status, "workspace_id": workspace_id,
            "workspace_name": state.workspaces().get(workspace_id), "stored_in": place})


def add_login_poll(option: Option) -> str:
    option("--no-wait", help="ask once; exit code 8 if the login is not approved yet")
    option("--json", help="print one JSON document")
    return ""


def cmd_login_poll(args: Args, state: State) -> int:
    console, pending = state.console, state.load_pending()
    if pending is None:
        raise AuthError(*NO_SESSION)
    if args.env is not None:
        pending = pending._replace(environment=state.settings.environment,
                                   origin=state.settings.login_origin)
    state.settings = state.settings._replace(environment=pending.environment)
    warn_of_token(state)
    prove_login(state)
    if pending.url:
        console.say(LOGIN_TEXT % (pending.url, pending.code))
    with closing(Client(console, CALL_LIMIT, LOGIN_SIZE)) as client:
        if not args.no_wait:
            return wait_and_finish(args, client, pending, state)
        try:
            credential, name, _ = poll_login(client, pending)
        except LoginOver as error:
            raise end_login(error, pending, state) from None
    if credential is not None:
        return conclude_login(args, credential, name, pending, state)
    console.say("The login is still pending: approve it in the browser.")
    if args.json:
        console.emit_json({"status": "pending", "expires_at": pending.expires_at})
    return EXIT_PENDING


def add_logout(option: Option) -> str:
    option("--workspace", help="forget this workspace alone", value="ID|NAME")
    return "It needs no network; a token stays valid at Notion until it is revoked there."


def cmd_logout(args: Args, state: State) -> int:
    failures: List[CliError] = []

    def attempt(step: Callable[[], Result], otherwise: Result) -> Result:
        """What fails is kept for the end: it must not keep the rest from being forgotten."""
        try:
            return step()
        except LockHeld:
            raise  # the next step would wait as long
        except CliError as error:
            failures.append(error)
            return otherwise

    everything = args.workspace is None
    names: Dict[str, str] = attempt(state.workspaces, {}) if everything else state.workspaces()
    listed = not failures
    if everything:
        default = attempt(state.default_workspace, None)
        names.update({default: default} if default and default not in names else {})
    else:
        chosen = known_workspace(state, args.workspace)
        names = {chosen: names[chosen]}
    left: Set[str] = set(names)  # these stay known, so that logging out can be repeated
    deleted: Set[str] = set()
    if attempt(partial(state.load, AUTH), None) is not None:
        deleted, left = attempt(partial(state.delete_from_file, names), deleted), set()
    for key, name in names.items():
        try:
            deleted.update([key] if state.keychain.delete(key) else [])
        except NoKeychain:
            pass
        except KeychainError as error:
            if key in deleted:
                state.console.say("warning: %s An older token may be left in it." % error.message)
            else:
                left.add(key)
                failures.append(CliError("The token of workspace %s is left: %s" % (
                    one_line(name), error.message), error.hint))
    gone = [key for key in names if key not in left]
    done = any([bool(deleted), attempt(partial(state.forget_default, names), False),
                listed and attempt(partial(state.forget_workspaces, gone), False),
                everything and attempt(partial(forget_pending, state), False)])
    return conclude_logout(state, failures, done, [one_line(names[key]) for key in gone])


def forget_pending(state: State) -> bool:
    """Forget a login that is pending in this environment; whether there was one."""
    pending = state.load_pending()
    return (pending is not None and pending.environment == state.settings.environment
            and state.delete_pending(pending))


def conclude_logout(state: State, failures: List[CliError], done: bool, names: List[str]) -> int:
    """Say what was forgotten, what is left, and what is still in effect."""
    directory = os.path.dirname(state.path(AUTH))
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        if name.startswith(AUTH + ".damaged-"):
            state.console.say("warning: %s may hold tokens.\n  hint: Delete it when you have seen "
                              "it." % os.path.join(directory, name))
    if state.settings.credential is not None:
        state.console.say("warning: NOTION_API_TOKEN is set and still in effect.\n"
                          "  hint: Unset it.")
    for failure in failures[:-1]:
        state.console.say("error: " + failure.message)
    if failures:
        failures[-1].hint = "The rest was forgotten." if done else failures[-1].hint
        raise failures[-1]
    state.console.say("✔ Logged out" if done else "✔ Already logged out")
    if done and names:
        state.console.say("  Forgotten: %s. At Notion the token stays valid until you revoke it in "
                          "your settings." % ", ".join(names))
    return EXIT_OK


# 9.4 api -----------------------------------------------------------------------------------------


def add_api(option: Option) -> str:
    option("-X", "--method", help="HTTP method (default: POST with a body, else GET)",
           value="METHOD")
    option("-d", "--data", help="the body: JSON, @FILE, or @- for standard input", value="JSON")
    option("--file", help="upload FILE as form field `file`; path=value adds fields", value="FILE")
    option("-i", "--include", help="show status and headers before the body")
    option("--paginate", help="follow next_cursor; print each result as one line of JSON")
    option("--notion-version", help="as the variable NOTION_API_VERSION", value="V")
    option("--timeout", help="limit for one attempt (default: 60 s without progress)", value="S")
    option("--no-retry", help="do not try again after 429, 5xx or a broken connection")
    option("--spec", help="print the OpenAPI description of this call")
    option("--docs", help="print the documentation of this call")
    return """\
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
  %(prog)s v1/users/me
  %(prog)s v1/pages parent.page_id=ID 'properties[title][0][text][content]=Hello'
  %(prog)s v1/pages/ID -X PATCH in_trash:=true
  %(prog)s v1/pages/ID -X PATCH 'properties[Due: date][date][start]=2026-01-01'
  %(prog)s v1/blocks/ID/children -X PATCH \\
      'children[][paragraph][rich_text][][text][content]=Hi'
  %(prog)s v1/search query=roadmap filter.property=object filter.value=page
  %(prog)s v1/search query=roadmap --paginate | jq -r .id

Without a body in inputs, -d or --file, a JSON object or array is read from a pipe
or a file, unless the path ends in an ID or `me` (then -X PATCH reads it):
  jq -n '{query: "roadmap"}' | %(prog)s v1/search"""


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
    timeout = parse_timeout(args.timeout)
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
            print_pages(api, method, path, inputs.query, body)
            return EXIT_OK
        response = api.send(method, path, inputs.query, body)
        if args.include:
            show_head(response, console)
        error = None
        if response.status >= 300:
            error = api_error(response, credential, teach(response, method, path, state))
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


def parse_timeout(text: Optional[str]) -> Optional[float]:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?|\.[0-9]{1,6}", text) or not float(text):
        raise UsageError("--timeout is %r: it takes seconds, such as 10 or 2.5." % text)
    return float(text)


def print_pages(api: Api, method: str, path: str, query: Pairs, body: Optional[bytes]) -> None:
    """Each result as one line of JSON; where only the lines are redirected, a count on stderr."""
    console, count = api.state.console, 0
    try:
        for results in api.pages(method, path, query, body, parse_json):
            console.emit(b"".join([encode_json(item) + b"\n" for item in results]))
            count += len(results)
            if not console.is_terminal(console.stdout):
                console.live(plural(count, "result"))
    finally:
        console.live("")


def choose_body(args: Args, inputs: RequestInputs, console: Console) -> Body:
    """The body that the command line gives; None if it gives none."""
    sources = (["--file"] * (args.file is not None) + ["-d"] * (args.data is not None)
               + ["inputs (path=value)"] * inputs.has_body)
    if len(sources) > 1 and "-d" in sources:
        raise ApiError("The request has more than one body: %s." % " and ".join(sources),
                       "Use only one of them.")
    if args.file is not None:
        return make_form(args.file, inputs.body, console)
    if args.data is not None:
        return read_body_option(args.data, console)
    return encode_json(inputs.body) if inputs.has_body else None


def make_form(name: str, fields: Json, console: Console) -> FileBody:
    """A multipart form (RFC 7578) with `fields` and the part `file`, streamed from disk."""
    if isinstance(fields, list):
        raise ApiError("Form fields need names, so an array cannot be sent with --file.",
                       INPUT_HINT)
    from mimetypes import guess_type
    path, base, shown = native_path(name), os.path.basename(name), one_line(name)
    kind, packed = guess_type(base)
    if packed or not kind:
        kind = "application/gzip" if packed == "gzip" else "application/octet-stream"
    if os.path.exists(path) and not os.path.isfile(path):
        raise CliError("%s is not a regular file, so it cannot be uploaded." % shown)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise CliError("Cannot read %s: %s." % (shown or "a file without a name", reason(error))
                       ) from None
    line = "--ntn-" + os.urandom(16).hex()
    part = line + '\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s'
    head = "".join(part % (quote_parameter(key), "",
                           item if type(item) is str else format_json(item)) + "\r\n"
                   for key, item in (fields or {}).items())
    head += part % ("file", '; filename="%s"\r\nContent-Type: %s' % (
        quote_parameter(base), kind), "")
    before, after = head.encode("utf-8", "surrogateescape"), ("\r\n%s--\r\n" % line).encode("ascii")

    def chunks() -> Iterator[bytes]:
        yield before
        left = size
        try:
            with open(path, "rb") as file:
                while left:
                    chunk = file.read(min(CHUNK, left))
                    if not chunk:
                        raise CliError("%s changed during the upload." % shown)
                    left -= len(chunk)
                    yield chunk
                    if size > PROGRESS_SIZE:
                        console.live("Sending %s: %d%%" % (base, (size - left) * 100 // size))
        except OSError as error:
            raise CliError("Cannot read %s: %s." % (shown, reason(error))) from None
        finally:
            console.live("")
        yield after

    return FileBody(len(before) + size + len(after), chunks,
                    "multipart/form-data; boundary=" + line[2:])


def quote_parameter(text: str) -> str:
    """`text` for a quoted parameter; what would end the line is percent-encoded, as browsers do."""
    text = re.sub(r'(["\\])', r"\\\1", text)
    return re.sub("[\x00-\x1f\x7f]", lambda found: "%%%02X" % ord(found.group()), text)


def show_head(response: Response, console: Console) -> None:
    lines = ["HTTP/1.%d %s" % (response.version % 10, response.status_text)]
    lines += header_lines(response.headers.items(), secrets=True)
    console.emit(visible("\n".join(lines)) + "\n\n")


def show_body(response: Response, console: Console) -> None:
    """The body on stdout: for a terminal made readable and harmless, else byte for byte."""
    last, came = b"\n", []
    terminal = console.is_terminal(console.stdout)
    try:
        for chunk in response.chunks(BODY_SIZE if terminal else None):
            if terminal:
                came.append(chunk)
            elif chunk:
                console.emit(chunk)
                last = chunk
        if response.is_json and not last.endswith(b"\n"):
            console.emit(b"\n")
    finally:
        if came:
            console.emit(format_body(b"".join(came), console))
        response.trace_body(size_only=terminal and console.is_terminal(console.stderr))


def format_body(body: bytes, console: Console) -> str:
    """A body as text for a terminal: JSON indented, and nothing that acts on the terminal."""
    text = body.decode("utf-8", "backslashreplace")
    try:
        text = format_json(parse_json(text), "  ", partial(console.paint, stream=console.stdout))
    except (ValueError, RecursionError):
        text = visible(text)
    return text + "\n" * (text[-1:] not in ("", "\n"))


def describe_call(args: Args, method: str, state: State) -> int:
    """`ntn api PATH` with --spec, --docs or --help."""
    from urllib.parse import unquote
    console, origin = state.console, state.settings.api_origin
    path = unquote(build_url(origin, args.inputs[0], [])[len(origin):].split("?")[0])
    try:
        document = load_specification(state)
    except ApiError as error:
        if not args.help:
            raise
        console.say("warning: %s This is the general help." % error.message)
        show_help(args, console)
        return EXIT_OK
    operations = find_operations(document, path)
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
        console.emit_json(reduce_specification(document, operation))
    elif args.docs:
        if not operation.reference:
            raise ApiError("There is no documentation of %s %s." % operation[:2],
                           "Try --spec, or `ntn api %s --help`." % operation.path)
        show_body(fetch_docs("/%s.md" % operation.reference, state), console)
    else:
        for operation in chosen:
            console.emit(format_operation(document, operation, state.settings.docs_origin))
        console.emit(console.typed("`ntn api --help` explains options and inputs.\n"))
    return EXIT_OK


def add_lists(option: Option) -> str:
    option("--json", help="print one JSON document")
    option("--plain", help="print what a pipe gets, also on a terminal")
    return ""


def cmd_api_ls(args: Args, state: State) -> int:
    console, operations = state.console, list_operations(load_specification(state))
    rows = [(each.method, one_line(each.path), each.text("summary")) for each in operations]
    if args.json:
        console.emit_json([{
            "method": each.method, "path": each.path, "summary": each.text("summary"),
            "tags": each.content.get("tags") or [], "operation_id": each.text("operationId")}
            for each in operations])
        return EXIT_OK
    template = "%s\t%s\t%s\n"
    if not args.plain and console.is_terminal(console.stdout):
        rows.insert(0, ("METHOD", "PATH", "SUMMARY"))
        template = "%%-7s %%-%ds  %%s\n" % max(len(path) for _, path, _ in rows)
    console.emit("".join(template % row for row in rows).encode("utf-8", "backslashreplace"))
    return EXIT_OK


# 9.5 whoami, auth token --------------------------------------------------------------------------


def add_whoami(option: Option) -> str:
    option("--notion-version", help="as the variable NOTION_API_VERSION", value="V")
    add_lists(option)
    return ("In a pipe it is one line, tab-separated: id, name, type, email, workspace_id,\n"
            "workspace_name, owner_id, owner_name, owner_type.")


def cmd_whoami(args: Args, state: State) -> int:
    console, credential = state.console, state.credential()
    with closing(Api(state, credential, CALL_LIMIT)) as api:
        response = api.call("GET", "v1/users/me", [])
    if args.json:
        console.emit(response.body.rstrip(b"\n") + b"\n")
        return EXIT_OK
    row = describe_user(response.json())
    if args.plain or not console.is_terminal(console.stdout):
        console.emit(("\t".join(row.values()) + "\n").encode("utf-8", "backslashreplace"))
        return EXIT_OK
    labels = {"id": "ID", "name": "Name", "type": "Type", "email": "Email", "workspace_name":
              "Workspace", "workspace_id": "Workspace ID", "owner_name": "Owner"}
    for key, label in labels.items():
        console.emit("%-14s%s\n" % (label, row[key]) if row[key] else "")
    console.emit("%-14s%s\n" % ("Token from", credential.source))
    return EXIT_OK


def describe_user(user: Json) -> Dict[str, str]:
    """The fields of an answer of /v1/users/me that whoami shows, each on one line."""
    def text(key: str, *path: str) -> str:
        found = read_object({"": user}, "", *path).get(key)
        return one_line(found) if isinstance(found, str) else ""

    owner = ("bot", "owner", "user")
    return {
        "id": text("id"), "name": text("name"), "type": text("type"),
        "email": text("email", "person") or text("email", *owner, "person"),
        "workspace_id": text("workspace_id", "bot"),
        "workspace_name": text("workspace_name", "bot"), "owner_id": text("id", *owner),
        "owner_name": text("name", *owner), "owner_type": text("type", *owner),
    }


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


def attempt(step: Callable[[], Result]) -> Tuple[Optional[Result], Optional[CliError]]:
    """(what `step` returns, None), or (None, the CliError that it raises)."""
    try:
        return step(), None
    except CliError as error:
        return None, error


class Doctor:
    """The checks, each a method that returns a Check or raises CliError.

    Several need the token and the API's answer, which are asked for once. The keychain has
    KEYCHAIN_LIMIT for all that it is asked, the API DOCTOR_LIMIT.
    """

    def __init__(self, state: State) -> None:
        self.state, self.settings, self.clock = state, state.settings, state.console.clock
        self.deadline = state.keychain.deadline = self.clock.monotonic() + KEYCHAIN_LIMIT
        self.loose = self.find_loose_files()  # before anything reads secrets and tightens them
        self.credential, self.no_token = attempt(state.credential)
        self.answer, self.no_answer = attempt(self.ask_api)
        self.date = self.answer.date() if self.answer else None

    def find_loose_files(self) -> Dict[str, str]:
        """{path of a secret: who else can read it}"""
        loose = {}
        for path in map(self.state.path, SECRET_FILES):
            with suppress(OSError):  # of which State files tells
                mode = os.stat(path).st_mode if os.name != "nt" else 0
                readers = ["group"] * bool(mode & 0o070) + ["others"] * bool(mode & 0o007)
                loose.update({path: " and ".join(readers)} if readers else {})
        return loose

    def ask_api(self) -> Response:
        """The answer to users/me, which is asked for without a token as well."""
        start = self.clock.monotonic()
        try:
            with closing(Api(self.state, self.credential, DOCTOR_LIMIT, retry=False)) as api:
                answer = api.send("GET", "v1/users/me", [])
                answer.drain()
                return answer
        finally:  # what the API took is not the keychain's
            self.state.keychain.deadline = self.deadline + self.clock.monotonic() - start

    def name(self, workspace_id: Optional[str]) -> str:
        if not workspace_id:
            return "none"
        name = self.state.workspaces().get(workspace_id, "name not known")
        return "%s (%s)" % (name, workspace_id)

    def directory(self) -> Check:
        hint = "Set NOTION_HOME to a directory that can be written."
        for path in (self.settings.cache_dir, self.settings.config_dir):
            place = path or ""
            while place and not os.path.lexists(place):
                place = os.path.dirname(place)
            if not path or (place + "/").startswith("/proc/"):  # which says that it can be written
                place = ""
            if not os.path.isdir(place) or not os.access(place, os.W_OK | os.X_OK):
                problem = "%s cannot be written." % path if path else "There is no home directory."
                needless = not path and self.settings.credential
                return Check(problem, "skipped") if needless else Check(
                    problem, "error", hint, EXIT_LOCAL)
        return Check(str(path) + ("" if os.path.isdir(str(path)) else " (created at first login)"))

    def files(self) -> Check:
        names = (CONFIG, WORKSPACES, AUTH, PENDING)
        damaged = [error for name in names for error in attempt(partial(self.state.load, name))[1:]
                   if error]
        if damaged:
            raise CliError(" ".join(error.message for error in damaged), damaged[0].hint)
        return Check(", ".join(filter(self.state.exists, names)) or "none")

    def modes(self) -> Check:
        if not self.loose:
            return Check("private" if os.name != "nt" else "set by Windows")
        from shlex import quote
        raise CliError("%s is readable by %s." % next(iter(self.loose.items())),
                       "chmod 600 " + " ".join(map(quote, self.loose)))

    def keychain(self) -> Check:
        mode = self.state.keyring_mode()
        if mode == "file":
            return Check("not used: %s" % ("NOTION_KEYRING is 0" if self.settings.keyring
                                           else 'config.json says "keyring": false'), "skipped")
        try:
            self.state.keychain.prove()
        except KeychainError as error:
            if mode == "keychain":
                raise
            if isinstance(error, NoKeychain):
                return Check("%s Tokens are kept in auth.json." % error.message, "skipped")
            return Check(error.message, "warning", "Set NOTION_KEYRING=0 to do without it.")
        return Check("works")

    def workspace(self) -> Check:
        wanted = self.settings.workspace_id
        if self.settings.credential is not None:
            return Check("the one that NOTION_API_TOKEN belongs to")
        current = self.state.current_workspace()
        if wanted and current not in self.state.workspaces():
            raise AuthError("NOTION_WORKSPACE_ID is %s, which you are not logged in to." % wanted,
                            "Unset NOTION_WORKSPACE_ID, or run `ntn login`.")
        return Check(self.name(current))

    def token(self) -> Check:
        if self.credential is None:
            raise self.no_token or AuthError("Not logged in.")
        if self.settings.credential is not None:
            with suppress(CliError):  # other checks tell why
                hidden = self.state.current_workspace()
                if hidden and self.state.get_token(hidden):
                    return Check("%s, which hides the login to %s" % (
                        self.credential.source, self.name(hidden)),
                        "warning", "Unset NOTION_API_TOKEN to use the login.")
        return Check(self.credential.source)

    def pending(self) -> Check:
        pending = self.state.load_pending()
        if pending is None:
            return Check("none")
        left = int(pending.expires_at - (self.date or self.clock.time()))
        if left <= 0:
            return Check("expired", "warning", "Run `ntn login` to start a new one.")
        return Check("waits for approval, %d:%02d left" % divmod(left, 60), "ok",
                     "Run `ntn login poll` to finish it.")

    def certificates(self) -> Check:
        what, hint = missing_certificates(self.state.console.environ)
        if what:
            raise ApiError(what[0].upper() + what[1:] + ".", hint)
        count = tls_context().cert_store_stats()["x509_ca"]
        return Check(plural(count, "certificate") if count else "a directory of certificates")

    def skew(self) -> Check:
        if self.date is None:
            return Check("the server's time is not known", "skipped")
        skew = int(self.clock.time() - self.date)
        if abs(skew) <= 120:
            return Check("correct to within %s" % plural(max(1, abs(skew)), "second"))
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
        html = "html" in response.headers.get("Content-Type", "").lower()
        what, hint = next((what, hint) for applies, what, hint in (
            (status == 401, "", ""),  # its message says all
            (status < 400, "Redirected: ", ""),
            (status == 403 and html, "Blocked at the network edge, before the API: ",
             "Try another network, or ask who runs this one to let %s through." % origin),
            (status == 403, "Forbidden: ", "Give the token's integration the capability "
             "to read users, or ask an admin of the workspace."),
            (status == 429, "Rate limited: ", "Wait, then try again."),
            (status >= 500, "Server error: ", "Wait, then try again; see Notion's status page."),
            (True, "Refused: ", "Check NOTION_API_BASE_URL and NOTION_API_VERSION.")) if applies)
        return Check(what + error.message, "error", error.hint or hint, error.code)

    CHECKS: List[Tuple[str, Callable[[Any], Check]]] = [
        ("CLI version", lambda self: Check(VERSION)),
        ("Python", lambda self: Check("%s, %s" % (sys.version.split()[0], sys.executable))),
        ("Config directory", directory), ("State files", files), ("File modes", modes),
        ("Keychain", keychain),
        ("Default workspace", lambda self: Check(self.name(self.state.default_workspace()))),
        ("Resolved workspace", workspace), ("Token source", token), ("Pending login", pending),
        ("Proxy", lambda self: Check(str(find_proxy(self.settings.api_origin) or "none"))),
        ("CA certificates", certificates), ("Clock", skew), ("Public API access", api)]


def add_doctor(option: Option) -> str:
    option("--json", help="an array of: check, status (ok, warning, error or skipped), value, hint")
    return "It takes 15 seconds at most. In the keychain it writes and deletes an entry."


def cmd_doctor(args: Args, state: State) -> int:
    console, doctor, checks, codes = state.console, Doctor(state), [], []
    for label, method in doctor.CHECKS:
        try:
            check = method(doctor)
        except CliError as error:
            check = Check(error.message, "error", error.hint, error.code)
        codes.append(check.code)
        checks.append(dict(check=label, status=check.status, value=one_line(
            console.redact(check.value)), hint=one_line(console.typed(console.redact(check.hint)))))
    if args.json:
        console.emit_json(checks)
    else:
        signs = {"ok": "✔", "warning": "!", "error": "✗", "skipped": "-"}
        for each in checks:
            sign = console.paint(signs[each["status"]], signs[each["status"]], console.stdout)
            console.emit("%-20s %s %s\n" % (each["check"], sign, each["value"]))
            console.emit("  hint: %s\n" % each["hint"] if each["hint"] else "")
        statuses = [each["status"] for each in checks]
        found = [plural(statuses.count(status), noun) for status, noun in
                 (("error", "problem"), ("warning", "warning")) if status in statuses]
        console.emit("\n%s.\n" % (", ".join(found) or "Everything works"))
    return next((code for code in (EXIT_AUTH, EXIT_API) if code in codes),
                EXIT_LOCAL if any(codes) else EXIT_OK)


# 9.7 debug ---------------------------------------------------------------------------------------

SHOWN_VARIABLE = re.compile(
    r"(NOTION_|NTN_|XDG_(CONFIG|CACHE)_HOME\Z|SSL_CERT_|(https?|all|no)_proxy\Z"
    r"|NO_COLOR\Z|BROWSER\Z|SSH_CONNECTION\Z|PYTHON_KEYRING)", re.I)


def cmd_debug(args: Args, state: State) -> int:
    """Markdown: where tokens are, but no token, no session, and no password of a proxy."""
    console, settings = state.console, state.settings
    names = ["`%s`" % name for name in sorted(console.environ)
             if console.get(name) and SHOWN_VARIABLE.match(name)]
    lines = ["## Resolved Environment", "", "**Environment:** `%s`" % settings.environment,
             "**Login origin:** `%s`" % settings.login_origin,
             "**API origin:** `%s`" % settings.api_origin,
             "**Variables set:** %s" % (", ".join(names) or "none")]
    for title, section in (("Configuration", describe_file(state, CONFIG)),
                           ("Authentication: Tokens", describe_tokens(state)),
                           ("Workspace Cache", describe_file(state, WORKSPACES)),
                           ("Cache Files", describe_cache(state)),
                           ("Versions", describe_versions())):
        lines += ["", "## " + title, ""]
        try:
            lines.extend(section)
        except CliError as error:
            lines.append(one_line(error.message))
    text, home = console.redact(visible("\n".join(lines))), console.get("HOME")
    if home and os.path.normpath(home) != os.sep:  # it tells the user's name
        text = re.sub(r"(?<![^\s`|(])%s(?=/)" % re.escape(os.path.normpath(home)), "~", text)
    console.emit(text + "\n")
    return EXIT_OK


def describe_file(state: State, name: str) -> Iterator[str]:
    yield "**Path:** `%s`\n" % state.path(name)
    data = state.load(name)
    try:
        yield ("```json\n%s\n```" % format_json(data, "  ") if state.exists(name)
               else "File not found.")
    except RecursionError:
        yield "It is nested too deeply to be shown."


def describe_tokens(state: State) -> Iterator[str]:
    """A table of every known workspace and of every token in auth.json, and where each token is."""
    state.keychain.deadline = state.console.clock.monotonic() + KEYCHAIN_LIMIT
    yield "**NOTION_API_TOKEN:** %s\n" % ("set" if state.settings.credential else "not set")
    yield "| Environment | Workspace ID | Workspace name | Token |\n|---|---|---|---|"
    rows: Dict[str, Tuple[str, str]] = {}  # workspace ID: environment, name
    for environment in ENVIRONMENTS:
        known, problem = attempt(partial(state.workspaces, environment))
        rows.update((key, (environment, name)) for key, name in (known or {}).items())
    stored, damaged = attempt(partial(state.load, AUTH))
    for key, token in (stored or {}).items():
        rows.setdefault(key, ("", ""))
        state.console.secrets.update([token] if isinstance(token, str) else [])
    for key, (environment, name) in rows.items():
        credential, failure = attempt(partial(state.get_token, key))
        where = credential.source if credential else failure.message if failure else "none"
        yield "| %s |" % " | ".join(one_line(cell).replace("|", "\\|")
                                    for cell in (environment, key, name, where))
    for error in (problem, damaged):
        yield from ["\n" + error.message] if error else []


def describe_cache(state: State) -> Iterator[str]:
    path = os.path.dirname(state.path(PENDING))
    yield "**Path:** `%s`\n" % path
    try:
        for name in sorted(os.listdir(path)):
            yield "- `%s`, %s" % (name, plural(os.lstat(os.path.join(path, name)).st_size, "byte"))
    except OSError as error:
        yield "It cannot be read: %s." % reason(error)


def describe_versions() -> Iterator[str]:
    """With the file's hash, so that a vendored copy can be told from an altered one."""
    from hashlib import sha256
    yield "- ntn.py %s\n- Python %s on %s" % (VERSION, sys.version.split()[0], sys.platform)
    with suppress(NameError, OSError):  # as with python3 - < ntn.py
        with open(__file__, "rb") as file:
            yield "- SHA-256 of ntn.py: %s" % sha256(file.read()).hexdigest()


# 9.8 The program itself --------------------------------------------------------------------------


def show_help(args: Args, console: Console) -> None:
    args.parser.prog = ("%s %s" % (own_command(), args.command)).strip()
    console.emit(args.parser.format_help())


def add_program(option: Option) -> str:
    return "commands:\n" + "".join(
        "  %-12s %s\n" % (name, summary) for name, (summary, _, _) in COMMANDS.items() if name
        ) + """\
`%(prog)s COMMAND --help` explains each.

environment variables:
  NOTION_API_TOKEN     a token to use instead of any stored one
  NOTION_WORKSPACE_ID  the workspace to work with; skips the menu of login
  NOTION_KEYRING       0: tokens in auth.json only; 1: in the keychain only
  NOTION_HOME          one directory for all files, instead of ~/.config/notion
                       and ~/.cache/notion
  NOTION_ENV           environment, as --env
  NOTION_API_VERSION   Notion-Version header (default 2026-03-11)
  NOTION_BASE_URL, NOTION_API_BASE_URL, NOTION_API_DOCS_BASE_URL
                       other servers: https, or http on this machine
  NTN_DEBUG            1: show where an unforeseen error happened
  XDG_CONFIG_HOME, XDG_CACHE_HOME, HOME, NO_COLOR, TERM, BROWSER, DISPLAY,
  WAYLAND_DISPLAY, SSH_CONNECTION, SSL_CERT_FILE, HTTP_PROXY, HTTPS_PROXY,
  ALL_PROXY and NO_PROXY as usual

exit codes: 0 done, 1 local failure, 2 usage, 4 authentication, 5 the API or the
network, 8 login still pending, 130 interrupted"""


def add_nothing(option: Option) -> str:
    return ""


def show_banner(console: Console) -> None:
    lines = ["  %s %-18s %s\n" % (own_command(), words, summary) for words, summary in (
        ("login", "log in"), ("api v1/users/me", "call the API"), ("--help", "all commands"))]
    console.emit("ntn.py %s: Notion from a terminal\n\n%s" % (VERSION, "".join(lines)))


# ---- 10 Command line ----------------------------------------------------------------------------

COMMANDS: Dict[str, Tuple[str, Callable[[Option], str], Any]] = {  # name: summary, add, cmd
    "login": ("log in with a browser", add_login, cmd_login),
    "login poll": ("finish a login that was started with `login --no-browser`",
                   add_login_poll, cmd_login_poll),
    "logout": ("forget the stored logins of this environment", add_logout, cmd_logout),
    "whoami": ("show the current user and workspace", add_whoami, cmd_whoami),
    "auth": ("work with the stored token: `auth token`", add_nothing, None),
    "auth token": ("print the token that commands use", add_lists, cmd_auth_token),
    "doctor": ("find out why something does not work", add_doctor, cmd_doctor),
    "debug": ("show the state of this installation, for a bug report", add_nothing, cmd_debug),
    "api": ("call the Notion API", add_api, cmd_api),
    "api ls": ("list what can be called", add_lists, cmd_api_ls),
    "": ("Notion login and authenticated Notion API calls from a terminal", add_program, None),
}
HABITS = {  # what other tools are typed like: the hint what to type here
    "auth login": "Use `ntn login`.", "auth status": "Use `ntn whoami`.",
    "auth logout": "Use `ntn logout`.", "api list": "Use `ntn api ls`.",
    "version": "Use `ntn --version`.", "--request": "Use -X METHOD.",
    "-H": "A header is an input: Header:Value.", "--header": "A header is an input: Header:Value.",
    "-f": "A field is an input: path=value.", "-F": "A field is an input: path:=json.",
}


def make_parser(name: str) -> Any:
    """The parser of a command's options.

    It has no positional arguments, since argparse before 3.7 cannot mix them with options in any
    order: the command and its inputs are what parse_known_args leaves over.
    """
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
    parser.flags = {}  # {spelling of an option: whether it takes a value}
    group = parser.add_argument_group("options")

    def option(*flags: str, help: str, value: str = "") -> None:
        parser.flags.update(dict.fromkeys(flags, bool(value)))
        kind: Any = {"metavar": value} if value else {"action": "store_true"}
        group.add_argument(*flags, help=help, **kind)

    summary, add, _ = COMMANDS[name]
    parser.usage = {"": "%(prog)s COMMAND [OPTION ...]", "auth": "%(prog)s token [OPTION ...]",
                    "api": "%(prog)s PATH [INPUT ...] [OPTION ...]\n       %(prog)s ls"}.get(
                        name, "%(prog)s [OPTION ...]")
    parser.description, parser.epilog = summary[0].upper() + summary[1:], add(option)
    group = parser.add_argument_group("options for every command")
    option("-v", "--verbose", help="show requests and answers on stderr, without secrets")
    option("--env", help="environment: local, dev, stg or prod", value="NAME")
    option("-h", "--help", help="show this help")
    option("-V", "--version", help="show the version")
    return parser


def look_up(name: str) -> str:
    """The hint where to look."""
    return "`%s --help` shows what can be given." % ("ntn " + name).strip()


def scan(argv: Sequence[str], flags: Mapping[str, bool]) -> Tuple[List[str], List[str]]:
    """(words that are neither options nor their values, unknown options).

    `flags`: {option: whether it takes a value}. It is argparse that takes the options apart; but it
    takes abbreviations, too, and without them (`allow_abbrev=False`) no -XPATCH before Python 3.8.
    """
    words, unknown, is_value = [], [], False
    for word in argv:
        if is_value or not re.match("-[^0-9.]", word):
            words += [] if is_value else [word]
            is_value = False
            continue
        spellings = ([word.partition("=")[0]] if word.startswith("--")
                     else ["-" + letter for letter in word[1:].partition("=")[0]])
        for flag in spellings:
            if flag not in flags:
                unknown.append(flag)
                break
            if flags[flag]:  # the rest of the word is its value, or else the next word
                is_value = word == flag or flag is spellings[-1] and "=" not in word
                break
    return words, unknown


def parse_arguments(argv: Sequence[str]) -> Args:
    """A command line: its options, `command`, `inputs`, `given` and `parser`; or UsageError."""
    cut = list(argv).index("--") if "--" in argv else len(argv)
    argv, after = list(argv[:cut]), list(argv[cut + 1:])
    flags = make_parser("").flags  # of all commands: which words are values of options
    for _, add, _ in COMMANDS.values():
        add(lambda *names, help, value="": flags.update(dict.fromkeys(names, bool(value))))
    words = scan(argv, flags)[0] + after
    name = words[0] if words else ""
    if name == "help":
        argv.remove("help")
        return parse_arguments(argv + ["--help"])
    if name not in COMMANDS or " " in name:
        raise UsageError("There is no command %r." % name, suggest_command(name))
    if " ".join(words[:2]) in COMMANDS:
        name = " ".join(words[:2])
    parser = make_parser(name)
    for flag in scan(argv, parser.flags)[1]:
        raise UsageError("`%s` has no option %s." % (("ntn " + name).strip(), one_line(flag)),
                         HABITS.get(flag) or nearest(flag, parser.flags) or look_up(name))
    args, _ = parser.parse_known_args(argv)
    args.command, args.parser, args.given = name, parser, argv
    args.inputs = words[len(name.split()):]
    first = args.inputs[0] if args.inputs else "/"
    if name != "api" and args.inputs or "/" not in first:
        longer = [each.split()[1] for each in COMMANDS if each.startswith(name + " ")]
        hint = HABITS.get("%s %s" % (name, first)) or nearest(first, longer).replace(
            "`", "`ntn %s " % name, 1)
        if name != "api":
            raise UsageError("Unexpected argument %r." % first, hint or look_up(name))
        if first.upper() in METHODS:
            hint = "Did you mean `ntn api -X %s %s`?" % (first.upper(), " ".join(args.inputs[1:2]))
        if hint:
            raise UsageError("%r is not a path." % first, hint)
    return args


def suggest_command(word: str) -> str:
    """What to type where the first word is no command."""
    if "/" in word:
        return "Did you mean `ntn api %s`?" % word
    if word.upper() in METHODS:
        return "Did you mean `ntn api -X %s PATH`?" % word.upper()
    longer = [name for name in COMMANDS if name.endswith(" " + word)]
    return HABITS.get(word) or nearest((longer + [word])[0], COMMANDS).replace(
        "`", "`ntn ", 1) or look_up("")


def decode_arguments(argv: Iterable[str]) -> List[str]:
    """Arguments as UTF-8, whatever the locale: Python 3.6 takes them for ASCII under LC_ALL=C."""
    try:
        return [text if os.name == "nt" else os.fsencode(text).decode("utf-8", "surrogateescape")
                for text in argv]
    except UnicodeEncodeError:  # from Python, where a string can hold anything
        return list(argv)


def run(argv: Sequence[str], console: Console) -> int:
    args = parse_arguments(argv)
    console.verbose, command = args.verbose, COMMANDS[args.command][2]
    if args.version:
        console.emit("ntn %s\n" % VERSION)
    elif not args.given and not args.command:
        show_banner(console)
    elif args.help and not args.inputs or command is None or args.given == ["api"]:
        show_help(args, console)
    else:
        state = State(load_settings(console.environ, args.env,
                                    getattr(args, "notion_version", None)), console)
        if state.settings.credential is not None:
            console.secrets.add(state.settings.credential.token)
        return int(command(args, state))
    return EXIT_OK


def main(argv: Optional[Sequence[str]] = None, console: Optional[Console] = None) -> int:
    """The command line; returns the exit code and raises nothing.

    `argv`: the arguments without the program's name, by default those of this process.
    """
    console = console or Console()
    try:
        return run(decode_arguments(sys.argv[1:] if argv is None else argv), console)
    except CliError as error:
        console.say("error: " + error.message + ("\n  hint: " + error.hint if error.hint else ""))
        return error.code
    except KeyboardInterrupt:
        console.live("")
        if console.is_terminal(console.stderr):
            console.say("")  # below the ^C
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_OK
    except Exception as error:
        if console.get("NTN_DEBUG") == "1":
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
    with closing(open_api(headers, token, timeout)) as api:
        response = api.send(check_call(method, path), path, check_pairs(query), encode_body(body))
        _ = response.body
        if response.status >= (300 if response.headers.get("Location") else 400):
            raise api_error(response, api.credential)
        return response


def paginate(method: str, path: str, body: Json = None, query: Any = (), headers: Any = (),
             token: Optional[str] = None, timeout: float = 60) -> Iterator[Json]:
    """The results of all pages of a list, one by one; arguments and errors are those of `request`.

    Source: https://developers.notion.com/reference/intro#pagination
    """
    with closing(open_api(headers, token, timeout)) as api:
        data = encode_body(body)
        if data is not None:
            check_json(data, "the argument body")
        for results in api.pages(check_call(method, path), path, check_pairs(query), data,
                                 json.loads):
            yield from results


def check_call(method: Any, path: Any) -> str:
    if not isinstance(path, str) or not isinstance(method, str):
        raise UsageError("method and path must be strings, not %r and %r." % (method, path))
    return parse_method(method)


def check_pairs(given: Any) -> Pairs:
    """(name, value) of query parameters or headers, also from a dict; else UsageError."""
    found = []
    try:
        for pair in given.items() if hasattr(given, "items") else given:
            name, value = pair
            if isinstance(pair, str) or not isinstance(name, str) or not isinstance(
                    value, (str, int, float)):
                raise ValueError
            value = str(value).lower() if isinstance(value, bool) else str(value)
            (name + value).encode("utf-8")
            found.append((name, value))
    except (TypeError, ValueError):
        raise UsageError("query and headers need (name, value) pairs; got %r." % (given,)) from None
    return found


def open_api(headers: Any, token: Optional[str], timeout: float) -> Api:
    if not isinstance(timeout, (int, float)) or not timeout > 0:
        raise UsageError("timeout is %r: it takes seconds." % timeout)
    if not isinstance(token, (str, type(None))):
        raise UsageError("token must be a string or None.")
    console = Console()
    console.stderr = None  # a library says nothing
    settings = load_settings(console.environ)
    if token is not None:
        settings = settings._replace(credential=Credential(token, "the `token` argument", None))
    inputs = RequestInputs()
    for name, value in check_pairs(headers):
        inputs.add_header(name, value, mask_secret("%s:%s" % (name, value)))
    state = State(settings, console)
    return Api(state, None if inputs.has_token else state.credential(), timeout, inputs.headers)


def encode_body(body: Json) -> Optional[bytes]:
    if body is None or isinstance(body, bytes):
        return body
    try:
        return json.dumps(body, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise CliError("The body cannot be written as JSON: %s." % error) from None


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
