"""A mail server of aiosmtpd that encrypts and asks who one is, and prints what it takes.

smtpd.py PORT starttls|tls CERTIFICATE KEY, until standard input ends.
"""
import email
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword


class Print:
    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content)
        print(session.auth_data, message["Message-ID"], ",".join(envelope.rcpt_tos), flush=True)
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    if isinstance(data, LoginPassword) and (data.login, data.password) == (b"watch", b"four words"):
        return AuthResult(success=True, auth_data=data.login.decode())
    return AuthResult(success=False, handled=False)


port, mode, certificate, key = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)
# With auth_require_tls it means STARTTLS alone.
options = {"ssl_context": context, "auth_require_tls": False} if mode == "tls" else {"tls_context": context, "require_starttls": True}
controller = Controller(Print(), hostname="127.0.0.1", port=int(port), authenticator=authenticate, auth_required=True, **options)
controller.start()
sys.stdin.read()
controller.stop()
