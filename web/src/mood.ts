// The top-N as text: bars for the eye, a list for everybody, and from time to time a sentence for a screen reader.

import type { Mood, Share } from "./live";
import { labelOf } from "./stickers";

const SPEAK_EVERY_MS = 8_000;
const SPOKEN = 3;

export class MoodList {
  private lastSpoken = -SPEAK_EVERY_MS;

  constructor(
    private readonly list: HTMLOListElement,
    private readonly note: HTMLElement,
    private readonly live: HTMLElement,
  ) {}

  show(mood: Mood): void {
    this.list.dataset["windowStart"] = String(mood.window_start);
    this.list.dataset["total"] = String(mood.total);
    this.list.replaceChildren(...mood.top.map((share, index) => this.row(share, index, mood.top[0]?.share ?? 1)));
    const seconds = Math.round((mood.window_end - mood.window_start) / 100) / 10;
    this.note.textContent = `${count(mood.total, "cheer")} in ${seconds}\u00a0s, ${count(mood.groups, "kind")}`;
    this.speak(mood);
  }

  private row(share: Share, index: number, largest: number): HTMLLIElement {
    const row = document.createElement("li");
    row.dataset["reaction"] = share.reaction;
    row.dataset["count"] = String(share.count);
    row.dataset["share"] = String(share.share);
    row.dataset["rank"] = String(index + 1);
    const emoji = element("span", "mood-emoji", share.reaction);
    emoji.setAttribute("aria-hidden", "true");
    const bar = element("span", "mood-bar");
    bar.setAttribute("aria-hidden", "true");
    const fill = element("i", "");
    fill.style.setProperty("--fill", String(largest > 0 ? share.share / largest : 0));
    bar.append(fill);
    const name = element("span", "visually-hidden", `${labelOf(share.reaction)}, ${share.count}, `);
    row.append(emoji, bar, name, element("span", "mood-share", percent(share.share)));
    return row;
  }

  private speak(mood: Mood): void {
    const now = performance.now();
    if (now - this.lastSpoken < SPEAK_EVERY_MS || mood.top.length === 0) return;
    this.lastSpoken = now;
    const words = mood.top.slice(0, SPOKEN).map((share) => `${labelOf(share.reaction)} ${percent(share.share)}`);
    this.live.textContent = `The crowd: ${words.join(", ")}`;
  }
}

export function percent(share: number): string {
  const value = share * 100;
  return `${value >= 10 || value === 0 ? Math.round(value) : Math.round(value * 10) / 10} %`;
}

export function count(number: number, noun: string): string {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

export function element<K extends keyof HTMLElementTagNameMap>(tag: K, className: string, text?: string): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
