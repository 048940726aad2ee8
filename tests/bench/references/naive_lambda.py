"""Reference L: reference N as a Lambda function under the stock loop, awslambdaric and Mangum. It never streams."""

from mangum import Mangum

from tests.bench.references.naive import app

handler = Mangum(app, lifespan="off")
