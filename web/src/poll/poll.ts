// A poll: a question, its answers as buttons that are bars too, and how it stands. The bars follow the crowd's messages, one's own
// choice shows at once, and the final result is said to everybody.

import type { ServerClock } from "../clock";
import { element, forTheEye, mark, say } from "../dom";
import type { Mood, Share } from "../live/message";
import { send } from "../sending";
import { uuid } from "../taps";
import { count, countdown, percent } from "../words";
import { isFinal, phaseAt, type Phase, type PollInfo } from "./round";

const LOOK_EVERY_MS = 250;

interface Answer {
  button: HTMLButtonElement;
  fill: HTMLElement;
  share: HTMLElement;
  spoken: HTMLElement;
}

/** Where votes go, and whose they are. */
export interface Voter {
  stream: string;
  channel: string;
  user: string;
}

export class Poll {
  readonly card = element("section", "poll");
  private readonly note = element("p", "poll-note");
  private readonly result = element("p", "poll-result");
  private readonly trouble = element("p", "poll-trouble");
  private readonly answers = new Map<string, Answer>();
  private shown: Mood | undefined;
  /** One's own choice, and the round that it was made in. */
  private own: { answer: string; startMs: number } | undefined;

  constructor(
    private readonly info: PollInfo,
    private readonly voter: Voter,
    private readonly clock: ServerClock,
  ) {
    const question = element("h2", "poll-question", info.question);
    question.id = `poll-${voter.stream}`;
    this.card.setAttribute("aria-labelledby", question.id);
    this.card.dataset["poll"] = voter.stream;
    const list = element("ul", "poll-answers");
    for (const { id, label } of info.answers) list.append(this.makeAnswer(id, label));
    this.result.setAttribute("role", "status");
    this.trouble.setAttribute("role", "status");
    this.card.append(question, this.note, list, this.result, this.trouble);
    window.setInterval(() => this.look(), LOOK_EVERY_MS);
    this.look();
  }

  /** How it stands, newest last. */
  show(mood: Mood): void {
    this.shown = mood;
    const final = isFinal(this.info, mood);
    mark(this.card, "final", String(final));
    mark(this.card, "windowStart", String(mood.window_start));
    mark(this.card, "total", String(mood.total));
    const shares = new Map(mood.top.map((share) => [share.reaction, share]));
    for (const [id, answer] of this.answers) draw(answer, shares.get(id), final && mood.top[0]?.reaction === id);
    if (final) say(this.result, this.words(mood));
    this.look();
  }

  private makeAnswer(id: string, label: string): HTMLLIElement {
    const button = element("button", "answer");
    button.type = "button";
    button.dataset["answer"] = id;
    button.setAttribute("aria-pressed", "false");
    const [fill, share] = [forTheEye(element("i", "answer-fill")), forTheEye(element("span", "answer-share"))];
    const spoken = element("span", "visually-hidden");
    button.append(fill, forTheEye(element("span", "answer-mark")), element("span", "answer-label", label), spoken, share);
    button.addEventListener("click", () => void this.vote(id));
    this.answers.set(id, { button, fill, share, spoken });
    const item = element("li", "");
    item.append(button);
    return item;
  }

  private async vote(answer: string): Promise<void> {
    const now = this.clock.ms();
    const phase = phaseAt(this.info, now);
    if (phase.kind !== "open" || !this.mayVote(phase)) return;
    const before = this.own;
    const vote = { answer, startMs: phase.startMs };
    this.own = vote;
    say(this.trouble, "");
    this.look();
    const event = {
      user_id: this.voter.user,
      channel_id: this.voter.channel,
      timestamp: new Date(now).toISOString(),
      message_id: uuid(),
      metadata: { reaction: answer },
    };
    const sent = await send(`v1/streams/${encodeURIComponent(this.voter.stream)}/events?ack=committed`, [event]);
    if (sent || this.own !== vote) return;
    this.own = before;
    say(this.trouble, "Your vote did not get through. Choose again.");
    this.look();
  }

  private mayVote(phase: Phase): boolean {
    if (phase.kind !== "open") return false;
    return this.info.may_change || this.own?.startMs !== phase.startMs;
  }

  /** What changes with time alone: the countdown, and whether one may vote. */
  private look(): void {
    const now = this.clock.ms();
    const phase = phaseAt(this.info, now);
    if (phase.kind === "open" && this.own && this.own.startMs !== phase.startMs) this.own = undefined;
    mark(this.card, "phase", phase.kind);
    say(this.note, this.noteOf(phase, now));
    for (const [id, { button }] of this.answers) {
      const [pressed, disabled] = [String(this.own?.answer === id), String(!this.mayVote(phase))];
      if (button.getAttribute("aria-pressed") !== pressed) button.setAttribute("aria-pressed", pressed);
      // Not `disabled`: who stands on it with the keyboard stays there.
      if (button.getAttribute("aria-disabled") !== disabled) button.setAttribute("aria-disabled", disabled);
    }
  }

  private noteOf(phase: Phase, now: number): string {
    if (phase.kind === "waiting") return `opens in ${countdown(phase.opensMs - now)}`;
    if (phase.kind === "closed") return this.shown ? `closed, ${count(this.shown.total, "vote")}` : "closed";
    const left = `${countdown(phase.endMs - now)} left`;
    const isRunning = this.shown && this.shown.window_start >= phase.startMs;
    return isRunning && this.shown ? `${count(this.shown.total, "vote")}, ${left}` : `no vote yet, ${left}`;
  }

  private words(mood: Mood): string {
    const [first, second] = mood.top;
    if (!first) return "";
    const label = (id: string): string => this.info.answers.find((answer) => answer.id === id)?.label ?? id;
    const votes = `of ${count(mood.total, "vote")}`;
    if (second && second.count === first.count) return `Final result: a draw at ${percent(first.share)} ${votes}`;
    return `Final result: ${label(first.reaction)}, ${percent(first.share)} ${votes}`;
  }
}

function draw(answer: Answer, share: Share | undefined, won: boolean): void {
  const { button, fill } = answer;
  mark(button, "count", String(share?.count ?? 0));
  mark(button, "share", String(share?.share ?? 0));
  mark(button, "won", String(won));
  fill.style.setProperty("--fill", String(share?.share ?? 0));
  say(answer.share, percent(share?.share ?? 0));
  say(answer.spoken, `, ${percent(share?.share ?? 0)}, ${count(share?.count ?? 0, "vote")}`);
}
