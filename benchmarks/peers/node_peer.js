// An echo with the prefix on Node's net, or tls.
//
// Usage: node node_peer.js [--log] ADDRESS [CERTIFICATE KEY]
// ADDRESS is 127.0.0.1:PORT or a path. With --log it says what the tutorial's server says.
'use strict';

const fs = require('fs');
const net = require('net');
const tls = require('tls');

const [address, certificate, key] = process.argv.slice(2).filter((word) => word !== '--log');
const log = process.argv.includes('--log');
const prefix = Buffer.from('Sending: ');

function serve(socket) {
  socket.on('error', () => {});
  socket.on('data', (data) => {
    socket.write(Buffer.concat([prefix, data]));
    if (log) {
      console.log(`Received data from client on port ${socket.remotePort}: ${data}`);
      console.log(`Bytes received: ${socket.bytesRead}`);
      console.log(`Bytes sent: ${socket.bytesWritten}`);
    }
  });
}

function secrets() {
  return { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) };
}

const server = certificate ? tls.createServer(secrets(), serve) : net.createServer(serve);
if (address.startsWith('/')) {
  server.listen(address);
} else {
  const [host, port] = address.split(':');
  server.listen({ host, port: Number(port) });
}
