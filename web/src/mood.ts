// The top-N as text: bars for the eye, a list for everybody, and from time to time a sentence for a screen reader. Rows are made
// once and then only rewritten where they differ.

import { element, forTheEye, mark, say } from "./dom";
import type { Mood, Share } from "./live/message";
import { labelOf } from "./stickers";
import { count, percent } from "./words";

const SPEAK_EVERY_MS = 8_000;
const SPOKEN = 3;

interface Row {
  row: HTMLLIElement;
  emoji: HTMLElement;
  fill: HTMLElement;
  name: HTMLElement;
  share: HTMLElement;
}

export class MoodList {
  private lastSpoken = -SPEAK_EVERY_MS;
  private readonly rows: Row[] = [];

  constructor(
    private readonly list: HTMLOListElement,
    private readonly note: HTMLElement,
    private readonly live: HTMLElement,
  ) {}

  show(mood: Mood): void {
    mark(this.list, "windowStart", String(mood.window_start));
    mark(this.list, "windowEnd", String(mood.window_end));
    mark(this.list, "total", String(mood.total));
    while (this.rows.length < mood.top.length) this.rows.push(makeRow());
    mood.top.forEach((share, index) => this.write(index, share, mood.top[0]?.share ?? 1));
    this.list.replaceChildren(...this.rows.slice(0, mood.top.length).map(({ row }) => row));
    const seconds = Math.round((mood.window_end - mood.window_start) / 100) / 10;
    say(this.note, `${count(mood.total, "cheer")} in ${seconds}\u00a0s, ${count(mood.groups, "kind")}`);
    this.speak(mood);
  }

  private write(index: number, share: Share, largest: number): void {
    const made = this.rows[index];
    if (!made) return;
    mark(made.row, "reaction", share.reaction);
    mark(made.row, "count", String(share.count));
    mark(made.row, "share", String(share.share));
    mark(made.row, "rank", String(index + 1));
    say(made.emoji, share.reaction);
    say(made.name, `${labelOf(share.reaction)}, ${share.count}, `);
    say(made.share, percent(share.share));
    made.fill.style.setProperty("--fill", String(largest > 0 ? share.share / largest : 0));
  }

  private speak(mood: Mood): void {
    const now = performance.now();
    if (now - this.lastSpoken < SPEAK_EVERY_MS || mood.top.length === 0) return;
    this.lastSpoken = now;
    const words = mood.top.slice(0, SPOKEN).map((share) => `${labelOf(share.reaction)} ${percent(share.share)}`);
    say(this.live, `The crowd: ${words.join(", ")}`);
  }
}

function makeRow(): Row {
  const row = element("li", "");
  const emoji = forTheEye(element("span", "mood-emoji"));
  const bar = forTheEye(element("span", "mood-bar"));
  const fill = element("i", "");
  const name = element("span", "visually-hidden");
  const share = element("span", "mood-share");
  bar.append(fill);
  row.append(emoji, bar, name, share);
  return { row, emoji, fill, name, share };
}
