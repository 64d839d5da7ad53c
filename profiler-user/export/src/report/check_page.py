"""Opens reports in headless Chromium: no complaint in the console, every picture drawn, a click opens the detail; on wide
and narrow pages nothing is cut, and no arrow of the map runs through a label or a box that is not its own."""

import sys
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

folder = Path(sys.argv[1])
pictures = Path(sys.argv[2]) if len(sys.argv) > 2 else None

options = webdriver.ChromeOptions()
options.binary_location = "/usr/bin/chromium"
for flag in ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1240,1000", "--hide-scrollbars"]:
    options.add_argument(flag)
options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
browser = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))


def resize(width):
    """To this width exactly, which a window of the system might not allow; the pictures are drawn anew."""
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.refresh()


def scheme(name):
    features = [{"name": "prefers-color-scheme", "value": name}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


# Wires that come closer than this to the middle of what they must pass by run through it.
CROSSED = """
const out = [];
const shrunk = (element) => {
  const box = element.getBoundingClientRect();
  return {left: box.left + 2, right: box.right - 2, top: box.top + 2, bottom: box.bottom - 2, element};
};
const tags = [...document.querySelectorAll("#map .tag")].map(shrunk);
const nodes = [...document.querySelectorAll("#map .node")].map((node) => ({...shrunk(node.querySelector(".box")), element: node}));
for (const wire of document.querySelectorAll("#map .wire")) {
  const {link, from, to} = wire.dataset, matrix = wire.getScreenCTM(), length = wire.getTotalLength();
  const others = [...tags.filter((t) => t.element.dataset.link !== link), ...nodes.filter((n) => ![from, to].includes(n.element.dataset.node))];
  for (let at = 0; at < length; at += 3) {
    const {x, y} = wire.getPointAtLength(at).matrixTransform(matrix);
    const hit = others.find((o) => x > o.left && x < o.right && y > o.top && y < o.bottom);
    if (hit) { out.push(`${link} through ${hit.element.textContent}`); break; }
  }
}
return out;
"""
# What does not scroll by itself has to be inside the page, and text inside its own cell.
CUT = """
const out = [], wide = document.documentElement.clientWidth;
for (const element of document.querySelectorAll("main *")) {
  if (element.closest("svg") && element.tagName !== "text") continue;
  if (element.closest(".scroll, .table") !== null && !element.matches(".scroll, .table")) continue;
  const box = element.getBoundingClientRect();
  if (box.width && (box.left < -1 || box.right > wide + 1)) out.push(`${element.tagName} ${element.textContent.slice(0, 40)}`);
}
for (const cell of document.querySelectorAll(".bars .label, .bars .time, .bars .note, td.wrap")) {
  if (cell.clientWidth && cell.scrollWidth > cell.clientWidth + 1) out.push(`cell ${cell.textContent}`);
}
return out;
"""
# Tables that have to fit a page of this width without scrolling.
TOO_WIDE = """
return [...document.querySelectorAll("#components .table, #edges .table, #machine .table")]
  .map((table) => table.scrollWidth - table.clientWidth).filter((more) => more > 1);
"""


def check(path):
    browser.get(path.as_uri())
    name = path.stem
    for chart in browser.find_elements(By.CSS_SELECTOR, "main .chart"):
        drawn = chart.find_elements(By.CSS_SELECTOR, "svg")
        kind = chart.get_attribute("data-chart")
        assert drawn, f"{name}: {kind} is not drawn"
        size = max(drawn, key=lambda svg: svg.size["height"]).size
        assert size["width"] > 100 and size["height"] > 20, f"{name}: {kind} has size {size}"
    nodes = browser.find_elements(By.CSS_SELECTOR, "#map .node[data-detail]")
    rows = browser.find_elements(By.CSS_SELECTOR, "tr[data-detail]")
    if rows:
        assert nodes, f"{name}: no component on the map"
        for asked in [nodes[0], rows[-1]]:
            number = asked.get_attribute("data-detail")
            dialog = browser.find_element(By.ID, f"detail-{number}")
            assert not dialog.is_displayed(), f"{name}: a detail is open before anyone asked"
            browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", asked)
            asked.click()
            assert dialog.is_displayed(), f"{name}: a click does not open the detail"
            for chart in dialog.find_elements(By.CSS_SELECTOR, ".chart"):
                assert chart.find_elements(By.CSS_SELECTOR, "svg"), f"{name}: no picture in the detail"
            browser.switch_to.active_element.send_keys(Keys.ESCAPE)
            assert not dialog.is_displayed(), f"{name}: Escape does not close the detail"
    for width in [1440, 1000, 500, 420]:
        resize(width)
        wide = browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name}: {wide} px too wide at {width}"
        for what, script in [("cut", CUT), ("crossed", CROSSED), ("wider than its place", TOO_WIDE)]:
            if width < 500 and script is TOO_WIDE:
                continue
            found = browser.execute_script(script)
            assert not found, f"{name}: {what} at {width} px: {found[:6]}"
    resize(1240)
    said = [line for line in browser.get_log("browser") if line["level"] != "DEBUG"]
    assert not said, f"{name}: {said}"


try:
    pages = sorted(folder.glob("*.html"))
    for page in pages:
        check(page)
    print(f"{len(pages)} pages: every picture is there, and nobody complains")
finally:
    browser.quit()
