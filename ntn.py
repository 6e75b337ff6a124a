#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ntn.py: Notion login and authenticated Notion API calls from a terminal, in one file.

    python3 ntn.py login                                log in with a browser
    python3 ntn.py login --no-browser                   ... in two steps, without one here
    python3 ntn.py api v1/users/me                      call the API with the stored token
    python3 ntn.py api v1/pages/ID -X PATCH archived:=true

It needs Python 3.6 or newer and its standard library; `keyring` is used if it is installed. It
shares files, keychain entries and protocol with the official `ntn` client. MIT licence.

The rooms, each of which uses only itself and those above it:

     1 Constants        names, limits and addresses
     2 Errors           what went wrong, what to do, with which exit code
     3 Settings         flags, then environment variables, then defaults
     4 Console          stdin, stdout, stderr, environment variables, the clock
     5 HTTP             connections, proxies, TLS, answers
     6 Secrets          the state on disk and the places a token lives in
     7 Login            the protocol, and the waiting
     8 Request inputs   the language of `ntn api`'s arguments, and JSON with exact numbers
     9 Commands         what each command does, under its help text
    10 Entry point      arguments in, exit code out

Promises, each held by a test:

  - One door per effect: connections are opened in `open_connection`, state is read and written in
    `read_file` and `write_file`, environment variables come from `Console.environ`, output leaves
    by `Console.emit`, `keyring` is imported in `load_keyring`, a browser starts in `open_browser`.
  - A token goes to the API origin and nowhere else, and no redirect is followed with it. It is
    printed by `auth token` alone: not in messages, not by -v, not in a traceback.
  - Nothing on disk is half-written, and no damaged file is overwritten.

Exit codes: 0 done, 1 local failure, 2 usage, 4 authentication, 5 the API or the network,
8 login still pending, 130 interrupted.
"""
import sys

PYTHON: str = "3.6"  # or newer is what ntn.py needs: start it with python3, as python3 ntn.py
# An older Python stops at the line above, whose syntax it does not know, and prints it. From here
# on 3.6 is the floor: no walrus, no positional-only parameters, no dataclasses, typing.NamedTuple.

if __name__ == "__main__" and not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    del sys.path[0]  # the script's own directory: a json.py downloaded beside it must not run

import os

if __name__ == "__main__":  # Ctrl-C before and after `main` is no reason for a traceback either
    sys.excepthook = lambda kind, error, trace: (
        os._exit(130) if issubclass(kind, KeyboardInterrupt)
        else sys.__excepthook__(kind, error, trace))

import json
import re
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from functools import partial
from typing import (Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple,
                    Optional, Sequence, Set, TextIO, Tuple, TypeVar, Union)

__all__ = ["main", "request", "paginate", "CliError"]  # what may be imported and relied on

# ---- 1 Constants --------------------------------------------------------------------------------

VERSION = "1.0.0"
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
LOGIN_HOSTS = ("notion.so", "notion.com")                   # these, and hosts below them
BROWSER_HOSTS = ("notion.so", "notion.com", "notion.site")

IDLE_TIMEOUT = 60.0   # seconds without any progress
CALL_LIMIT = 30.0     # seconds for one call of login, whoami and doctor as a whole
STDIN_SILENCE = 10.0  # seconds after which a silent pipe is taken for a forgotten one
LOCK_LIMIT = 10.0     # seconds to wait for another ntn that is writing
TRIES = 3             # of a request that may be repeated
RETRY_LIMIT = 60.0    # seconds to spend waiting between them
POLL_PAUSE = 2.0      # seconds between two questions whether the login is approved
LOGIN_LIFETIME = 600  # seconds, where the server does not say
SPEC_LIFETIME = 86400  # seconds before the cached API description is asked about again
PROGRESS_SIZE = 1 << 20  # bytes of an upload from which on its progress is shown
CHUNK = 65536         # bytes

TOKEN = re.compile(r"[\x21-\x7e]+")
TOKEN_SHAPE = re.compile(r"\b(ntn|secret)_[A-Za-z0-9]{16,}")  # so that no other one is shown either
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
    """An expected failure: `message` for people, `hint` what to do, `code` to exit with."""

    def __init__(self, message: str, hint: str = "", code: int = EXIT_LOCAL) -> None:
        super().__init__(message)
        self.message, self.hint, self.code = message, hint, code


class UsageError(CliError):
    """A word on the command line or in a variable that the program cannot take."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint, EXIT_USAGE)


class NetworkError(CliError):
    """No answer, or half of one.

    `kind`: dns, refused, timeout, tls, proxy, broken or unreachable.
    """

    def __init__(self, message: str, kind: str, hint: str = "") -> None:
        super().__init__(message, hint, EXIT_API)
        self.kind = kind


class LockHeld(CliError):
    """Another process is writing, and does not end."""


class DamagedFile(CliError):
    """A state file that is there but cannot be understood: never overwritten, never ignored."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__("%s is damaged: %s." % (path, reason),
                         "Repair it, or move it away and run `ntn login` again.")


def reason(error: BaseException) -> str:
    """What an OSError says, without its number and file name."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word most like `word`, or nothing."""
    import difflib
    found = difflib.get_close_matches(word, sorted(known), 1, 0.7)
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
    keyring: Optional[bool]         # NOTION_KEYRING
    config_dir: Optional[str]       # None where there is no usable home
    cache_dir: Optional[str]

    def config_path(self, name: str) -> str:
        return _path_in(self.config_dir, name)

    def cache_path(self, name: str) -> str:
        return _path_in(self.cache_dir, name)


def _path_in(directory: Optional[str], name: str) -> str:
    if directory is None:
        raise CliError("There is no usable home directory to keep files in.",
                       "Set NOTION_HOME to a directory that can be written.")
    return os.path.join(directory, name)


def load_settings(options: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """Settings by precedence: flag, environment variable, default. An empty variable is unset."""
    environ = {name: value for name, value in environ.items() if value}
    get = environ.get
    environment = options.get("--env", get("NOTION_ENV", "prod"))
    if environment not in ENVIRONMENTS:
        raise UsageError("There is no environment %r: --env and NOTION_ENV take local, dev, stg "
                         "or prod." % environment, nearest(environment, ENVIRONMENTS))
    login_origin, api_origin = ENVIRONMENTS[environment]
    token = get("NOTION_API_TOKEN", "").strip()
    keyring = get("NOTION_KEYRING")
    if keyring not in (None, "0", "1"):
        raise UsageError("NOTION_KEYRING is %r: it takes 0 (file only) or 1 (keychain only)."
                         % keyring, "Unset it to use the keychain where there is one.")
    config_dir, cache_dir = find_directories(environ)
    return Settings(
        environment,
        choose_origin(environ, "NOTION_BASE_URL", login_origin),
        choose_origin(environ, "NOTION_API_BASE_URL", api_origin),
        choose_origin(environ, "NOTION_API_DOCS_BASE_URL", DOCS_ORIGIN),
        options.get("--notion-version", get("NOTION_API_VERSION", NOTION_VERSION)),
        get("NOTION_WORKSPACE_ID"),
        Credential(token, "NOTION_API_TOKEN", None) if token else None,
        None if keyring is None else keyring == "1",
        config_dir, cache_dir)


def choose_origin(environ: Mapping[str, str], variable: str, default: str) -> str:
    """The origin that `variable` names, which must not send a token in the clear over a network."""
    text = environ.get(variable)
    if text is None:
        return default
    origin = parse_origin(text)
    if origin is None:
        raise UsageError("%s is %r, which is no origin such as https://api.example.com." % (
            variable, mask_userinfo(text)), "Give scheme and host, and a port if needed.")
    if not is_safe_origin(origin):
        raise UsageError("%s is %r: it must be https, or http to this machine." % (variable, text),
                         "Use https://, or http://localhost:PORT for a server of your own.")
    return origin


def mask_userinfo(url: str) -> str:
    """`url` as it may be quoted: what stands before an @ may be a password."""
    return re.sub("//[^/]*@", "//***@", url)


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


def bracketed(host: str) -> str:
    """A host as it stands in a URL, where an IPv6 address needs brackets."""
    return "[%s]" % host if ":" in host else host


def is_safe_origin(origin: str) -> bool:
    """Whether it is https, or http to this machine."""
    octet = r"\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
    loopback = r"(localhost|127(%s){3}|\[::1\])(:\d+)?\Z" % octet
    return bool(re.match("https://|http://" + loopback, origin))


def find_home(environ: Mapping[str, str]) -> str:
    if os.name == "nt":
        return environ.get("USERPROFILE") or ""
    if environ.get("HOME"):
        return environ["HOME"]
    import pwd
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a container may run under an ID that nobody has
        return ""


def find_directories(environ: Mapping[str, str]) -> Tuple[Optional[str], Optional[str]]:
    """(config, cache) directories as absolute paths; None where no home can be found."""
    get = environ.get
    override = get("NOTION_HOME")
    if override:
        return os.path.abspath(override), os.path.join(os.path.abspath(override), "cache")

    def absolute(name: str) -> Optional[str]:  # the XDG specification: a relative path is ignored
        path = get(name)
        return os.path.join(path, "notion") if path and os.path.isabs(path) else None

    home = find_home(environ)
    config, cache = absolute("XDG_CONFIG_HOME"), absolute("XDG_CACHE_HOME")
    if os.name == "nt":
        config = absolute("APPDATA") or config
    if os.path.isdir(home):
        dot_config, old = os.path.join(home, ".config"), os.path.join(home, ".notion")
        standard = os.path.join(dot_config, "notion")
        usable = not os.path.lexists(dot_config) or (
            os.path.isdir(dot_config) and os.access(dot_config, os.W_OK | os.X_OK))
        prefer_old = not os.path.isdir(standard) and (os.path.isdir(old) or not usable)
        config = config or (old if prefer_old else standard)
        cache = cache or os.path.join(home, ".cache", "notion")
    return config, cache


# ---- 4 Console ----------------------------------------------------------------------------------


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

    @property
    def colour(self) -> bool:
        return self.is_fancy(self.stdout) and not self.get("NO_COLOR")

    def tick(self, stream: Optional[TextIO]) -> str:
        """The sign for what went well, or a word where `stream` has no such sign."""
        return "✔" if stream and not encode_text("✔", stream).startswith(b"\\") else "OK"

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

    def say(self, text: str) -> None:
        """Write words for people to stderr."""
        self._write(("\r\x1b[K" if self._live else "") + visible(self.redact(text)) + "\n")
        self._live = False

    def succeed(self, text: str) -> None:
        self.say("%s %s" % (self.tick(self.stderr), text))

    def ask(self, prompt: str) -> None:
        self._write(visible(prompt))

    def live(self, text: str) -> None:
        """Replace the line being shown on the terminal; the empty text removes it."""
        if self.is_fancy(self.stderr) and (text or self._live):
            text = cut(one_line(self.redact(text)), terminal_width(self.stderr) - 1)
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
        if self.stderr is None:
            return
        try:
            data = encode_text(text, self.stderr)
            self.stderr.write(data.decode(self.stderr.encoding or "utf-8"))
            self.stderr.flush()
        except OSError:
            discard(self.stderr)  # nobody can be told


def columns(text: str) -> int:
    """How many columns `text` takes on a terminal."""
    from unicodedata import combining, east_asian_width
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1
               for char in text)


def cut(text: str, width: int) -> str:
    """As much of `text` as `width` columns can show."""
    while columns(text) > width:
        text = text[:-1]
    return text


def terminal_width(stream: Optional[TextIO]) -> int:
    """Columns of the terminal behind `stream`; 80 where it does not tell."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80 if stream else 80
    except (OSError, ValueError):
        return 80


def encode_text(text: str, stream: TextIO) -> bytes:
    """`text` in the encoding of `stream`, with escapes for what that cannot express."""
    encoding = stream.encoding or "utf-8"
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


def call_with_limit(function: Callable[[], Result], limit: float,
                    notice: Optional[Callable[[], None]] = None) -> Result:
    """What `function` returns or raises, or LimitPassed once `limit` seconds have passed.

    It runs in a daemon thread: one that hangs for ever cannot keep the process alive, as the
    worker of a thread pool would. `notice` is called if it takes longer than 2 seconds.
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
    if notice is not None and limit > 2 and not done.wait(2):
        notice()
        limit -= 2
    if not done.wait(limit):
        raise LimitPassed("no answer in time")
    if errors:
        raise errors[0]
    return results[0]


class Number:
    """A JSON number as it was written: a float would lose 1.10 and 12345678901234567890123.0."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __float__(self) -> float:
        return float(self.text)


class Gap:
    """A place in an array that only a higher index has made so far; it is sent as null."""


def parse_json(text: str) -> Json:
    """A JSON text with its numbers as they were written; ValueError if it is none."""
    def refuse(name: str) -> None:
        raise ValueError("%s is not JSON" % name)
    try:
        return json.loads(text, parse_float=Number, parse_int=Number, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


QUOTE = json.JSONEncoder(ensure_ascii=False).encode
Paint = Callable[[str, str], str]  # (key, string, number or literal; its text) to the text shown


def format_json(value: Json, indent: str = "", paint: Paint = lambda kind, text: text,
                margin: str = "\n") -> str:
    """A JSON text of `value`, with a Number as it was written; compact, or indented and painted.

    No string in it holds a character that could act on a terminal.
    """
    if isinstance(value, Number):
        return paint("number", value.text)
    if isinstance(value, str):
        return paint("string", visible(QUOTE(value)))
    inner = margin + indent
    if isinstance(value, dict):
        ends, separator = "{}", ": " if indent else ":"
        parts = [paint("key", visible(QUOTE(key))) + separator
                 + format_json(item, indent, paint, inner) for key, item in value.items()]
    elif isinstance(value, list):
        ends, parts = "[]", [format_json(item, indent, paint, inner) for item in value]
    else:
        return paint("literal", "null" if value is Gap else QUOTE(value))
    if indent and parts:
        return ends[0] + inner + ("," + inner).join(parts) + margin + ends[1]
    return ends[0] + ",".join(parts) + ends[1]


# ---- 5 HTTP -------------------------------------------------------------------------------------


class FileBody(NamedTuple):
    """A request body that is made anew, piece by piece, for each try."""

    length: int  # bytes
    chunks: Callable[[], Iterator[bytes]]
    content_type: str


Body = Union[None, bytes, FileBody]


class Watchdog:
    """Ends a try that takes longer than `limit` seconds as a whole, by shutting its socket down.

    A socket's own timeout starts anew with each operation, so a server that sends a byte a second
    never meets it.
    """

    def __init__(self, limit: Optional[float]) -> None:
        self.limit = limit
        self.expired = False
        self.sock: Any = None
        self._timer: Any = None
        self._end = time.monotonic() + (limit or 0)
        if limit is not None:
            import threading
            self._timer = threading.Timer(limit, self._expire)
            self._timer.daemon = True
            self._timer.start()

    def left(self) -> float:
        """Seconds that the next operation may take."""
        if self.limit is None:
            return IDLE_TIMEOUT
        return max(0.001, self._end - time.monotonic())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        import socket
        self.expired = True
        if self.sock is not None:
            with suppress(OSError):
                # The plain socket's method: the TLS one must not be called from another thread.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class Response:
    """An answer with any status. `headers` keeps repeats and order and ignores case in look-ups."""

    def __init__(self, raw: Any, client: "Client", watchdog: Watchdog) -> None:
        self.status: int = raw.status
        self.reason: str = raw.reason.strip()
        self.version: int = raw.version  # 10 or 11
        self.headers = raw.headers
        self._raw, self._client, self._watchdog = raw, client, watchdog
        self._body: Optional[bytes] = None
        self._traced = b""

    @property
    def is_json(self) -> bool:
        return "json" in self.headers.get("Content-Type", "").lower()

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, decoded. NetworkError if it breaks off."""
        if self._body is not None:
            yield self._body
            return
        complete, traced = False, []
        try:
            decode = _decoder(self.headers.get("Content-Encoding", ""))
            for chunk in self._wire_chunks():
                for piece in decode(chunk):
                    if self._client.console.verbose:
                        traced.append(piece)
                    yield piece
            complete = True
        except Exception as error:
            raise self._client.explain(error, self._watchdog) from None
        finally:
            self._raw.close()
            self._watchdog.stop()
            if not complete:
                self._client.close()
            self._traced = b"".join(traced)

    def _wire_chunks(self) -> Iterator[bytes]:
        left = self._raw.length  # None where the end of the body is told otherwise
        while left != 0:
            chunk = self._raw.read1(CHUNK if left is None else min(CHUNK, left))
            if not chunk:
                break
            if left is not None:
                left -= len(chunk)
            yield chunk
        if self._watchdog.expired:  # its shutting down looks like an end, too
            raise TimeoutError
        if left:  # http.client takes an early end for the end
            raise ConnectionResetError("the answer broke off, %s short" % plural(left, "byte"))
        yield b""

    def trace_body(self) -> None:
        """With --verbose, show what came of the body."""
        if self._traced:
            text = self._traced.decode("utf-8", "backslashreplace")
            self._client.console.trace("<", text)
            self._traced = b""

    @property
    def body(self) -> bytes:
        """The whole body as bytes, decoded."""
        if self._body is None:
            try:
                self._body = b"".join(self.chunks())
            finally:
                self.trace_body()
        return self._body

    def drain(self) -> None:
        """Read the body as far as it comes, so that the connection may serve the next request."""
        try:
            self._body = self.body
        except NetworkError:
            self._body = b""

    @property
    def status_text(self) -> str:
        return ("%d %s" % (self.status, self.reason)).strip()

    def json(self) -> Json:
        """The body as json.loads has it. CliError (5) if it is no JSON."""
        try:
            return json.loads(self.body.decode("utf-8"))
        except (ValueError, RecursionError):
            raise CliError("The answer (%s) is not JSON." % self.status_text, "",
                           EXIT_API) from None

    def date(self) -> Optional[float]:
        """The server's clock in unix seconds, from the Date header."""
        return parse_http_date(self.headers.get("Date", ""))

    def retry_after(self, now: float) -> Optional[float]:
        """Seconds that Retry-After asks for, given as seconds or as a date (RFC 9110, 10.2.3)."""
        text = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]{1,15}", text):
            return float(text)
        until = parse_http_date(text)
        return None if until is None else max(0.0, until - (self.date() or now))


def parse_http_date(text: str) -> Optional[float]:
    from email.utils import mktime_tz, parsedate_tz
    try:
        parsed = parsedate_tz(text)
        return None if parsed is None else float(mktime_tz(parsed))
    except (ValueError, OverflowError, IndexError):
        return None


def _decoder(encoding: str) -> Callable[[bytes], Iterator[bytes]]:
    """A function from a piece of the body as sent to its content; b"" tells it the end."""
    import zlib
    kind = encoding.strip().lower()
    if kind in ("", "identity"):
        return lambda data: iter([data] if data else [])
    if kind not in ("gzip", "x-gzip", "deflate"):
        raise ValueError("the answer is encoded as %s, which was not asked for" % kind)
    stream = zlib.decompressobj(47)  # a gzip or zlib header
    seen = False

    def decode(data: bytes) -> Iterator[bytes]:
        nonlocal stream, seen
        if not data:
            yield stream.flush()
            if seen and not stream.eof:
                raise ConnectionResetError("the compressed answer broke off")
            return
        if not seen and kind == "deflate" and data[0] & 15 != 8:
            stream = zlib.decompressobj(-15)  # "deflate" without the zlib header: many servers
        while data:
            if stream.eof:  # gzip allows several members, one after the other
                stream = zlib.decompressobj(47)
            piece = stream.decompress(data, CHUNK)
            seen = True
            if piece:
                yield piece
            data = stream.unconsumed_tail or stream.unused_data

    return decode


def jitter() -> float:
    """Up to half a second, so that many clients do not ask in step."""
    return os.urandom(1)[0] / 512


class Client:
    """Sends requests, one after the other, and keeps the connection for the next one.

    `limit`: seconds for each try as a whole; None: no limit but IDLE_TIMEOUT without progress.
    """

    def __init__(self, console: Console, limit: Optional[float] = None) -> None:
        self.console = console
        self.limit = limit
        self._connection: Any = None
        self._origin = ""
        self._via: Optional["Proxy"] = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def send(self, method: str, url: str, headers: Pairs, body: Body = None) -> Response:
        """The answer to one request, whatever its status; no redirect is followed.

        Raises NetworkError where there is no answer.
        """
        origin = parse_origin(url, exact=False)
        if origin is None:
            raise CliError("%s is no address to send a request to." % url, "", EXIT_API)
        target = url[url.index("/", 8):] if "/" in url[8:] else "/"
        headers = [("Host", origin.split("//")[1])] + headers
        if body is not None or method in ("POST", "PUT", "PATCH"):
            length = body.length if isinstance(body, FileBody) else len(body or b"")
            headers.append(("Content-Length", str(length)))
        self._trace_request(method, url, headers, body)
        watchdog = Watchdog(self.limit)
        try:
            self._connect(origin, watchdog)
            if self._via is not None and origin.startswith("http:"):
                target = url
                headers = headers + self._via.headers()
            raw = self._transmit(method, target, headers, body)
        except Exception as error:
            watchdog.stop()
            raise self.explain(error, watchdog) from None
        except BaseException:
            watchdog.stop()
            self.close()
            raise
        response = Response(raw, self, watchdog)
        self.console.trace(
            "<", "\n".join([response.status_text] + header_lines(raw.headers.items()) + [""]))
        return response

    def explain(self, error: BaseException, watchdog: Watchdog) -> CliError:
        """What an exception of this connection means, which is of no use any more."""
        self.close()
        return explain_failure(error, self._origin, self._via, watchdog, self.console.environ)

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
                if tries == TRIES or not repeatable or error.kind != "broken":
                    raise
                problem = error.message
            pause = 2.0 ** (tries - 1) + jitter() if asked is None else asked
            self.console.say("%s Trying again in %.3g s (try %d of %d)." % (
                problem, pause, tries + 1, TRIES))
            self.console.clock.sleep(pause)
            waited += pause

    def _connect(self, origin: str, watchdog: Watchdog) -> None:
        import select
        if self._connection is not None:
            sock = self._connection.sock
            # Readable between two requests: the server has closed it.
            if origin != self._origin or sock is None or select.select([sock], [], [], 0)[0]:
                self.close()
        if self._connection is None:
            import http.client
            self._origin, self._via = origin, find_proxy(origin, self.console.environ)
            self._connection = http.client.HTTPConnection(origin.split("//")[1])
            self._connection.response_class = strict_response_class()
            self._connection.sock = open_connection(origin, self._via, watchdog)
        watchdog.sock = self._connection.sock
        watchdog.sock.settimeout(watchdog.left())

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
        if raw.headers.get_payload():  # the parser stopped at a line that is no header
            raise ConnectionResetError("its headers cannot be read")
        return raw

    def _trace_request(self, method: str, url: str, headers: Pairs, body: Body) -> None:
        if self.console.verbose:
            lines = ["%s %s" % (method, url)] + header_lines(headers) + [""]
            self.console.trace(">", "\n".join(lines))
            if isinstance(body, FileBody):
                self.console.trace(">", "(a body of %s)" % plural(body.length, "byte"))
            elif body:
                self.console.trace(">", body.decode("utf-8", "backslashreplace"))


def strict_response_class() -> Any:
    """http.client's response, but headers that are cut off are an error, and 103 is no answer."""
    import http.client
    import io

    class Reader(io.BufferedReader):
        lines = 0

        def readline(self, size: Optional[int] = -1) -> bytes:
            line = super().readline(size)
            self.lines += 1
            if not line and self.lines > 1:
                raise ConnectionResetError("the answer broke off")
            return line

    class StrictResponse(http.client.HTTPResponse):
        fp: Any = None  # what close() asks for, even if Ctrl-C comes before there is one

        def begin(self) -> None:
            if not isinstance(self.fp, Reader):
                self.fp = Reader(self.fp.detach())
            super().begin()
            while 100 <= self.status < 200 and self.status != 101:
                self.headers = self.msg = None  # type: ignore[assignment]
                super().begin()

    return StrictResponse


def header_lines(headers: Iterable[Tuple[str, str]], secrets: bool = False) -> List[str]:
    """Headers, each as one line, by default without secrets; a folded one is unfolded."""
    return [("%s: %s" % (name, "[redacted]" if name.lower() in SECRET_HEADERS and not secrets
                         else re.sub(r"\s*[\r\n]\s*", " ", value))).rstrip()
            for name, value in headers]


def open_connection(origin: str, proxy: Optional["Proxy"], watchdog: Watchdog) -> Any:
    """A connected socket to `origin`, through `proxy` if there is one. The only way out."""
    import socket
    host, port = split_origin(origin)
    address = (proxy.host, proxy.port) if proxy else (host, port)
    # In a thread, since a name look-up knows no timeout.
    sock = call_with_limit(
        lambda: socket.create_connection(address, timeout=watchdog.left()), watchdog.left())
    try:
        watchdog.sock = sock
        sock.settimeout(watchdog.left())
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if origin.startswith("https:"):
            if proxy:
                proxy.open_tunnel(sock, host, port)
            # The handshake comes after the watchdog knows the TLS socket: the plain one is gone.
            watchdog.sock = sock = tls_context().wrap_socket(
                sock, server_hostname=host, do_handshake_on_connect=False)
            sock.do_handshake()
        return sock
    except BaseException:
        sock.close()
        raise


def split_origin(origin: str) -> Tuple[str, int]:
    from urllib.parse import urlsplit
    parts = urlsplit(origin)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


_tls_context: Any = None


def tls_context() -> Any:
    """The TLS context, made once: reading the certificates takes longer than all else."""
    global _tls_context
    if _tls_context is None:
        import ssl
        _tls_context = ssl.create_default_context()
    return _tls_context


class Proxy(NamedTuple):
    """An HTTP proxy; `userinfo` is a secret."""

    host: str
    port: int
    userinfo: str

    def __repr__(self) -> str:
        return "%s:%d" % (bracketed(self.host), self.port)

    def headers(self) -> Pairs:
        from base64 import b64encode
        from urllib.parse import unquote
        if not self.userinfo:
            return []
        user, _, password = self.userinfo.partition(":")
        userinfo = "%s:%s" % (unquote(user), unquote(password))
        return [("Proxy-Authorization",
                 "Basic " + b64encode(userinfo.encode("utf-8")).decode("ascii"))]

    def open_tunnel(self, sock: Any, host: str, port: int) -> None:
        """Ask the proxy to connect `sock` through to host:port."""
        from http.client import HTTPResponse
        target = "%s:%d" % (bracketed(host), port)
        lines = ["CONNECT %s HTTP/1.1" % target, "Host: " + target]
        lines += ["%s: %s" % header for header in self.headers()]
        sock.sendall("\r\n".join(lines + ["", ""]).encode("ascii"))
        answer = HTTPResponse(sock, method="CONNECT")
        try:
            answer.begin()
        finally:
            answer.close()
        if not 200 <= answer.status < 300:
            raise NetworkError(
                "The proxy %r refused to connect to %s: %d %s." % (
                    self, target, answer.status, answer.reason), "proxy",
                "Check user name and password in the proxy variable." if answer.status == 407
                else "Add the host to NO_PROXY if it can be reached without the proxy.")


def find_proxy(origin: str, environ: Mapping[str, str]) -> Optional[Proxy]:
    """The proxy that the environment names for `origin`; NetworkError if it cannot be used."""
    proxies = {name[:-6].lower(): environ[name] for name in sorted(environ)  # NAME before name
               if name.lower().endswith("_proxy")}
    if "REQUEST_METHOD" in environ and "http_proxy" not in environ:
        proxies.pop("http", None)  # under CGI anyone can send a header Proxy:
    scheme, peer = origin.split("://")
    url = proxies.get(scheme) or proxies.get("all")
    named = bool(set(proxies) - {"no"})
    if not url and (named or sys.platform not in ("darwin", "win32")):  # which have settings, too
        return None
    from urllib.request import (  # type: ignore[attr-defined]
        getproxies, proxy_bypass, proxy_bypass_environment)
    url = url if named else getproxies().get(scheme)
    if not url or (proxy_bypass_environment(peer, proxies) if named else proxy_bypass(peer)):
        return None
    from urllib.parse import urlsplit
    variable = next((name for name in environ if environ[name] == url
                     and name.lower() in (scheme + "_proxy", "all_proxy")), "the system's settings")
    try:
        parts = urlsplit(url if "://" in url else "http://" + url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if not host:
        raise NetworkError("The proxy in %s has no valid address." % variable, "proxy",
                           "Set it to http://HOST:PORT.")
    if parts.scheme != "http":
        raise NetworkError(
            "The proxy in %s is a %s proxy, which Python's standard library cannot use."
            % (variable, parts.scheme.upper()), "proxy",
            "Set it to an http:// proxy, or add %s to NO_PROXY." % split_origin(origin)[0])
    if scheme == "http" and not is_safe_origin("http://" + bracketed(host)):
        return None  # the origin is this machine: nothing may leave it in the clear
    return Proxy(host, port, parts.netloc.rpartition("@")[0])


def explain_failure(error: BaseException, origin: str, proxy: Optional[Proxy],
                    watchdog: Watchdog, environ: Mapping[str, str]) -> CliError:
    """What an exception on the way to `origin` means, in words for people."""
    import socket
    if isinstance(error, CliError):
        return error
    host, port = split_origin(origin)
    peer = "%s:%d" % (bracketed(host), port)
    if proxy:
        peer = "the proxy %r (for %s)" % (proxy, host)
    kind, what, hint = "unreachable", "%s: %s." % (peer, reason(error)), "Check the connection."
    if watchdog.expired or isinstance(error, (socket.timeout, TimeoutError)):
        kind, what = "timeout", "%s did not answer in time (%g s)." % (
            peer, watchdog.limit or IDLE_TIMEOUT)
        hint = "Try again later."
    elif isinstance(error, (socket.gaierror, UnicodeError)):
        kind, what = "dns", "the name %s cannot be resolved (%s)." % (
            proxy.host if proxy else host, reason(error))
        hint = "Check the network connection and the name server."
    elif isinstance(error, ConnectionRefusedError):
        kind, what = "refused", "%s refuses connections." % peer
        hint = ("Check the proxy variables." if proxy else
                "Check that a server listens there, or whether this network needs HTTPS_PROXY.")
    elif type(error).__module__ == "ssl":
        kind, what, hint = "tls", *explain_tls(error, host, environ)
    elif type(error).__module__ in ("http.client", "zlib") or isinstance(
            error, (ConnectionError, ValueError)):
        kind, what = "broken", "%s broke the connection off (%s)." % (peer, _explain_break(error))
        hint = "Try again."
    return NetworkError("Cannot reach Notion: " + what, kind, hint)


def _explain_break(error: BaseException) -> str:
    if type(error).__module__ != "http.client":
        return reason(error)
    name = type(error).__name__
    known = {"RemoteDisconnected": "no answer", "IncompleteRead": "the answer broke off"}
    return known.get(name, "its answer is not HTTP: " + name)


def explain_tls(error: BaseException, host: str, environ: Mapping[str, str]) -> Tuple[str, str]:
    """(what, hint) for an error of the ssl module."""
    text = str(getattr(error, "verify_message", "") or getattr(error, "reason", "") or error)
    what, hint = missing_certificates(environ)
    if what:
        return "%s cannot be verified: %s." % (host, what), hint
    if "expired" in text or "not yet valid" in text:
        return "the certificate of %s has %s." % (
            host, "expired" if "expired" in text else "not begun to be valid"), (
            "Check this machine's clock.")
    if "match" in text:  # or mismatch
        return "the certificate is not one for %s." % host, (
            "Something between here and there answers in its place: a proxy or a wrong address.")
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        # Python 3.6 does not say which of the two it is.
        what = "not trusted" if hasattr(error, "verify_message") else "expired or not trusted"
        return "the certificate of %s is %s (%s)." % (host, what, text), (
            "If your network inspects TLS, set SSL_CERT_FILE to its CA certificate.")
    return "the TLS connection to %s failed (%s)." % (host, text), (
        "Check that the address is right and speaks TLS.")


def missing_certificates(environ: Mapping[str, str]) -> Tuple[str, str]:
    """(why no certificate can be verified here, what to do); empty if some can."""
    import ssl
    paths = ssl.get_default_verify_paths()
    variable = paths.openssl_cafile_env
    named = environ.get(variable)
    hint = ("Unset %s, or set it to a bundle of CA certificates." if named else
            "Install your system's package ca-certificates, or set %s to a bundle.") % variable
    if named and not os.path.isfile(named):
        return "%s names %s, which is no file" % (variable, named), hint
    try:
        has_directory = bool(paths.capath and os.listdir(paths.capath))
    except PermissionError:
        has_directory = True  # what may not be listed may still be searched, by a file's name
    if tls_context().cert_store_stats()["x509_ca"] or has_directory:
        return "", ""
    return ("%s names %s, which holds no certificate" % (variable, named) if named
            else "no CA certificates are installed"), hint


# ---- 6 Secrets ----------------------------------------------------------------------------------


def read_file(path: str) -> Optional[bytes]:
    """What a state file holds; None if there is none.

    A secret that others can read is made private. Only regular files are taken: opening a FIFO
    would wait for its writer.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
                             | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CliError(
            "Cannot read %s: %s." % (path, reason(error)), "Check who may read it.") from None
    mode = os.fstat(descriptor).st_mode
    if mode & 0o170000 != 0o100000:
        os.close(descriptor)
        raise DamagedFile(path, "it is no regular file")
    with open(descriptor, "rb") as file:
        if mode & 0o077 and os.name != "nt" and os.path.basename(path) in SECRET_FILES:
            with suppress(OSError):  # it is not ours: doctor tells
                os.fchmod(descriptor, 0o600)
        try:
            return file.read()
        except OSError as error:
            raise CliError("Cannot read %s: %s." % (path, reason(error))) from None


def write_file(path: str, data: Optional[bytes]) -> None:
    """Replace a state file as a whole, or delete it (None): a kill leaves the old one or the new.

    It is private from its first byte. Callers hold the directory's lock.
    """
    path = os.path.realpath(path)  # a link stays a link
    directory, temporary = os.path.dirname(path), path + ".tmp"
    try:
        if data is None:
            if os.path.lexists(path):
                os.unlink(path)
                sync_directory(directory)
            return
        if os.path.lexists(temporary):  # left by a kill; nobody else writes it under our lock
            os.unlink(temporary)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL
                             | getattr(os, "O_BINARY", 0), 0o600)
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
        sync_directory(directory)
    except OSError as error:
        import errno
        hint = "Check the directory's permissions and free space, or set NOTION_HOME elsewhere."
        if error.errno == errno.EBUSY:
            hint = "It is mounted as a single file and cannot be replaced: mount its directory."
        raise CliError("Cannot write %s: %s." % (path, reason(error)), hint) from None


def sync_directory(directory: str) -> None:
    """Make a rename or removal last; Windows cannot open a directory for that."""
    if os.name != "nt":
        with suppress(OSError):  # a directory that may not be listed, and some network file
            descriptor = os.open(directory, os.O_RDONLY)  # systems, refuse; the content is safe
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def make_directory(path: str) -> None:
    """Create a directory and its missing parents, each for this user alone."""
    if not os.path.isdir(path):
        if os.path.dirname(path) != path:  # else it is a drive of Windows that is not there
            make_directory(os.path.dirname(path))
        try:
            os.mkdir(path, 0o700)
            os.chmod(path, 0o700)
        except FileExistsError:
            if not os.path.isdir(path):
                raise


@contextmanager
def locked(directory: str, console: Console) -> Iterator[None]:
    """Hold the directory's lock, which ends with the process however that ends."""
    path = os.path.join(directory, ".lock")
    try:
        make_directory(directory)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CliError("Cannot write in %s: %s." % (directory, reason(error)),
                       "Check its permissions, or set NOTION_HOME to another directory.") from None
    try:
        deadline = console.clock.monotonic() + LOCK_LIMIT
        if os.fstat(descriptor).st_mode & 0o600 != 0o600:
            os.chmod(path, 0o600)  # a umask can take the owner's bits away
        while not try_lock(descriptor, path):
            if console.clock.monotonic() >= deadline:
                raise LockHeld("Another process has held %s for %g s." % (path, LOCK_LIMIT),
                               "Find it with `fuser %s`, and try again when it is done." % path)
            console.clock.sleep(0.05)
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


SECRET_FILES = {"auth.json", "pending-login.json"}


def load_json(path: str) -> Dict[str, Json]:
    """The object in a state file, empty if there is no file. DamagedFile if it is anything else."""
    data = read_file(path)
    if data is None:
        return {}
    try:
        value = parse_json(data.decode("utf-8-sig"))
    except ValueError:
        raise DamagedFile(path, "it is not valid JSON") from None
    if not isinstance(value, dict):
        raise DamagedFile(path, "it holds no JSON object")
    return value


def update_json(path: str, console: Console,
                change: Callable[[Dict[str, Json]], Optional[bool]], create: bool = True) -> bool:
    """Read, let `change` work on the object, and write, all under one lock; whether it was written.

    `change` may return False to leave the file as it is. What it does not touch is kept.
    Without `create` nothing is done where there is no file.
    """
    if not create and not os.path.lexists(path):
        return False
    with locked(os.path.dirname(path), console):
        value = load_json(path)
        if change(value) is False:
            return False
        try:
            text = format_json(value, "  ")
        except RecursionError:
            raise DamagedFile(path, "it is nested too deeply") from None
        write_file(path, text.encode("utf-8"))
        return True


def prove_file(path: str, console: Console) -> None:
    """Find out that a state file can be replaced, and leave it as it is."""
    with locked(os.path.dirname(path), console):
        data = read_file(path)
        write_file(path, b"{}" if data is None else data)
        if data is None:
            write_file(path, None)


def set_aside(path: str, console: Console) -> None:
    """Move a damaged file away, under a name that says so, where a login must go on."""
    if not os.path.lexists(path):
        return
    with locked(os.path.dirname(path), console):
        path = os.path.realpath(path)
        try:
            load_json(path)
        except DamagedFile as error:
            target = "%s.damaged-%d" % (path, console.clock.time())
            while os.path.lexists(target):
                target += "x"
            try:
                os.replace(path, target)
            except OSError:
                raise error from None
            console.say("warning: %s It was moved to %s." % (error.message, target))


def read_object(value: Json, key: str) -> Dict[str, Json]:
    """The object at `key`, empty where other programs left something else there."""
    found = value.get(key)
    return found if isinstance(found, dict) else {}


class Workspaces:
    """What is known of workspaces: workspaces.json, and the defaults in config.json."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self.settings, self.console = settings, console

    def known(self, environment: str = "") -> Dict[str, str]:
        """{workspace ID: name} of an environment, this one by default, in the file's order."""
        data = load_json(self.settings.config_path("workspaces.json"))
        entries = read_object(read_object(data, "environments"),
                              environment or self.settings.environment)
        names = {key: entry.get("name") for key, entry in entries.items()
                 if isinstance(entry, dict)}
        return {key: name if name and isinstance(name, str) else key for key, name in names.items()}

    def default(self) -> Optional[str]:
        data = load_json(self.settings.config_path("config.json"))
        found = read_object(data, "defaultWorkspaceIds").get(self.settings.environment)
        return found if isinstance(found, str) and found else None

    def find(self, wanted: str) -> Optional[str]:
        """The ID of a known workspace, named by its ID, dashed or not, or its exact name."""
        known = self.known()
        by_id = [key for key in known if undashed(key) == undashed(wanted)]
        by_name = [key for key in known if known[key] == wanted]
        if len(by_name) > 1 and not by_id:
            raise CliError("Several workspaces are called %r: %s." % (wanted, ", ".join(by_name)),
                           "Name the one you mean by its ID.", EXIT_AUTH)
        return next(iter(by_id + by_name), None)

    def current(self) -> Optional[str]:
        """The workspace that commands work with: NOTION_WORKSPACE_ID, else the default."""
        wanted = self.settings.workspace_id
        if not wanted:
            return self.default()
        return self.find(wanted) or dashed(wanted)

    def add(self, workspace_id: str, name: str) -> None:
        def change(data: Dict[str, Json]) -> None:
            data.setdefault("version", "1")
            entries = make_object(make_object(data, "environments"), self.settings.environment)
            make_object(entries, workspace_id).update(id=workspace_id, name=name)
        update_json(self.settings.config_path("workspaces.json"), self.console, change)

    def set_default(self, workspace_id: str) -> None:
        def change(data: Dict[str, Json]) -> None:
            data.setdefault("version", "1")
            make_object(data, "defaultWorkspaceIds")[self.settings.environment] = workspace_id
        update_json(self.settings.config_path("config.json"), self.console, change)

    def forget(self, workspace_ids: Sequence[str]) -> bool:
        """Take workspaces out of workspaces.json; whether any was there."""
        def change(data: Dict[str, Json]) -> bool:
            entries = read_object(read_object(data, "environments"), self.settings.environment)
            return any([entries.pop(key, None) is not None for key in workspace_ids])
        return update_json(self.settings.config_path("workspaces.json"), self.console, change,
                           create=False)

    def clear_default(self, workspace_ids: Sequence[str]) -> bool:
        """Have no default any more if it is one of these; whether it was."""
        def change(data: Dict[str, Json]) -> bool:
            defaults = read_object(data, "defaultWorkspaceIds")
            return (defaults.get(self.settings.environment) in workspace_ids
                    and bool(defaults.pop(self.settings.environment)))
        return update_json(self.settings.config_path("config.json"), self.console, change,
                           create=False)


def make_object(value: Dict[str, Json], key: str) -> Dict[str, Json]:
    """The object at `key`, made if it is not there."""
    if not isinstance(value.get(key), dict):
        value[key] = {}
    found: Dict[str, Json] = value[key]
    return found


def undashed(workspace_id: str) -> str:
    return workspace_id.replace("-", "").lower()


def dashed(workspace_id: str) -> str:
    """A workspace ID in the form that is stored, whichever way it was written."""
    found = re.fullmatch("(.{8})(.{4})(.{4})(.{4})(.{12})", undashed(workspace_id))
    return "-".join(found.groups()) if found else workspace_id


class Store(ABC):
    """A place that keeps tokens by workspace ID; every failure is a CliError that names it."""

    name = ""  # for people

    @abstractmethod
    def get(self, workspace_id: str) -> Optional[str]:
        """The token, or None if none is stored here."""

    @abstractmethod
    def set(self, workspace_id: str, token: str) -> None:
        """Store a token, so that `get` returns it."""

    @abstractmethod
    def delete(self, workspace_id: str) -> bool:
        """Forget a token; whether there was one."""

    @abstractmethod
    def prove(self) -> None:
        """Find out that `set` would work, and change nothing that is stored."""


class FileStore(Store):
    """auth.json: {"<workspace ID>": "<token>"}, private."""

    def __init__(self, path: str, console: Console) -> None:
        self.name, self._console = path, console

    def get(self, workspace_id: str) -> Optional[str]:
        token = load_json(self.name).get(workspace_id)
        return token if isinstance(token, str) and token else None

    def set(self, workspace_id: str, token: str) -> None:
        update_json(self.name, self._console, lambda data: data.update({workspace_id: token}))

    def delete(self, workspace_id: str) -> bool:
        return update_json(self.name, self._console,
                           lambda data: data.pop(workspace_id, None) is not None, create=False)

    def prove(self) -> None:
        set_aside(self.name, self._console)
        prove_file(self.name, self._console)


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


class KeychainStore(Store):
    """The operating system's keychain: one entry for each workspace, as the official client's.

    Each call has a limit, for a keychain may wait for ever for somebody to unlock it. After a call
    that was not answered none is tried again.
    """

    name = "the keychain"
    service = "notion-cli"

    def __init__(self, console: Console, limit: int) -> None:
        self._console, self._limit = console, limit  # seconds for each call
        self._silent: Optional[KeychainError] = None

    def get(self, workspace_id: str) -> Optional[str]:
        return self._call(lambda keyring: keyring.get_password(self.service, workspace_id)) or None

    def set(self, workspace_id: str, token: str) -> None:
        self._call(lambda keyring: keyring.set_password(self.service, workspace_id, token))

    def delete(self, workspace_id: str) -> bool:
        if self.get(workspace_id) is None:
            return False
        self._call(lambda keyring: keyring.delete_password(self.service, workspace_id))
        return True

    def prove(self) -> None:
        account, value = "ntn-probe-%d" % os.getpid(), os.urandom(8).hex()

        def go_round(keyring: Any) -> Any:
            keyring.set_password(self.service, account, value)
            kept = None
            try:
                kept = keyring.get_password(self.service, account)
            finally:
                try:
                    keyring.delete_password(self.service, account)
                except Exception:
                    if kept is not None:  # else there was nothing to delete
                        raise
            return kept

        if self._call(go_round) != value:
            raise KeychainError("The keychain does not keep what is written to it.")

    def _tell(self) -> None:
        if self._console.interactive:
            self._console.say("Waiting for the keychain: it may ask to be unlocked.")

    def _call(self, action: Callable[[Any], Any]) -> Any:
        if self._silent is not None:
            raise self._silent
        try:
            return call_with_limit(lambda: action(load_keyring()), self._limit, self._tell)
        except (KeychainError, KeyboardInterrupt):
            raise
        except LimitPassed:
            self._silent = KeychainError("The keychain did not answer within %d s." % self._limit)
            raise self._silent from None
        except BaseException as error:  # a backend may raise anything: Rust's panics, SystemExit
            name = type(error).__name__
            if name == "NoKeyringError":
                raise NoKeychain("No keychain was found on this system.") from None
            problem = "is locked" if name == "KeyringLocked" else "cannot be used"
            raise KeychainError("The keychain %s (%s)." % (problem, one_line(
                "%s: %s" % (name, error)).rstrip(" .:"))) from None


class Tokens:
    """The two places that tokens are kept in, and which of them is used when.

    NOTION_KEYRING, or else `keyring` in config.json, says: the keychain alone (true), auth.json
    alone (false), or the keychain where it can be used (unset). `limit`: seconds for each call of
    the keychain, by default long where somebody is there to unlock it.
    """

    def __init__(self, settings: Settings, console: Console, limit: Optional[int] = None) -> None:
        self.settings, self.console = settings, console
        self.workspaces = Workspaces(settings, console)
        self.file = FileStore(settings.config_path("auth.json"), console)
        self.keychain = KeychainStore(console, limit or (60 if console.interactive else 5))
        self._unusable: Optional[KeychainError] = None  # why auth.json is used instead

    def use_keychain(self) -> Optional[bool]:
        if self.settings.keyring is not None:
            return self.settings.keyring
        path = self.settings.config_path("config.json")
        value = load_json(path).get("keyring")
        if value is not None and not isinstance(value, bool):
            raise UsageError("`keyring` in %s is %s: it can be true, false, or left out." % (
                path, format_json(value)))
        return value

    def get(self, workspace_id: str) -> Optional[Credential]:
        """The stored token. A keychain that cannot tell is an error, not an empty one."""
        mode = self.use_keychain()
        for store in [self.file] * (mode is not True) + [self.keychain] * (mode is not False):
            try:
                token = store.get(workspace_id)
            except NoKeychain:
                if mode:
                    raise
                token = None
            if token:
                self.console.secrets.add(token)
                return Credential(token, store.name, workspace_id)
        return None

    def prove(self) -> None:
        """Find out that `put` will work, and where. Raises CliError if nowhere."""
        mode = self.use_keychain()
        if mode is not False:
            try:
                self.keychain.prove()
                return
            except KeychainError as error:
                if mode:
                    raise
                self._unusable = error
        self.file.prove()

    def put(self, workspace_id: str, token: str) -> str:
        """Store a token in one place, read it back there, and say which place that is."""
        mode = self.use_keychain()
        store: Store = self.file if mode is False or self._unusable else self.keychain
        suspect = self._is_in_keychain_alone(workspace_id)
        try:
            self._put_in(store, workspace_id, token)
        except KeychainError as error:
            if mode:
                raise
            store, self._unusable, suspect = self.file, error, True
            self._put_in(store, workspace_id, token)
        if self._unusable:
            self.console.say("%s The token is in %s instead; NOTION_KEYRING=0 silences this." % (
                self._unusable.message, store.name))
        try:
            if store is self.keychain:
                self.file.delete(workspace_id)
            elif suspect:
                self.keychain.delete(workspace_id)
        except NoKeychain:
            pass
        except CliError as error:
            self.console.say("warning: An older token of this workspace could not be removed. "
                             + error.message)
        return store.name

    def _is_in_keychain_alone(self, workspace_id: str) -> bool:
        """Whether an earlier login seems to have stored its token there.

        Only then is the keychain asked after a login into auth.json: who sets NOTION_KEYRING=0 may
        have a keychain that hangs.
        """
        try:
            return self.file.get(workspace_id) is None and any(
                workspace_id in self.workspaces.known(name) for name in ENVIRONMENTS)
        except CliError:
            return False

    def _put_in(self, store: Store, workspace_id: str, token: str) -> None:
        store.set(workspace_id, token)
        if store.get(workspace_id) != token:
            problem = "%s does not keep what is written to it." % store.name
            raise (KeychainError if store is self.keychain else CliError)(
                problem[0].upper() + problem[1:])

    def delete(self, workspace_id: str) -> bool:
        """Delete a token from both places; whether there was one. CliError if one is left."""
        failures: List[CliError] = []
        found = False
        for store in (self.file, self.keychain):
            try:
                found = store.delete(workspace_id) or found
            except NoKeychain:
                pass
            except KeychainError as error:
                if found:
                    self.console.say("warning: %s An older token may be left in it."
                                     % error.message)
                else:
                    failures.append(error)
            except CliError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return found


def use_credential(settings: Settings, console: Console, tokens: Optional[Tokens] = None
                   ) -> Credential:
    """The token to use: NOTION_API_TOKEN, else the stored one of the current workspace.

    From here on no message can show it.
    """
    if settings.credential is not None:
        if not TOKEN.fullmatch(settings.credential.token):
            raise CliError("%s has characters that no token has." % settings.credential.source,
                           "Set it again, without spaces and line ends.", EXIT_AUTH)
        console.secrets.add(settings.credential.token)
        return settings.credential
    tokens = tokens or Tokens(settings, console)
    workspace_id = tokens.workspaces.current()
    if workspace_id is None:
        known = tokens.workspaces.known()
        if known:
            raise CliError("No default workspace is set.", "Choose one with `ntn login --workspace "
                           "NAME`: %s." % ", ".join(map(one_line, known.values())), EXIT_AUTH)
        where, how = "", "Run `ntn login`, or set NOTION_API_TOKEN."
        if settings.environment != "prod":
            where = " to the environment " + settings.environment
            how = how.replace("login", "login --env " + settings.environment)
        raise CliError("Not logged in%s." % where, how, EXIT_AUTH)
    credential = tokens.get(workspace_id)
    if credential is None:
        raise CliError("No token is stored for workspace %s." % workspace_id,
                       "Check NOTION_WORKSPACE_ID, or unset it." if settings.workspace_id
                       else "Run `ntn login` again, or set NOTION_API_TOKEN.", EXIT_AUTH)
    if not TOKEN.fullmatch(credential.token):
        raise CliError("The token of workspace %s in %s has characters that no token has." % (
            workspace_id, credential.source), "Run `ntn login` again.", EXIT_AUTH)
    return credential


# ---- 7 Login ------------------------------------------------------------------------------------
# The calls and their fields were observed between the official client 0.4.0 and a loopback server.


class PendingLogin(NamedTuple):
    """A login that waits for approval. Times are unix seconds by the server's clock."""

    session_id: str
    environment: str
    origin: str
    issued_at: int
    expires_at: int

    def __repr__(self) -> str:
        return "PendingLogin(session_id=[redacted], environment=%r, origin=%r)" % self[1:3]


class Approval(NamedTuple):
    """What an approved login brings."""

    token: str
    workspace_id: str
    workspace_name: str

    def __repr__(self) -> str:
        return "Approval(token=[redacted], workspace_id=%r, workspace_name=%r)" % self[1:]


class LoginRefused(CliError):
    """The server will never approve this session."""

    def __init__(self, message: str, hint: str = "Run `ntn login` to start a new one.") -> None:
        super().__init__(message, hint, EXIT_AUTH)


class TryLater(CliError):
    """An answer that says nothing about the login: too many requests, or a server in trouble."""

    def __init__(self, response: Response, now: float) -> None:
        super().__init__("Notion answered %s." % response.status_text,
                         "Try again later.", EXIT_API)
        self.pause = response.retry_after(now)


def call_login(client: Client, origin: str, name: str, body: Dict[str, str]
               ) -> Tuple[Dict[str, Json], Response]:
    """One call of the login protocol; (answer, response).

    Only 307 and 308 are followed, with the body, and only to Notion over https: any other redirect
    would carry the session to a stranger. Raises LoginRefused, TryLater, or CliError (5).
    """
    url = "%s/api/v3/%s" % (origin, name)
    data = json.dumps(body).encode("utf-8")
    headers = [("Content-Type", "application/json"), ("Accept", "application/json"),
               ("User-Agent", user_agent())]
    for _ in range(5):
        response = client.send("POST", url, headers, data)
        if not 300 <= response.status < 400:
            break
        target = redirect_target(url, response)
        if response.status not in (307, 308) or not is_below(target, LOGIN_HOSTS):
            raise CliError("The login was redirected (%d) to %s, which is not Notion's login."
                           % (response.status, parse_origin(target, exact=False) or "nowhere"),
                           "Check NOTION_BASE_URL and your network.", EXIT_API)
        url = target
    content = response.body  # also where it says nothing: the connection serves the next call
    if response.status in (408, 429) or response.status >= 500:
        raise TryLater(response, client.console.clock.time())
    if 400 <= response.status < 500 and name.endswith("Redeem"):
        raise LoginRefused("The login was refused (%s)." % response.status_text)
    try:
        answer = parse_json(content.decode("utf-8"))
    except ValueError:
        answer = None
    if response.status != 200 or not isinstance(answer, dict):
        raise CliError("The login server's answer cannot be understood (%s)."
                       % response.status_text, "Check NOTION_BASE_URL and --env.", EXIT_API)
    return answer, response


def redirect_target(url: str, response: Response) -> str:
    from urllib.parse import urljoin
    try:
        return str(urljoin(url, response.headers.get("Location") or ""))
    except ValueError:
        return ""


def is_below(url: str, domains: Sequence[str]) -> bool:
    """Whether `url` is https, without a user or odd characters, on one of `domains` or below."""
    origin = parse_origin(url, exact=False) or ""
    return bool(re.match(r"https://([a-z0-9_-]+\.)*(%s)(:\d+)?\Z" % "|".join(
        map(re.escape, domains)), origin))


def user_agent() -> str:
    return "ntn.py/%s Python/%d.%d" % (VERSION, sys.version_info[0], sys.version_info[1])


def start_login(client: Client, settings: Settings) -> Tuple[PendingLogin, str, str]:
    """(pending login, URL to open, verification code), both checked."""
    answer, response = call_login(client, settings.login_origin, "workersCliLoginInit", {})
    session_id, code = answer.get("sessionId"), answer.get("verificationCode")
    url = answer.get("browserUrl") or answer.get("authorizationUrl")
    if not isinstance(session_id, str) or not session_id:
        raise CliError("The login server's answer has no session.", "Try again.", EXIT_API)
    client.console.secrets.add(session_id)
    if not isinstance(code, str) or not VERIFICATION_CODE.fullmatch(code):
        raise CliError("The login server sent an invalid verification code.", "Try again.",
                       EXIT_API)
    if not isinstance(url, str) or not (
            is_below(url, BROWSER_HOSTS)
            or parse_origin(url, exact=False) == settings.login_origin):
        raise CliError("The login server sent an address that is not Notion's: %s."
                       % (parse_origin(str(url), exact=False) or "not a web address"),
                       "It was not opened. Check NOTION_BASE_URL and your network.", EXIT_API)
    now = response.date() or client.console.clock.time()
    return PendingLogin(session_id, settings.environment, settings.login_origin, int(now),
                        choose_expiry(answer.get("expiresAt"), now)), url, code


def choose_expiry(value: Json, issued_at: float) -> int:
    """When a login expires: what the server said, if that can be."""
    expires_at = parse_time(value)
    if expires_at is None or not 0 < expires_at - issued_at < 86400:
        expires_at = issued_at + LOGIN_LIFETIME
    return int(expires_at)


def parse_time(value: Json) -> Optional[float]:
    """Unix seconds from seconds, milliseconds or ISO 8601; None from anything else."""
    if isinstance(value, Number):
        seconds = float(value)
        return None if abs(seconds) > 1e15 else seconds / 1000 if abs(seconds) > 1e11 else seconds
    if isinstance(value, str):
        if re.fullmatch(r"[0-9]{1,15}", value):
            return parse_time(Number(value))
        found = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?"
                             r"(?:Z|([+-])(\d\d):?(\d\d))?", value)
        if found:
            from calendar import timegm
            day, clock, sign, hours, minutes = found.groups()
            try:
                seconds = timegm(time.strptime(day + " " + clock, "%Y-%m-%d %H:%M:%S"))
            except ValueError:
                return None
            offset = (int(hours) * 60 + int(minutes)) * 60 if sign else 0
            return float(seconds + (offset if sign == "-" else -offset))
    return None


def poll_login(client: Client, pending: PendingLogin) -> Tuple[Optional[Approval], Optional[float]]:
    """Ask once: (approval, or None while it is pending; the server's time).

    Raises LoginRefused if it was denied or has expired, TryLater, NetworkError or CliError (5).
    """
    answer, response = call_login(client, pending.origin, "workersCliLoginRedeem",
                                  {"sessionId": pending.session_id})
    status = answer.get("status")
    if status == "pending":
        return None, response.date()
    if status == "expired":
        raise LoginRefused("Login session expired. Run 'ntn login' to start a new one.", "")
    if not isinstance(status, str):
        raise CliError("The login server's answer has no status.", "Try again.", EXIT_API)
    if status != "confirmed":
        raise LoginRefused("The login was refused (%s)." % one_line(status))
    token, workspace_id, name = (answer.get(key) for key in ("token", "spaceId", "spaceName"))
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise CliError("The login was approved, but without a valid token.", "Try again.", EXIT_API)
    client.console.secrets.add(token)
    if not isinstance(workspace_id, str) or not WORKSPACE_ID.fullmatch(workspace_id):
        raise CliError("The login was approved, but without a valid workspace ID.",
                       "Try again.", EXIT_API)
    name = name if isinstance(name, str) and name.strip() else workspace_id
    return Approval(token, workspace_id, name), response.date()


def wait_for_approval(client: Client, pending: PendingLogin, settings: Settings) -> Approval:
    """Poll until the login is approved; a network or server in trouble is waited out.

    The time left is counted on the monotonic clock, set by each answer's Date: what the local wall
    clock says does not matter. Raises LoginRefused, or the last failure if there was no answer.
    """
    console = client.console
    clock = console.clock
    deadline = clock.monotonic() + pending.expires_at - pending.issued_at
    failure: Optional[CliError] = None
    pause, failures = POLL_PAUSE, 0
    try:
        while True:
            if not is_pending(pending, settings):  # a logout, or another poll, has ended it
                raise CliError("No pending login session found.", "", EXIT_AUTH)
            try:
                approval, now = poll_login(client, pending)
                if approval is not None:
                    return approval
                if now is not None:
                    deadline = clock.monotonic() + pending.expires_at - now
                failure, failures, pause = None, 0, POLL_PAUSE
            except (NetworkError, TryLater) as error:
                if not failures:
                    console.say("%s Still waiting." % error.message)
                failure, failures = error, failures + 1
                pause = max(getattr(error, "pause", None) or 0, min(POLL_PAUSE * 2 ** failures, 30))
            show_time_left(console, deadline, pause + jitter())
            if clock.monotonic() >= deadline:
                raise failure or LoginRefused(
                    "Login session expired. Run 'ntn login' to start a new one.", "")
    finally:
        console.live("")


def show_time_left(console: Console, deadline: float, pause: float) -> None:
    """Sleep for `pause` seconds, at most until `deadline`, under a line that counts down."""
    clock = console.clock
    end = min(clock.monotonic() + pause, deadline)
    while clock.monotonic() < end:
        left = max(0, int(deadline - clock.monotonic()))
        console.live("Waiting for approval in the browser, %d:%02d left" % divmod(left, 60))
        clock.sleep(min(1, max(0.01, end - clock.monotonic())))


PENDING_FILE = "pending-login.json"


def save_pending(pending: PendingLogin, settings: Settings, console: Console) -> None:
    path = settings.cache_path(PENDING_FILE)
    update_json(path, console, lambda data: data.update(
        sessionId=pending.session_id, issuedAt=pending.issued_at, expiresAt=pending.expires_at,
        environment=pending.environment, origin=pending.origin))


def load_pending(settings: Settings, console: Console) -> Optional[PendingLogin]:
    """The login started last, None if there is none. Only sessionId and issuedAt need be there."""
    data = load_json(settings.cache_path(PENDING_FILE))
    session_id = data.get("sessionId")
    if not isinstance(session_id, str) or not session_id:
        return None
    console.secrets.add(session_id)
    issued_at = parse_time(data.get("issuedAt")) or console.clock.time()
    environment, origin = data.get("environment"), data.get("origin")
    if not (isinstance(environment, str) and environment in ENVIRONMENTS and isinstance(origin, str)
            and parse_origin(origin) == origin and is_safe_origin(origin)):
        environment, origin = settings.environment, settings.login_origin
    return PendingLogin(session_id, environment, origin, int(issued_at),
                        choose_expiry(data.get("expiresAt"), issued_at))


def is_pending(pending: PendingLogin, settings: Settings) -> bool:
    """Whether this login is still the one that waits; a file that cannot tell ends nothing."""
    try:
        data = load_json(settings.cache_path(PENDING_FILE))
        return data.get("sessionId") == pending.session_id
    except CliError:
        return True


def delete_pending(settings: Settings, console: Console, session_id: str) -> bool:
    """Forget the pending login if it still is this one; whether it was."""
    path = settings.cache_path(PENDING_FILE)
    if not os.path.lexists(path):
        return False
    with locked(os.path.dirname(path), console):
        found = load_json(path).get("sessionId") == session_id
        if found:
            write_file(path, None)
        return found


def forget_pending(settings: Settings, console: Console) -> bool:
    """Forget a login that is pending in this environment; whether there was one."""
    pending = load_pending(settings, console)
    return (pending is not None and pending.environment == settings.environment
            and delete_pending(settings, console, pending.session_id))


def prove_writable(tokens: Tokens) -> None:
    """Find out, before anything is sent, that a login can be kept: its session works only once."""
    settings = tokens.settings
    paths = (settings.config_path("config.json"), settings.config_path("workspaces.json"),
             settings.cache_path(PENDING_FILE))
    for path in paths:
        set_aside(path, tokens.console)
    tokens.prove()
    for path in paths:
        prove_file(path, tokens.console)


def finish_login(approval: Approval, pending: PendingLogin, tokens: Tokens) -> str:
    """Keep what an approved login brought, make it the default, and return where its token is.

    Ctrl-C has to wait meanwhile: the session cannot be redeemed again.
    """
    with uninterrupted():
        stored_in = tokens.put(approval.workspace_id, approval.token)
        tokens.workspaces.add(approval.workspace_id, approval.workspace_name)
        tokens.workspaces.set_default(approval.workspace_id)
        delete_pending(tokens.settings, tokens.console, pending.session_id)
    return stored_in


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Ctrl-C off until the block is done."""
    import signal
    import threading
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread
        return
    caught: List[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if caught:
        raise KeyboardInterrupt


def open_browser(url: str, console: Console) -> bool:
    """Start a browser where a person can see it; False where the printed URL has to do.

    It runs in a process of its own: a browser may print, and webbrowser waits for some of them.
    """
    if not console.get("BROWSER"):
        has_display = (sys.platform in ("darwin", "win32", "cygwin") or console.get("DISPLAY")
                       or console.get("WAYLAND_DISPLAY"))
        if console.get("SSH_CONNECTION") or not has_display:
            return False
        import webbrowser
        try:
            name = os.path.basename(getattr(webbrowser.get(), "name", ""))
        except webbrowser.Error:
            return False
        if name in ("www-browser", "links", "elinks", "lynx", "w3m"):
            return False
    import subprocess
    import threading
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
MAX_INDEX = 9999
UNENCODABLE = re.compile("[\ud800-\udfff]")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")

Segment = Union[str, int, None]  # a key, an index, or None for `[]`, one after the last


class InputError(CliError):
    """An input that cannot be taken, quoted with a caret under the place."""

    def __init__(self, text: str, place: int, problem: str) -> None:
        start = max(0, place - 60)
        before = ("..." if start else "") + text[start:place]
        after = text[place:start + 90] + ("..." if text[start + 90:] else "")
        before, after = (re.sub(r"\s", " ", visible(part)) for part in (before, after))
        super().__init__("Cannot read the input: %s.\n  %s\n  %s^" % (
            problem, before + after, " " * columns(before)), INPUT_HINT, EXIT_API)


class RequestInputs:
    """What the arguments after PATH add up to: headers, query parameters and body fields."""

    def __init__(self, arguments: Iterable[str] = ()) -> None:
        self.headers: Pairs = []
        self.query: Pairs = []
        self.body: Json = Gap
        for text in arguments:
            self.add(text)

    @property
    def has_body(self) -> bool:
        return self.body is not Gap

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
            raise InputError(quoted, odd or 0, "a header name has no such character" if name
                             else "the header has no name")
        if name.lower() in ("host", "content-length", "transfer-encoding"):
            raise InputError(quoted, 0, "this header is set by ntn itself")
        control = re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value)
        if control:
            raise InputError(quoted, len(name) + 1 + control.start(),
                             "a header value has no control characters")
        self.headers.append((name, value))


def mask_secret(text: str) -> str:
    """An input as it may be quoted."""
    name, colon, value = text.partition(":")
    return name + colon + "*" * len(value) if name.strip().lower() in SECRET_HEADERS else text


def find_separator(text: str) -> Tuple[int, str]:
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
    raise InputError(text, len(text), "there is no separator in it")


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
        segments.append((place, parse_segment(text, place, key) if key else None))
        wanted = False
    if wanted:
        raise InputError(text, len(path), "a key is missing here")
    return segments


def parse_segment(text: str, place: int, segment: str) -> Segment:
    if not re.fullmatch("[0-9]+", segment):
        return segment
    if len(segment.lstrip("0")) > 4 or int(segment) > MAX_INDEX:
        raise InputError(text, place, "an index goes up to %d" % MAX_INDEX)
    return int(segment)


def parse_input_json(text: str, place: int) -> Json:
    try:
        return parse_json(text[place:])
    except ValueError as error:
        raise InputError(text, place + getattr(error, "pos", 0), "this is not valid JSON (%s)" % (
            getattr(error, "msg", None) or str(error))) from None


def store_at(root: Json, path: List[Tuple[int, Segment]], value: Json, text: str) -> Json:
    """`root` with `value` at `path`; containers that are missing on the way are made."""
    top = [root]
    holder: Json = top
    step: Segment = 0
    for place, segment in path:
        found = holder[step]
        if found is Gap:
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
            found.extend([Gap] * (int(segment) + 1 - len(found)))
        elif segment not in found:
            found[segment] = Gap
        holder, step = found, segment
    holder[step] = value
    return top[0]


def encode_json(value: Json) -> bytes:
    """`value` as compact JSON; CliError (5) where Python cannot go as deep as it."""
    try:
        return format_json(value).encode("utf-8")
    except RecursionError:
        raise CliError("The JSON is nested too deeply.", "", EXIT_API) from None


def build_url(api_origin: str, path: str, query: Iterable[Tuple[str, str]]) -> str:
    """The address to call, which is below the API origin or refused with a CliError (5)."""
    from urllib.parse import quote, unquote
    rest = path.lstrip("/")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
        origin = parse_origin(path, exact=False)
        if origin != api_origin:
            raise CliError("%s is not an address of the API, which is at %s." % (
                mask_userinfo(path), api_origin),
                "Give the path alone, such as v1/users/me.", EXIT_API)
        rest = re.sub(r"^[^:]+://[^/?#]*/*", "", path)
    where, _, given = rest.partition("?")
    decoded = unquote(where)
    problem = ("is not valid UTF-8" if UNENCODABLE.search(path)
               else "has a backslash in it" if "\\" in decoded
               else "has a control character in it" if CONTROL.search(decoded + path)
               else "has a `..` segment in it" if ".." in decoded.split("/")
               else "" if where else "is empty")
    if problem:
        raise CliError("The path %s %s." % (QUOTE(path), problem),
                       "Give a path such as v1/users/me.", EXIT_API)
    parts = ["%s=%s" % (quote(str(name), safe=""), quote(str(value), safe=""))
             for name, value in query]
    if given:
        parts.insert(0, _quote_rest(given, "/?"))
    url = "%s/%s%s" % (api_origin, _quote_rest(where, "/"), "?" + "&".join(parts) if parts else "")
    if parse_origin(url, exact=False) != api_origin:  # the token follows this address
        raise CliError("The path %s leads away from %s." % (QUOTE(path), api_origin), "", EXIT_API)
    return url


def _quote_rest(text: str, safe: str) -> str:
    """Percent-encode what cannot stand in a URL, and leave what is encoded already."""
    from urllib.parse import quote
    return re.sub("%(?![0-9A-Fa-f]{2})", "%25", quote(text, safe="%:@!$&'()*+,;=~[]" + safe))


def read_body_option(text: str, console: Console) -> bytes:
    """The bytes that -d names: JSON itself, @FILE or @- (stdin, however long it takes)."""
    if not text.startswith("@"):
        return check_json(text.encode("utf-8", "surrogateescape"), "-d")
    if text == "@-":
        if console.stdin is None:
            raise CliError("-d @- cannot read standard input: it is closed.")
        return check_json(console.stdin.buffer.read(), "standard input")
    try:
        with open(native_path(text[1:]), "rb") as file:
            return check_json(file.read(), text[1:])
    except OSError as error:
        raise CliError("Cannot read %s: %s." % (text[1:] or "a file without a name", reason(error)),
                       "-d takes JSON, @FILE, or @- for standard input.") from None


def native_path(path: str) -> str:
    """A file name from the command line as the system knows it (see `decode_arguments`)."""
    return path if os.name == "nt" else os.fsdecode(path.encode("utf-8", "surrogateescape"))


def check_json(data: bytes, source: str, containers_only: bool = False) -> bytes:
    """`data`, unchanged, if it is JSON."""
    hint = "Give `</dev/null` or `-X GET` if no body is meant." if containers_only else ""
    try:
        value = parse_json(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise CliError("The body from %s is not UTF-8." % source, hint) from None
    except ValueError as error:
        if data.startswith(b"\xef\xbb\xbf"):
            raise CliError("The body from %s begins with a byte order mark." % source,
                           "Save it as UTF-8 without one.") from None
        raise CliError("The body from %s is not valid JSON: %s." % (source, error), hint) from None
    if containers_only and not isinstance(value, (dict, list)):
        raise CliError("The body from %s is neither a JSON object nor an array." % source, hint)
    return data


def read_piped_body(console: Console) -> Optional[bytes]:
    """A JSON body from stdin, where one is there to be read; None if not.

    Read are a pipe, a socket, or a file from its start: a terminal has no body, and a file that
    was begun already belongs to the shell loop around us.
    """
    if console.stdin is None:
        return None
    import stat
    try:
        descriptor = console.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):  # not a file of the system's: a caller's own stream
        data = console.stdin.buffer.read()
    else:
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            data = read_pipe(descriptor)
        elif stat.S_ISREG(mode) and os.lseek(descriptor, 0, os.SEEK_CUR) == 0:
            data = console.stdin.buffer.read()
        else:
            return None
    return check_json(data, "standard input", containers_only=True) if data.strip() else None


def read_pipe(descriptor: int) -> bytes:
    """All that comes out of a pipe; UsageError if nothing does for STDIN_SILENCE seconds."""
    chunks = [b""]
    hint = "Give `</dev/null` or `-X GET` if no body is meant, or `-d @-` to wait for one."
    try:  # os.read, since a thread that hangs in a buffered stream breaks the interpreter's exit
        chunks.append(call_with_limit(lambda: os.read(descriptor, CHUNK), STDIN_SILENCE))
    except LimitPassed:
        raise UsageError("Standard input is a pipe that has been silent for %g s." % STDIN_SILENCE,
                         hint) from None
    while chunks[-1]:
        chunks.append(os.read(descriptor, CHUNK))
    return b"".join(chunks)


# ---- 9 Commands ---------------------------------------------------------------------------------
# A command's help text is also the table of its options: `parse_arguments` reads the lines that
# begin with an option, so that the two cannot differ.


class Arguments(NamedTuple):
    """A command line, taken apart."""

    command: str              # such as "login poll"
    options: Dict[str, str]   # by long name; "" for one that takes no value
    inputs: List[str]         # what else there is, in order


HELP_GLOBAL = """
Options for every command:
  -v, --verbose           show requests and answers on stderr, without secrets
  --env NAME              environment: local, dev, stg or prod (also NOTION_ENV)
  -h, --help              show this help
  -V, --version           show the version
"""

HELP = """ntn.py: Notion login and authenticated Notion API calls from a terminal

Usage: ntn COMMAND [OPTION ...]

Commands:
  login           log in, in a browser
  login poll      finish a login that was started with `login --no-browser`
  logout          forget the stored logins
  whoami          show whose token is used
  auth token      print the token
  api             call the Notion API
  api ls          list what can be called
  doctor          check what a login and a call need
  debug           show the state of this installation, for a bug report

Examples:
  ntn login
  ntn api v1/users/me
  ntn api v1/search query=roadmap page_size:=5
  ntn COMMAND --help
""" + HELP_GLOBAL + """
Exit codes: 0 done, 1 local failure, 2 usage, 4 authentication, 5 the API or the network,
8 login still pending, 130 interrupted
"""

BANNER = """ntn.py %s: Notion from a terminal

  ntn login                 log in
  ntn api v1/users/me       call the API
  ntn --help                all commands
""" % VERSION

HELP_LOGIN = """Log in to Notion

Usage: ntn login [--no-browser] [--workspace ID|NAME] [--json]
       ntn login poll [--no-wait] [--json]

In a terminal, `ntn login` opens a browser and waits for your approval. Elsewhere, and with
--no-browser, it prints an address and a verification code; `ntn login poll` finishes the login.

Options:
  --no-browser            print the address, and leave the waiting to `ntn login poll`
  --workspace ID|NAME     make a workspace you have logged in to the default
  --json                  print one JSON document on stdout
""" + HELP_GLOBAL + """
Examples:
  ntn login
  ntn login --workspace Acme
  ntn login --no-browser --json | jq -r .url

Environment variables:
  NOTION_API_TOKEN        a token to use instead of any stored one
  NOTION_WORKSPACE_ID     the workspace to work with; skips the menu of `ntn login`
  NOTION_KEYRING          0: tokens in auth.json only; 1: in the keychain only
  NOTION_HOME             directory for all files, instead of ~/.config/notion and ~/.cache/notion
  NOTION_ENV              environment, as --env
  NOTION_BASE_URL         login origin, instead of the environment's
  NOTION_API_BASE_URL, NOTION_API_DOCS_BASE_URL, NOTION_API_VERSION, NTN_DEBUG,
  XDG_CONFIG_HOME, XDG_CACHE_HOME, HOME, NO_COLOR, TERM, BROWSER, DISPLAY, WAYLAND_DISPLAY,
  SSH_CONNECTION, SSL_CERT_FILE, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY as usual

Exit codes: 0 logged in or started, 1 it cannot be stored, 4 refused or expired, 5 network
"""

HELP_LOGIN_POLL = """Finish a login that was started with `ntn login --no-browser`

Usage: ntn login poll [--no-wait] [--json]

Options:
  --no-wait               ask once; exit code 8 if the login is not approved yet
  --json                  print one JSON document on stdout
""" + HELP_GLOBAL + """
Examples:
  ntn login poll
  ntn login poll --no-wait --json | jq -r .status

Environment variables: NOTION_HOME, NOTION_KEYRING, NOTION_ENV

Exit codes: 0 logged in, 1 it cannot be stored, 4 refused, expired or not started, 5 network,
8 still pending
"""


def cmd_login(args: Arguments, settings: Settings, console: Console) -> int:
    tokens = Tokens(settings, console)
    warn_of_token(settings, console)
    if "--workspace" not in args.options:  # which needs no login, so that nothing need be moved
        for name in ("config.json", "workspaces.json"):
            set_aside(settings.config_path(name), console)
    interactive = console.interactive and "--no-browser" not in args.options
    chosen = choose_workspace(args, tokens, console, interactive)
    if chosen is not None:
        name = tokens.workspaces.known().get(chosen, chosen)
        credential = tokens.get(chosen)
        if credential is not None:
            tokens.workspaces.set_default(chosen)
            console.succeed("Switched to workspace %s" % one_line(name))
            report_login(args, console, "switched", chosen, name, credential.source)
            return EXIT_OK
        console.say("The token of workspace %s is gone, so a new login is needed."
                    % one_line(name))
    prove_writable(tokens)
    client = Client(console, CALL_LIMIT)
    try:
        pending, url, code = start_login(client, settings)
    finally:
        client.close()
    save_pending(pending, settings, console)
    if not interactive:
        show_instructions(args, console, pending, url, code)
        return EXIT_OK
    console.say(LOGIN_TEXT % (url, code))
    if not open_browser(url, console):
        console.say("No browser was opened here: open the URL wherever you like.")
    return wait_and_finish(args, client, pending, tokens)


def warn_of_token(settings: Settings, console: Console) -> None:
    if settings.credential is not None:
        console.say("warning: NOTION_API_TOKEN is set and takes precedence over what this login "
                    "stores.\n  hint: Unset it to use the login.")


def choose_workspace(args: Arguments, tokens: Tokens, console: Console,
                     interactive: bool) -> Optional[str]:
    """The known workspace to switch to, or None for a new login."""
    wanted = args.options.get("--workspace")
    if wanted is not None:
        found = tokens.workspaces.find(wanted)
        if found is None:
            known = tokens.workspaces.known()
            raise CliError("You have not logged in to a workspace %r." % wanted, (
                "Known are: %s." % ", ".join(
                    "%s (%s)" % (one_line(known[key]), key) for key in known)
                if known else "Run `ntn login` to log in to it."), EXIT_AUTH)
        return found
    if not interactive:
        return None
    if tokens.settings.workspace_id:
        return tokens.workspaces.find(tokens.settings.workspace_id)
    return pick_workspace(tokens.workspaces, console)


def pick_workspace(workspaces: Workspaces, console: Console) -> Optional[str]:
    """Ask on the terminal which known workspace to use; None for a new login."""
    known, default = workspaces.known(), workspaces.default()
    if not known:
        return None
    choices: List[Optional[str]] = list(known)
    choices.append(None)
    lines = ["Which workspace do you want to use?", ""]
    for number, key in enumerate(choices, 1):
        label = "Authenticate with new workspace" if key is None else one_line(known[key])
        lines.append("  %d  %s%s" % (number, label, " (default)" if key and key == default else ""))
    console.say("\n".join(lines + [""]))
    preset = choices.index(default) + 1 if default in known else len(choices)
    while True:
        console.ask("Number [%d]: " % preset)
        line = console.stdin.buffer.readline() if console.stdin else b""
        answer = line.decode("utf-8", "replace")
        if not answer:
            console.say("")
            raise CliError("No workspace was chosen.", "", EXIT_INTERRUPTED)
        answer = answer.strip() or str(preset)
        if re.fullmatch("[0-9]{1,6}", answer) and 1 <= int(answer) <= len(choices):
            return choices[int(answer) - 1]
        console.say("Give a number from 1 to %d." % len(choices))


LOGIN_TEXT = """Open this URL in your browser to log in:

  %s

Confirm that this verification code matches what you see in the browser:

  %s
"""


def show_instructions(args: Arguments, console: Console, pending: PendingLogin, url: str,
                      code: str) -> None:
    """The second half of a login in two steps; programs rely on these lines."""
    command = own_command() + " login poll"
    if "--json" in args.options:
        console.emit_json({"url": url, "verification_code": code,
                           "expires_at": pending.expires_at, "poll_command": command})
        return
    console.emit(LOGIN_TEXT % (url, code)
                 + "\nThen run this command to complete login:\n\n  %s\n" % command)


def own_command() -> str:
    """How this program can be started again from the same directory."""
    import shlex
    import shutil
    script = sys.argv[0] if sys.argv else ""
    installed = shutil.which("ntn")
    if not os.path.isfile(script) or installed and os.path.samefile(installed, script):
        return "ntn"
    if os.name == "nt":
        return "python %s" % script
    python = shutil.which("python3")
    # Out of a virtual environment that is not activated, python3 may have no keyring.
    if not python or sys.prefix != sys.base_prefix and not os.path.samefile(python, sys.executable):
        return "%s %s" % (shlex.quote(sys.executable), shlex.quote(script))
    return "python3 %s" % shlex.quote(script)


def wait_and_finish(args: Arguments, client: Client, pending: PendingLogin, tokens: Tokens) -> int:
    """Wait for the approval and keep what it brings; whatever interrupts leaves the session."""
    console = tokens.console
    kept = "The login is still pending: run `%s login poll` to finish it." % own_command()
    try:
        approval = wait_for_approval(client, pending, tokens.settings)
    except KeyboardInterrupt:
        console.live(" ")  # over the ^C
        console.say(kept)
        raise
    except (NetworkError, TryLater) as error:
        raise CliError(error.message, kept, error.code) from None
    except LoginRefused as error:
        raise end_login(error, pending, tokens) from None
    finally:
        client.close()
    return conclude_login(args, approval, pending, tokens)


def end_login(error: LoginRefused, pending: PendingLogin, tokens: Tokens) -> CliError:
    """What to say of a login that was refused; its session can be forgotten."""
    ended = delete_pending(tokens.settings, tokens.console, pending.session_id)
    if ended or "expired" in error.message:
        return error
    return LoginRefused("Another process has finished or ended this login.",
                        "Run `ntn whoami` to see.")


def conclude_login(args: Arguments, approval: Approval, pending: PendingLogin, tokens: Tokens
                   ) -> int:
    settings, console = tokens.settings, tokens.console
    stored_in = finish_login(approval, pending, tokens)
    workspace_id, name = approval.workspace_id, approval.workspace_name
    console.succeed("Logged in to workspace %s\n  The token is stored in %s" % (
        one_line(name), stored_in))
    if settings.workspace_id and undashed(settings.workspace_id) != undashed(workspace_id):
        console.say("warning: NOTION_WORKSPACE_ID names another workspace and takes precedence.")
    report_login(args, console, "confirmed", workspace_id, name, stored_in)
    return EXIT_OK


def report_login(args: Arguments, console: Console, status: str, workspace_id: str, name: str,
                 stored_in: str) -> None:
    if "--json" in args.options:
        console.emit_json({"status": status, "workspace_id": workspace_id, "workspace_name": name,
                           "stored_in": stored_in})


def cmd_login_poll(args: Arguments, settings: Settings, console: Console) -> int:
    pending = load_pending(settings, console)
    if pending is None:
        raise CliError("No pending login session found.",
                       "Run 'ntn login' first to start a new login session.", EXIT_AUTH)
    if "--env" in args.options:
        pending = pending._replace(environment=settings.environment, origin=settings.login_origin)
    settings = settings._replace(environment=pending.environment)
    warn_of_token(settings, console)
    tokens = Tokens(settings, console)
    prove_writable(tokens)
    client = Client(console, CALL_LIMIT)
    if "--no-wait" not in args.options:
        return wait_and_finish(args, client, pending, tokens)
    try:
        approval, _ = poll_login(client, pending)
    except LoginRefused as error:
        raise end_login(error, pending, tokens) from None
    finally:
        client.close()
    if approval is None:
        console.say("The login is still pending: approve it in the browser.")
        if "--json" in args.options:
            console.emit_json({"status": "pending", "expires_at": pending.expires_at})
        return EXIT_PENDING
    return conclude_login(args, approval, pending, tokens)


HELP_LOGOUT = """Forget the stored logins of this environment; it needs no network

Usage: ntn logout [--workspace ID|NAME]

Options:
  --workspace ID|NAME     forget this workspace alone
""" + HELP_GLOBAL + """
Examples:
  ntn logout
  ntn logout --workspace Acme

Environment variables: NOTION_HOME, NOTION_KEYRING, NOTION_ENV

Exit codes: 0 logged out, 1 something could not be deleted, 4 no such workspace
"""


def cmd_logout(args: Arguments, settings: Settings, console: Console) -> int:
    tokens, workspaces = Tokens(settings, console), Workspaces(settings, console)
    failures: List[CliError] = []

    def attempt(step: Callable[[], Result], otherwise: Result) -> Result:
        """What fails is kept for the end: it must not keep the rest from being forgotten."""
        try:
            return step()
        except LockHeld:
            raise  # the next step would wait as long
        except CliError as error:
            if error.message not in [failure.message for failure in failures]:
                failures.append(error)
            return otherwise

    wanted = args.options.get("--workspace")
    if wanted is not None:
        names = {find_login(wanted, workspaces, failures): wanted}
        done = [False]
    else:
        names = attempt(workspaces.known, {})
        default = attempt(workspaces.default, None)
        names = names if default in names or not default else {**names, default: default}
        done = [attempt(partial(forget_pending, settings, console), False)]
    attempt(lambda: bool(load_json(tokens.file.name)), False)
    left = []  # these stay known, so that logging out can be repeated
    for workspace_id in names:
        before = len(failures)
        done.append(attempt(partial(tokens.delete, workspace_id), False))
        for failure in failures[before:]:
            left.append(workspace_id)
            failure.message = "The token of workspace %s is left: %s" % (
                one_line(names[workspace_id]), failure.message)
    done.append(attempt(partial(workspaces.clear_default, list(names)), False))
    done.append(attempt(partial(workspaces.forget, [key for key in names if key not in left]),
                        False))
    directory = os.path.dirname(tokens.file.name)
    for name in os.listdir(directory) if wanted is None and os.path.isdir(directory) else []:
        if name.startswith("auth.json.damaged-"):
            console.say("warning: %s may hold tokens.\n  hint: Delete it when you have seen it."
                        % os.path.join(directory, name))
    if settings.credential is not None:
        console.say("warning: NOTION_API_TOKEN is set and still in effect.\n  hint: Unset it.")
    if failures:
        for failure in failures[:-1]:
            console.say("error: " + failure.message)
        raise CliError(failures[-1].message,
                       "The rest was forgotten." if any(done) else failures[-1].hint)
    console.succeed("Logged out" if any(done) else "Already logged out")
    return EXIT_OK


def find_login(wanted: str, workspaces: Workspaces, failures: List[CliError]) -> str:
    """The ID of the workspace to log out of; one in full is enough where the list is damaged."""
    try:
        found = workspaces.find(wanted)
    except DamagedFile as error:
        if len(undashed(wanted)) != 32:
            raise
        failures.append(error)
        return dashed(wanted)
    if found is None:
        raise CliError("You have not logged in to a workspace %r." % wanted, "", EXIT_AUTH)
    return found


HELP_WHOAMI = """Show whose token is used

Usage: ntn whoami [--json | --plain]

In a pipe, and with --plain, it is one line, tab-separated: id, name, type, email, workspace_id,
workspace_name, owner_id, owner_name, owner_type.

Options:
  --json                  the API's answer as it is
  --plain                 one tab-separated line
""" + HELP_GLOBAL + """
Examples:
  ntn whoami
  ntn whoami --plain | cut -f 6

Environment variables: NOTION_API_TOKEN, NOTION_WORKSPACE_ID, NOTION_KEYRING, NOTION_HOME

Exit codes: 0 done, 1 the token cannot be read, 4 not logged in or token refused, 5 the API or the
network failed
"""


def cmd_whoami(args: Arguments, settings: Settings, console: Console) -> int:
    credential = use_credential(settings, console)
    api = Api(settings, console, credential)
    try:
        response = api.send("GET", "v1/users/me", [])
        if response.status >= 300:
            raise api_error(response, credential)
        if "--json" in args.options:
            console.emit(response.body.rstrip(b"\n") + b"\n")
            return EXIT_OK
        row = describe_user(response.json())
    finally:
        api.close()
    if "--plain" in args.options or not console.is_terminal(console.stdout):
        console.emit(("\t".join(row.values()) + "\n").encode("utf-8", "backslashreplace"))
    else:
        labels = {"id": "ID", "name": "Name", "type": "Type", "email": "Email", "workspace_name":
                  "Workspace", "workspace_id": "Workspace ID", "owner_name": "Owner"}
        console.emit("".join("%-14s%s\n" % (labels[key], row[key]) for key in labels if row[key])
                     + "%-14s%s\n" % ("Token from", credential.source))
    return EXIT_OK


def describe_user(user: Json) -> Dict[str, str]:
    """The fields of an answer of /v1/users/me that whoami shows, each on one line."""
    def text(value: Json, *path: str) -> str:
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return one_line(value) if isinstance(value, str) else ""

    owner: Tuple[str, ...] = ("bot", "owner", "user")
    return {
        "id": text(user, "id"), "name": text(user, "name"), "type": text(user, "type"),
        "email": text(user, "person", "email") or text(user, *owner, "person", "email"),
        "workspace_id": text(user, "bot", "workspace_id"),
        "workspace_name": text(user, "bot", "workspace_name"),
        "owner_id": text(user, *owner, "id"), "owner_name": text(user, *owner, "name"),
        "owner_type": text(user, "bot", "owner", "type"),
    }


HELP_AUTH = """Work with the stored token

Usage: ntn auth token [--json | --plain]

Commands:
  token                   print the token; `ntn auth token --help` tells more
""" + HELP_GLOBAL

HELP_AUTH_TOKEN = """Print the token that commands use

Usage: ntn auth token [--json | --plain]

Options:
  --json                  an object of token, source and workspace_id
  --plain                 the token alone, which is the default
""" + HELP_GLOBAL + """
Examples:
  NOTION_API_TOKEN=$(ntn auth token) ./deploy
  ntn auth token --json | jq -r .source

Environment variables: NOTION_API_TOKEN, NOTION_WORKSPACE_ID, NOTION_KEYRING, NOTION_HOME

Exit codes: 0 done, 1 it cannot be read, 4 not logged in
"""


def cmd_auth_token(args: Arguments, settings: Settings, console: Console) -> int:
    credential = use_credential(settings, console)
    if "--json" in args.options:
        console.emit_json(credential._asdict())
    else:
        console.emit(credential.token.encode("ascii") + b"\n")
    return EXIT_OK


HELP_API = """Call the Notion API

Usage: ntn api PATH [INPUT ...] [-X METHOD] [-d JSON|@FILE|@-] [--file FILE] [-i] [--paginate]
       ntn api PATH --spec | --docs | --help
       ntn api ls

PATH is a path such as v1/users/me, or an address at the API's origin. Options and inputs mix in
any order. The method is POST if there is a body, else GET. `ntn api ls` lists what can be called.

Inputs:
  path=value              a body field that is a string       properties[Name]=Roadmap
  path:=json              a body field that is any JSON       archived:=true
  name==value             a query parameter                   page_size==100
  Header:Value            a request header                    X-Trace:abc   (X-Trace: for none)

In a path, a[b] and a.b are keys, a[0] and a.0 are places in an array, and a[] appends:
  ntn api v1/pages parent[page_id]=ID properties[title][0][text][content]=Hello
  ntn api v1/pages/ID -X PATCH "properties[Due: date][date][start]=2026-01-01"
  ntn api v1/blocks/ID/children -X PATCH children[][paragraph][rich_text][][text][content]=Hi
  ntn api v1/search query=roadmap filter[value]=page page_size:=5

Without inputs for the body, -d and --file, a JSON object or array is read from a pipe or file:
  jq -n '{query: "roadmap"}' | ntn api v1/search
  ntn api v1/pages < page.json

Options:
  -X, --method METHOD     the method, whatever else is given
  -d, --data JSON         the body: JSON, @FILE, or @- for standard input, sent as it is
  --file FILE             upload a file, as the part `file` of a form; inputs are its other fields
  -i, --include           show status and headers before the body
  --paginate              follow next_cursor, and print each result as one line of JSON
  --notion-version V      the Notion-Version header (also NOTION_API_VERSION)
  --timeout S             seconds for one try as a whole; else 60 seconds without any progress
  --no-retry              do not try again after 429 and 529, nor GET, HEAD and DELETE after 5xx
  --spec                  print the OpenAPI description of this call
  --docs                  print the documentation of this call
""" + HELP_GLOBAL + """
Environment variables: NOTION_API_TOKEN, NOTION_WORKSPACE_ID, NOTION_KEYRING, NOTION_HOME,
NOTION_API_VERSION, NOTION_API_BASE_URL, NOTION_API_DOCS_BASE_URL, NO_COLOR, SSL_CERT_FILE,
HTTPS_PROXY, NO_PROXY

Exit codes: 0 done, 1 a file or its JSON is bad, 2 usage, 4 not logged in or token refused,
5 the API or the network failed, or a path or an input was refused
"""


def cmd_api(args: Arguments, settings: Settings, console: Console) -> int:
    options = args.options
    if not args.inputs:
        console.emit(HELP_API)
        return EXIT_OK
    if console.stdout is None:
        console.emit("")  # says so, before anything is sent
    method = choose_method(options)
    if "--spec" in options or "--docs" in options or "--help" in options:
        return describe_call(args, method, settings, console)
    paginate_all = "--paginate" in options
    if paginate_all and ("--include" in options or "--file" in options
                         or method not in ("", "GET", "POST")):
        raise UsageError("--paginate goes with GET and POST, and without -i and --file.")
    timeout = parse_timeout(options)
    inputs = RequestInputs(args.inputs[1:])
    path = args.inputs[0]
    build_url(settings.api_origin, path, inputs.query)  # refuses what is no path, before all else
    body = choose_body(options, inputs, console)
    console.secrets.update(value.split()[-1] for name, value in inputs.headers
                           if value and name.lower() in SECRET_HEADERS)
    credential = None if inputs.has_token else use_credential(settings, console)
    if body is None and method not in ("GET", "HEAD", "DELETE"):
        body = read_piped_body(console)
    method = method or ("GET" if body is None else "POST")
    api = Api(settings, console, credential, inputs.headers, timeout, "--no-retry" not in options)
    try:
        if paginate_all and not isinstance(body, FileBody):
            print_pages(api, method, path, inputs.query, body)
            return EXIT_OK
        response = api.send(method, path, inputs.query, body)
        if "--include" in options:
            show_head(response, console)
        if response.status >= 300:
            raise api_error(response, credential, teach(response, method, path, settings, console))
        show_body(response, console)
    finally:
        api.close()
    return EXIT_OK


class Api:
    """Calls of the API over one connection, with one credential (None: the headers have one)."""

    def __init__(self, settings: Settings, console: Console, credential: Optional[Credential],
                 headers: Iterable[Tuple[str, str]] = (), limit: Optional[float] = CALL_LIMIT,
                 retry: bool = True) -> None:
        self.settings, self.console, self.credential = settings, console, credential
        self._headers, self._client = list(headers), Client(console, limit)
        self._send = self._client.send_with_retries if retry else self._client.send

    def send(self, method: str, path: str, query: Pairs, body: Body = None) -> Response:
        """The answer, whatever its status."""
        url = build_url(self.settings.api_origin, path, query)
        defaults = api_headers(self.settings, self.credential, body)
        return self._send(method, url, merge_headers(defaults, self._headers), body)

    def pages(self, method: str, path: str, query: Pairs, body: Optional[bytes]
              ) -> Iterator[Tuple[List[Json], str]]:
        """(results, cursor of the next page) of each page of a list, numbers as they were sent.

        Raises CliError; its hint names the cursor to go on from.
        """
        from urllib.parse import parse_qsl
        path, _, given = path.partition("?")
        query = parse_qsl(given, keep_blank_values=True) + query
        if method == "POST" and body is None:
            body = b"{}"
        value = parse_json(body.decode("utf-8")) if body else {}
        if not isinstance(value, dict):
            raise CliError("The body is no JSON object, so a next page cannot be asked for.",
                           "Leave --paginate out.", EXIT_API)
        cursor, seen = "", {found for name, found in query if name == "start_cursor"}
        seen.add(str(value.get("start_cursor")))
        while True:
            try:
                results, following = self._page(method, path, query, body)
                if following in seen:
                    raise CliError("The API gave the cursor %s twice." % following, "", EXIT_API)
            except CliError as error:
                if cursor:
                    from shlex import quote
                    given = "start_cursor%s%s" % ("==" if method == "GET" else "=", cursor)
                    error.hint = ("%s What came before is complete. Go on with `%s`." % (
                        error.hint, quote(one_line(given)))).strip()
                raise
            yield results, following
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

    def _page(self, method: str, path: str, query: Pairs, body: Optional[bytes]
              ) -> Tuple[List[Json], str]:
        response = self.send(method, path, query, body)
        if response.status >= 300:
            raise api_error(response, self.credential,
                            teach(response, method, path, self.settings, self.console))
        try:
            page = parse_json(response.body.decode("utf-8"))
        except ValueError:
            page = None
        results = page.get("results") if isinstance(page, dict) else None
        if not isinstance(results, list):
            raise CliError("The answer is no list of results, so there are no pages to follow.",
                           "Leave --paginate out.", EXIT_API)
        cursor = page.get("next_cursor") if page.get("has_more") is not False else None
        if page.get("has_more") is True and not (cursor and isinstance(cursor, str)):
            raise CliError("The API says that there are more results, but gives no cursor to them.",
                           "", EXIT_API)
        return results, cursor if isinstance(cursor, str) else ""

    def close(self) -> None:
        self._client.close()


def print_pages(api: Api, method: str, path: str, query: Pairs, body: Optional[bytes]) -> None:
    """Each result as one line of JSON; where only the lines are redirected, a count on stderr."""
    console, count = api.console, 0
    counting = not console.is_terminal(console.stdout)
    try:
        for results, _ in api.pages(method, path, query, body):
            console.emit(b"".join([encode_json(item) + b"\n" for item in results]))
            count += len(results)
            if counting:
                console.live(plural(count, "result"))
    finally:
        console.live("")


def choose_method(options: Mapping[str, str]) -> str:
    """What -X says in capitals; "" if it is not given."""
    method = options.get("--method", "").upper()
    if "--method" in options and not re.fullmatch("[A-Z]+", method):
        raise UsageError("%r is no method." % options["--method"], "Give one such as -X PATCH.")
    return method


def parse_timeout(options: Mapping[str, str]) -> Optional[float]:
    text = options.get("--timeout")
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?|\.[0-9]{1,6}", text) or not float(text):
        raise UsageError("--timeout is %r: it takes seconds, such as 10 or 2.5." % text)
    return float(text)


def choose_body(options: Mapping[str, str], inputs: RequestInputs, console: Console) -> Body:
    """The body that the command line gives; None if it gives none."""
    sources = (["--file"] * ("--file" in options) + ["-d"] * ("--data" in options)
               + ["inputs (path=value)"] * inputs.has_body)
    if len(sources) > 1 and "-d" in sources:
        raise CliError("The request has more than one body: %s." % " and ".join(sources),
                       "Give only one of them.", EXIT_API)
    if "--file" in options:
        return make_form(options["--file"], inputs.body, console)
    if "--data" in options:
        return read_body_option(options["--data"], console)
    return encode_json(inputs.body) if inputs.has_body else None


def make_form(name: str, fields: Json, console: Console) -> FileBody:
    """A multipart form (RFC 7578) with `fields` and the part `file`, streamed from disk."""
    fields = {} if fields is Gap else fields
    if not isinstance(fields, dict):
        raise CliError("The fields of a form have names, which an array has not.", INPUT_HINT,
                       EXIT_API)
    from mimetypes import guess_type
    kind, packed = guess_type(os.path.basename(name))
    if packed or not kind:
        kind = "application/gzip" if packed == "gzip" else "application/octet-stream"
    path = native_path(name)
    size = measure_file(path, name or "a file without a name")
    boundary = "ntn-" + os.urandom(16).hex()
    base = os.path.basename(name)
    parts = [_form_part(boundary, 'name="%s"' % _quote_parameter(key), "",
                        item if type(item) is str else format_json(item))
             for key, item in fields.items()]
    head = "".join(parts) + _form_part(
        boundary, 'name="file"; filename="%s"' % _quote_parameter(base),
        "Content-Type: %s\r\n" % kind, "")[:-2]
    before = head.encode("utf-8", "surrogateescape")
    after = ("\r\n--%s--\r\n" % boundary).encode("ascii")

    def chunks() -> Iterator[bytes]:
        yield before
        left = size
        try:
            with open(path, "rb") as file:
                while left:
                    chunk = file.read(min(CHUNK, left))
                    if not chunk:
                        raise CliError("%s became shorter while it was sent." % name)
                    left -= len(chunk)
                    yield chunk
                    if size > PROGRESS_SIZE:
                        console.live("Sending %s: %d %%" % (base, (size - left) * 100 // size))
        except OSError as error:
            raise CliError("Cannot read %s: %s." % (name, reason(error))) from None
        finally:
            console.live("")
        yield after

    return FileBody(len(before) + size + len(after), chunks,
                    "multipart/form-data; boundary=" + boundary)


def measure_file(path: str, name: str) -> int:
    """The size of a file that can be read, in bytes."""
    import stat
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise CliError("%s is no regular file, so it cannot be uploaded." % name)
        open(path, "rb").close()
        return status.st_size
    except OSError as error:
        raise CliError("Cannot read %s: %s." % (name, reason(error))) from None


def _form_part(boundary: str, parameters: str, headers: str, value: str) -> str:
    return "--%s\r\nContent-Disposition: form-data; %s\r\n%s\r\n%s\r\n" % (
        boundary, parameters, headers, value)


def _quote_parameter(text: str) -> str:
    """`text` for a quoted parameter; what would end the line is percent-encoded, as browsers do."""
    text = re.sub(r'(["\\])', r"\\\1", text)
    return re.sub("[\x00-\x1f\x7f]", lambda found: "%%%02X" % ord(found.group()), text)


def api_headers(settings: Settings, credential: Optional[Credential], body: Body = None) -> Pairs:
    """The headers of a call; the only place that puts a token into one."""
    if not TOKEN.fullmatch(settings.notion_version):
        raise UsageError("%r is no Notion version." % settings.notion_version,
                         "Give a date such as %s." % NOTION_VERSION)
    headers = [("Authorization", "Bearer " + credential.token)] if credential else []
    headers += [("Notion-Version", settings.notion_version), ("User-Agent", user_agent()),
                ("Accept", "application/json"), ("Accept-Encoding", "gzip, deflate")]
    if body is not None:
        headers.append(("Content-Type", body.content_type if isinstance(body, FileBody)
                        else "application/json"))
    return headers


def merge_headers(defaults: Pairs, given: Pairs) -> Pairs:
    """A given header replaces the default of its name; an empty one takes it away, as in curl."""
    names = {name.lower() for name, _ in given}
    return ([header for header in defaults if header[0].lower() not in names]
            + [header for header in given if header[1]])


def api_error(response: Response, credential: Optional[Credential], hint: str = "") -> CliError:
    """What an answer with a status from 300 up means; its body becomes the message."""
    status = response.status_text
    if response.status < 400 and response.headers.get("Location"):
        target = parse_origin(redirect_target("", response), exact=False) or "another address"
        return CliError("Public API request failed (%s): it is redirected to %s, and no redirect "
                        "is followed." % (status, target), "Check NOTION_API_BASE_URL.", EXIT_API)
    answer = read_error(response)
    request_id = answer.get("request_id") or response.headers.get("x-request-id")
    tail = "\n  request id: %s" % one_line(str(request_id)) if request_id else ""
    if response.status == 401:
        source = credential.source if credential else "the Authorization input"
        return CliError("Public API request failed: API token is invalid." + tail,
                        "The token came from %s. %s" % (source, (
                            "Run `ntn login` to get a new one." if credential and
                            credential.workspace_id else "Set it to a valid one.")), EXIT_AUTH)
    code, message = answer.get("code"), answer.get("message")
    if isinstance(code, str):
        status += " " + one_line(code)
    if not isinstance(message, str):
        kind = response.headers.get("Content-Type", "").split(";")[0]
        message = "the answer is no Notion error%s." % (" but " + kind if kind else "")
    asked = response.retry_after(time.time()) if response.status in (429, 503, 529) else None
    if asked:
        hint = "The server asks to wait %d s before the next try." % asked
    return CliError("Public API request failed (%s): %s%s" % (status, one_line(message), tail),
                    hint, EXIT_API)


def read_error(response: Response) -> Dict[str, Json]:
    """The object in the body of an error, empty if there is none or it does not come."""
    response.drain()
    try:
        answer = response.json()
    except CliError:
        return {}
    return answer if isinstance(answer, dict) else {}


def teach(response: Response, method: str, path: str, settings: Settings, console: Console) -> str:
    """A hint for the commonest mistakes behind a refusal; what it needs to know is in the cache."""
    url = build_url(settings.api_origin, path, [])
    where = url[len(settings.api_origin):].split("?")[0].strip("/")
    code = read_error(response).get("code")
    if response.status == 403 and where == "v1/users":
        return "A personal access token sees its own user: try v1/users/me."
    if response.status in (404, 405) or code == "invalid_request_url":
        if not re.match(r"v\d+(/|\Z)", where):
            return "The paths of the API begin with v1/: try v1/%s." % where
        specification = load_cached_specification(settings)
        methods = [operation.method for operation in (
            find_operations(specification["document"], where) if specification else [])]
        if methods and method not in methods:
            best = "PATCH" if method == "POST" and "PATCH" in methods else methods[0]
            return "This path takes %s: try -X %s." % (", ".join(methods), best)
    return ""


def show_head(response: Response, console: Console) -> None:
    lines = ["HTTP/1.%d %s" % (response.version % 10, response.status_text)]
    lines += header_lines(response.headers.items(), secrets=True)
    console.emit(visible("\n".join(lines)) + "\n\n")


def show_body(response: Response, console: Console) -> None:
    """The body on stdout: for a terminal made readable and harmless, else byte for byte."""
    last, came = b"\n", []
    terminal = console.is_terminal(console.stdout)
    try:
        for chunk in response.chunks():
            if terminal:
                came.append(chunk)
            elif chunk:
                console.emit(chunk)
                last = chunk
        if response.is_json and not last.endswith(b"\n"):
            console.emit(b"\n")
    except NetworkError:
        came += [b"\n"] * bool(came)
        raise
    finally:
        if terminal:
            console.emit(format_body(b"".join(came), console.colour))
        response.trace_body()


COLOURS = {"key": "\x1b[34m", "string": "\x1b[32m", "number": "\x1b[36m", "literal": "\x1b[35m"}


def format_body(body: bytes, colour: bool) -> str:
    """A body as text for a terminal: JSON indented, and nothing that acts on the terminal."""
    text = body.decode("utf-8", "backslashreplace")
    try:
        value = parse_json(text)
        if not colour:
            return format_json(value, "  ") + "\n"
        return format_json(value, "  ", lambda kind, part: COLOURS[kind] + part + "\x1b[0m") + "\n"
    except (ValueError, RecursionError):
        return visible(text) + ("\n" if text and not text.endswith("\n") else "")


HELP_API_LS = """List the calls of the Notion API

Usage: ntn api ls [--json | --plain]

In a pipe, and with --plain, each is one line, tab-separated: method, path, summary.

Options:
  --json                  an array of objects: method, path, summary, tags, operation_id
  --plain                 tab-separated lines
""" + HELP_GLOBAL + """
Examples:
  ntn api ls
  ntn api ls --plain | grep PATCH

Environment variables: NOTION_API_DOCS_BASE_URL, NOTION_HOME, XDG_CACHE_HOME

Exit codes: 0 done, 5 the API's description cannot be fetched
"""

SPEC_FILE = "ntn.py-openapi.json"  # {"origin", "etag", "checkedAt": unix seconds, "document"}


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


def cmd_api_ls(args: Arguments, settings: Settings, console: Console) -> int:
    operations = list_operations(load_specification(settings, console))
    rows = [(operation.method, one_line(operation.path), operation.text("summary"))
            for operation in operations]
    if "--json" in args.options:
        console.emit_json([{
            "method": operation.method, "path": operation.path,
            "summary": operation.text("summary"), "tags": operation.content.get("tags") or [],
            "operation_id": operation.text("operationId")} for operation in operations])
    elif "--plain" in args.options or not console.is_terminal(console.stdout):
        console.emit("".join("%s\t%s\t%s\n" % row for row in rows).encode(
            "utf-8", "backslashreplace"))
    else:
        rows.insert(0, ("METHOD", "PATH", "SUMMARY"))
        width, limit = max(len(path) for _, path, _ in rows), terminal_width(console.stdout)
        for method, path, summary in rows:
            row = "%-7s %-*s  %s" % (method, width, path, summary)
            console.emit(cut(row, limit).rstrip() + "\n")
    return EXIT_OK


def load_cached_specification(settings: Settings) -> Dict[str, Json]:
    """The API's description as it was fetched last, with when and from where; empty without one."""
    try:
        cached = load_json(settings.cache_path(SPEC_FILE))
    except CliError:
        return {}  # only a cache: it is fetched anew
    same = cached.get("origin") == settings.docs_origin and read_object(cached, "document")
    return cached if same else {}


def load_specification(settings: Settings, console: Console) -> Dict[str, Json]:
    """The API's OpenAPI document, from the cache for a day, then asked about again.

    It is public: no token is sent. Raises CliError (5) if it can neither be fetched nor found.
    """
    cached, now = load_cached_specification(settings), console.clock.time()
    checked, etag = parse_time(cached.get("checkedAt")), cached.get("etag")
    if checked is not None and 0 <= now - checked < SPEC_LIFETIME:
        return read_object(cached, "document")
    try:
        known = isinstance(etag, str) and re.fullmatch(r"[\x20-\x7e]+", etag)
        response = fetch_docs("/openapi.json", settings, console,
                              [("If-None-Match", str(etag))] if known else [])
        if response.status == 304 and cached:
            document = read_object(cached, "document")
        else:
            document, etag = parse_json(response.body.decode("utf-8")), response.headers.get("ETag")
            if not isinstance(document, dict) or not read_object(document, "paths"):
                raise CliError("The answer is no OpenAPI document.")
    except (CliError, ValueError) as problem:
        error = problem if isinstance(problem, CliError) else CliError("The answer is not JSON.")
        if not cached:
            raise CliError("The API's description cannot be fetched from %s. %s" % (
                settings.docs_origin, error.message), error.hint, EXIT_API) from None
        console.say("warning: %s An older copy of the API's description is used." % error.message)
        return read_object(cached, "document")
    try:
        try:
            update_json(settings.cache_path(SPEC_FILE), console, lambda data: data.update(
                origin=settings.docs_origin, etag=etag, checkedAt=int(now), document=document))
        except DamagedFile:
            set_aside(settings.cache_path(SPEC_FILE), console)
    except CliError:
        pass  # it works without a cache, just slower
    return document


def fetch_docs(path: str, settings: Settings, console: Console, headers: Pairs) -> Response:
    """An answer with status 200 or 304 of the docs origin."""
    client = Client(console, CALL_LIMIT)
    try:
        response = client.send_with_retries("GET", settings.docs_origin + path, headers + [
            ("User-Agent", user_agent()), ("Accept-Encoding", "gzip, deflate")])
        _ = response.body
    finally:
        client.close()
    if response.status not in (200, 304):
        raise CliError("%s%s answered %s." % (settings.docs_origin, path, response.status_text),
                       "", EXIT_API)
    return response


def list_operations(document: Dict[str, Json]) -> List[Operation]:
    """All operations, by path, then method."""
    found = [Operation(method.upper(), path, content)
             for path, item in read_object(document, "paths").items() if isinstance(item, dict)
             for method, content in item.items() if isinstance(content, dict)
             and method in ("get", "post", "put", "patch", "delete", "head", "options", "trace")]
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
    best = max(matches, key=lambda template: matches[template]) if matches else None
    return [operation for operation in operations if operation.path == best]


def describe_call(args: Arguments, method: str, settings: Settings, console: Console) -> int:
    """`ntn api PATH` with --spec, --docs or --help."""
    from urllib.parse import unquote
    url = build_url(settings.api_origin, args.inputs[0], [])
    path = unquote(url[len(settings.api_origin):].split("?")[0])
    document = load_specification(settings, console)
    operations = find_operations(document, path)
    if not operations:
        raise CliError("The API has no path %s." % path, "`ntn api ls` lists them." if
                       path.startswith("/v1/") else "Its paths begin with v1/.", EXIT_API)
    methods = [operation.method for operation in operations]
    chosen = [operation for operation in operations if method in ("", operation.method)]
    if len(chosen) != 1:
        raise CliError("%s takes %s." % (operations[0].path, ", ".join(methods)),
                       "Choose one, such as -X %s." % methods[0], EXIT_API)
    operation = chosen[0]
    if "--spec" in args.options:
        console.emit_json(reduce_specification(document, operation))
    elif "--docs" in args.options:
        show_docs(operation, settings, console)
    else:
        console.emit(format_operation(document, operation, settings))
    return EXIT_OK


def show_docs(operation: Operation, settings: Settings, console: Console) -> None:
    reference = operation.reference
    if not reference:
        raise CliError("There is no documentation of %s %s." % operation[:2],
                       "Try --spec, or `ntn api %s --help`." % operation.path, EXIT_API)
    show_body(fetch_docs("/%s.md" % reference, settings, console, []), console)


def as_list(value: Json) -> List[Json]:
    """`value` if it is an array, else none: a document may hold anything anywhere."""
    return value if isinstance(value, list) else []


def parse_reference(reference: str) -> List[str]:
    """The keys that a reference such as #/components/schemas/Page leads through (RFC 6901)."""
    from urllib.parse import unquote
    return [unquote(key).replace("~1", "/").replace("~0", "~") for key in reference[2:].split("/")]


def reduce_specification(document: Dict[str, Json], operation: Operation) -> Dict[str, Json]:
    """A document with this operation alone and what its references reach, at any depth."""
    item = read_object(document["paths"], operation.path)
    kept = {key: value for key, value in item.items() if key in ("parameters", "servers")}
    kept[operation.method.lower()] = operation.content
    reduced: Dict[str, Json] = {
        key: document[key] for key in ("openapi", "info", "servers") if key in document}
    reduced["paths"] = {operation.path: kept}
    queue: List[Json] = [kept]
    for requirement in as_list(operation.content.get("security", document.get("security"))):
        if isinstance(requirement, dict):
            queue += [{"$ref": "#/components/securitySchemes/" + name} for name in requirement]
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
                place, target = document, reduced
                for key in keys[:-1]:
                    place, target = read_object(place, key), make_object(target, key)
                if keys[-1] in place and keys[-1] not in target:
                    target[keys[-1]] = place[keys[-1]]
                    queue.append(place[keys[-1]])
    return reduced


def format_operation(document: Dict[str, Json], operation: Operation, settings: Settings) -> str:
    """The help of one call: what it is, its parameters and the fields of its body."""
    def resolved(value: Json) -> Dict[str, Json]:
        for _ in range(20):  # a reference may lead to another
            if not isinstance(value, dict) or not isinstance(value.get("$ref"), str):
                break
            keys, value = parse_reference(value["$ref"]), document
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else {}

    def row(name: str, schema: Json, required: bool, description: Json) -> str:
        schema = resolved(schema)
        kind = schema.get("type") or next((key for key in ("oneOf", "anyOf", "allOf", "enum")
                                           if key in schema), "any")
        kind = "|".join(map(str, kind)) if isinstance(kind, list) else str(kind)
        text = one_line(str(description or schema.get("description") or ""))
        return ("  %-24s %-8s %-9s%s" % (one_line(name), kind, "required " * required, text)
                )[:100].rstrip()

    lines = ["%s %s" % (operation.method, one_line(operation.path)), operation.text("summary"), ""]
    item = read_object(document["paths"], operation.path)
    parameters = [resolved(entry) for source in (item, operation.content)
                  for entry in as_list(source.get("parameters"))]
    for place, title in (("path", "In the path"), ("query", "Query parameters (name==value)"),
                         ("header", "Headers (Header:Value)")):
        rows = [row(str(entry.get("name")), entry.get("schema"), bool(entry.get("required")),
                    entry.get("description")) for entry in parameters if entry.get("in") == place]
        lines += [title + ":"] + rows + [""] if rows else []
    content = read_object(resolved(operation.content.get("requestBody")), "content")
    for kind in content:
        schema = resolved(read_object(content, kind).get("schema"))
        required = as_list(schema.get("required"))
        rows = [row(name, value, name in required, "")
                for name, value in read_object(schema, "properties").items()]
        if rows:
            lines += ["Body fields (path=value, path:=json), as %s:" % kind] + rows + [""]
    reference = operation.reference
    lines += ["Documentation: %s/%s" % (settings.docs_origin, reference), ""] if reference else []
    return visible("\n".join(lines + ["`ntn api --help` explains options and inputs.", ""]))


HELP_DOCTOR = """Check what a login and a call of the API need, and say what to do about the rest

Usage: ntn doctor [--json]

It takes 15 seconds at most and prints no secrets. In the keychain it writes and deletes an entry.

Options:
  --json                  an array of objects: check, status, value, hint; the status is
                          ok, warning, error or skipped
""" + HELP_GLOBAL + """
Examples:
  ntn doctor
  ntn doctor --json | jq '.[] | select(.status == "error")'

Environment variables: all of `ntn login --help`

Exit codes: 0 healthy, else the worst: 4 authentication, 5 the API or the network, 1 local
"""


class Check(NamedTuple):
    """What doctor found out about one thing."""

    value: str
    status: str = "ok"  # or warning, error, skipped
    hint: str = ""
    code: int = EXIT_OK


def cmd_doctor(args: Arguments, settings: Settings, console: Console) -> int:
    checks = Doctor(settings, console).run()
    if "--json" in args.options:
        console.emit_json([{"check": label, "status": check.status, "value": check.value,
                            "hint": check.hint} for label, check in checks.items()])
    else:
        console.emit("".join(format_check(*item, console=console) for item in checks.items()))
    codes = {check.code for check in checks.values()}
    return next((code for code in (EXIT_AUTH, EXIT_API, EXIT_LOCAL) if code in codes), EXIT_OK)


def format_check(label: str, check: Check, console: Console) -> str:
    mark = {"ok": console.tick(console.stdout), "skipped": "-"}.get(check.status, "!")
    lines = ["%-20s %s %s" % (label, mark, check.value)]
    lines += ["  hint: " + check.hint] if check.hint else []
    if console.is_terminal(console.stdout):
        from textwrap import fill
        lines = [fill(line, terminal_width(console.stdout), subsequent_indent="    ",
                      break_long_words=False, break_on_hyphens=False) for line in lines]
    return "\n".join(lines) + "\n"


def once(function: Callable[[], Result]) -> Callable[[], Result]:
    """`function`, called once for all threads, which all get its result or its CliError."""
    import threading
    lock = threading.Lock()
    found: List[Union[Result, CliError]] = []

    def call() -> Result:
        with lock:
            if not found:
                try:
                    found.append(function())
                except CliError as error:
                    found.append(error)
        if isinstance(found[0], CliError):
            raise found[0]
        return found[0]
    return call


class Doctor:
    """The checks, which run side by side, so that no failure and no silence hides another."""

    LIMIT, API_LIMIT, KEYCHAIN_LIMIT = 14.0, 8.0, 5  # seconds; the last two add up

    def __init__(self, settings: Settings, console: Console) -> None:
        import threading
        self.settings, self.console = settings, console
        self.workspaces = Workspaces(settings, console)
        # Shared, so that a mute keychain is asked once. What asks it otherwise than through
        # `credential` asks after that, and holds the lock.
        self.tokens = once(lambda: Tokens(settings, console, self.KEYCHAIN_LIMIT))
        self.credential = once(lambda: use_credential(
            settings, console, None if settings.credential else self.tokens()))
        self.answer = once(self.ask_api)
        self.keychain_lock = threading.Lock()

    def run(self) -> Dict[str, Check]:
        import threading
        settings, console = self.settings, self.console
        methods: Dict[str, Callable[[], Check]] = {
            "CLI version": lambda: Check(VERSION),
            "Python": lambda: Check(sys.version.split()[0] + ", " + (sys.executable or "embedded")),
            "Config directory": self.directory, "State files": self.files,
            "File modes": self.modes, "Keychain": self.keychain,
            "Default workspace": lambda: Check(self.name(self.workspaces.default())),
            "Resolved workspace": self.resolved, "Token source": self.token,
            "Pending login": self.pending,
            "Proxy": lambda: Check(str(find_proxy(settings.api_origin, console.environ) or "none")),
            "CA certificates": self.certificates, "Clock": self.clock,
            "Public API access": self.api}
        late = Check("There was no answer within %d s." % self.LIMIT, "error", "Try again later.")
        results = {label: late._replace(code=EXIT_API if method == self.api else EXIT_LOCAL)
                   for label, method in methods.items()}

        def work(label: str, method: Callable[[], Check]) -> None:
            try:
                check = method()
            except CliError as error:
                check = Check(error.message, "error", error.hint, error.code)
            except Exception as error:
                check = Check("Unexpected %s" % type(error).__name__, "error",
                              "This is a fault of ntn.py.", EXIT_LOCAL)
            if check.code == EXIT_LOCAL and settings.credential and not settings.config_dir:
                check = Check("there is no home directory, and none is needed", "skipped")
            results[label] = check._replace(value=one_line(console.redact(check.value)),
                                            hint=one_line(console.redact(check.hint)))

        end = time.monotonic() + self.LIMIT
        # First of all, since reading a secret makes it private
        work("File modes", methods.pop("File modes"))
        threads = [threading.Thread(target=work, args=item, daemon=True)
                   for item in methods.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        return dict(results)  # those that come later change it no more

    def ask_api(self) -> Tuple[Response, Optional[Credential]]:
        """What the API says to users/me; without a token it is asked as well."""
        try:
            credential: Optional[Credential] = self.credential()
        except CliError:
            credential = None
        api = Api(self.settings, self.console, credential, (), self.API_LIMIT, retry=False)
        try:
            response = api.send("GET", "v1/users/me", [])
            _ = response.body
        finally:
            api.close()
        return response, credential

    def date(self) -> Optional[float]:
        """The server's time if it is to be had."""
        try:
            return self.answer()[0].date()
        except CliError:
            return None

    def name(self, workspace_id: Optional[str]) -> str:
        if not workspace_id:
            return "none"
        name = self.workspaces.known().get(workspace_id)
        return "%s (%s)" % ((name, workspace_id) if name else (workspace_id, "name not known"))

    def directory(self) -> Check:
        for path in (self.settings.config_path(""), self.settings.cache_path("")):
            place = path = path.rstrip(os.sep)
            while not os.path.lexists(place) and place != os.path.dirname(place):
                place = os.path.dirname(place)
            if not os.path.isdir(place) or not os.access(place, os.W_OK | os.X_OK):
                raise CliError("%s cannot be written%s." % (
                    path, "" if place == path else ", because of " + place),
                    "Set NOTION_HOME to a directory that can be written.")
        path = os.path.dirname(self.settings.config_path(""))
        return Check(path + ("" if os.path.isdir(path) else " (the first login makes it)"))

    def files(self) -> Check:
        paths = [self.settings.config_path(name) for name in (
            "config.json", "workspaces.json", "auth.json")]
        found, damaged = [], []
        for path in paths + [self.settings.cache_path(PENDING_FILE)]:
            try:
                load_json(path)
                found += [os.path.basename(path)] * os.path.lexists(path)
            except CliError as error:
                damaged.append(error)
        if damaged:
            raise CliError(" ".join(error.message for error in damaged), damaged[0].hint)
        return Check(", ".join(found) or "none")

    def modes(self) -> Check:
        if os.name == "nt":
            return Check("as Windows has them")
        loose: Dict[str, str] = {}
        if self.settings.config_dir and self.settings.cache_dir:
            for path in (self.settings.config_path("auth.json"),
                         self.settings.cache_path(PENDING_FILE)):
                try:
                    mode = os.stat(path).st_mode
                except FileNotFoundError:
                    continue
                except OSError:
                    return Check("not known", "skipped")
                readers = ["its group"] * bool(mode & 0o070) + ["everybody"] * bool(mode & 0o007)
                if readers:
                    loose[path] = " and ".join(readers)
        if not loose:
            return Check("private")
        from shlex import quote
        raise CliError("%s could be read by %s." % next(iter(loose.items())),
                       " ".join(["chmod 600"] + [quote(path) for path in loose]))

    def keychain(self) -> Check:
        try:
            self.credential()  # first, since other checks wait for it
        except CliError:
            pass
        tokens = self.tokens()
        mode = tokens.use_keychain()
        if mode is False:
            return Check("not used: NOTION_KEYRING is 0" if self.settings.keyring is False
                         else "not used: config.json says \"keyring\": false", "skipped")
        try:
            with self.keychain_lock:
                tokens.keychain.prove()
        except KeychainError as error:
            if mode:
                raise
            if isinstance(error, NoKeychain):
                return Check("none, so auth.json keeps the tokens")
            return Check(error.message, "warning", "export NOTION_KEYRING=0 to do without it")
        return Check("keeps what is written to it")

    def resolved(self) -> Check:
        if self.settings.credential is not None:
            return Check("the one that NOTION_API_TOKEN belongs to")
        wanted, current = self.settings.workspace_id, self.workspaces.current()
        if wanted and current not in self.workspaces.known():
            raise CliError("NOTION_WORKSPACE_ID is %s, which you have not logged in to." % wanted,
                           "unset NOTION_WORKSPACE_ID, or run `ntn login`.", EXIT_AUTH)
        return Check(self.name(current))

    def token(self) -> Check:
        source = self.credential().source
        if self.settings.credential is not None:
            try:
                shadowed = self.workspaces.current()
                with self.keychain_lock:
                    stored = shadowed and self.tokens().get(shadowed)
                if stored:
                    return Check("%s, which hides the login to %s" % (source, self.name(shadowed)),
                                 "warning", "unset NOTION_API_TOKEN to use the login")
            except CliError:
                pass  # other checks tell why
        return Check(source)

    def pending(self) -> Check:
        pending = load_pending(self.settings, self.console)
        if pending is None:
            return Check("none")
        # The server's time, for that is what a login goes by
        left = int(pending.expires_at - (self.date() or self.console.clock.time()))
        if left <= 0:
            return Check("expired", "warning", "Run `ntn login` to start a new one.")
        return Check("waits for approval, %d:%02d left; `ntn login poll` finishes it"
                     % divmod(left, 60))

    def certificates(self) -> Check:
        what, hint = missing_certificates(self.console.environ)
        if what:
            raise CliError(what[0].upper() + what[1:] + ".", hint, EXIT_API)
        count = tls_context().cert_store_stats()["x509_ca"]
        return Check(plural(count, "certificate") if count else "a directory of certificates")

    def clock(self) -> Check:
        date = self.date()
        if date is None:
            return Check("the server's time is not known", "skipped")
        skew = int(self.console.clock.time() - date)
        if abs(skew) <= 120:
            return Check("right to %s" % plural(max(1, abs(skew)), "second"))
        return Check("%d:%02d:%02d %s" % (abs(skew) // 3600, abs(skew) // 60 % 60, abs(skew) % 60,
                                          "fast" if skew > 0 else "slow"),
                     "warning", "Set this machine's clock: TLS depends on it.")

    def api(self) -> Check:
        origin, (response, credential) = self.settings.api_origin, self.answer()
        status, kind = response.status, read_error(response).get("object")
        if status < 300 and kind == "user":
            return Check("%s accepts the token" % origin)
        if status == 401 and kind == "error" and credential is None:
            return Check("%s is reachable" % origin)
        if status < 300 or status == 401 and kind != "error":
            raise CliError("What answers at %s is not Notion's API." % origin,
                           "Log in to this network, or check NOTION_API_BASE_URL.", EXIT_API)
        error = api_error(response, credential)
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
        raise CliError(what + error.message, error.hint or hint, error.code)


HELP_DEBUG = """Show the state of this installation as Markdown, for a bug report

Usage: ntn debug

It shows where tokens are, but no token, no session, and no password or user name of a proxy.
""" + HELP_GLOBAL + """
Example:
  ntn debug > report.md

Environment variables: NOTION_HOME, NOTION_KEYRING, NOTION_ENV
"""


def cmd_debug(args: Arguments, settings: Settings, console: Console) -> int:
    names = ["`%s`" % name for name in sorted(console.environ)
             if console.get(name) and SHOWN_VARIABLE.match(name)]
    lines = ["## Resolved Environment", "", "**Environment:** `%s`" % settings.environment,
             "**Login origin:** `%s`" % settings.login_origin,
             "**API origin:** `%s`" % settings.api_origin,
             "**Variables set:** %s" % (", ".join(names) or "none")]
    for title, section in (
            ("Configuration", describe_file(settings, "config.json")),
            ("Authentication: Tokens", describe_tokens(settings, console)),
            ("Workspace Cache", describe_file(settings, "workspaces.json")),
            ("Cache Files", describe_cache(settings)),
            ("Versions", iter(["- ntn.py %s" % VERSION, "- Python %s on %s" % (
                sys.version.split()[0], sys.platform)]))):
        lines += ["", "## " + title, ""]
        try:
            for line in section:
                lines.append(line)
        except CliError as error:
            lines.append(one_line(error.message))
    text, home = console.redact(visible("\n".join(lines))), console.get("HOME")
    if home and os.path.normpath(home) != os.sep:  # it tells the user's name
        text = re.sub(r"(?<![^\s`|(])%s(?=/)" % re.escape(os.path.normpath(home)), "~", text)
    console.emit(text + "\n")
    return EXIT_OK


SHOWN_VARIABLE = re.compile(
    r"(NOTION_|NTN_|XDG_(CONFIG|CACHE)_HOME\Z|SSL_CERT_|(https?|all|no)_proxy\Z"
    r"|NO_COLOR\Z|BROWSER\Z|SSH_CONNECTION\Z|PYTHON_KEYRING)", re.I)


def describe_file(settings: Settings, name: str) -> Iterator[str]:
    path = settings.config_path(name)
    yield "**Path:** `%s`\n" % path
    data = load_json(path)
    if not os.path.lexists(path):
        yield "File not found."
        return
    try:
        yield "```json\n%s\n```" % format_json(data, "  ")
    except RecursionError:
        yield "It is nested too deeply to be shown."


def describe_tokens(settings: Settings, console: Console) -> Iterator[str]:
    """A table of every known workspace and of every token in auth.json, and where each token is."""
    tokens = Tokens(settings, console, 5)
    yield "**NOTION_API_TOKEN:** %s\n" % ("set" if settings.credential else "not set")
    yield "| Environment | Workspace ID | Workspace name | Token |\n|---|---|---|---|"
    problems: List[str] = []
    rows: List[Tuple[str, str, str]] = []
    stored: Dict[str, Json] = {}
    try:
        rows = [(environment, key, name) for environment in ENVIRONMENTS
                for key, name in tokens.workspaces.known(environment).items()]
    except CliError as error:
        problems.append(error.message)
    try:
        stored = load_json(tokens.file.name)
    except CliError as error:
        problems.append(error.message)
    console.secrets.update(value for value in stored.values() if isinstance(value, str))
    known = {key for _, key, _ in rows}
    rows += [("", key, "") for key in stored if key not in known]
    for row in rows:
        try:
            credential = tokens.get(row[1])
            where = credential.source if credential else "none"
        except CliError as error:
            where = error.message
        yield "| %s |" % " | ".join(one_line(cell).replace("|", "\\|") for cell in row + (where,))
    for problem in problems:
        yield "\n" + problem


def describe_cache(settings: Settings) -> Iterator[str]:
    path = os.path.dirname(settings.cache_path(""))
    yield "**Path:** `%s`\n" % path
    try:
        names = sorted(os.listdir(path))
        for name in names:
            size = os.lstat(os.path.join(path, name)).st_size
            yield "- `%s`, %s" % (name, plural(size, "byte"))
        if not names:
            yield "Empty."
    except FileNotFoundError:
        yield "Directory not found."
    except OSError as error:
        yield "Cannot be read: %s." % reason(error)


def show_help(args: Arguments, settings: Settings, console: Console) -> int:
    console.emit(COMMANDS[args.command][1])
    return EXIT_OK


COMMANDS: Dict[str, Tuple[Callable[[Arguments, Settings, Console], int], str]] = {
    "login": (cmd_login, HELP_LOGIN),
    "login poll": (cmd_login_poll, HELP_LOGIN_POLL),
    "logout": (cmd_logout, HELP_LOGOUT),
    "whoami": (cmd_whoami, HELP_WHOAMI),
    "auth": (show_help, HELP_AUTH),
    "auth token": (cmd_auth_token, HELP_AUTH_TOKEN),
    "doctor": (cmd_doctor, HELP_DOCTOR),
    "debug": (cmd_debug, HELP_DEBUG),
    "api": (cmd_api, HELP_API),
    "api ls": (cmd_api_ls, HELP_API_LS),
}

# ---- 10 Entry point -----------------------------------------------------------------------------

OPTION_LINE = re.compile(r"^  (?:(-\w), )?(--[a-z-]+)( [A-Z|]+)?(?: |$)", re.M)


def parse_options(help_text: str) -> Dict[str, Tuple[str, bool]]:
    """{option: (its long name, whether it takes a value)}, as a help text lists them."""
    return {spelling: (name, bool(value)) for short, name, value in OPTION_LINE.findall(help_text)
            for spelling in (short, name) if spelling}


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """A command line, its options and inputs in any order. Raises UsageError.

    argparse cannot have that order before 3.7, takes as long to import as all the rest, and words
    its help and errors anew with each Python; getopt takes any abbreviation for the option.
    """
    known = parse_options("".join(text for _, text in COMMANDS.values()))
    options: Dict[str, str] = {}
    given: List[str] = []  # the options as they were typed
    words: List[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if word == "-" or not word.startswith("-"):
            words.append(word)
            continue
        spelling, glued, value = (word.partition("=") if word.startswith("--")
                                  else (word[:2], word[2:], word[2:]))
        given.append(spelling)
        name, takes_value = known.get(spelling, (spelling, False))
        if takes_value and not glued:
            if not rest:
                raise UsageError("The option %s needs a value." % spelling,
                                 "`ntn --help` and `ntn COMMAND --help` list the options.")
            value = rest.pop(0)
        elif glued and not takes_value and spelling in known:
            if word.startswith("--"):
                raise UsageError("The option %s takes no value." % spelling)
            rest.insert(0, "-" + value)  # -iv is -i -v
            value = ""
        if takes_value and name in options:
            raise UsageError("The option %s is given twice." % name)
        options[name] = value
    return check_arguments(options, given, words)


def check_arguments(options: Dict[str, str], given: List[str], words: List[str]) -> Arguments:
    """Find the command, and refuse what does not belong to it."""
    if words[:1] == ["help"]:
        words, options["--help"] = words[1:], ""
    command = " ".join(words[:2])
    command = command if command in COMMANDS else words[0] if words else ""
    if words and (command not in COMMANDS or " " in words[0]):
        longer = [name for name in COMMANDS if name.endswith(" " + words[0])]
        raise UsageError("There is no command %r." % words[0], nearest(
            (longer + words)[0], COMMANDS) or "`ntn --help` lists them.")
    table = parse_options(COMMANDS[command][1] if command else HELP)
    called = ("ntn " + command).strip()
    for spelling in given:
        if spelling not in table:
            raise UsageError("`%s` has no option %s." % (called, one_line(spelling)),
                             nearest(spelling, table) or "`%s --help` lists them." % called)
    inputs = words[len(command.split()):]
    if inputs and command != "api":
        subcommands = [name.split()[-1] for name in COMMANDS if name.startswith(command + " ")]
        raise UsageError("`%s` takes no %r." % (called, inputs[0]), nearest(inputs[0], subcommands)
                         or "`%s --help` tells what it takes." % called)
    return Arguments(command, options, inputs)


def decode_arguments(argv: Iterable[str]) -> List[str]:
    """Arguments as UTF-8, whatever the locale: Python 3.6 takes them for ASCII under LC_ALL=C."""
    if os.name == "nt":
        return list(argv)
    try:
        return [os.fsencode(text).decode("utf-8", "surrogateescape") for text in argv]
    except UnicodeEncodeError:  # from Python, where a string can hold anything
        return list(argv)


def run(argv: Sequence[str], console: Console) -> int:
    args = parse_arguments(argv)
    console.verbose = "--verbose" in args.options
    if "--version" in args.options:
        console.emit("ntn %s\n" % VERSION)
    elif "--help" in args.options and not args.inputs:
        console.emit(COMMANDS[args.command][1] if args.command else HELP)
    elif not args.command:
        console.emit(BANNER)
    else:
        settings = load_settings(args.options, console.environ)
        if settings.credential is not None:
            console.secrets.add(settings.credential.token)
        return COMMANDS[args.command][0](args, settings, console)
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
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_OK
    except Exception as error:
        if console.get("NTN_DEBUG") == "1":
            import traceback
            console.say(traceback.format_exc().rstrip())
        console.say("error: Unexpected %s, which is a fault of this program.\n  hint: Run it with "
                    "NTN_DEBUG=1 to see where it happened." % type(error).__name__)
        return EXIT_LOCAL


Strings = Iterable[Tuple[str, str]]


def request(method: str, path: str, body: Json = None, query: Strings = (), headers: Strings = (),
            token: Optional[str] = None, timeout: float = 60) -> Response:
    """Call the Notion API from Python; the answer has .status, .headers, .body and .json().

    `path`: such as "v1/users/me". `body`: bytes, or anything that json can write. `query` and
    `headers`: pairs, or a dict. `token`: None means NOTION_API_TOKEN or the stored login.
    `timeout`: seconds for one try as a whole.
    Raises CliError if there is no answer, if it is a redirect, or if its status is 400 or above.
    Source: https://developers.notion.com/reference
    """
    api = _open_api(headers, token, timeout)
    try:
        method = choose_method({"--method": method})
        response = api.send(method, path, _pairs(query), _encode_body(body))
        _ = response.body
        if response.status >= (300 if response.headers.get("Location") else 400):
            raise api_error(response, api.credential)
        return response
    finally:
        api.close()


def paginate(method: str, path: str, body: Json = None, query: Strings = (), headers: Strings = (),
             token: Optional[str] = None) -> Iterator[Json]:
    """The results of all pages of a list, one by one; arguments and errors are those of `request`.

    Source: https://developers.notion.com/reference/intro#pagination
    """
    api = _open_api(headers, token, 60)
    try:
        method = choose_method({"--method": method})
        data = _encode_body(body)
        if data is not None:
            check_json(data, "the argument body")
        for results, _ in api.pages(method, path, _pairs(query), data):
            for item in results:
                try:
                    yield json.loads(encode_json(item).decode("utf-8"))
                except ValueError as error:  # an integer that is longer than Python takes
                    raise CliError("A result cannot be read: %s." % error, "", EXIT_API) from None
    finally:
        api.close()


def _pairs(given: Any) -> Pairs:
    """(name, value) of query parameters or headers, also from a dict; else UsageError."""
    found = []
    for item in given.items() if hasattr(given, "items") else given:
        if not isinstance(item, (tuple, list)) or len(item) != 2 or not isinstance(
                item[0], str) or not isinstance(item[1], (str, int, float)):
            raise UsageError("%r is no pair of a name and a text or number." % (item,))
        name, value = item
        found.append((name, str(value).lower() if isinstance(value, bool) else str(value)))
    return found


def _open_api(headers: Strings, token: Optional[str], timeout: float) -> Api:
    if not isinstance(timeout, (int, float)) or not timeout > 0:
        raise UsageError("timeout is %r: it takes seconds." % timeout)
    console = Console()
    console.stderr = None  # a library says nothing
    settings = load_settings({}, console.environ)
    if token is not None:
        settings = settings._replace(credential=Credential(token, "the argument token", None))
    inputs = RequestInputs()
    for name, value in _pairs(headers):
        inputs.add_header(name, value, mask_secret("%s:%s" % (name, value)))
    credential = None if inputs.has_token else use_credential(settings, console)
    return Api(settings, console, credential, inputs.headers, timeout)


def _encode_body(body: Json) -> Optional[bytes]:
    if body is None or isinstance(body, bytes):
        return body
    try:
        return json.dumps(body, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise CliError("The body cannot be written as JSON: %s." % error) from None


if __name__ == "__main__":
    status = main()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                pass
    os._exit(status)  # sys.exit would wait for the threads that a keychain may have left hanging
