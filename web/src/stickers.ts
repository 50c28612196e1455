// The stickers of the sports bar. `reaction` is what the event says and what the aggregate counts by.

export interface Sticker {
  id: string;
  reaction: string;
  label: string;
  emotion: string;
  shelf: Shelf;
}

export const SHELVES = ["Match", "Laugh", "Drama", "Love", "Colours"] as const;
export type Shelf = (typeof SHELVES)[number];

const ROWS: [Shelf, string, string, string][] = [
  ["Match", "🥊", "punch", "excitement"],
  ["Match", "🔥", "fire", "excitement"],
  ["Match", "👏", "applause", "happy"],
  ["Match", "💪", "strength", "excitement"],
  ["Match", "🙌", "hands up", "happy"],
  ["Match", "⚽", "goal", "excitement"],
  ["Match", "🏆", "trophy", "happy"],
  ["Match", "💯", "hundred", "happy"],
  ["Match", "👊", "fist", "excitement"],
  ["Laugh", "😂", "tears of joy", "happy"],
  ["Laugh", "🤣", "rolling with laughter", "happy"],
  ["Laugh", "😅", "sweat", "happy"],
  ["Laugh", "🐐", "greatest of all time", "happy"],
  ["Laugh", "🙈", "cannot look", "happy"],
  ["Laugh", "🤑", "money face", "happy"],
  ["Drama", "😱", "scream", "surprise"],
  ["Drama", "😭", "crying", "sad"],
  ["Drama", "🤔", "thinking", "other"],
  ["Drama", "👀", "watching", "surprise"],
  ["Drama", "💀", "dead", "surprise"],
  ["Drama", "🙄", "eye roll", "anger"],
  ["Drama", "😡", "angry", "anger"],
  ["Drama", "😴", "asleep", "other"],
  ["Love", "❤️", "heart", "love"],
  ["Love", "😍", "heart eyes", "love"],
  ["Love", "😎", "cool", "happy"],
  ["Love", "🎉", "party", "happy"],
  ["Love", "👑", "crown", "love"],
  ["Love", "🍀", "luck", "love"],
  ["Colours", "🇮🇪", "Ireland", "love"],
  ["Colours", "🇺🇸", "United States", "love"],
  ["Colours", "🔴", "red", "other"],
  ["Colours", "🔵", "blue", "other"],
  ["Colours", "💚", "green", "love"],
  ["Colours", "💛", "yellow", "love"],
];

export const STICKERS: readonly Sticker[] = ROWS.map(([shelf, reaction, label, emotion], index) => ({
  id: `s${String(index + 1).padStart(3, "0")}`,
  reaction,
  label,
  emotion,
  shelf,
}));

const LABELS = new Map(STICKERS.map((sticker) => [sticker.reaction, sticker.label]));

/** A name to read out; a reaction that is no sticker of ours speaks for itself. */
export function labelOf(reaction: string): string {
  return LABELS.get(reaction) ?? reaction;
}
