"""The Lambda Runtime API, streamed: one asyncio loop between AWS and an ASGI application.

AWS's managed Python runtime buffers every reply. Started by the ``stream-wrapper`` script in its place, this package
polls the same Runtime API and forwards each ASGI body message the moment it is sent, so a function URL in
``RESPONSE_STREAM`` mode streams. It imports the standard library only: the day AWS streams Python natively it
can be deleted without touching anything else.
"""
