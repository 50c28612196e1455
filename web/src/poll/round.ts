// When one may vote, and when a result is final. Pure; times are the server's.

import type { Mood } from "../live/message";

export interface PollInfo {
  question: string;
  answers: { id: string; label: string }[];
  round_ms: number;
  opens_ms: number | null;
  closes_ms: number | null;
  /** A later vote moves the first one. */
  may_change: boolean;
}

export type Phase = { kind: "waiting"; opensMs: number } | { kind: "open"; startMs: number; endMs: number } | { kind: "closed" };

export function phaseAt(poll: PollInfo, now: number): Phase {
  if (poll.opens_ms !== null && now < poll.opens_ms) return { kind: "waiting", opensMs: poll.opens_ms };
  if (poll.closes_ms !== null && now >= poll.closes_ms) return { kind: "closed" };
  const startMs = startOf(poll, now);
  return { kind: "open", startMs, endMs: endOf(poll, startMs) };
}

/** The last that will be said of its round. */
export function isFinal(poll: PollInfo, mood: Mood): boolean {
  return mood.final !== false && mood.window_end >= endOf(poll, startOf(poll, mood.window_start));
}

/** Rounds are the aggregate's windows: aligned to the opening, or to the epoch. */
function startOf(poll: PollInfo, time: number): number {
  const from = poll.opens_ms ?? 0;
  return from + Math.floor((time - from) / poll.round_ms) * poll.round_ms;
}

function endOf(poll: PollInfo, startMs: number): number {
  return Math.min(startMs + poll.round_ms, poll.closes_ms ?? Number.POSITIVE_INFINITY);
}
