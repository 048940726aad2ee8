"""POST /v1/embeddings as one Lambda function: streamed by our loop, buffered by Mangum."""

from mangum import Mangum

from handlers.composition import data_plane

handler = Mangum(data_plane(endpoints=("embeddings",)))
