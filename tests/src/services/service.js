// service.js HOW PORT [UPSTREAM]: answers each request HOW: `wait` after 50 ms on a timer, `ask` after two questions to the
// upstream, one after the other, `hold` at once, but each twentieth holds up the loop for 100 ms.
// Asked to end, it says how many there were, and how long they took from here.
const http = require('http');
const [, , how, port, upstream] = process.argv;
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
let requests = 0;
let answers_ns = 0n;

const ask = () => new Promise((answered, failed) => {
  http.get({ host: '127.0.0.1', port: upstream, agent }, (answer) => {
    answer.resume();
    answer.on('end', answered);
  }).on('error', failed);
});

const ways = {
  wait: () => new Promise((due) => setTimeout(due, 50)),
  ask: async () => { await ask(); await ask(); },
  hold: () => {
    if (requests % 20 > 0) return;
    const until = process.hrtime.bigint() + 100_000_000n;
    while (process.hrtime.bigint() < until);
  },
};

http.createServer(async (request, answer) => {
  const began = process.hrtime.bigint();
  requests += 1;
  await ways[how]();
  answers_ns += process.hrtime.bigint() - began;
  answer.end('ok');
}).listen(port, '127.0.0.1');

process.on('SIGTERM', () => {
  console.log(JSON.stringify({ requests, answers_ns: Number(answers_ns) }));
  process.exit(0);
});
