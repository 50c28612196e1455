// The tree of MQTT nodes, where the server tells it (`GET /v1/mqtt/cluster`).

import { element } from "../dom";
import { getJson } from "../server";

export class Cluster {
  readonly list = element("ul", "cluster");

  async look(): Promise<void> {
    const told = await getJson<unknown>("v1/mqtt/cluster");
    this.list.hidden = told === undefined;
  }
}
