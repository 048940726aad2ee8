"""POST /v1/embeddings as one Lambda function: streamed by our loop, buffered by Mangum."""

from handlers.composition import data_plane
from handlers.entry import Entry

handler = Entry(data_plane(endpoints=("embeddings",)))
