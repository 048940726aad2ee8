"""/v1/responses and /v1/conversations as one Lambda function, which also runs its own background work."""

from mangum import Mangum

from handlers.composition import data_plane

handler = Mangum(data_plane(endpoints=("responses",)))
