"""What the environment says. There is no default for what must be set: the application does not start without."""

import os

DATABASE_URL = os.environ["SHOP_DATABASE_URL"]
SIGNING_KEY = os.environ["SHOP_SIGNING_KEY"]
WORKER_PAUSE = float(os.environ.get("SHOP_WORKER_PAUSE", "5"))
BUILD = os.environ.get("FLOYO_VERSION", "development")
