"""Leave OpenSSL out of a process that does not speak TLS.

Theory of operation: paho imports `ssl` if it can, and works without; `hashlib` takes OpenSSL's digests
if it can, and has its own. In a process without TLS neither is used, yet the libraries cost 4.8 MB of
resident memory (CPython 3.11, x86_64), a sixth of an agent, on machines that may have 256 MB in all.
An import of a module that `sys.modules` holds as None fails as if the module were not installed, which
is what both of them are prepared for.
"""

import sys

OPENSSL_MODULES = ("ssl", "_ssl", "_hashlib")


def without_openssl() -> None:
    """From here on, imports of OpenSSL's modules fail; what was imported before stays.

    Call it before anything imports paho, and only in a process that will not connect by TLS.
    """
    for name in OPENSSL_MODULES:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # documented meaning of None there
