"""Google's own paths, /v1beta, /v1 and /v1alpha, as one Lambda function, with the model lists its clients ask for and
the files of OpenAI's clients, whose /v1/files is Google's too."""

from handlers.composition import data_plane
from handlers.entry import Entry

handler = Entry(data_plane(endpoints=("native", "models", "files")))
