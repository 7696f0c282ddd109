// The tutorial's echo server on Node's net module, with its five faults mended.
// Options and lines are those of `twistd echosvc`, as far as Node has the like of them.
'use strict';

const net = require('net');
const { parseArgs } = require('util');

const text = (value) => ({ type: 'string', default: value });
const flag = { type: 'boolean', default: false };
const { values: options } = parseArgs({
  options: {
    host: text('127.0.0.1'),
    port: text('0'),
    prefix: text('Sending: '),
    greeting: text(''),
    discard: flag,
    encoding: text('raw'), // or utf-8: setEncoding
    'idle-timeout': text('0.5'), // seconds
    'allow-half-open': flag,
    'keep-alive': text('0'), // seconds
    log: text('messages'), // everything is always said
    drain: text('5'), // Node waits without bound
    pause: flag, // stop reading while replies wait
    'resume-after': text(''), // ms: pauseOnConnect, and resume() then
    farewell: text(''), // said 300 ms after the client's FIN; then our end()
    'end-with': text(''), // 200 ms after the connection: so many bytes, end()
  },
});

const paused = Boolean(options['resume-after'] || options['end-with']);
const server = net.createServer({
  allowHalfOpen: options['allow-half-open'],
  pauseOnConnect: paused,
  keepAlive: options['keep-alive'] !== '0',
  keepAliveInitialDelay: Number(options['keep-alive']) * 1000,
});

function where(address, port) {
  return address && address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

// One write a message, so that what one read delivered leaves in one piece.
function reply(socket, data) {
  if (typeof data === 'string') {
    return socket.write(options.prefix + data);
  }
  return socket.write(Buffer.concat([Buffer.from(options.prefix), data]));
}

function answer(socket, data) {
  if (!options.discard && !reply(socket, data) && options.pause) {
    socket.pause();
    socket.once('drain', () => socket.resume());
  }
  socket.mostQueued = Math.max(socket.mostQueued, socket.writableLength);
  const shown = JSON.stringify(data.toString().slice(0, 200)).slice(1, -1);
  console.log(`Received data from client on port ${socket.remotePort}: '${shown}'` +
    ` Bytes received: ${socket.bytesRead} Bytes sent: ${socket.bytesWritten}`);
}

function later(socket) {
  if (options['resume-after']) {
    setTimeout(() => socket.resume(), Number(options['resume-after']));
  }
  if (options['end-with']) {
    setTimeout(() => {
      socket.end(Buffer.alloc(Number(options['end-with']), 'x'));
      socket.resume();
    }, 200);
  }
  if (options.farewell) {
    socket.on('end', () => setTimeout(() => socket.end(options.farewell), 300));
  }
}

server.on('connection', (socket) => {
  const remote = where(socket.remoteAddress, socket.remotePort);
  const local = where(socket.localAddress, socket.localPort);
  console.log(`Client connection: local = ${local} remote = ${remote}`);
  socket.mostQueued = 0;
  if (options.encoding === 'utf-8') {
    socket.setEncoding('utf8');
  }
  socket.setTimeout(Number(options['idle-timeout']) * 1000);
  socket.on('timeout', () => console.log(`Socket Timed out: remote = ${remote}`));
  socket.on('data', (data) => answer(socket, data));
  socket.on('error', (error) => console.log(`Socket Error: ${error.code} remote = ${remote}`));
  socket.on('close', (hadError) => server.getConnections((_, count) => {
    console.log(`Client disconnected: remote = ${remote}` +
      ` outcome = ${hadError ? 'reset' : 'finished'} bytes in = ${socket.bytesRead}` +
      ` bytes out = ${socket.bytesWritten} most queued = ${socket.mostQueued}` +
      ` Remaining Connections: ${count}`);
  }));
  if (options.greeting) {
    socket.write(options.greeting);
  }
  later(socket);
});

server.on('error', (error) => {
  console.log(`Server Error: ${error.code}`);
  process.exitCode = 1;
});
server.on('close', () => console.log('Server Terminated'));
process.once('SIGTERM', () => server.close());
server.listen({ port: Number(options.port), host: options.host }, () => {
  console.log(`Server listening: ${JSON.stringify(server.address())}`);
});
