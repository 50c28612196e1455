// The page: taps go out over HTTP, the crowd comes in over MQTT. This file only connects the parts.

import "./style.css";
import { fillBar } from "./bar";
import { Feed } from "./feed";
import { follow, type ConnectionState, type Mood } from "./live";
import { MoodList } from "./mood";
import { watchStatus } from "./panel";
import type { Sticker } from "./stickers";
import { Swarm } from "./swarm";
import { TapSender } from "./taps";

const STREAM = "emoji";
const DEFAULT_CHANNEL = "ch-maymac";
const STATE_WORDS: Record<ConnectionState, string> = { connecting: "connecting …", live: "live", offline: "offline, trying again" };

const channel = new URLSearchParams(location.search).get("channel") || DEFAULT_CHANNEL;
const swarm = new Swarm(get("swarm", HTMLCanvasElement));
const mood = new MoodList(get("top", HTMLOListElement), get("mood-note", HTMLElement), get("top-live", HTMLElement));
const feed = new Feed(get("feed", HTMLOListElement), get("feed-empty", HTMLElement));
const note = get("tap-note", HTMLElement);
const connection = get("connection", HTMLElement);
let newest: { message: Mood; retained: boolean } | undefined;

const taps = new TapSender(`v1/streams/${encodeURIComponent(STREAM)}/events?ack=buffered`, channel, (tap) => {
  feed.mark(tap);
  note.textContent = tap.state === "failed" ? "A sticker did not get through. Tap it again." : "";
});

get("channel", HTMLElement).textContent = channel;
fillBar(get("stickers", HTMLElement), get("shelves", HTMLElement), cheer);
watchStatus(get("events-per-second", HTMLElement), get("window-lag", HTMLElement), get("viewers", HTMLElement));
follow(
  STREAM,
  channel,
  (message, retained) => {
    // A replay at full speed brings hundreds of windows a second: a frame shows the newest.
    if (!newest) requestAnimationFrame(showNewest);
    newest = { message, retained };
  },
  (state) => {
    connection.dataset["state"] = state;
    connection.textContent = STATE_WORDS[state];
  },
);

function showNewest(): void {
  if (!newest) return;
  const { message, retained } = newest;
  newest = undefined;
  mood.show(message);
  swarm.show(message.top, message.total);
  if (!retained) feed.crowd(message);
}

function cheer(sticker: Sticker): void {
  feed.own(taps.tap(sticker));
  swarm.burst(sticker.reaction);
}

function get<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no #${id}`);
  return found;
}
