// The page: taps go out over HTTP, the crowd comes in over MQTT. This file only connects the parts.

import "./style.css";
import { fillBar } from "./bar";
import { get, mark, say } from "./dom";
import { Feed } from "./feed";
import { Freshness } from "./freshness";
import { Link, type LinkState } from "./live/link";
import { streamTopic, type Arrival } from "./live/message";
import { Newest } from "./live/newest";
import { MoodList } from "./mood";
import { showPanel } from "./panel";
import { Pipeline, type LastHop } from "./pipeline/pipeline";
import { findPolls } from "./poll/polls";
import { Server } from "./server";
import type { Sticker } from "./stickers";
import type { Report } from "./swarm/messages";
import { Swarm } from "./swarm/swarm";
import { TapSender } from "./taps";
import { userId } from "./user";

const STREAM = "emoji";
const DEFAULT_CHANNEL = "ch-maymac";
const STATE_WORDS: Record<LinkState, string> = {
  connecting: "connecting …",
  live: "live",
  moving: "moving to another node …",
  offline: "offline, trying again",
};

const asked = new URLSearchParams(location.search);
const channel = asked.get("channel") || DEFAULT_CHANNEL;
const user = userId();
const server = new Server();
let frames: Report | undefined;
let latencyMs: number | undefined;
const swarm = new Swarm(get("swarm", HTMLCanvasElement), (report) => (frames = report));
const mood = new MoodList(get("top", HTMLOListElement), get("mood-note", HTMLElement), get("top-live", HTMLElement));
const feed = new Feed(get("feed", HTMLOListElement), get("feed-empty", HTMLElement));
const freshness = new Freshness(get("freshness", HTMLElement), get("stage", HTMLElement), server.clock);
const note = get("tap-note", HTMLElement);
const connection = get("connection", HTMLElement);

const eventsUrl = `v1/streams/${encodeURIComponent(STREAM)}/events?ack=buffered`;
const taps = new TapSender(eventsUrl, channel, user, () => server.clock.ms(), (tap) => {
  feed.mark(tap);
  say(note, tap.state === "failed" ? "A sticker did not get through. Tap it again." : "");
});

// A replay at full speed brings hundreds of windows a second: a frame shows the newest of each topic.
const shown = new Map<string, (arrival: Arrival) => void>();
const newest = new Map<string, { newest: Newest; waiting: Arrival | undefined }>();

function follow(topic: string, show: (arrival: Arrival) => void): string {
  shown.set(topic, show);
  newest.set(topic, { newest: new Newest(), waiting: undefined });
  return topic;
}

function arrived(topic: string, arrival: Arrival): void {
  const state = newest.get(topic);
  if (!state?.newest.takes(arrival)) return;
  if (!arrival.retained && arrival.origin.timeMs !== undefined) latencyMs = Math.max(0, server.clock.ms() - arrival.origin.timeMs);
  if (!state.waiting) requestAnimationFrame(() => showNewest(topic));
  state.waiting = arrival;
}

function showNewest(topic: string): void {
  const state = newest.get(topic);
  if (!state?.waiting) return;
  const arrival = state.waiting;
  state.waiting = undefined;
  shown.get(topic)?.(arrival);
}

const moodTopic = follow(streamTopic(STREAM, channel), (arrival) => {
  mood.show(arrival.mood);
  swarm.show(arrival.mood.top, arrival.mood.total);
  freshness.arrived(arrival);
  if (!arrival.retained) feed.crowd(arrival.mood);
});

const link = new Link([moodTopic], {
  arrived,
  changed: (state) => {
    mark(connection, "state", state);
    say(connection, STATE_WORDS[state]);
    freshness.changed(state);
  },
});

function lastHop(): LastHop {
  const protocol = link.version === 5 ? "MQTT 5" : "MQTT 3.1.1";
  return { node: new URL(link.url).host, protocol, connections: link.connections, latencyMs, swarm: frames };
}

function cheer(sticker: Sticker): void {
  feed.own(taps.tap(sticker));
  swarm.burst(sticker.reaction);
}

say(get("channel", HTMLElement), channel);
fillBar(get("stickers", HTMLElement), get("shelves", HTMLElement), cheer);
showPanel(server, get("events-per-second", HTMLElement), get("window-lag", HTMLElement), get("viewers", HTMLElement));
const opener = get("open-pipeline", HTMLButtonElement);
new Pipeline(get("pipeline-dialog", HTMLDialogElement), get("lanes", HTMLElement), get("pipeline-trouble", HTMLElement), server, lastHop, opener);
void findPolls(get("polls", HTMLElement), channel, user, server.clock, (stream, poll) => {
  link.follow(follow(streamTopic(stream, channel), (arrival) => poll.show(arrival.mood)));
});
if (asked.has("fill")) swarm.fill(Number(asked.get("fill")));
