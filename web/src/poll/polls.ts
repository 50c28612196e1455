// The polls that this server holds: it tells them with its streams.

import type { ServerClock } from "../clock";
import { BackOff } from "../live/back_off";
import { getJson } from "../server";
import { Poll } from "./poll";
import type { PollInfo } from "./round";

interface Streams {
  streams: { name: string; poll?: PollInfo }[];
}

const MAX_POLLS = 4;

/** Asks until it is answered, and puts the polls on the page. */
export async function findPolls(
  place: HTMLElement,
  channel: string,
  user: string,
  clock: ServerClock,
  found: (stream: string, poll: Poll) => void,
): Promise<void> {
  const backOff = new BackOff();
  let answer = await getJson<Streams>("v1/streams");
  while (!answer) {
    await new Promise((resolve) => setTimeout(resolve, backOff.next()));
    answer = await getJson<Streams>("v1/streams");
  }
  for (const { name, poll } of answer.streams.filter((stream) => stream.poll).slice(0, MAX_POLLS)) {
    if (!poll) continue;
    const made = new Poll(poll, { stream: name, channel, user }, clock);
    place.append(made.card);
    found(name, made);
  }
  place.hidden = place.childElementCount === 0;
}
