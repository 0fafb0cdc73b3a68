"""One viewer's screen: the app of `rackberry top`, run by the server with a browser as its terminal.

Theory of operation: Textual's web driver writes what it would write to a terminal as packets on standard
output and reads keys from standard input. The app adds a beat, twice a second, from the loop that paints: when
it stops, the screen stands still, whatever the process looks like from outside. The kernel ends this process with
its server, however that ends.
"""

import ctypes
import os
import signal
import sys

import msgspec

from rackberry.config import BrokerSettings

BEAT_S = 0.5
SETTINGS_VARIABLE = "RACKBERRY_VIEWER"
READ_ONLY = "this page is read-only: the address with the token, of rackberry web --act, may ask"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class ViewerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a viewer's process is told."""

    broker: BrokerSettings
    acts: bool = False
    ascii: bool = False
    theme: str = "dark"
    server_pid: int = 0


def end_with_server(server_pid: int) -> None:
    """Ask the kernel to end this process when its server does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server_pid:  # it ended before we asked
        sys.exit(0)


def main() -> None:
    """Show the rack to one viewer."""
    settings = msgspec.json.decode(os.environ.pop(SETTINGS_VARIABLE), type=ViewerSettings)
    end_with_server(settings.server_pid)
    from rackberry_tui.start import before_imports, settle

    before_imports(tls=bool(settings.broker.ca_file))
    from textual.drivers.web_driver import WebDriver

    from rackberry_tui.app import RackApp
    from rackberry_tui.source import LiveSource

    class Viewer(RackApp):
        """The screen, with a beat."""

        def on_mount(self) -> None:
            """Begin to beat with the first picture."""
            self.beat()
            self.set_interval(BEAT_S, self.beat)

        def beat(self) -> None:
            """Tell the server that the loop runs that paints."""
            driver = self._driver
            if isinstance(driver, WebDriver):
                driver.write_meta({"type": "beat"})

    app = Viewer(LiveSource(settings.broker), ascii_only=settings.ascii, theme=settings.theme)
    app.read_only = "" if settings.acts else READ_ONLY
    app.settle = settle
    app.run()


if __name__ == "__main__":
    main()
