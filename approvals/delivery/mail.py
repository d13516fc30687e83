"""Send mail within time limits, on threads of its own.

EMAIL_TIMEOUT limits each wait for the mail server, LONGEST the whole attempt. A server that accepts a message
but answers too late gets it again, under the same Message-ID.
"""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from urllib.parse import urlsplit
from uuid import UUID

from django.core.mail import EmailMessage

from approvals.conf import own_url
from approvals.delivery.mail_connections import MailConnections
from approvals.waiting.outages import describe
from approvals.writer.outboxes import Answer

# Seconds; shorter than a claim.
LONGEST = 45.0
# How long a connection stays open for another message.
KEPT_OPEN = 2.0
TOO_SLOW = "The mail server did not answer in time."

NOT_SET_UP = Answer(error="SAYSO_URL is not set: no link can be made for the message.")


class NoPoint(Exception):
    """Nothing is to be sent any more; its text says why."""


def send(message: EmailMessage) -> None:
    """Send the message within LONGEST seconds.

    Raises TimeoutError, OSError or smtplib.SMTPException. After a TimeoutError the server may have accepted
    it.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="sayso-mail")
    sending = thread.submit(message.send)
    thread.shutdown(wait=False)
    if not wait([sending], LONGEST).done:
        raise TimeoutError(TOO_SLOW)
    sending.result()


class MailSender:
    """Sends for one carrier, so many messages at once; a mail server that hangs blocks nothing else.

    Connections stay open as long as there is something to send, and a moment longer.
    """

    def __init__(self, at_once: int) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="sayso-mail")
        self._connections = MailConnections()
        self._under_way = 0
        self._later: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, make: Callable[[], EmailMessage]) -> Answer:
        """Make the message when its turn has come, and send it; moot if `make` raises NoPoint.

        Never raises for what the mail server does.
        """
        loop = asyncio.get_running_loop()
        self._under_way += 1
        try:
            async with asyncio.timeout(LONGEST):
                await loop.run_in_executor(self._threads, self._connections.send, make)
        except TimeoutError:
            return Answer(error=TOO_SLOW)
        except NoPoint as reason:
            return Answer(error=str(reason), moot=True)
        except (smtplib.SMTPException, OSError) as error:
            return _refusal(error)
        finally:
            self._under_way -= 1
            self._end_later(loop)
        return Answer()

    def close(self) -> None:
        self._closed = True
        if self._later is not None:
            self._later.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._connections.close()

    def _end_later(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._later is not None:
            self._later.cancel()
        self._later = loop.call_later(KEPT_OPEN, self._end_idle, loop)

    def _end_idle(self, loop: asyncio.AbstractEventLoop) -> None:
        self._later = None
        if not self._under_way and not self._closed:
            loop.run_in_executor(self._threads, self._connections.end_idle)


def message_id(number: UUID) -> str:
    """Return the Message-ID of a row of an outbox, the same at each attempt."""
    return f"<{number}@{urlsplit(own_url()).hostname}>"


def _refusal(error: Exception) -> Answer:
    """Record the server's code without its text, which names the address: the row outlives the account."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        final = all(code >= 500 for code in codes)
        return Answer(status_code=codes[0], error=f"The address was refused with {codes[0]}.", final=final)
    if isinstance(error, smtplib.SMTPResponseException):
        code = error.smtp_code
        # Final only if the message itself is refused: a wrong log-in or sender can be mended.
        final = isinstance(error, smtplib.SMTPDataError) and code >= 500
        return Answer(status_code=code, error=f"The mail server answered {code}.", final=final)
    return Answer(error=describe(error))
