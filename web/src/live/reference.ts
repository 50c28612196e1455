// Where a server sends us: MQTT 5's Server Reference, which may name several places. Pure.

/** A place to connect to, or none that a page can use. `home` is the address of our own server's WebSocket. */
export function webSocketOf(reference: string | undefined, home: string): string | undefined {
  const places = (reference ?? "").split(/\s+/).filter((place) => place !== "");
  const addresses = places.filter((place) => /^wss?:\/\//.test(place));
  return valid(addresses[0]) ?? valid(hostAndPort(places[0], home));
}

function hostAndPort(place: string | undefined, home: string): string | undefined {
  if (place === undefined || place.includes("/")) return undefined;
  const { protocol, pathname } = new URL(home);
  return `${protocol}//${place}${pathname}`;
}

function valid(address: string | undefined): string | undefined {
  try {
    return address === undefined ? undefined : new URL(address).href;
  } catch {
    return undefined;
  }
}
