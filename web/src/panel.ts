// The small panel: what the server says of itself, every second while somebody looks.

const EVERY_MS = 1_000;
const TIMEOUT_MS = 3_000;

interface Status {
  events_per_second: number;
  viewers: number;
  window_lag_ms: number | null;
}

export function watchStatus(eventsPerSecond: HTMLElement, windowLag: HTMLElement, viewers: HTMLElement): void {
  const show = (status: Status | undefined): void => {
    eventsPerSecond.textContent = status ? amount(status.events_per_second) : "–";
    windowLag.textContent = status && status.window_lag_ms !== null ? duration(status.window_lag_ms) : "–";
    viewers.textContent = status ? amount(status.viewers) : "–";
  };
  const look = async (): Promise<void> => {
    if (!document.hidden) show(await ask());
    window.setTimeout(() => void look(), EVERY_MS);
  };
  void look();
}

async function ask(): Promise<Status | undefined> {
  try {
    const response = await fetch("v1/status", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    return response.ok ? ((await response.json()) as Status) : undefined;
  } catch {
    return undefined;
  }
}

function amount(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return "–";
  return value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });
}

function duration(milliseconds: number | undefined): string {
  if (milliseconds === undefined || !Number.isFinite(milliseconds)) return "–";
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 120_000) return `${(milliseconds / 1_000).toFixed(1)} s`;
  return `${Math.round(milliseconds / 60_000)} min`;
}
