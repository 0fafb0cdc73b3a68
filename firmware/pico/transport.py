"""The socket to the broker, which never makes the node wait.

Theory of operation: shell. Connecting, sending and receiving all return at once; the loop comes back.
Two things may take longer, and only while the broker is away anyway: asking for the address of a broker
that is given by name, and the TLS handshake. Nothing here decides when to connect or what to say.
"""

import errno
import select
import socket

RECEIVE_BYTES = 512
TCP_NODELAY = 1
IPPROTO_TCP = 6
BUSY = (errno.EAGAIN, errno.EINPROGRESS)


class Transport:
    """One connection after another. `poller` is the loop's own."""

    def __init__(self, settings, poller):
        self._settings = settings
        self._poller = poller
        self._address = None
        self._sock = None
        self._raw = None
        self._buffer = bytearray(RECEIVE_BYTES)  # made once: see `mqtt`
        self._view = memoryview(self._buffer)
        self.connected = False

    @property
    def open(self):
        """True between `connect` and `close`."""
        return self._sock is not None

    def connect(self):
        """Begin to connect; `ready` tells when it is done.

        Raises:
            OSError: when it cannot even begin.
        """
        if self._address is None:
            host, port = self._settings["broker_host"], self._settings["broker_port"]
            self._address = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0][-1]
        sock = socket.socket()
        try:
            sock.setblocking(False)
            try:
                # Without it, Nagle and delayed acknowledgements hold small packets for 40 ms.
                sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            except OSError:
                pass  # a build whose network stack has no such option sends at once anyway
            try:
                sock.connect(self._address)
            except OSError as error:
                if error.args[0] not in BUSY:
                    raise
        except OSError:
            sock.close()
            raise
        self._raw = self._sock = sock
        self._poller.register(sock, select.POLLOUT)

    def ready(self):
        """True once the connection stands.

        Raises:
            OSError: nobody answers, or TLS failed.
        """
        if self.connected:
            return True
        for _, flags in self._raw_events():
            if flags & (select.POLLERR | select.POLLHUP):
                raise OSError(errno.ECONNREFUSED)
            if flags & select.POLLOUT:
                self._poller.unregister(self._raw)
                if self._settings["ca_file"]:
                    self._wrap(self._raw)
                self._poller.register(self._sock, select.POLLIN)
                self.connected = True
                return True
        return False

    def _raw_events(self):
        probe = select.poll()
        probe.register(self._raw, select.POLLOUT)
        return probe.poll(0)

    def _wrap(self, raw):
        import ssl

        settings = self._settings
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=_read(settings["ca_file"]))
        if settings["certificate_file"]:
            context.load_cert_chain(
                _read(settings["certificate_file"]), _read(settings["key_file"])
            )
        self._sock = context.wrap_socket(
            raw, server_hostname=settings["broker_host"], do_handshake_on_connect=False
        )

    def wait_to_send(self, wanted):
        """Whether the loop shall wake when the socket takes more."""
        flags = select.POLLIN | (select.POLLOUT if wanted else 0)
        self._poller.modify(self._sock, flags)

    def receive(self):
        """A view of what has come, good until the next call; None when there is nothing just now.

        Raises:
            OSError: the connection broke, or the broker closed it.
        """
        try:
            count = self._sock.readinto(self._buffer)
        except OSError as error:
            if error.args[0] in BUSY:
                return None
            raise
        if count is None:
            return None
        if not count:
            raise OSError(errno.ECONNRESET)
        return self._view[:count]

    def send(self, data):
        """How many bytes of `data` were taken.

        Raises:
            OSError: the connection broke.
        """
        try:
            return self._sock.write(data) or 0
        except OSError as error:
            if error.args[0] in BUSY:
                return 0
            raise

    def close(self):
        """Close at once; the address of a broker that was not reached is asked for again."""
        if self._sock is None:
            return
        if not self.connected:
            self._address = None
        for sock in (self._sock, self._raw):
            try:
                self._poller.unregister(sock)
            except (OSError, KeyError):
                pass  # it was registered in one of the two forms only
        self._sock.close()
        if self._raw is not self._sock:
            self._raw.close()
        self._sock = self._raw = None
        self.connected = False


def _read(path):
    with open(path, "rb") as file:
        return file.read()
