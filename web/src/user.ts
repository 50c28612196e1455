// Who taps and votes here: one name per browser; a browser that keeps nothing gets one per visit.

import { uuid } from "./taps";

const USER_KEY = "tifo-user";

export function userId(): string {
  try {
    const known = localStorage.getItem(USER_KEY);
    if (known) return known;
    const fresh = `web-${uuid()}`;
    localStorage.setItem(USER_KEY, fresh);
    return fresh;
  } catch {
    return `web-${uuid()}`;
  }
}
