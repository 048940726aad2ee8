"""POST /v1/messages and /v1/messages/count_tokens as one Lambda function, with the probes of Anthropic's clients."""

from handlers.composition import data_plane
from handlers.entry import Entry

handler = Entry(data_plane(endpoints=("messages",)))
