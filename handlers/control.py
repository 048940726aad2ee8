"""Keys, usage, the console and the API's page as one Lambda function."""

from handlers.control_composition import control_plane
from handlers.entry import Entry

handler = Entry(control_plane())
