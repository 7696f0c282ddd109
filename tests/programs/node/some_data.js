// Sends 'some data \r\n', prints what comes, and ends.
// node some_data.js PORT|PATH [at-once]: with the second word it ends right after its data.
'use strict';

const net = require('net');

const [where, atOnce] = process.argv.slice(2);
const client = net.connect(/^\d+$/.test(where) ? { port: Number(where), host: '127.0.0.1' } : where);

client.on('connect', () => {
  client.write('some data \r\n');
  if (atOnce) {
    client.end();
  }
});
client.on('data', (data) => {
  console.log(`came: ${JSON.stringify(data.toString())}`);
  client.end();
});
client.on('end', () => console.log('end'));
client.on('error', (error) => {
  console.log(`error: ${error.code}`);
  process.exitCode = 1;
});
client.on('close', (hadError) => console.log(
  `close: error = ${hadError} read = ${client.bytesRead} written = ${client.bytesWritten}`));
