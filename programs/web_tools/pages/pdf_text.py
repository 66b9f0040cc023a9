"""Text of a PDF, read by a process of its own: a hostile file costs that process its time and memory, and no more.

Run as a script it is that process: PDF on standard input, JSON on standard output.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

if __name__ != "__main__":  # the process has no path to our packages, and needs none
    from programs.web_tools.errors import WebError
    from tfgrpo_dspy import MissingExtraError

__all__ = ["pdf_text"]

_SECONDS = 15
_MEMORY = 1 << 30  # bytes of address space
_MOST_PAGES = 200
_MOST_CHARACTERS = 1_000_000


def pdf_text(body: bytes) -> tuple[str, str, str]:
    """Title, text and a note of what is missing.

    Raises:
        WebError: It is broken, encrypted, too expensive, or holds no text.
        MissingExtraError: pypdf is not installed.
    """
    if find_spec("pypdf") is None:
        raise MissingExtraError("reading PDF needs pypdf: pip install 'tfgrpo-dspy[web]'")
    try:
        done = subprocess.run(
            [sys.executable, "-I", __file__], input=body, capture_output=True, timeout=_SECONDS, check=False, env={}
        )
        told = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise WebError("the PDF is broken or too expensive to read; open another page") from error
    if "error" in told:
        raise WebError(f"the PDF cannot be read ({told['error']}); open another page")
    if not told["text"].strip():
        raise WebError("the PDF holds no text, perhaps scanned pages; open another page")
    return told["title"], told["text"], told["note"]


def _limit_this_process() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _read(body: bytes) -> dict[str, str]:
    import io
    import logging

    logging.disable(logging.CRITICAL)
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(body))
    if reader.is_encrypted and not reader.decrypt(""):
        return {"error": "it is encrypted"}
    texts: list[str] = []
    pages = len(reader.pages)
    for number in range(min(pages, _MOST_PAGES)):
        if sum(map(len, texts)) > _MOST_CHARACTERS:
            break
        texts.append(reader.pages[number].extract_text() or "")
    title = str(reader.metadata.title or "") if reader.metadata else ""
    note = f"Only {len(texts)} of {pages} PDF pages were read." if len(texts) < pages else ""
    return {"title": title[:1000], "text": "\n\n".join(texts)[:_MOST_CHARACTERS], "note": note}


def _main() -> None:
    _limit_this_process()
    try:
        told = _read(sys.stdin.buffer.read())
    except MemoryError:
        told = {"error": "it needs too much memory"}
    except Exception as error:  # noqa: BLE001 - pypdf raises anything on a broken file, and this process is its boundary
        told = {"error": type(error).__name__}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    _main()
