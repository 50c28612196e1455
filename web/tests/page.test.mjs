// The page against a running tifo with tifo.toml beside this: TIFO_URL=http://127.0.0.1:8080 npm test
// Every test has a channel of its own; they wait more than they work, so they run side by side. TIFO_SHOTS=FOLDER keeps a picture.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { launch } from "./browser.mjs";
import { Proxy } from "./proxy.mjs";

const TIFO = process.env.TIFO_URL;
/** A window of two seconds, its grace, its idle time-out, and a slow machine. */
const WINDOW_MS = 60_000;
/** Five seconds is the goal for a viewer whose node was lost; the rest is for a slow machine. */
const BACK_MS = 20_000;
const SIDE_BY_SIDE = 3;

let browser;
before(async () => {
  assert.ok(TIFO, "set TIFO_URL to a running tifo");
  browser = await launch();
});
after(() => browser?.close());

async function open(channel, { prepare, url = TIFO, hash = "" } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  page.setDefaultTimeout(WINDOW_MS);
  const faults = [];
  page.on("pageerror", (error) => faults.push(error));
  await prepare?.(page);
  await page.goto(`${url}/?channel=${channel}${hash}`);
  await page.locator('#connection[data-state="live"]').waitFor();
  return { page, context, faults };
}

const channel = () => `page-${randomUUID()}`;
const sticker = (page, reaction) => page.locator(`#stickers [data-reaction="${reaction}"]`);
const mine = (page, reaction) => page.locator(`#feed [data-own][data-reaction="${reaction}"]`);
const inTop = (page, reaction) => page.locator(`#top [data-reaction="${reaction}"]`);
/** At once: a round is short, and a click that waits for a bar to stand still may come too late. */
const choose = (page, id) => page.evaluate((id) => document.querySelector(`[data-answer="${id}"]`).click(), id);

describe("the page and a real tifo", { concurrency: SIDE_BY_SIDE }, () => {
  test("a tap on one page shows in another page's swarm", async () => {
    const room = channel();
    const [tapping, watching] = [await open(room), await open(room)];

    // A later window may be without it: what is to be seen is kept when it is there.
    await watching.page.evaluate(() => {
      const top = document.getElementById("top");
      new MutationObserver(() => {
        const row = top.querySelector('[data-reaction="🔥"]');
        globalThis.fire ??= row && { count: Number(row.dataset.count), share: Number(row.dataset.share) };
      }).observe(top, { childList: true, attributes: true, subtree: true });
    });
    const shownAtOnce = (reaction) =>
      tapping.page.evaluate((reaction) => {
        document.querySelector(`#stickers [data-reaction="${reaction}"]`).click();
        return document.querySelector(`#feed [data-own][data-reaction="${reaction}"]`) !== null;
      }, reaction);
    for (const reaction of ["🔥", "🔥", "👏"]) assert.ok(await shownAtOnce(reaction), "before anything is sent");
    await tapping.page.locator('#feed [data-own][data-state="sent"]').nth(2).waitFor();

    await watching.page.waitForFunction(() => globalThis.fire);
    await watching.page.waitForFunction(() => Number(document.getElementById("swarm").dataset.sprites) > 0);
    if (process.env.TIFO_SHOTS) await watching.page.screenshot({ path: join(process.env.TIFO_SHOTS, "tifo-real.png") });
    const { count, share } = await watching.page.evaluate(() => globalThis.fire);
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
    await inTop(first.page, "🥊").waitFor();
    const newcomer = await open(room);
    await inTop(newcomer.page, "🥊").waitFor({ timeout: 5_000 });
    await first.context.close();
    await newcomer.context.close();
  });

  test("the panel shows numbers", async () => {
    const { page, context } = await open(channel());
    await page.waitForFunction(() => /^[1-9]/.test(document.getElementById("viewers").textContent));
    assert.match(await page.locator("#events-per-second").textContent(), /^[\d,.]+$/);
    await context.close();
  });

  test("a tap is tried again, and said to have failed only then", async () => {
    let refusals = 2;
    const { page, context } = await open(channel(), {
      prepare: (fresh) => fresh.route("**/events?*", (route) => (refusals-- > 0 ? route.fulfill({ status: 503 }) : route.continue())),
    });
    await sticker(page, "🔥").click();
    await page.locator('#feed [data-own][data-state="sent"]').waitFor();
    refusals = Number.MAX_SAFE_INTEGER;
    await sticker(page, "💀").click();
    await page.locator('#feed [data-reaction="💀"][data-state="failed"]').waitFor();
    assert.match(await page.locator("#tap-note").textContent(), /did not get through/);
    await context.close();
  });

  test("a lost connection comes back by itself, with the newest state and never an older one", async () => {
    const proxy = await Proxy.to(TIFO);
    const room = channel();
    const [far, near] = [await open(room, { url: proxy.url }), await open(room)];
    await sticker(near.page, "🔥").click();
    await inTop(far.page, "🔥").waitFor();
    await far.page.evaluate(() => {
      globalThis.seen = [];
      const top = document.getElementById("top");
      new MutationObserver(() => globalThis.seen.push(Number(top.dataset.windowEnd))).observe(top, { attributes: true });
    });
    proxy.cut();
    await far.page.locator('#connection[data-state="offline"]').waitFor();
    await far.page.locator('#stage[data-freshness="stale"]').waitFor();
    await sticker(near.page, "💀").click();
    await inTop(near.page, "💀").waitFor();
    proxy.mend();
    await inTop(far.page, "💀").waitFor({ timeout: BACK_MS });
    await far.page.locator('#connection[data-state="live"]').waitFor();
    const seen = await far.page.evaluate(() => globalThis.seen);
    assert.deepEqual(seen, [...seen].sort((a, b) => a - b));
    assert.equal(await mine(far.page, "💀").count(), 0);
    for (const { context, faults } of [far, near]) {
      assert.deepEqual(faults, []);
      await context.close();
    }
    proxy.close();
  });

  test("a poll: votes move its bars on every page, each voter counts once, and the result is final", async () => {
    const room = channel();
    const pages = [await open(room), await open(room)];
    const [one, other] = pages.map(({ page }) => page);
    // A round that has just begun.
    await one.waitForFunction(() => /0:(09|1[012]) left/.test(document.querySelector(".poll-note")?.textContent ?? ""));
    await choose(one, "red");
    await choose(other, "red");
    await choose(other, "blue");
    for (const page of [one, other]) await page.locator('[data-poll="round"][data-total="2"]').waitFor();
    await choose(other, "red");
    for (const page of [one, other]) {
      await page.locator('[data-answer="red"][data-count="2"][data-share="1"]').waitFor();
      await page.locator('[data-final="true"] [data-answer="red"][data-won="true"]').waitFor();
      assert.equal(await page.locator(".poll-result").textContent(), "Final result: The red corner, 100 % of 2 votes");
    }
    const newcomer = await open(room);
    await newcomer.page.locator('[data-final="true"] [data-answer="red"][data-won="true"]').waitFor();
    for (const { context, faults } of [...pages, newcomer]) {
      assert.deepEqual(faults, []);
      await context.close();
    }
  });

  test("the operator sees each place of the pipeline and what its hops take", async () => {
    const { page, context, faults } = await open(channel(), { hash: "#pipeline" });
    const number = (place) => page.locator(`[data-lane="emoji"] .pipe-step:nth-child(${place}) .pipe-number`);
    const time = (place) => page.locator(`[data-lane="emoji"] .pipe-step:nth-child(${place}) .pipe-time`);
    await number(1).waitFor();
    const places = await page.locator('[data-lane="emoji"] .pipe-title').allTextContents();
    assert.deepEqual(places, ["Taps", "emoji", "Aggregator", "emoji-counts", "Hub"]);
    assert.equal(await page.locator('[data-lane="round"] .pipe-title').nth(1).textContent(), "votes");
    // The other tests tap meanwhile; should they be through, this one does.
    const tapping = setInterval(() => void page.evaluate(() => document.querySelector("#stickers button").click()).catch(() => undefined), 300);
    const positive = /^[1-9\d.,]*[1-9]/;
    for (const place of [1, 2, 3, 4, 5]) await number(place).filter({ hasText: positive }).waitFor();
    for (const hop of [1, 3, 4]) await time(hop).filter({ hasText: /\d (ms|s)/ }).waitFor();
    clearInterval(tapping);
    await page.keyboard.press("Escape");
    assert.equal(await page.locator("#pipeline-dialog").evaluate((dialog) => dialog.open), false);
    assert.deepEqual(faults, []);
    await context.close();
  });
});
