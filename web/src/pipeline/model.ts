// From two looks at the server: what flows through each place, and how long each hop takes. Pure.

import type { Aggregate, Status } from "../server";
import { latencyBetween, sum, type Latency, type Metrics } from "./prometheus";

export const METRICS = ["tifo_http_log_latency", "tifo_aggregator_", "tifo_mqtt_"];

/** One look. */
export interface Look {
  timeMs: number;
  status: Status;
  /** Name, raw topic and aggregate topic of each aggregate. */
  topics: Map<string, { from: string; into: string }>;
  metrics: Metrics;
}

/** One stream, from the taps to the hub. */
export interface Lane {
  stream: string;
  from: string;
  into: string;
  state: string;
  taps: { perSecond?: number; buffered: number };
  raw: { perSecond?: number; records: number };
  aggregator: { perSecond?: number; behind: number; openWindows: number; late: number; bad: number };
  rows: { perSecond?: number };
  hub: { perSecond?: number; behind?: number };
  /** A tap's arrival to its place in the log; a window's end to its rows; the rows to the hub's acceptance. */
  toLog?: Latency;
  toRows?: Latency;
  toHub?: Latency;
}

export interface FanOut {
  deliveriesPerSecond?: number;
  viewers: number;
}

export function lanes(before: Look | undefined, after: Look): Lane[] {
  return (after.status.aggregates ?? []).map((aggregate) => lane(aggregate, before, after));
}

export function fanOut(before: Look | undefined, after: Look): FanOut {
  const made: FanOut = { viewers: after.status.viewers };
  const rate = counterRate(before, after, "tifo_mqtt_deliveries_total", {});
  if (rate !== undefined) made.deliveriesPerSecond = rate;
  return made;
}

function lane(aggregate: Aggregate, before: Look | undefined, after: Look): Lane {
  const { name } = aggregate;
  const earlier = before?.status.aggregates?.find((one) => one.name === name);
  const seconds = before ? (after.timeMs - before.timeMs) / 1_000 : 0;
  const rate = (now: number | undefined, then: number | undefined): { perSecond?: number } =>
    seconds > 0 && now !== undefined && then !== undefined ? { perSecond: Math.max(0, now - then) / seconds } : {};
  const http = after.status.http?.streams[name];
  const counter = (metric: string, labels: Record<string, string>): { perSecond?: number } => {
    const perSecond = counterRate(before, after, metric, labels);
    return perSecond === undefined ? {} : { perSecond };
  };
  const made: Lane = {
    stream: name,
    from: after.topics.get(name)?.from ?? name,
    into: after.topics.get(name)?.into ?? "",
    state: aggregate.state,
    taps: { ...rate(http?.accepted_total, before?.status.http?.streams[name]?.accepted_total), buffered: http?.buffer.events ?? 0 },
    raw: { ...rate(records(aggregate), earlier && records(earlier)), records: records(aggregate) },
    aggregator: {
      ...rate(seen(aggregate), earlier && seen(earlier)),
      behind: aggregate.lag,
      openWindows: aggregate.open_window_count,
      late: aggregate.late,
      bad: aggregate.bad,
    },
    rows: counter("tifo_aggregator_rows_total", { aggregate: name }),
    hub: counter("tifo_mqtt_messages_published_total", { stream: name }),
  };
  if (after.status.mqtt) made.hub.behind = after.status.mqtt.lag;
  return before ? Object.assign(made, latencies(name, before.metrics, after.metrics)) : made;
}

/** The hub's time is told from the window's end on: less that of the rows it is the hop's own. */
function latencies(name: string, before: Metrics, after: Metrics): Pick<Lane, "toLog" | "toRows" | "toHub"> {
  const toLog = latencyBetween(before, after, "tifo_http_log_latency_seconds", { stream: name });
  const toRows = latencyBetween(before, after, "tifo_aggregator_window_lag_seconds", { aggregate: name });
  const published = latencyBetween(before, after, "tifo_mqtt_publish_latency_seconds", { stream: name });
  const found: Pick<Lane, "toLog" | "toRows" | "toHub"> = {};
  if (toLog) found.toLog = toLog;
  if (toRows) found.toRows = toRows;
  if (published && toRows) {
    found.toHub = { meanMs: Math.max(0, published.meanMs - toRows.meanMs), p99Ms: Number.POSITIVE_INFINITY };
  }
  return found;
}

function counterRate(before: Look | undefined, after: Look, metric: string, labels: Record<string, string>): number | undefined {
  if (!before || after.timeMs <= before.timeMs) return undefined;
  const [now, then] = [sum(after.metrics, metric, labels), sum(before.metrics, metric, labels)];
  return now === undefined ? undefined : Math.max(0, now - (then ?? 0)) / ((after.timeMs - before.timeMs) / 1_000);
}

function records(aggregate: Aggregate): number {
  return aggregate.partitions.reduce((total, partition) => total + partition.high_watermark, 0);
}

function seen(aggregate: Aggregate): number {
  return aggregate.counted + aggregate.late + aggregate.bad;
}
