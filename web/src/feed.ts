// The live feed: one's own stickers at once, with what became of them, and the crowd's windows between them.

import { element } from "./dom";
import type { Mood } from "./live/message";
import type { Tap } from "./taps";
import { count } from "./words";

const MAX_ENTRIES = 40;
const CROWD_EMOJI = 4;
/** The crowd speaks at most this often; a replay at full speed would wash one's own stickers away. */
const CROWD_EVERY_MS = 900;
const WORDS = { sending: "sending …", sent: "in the crowd", failed: "not sent" } as const;

export class Feed {
  private lastCrowd = -CROWD_EVERY_MS;

  constructor(
    private readonly list: HTMLOListElement,
    private readonly empty: HTMLElement,
  ) {}

  own(tap: Tap): void {
    const entry = element("li", "feed-entry feed-own");
    entry.dataset["own"] = "true";
    entry.dataset["tap"] = tap.id;
    entry.dataset["reaction"] = tap.sticker.reaction;
    entry.append(element("span", "feed-emoji", tap.sticker.reaction), element("span", "feed-who", "you"), element("span", "feed-state"));
    this.add(entry);
    this.mark(tap);
  }

  /** Shows the tap's state, if it is still in the feed. */
  mark(tap: Tap): void {
    const entry = this.list.querySelector<HTMLLIElement>(`[data-tap="${tap.id}"]`);
    const state = entry?.querySelector(".feed-state");
    if (!entry || !state) return;
    entry.dataset["state"] = tap.state;
    state.textContent = WORDS[tap.state];
  }

  crowd(mood: Mood): void {
    const now = performance.now();
    if (now - this.lastCrowd < CROWD_EVERY_MS) return;
    this.lastCrowd = now;
    const entry = element("li", "feed-entry feed-crowd");
    entry.dataset["windowStart"] = String(mood.window_start);
    const emoji = mood.top.slice(0, CROWD_EMOJI).map((share) => share.reaction).join("");
    entry.append(element("span", "feed-emojis", emoji), element("span", "feed-who", count(mood.total, "cheer")));
    this.add(entry);
  }

  private add(entry: HTMLLIElement): void {
    this.empty.hidden = true;
    this.list.prepend(entry);
    while (this.list.childElementCount > MAX_ENTRIES) this.list.lastElementChild?.remove();
  }
}
