"""Start with ``streamlit run app.py``.

The file plays both parts: imported by the server it is the application with its own HTTP routes
for pictures; run for a browser session it is the page that the user asked for.
"""

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.commands import plugins

plugins.load()

if get_script_run_ctx(suppress_warning=True) is None:
    from starlette.middleware import Middleware

    from core.ui.frame.access import KnownHosts, announced
    from core.ui.frame.media import media_routes
    from core.ui.frame.uploads import Uploads
    from core.ui.warm import render, warm_up

    # without this, a fresh server takes the folder pages/ for an app of its own until the first
    # run of st.navigation, and a deep link would run its page without this frame
    PagesManager.uses_pages_directory = False
    app = st.App(
        "app.py",
        routes=media_routes(render),
        middleware=[Middleware(KnownHosts), Middleware(Uploads)],
        lifespan=announced,
    )
    warm_up()
else:
    from core.ui.frame.shell import run
    from core.ui.warm import FIRST

    run()
    FIRST.set()
