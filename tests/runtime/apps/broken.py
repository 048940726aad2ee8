"""A module that cannot be imported: configuration is missing."""

import logging

logging.getLogger("app").info("about to fail")
raise RuntimeError("PEPPER_SECRET_ID is not set")
