// Publishes and consumes with nothing but the WebSocket of browsers, and prints what came.
// Usage: node --experimental-websocket sockets.mjs ws://HOST:PORT/ws/v2 TOPIC_PATH COUNT
const [base, topic, count] = process.argv.slice(2);
const found = { acks: [], messages: [] };

function opened(path) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(base + path);
    socket.onopen = () => resolve(socket);
    socket.onerror = (event) => reject(new Error(event.message || "refused"));
  });
}

const consumer = await opened(`/consumer/${topic}/node?receiverQueueSize=2`);
const producer = await opened(`/producer/${topic}?producerName=node`);
const done = new Promise((resolve) => {
  consumer.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    consumer.send(JSON.stringify({ messageId: message.messageId }));
    found.messages.push({
      text: Buffer.from(message.payload, "base64").toString(),
      key: message.key,
      properties: message.properties,
      id: message.messageId,
    });
    if (found.messages.length == count) resolve();
  };
});
producer.onmessage = ({ data }) => found.acks.push(JSON.parse(data));
for (let number = 0; number < count; number++) {
  producer.send(JSON.stringify({
    payload: Buffer.from(`line ${number}`).toString("base64"),
    key: "k",
    properties: { number: String(number) },
    context: String(number),
  }));
}
await done;
for (const socket of [consumer, producer]) {
  const closed = new Promise((resolve) => { socket.onclose = resolve; });
  socket.close();
  await closed;
}
console.log(JSON.stringify(found));
