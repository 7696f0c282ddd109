// The tutorial's client: three named connections at once, one message each.
// node client.js PORT [HOST]
'use strict';

const net = require('net');

const MESSAGES = { Dwarves: 'More Axes', Elves: 'More Arrows', Hobbits: 'More Pipe Weed' };
const port = Number(process.argv[2]);
const host = process.argv[3] || '127.0.0.1';

function getConnection(name) {
  const client = net.connect({ port, host }, () => {
    console.log(`${name} Connected:`);
    console.log(`   local = ${client.localAddress}:${client.localPort}`);
    console.log(`   remote = ${client.remoteAddress}:${client.remotePort}`);
  });
  client.setTimeout(500);
  client.setEncoding('utf8');
  client.on('data', (data) => {
    console.log(`${name} From Server: ${data}`);
    client.end();
  });
  client.on('end', () => console.log(`${name} Client disconnected`));
  client.on('error', (error) => {
    console.log(`${name} Socket Error: ${error.code}`);
    process.exitCode = 1;
  });
  client.on('timeout', () => console.log(`${name} Socket Timed Out`));
  client.on('close', (hadError) => console.log(`${name} Socket Closed: ${hadError}`));
  return client;
}

for (const [name, message] of Object.entries(MESSAGES)) {
  getConnection(name).write(message); // before it is connected: Node keeps it
}
