"""OpenSSL's and Node's TLS against ours."""

from __future__ import annotations

import hashlib
import json
import subprocess
from contextlib import closing

import pytest
import pytest_twisted

from echosvc import Outcome
from tests.support.client import receive_to_end
from tests.support.payload import MARK, MIB, payload, unmarked
from tests.support.process import Process, need
from tests.support.reactor import in_thread, no_faults, within
from tests.support.recording import Recording, all_gone
from tests.support.tls_peer import serving_tls, to_server
from tests.support.waiting import LIMIT


@pytest.mark.programs
@pytest_twisted.ensureDeferred
async def test_openssl_s_client_hears_everything(pem):
    openssl = need("openssl")
    factory = Recording(prefix=MARK, idle_timeout=0.5, idle_action="close")
    data = payload(200_000)
    async with serving_tls(factory, pem) as (_, port):
        command = [openssl, "s_client", "-quiet", "-connect", f"127.0.0.1:{port}"]
        done = await in_thread(run, command, data)
        await all_gone(factory)
    assert unmarked(done.stdout) == data
    assert factory.outcomes == [Outcome.TIMED_OUT]


def run(command: list[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=stdin, capture_output=True, timeout=LIMIT - 5, check=False)


NODE_CLIENT = r"""
const [port, size] = process.argv.slice(1).map(Number);
const options = {port, host: "127.0.0.1", servername: "localhost", allowHalfOpen: true,
                 ca: require("fs").readFileSync(process.argv[3])};
const hash = require("crypto").createHash("sha256");
const socket = require("tls").connect(options, () => socket.end(Buffer.alloc(size, "x")));
let bytes = 0;
socket.on("data", (data) => { bytes += data.length; hash.update(data); });
socket.on("error", (error) => { console.log(JSON.stringify({error: String(error)})); });
socket.on("end", () => console.log(JSON.stringify({bytes, sha256: hash.digest("hex")})));
"""


@pytest.mark.programs
@pytest.mark.parametrize("size", [5, 1_000_000])
@pytest_twisted.ensureDeferred
async def test_a_node_client_that_sends_and_ends_hears_everything(size, pem):
    node = need("node")
    factory = Recording(prefix=b"")
    async with serving_tls(factory, pem) as (_, port):
        command = [node, "-e", NODE_CLIENT, str(port), str(size), str(pem)]
        done = await in_thread(run, command, b"")
        await all_gone(factory)
    sha256 = hashlib.sha256(b"x" * size).hexdigest()
    assert json.loads(done.stdout) == {"bytes": size, "sha256": sha256}, done.stderr
    assert factory.outcomes == [Outcome.FINISHED]


NODE_SERVER = r"""
const pem = require("fs").readFileSync(process.argv[1]);
const options = {key: pem, cert: pem, allowHalfOpen: true};
const server = require("tls").createServer(options, (socket) => {
    socket.on("error", (error) => console.log("error", String(error)));
    socket.on("end", () => console.log("end"));
    socket.pipe(socket);
});
server.on("tlsClientError", (error) => console.log("no handshake", String(error)));
server.listen(0, "127.0.0.1", () => console.log("port", server.address().port));
"""


@pytest.mark.programs
@pytest_twisted.ensureDeferred
async def test_our_client_gets_everything_back_from_a_node_server(pem):
    data = payload(MIB)
    with no_faults(), closing(Process([need("node"), "-e", NODE_SERVER, str(pem)])) as node:
        port = int((await in_thread(node.wait_line, "^port ")).split()[1])
        client = await to_server(port, pem)
        client.write(data)
        client.finish()
        assert await receive_to_end(client) == data
        assert await within(client.when_closed()) is Outcome.FINISHED
        await in_thread(node.wait_line, "^end$")
        assert not node.matching("error|handshake")
