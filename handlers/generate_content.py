"""Google's own paths, /v1beta, /v1 and /v1alpha, as one Lambda function, with the model lists its clients ask for."""

from mangum import Mangum

from handlers.composition import data_plane

handler = Mangum(data_plane(endpoints=("native", "models")))
