"""A real S3 server on this machine, with one bucket."""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def bucket() -> Iterator[str]:
    """Lend the URL of an empty bucket; this process and those that it starts find the server by their environment."""
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    ours = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "kdelta",
        "AWS_SECRET_ACCESS_KEY": "kdelta",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ |= ours
    try:
        S3FileSystem.clear_instance_cache()  # which remembers where an earlier server was
        name = f"kernels-{port}"  # all servers of a process hold the same
        S3FileSystem(skip_instance_cache=True).mkdir(name)
        yield f"s3://{name}/kdelta"
    finally:
        server.stop()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
