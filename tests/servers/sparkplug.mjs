// An edge node of Sparkplug B with one device, made with the reference client of Eclipse Tahu (npm `sparkplug-client`).
//
//   node sparkplug.mjs PORT GROUP NODE [BDSEQ] [ALIASES_FROM]
//
// Says {"ready": true} when its births are on their way. Takes commands on standard input, one a line, and says each
// again when it is done:
//   data METRIC VALUE        data with the alias alone; VALUE is JSON (null: unknown)
//   named METRIC VALUE       data with the name
//   bad METRIC VALUE         data with the property Quality = 0
//   old METRIC VALUE MS      a historical value of this time
//   alias NUMBER             data with an alias that no birth has
//   set METRIC VALUE         a value that only the next birth tells
//   birth | gap | ddeath | dbirth
//   death BDSEQ              a death as of another connection
// `ask` says {"rebirths": …, "commands": […]}. A rebirth that is asked for is given; a command to the device sets its
// metric and sends data, unless the metric is Stuck. Ends when standard input ends; killed, its broker sends its will.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(process.env.SELVEDGE_TEST_NODE_MODULES + "/");
const { newClient } = require("sparkplug-client");

const [port, groupId, edgeNode, bdSeq = "0", from = "1"] = process.argv.slice(2);
const device = "filler";
const say = (what) => process.stdout.write((typeof what === "string" ? what : JSON.stringify(what)) + "\n");

// Name, type, value and, in this order, alias. The node's own first, then the device's.
const metrics = {
  Temperature: { type: "Double", value: 20.5, properties: { engUnit: { type: "String", value: "Cel" } } },
  Count: { type: "UInt32", value: 4294967295 },
  "Outputs/Level": { type: "Int16", value: -7, of: device },
  "Outputs/Valve": { type: "Boolean", value: true, of: device },
  Text: { type: "String", value: "läuft", of: device },
  Total: { type: "Int64", value: -5000000000, of: device },
  Stuck: { type: "Int32", value: 1, of: device },
  Unasked: { type: "Float", value: 1.5, of: device },
};
// When its value was taken, which a birth says again.
const takes = (metric, value) => { metric.value = value; metric.at = Date.now(); };
Object.values(metrics).forEach((metric, at) => {
  metric.alias = Number(from) + at;
  takes(metric, metric.value);
});

const config = {
  serverUrl: `mqtt://127.0.0.1:${port}`, username: "", password: "", groupId, edgeNode,
  clientId: `${groupId}-${edgeNode}-${bdSeq}-${process.pid}`, version: "spBv1.0",
};
// The reference client never counts its connections; the specification wants it (section 6.4.21). The number is
// needed in its constructor, which makes the will.
const end = Object.getPrototypeOf(newClient({ ...config, serverUrl: "mqtt://127.0.0.1:1", edgeNode: "nobody", mqttOptions: { reconnectPeriod: 0 } })
  .on("error", () => {}));
const deathPayload = end.getDeathPayload;
end.getDeathPayload = function () { this.bdSeq = Number(bdSeq); return deathPayload.call(this); };
const client = newClient(config);

const births = (of) => Object.entries(metrics).filter(([, metric]) => metric.of === of)
  .map(([name, { type, value, alias, properties, at }]) => ({ name, type, value, alias, properties, timestamp: at }));
const nodeBirth = () => client.publishNodeBirth({
  timestamp: Date.now(),
  metrics: [{ name: "Node Control/Rebirth", type: "Boolean", value: false }, ...births(undefined)],
});
const deviceBirth = () => client.publishDeviceBirth(device, { timestamp: Date.now(), metrics: births(device) });
const send = (of, metric) => {
  const payload = { timestamp: Date.now(), metrics: [metric] };
  return of ? client.publishDeviceData(of, payload) : client.publishNodeData(payload);
};
const data = (name, value, more) => {
  const { type, alias, of } = metrics[name];
  takes(metrics[name], value);
  send(of, { type, alias, value, timestamp: metrics[name].at, ...more });
};

let rebirths = 0;
const commands = [];
client.on("birth", () => { nodeBirth(); deviceBirth(); say({ ready: true }); });
client.on("error", (why) => { console.error(why); process.exit(1); });
client.on("ncmd", (payload) => {
  if (payload.metrics.some((metric) => metric.name === "Node Control/Rebirth" && metric.value === true)) {
    rebirths += 1;
    nodeBirth();
    deviceBirth();
  }
});
client.on("dcmd", (to, payload) => {
  for (const metric of payload.metrics) {
    const found = Object.entries(metrics).find(([name, { alias }]) => name === metric.name || alias === Number(metric.alias));
    const [name] = found ?? ["unknown"];
    commands.push({ to, name, byAlias: !metric.name, type: metric.type, value: Number(metric.value), seq: payload.seq ?? null });
    if (found && name !== "Stuck") data(name, metric.value);
  }
});

const doers = {
  data: (name, value) => data(name, JSON.parse(value)),
  named: (name, value) => data(name, JSON.parse(value), { name, alias: undefined }),
  bad: (name, value) => data(name, JSON.parse(value), { properties: { Quality: { type: "Int32", value: 0 } } }),
  old: (name, value, ms) => {
    const { type, alias, of } = metrics[name];
    send(of, { type, alias, value: JSON.parse(value), timestamp: Number(ms), isHistorical: true });
  },
  alias: (alias) => send(undefined, { type: "Int32", alias: Number(alias), value: 1 }),
  set: (name, value) => takes(metrics[name], JSON.parse(value)),
  birth: () => { nodeBirth(); deviceBirth(); },
  // As if a message had got lost.
  gap: () => client.incrementSeqNum(),
  ddeath: () => client.publishDeviceDeath(device, { timestamp: Date.now() }),
  dbirth: deviceBirth,
  death: (number) => client.client.publish(`spBv1.0/${groupId}/NDEATH/${edgeNode}`, Buffer.from(client.encodePayload({
    timestamp: Date.now(), metrics: [{ name: "bdSeq", type: "UInt64", value: Number(number) }],
  }))),
};

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [what, ...words] = line.split(" ");
    if (what === "ask") return say({ rebirths, commands });
    doers[what](...words);
    say(line);
  })
  .on("close", () => process.exit(0));
