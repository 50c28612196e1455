// For developers: the built page with an invented crowd, as pictures, and what a frame of the swarm costs. `node tests/look.mjs FOLDER`
// No server is needed. The real tests are beside this.

import { join } from "node:path";
import { launch } from "./browser.mjs";
import { CROWD, FakeTifo, HOME, window } from "./fake_tifo.mjs";

const folder = process.argv[2] ?? "/tmp";
const only = process.argv[3];
const ROUND_MS = 60_000;
const STREAMS = [
  { name: "emoji" },
  {
    name: "round",
    poll: {
      question: "Who wins this round?",
      answers: [{ id: "a", label: "Floyd Mayweather" }, { id: "b", label: "Conor McGregor" }, { id: "c", label: "An even round" }],
      round_ms: ROUND_MS, opens_ms: null, closes_ms: null, may_change: true,
    },
  },
];

function describe(tifo) {
  let look = 0;
  const aggregate = (name, scale) => ({
    name, state: "running", error: null, lag: 3, open_window_count: 2, closed_until: Date.now(), late: 12 * scale, bad: 0,
    partitions: [{ high_watermark: look * 9000 * scale, lag: 3, idle: false }], counted: look * 9000 * scale,
  });
  const stream = (scale) => ({ accepted_total: look * 9000 * scale, buffer: { events: 412, max_events: 200000 } });
  tifo.answer("/v1/status", () => ({
    now_ms: Date.now(), events_per_second: 9646, viewers: 12408, window_lag_ms: 240, mqtt: { connected_clients: 12408, messages_published: 1, lag: 0 },
    aggregates: [aggregate("emoji", ++look && 1), aggregate("round", 0.03)], http: { streams: { emoji: stream(1), round: stream(0.03) } },
  }));
  const histogram = (name, labels, scale, mean) =>
    `${name}_bucket{${labels},le="0.25"} ${scale}\n${name}_sum{${labels}} ${scale * mean}\n${name}_count{${labels}} ${scale}\n`;
  const metrics = (name, scale) =>
    histogram("tifo_http_log_latency_seconds", `stream="${name}"`, 2 * look, 0.241) +
    histogram("tifo_aggregator_window_lag_seconds", `aggregate="${name}"`, look, 0.52) +
    histogram("tifo_mqtt_publish_latency_seconds", `stream="${name}"`, look, 0.523) +
    `tifo_aggregator_rows_total{aggregate="${name}"} ${Math.round(look * 41 * scale)}\n` +
    `tifo_mqtt_messages_published_total{stream="${name}"} ${Math.round(look * scale)}\n`;
  tifo.answer("/metrics", () => `${metrics("emoji", 1)}${metrics("round", 0.5)}tifo_mqtt_deliveries_total ${look * 12408}\n`);
  const node = (name, role, connections, nodes = [], more = {}) => ({
    node: name, role, cluster: role === "main" ? "" : "east", address: "127.0.0.1:1883", connections, max_connections: 10_000, cpu: 0.31, queued_bytes: 0,
    sent: look * connections, dropped: 0, draining: false, connected: true, nodes, ...more,
  });
  const leaves = () => [node("east-1", "subscribe", 6100), node("east-2", "subscribe", 4200, [], { queued_bytes: 90_000, dropped: 7 }), node("east-3", "subscribe", 310, [], { draining: true })];
  tifo.answer("/v1/mqtt/cluster", () => node("main", "main", 1798, [node("east-publish", "publish", 3, leaves())]));
  const definition = (name, from, into) => ({ name, definition: { from, into } });
  tifo.answer("/v1/aggregates", () => ({ aggregates: [definition("emoji", "emoji", "emoji-counts"), definition("round", "votes", "vote-counts")] }));
}

function live(tifo) {
  let number = 1;
  const tick = () => {
    number++;
    const now = Date.now();
    const counts = CROWD.map((_, index) => Math.round((400 / (index + 1)) * (0.7 + Math.random() * 0.6)));
    tifo.publish("streams/emoji/ch-maymac", window(number, { end: now, counts }), now - 40);
    const start = Math.floor(now / ROUND_MS) * ROUND_MS;
    const votes = { counts: [40 + number, 64, 12], reactions: ["a", "b", "c"], window_start: start, window_end: now };
    tifo.publish("streams/round/ch-maymac", window(number, votes), now - 40);
  };
  tick();
  return setInterval(tick, 2000);
}

const looks = {
  dark: { viewport: { width: 1280, height: 800 }, colorScheme: "dark" },
  light: { viewport: { width: 1280, height: 800 }, colorScheme: "light" },
  pipeline: { viewport: { width: 1280, height: 800 }, colorScheme: "dark", hash: "#pipeline" },
  "pipeline-light": { viewport: { width: 1000, height: 800 }, colorScheme: "light", hash: "#pipeline" },
  phone: { viewport: { width: 390, height: 844 }, colorScheme: "dark", deviceScaleFactor: 2, fullPage: true },
  "phone-pipeline": { viewport: { width: 390, height: 844 }, colorScheme: "light", deviceScaleFactor: 2, hash: "#pipeline" },
  still: { viewport: { width: 900, height: 700 }, colorScheme: "light", reducedMotion: "reduce" },
  full: { viewport: { width: 1280, height: 800 }, colorScheme: "dark", query: "?fill=300" },
};
const browser = await launch();
for (const [name, { hash = "", query = "", fullPage = false, ...options }] of Object.entries(looks)) {
  if (only && only !== name) continue;
  const tifo = new FakeTifo({ streams: STREAMS });
  describe(tifo);
  const page = await (await browser.newContext(options)).newPage();
  page.on("pageerror", (error) => console.error(name, error));
  page.on("console", (message) => message.type() === "error" && console.error(name, message.text()));
  await tifo.serve(page);
  const ticking = live(tifo);
  await page.goto(`${HOME}${query}${hash}`);
  await page.locator("#top li").first().waitFor();
  if (!hash) for (const reaction of ["🔥", "👏", "😂"]) await page.locator(`#stickers [data-reaction="${reaction}"]`).click();
  if (!hash) await page.locator('[data-answer="b"]').click();
  await page.waitForTimeout(5500);
  const { sprites, fps, frameMs } = await page.evaluate(() => ({ ...document.getElementById("swarm").dataset }));
  console.log(name, { sprites, fps, frameMs }, await page.locator("#freshness").textContent());
  await page.screenshot({ path: join(folder, `tifo-${name}.png`), fullPage });
  clearInterval(ticking);
  await page.close();
}
await browser.close();
