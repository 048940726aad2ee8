"""Every path of the data plane in one function, for small deployments."""

from mangum import Mangum

from handlers.composition import data_plane

handler = Mangum(data_plane())
