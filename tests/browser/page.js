// Speaks WTP/1 and the original framing to a router or an echo server and posts what happened.
const query = new URLSearchParams(location.search);
const kinds = { video: 1, audio: 2, chat: 3, screen: 4, file: 5, data: 6 };
const KEY = 1, EXT = 2, CAPTURE = 8;

function hexBytes(text) {
  return Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
}

function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function wtpObject({ kind, alias, seq, group, payload, attributes }) {
  const extension = attributes ? new TextEncoder().encode(JSON.stringify(attributes)) : null;
  const head = new DataView(new ArrayBuffer(48));
  head.setUint8(0, 1);
  head.setUint8(1, kinds[kind]);
  head.setUint8(2, KEY | CAPTURE | (extension ? EXT : 0));
  head.setUint32(4, alias);
  head.setBigUint64(8, BigInt(seq));
  head.setBigUint64(16, BigInt(group));
  head.setBigInt64(24, BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)));
  head.setUint32(44, payload.length);
  const parts = [new Uint8Array(head.buffer)];
  if (extension) parts.push(Uint8Array.of(extension.length >> 8, extension.length & 255), extension);
  return joined(...parts, payload);
}

function legacyMessage(track, type, payload) {
  const head = new Uint8Array(32);
  head.set(new TextEncoder().encode(track), 0);
  new DataView(head.buffer).setUint32(16, payload.length);
  head.set(new TextEncoder().encode(type), 20);
  return joined(head, payload);
}

function controlMessage(message) {
  const text = new TextEncoder().encode(JSON.stringify(message));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, text.length);
  return joined(length, text);
}

async function readAll(stream) {
  const parts = [];
  for await (const part of chunks(stream)) parts.push(part);
  return joined(...parts);
}

async function* chunks(stream) {
  const reader = stream.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    yield value;
  }
}

async function* controlMessages(stream) {
  let held = new Uint8Array(0);
  let first = true;
  for await (let part of chunks(stream)) {
    if (first) {
      if (part[0] !== 1) throw new Error(`a control stream starts with ${part[0]}`);
      part = part.subarray(1);
      first = false;
    }
    held = joined(held, part);
    while (held.length >= 4) {
      const length = new DataView(held.buffer).getUint32(0);
      if (held.length < 4 + length) break;
      yield JSON.parse(new TextDecoder().decode(held.subarray(4, 4 + length)));
      held = held.slice(4 + length);
    }
  }
}

async function open(path = "") {
  const transport = new WebTransport(query.get("url") + path, {
    serverCertificateHashes: [{ algorithm: "sha-256", value: hexBytes(query.get("hash")) }],
  });
  await transport.ready;
  return transport;
}

const pattern = (seed, size) => Uint8Array.from({ length: size }, (_, i) => (i * 7 + seed) & 255);

// Objects in both framings go out; the server sends each back as an object on a stream of its own.
async function echo() {
  const transport = await open();
  const sizes = [1, 1000, 100000];
  const ours = (await transport.createUnidirectionalStream()).getWriter();
  await ours.write(Uint8Array.of(2));
  for (const [i, size] of sizes.entries()) {
    await ours.write(
      wtpObject({ kind: "video", alias: 1, seq: i, group: i, payload: pattern(i, size) }),
    );
  }
  ours.close();
  const legacy = (await transport.createUnidirectionalStream()).getWriter();
  for (const [i, size] of sizes.entries()) {
    await legacy.write(legacyMessage("cam", "video", pattern(i, size)));
  }
  legacy.close();
  const back = [];
  const streams = transport.incomingUnidirectionalStreams.getReader();
  while (back.length < 2 * sizes.length) {
    const { value } = await streams.read();
    const bytes = await readAll(value);
    const view = new DataView(bytes.buffer);
    const length = view.getUint32(1 + 44);
    const payload = bytes.subarray(49, 49 + length);
    const seed = Number(view.getBigUint64(1 + 8));
    const same = payload.every((byte, i) => byte === ((i * 7 + seed) & 255));
    back.push({ type: bytes[0], length, same });
  }
  transport.close({ closeCode: 7, reason: "done" });
  return back;
}

// A publisher of chat with receipts, and beside it a page of the original platform.
async function publish() {
  const transport = await open("?room=browser");
  const streams = transport.incomingUnidirectionalStreams.getReader();
  const control = (await transport.createUnidirectionalStream()).getWriter();
  await control.write(Uint8Array.of(1));
  await control.write(controlMessage({ type: "hello", name: "page", instance: "one" }));
  const { value } = await streams.read();
  const seen = {};
  for await (const message of controlMessages(value)) {
    seen[message.type] = message;
    if (message.type === "welcome") {
      const track = { type: "publish", alias: 1, track: "chat", kind: "chat" };
      await control.write(controlMessage({ ...track, content_type: "text/plain" }));
    } else if (message.type === "published") {
      const lane = (await transport.createUnidirectionalStream()).getWriter();
      await lane.write(Uint8Array.of(2));
      for (const seq of [1, 2, 3]) {
        const payload = new TextEncoder().encode(`line ${seq} ü`);
        const attributes = { author: "page" };
        await lane.write(wtpObject({ kind: "chat", alias: 1, seq, group: seq, payload, attributes }));
      }
    } else if (message.type === "receipt" && message.up_to_seq === 3) {
      await control.write(controlMessage({ type: "flush", sent: { 1: 3 } }));
    } else if (message.type === "flushed" || message.type === "error") {
      break;
    }
  }
  transport.close();
  const old = await open("?room=browser");
  const lane = (await old.createUnidirectionalStream()).getWriter();
  for (let i = 0; i < 5; i += 1) await lane.write(legacyMessage("camera-1", "video", pattern(i, 500)));
  await lane.write(legacyMessage("odd", "hologram", pattern(0, 10)));
  await new Promise((resolve) => setTimeout(resolve, 700));
  await lane.close();
  old.close();
  return seen;
}

// A wrong hash must not connect; a session that is refused says why.
async function refused() {
  const out = {};
  const wrong = new WebTransport(query.get("url"), {
    serverCertificateHashes: [{ algorithm: "sha-256", value: new Uint8Array(32) }],
  });
  wrong.closed.catch(() => {});
  out.wrongHash = await wrong.ready.then(() => "connected", () => "refused");
  const transport = await open("?room=no%20such%20name!");
  const info = await transport.closed.catch((error) => ({ reason: String(error) }));
  out.badRoom = { code: info.closeCode, reason: info.reason };
  return out;
}

const result = {};
try {
  result.value = await { echo, publish, refused }[query.get("test")]();
} catch (error) {
  result.error = `${error.name}: ${error.message}`;
}
await fetch("/result", { method: "POST", body: JSON.stringify(result) });
