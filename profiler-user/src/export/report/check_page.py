"""Opens reports in headless Chromium: no complaint in the console, every picture drawn, a click opens the detail."""

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


def scheme(name):
    features = [{"name": "prefers-color-scheme", "value": name}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


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
    for width in [1240, 420]:
        browser.set_window_size(width, 1000)
        wide = browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name}: {wide} px too wide at {width}"
    browser.set_window_size(1240, 1000)
    said = [line for line in browser.get_log("browser") if line["level"] != "DEBUG"]
    assert not said, f"{name}: {said}"


try:
    pages = sorted(folder.glob("*.html"))
    for page in pages:
        check(page)
    print(f"{len(pages)} pages: every picture is there, and nobody complains")
finally:
    browser.quit()
