"""Seals on drafts: they show that the code was typed, or agreed to, on this machine.

A draft is code that runs when its exercise begins. A draft from elsewhere (imported, or in another
database) has no seal of this machine and must not run unasked. A seal is an HMAC of the draft under
a key in the platform's data folder, outside of the progress file, which may come from anywhere.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec
import platformdirs

from tutor.progress.records import APP, DraftRecord

KEY_BYTES = 32


def key_file() -> Path:
    """The file of this machine's key, in the platform's data folder."""
    return platformdirs.user_data_path(APP) / "draft-key"


class Seals:
    """Makes and checks the seals of one machine. Never raises.

    If the key can't be written, it lasts until the tutor ends; later, the learner is asked about
    drafts of this time.
    """

    def __init__(self, file: Path | None = None) -> None:
        """`file`: the key file; None: the one of this machine."""
        self._file = file or key_file()
        self._key = self._read() or self._make()

    def sealed(self, draft: DraftRecord) -> DraftRecord:
        """The draft with this machine's seal."""
        return msgspec.structs.replace(draft, seal=self._seal(draft))

    def holds(self, draft: DraftRecord) -> bool:
        """Whether the draft has a seal of this machine, for exactly this code and exercise."""
        return hmac.compare_digest(draft.seal.encode(errors="replace"), self._seal(draft).encode())

    def _seal(self, draft: DraftRecord) -> str:
        # Lone surrogates are replaced as in the database.
        parts = [
            text.encode(errors="replace") for text in (draft.lesson, draft.exercise, draft.code)
        ]
        return hmac.new(self._key, msgspec.msgpack.encode(parts), hashlib.sha256).hexdigest()

    def _read(self) -> bytes:
        """The key; empty if there is no valid one."""
        with suppress(OSError):
            if self._file.is_file():
                key = self._file.read_bytes()
                return key if len(key) == KEY_BYTES else b""
        return b""

    def _make(self) -> bytes:
        """A new key, written in one step; two tutors that make one at once get the same."""
        key, beside = secrets.token_bytes(KEY_BYTES), ""
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(prefix=".draft-key-", dir=self._file.parent)
            with open(handle, "wb") as file:
                file.write(key)
            try:
                os.link(beside, self._file)
            except FileExistsError:
                theirs = self._read()
                if theirs:
                    key = theirs
                else:  # the file holds no valid key
                    os.replace(beside, self._file)
            except OSError:  # a file system without links
                os.replace(beside, self._file)
        with suppress(OSError):
            os.unlink(beside)
        return key
