// Prometheus' text, as far as the picture needs it: series by name and labels, and what a histogram has gathered between two looks.
// Pure.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

export interface Series {
  labels: Record<string, string>;
  value: number;
}

export type Metrics = Map<string, Series[]>;

/** Only names that begin with one of these. */
export function parseMetrics(text: string, prefixes: string[]): Metrics {
  const metrics: Metrics = new Map();
  for (const line of text.split("\n")) {
    if (!prefixes.some((prefix) => line.startsWith(prefix))) continue;
    const [, name, labels, value] = LINE.exec(line) ?? [];
    if (name === undefined) continue;
    const found: Record<string, string> = {};
    for (const [, label, text] of (labels ?? "").matchAll(LABEL)) if (label !== undefined) found[label] = text ?? "";
    const series = metrics.get(name);
    const one = { labels: found, value: Number(value) };
    if (series) series.push(one);
    else metrics.set(name, [one]);
  }
  return metrics;
}

/** The sum of all series with these labels; none: there is no such series. */
export function sum(metrics: Metrics, name: string, labels: Record<string, string> = {}): number | undefined {
  const fits = (series: Series): boolean => Object.entries(labels).every(([label, value]) => series.labels[label] === value);
  const series = metrics.get(name)?.filter(fits);
  return series && series.length > 0 ? series.reduce((total, one) => total + one.value, 0) : undefined;
}

export interface Latency {
  meanMs: number;
  /** An upper bound: the end of the histogram's bucket. */
  p99Ms: number;
}

/** What a histogram in seconds has seen between two looks; none: nothing. */
export function latencyBetween(before: Metrics, after: Metrics, name: string, labels: Record<string, string>): Latency | undefined {
  const gained = (suffix: string, more: Record<string, string> = {}): number =>
    (sum(after, name + suffix, { ...labels, ...more }) ?? 0) - (sum(before, name + suffix, { ...labels, ...more }) ?? 0);
  const seen = gained("_count");
  if (seen <= 0) return undefined;
  const bounds = [...new Set((after.get(`${name}_bucket`) ?? []).map((series) => series.labels["le"] ?? ""))];
  const finite = bounds.filter((bound) => Number.isFinite(Number(bound))).sort((a, b) => Number(a) - Number(b));
  const reached = finite.find((le) => gained("_bucket", { le }) >= seen * 0.99);
  return { meanMs: (gained("_sum") / seen) * 1_000, p99Ms: reached === undefined ? Number.POSITIVE_INFINITY : Number(reached) * 1_000 };
}
