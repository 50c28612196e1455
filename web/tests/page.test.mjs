// The page against a running tifo: TIFO_URL=http://127.0.0.1:8080 npm test
// Every test has a channel of its own. TIFO_SHOTS=FOLDER keeps a picture of the swarm.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "./browser.mjs";

const TIFO = process.env.TIFO_URL;
/** A window of two seconds, its grace, its idle time-out, and a slow machine. */
const WINDOW_MS = 20_000;
/** What must be "at once". */
const AT_ONCE_MS = 1_000;

let browser;
before(async () => {
  assert.ok(TIFO, "set TIFO_URL to a running tifo");
  browser = await launch();
});
after(() => browser?.close());

async function open(channel, prepare) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(error));
  await prepare?.(page);
  await page.goto(`${TIFO}/?channel=${channel}`);
  await page.locator('#connection[data-state="live"]').waitFor({ timeout: WINDOW_MS });
  return { page, context, faults };
}

const channel = () => `page-${randomUUID()}`;
const sticker = (page, reaction) => page.locator(`#stickers [data-reaction="${reaction}"]`);
const mine = (page, reaction) => page.locator(`#feed [data-own][data-reaction="${reaction}"]`);
const inTop = (page, reaction) => page.locator(`#top [data-reaction="${reaction}"]`);

test("a tap on one page shows in another page's swarm", async () => {
  const room = channel();
  const [tapping, watching] = [await open(room), await open(room)];

  await sticker(tapping.page, "🔥").click();
  await sticker(tapping.page, "🔥").click();
  await sticker(tapping.page, "👏").click();
  await mine(tapping.page, "🔥").first().waitFor({ timeout: AT_ONCE_MS });
  await tapping.page.locator('#feed [data-own][data-state="sent"]').nth(2).waitFor({ timeout: WINDOW_MS });

  await inTop(watching.page, "🔥").waitFor({ timeout: WINDOW_MS });
  await watching.page.waitForFunction(() => Number(document.getElementById("swarm").dataset.sprites) > 0, null, { timeout: WINDOW_MS });
  if (process.env.TIFO_SHOTS) await watching.page.screenshot({ path: join(process.env.TIFO_SHOTS, "tifo-real.png") });
  const row = inTop(watching.page, "🔥");
  const [count, share] = [Number(await row.getAttribute("data-count")), Number(await row.getAttribute("data-share"))];
  assert.ok(count >= 1 && count <= 2, `count ${count}`);
  assert.ok(share > 0 && share <= 1, `share ${share}`);
  assert.match(await watching.page.locator("#top-live").textContent(), /fire|applause/);
  assert.equal(await mine(watching.page, "🔥").count(), 0);
  for (const one of [tapping, watching]) {
    assert.deepEqual(one.faults, []);
    await one.context.close();
  }
});

test("a newcomer sees the last mood at once", async () => {
  const room = channel();
  const first = await open(room);
  await sticker(first.page, "🥊").click();
  await inTop(first.page, "🥊").waitFor({ timeout: WINDOW_MS });
  const newcomer = await open(room);
  await inTop(newcomer.page, "🥊").waitFor({ timeout: 5_000 });
  await first.context.close();
  await newcomer.context.close();
});

test("the panel shows numbers", async () => {
  const { page, context } = await open(channel());
  await page.waitForFunction(() => /^[1-9]/.test(document.getElementById("viewers").textContent), null, { timeout: WINDOW_MS });
  assert.match(await page.locator("#events-per-second").textContent(), /^[\d,.]+$/);
  await context.close();
});

test("the sports bar works by keyboard", async () => {
  const { page, context } = await open(channel());
  await page.locator("#stickers button").first().focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  const second = await page.locator("#stickers button").nth(1).getAttribute("data-reaction");
  await mine(page, second).waitFor({ timeout: AT_ONCE_MS });
  await page.getByRole("button", { name: "Colours" }).click();
  assert.equal(await sticker(page, "🔥").isVisible(), false);
  assert.equal(await page.getByRole("button", { name: "Ireland" }).isVisible(), true);
  await context.close();
});

test("a tap is tried again, and said to have failed only then", async () => {
  let refusals = 2;
  const { page, context } = await open(channel(), (fresh) =>
    fresh.route("**/events?*", (route) => (refusals-- > 0 ? route.fulfill({ status: 503 }) : route.continue())),
  );
  await sticker(page, "🔥").click();
  await page.locator('#feed [data-own][data-state="sent"]').waitFor({ timeout: WINDOW_MS });
  refusals = Number.MAX_SAFE_INTEGER;
  await sticker(page, "💀").click();
  await page.locator('#feed [data-reaction="💀"][data-state="failed"]').waitFor({ timeout: WINDOW_MS });
  assert.match(await page.locator("#tap-note").textContent(), /did not get through/);
  await context.close();
});

test("a dropped connection comes back by itself", async () => {
  const sockets = [];
  const { page, context } = await open(channel(), (fresh) =>
    fresh.routeWebSocket(/\/mqtt/, (socket) => {
      sockets.push(socket);
      socket.connectToServer();
    }),
  );
  await sockets[0].close();
  await page.locator('#connection:not([data-state="live"])').waitFor({ timeout: WINDOW_MS });
  await page.locator('#connection[data-state="live"]').waitFor({ timeout: WINDOW_MS });
  assert.ok(sockets.length >= 2);
  await context.close();
});

test("a phone's width needs no sideways scrolling", async () => {
  const { page, context } = await open(channel(), (fresh) => fresh.setViewportSize({ width: 360, height: 740 }));
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(overflow <= 0, `${overflow} px too wide`);
  await context.close();
});
