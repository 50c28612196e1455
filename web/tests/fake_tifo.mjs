// A tifo made up for one page: the built files, the HTTP answers and an MQTT node inside playwright's routes, no socket anywhere. For what
// a real one cannot be made to do at will: move its clients, know only MQTT 3.1.1, tell an older state after a newer one.

import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import mqttPacket from "mqtt-packet";

const DIST = fileURLToPath(new URL("../dist/", import.meta.url));
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
export const HOME = "http://tifo.test/";
export const CROWD = ["😂", "🥊", "🇮🇪", "🔥", "🤣", "👊", "😭", "💰", "💪", "👏"];

export class FakeTifo {
  /** Nodes by host: who is connected there. */
  nodes = new Map();
  retained = new Map();
  events = [];
  answers = new Map();
  sequence = 0;

  constructor({ versions = [4, 5], streams = [{ name: "emoji" }] } = {}) {
    this.versions = versions;
    this.answer("/v1/streams", () => ({ streams }));
    this.answer("/v1/status", () => ({ now_ms: Date.now(), events_per_second: 0, viewers: 1, window_lag_ms: 200 }));
  }

  answer(path, json) {
    this.answers.set(path, json);
  }

  async serve(page) {
    await page.route("**/*", (route) => this.http(route));
    await page.routeWebSocket(/mqtt/, (socket) => this.mqtt(socket));
  }

  async http(route) {
    const { pathname } = new URL(route.request().url());
    const known = this.answers.get(pathname);
    if (known) {
      const told = known();
      return route.fulfill(typeof told === "string" ? { body: told } : { json: told });
    }
    if (pathname.endsWith("/events")) {
      this.events.push(...JSON.parse(route.request().postData()).map((event) => ({ stream: pathname.split("/")[3], ...event })));
      return route.fulfill({ status: 202, json: { accepted: 1 } });
    }
    if (pathname.startsWith("/v1/") || pathname === "/metrics") return route.fulfill({ status: 404, body: "" });
    const file = join(DIST, pathname === "/" ? "index.html" : pathname);
    return route.fulfill({ body: await readFile(file), contentType: TYPES[extname(file)] ?? "application/octet-stream" });
  }

  mqtt(socket) {
    const { host } = new URL(socket.url());
    const client = { socket, host, version: 5, topics: new Set(), refused: this.nodes.get(host)?.closed === true };
    const parser = mqttPacket.parser();
    parser.on("packet", (packet) => this.packet(client, packet));
    socket.onMessage((message) => parser.parse(Buffer.from(message)));
    if (client.refused) socket.close();
    this.node(host).clients.add(client);
    socket.onClose(() => this.node(host).clients.delete(client));
  }

  node(host) {
    if (!this.nodes.has(host)) this.nodes.set(host, { clients: new Set(), connects: [], closed: false });
    return this.nodes.get(host);
  }

  send(client, packet) {
    client.socket.send(mqttPacket.generate(packet, { protocolVersion: client.version }));
  }

  packet(client, packet) {
    if (packet.cmd === "connect") this.connect(client, packet);
    if (packet.cmd === "pingreq") this.send(client, { cmd: "pingresp" });
    if (packet.cmd === "subscribe") this.subscribe(client, packet);
  }

  connect(client, { protocolVersion, clientId }) {
    client.version = protocolVersion;
    this.node(client.host).connects.push({ protocolVersion, clientId });
    const knows = this.versions.includes(protocolVersion);
    const code = knows ? 0 : protocolVersion === 5 ? 0x84 : 1;
    this.send(client, { cmd: "connack", returnCode: code, reasonCode: code, sessionPresent: false });
    if (!knows) client.socket.close();
  }

  subscribe(client, { messageId, subscriptions }) {
    this.send(client, { cmd: "suback", messageId, granted: subscriptions.map(() => 0) });
    for (const { topic } of subscriptions) {
      client.topics.add(topic);
      const kept = this.retained.get(topic);
      if (kept) this.deliver(client, topic, kept, true);
    }
  }

  deliver(client, topic, { payload, timeMs, sequence }, retain) {
    const userProperties = { "tifo-time": String(timeMs), "tifo-sequence": String(sequence), "tifo-path": "main" };
    const packet = { cmd: "publish", topic, payload: JSON.stringify(payload), qos: 0, retain, dup: false };
    this.send(client, client.version === 5 ? { ...packet, properties: { userProperties } } : packet);
  }

  publish(topic, payload, timeMs = Date.now()) {
    const message = { payload, timeMs, sequence: ++this.sequence };
    this.retained.set(topic, message);
    for (const client of this.clients()) if (client.topics.has(topic)) this.deliver(client, topic, message, false);
  }

  *clients() {
    for (const node of this.nodes.values()) yield* node.clients;
  }

  /** MQTT 5's Server Moved, to everybody on this node; it takes nobody any more. */
  drain(host, serverReference) {
    const node = this.node(host);
    node.closed = true;
    for (const client of node.clients) {
      this.send(client, { cmd: "disconnect", reasonCode: 0x9d, properties: serverReference ? { serverReference } : {} });
      client.socket.close();
    }
  }
}

/** A window of the crowd, `number` windows after the epoch of this test. */
export function window(number, { end = 2000 * number, counts = CROWD.map((_, index) => 400 - 30 * index), reactions = CROWD, ...more } = {}) {
  const total = counts.reduce((sum, one) => sum + one, 0);
  const top = counts.map((count, index) => ({ reaction: reactions[index], count, share: total ? count / total : 0 }));
  top.sort((a, b) => b.count - a.count);
  return { stream: "emoji", channel_id: "ch-maymac", window_start: end - 2000, window_end: end, total, groups: counts.length, top, ...more };
}
