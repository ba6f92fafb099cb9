"""Where jobd's files are, unless somebody says otherwise.

Paths are text, and neither pathlib nor typing is imported: `jobctl submit` pays for each
import with every job.  Nothing here creates, opens or follows anything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


class Places:
    """The defaults of one installation.  All absolute."""

    __slots__ = ("config", "log_dir", "socket", "state_dir")

    def __init__(self, *, socket: str, state_dir: str, log_dir: str, config: str) -> None:
        self.socket = socket
        self.state_dir = state_dir
        self.log_dir = log_dir
        self.config = config


def user_places(environ: Mapping[str, str] = os.environ) -> Places:
    """Those of the user that this process runs as."""
    return _windows_places(environ) if os.name == "nt" else _xdg_places(environ)


def system_places(environ: Mapping[str, str] = os.environ) -> Places:
    """Those of the machine: what a daemon uses whose config is the system's."""
    if os.name == "nt":
        return _windows_places(environ)
    return Places(
        socket="/run/jobd/jobd.sock",
        state_dir="/var/lib/jobd",
        log_dir="/var/log/jobd",
        config="/etc/jobd/jobd.toml",
    )


def find_socket(explicit: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """The daemon's socket, for a client: as told, $JOBD_SOCKET, the user's, the system's.

    The system's only where the user's does not exist, and not where neither does: the user's
    is then the one that a newcomer's `jobd run` would make.
    """
    told = explicit or environ.get("JOBD_SOCKET")
    if told:
        return told
    user, system = user_places(environ).socket, system_places(environ).socket
    return system if not os.path.exists(user) and os.path.exists(system) else user


def find_config(explicit: str | None = None, environ: Mapping[str, str] = os.environ) -> str | None:
    """The config: as told, $JOBD_CONFIG, the user's, the system's; None where there is none.

    A path that was told is returned whether or not it exists.  The current directory is
    never looked at: whoever can write there would else decide what may run.
    """
    told = explicit or environ.get("JOBD_CONFIG")
    if told:
        return told
    candidates = (user_places(environ).config, system_places(environ).config)
    return next((path for path in candidates if os.path.exists(path)), None)


def _xdg_places(environ: Mapping[str, str]) -> Places:
    state_home = _xdg(environ, "XDG_STATE_HOME", ".local/state")
    config_home = _xdg(environ, "XDG_CONFIG_HOME", ".config")
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    socket_home = runtime if os.path.isabs(runtime) else state_home
    return Places(
        socket=f"{socket_home}/jobd/jobd.sock",
        state_dir=f"{state_home}/jobd",
        log_dir=f"{state_home}/jobd",
        config=f"{config_home}/jobd/jobd.toml",
    )


def _xdg(environ: Mapping[str, str], name: str, below_home: str) -> str:
    """A base directory; a relative one is to be ignored (XDG Base Directory Specification)."""
    told = environ.get(name, "")
    if os.path.isabs(told):
        return told.rstrip("/") or "/"
    home = environ.get("HOME") or os.path.expanduser("~")
    return os.path.join(home, below_home)


def _windows_places(environ: Mapping[str, str]) -> Places:
    home = environ.get("LOCALAPPDATA") or os.path.expanduser(r"~\AppData\Local")
    return Places(
        socket=rf"\\.\pipe\jobd-{_windows_sid()}",
        state_dir=rf"{home}\jobd",
        log_dir=rf"{home}\jobd",
        config=rf"{home}\jobd\jobd.toml",
    )


if sys.platform == "win32":

    def _windows_sid() -> str:
        """The security identifier of this process's user, as text (`S-1-5-21-…`)."""
        import ctypes
        from ctypes import wintypes

        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
        kernel32.GetCurrentProcess.restype = wintypes.HANDLE
        token, size, text = wintypes.HANDLE(), wintypes.DWORD(), wintypes.LPWSTR()
        query, user = 8, 1  # TOKEN_QUERY, TokenUser
        process = wintypes.HANDLE(kernel32.GetCurrentProcess())
        if not advapi32.OpenProcessToken(process, query, ctypes.byref(token)):
            raise ctypes.WinError(ctypes.get_last_error())
        try:
            advapi32.GetTokenInformation(token, user, None, 0, ctypes.byref(size))
            buffer = ctypes.create_string_buffer(size.value)
            if not advapi32.GetTokenInformation(token, user, buffer, size, ctypes.byref(size)):
                raise ctypes.WinError(ctypes.get_last_error())
            # A TOKEN_USER begins with the pointer to its SID.
            sid = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_void_p)).contents
            if not advapi32.ConvertSidToStringSidW(sid, ctypes.byref(text)):
                raise ctypes.WinError(ctypes.get_last_error())
        finally:
            kernel32.CloseHandle(token)
        try:
            return str(text.value)
        finally:
            kernel32.LocalFree(text)

else:

    def _windows_sid() -> str:
        raise OSError("only Windows has security identifiers")
