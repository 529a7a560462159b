"""Start with ``streamlit run app.py``.

The file plays both parts: imported by the server it is the application with its own HTTP routes
for pictures; run for a browser session it is the page that the user asked for.
"""

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.ui import warm

STARTS = get_script_run_ctx(suppress_warning=True) is None
if STARTS:
    warm.begin()

from core.commands import plugins  # noqa: E402 - nothing is imported before a start has begun

plugins.load()

if STARTS:
    from starlette.middleware import Middleware

    from core.ui.frame.access import KnownHosts
    from core.ui.frame.bundle import Bundle
    from core.ui.frame.media import media_routes
    from core.ui.frame.uploads import Uploads

    # without this, a fresh server takes the folder pages/ for an app of its own until the first
    # run of st.navigation, and a deep link would run its page without this frame
    PagesManager.uses_pages_directory = False
    app = st.App(
        "app.py",
        routes=media_routes(warm.render),
        middleware=[Middleware(KnownHosts), Middleware(Bundle), Middleware(Uploads)],
        lifespan=warm.lifespan,
    )
else:
    from core.ui.frame.shell import run

    run()
    warm.FIRST.set()
