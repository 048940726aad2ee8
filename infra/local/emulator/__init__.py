"""A faithful emulator of the Gemini API: what the gateway talks to when there is no key, and in the contract tests.

It shares no code with the gateway: it is the judge of what the gateway sends. How to script it: README.md here.
"""

from infra.local.emulator.app import create_app
from infra.local.emulator.server import EmulatorServer

__all__ = ["EmulatorServer", "create_app"]
