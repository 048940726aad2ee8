"""Every path of both planes in one function, for small deployments."""

from handlers.composition import both_planes
from handlers.entry import Entry

handler = Entry(both_planes())
