"""GET /v1/models and /v1/models/{id} as one Lambda function."""

from mangum import Mangum

from handlers.composition import data_plane

handler = Mangum(data_plane(endpoints=("models",)))
