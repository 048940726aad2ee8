"""Google's own paths, /v1beta, /v1 and /v1alpha, as one Lambda function, with the model lists its clients ask for and
the files of OpenAI's clients, whose /v1/files is Google's too."""

from mangum import Mangum

from handlers.composition import data_plane

handler = Mangum(data_plane(endpoints=("native", "models", "files")))
