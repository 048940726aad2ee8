"""Every path of both planes in one function, for small deployments."""

from mangum import Mangum

from handlers.composition import both_planes

handler = Mangum(both_planes())
