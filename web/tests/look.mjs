// For developers: the built page with an invented crowd, as pictures. `node tests/look.mjs FOLDER`
// No server is needed: requests and the WebSocket are answered here. The real test is page.test.mjs.

import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import mqttPacket from "mqtt-packet";
import { launch } from "./browser.mjs";

const DIST = fileURLToPath(new URL("../dist/", import.meta.url));
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const CROWD = ["😂", "🥊", "🇮🇪", "🔥", "🤣", "👊", "😭", "💰", "💪", "👏"];
const folder = process.argv[2] ?? "/tmp";

function mood(window) {
  const counts = CROWD.map((_, index) => Math.round((400 / (index + 1)) * (0.7 + Math.random() * 0.6))).sort((a, b) => b - a);
  const total = counts.reduce((sum, one) => sum + one, 0) + 120;
  const top = CROWD.map((reaction, index) => ({ reaction, count: counts[index], share: counts[index] / total }));
  const start = window * 2000;
  return JSON.stringify({ stream: "emoji", channel_id: "ch-maymac", window_start: start, window_end: start + 2000, total, groups: 31, top });
}

async function answer(route) {
  const url = new URL(route.request().url());
  if (url.pathname === "/v1/status") return route.fulfill({ json: { events_per_second: 9646, viewers: 12408, window_lag_ms: 240 } });
  if (url.pathname.endsWith("/events")) return route.fulfill({ status: 202, json: { accepted: 1 } });
  const file = join(DIST, url.pathname === "/" ? "index.html" : url.pathname);
  return route.fulfill({ body: await readFile(file), contentType: TYPES[extname(file)] ?? "application/octet-stream" });
}

function serveMqtt(socket) {
  const parser = mqttPacket.parser({ protocolVersion: 4 });
  const send = (packet) => socket.send(mqttPacket.generate(packet));
  let window = 1;
  parser.on("packet", (packet) => {
    if (packet.cmd === "connect") send({ cmd: "connack", returnCode: 0, sessionPresent: false });
    if (packet.cmd === "pingreq") send({ cmd: "pingresp" });
    if (packet.cmd !== "subscribe") return;
    send({ cmd: "suback", messageId: packet.messageId, granted: [0] });
    const publish = () => send({ cmd: "publish", topic: packet.subscriptions[0].topic, payload: mood(window++), qos: 0, retain: false, dup: false });
    publish();
    setInterval(publish, 2000);
  });
  socket.onMessage((message) => parser.parse(Buffer.from(message)));
}

const looks = {
  dark: { viewport: { width: 1280, height: 800 }, colorScheme: "dark" },
  light: { viewport: { width: 1280, height: 800 }, colorScheme: "light" },
  phone: { viewport: { width: 390, height: 844 }, colorScheme: "dark", deviceScaleFactor: 2 },
  still: { viewport: { width: 900, height: 700 }, colorScheme: "light", reducedMotion: "reduce" },
};
const browser = await launch();
for (const [name, options] of Object.entries(looks)) {
  const page = await (await browser.newContext(options)).newPage();
  page.on("pageerror", (error) => console.error(name, error));
  await page.route("**/*", answer);
  await page.routeWebSocket(/mqtt/, serveMqtt);
  await page.goto("http://tifo.test/");
  await page.locator("#top li").first().waitFor();
  for (const reaction of ["🔥", "👏", "😂"]) await page.locator(`#stickers [data-reaction="${reaction}"]`).click();
  await page.waitForTimeout(4500);
  const frames = await page.evaluate(
    () =>
      new Promise((done) => {
        let count = 0;
        const start = performance.now();
        const step = () => (count++, performance.now() - start < 2000 ? requestAnimationFrame(step) : done(count / 2));
        requestAnimationFrame(step);
      }),
  );
  console.log(name, "frames a second", frames, "sprites", await page.locator("#swarm").getAttribute("data-sprites"));
  await page.screenshot({ path: join(folder, `tifo-${name}.png`) });
  await page.close();
}
await browser.close();
