"""The report as PDF, from the very HTML: by WeasyPrint, else by a Chromium of the system."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from core.errors import InputError, SpurioscopeError
from core.storage.disk import disk_errors

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 180
MISSING = (
    "a PDF needs WeasyPrint (pip install weasyprint; it uses the system's Pango: Debian's "
    "libpango-1.0-0 and libpangoft2-1.0-0) or Chromium; the HTML file can be printed by any browser"
)


def to_pdf(html: str) -> tuple[bytes, str]:
    """The PDF, and what wrote it.

    WeasyPrint gives the same bytes for the same HTML and a document with headings and alternative
    texts that screen readers follow (PDF/UA-1); Chromium stamps the time.

    Raises
    ------
    InputError
        If neither is there; the message says what to install.
    SpurioscopeError
        If Chromium fails.
    """
    try:
        return _by_weasyprint(html)
    except (ImportError, OSError):  # OSError: the library is there, Pango is not
        return _by_chromium(html)


def _by_weasyprint(html: str) -> tuple[bytes, str]:
    import weasyprint
    from weasyprint.urls import URLFetcher

    nothing_outside = URLFetcher(allowed_protocols={"data"})
    document = weasyprint.HTML(string=html, url_fetcher=nothing_outside)
    return document.write_pdf(pdf_variant="pdf/ua-1"), f"WeasyPrint {weasyprint.__version__}"


def _by_chromium(html: str) -> tuple[bytes, str]:
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise InputError(MISSING)
    place = Path(tempfile.gettempdir())
    with disk_errors(place, "set TMPDIR"), tempfile.TemporaryDirectory() as folder:
        page, out = Path(folder) / "report.html", Path(folder) / "report.pdf"
        page.write_text(html, encoding="utf-8")
        command = [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--disable-background-networking", f"--user-data-dir={folder}/profile"),
            *("--no-pdf-header-footer", f"--print-to-pdf={out}", page.as_uri()),
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SpurioscopeError(f"{browser} did not print the report: {error}") from error
        if not out.exists():
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise SpurioscopeError(f"{browser} did not print the report: {said[-1]}")
        return out.read_bytes(), Path(browser).name
