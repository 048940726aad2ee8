"""Keys, usage, the console and the API's page as one Lambda function."""

from mangum import Mangum

from handlers.control_composition import control_plane

handler = Mangum(control_plane())
