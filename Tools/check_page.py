"""Opens a page in headless Chromium and fails if it logs anything or asks for any other file or host.

    python3 Tools/check_page.py sweeps/mine/report.html [--screenshots DIR]

Needs `chromium` on the path (Debian: `apt-get install chromium`). Screenshots are 1440 and 400 pixels wide.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile


def chromium(*arguments):
    return subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *arguments],
        capture_output=True, text=True, timeout=120)


def forbidding(html):
    """The page with a policy under which the browser logs whatever is fetched from elsewhere, files included."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return re.sub(r"<head>|<html[^>]*>", lambda found: found[0] + (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'), html, count=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("--screenshots", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder, "page.html")
        copy.write_text(forbidding(arguments.page.read_text()))
        run = chromium("--enable-logging=stderr", "--virtual-time-budget=4000", "--dump-dom", copy.as_uri())
    messages = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    for width in (1440, 400) if arguments.screenshots else ():
        arguments.screenshots.mkdir(parents=True, exist_ok=True)
        shot = arguments.screenshots / f"{arguments.page.stem}-{width}.png"
        chromium(f"--window-size={width},9000", f"--screenshot={shot}", arguments.page.resolve().as_uri())
        print(shot)
    if "</html>" not in run.stdout:
        sys.exit(f"{arguments.page}: did not load")
    print("\n".join(messages), file=sys.stderr)
    print(f"{arguments.page}: {len(messages)} messages")
    sys.exit(1 if messages else 0)


if __name__ == "__main__":
    main()
