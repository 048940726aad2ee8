"""/v1/responses and /v1/conversations as one Lambda function, which also runs its own background work."""

from handlers.composition import data_plane
from handlers.entry import Entry

handler = Entry(data_plane(endpoints=("responses",)))
