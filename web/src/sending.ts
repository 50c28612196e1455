// Events to the server, tried again a little when it is busy or away. What is sent twice by a lost answer bears the same ids.

const MAX_TRIES = 4;
const FIRST_RETRY_MS = 400;
const MAX_RETRY_MS = 4_000;
const REQUEST_TIMEOUT_MS = 8_000;

/** Whether the server has taken them. */
export async function send(url: string, events: Record<string, unknown>[]): Promise<boolean> {
  const body = JSON.stringify(events);
  for (let attempt = 1; attempt <= MAX_TRIES; attempt++) {
    const wait = await post(url, body);
    if (wait === "taken") return true;
    if (wait === "refused") return false;
    const backOff = Math.min(MAX_RETRY_MS, Math.max(wait, FIRST_RETRY_MS * 2 ** (attempt - 1)));
    if (attempt < MAX_TRIES) await new Promise((resolve) => setTimeout(resolve, backOff));
  }
  return false;
}

/** "taken", "refused" (another try would not help) or the milliseconds that the server asks to wait. */
async function post(url: string, body: string): Promise<"taken" | "refused" | number> {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    if (response.ok) return "taken";
    if (response.status !== 429 && response.status < 500) return "refused";
    const seconds = Number(response.headers.get("retry-after") ?? "0");
    return Number.isFinite(seconds) ? seconds * 1_000 : 0;
  } catch {
    return 0;
  }
}
