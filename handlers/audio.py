"""POST /v1/audio/* as one Lambda function: streamed by our loop, buffered by Mangum."""

from mangum import Mangum

from handlers.composition import data_plane

handler = Mangum(data_plane(endpoints=("audio",)))
