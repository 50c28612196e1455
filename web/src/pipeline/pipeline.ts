// The operator's panel: a dialog with the pipeline as a picture, looked at once a second while it is open and not at all else.

import { element, say } from "../dom";
import { getJson, getText, type Server, type Status } from "../server";
import { amount, count, duration } from "../words";
import { Cluster } from "./cluster";
import { fanOut, lanes, METRICS, type FanOut, type Lane, type Look } from "./model";
import { Picture, type Place } from "./picture";
import { parseMetrics, type Latency } from "./prometheus";

const HASH = "#pipeline";
/** Rates and latencies are over so many looks: windows close every few seconds, not every second. */
const KEPT_LOOKS = 6;

/** What only this page can know: the last hop, as it was on its way here. */
export interface LastHop {
  node: string;
  protocol: string;
  connections: number;
  latencyMs?: number | undefined;
  swarm?: { framesPerSecond: number; frameMs: number; sprites: number } | undefined;
}

interface Described {
  aggregates: { name: string; definition?: { from: string; into: string } }[];
}

export class Pipeline {
  private readonly pictures = new Map<string, Picture>();
  private readonly fan = new Picture("From the hub to the viewers");
  private readonly cluster = new Cluster();
  /** Oldest first. */
  private looks: Look[] = [];
  private looking = false;

  constructor(
    private readonly dialog: HTMLDialogElement,
    private readonly place: HTMLElement,
    private readonly trouble: HTMLElement,
    private readonly server: Server,
    private readonly lastHop: () => LastHop,
    opener: HTMLButtonElement,
  ) {
    opener.addEventListener("click", () => this.open());
    dialog.querySelector("button")?.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.closed());
    // A click beside the dialog is one on the dialog itself.
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    server.watch((status) => void this.look(status));
    const fan = element("section", "lane");
    fan.append(element("h3", "lane-title", "Fan-out"), this.fan.list, this.cluster.place);
    place.append(fan);
    if (location.hash === HASH) this.open();
  }

  private open(): void {
    if (this.dialog.open) return;
    this.dialog.showModal();
    history.replaceState(null, "", HASH);
    this.server.lookOften(true);
  }

  private closed(): void {
    this.looks = [];
    history.replaceState(null, "", location.pathname + location.search);
    this.server.lookOften(false);
  }

  private async look(status: Status | undefined): Promise<void> {
    if (!this.dialog.open || this.looking) return;
    this.looking = true;
    say(this.trouble, status ? "" : "The server does not answer.");
    if (status) await this.draw(status);
    this.looking = false;
  }

  private async draw(status: Status): Promise<void> {
    const [described, metrics] = await Promise.all([
      getJson<Described>("v1/aggregates"),
      getText("metrics"),
      this.cluster.look(),
    ]);
    const topics = new Map((described?.aggregates ?? []).map(({ name, definition }) => [name, definition ?? { from: name, into: "" }]));
    const now: Look = { timeMs: performance.now(), status, topics, metrics: parseMetrics(metrics ?? "", METRICS) };
    const [before] = this.looks;
    for (const lane of lanes(before, now)) this.pictureOf(lane.stream).draw(placesOf(lane));
    this.fan.draw(fanPlaces(fanOut(before, now), this.lastHop()));
    this.looks = [...this.looks, now].slice(-KEPT_LOOKS);
  }

  private pictureOf(stream: string): Picture {
    const known = this.pictures.get(stream);
    if (known) return known;
    const made = new Picture(`Stream ${stream}, from the taps to the hub`);
    const section = element("section", "lane");
    section.dataset["lane"] = stream;
    section.append(element("h3", "lane-title", `Stream ${stream}`), made.list);
    this.place.insertBefore(section, this.place.lastElementChild);
    this.pictures.set(stream, made);
    return made;
  }
}

function placesOf(lane: Lane): Place[] {
  const { taps, raw, aggregator, rows, hub } = lane;
  const rate = (perSecond: number | undefined): Pick<Place, "figure" | "unit"> => ({ figure: amount(perSecond), unit: "/s" });
  const flows = (perSecond: number | undefined): boolean => (perSecond ?? 0) > 0;
  const lost = [aggregator.late > 0 ? `${amount(aggregator.late)} late` : "", aggregator.bad > 0 ? `${amount(aggregator.bad)} bad` : ""];
  return [
    {
      icon: "👆", title: "Taps", ...rate(taps.perSecond), facts: [`${amount(taps.buffered)} buffered`],
      hop: { ...timed(lane.toLog, "into the log"), flows: flows(taps.perSecond) },
    },
    {
      icon: "🪵", title: lane.from, ...rate(raw.perSecond), facts: ["raw topic", count(raw.records, "record")],
      hop: { time: `${amount(aggregator.behind)} behind`, what: "read", flows: flows(aggregator.perSecond) },
    },
    {
      icon: "🪟", title: "Aggregator", ...rate(aggregator.perSecond),
      facts: [count(aggregator.openWindows, "open window"), ...lost.filter((words) => words !== "")],
      hop: { ...timed(lane.toRows, "after the window"), flows: flows(rows.perSecond) },
      trouble: lane.state === "failed",
    },
    {
      icon: "📊", title: lane.into, ...rate(rows.perSecond), facts: ["aggregate topic"],
      hop: { ...timed(lane.toHub, "top-N"), flows: flows(hub.perSecond) },
    },
    { icon: "📣", title: "Hub", ...rate(hub.perSecond), facts: hub.behind === undefined ? [] : [`${amount(hub.behind)} rows behind`] },
  ];
}

function fanPlaces(fan: FanOut, last: LastHop): Place[] {
  const flows = (fan.deliveriesPerSecond ?? 0) > 0;
  const swarm = last.swarm;
  return [
    {
      icon: "🌐", title: "Nodes", figure: amount(fan.deliveriesPerSecond), unit: "/s", facts: ["deliveries"],
      hop: { time: duration(last.latencyMs), what: "hub to this page", flows },
    },
    {
      icon: "👥", title: "Viewers", figure: amount(fan.viewers), unit: "", facts: ["connected"],
      hop: { time: last.protocol, what: last.node, flows },
    },
    {
      icon: "🖥️", title: "This page", figure: swarm ? amount(Math.round(swarm.framesPerSecond)) : "–", unit: "frames/s",
      facts: swarm ? [count(swarm.sprites, "sprite"), `${duration(swarm.frameMs)} a frame`, count(last.connections, "connection")] : [],
    },
  ];
}

function timed(latency: Latency | undefined, what: string): { time: string; what: string } {
  if (!latency) return { time: "–", what };
  const worst = Number.isFinite(latency.p99Ms) ? `, p99 ≤ ${duration(latency.p99Ms)}` : "";
  return { time: duration(latency.meanMs), what: `${what}${worst}` };
}
