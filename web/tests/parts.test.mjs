// The page's decisions, without a browser: what is newer, when to come back, where to move, when a poll is final, what a rate is.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createServer } from "vite";

let vite;
const load = (path) => vite.ssrLoadModule(`/src/${path}.ts`);
before(async () => {
  vite = await createServer({ server: { middlewareMode: true, ws: false }, appType: "custom", logLevel: "error", optimizeDeps: { noDiscovery: true } });
});
after(() => vite.close());

const mood = (start, end, more = {}) => ({ window_start: start, window_end: end, total: 1, groups: 1, top: [], ...more });
const arrival = (mood, origin = {}, retained = false) => ({ mood, origin, retained });

test("an older state is never taken after a newer one", async () => {
  const { Newest } = await load("live/newest");
  const newest = new Newest();
  const takes = (mood, origin) => newest.takes(arrival(mood, origin));
  assert.ok(takes(mood(0, 2000)));
  assert.ok(takes(mood(2000, 4000, { final: false })));
  assert.ok(takes(mood(2000, 4000, { final: true })));
  assert.ok(!takes(mood(2000, 4000, { final: false })), "running after final");
  assert.ok(takes(mood(2000, 4000, { final: true, rev: 1 })), "a correction");
  assert.ok(!takes(mood(2000, 4000, { final: true })), "what was corrected");
  assert.ok(!takes(mood(0, 2000)), "a window before");
  assert.ok(takes(mood(4000, 4500)));
  assert.ok(takes(mood(4000, 6000)), "a later step of one window");
  assert.ok(!takes(mood(4000, 5000)), "a step before");
});

test("between equals the main node's word decides", async () => {
  const { Newest } = await load("live/newest");
  const newest = new Newest();
  assert.ok(newest.takes(arrival(mood(0, 2000, { final: false }), { timeMs: 10, sequence: 2 })));
  assert.ok(!newest.takes(arrival(mood(0, 2000, { final: false }), { timeMs: 10, sequence: 1 })));
  assert.ok(newest.takes(arrival(mood(0, 2000, { final: false }), { timeMs: 11, sequence: 1 })));
});

test("a log that was begun anew is followed, a straggler is not", async () => {
  const { Newest } = await load("live/newest");
  const [day, now] = [86_400_000, 1_700_000_000_000];
  const newest = new Newest();
  assert.ok(newest.takes(arrival(mood(now, now + 2000), { timeMs: now })));
  assert.ok(!newest.takes(arrival(mood(now - day, now - day + 2000))), "nobody knows");
  assert.ok(!newest.takes(arrival(mood(now - day, now - day + 2000), { timeMs: now - 1 })), "told before");
  assert.ok(newest.takes(arrival(mood(now - day, now - day + 2000), { timeMs: now + 5000 })), "told later");
});

test("attempts come later and later, and never all at once", async () => {
  const { BackOff } = await load("live/back_off");
  const [low, high] = [new BackOff(() => 0), new BackOff(() => 1)];
  const waits = Array.from({ length: 8 }, () => [low.next(), high.next()]);
  assert.deepEqual(waits[0], [200, 400]);
  for (const [index, [least, most]] of waits.entries()) {
    assert.ok(least < most && most <= 3_000, `attempt ${index}`);
    if (index > 0) assert.ok(most >= waits[index - 1][1]);
  }
  high.reset();
  assert.equal(high.next(), 400);
});

test("a server reference leads to a WebSocket", async () => {
  const { webSocketOf } = await load("live/reference");
  const home = "wss://tifo.test/mqtt";
  assert.equal(webSocketOf("ws://node-b:9/mqtt", home), "ws://node-b:9/mqtt");
  assert.equal(webSocketOf("node-b:1884 wss://node-b/mqtt", home), "wss://node-b/mqtt");
  assert.equal(webSocketOf("node-b:8081", home), "wss://node-b:8081/mqtt");
  for (const nothing of [undefined, "", "  ", "http://node-b/", "a b/c::"]) {
    const found = webSocketOf(nothing, home);
    assert.ok(found === undefined || found.startsWith("wss://"), `${nothing}: ${found}`);
  }
});

test("a poll has phases, and its last step is final", async () => {
  const { isFinal, phaseAt } = await load("poll/round");
  const poll = { question: "", answers: [], round_ms: 60_000, opens_ms: null, closes_ms: null, may_change: true };
  assert.deepEqual(phaseAt(poll, 61_000), { kind: "open", startMs: 60_000, endMs: 120_000 });
  assert.ok(!isFinal(poll, mood(60_000, 119_000)));
  assert.ok(isFinal(poll, mood(60_000, 120_000)));
  assert.ok(!isFinal(poll, mood(60_000, 120_000, { final: false })));
  const once = { ...poll, opens_ms: 5_000, closes_ms: 35_000 };
  assert.deepEqual(phaseAt(once, 4_999), { kind: "waiting", opensMs: 5_000 });
  assert.deepEqual(phaseAt(once, 5_000), { kind: "open", startMs: 5_000, endMs: 35_000 });
  assert.deepEqual(phaseAt(once, 35_000), { kind: "closed" });
  assert.ok(isFinal(once, mood(5_000, 36_000)));
});

test("the server's clock is believed as far as its answers show that ours is wrong", async () => {
  const { ServerClock } = await load("clock");
  const clock = new ServerClock(() => 1_000);
  assert.equal(clock.ms(), 1_000);
  clock.learn(3_000, 0, 4_000);
  clock.learn(undefined, 0, 1);
  assert.equal(clock.ms(), 1_000, "a slow answer proves nothing");
  clock.learn(5_300, 100, 700);
  assert.ok(clock.ms() >= 5_600 && clock.ms() <= 6_200, "ahead of ours");
  clock.learn(5_010, 0, 20);
  assert.ok(clock.ms() >= 5_990 && clock.ms() <= 6_010, "a quick one says it best");
  clock.learn(20, 0, 40);
  assert.equal(clock.ms(), 1_000, "the clock was set");
});

test("rates and latencies come from two looks", async () => {
  const { parseMetrics } = await load("pipeline/prometheus");
  const { lanes, fanOut, METRICS } = await load("pipeline/model");
  const metrics = (scale) =>
    parseMetrics(
      `# HELP x y
tifo_http_log_latency_seconds_bucket{stream="emoji",le="0.25"} ${98 * scale}
tifo_http_log_latency_seconds_bucket{stream="emoji",le="0.5"} ${100 * scale}
tifo_http_log_latency_seconds_bucket{stream="emoji",le="+Inf"} ${100 * scale}
tifo_http_log_latency_seconds_sum{stream="emoji"} ${20 * scale}
tifo_http_log_latency_seconds_count{stream="emoji"} ${100 * scale}
tifo_aggregator_rows_total{aggregate="emoji"} ${40 * scale}
tifo_mqtt_deliveries_total ${1000 * scale}
other_total 7
`, METRICS);
  const look = (scale) => ({
    timeMs: scale * 2_000,
    topics: new Map([["emoji", { from: "raw", into: "counts" }]]),
    metrics: metrics(scale),
    status: {
      viewers: 3,
      http: { streams: { emoji: { accepted_total: 100 * scale, buffer: { events: 4, max_events: 9 } } } },
      aggregates: [{ name: "emoji", state: "running", partitions: [{ high_watermark: 90 * scale }], lag: 2, open_window_count: 1, counted: 80 * scale, late: 1, bad: 0 }],
    },
  });
  const [lane] = lanes(look(1), look(2));
  assert.equal(lane.taps.perSecond, 50);
  assert.equal(lane.raw.perSecond, 45);
  assert.equal(lane.aggregator.perSecond, 40);
  assert.equal(lane.rows.perSecond, 20);
  assert.deepEqual(lane.toLog, { meanMs: 200, p99Ms: 500 });
  assert.equal(lane.toRows, undefined);
  assert.deepEqual(fanOut(look(1), look(2)), { viewers: 3, deliveriesPerSecond: 500 });
  assert.equal(lanes(undefined, look(1))[0].taps.perSecond, undefined, "one look is no rate");
});

test("the swarm is bounded, moves by time, and gives places back", async () => {
  const { Crowd } = await load("swarm/crowd");
  const crowd = new Crowd(3, () => 0.5);
  const look = { size: 10 };
  assert.deepEqual([0, 0, 0, 0].map(() => crowd.add(look, 1)), [true, true, true, false]);
  assert.ok(crowd.isWaiting(0));
  const other = new Crowd(3, () => 0.5);
  other.add(look, 1);
  for (let frame = 0; frame < 120; frame++) other.advance(1 / 60);
  crowd.advance(2);
  assert.ok(!crowd.isWaiting(0));
  assert.ok(Math.abs(crowd.top(0) - other.top(0)) < 1e-4, "at any frame rate the same way");
  crowd.advance(10);
  assert.equal(crowd.count, 0);
  assert.ok(crowd.looks.every((one) => one === undefined));
});
