"""The scatter in a real browser, given its data by hand: what it paints, says, and answers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from core.ui.kit.component import ASSETS, SHARED
from tests.browser.conftest import FLAGS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.browser

WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
HOST = "http://scatter.test"
PAGE = """<!doctype html><link rel="stylesheet" href="scatter.css">
<style>body { margin: 0; --st-primary-color: #00f; --st-border-color: #ccc;
  --st-text-color: #000; --st-background-color: #fff }</style>
<div id="host" style="width: 1000px"></div>
<script type="module">
  import scatter from "./scatter.js";
  const host = document.getElementById("host");
  window.sent = [];
  const setTriggerValue = (name, value) => window.sent.push([name, value]);
  const column = (values) =>
    Object.assign(values, { toArray: () => values, get: (i) => values[i] });
  window.draw = ({ points, ...data }) => {
    const columns = { ...points, x: Float32Array.from(points.x), y: Float32Array.from(points.y) };
    const table = { getChild: (name) => column(columns[name]) };
    const given = { ...data, points: table };
    window.leave = scatter({ data: given, parentElement: host, setTriggerValue });
    window.view = host.querySelector(".scatter").view;
  };
</script>"""
RED, GREEN = "#ff0000", "#00a000"
HOSTILE = "<img src=x onerror=window.attacked=1>"
SETTLED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=[*FLAGS, *WEBGL])
        yield opened
        opened.close()


def answer(route: Route) -> None:
    name = route.request.url.removeprefix(f"{HOST}/")
    if name.startswith("photo/"):
        red = Image.new("RGB", (8, 8), (255, 0, 0))
        out = io.BytesIO()
        red.save(out, "PNG")
        route.fulfill(body=out.getvalue(), content_type="image/png")
    elif name in ("scatter.js", "scatter.css"):
        kind = "text/javascript" if name.endswith("js") else "text/css"
        files = [SHARED, name] if name.endswith("js") else [name]
        text = "".join((ASSETS / file).read_text(encoding="utf-8") for file in files)
        route.fulfill(body=text, content_type=kind)
    else:
        route.fulfill(body=PAGE, content_type="text/html")


@pytest.fixture(params=[1])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 1000, "height": 800}, device_scale_factor=request.param
    )
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.route(f"{HOST}/**", answer)
    opened.goto(f"{HOST}/")
    opened.wait_for_function("window.sent")
    yield opened
    assert not errors
    assert opened.evaluate("window.attacked") is None
    context.close()


def four(**more: Any) -> dict[str, Any]:
    """Four points at the corners of a square, the first two red and the others green."""
    points = {
        "x": [0, 10, 0, 10],
        "y": [0, 0, 10, 10],
        "colour": [0, 0, 1, 1],
        "chosen": more.pop("chosen", [False] * 4),
        "id": ["a", "b/#?", "c", HOSTILE],
        "name": ["cat", "cat", HOSTILE, "dog"],
        "predicted": ["", "predicted dog", "", ""],
    }
    data = {
        "points": points,
        "answered": None,
        "words": ["name", "predicted"],
        "title": "Class",
        "palette": [RED, GREEN],
        "entries": [[RED, "cat (2)"], [GREEN, HOSTILE]],
        "ticks": [],
        "axes": ["", ""],
        "label": "Four points",
        "revision": "1",
        "photo": ["/photo/", ".jpg?v=1"],
    }
    return {**data, **more}


def draw(page: Page, data: dict[str, Any]) -> None:
    page.evaluate("(data) => window.draw(data)", data)
    page.evaluate(SETTLED)


def spots(page: Page) -> list[tuple[float, float]]:
    """Where the points are in the window."""
    found = page.evaluate(
        """() => {
          const { left, top } = view.canvas.getBoundingClientRect();
          const [x, y] = view.spots();
          return [...x].map((value, i) => [value + left, y[i] + top]);
        }"""
    )
    return [(x, y) for x, y in found]


def pixel(page: Page, x: float, y: float) -> list[int]:
    scale = page.evaluate("window.devicePixelRatio")
    shot = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    found: list[int] = shot[round(y * scale), round(x * scale)].tolist()
    return found


def near(colour: list[int], wanted: str, strength: float) -> bool:
    """Whether a pixel is a colour over white."""
    parts = [int(wanted[i : i + 2], 16) for i in (1, 3, 5)]
    over = [255 + strength * (part - 255) for part in parts]
    return max(abs(a - b) for a, b in zip(colour, over, strict=True)) < 12


def drag(page: Page, line: list[tuple[float, float]], **more: Any) -> None:
    page.mouse.move(*line[0])
    page.mouse.down(**more)
    for spot in line[1:]:
        page.mouse.move(*spot, steps=3)
    page.mouse.up(**more)
    page.evaluate(SETTLED)


def around(x: float, y: float, turns: int = 1) -> list[tuple[float, float]]:
    """A line around a spot."""
    angles = np.linspace(0, 2 * np.pi * turns, 12 * turns + 1)
    return [(x + 25 * float(np.cos(a)), y + 25 * float(np.sin(a))) for a in angles]


def sent(page: Page) -> list[Any]:
    found: list[Any] = page.evaluate("window.sent.splice(0)")
    return found


def test_points_have_their_colours_and_selected_ones_stay_bright(page: Page) -> None:
    draw(page, four())
    places = spots(page)
    assert near(pixel(page, *places[0]), RED, 0.85)
    assert near(pixel(page, *places[3]), GREEN, 0.85)
    draw(page, four(chosen=[True, False, False, True]))
    assert near(pixel(page, *places[0]), RED, 1)
    assert near(pixel(page, *places[1]), RED, 0.12)
    assert near(pixel(page, *places[2]), GREEN, 0.12)
    data = four()
    data["points"]["colour"] = [1, 0, 1, 0]  # another colour is painted without a new view
    draw(page, data)
    assert near(pixel(page, *places[0]), GREEN, 0.85)
    assert page.evaluate("view.root.dataset.painted") == "4"


@pytest.mark.parametrize("page", [2], indirect=True)
def test_fine_screens_are_painted_finely(page: Page) -> None:
    draw(page, four())
    wide, high = page.evaluate("[view.canvas.width, view.canvas.height]")
    assert [wide, high] == page.evaluate("[view.plot.clientWidth * 2, view.plot.clientHeight * 2]")
    x, y = spots(page)[0]
    assert near(pixel(page, x + 2, y), RED, 0.85)
    page.evaluate("document.getElementById('host').style.width = '700px'")
    page.wait_for_function(f"view.canvas.width < {wide}")
    assert page.evaluate("view.canvas.width === 2 * view.plot.clientWidth")


def test_legend_and_axes_are_text(page: Page) -> None:
    draw(page, four(axes=["across", "up"]))
    assert page.locator(".legend .entry .name").all_inner_texts() == ["cat (2)", HOSTILE]
    numbers = page.locator(".grid text").all_text_contents()
    assert {"0", "4", "10"} <= set(numbers)
    assert page.locator(".across").inner_text() == "across"
    assert page.locator(".upward").inner_text() == "up"
    draw(page, four(palette=[RED, GREEN, "#888888"], ticks=["-1", "0", "1"]))
    assert page.locator(".grid text").count() == 0
    assert page.locator(".legend .numbers").inner_text().split() == ["-1", "0", "1"]


def test_pointing_says_what_a_point_is(page: Page) -> None:
    draw(page, four())
    places = spots(page)
    tip, photo = page.locator(".tip"), page.locator(".tip img")
    page.mouse.move(*places[1])
    photo.wait_for()
    assert tip.inner_text() == "cat, predicted dog"
    assert photo.get_attribute("src") == "/photo/b%2F%23%3F.jpg?v=1"
    page.mouse.move(*places[2])
    assert photo.is_hidden()  # not the photo of the point before
    photo.wait_for()
    assert tip.inner_text() == HOSTILE
    assert (photo.get_attribute("src") or "").startswith("/photo/c.jpg")
    page.mouse.move(places[2][0] + 100, places[2][1] + 100)
    assert tip.is_hidden()
    page.mouse.move(*places[2])
    page.mouse.move(0, 0)
    assert tip.is_hidden()


def test_a_photo_that_comes_late_is_not_shown_for_another_point(page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(f"{HOST}/photo/**", hold)
    draw(page, four())
    places = spots(page)
    page.evaluate("window.setTimeout = ((later) => (act, ms) => later(act, 5 * ms))(setTimeout)")
    page.mouse.move(*places[0])
    page.wait_for_timeout(800)
    page.mouse.move(*places[1])
    answer(held[0])  # before the second one is asked for
    page.wait_for_timeout(800)
    assert [route.request.url for route in held] == [
        f"{HOST}/photo/a.jpg?v=1",
        f"{HOST}/photo/b%2F%23%3F.jpg?v=1",
    ]
    assert page.locator(".tip").is_visible()
    assert page.locator(".tip img").is_hidden()
    answer(held[1])
    page.locator(".tip img").wait_for()


def test_a_click_and_the_key_enter_open_an_image(page: Page) -> None:
    draw(page, four())
    page.mouse.click(*spots(page)[3])
    assert sent(page) == [["picked", HOSTILE]]
    page.mouse.click(500, 300)
    page.mouse.click(*spots(page)[3], button="right")
    assert sent(page) == []
    page.locator("canvas").focus()
    for key in ("ArrowRight",) * 8 + ("ArrowUp",) * 8:
        page.keyboard.press(key)
    assert page.locator(".tip").inner_text() == "dog"  # next to the middle
    page.keyboard.press("Enter")
    assert sent(page) == [["picked", HOSTILE]]
    assert "Arrow keys" in (page.locator("canvas").get_attribute("aria-label") or "")


@pytest.mark.parametrize("turns", [1, 2])
def test_a_line_selects_what_it_goes_round(page: Page, turns: int) -> None:
    draw(page, four())
    places = spots(page)
    drag(page, around(*places[1], turns))
    ((name, value),) = sent(page)
    assert (name, value["ids"]) == ("selected", ["b/#?"])
    assert near(pixel(page, *places[0]), RED, 0.12)  # at once, before the page answers
    page.keyboard.down("Shift")
    drag(page, around(*places[2]))
    page.keyboard.up("Shift")
    assert sent(page)[0][1]["ids"] == ["b/#?", "c"]
    drag(page, around(*places[0]))
    assert sent(page)[0][1]["ids"] == ["a"]
    drag(page, around(500, 300))
    assert sent(page)[0][1]["ids"] == []
    drag(page, around(*places[0]), button="right")
    assert sent(page) == []


def test_a_box_selects_what_lies_in_it(page: Page) -> None:
    draw(page, four())
    page.get_by_role("button", name="Box").click()
    (left, top), (right, _) = spots(page)[2:]
    drag(page, [(left - 9, top - 9), (right + 9, top + 9)])
    assert sent(page)[0][1]["ids"] == ["c", HOSTILE]
    assert page.locator(".drawn polygon").count() == 0
    page.mouse.move(left - 9, top - 9)
    page.mouse.down()
    page.mouse.move(right, top + 9)
    assert page.locator(".drawn polygon").count() == 1
    page.locator("canvas").focus()
    page.keyboard.press("Escape")
    page.mouse.up()
    assert sent(page) == []


def test_a_second_finger_and_a_lost_release_leave_the_line_alone(page: Page) -> None:
    draw(page, four())
    touch = """([kind, id, x, y, buttons]) => view.canvas.dispatchEvent(new PointerEvent(kind, {
      pointerId: id, isPrimary: id === 1, clientX: x, clientY: y, button: 0, buttons,
      bubbles: true }))"""
    page.evaluate("view.canvas.setPointerCapture = () => {}")
    page.evaluate(touch, ["pointerdown", 1, 300, 300, 1])
    page.evaluate(touch, ["pointermove", 1, 320, 300, 1])
    page.evaluate(touch, ["pointerdown", 2, 600, 300, 1])
    page.evaluate(touch, ["pointermove", 2, 620, 300, 1])
    page.evaluate(touch, ["pointerup", 2, 620, 300, 0])
    assert page.evaluate("view.line.length") == 2
    assert sent(page) == []
    page.evaluate(touch, ["pointermove", 1, 340, 300, 0])  # nothing is pressed any more
    assert page.evaluate("view.line") is None


def test_the_wheel_zooms_around_the_pointer_within_bounds(page: Page) -> None:
    draw(page, four())
    x, y = spots(page)[3]
    page.mouse.move(x, y)
    for _ in range(3):
        page.mouse.wheel(0, -200)
        page.evaluate(SETTLED)
    assert spots(page)[3] == pytest.approx((x, y), abs=4)  # the wheel tells whole pixels
    assert spots(page)[0][0] < x - 1500
    page.evaluate("for (let i = 0; i < 400; i++) view.zoom(0.5, [10, 10])")
    assert page.evaluate("(view.seen.x1 - view.seen.x0) / 10") == pytest.approx(1.08e-4, rel=0.01)
    page.get_by_role("button", name="Zoom out").click()
    assert page.evaluate("(view.seen.x1 - view.seen.x0) / 10") > 1.4e-4
    page.evaluate("for (let i = 0; i < 400; i++) view.zoom(2)")
    assert page.evaluate("(view.seen.x1 - view.seen.x0) / 10") == pytest.approx(4 * 1.08, rel=0.01)


@pytest.mark.parametrize("back", ["button", "double click", "key"])
def test_the_whole_map_comes_back(page: Page, back: str) -> None:
    draw(page, four())
    before = spots(page)
    page.get_by_role("button", name="Zoom in").click()
    page.locator("canvas").focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowDown", "-", "+"):
        page.keyboard.press(key)
    moved = spots(page)
    assert moved[0][0] - before[0][0] < -20
    draw(page, four())  # the same revision: the view stays
    assert spots(page) == moved
    if back == "button":
        page.get_by_role("button", name="Whole map").click()
    elif back == "key":
        page.keyboard.press("0")
    else:
        page.mouse.dblclick(500, 300)
    assert spots(page) == before
    page.get_by_role("button", name="Zoom in").click()
    draw(page, four(revision="2"))
    assert spots(page) == before


def test_dragging_moves_the_plane_and_nothing_else_does_while_a_line_is_drawn(page: Page) -> None:
    draw(page, four())
    before = spots(page)
    page.mouse.move(400, 300)
    page.mouse.down()
    page.mouse.move(450, 330)
    page.mouse.wheel(0, 300)
    page.evaluate(SETTLED)
    page.mouse.up()
    assert spots(page) == before
    sent(page)
    page.get_by_role("button", name="Move").click()
    drag(page, [(400, 300), (450, 330)])
    assert spots(page)[0] == pytest.approx((before[0][0] + 50, before[0][1] + 30))
    assert sent(page) == []


def test_data_that_know_nothing_of_a_selection_leave_it_alone(page: Page) -> None:
    draw(page, four())
    places = spots(page)
    drag(page, around(*places[1]))
    first = sent(page)[0][1]
    draw(page, four())  # of a run that began before
    assert near(pixel(page, *places[0]), RED, 0.12)
    page.keyboard.down("Shift")
    drag(page, around(*places[2]))
    page.keyboard.up("Shift")
    second = sent(page)[0][1]
    assert second["ids"] == ["b/#?", "c"]
    draw(page, four(chosen=[False, True, False, False], answered=first["turn"]))
    assert page.evaluate("[...view.chosen]") == [0, 1, 1, 0]
    draw(page, four(chosen=[False, True, True, False], answered=second["turn"]))
    draw(page, four(answered=second["turn"]))  # cleared by the page
    assert page.evaluate("[...view.chosen]") == [0, 0, 0, 0]
    drag(page, around(*places[1]))
    draw(page, four(revision="2"))
    assert page.evaluate("[...view.chosen]") == [0, 0, 0, 0]


def test_a_lost_context_comes_back_and_is_given_back(page: Page) -> None:
    draw(page, four())
    x, y = spots(page)[0]
    page.evaluate("window.lose = view.painter.gl.getExtension('WEBGL_lose_context')")
    page.evaluate("lose.loseContext()")
    page.wait_for_function("view.painter.gl.isContextLost()")
    draw(page, four())
    page.evaluate("lose.restoreContext()")
    page.wait_for_function("!view.painter.gl.isContextLost()")
    page.evaluate(SETTLED)
    assert near(pixel(page, x, y), RED, 0.85)
    page.evaluate("window.leave()")
    page.wait_for_function("view.painter.gl.isContextLost()")
    assert page.locator(".scatter").count() == 0


def test_without_webgl_a_sentence_says_so(page: Page) -> None:
    page.evaluate("HTMLCanvasElement.prototype.getContext = () => null")
    draw(page, four())
    assert "has no WebGL" in page.locator(".hint").inner_text()
    drag(page, around(500, 300))
    assert sent(page) == []


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_points_and_points_on_one_spot(page: Page, n: int) -> None:
    data = four(chosen=[False] * n)
    data["points"] = {name: values[:n] for name, values in data["points"].items()}
    data["points"] |= {"x": [3.0] * n, "y": [3.0] * n}
    draw(page, data)
    for x, y in spots(page):
        assert (x, y) == pytest.approx(
            page.evaluate(
                "(() => { const b = view.canvas.getBoundingClientRect();"
                "return [b.left + b.width / 2, b.top + b.height / 2] })()"
            )
        )
    page.mouse.click(*(spots(page)[0] if n else (500, 300)))
    assert sent(page) == ([["picked", data["points"]["id"][-1]]] if n else [])  # the upper one
