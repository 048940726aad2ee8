"""POST /v1/messages and /v1/messages/count_tokens as one Lambda function, with the probes of Anthropic's clients."""

from mangum import Mangum

from handlers.composition import data_plane

handler = Mangum(data_plane(endpoints=("messages",)))
