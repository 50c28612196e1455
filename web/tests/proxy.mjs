// A way to tifo that can be cut: TCP from here to there, byte by byte.

import { createServer, connect } from "node:net";
import { once } from "node:events";

export class Proxy {
  #sockets = new Set();
  #open = true;

  static async to(url) {
    const proxy = new Proxy();
    const { hostname, port } = new URL(url);
    proxy.server = createServer((near) => {
      if (!proxy.#open) return near.destroy();
      const far = connect(Number(port), hostname);
      for (const socket of [near, far]) {
        proxy.#sockets.add(socket);
        socket.on("error", () => undefined);
        socket.on("close", () => (proxy.#sockets.delete(socket), near.destroy(), far.destroy()));
      }
      near.pipe(far).pipe(near);
    });
    proxy.server.listen(0, "127.0.0.1");
    await once(proxy.server, "listening");
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}`;
    return proxy;
  }

  /** Every connection dies, and until `mend` no new one is made. */
  cut() {
    this.#open = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend() {
    this.#open = true;
  }

  close() {
    this.cut();
    this.server.close();
  }
}
