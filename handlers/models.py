"""GET /v1/models and /v1/models/{id} as one Lambda function."""

from handlers.composition import data_plane
from handlers.entry import Entry

handler = Entry(data_plane(endpoints=("models",)))
