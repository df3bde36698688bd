"""Against a server of our own on the loopback; moto is safe for races only with one thread."""

import subprocess
import sys
import threading
import urllib.request

import numpy as np
import pytest

pytest.importorskip("obstore")
pytest.importorskip("moto")

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from tomopt_tasks.core import UserError
from tomopt_tasks.store import ArraySpec, KeyCollision, StoreUnavailable, open_store


class Quiet(WSGIRequestHandler):
    def log(self, *args, **kwargs):
        pass


class Faulty:
    """A server that can forget conditions or refuse writes."""

    def __init__(self):
        self.app = DomainDispatcherApplication(create_backend_app)
        self.ignore_conditions = False
        self.refuse_puts = False
        self.requests = []

    def __call__(self, environ, start_response):
        self.requests.append(environ["REQUEST_METHOD"])
        if self.ignore_conditions:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if self.refuse_puts and environ["REQUEST_METHOD"] == "PUT":
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code></Error>"]
        return self.app(environ, start_response)


@pytest.fixture(scope="module")
def server():
    faulty = Faulty()
    service = make_server("127.0.0.1", 0, faulty, threaded=False, request_handler=Quiet)
    thread = threading.Thread(target=service.serve_forever, daemon=True)
    thread.start()
    faulty.url = f"http://127.0.0.1:{service.server_port}"
    urllib.request.urlopen(urllib.request.Request(f"{faulty.url}/bucket", method="PUT")).close()
    yield faulty
    service.shutdown()
    thread.join()
    service.server_close()


@pytest.fixture
def url(server, monkeypatch, request):
    environment = {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    server.ignore_conditions = server.refuse_puts = False
    return f"s3://bucket/{request.node.name}"


def test_records_datasets_and_runs_work_in_a_bucket(url, key_of):
    store = open_store(url)
    tree = {"a": [1, 2.5, (None,)]}
    record = store.put_record("checkpoint", key_of(1), tree, {"loss": 0.5})
    data = np.arange(24.0).reshape(4, 3, 2)
    arrays = {"x0": ArraySpec(data, ("volume", "z", "x"), "m")}
    dataset = store.put_dataset("volumes", key_of(2), arrays, {"family": "ladle"})
    assert store.append_run("run", {"a": 1}) == 0
    assert store.append_run("run", {"a": 2}) == 1
    again = open_store(url, create=False)
    assert again.find("checkpoint", key_of(1)) == record
    assert again.get_record(record) == tree
    assert again.find("volumes", key_of(2)) == dataset
    opened = again.open_dataset(dataset)
    np.testing.assert_array_equal(opened.array("x0"), data)
    assert opened.attrs == {"family": "ladle"}
    assert again.read_run("run") == [{"a": 1}, {"a": 2}]
    assert (again.runs(), again.keys("volumes")) == (["run"], [key_of(2)])
    assert again.find("volumes", key_of(3)) is None


def test_a_record_costs_one_put(url, server, key_of):
    store = open_store(url)
    server.requests.clear()
    store.put_record("checkpoint", key_of(1), {"a": 1})
    assert server.requests == ["PUT"]


def test_a_large_record_is_still_one_conditional_put(url, server, key_of):
    first, second = open_store(url), open_store(url)
    server.requests.clear()
    first.put_record("checkpoint", key_of(1), {"a": "x" * 12_000_000})
    assert server.requests == ["PUT"]
    with pytest.raises(KeyCollision):
        second.put_record("checkpoint", key_of(1), {"a": "y" * 12_000_000})


def test_equal_bytes_succeed_and_other_bytes_collide(url, key_of):
    first, second = open_store(url), open_store(url)
    ref = first.put_record("checkpoint", key_of(1), {"a": 1})
    assert second.put_record("checkpoint", key_of(1), {"a": 1}) == ref
    with pytest.raises(KeyCollision):
        second.put_record("checkpoint", key_of(1), {"a": 2})


def test_a_flipped_bit_is_found_and_set_aside(url, key_of):
    store = open_store(url)
    arrays = {"x0": ArraySpec(np.arange(24.0), ("volume",))}
    ref = store.put_dataset("volumes", key_of(1), arrays)
    (chunk,) = (p for p in store.backend.listing("volumes") if p.endswith("x0/c.0"))
    data = bytearray(store.backend.get(chunk, 2**20).data)
    data[-3] ^= 4
    store.backend.write(chunk, bytes(data))
    assert open_store(url).find("volumes", key_of(1)) is None
    assert store.put_dataset("volumes", key_of(1), arrays) == ref
    assert open_store(url).find("volumes", key_of(1)) == ref
    assert len(store.backend.listing(".damaged")) == 1


RACE = """
import sys
from tomopt_tasks.store import KeyCollision, open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for i in range(20):
    key = f"{i:064x}"
    try:
        store.put_record("checkpoint", key, {"writer": sys.argv[2]})
        print(i)
    except KeyCollision:
        pass
"""


def test_of_two_writers_exactly_one_wins_each_key(url):
    command = [sys.executable, "-c", RACE, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*command, name], **pipes) for name in "ab"]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    won = [writer.communicate("go\n")[0].split() for writer in writers]
    assert sorted(int(i) for wins in won for i in wins) == list(range(20))


def test_a_server_that_ignores_conditions_is_refused(url, server):
    server.ignore_conditions = True
    with pytest.raises(StoreUnavailable, match="ignores conditional writes"):
        open_store(url)


def test_a_bucket_that_may_only_be_read_can_be_read(url, server, key_of):
    ref = open_store(url).put_record("checkpoint", key_of(1), {"a": 1})
    server.refuse_puts = True
    store = open_store(url)
    assert store.get_record(ref) == {"a": 1}
    with pytest.raises(StoreUnavailable, match="may be read but not written"):
        store.put_record("checkpoint", key_of(2), {})


def test_a_bucket_that_does_not_exist_is_one_sentence(url):
    with pytest.raises(StoreUnavailable, match="check bucket, credentials"):
        open_store("s3://no-such-bucket/x")


def test_without_obstore_the_cure_is_named(url, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UserError, match=r"pip install 'tomopt-tasks\[s3\]'"):
        open_store(url)
