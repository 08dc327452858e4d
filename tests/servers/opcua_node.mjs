// An OPC-UA server for tests: a real node-opcua server on the loopback interface, with the plant of opcua_plant.json.
//
//     node opcua_node.mjs [--port PORT] [--security POLICIES] [--user NAME:PASSWORD] [--user-certificate FILE] [--anonymous]
//                         [--keys FOLDER] [--large N] [--references N] [--operations N] [--machinery]
//
// Prints one line of JSON once it listens and takes lines of commands, both as opcua_asyncua.py does: see there. It ends
// when its standard input ends. SELVEDGE_TEST_NODE_MODULES names the folder with node-opcua. Besides, it knows:
//
// --references N   gives at most so many references at once, whatever is asked: the rest by continuation points
// --operations N   takes at most so many nodes in a request to read, browse or monitor, and says so (OperationLimits)
// mute, unmute     a command: writes and calls are carried out and not answered; answered again
// --machinery      the companion specifications DI and Machinery, with a machine in Objects/Machines
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { X509Certificate } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { APPLICATION_URI, PLANT, called, opcua, plain, require, thumbprint, variantOf } from "./opcua_plant.mjs";
import { freePort, keyAndCertificate } from "./opcua_plant.mjs";

const common = require("node-opcua-common");
const types = require("node-opcua-types");
const { nodesets } = require("node-opcua-nodesets");
const { DataType, StatusCodes } = opcua;

const { Sign, SignAndEncrypt } = opcua.MessageSecurityMode;
const POLICIES = {
    none: [opcua.SecurityPolicy.None, opcua.MessageSecurityMode.None],
    basic256sha256: [opcua.SecurityPolicy.Basic256Sha256, SignAndEncrypt],
    "basic256sha256-sign": [opcua.SecurityPolicy.Basic256Sha256, Sign],
    aes128: [opcua.SecurityPolicy.Aes128_Sha256_RsaOaep, SignAndEncrypt],
    "aes128-sign": [opcua.SecurityPolicy.Aes128_Sha256_RsaOaep, Sign],
    aes256: [opcua.SecurityPolicy.Aes256_Sha256_RsaPss, SignAndEncrypt],
    "aes256-sign": [opcua.SecurityPolicy.Aes256_Sha256_RsaPss, Sign],
};

// How the server treats its clients, and which it saw.
const behaviour = { slowMs: 0, isMute: false, isHanging: false, isTrusting: true, seen: new Set() };
const variables = new Map(PLANT.variables.map((entry) => [called(entry), { ...entry }]));
const counting = new Map();
let namespaceNames = Object.keys(PLANT.namespaces);
let server;
let isServing = false;

/** node-opcua's own memory of certificates, except that it takes back its trust. */
class Trust extends common.InMemoryCertificateStore {
    async checkCertificate(certificate) {
        const first = Array.isArray(certificate) ? certificate[0] : certificate;
        behaviour.seen.add(thumbprint(first));
        return behaviour.isTrusting ? StatusCodes.Good : StatusCodes.BadCertificateUntrusted;
    }
    async verifyCertificate(certificate) {
        return (await this.checkCertificate(certificate)).name;
    }
}

/** Trusts the certificate of one user, and no other. */
class UserTrust extends common.InMemoryCertificateStore {
    constructor(file) {
        super();
        this.trusted = file && thumbprint(new X509Certificate(readFileSync(file)).raw);
    }
    // node-opcua asks here with a callback.
    checkCertificate(certificate, callback) {
        const first = Array.isArray(certificate) ? certificate[0] : certificate;
        const isKnown = thumbprint(first) === this.trusted;
        callback(null, isKnown ? StatusCodes.Good : StatusCodes.BadCertificateUntrusted);
    }
}

// ------------------------------------------------------------------ address space

function namespaceOf(name) {
    return server.engine.addressSpace.getNamespace(PLANT.namespaces[name]);
}

function nodeIdOf(entry) {
    const [kind, text] = [entry.id.slice(0, 1), entry.id.slice(2)];
    const { index } = namespaceOf(entry.ns);
    const { NodeIdType } = opcua;
    switch (kind) {
        case "i":
            return new opcua.NodeId(NodeIdType.NUMERIC, Number(text), index);
        case "g":
            return new opcua.NodeId(NodeIdType.GUID, text.toUpperCase(), index);
        case "b":
            return new opcua.NodeId(NodeIdType.BYTESTRING, Buffer.from(text, "base64"), index);
        default:
            return new opcua.NodeId(NodeIdType.STRING, text, index);
    }
}

function nodeOf(name) {
    const node = server.engine.addressSpace.findNode(nodeIdOf(variables.get(name)));
    if (!node) throw new Error(`${name} is not there`);
    return node;
}

function folder(path) {
    const space = server.engine.addressSpace;
    if (path === "") return space.rootFolder.objects;
    const plant = namespaceOf("plant");
    const nodeId = new opcua.NodeId(opcua.NodeIdType.STRING, path, plant.index);
    const found = space.findNode(nodeId);
    if (found) return found;
    const cut = path.lastIndexOf("/");
    const parent = folder(cut < 0 ? "" : path.slice(0, cut));
    const browseName = path.slice(cut + 1);
    // Line1 is a folder, machines in it are objects.
    if (cut < 0) return plant.addFolder(parent, { browseName, nodeId });
    return plant.addObject({ organizedBy: parent, browseName, nodeId });
}

function add(name) {
    const entry = variables.get(name);
    const cut = entry.path.lastIndexOf("/");
    const access = { none: 0, write: "CurrentRead | CurrentWrite" }[entry.access] ?? "CurrentRead";
    const bits = access === 0 ? 0 : opcua.makeAccessLevelFlag(access);
    const options = {
        componentOf: folder(entry.path.slice(0, cut)),
        browseName: entry.path.slice(cut + 1),
        nodeId: nodeIdOf(entry),
        dataType: entry.type,
        accessLevel: bits,
        userAccessLevel: bits,
        valueRank: entry.array ? 1 : -1,
        // The tests want each change, as often as it happens.
        minimumSamplingInterval: 0,
    };
    const namespace = namespaceOf(entry.ns);
    const node = namespace.addVariable(options);
    const property = (browseName, dataType, extension) =>
        namespace.addVariable({
            propertyOf: node,
            browseName: { name: browseName, namespaceIndex: 0 },
            dataType,
            value: { dataType: DataType.ExtensionObject, value: extension },
        });
    if (entry.unit) {
        const namespaceUri = "http://www.opcfoundation.org/UA/units/un/cefact";
        const { id: unitId, symbol: displayName } = entry.unit;
        const unit = new types.EUInformation({ namespaceUri, unitId, displayName, description: displayName });
        property("EngineeringUnits", "EUInformation", unit);
    }
    if (entry.range) property("EURange", "Range", new types.Range({ low: entry.range[0], high: entry.range[1] }));
    show(name);
    const kept = entry.value;
    node.on("value_changed", (data) => {
        const value = plain(data.value.value);
        // One that is deaf takes what is written, and keeps what it had.
        if (entry.deaf && value !== kept) show(name);
        // What clients write is there after a restart too.
        else if (data.statusCode.isGood()) entry.value = value;
    });
}

/** Puts into the server what the table says. */
function show(name) {
    const entry = variables.get(name);
    const status = StatusCodes[entry.status ?? "Good"];
    nodeOf(name).setValueFromSource(variantOf(entry), status, entry.time ?? new Date());
}

function addMethods() {
    const plant = namespaceOf("plant");
    const filler = folder("Line1/Filler");
    const double = (name) => ({ name, dataType: DataType.Double, description: name });
    const method = (browseName, inputArguments, outputArguments, run) => {
        const nodeId = new opcua.NodeId(opcua.NodeIdType.STRING, `Filler.${browseName}`, plant.index);
        plant.addMethod(filler, { browseName, nodeId, inputArguments, outputArguments }).bindMethod(run);
    };
    method("Add", [double("left"), double("right")], [double("sum")], async ([left, right], _context) => ({
        statusCode: StatusCodes.Good,
        outputArguments: [{ dataType: DataType.Double, value: left.value + right.value }],
    }));
    method("SetTarget", [double("target")], [], async ([target], _context) => {
        Object.assign(variables.get("Filler.Target"), { value: target.value, time: undefined });
        show("Filler.Target");
        return { statusCode: StatusCodes.Good };
    });
    method("Refuse", [], [], async (_inputs, _context) => ({ statusCode: StatusCodes.BadInvalidState }));
}

function addMachine() {
    const space = server.engine.addressSpace;
    const machinery = space.getNamespaceIndex("http://opcfoundation.org/UA/Machinery/");
    const di = space.getNamespaceIndex("http://opcfoundation.org/UA/DI/");
    const plant = namespaceOf("plant");
    const machines = space.rootFolder.objects.getFolderElementByName("Machines", machinery);
    const machine = plant.addObject({ organizedBy: machines, browseName: "Filler1" });
    const type = space.findObjectType("MachineIdentificationType", machinery);
    const optionals = ["DeviceClass", "Model", "Location", "YearOfConstruction"];
    const browseName = { name: "Identification", namespaceIndex: di };
    const identification = type.instantiate({ browseName, componentOf: machine, optionals, namespace: plant });
    const say = (name, dataType, value) => identification.getChildByName(name)?.setValueFromSource({ dataType, value });
    say("Manufacturer", DataType.LocalizedText, opcua.coerceLocalizedText("Selvedge Works"));
    say("SerialNumber", DataType.String, "SW-0042");
    say("ProductInstanceUri", DataType.String, "urn:selvedge:test:machine:42");
    say("Model", DataType.LocalizedText, opcua.coerceLocalizedText("F-12"));
    say("YearOfConstruction", DataType.UInt16, 2024);
}

function build(options) {
    const space = server.engine.addressSpace;
    for (const name of namespaceNames) space.registerNamespace(PLANT.namespaces[name]);
    for (const [name, entry] of variables) if (!entry.gone) add(name);
    // A loop, as address spaces have them: a machine that points back at its line.
    folder("Line1/Filler").addReference({ referenceType: "Organizes", nodeId: folder("Line1").nodeId });
    addMethods();
    if (options.large > 0) {
        const plant = namespaceOf("plant");
        const nodeId = (text) => new opcua.NodeId(opcua.NodeIdType.STRING, text, plant.index);
        const large = plant.addFolder(folder(""), { browseName: "Large", nodeId: nodeId("Large") });
        for (let number = 0; number < options.large; number += 1) {
            const name = `V${String(number).padStart(5, "0")}`;
            const value = { dataType: DataType.UInt32, value: number };
            plant.addVariable({ organizedBy: large, browseName: name, nodeId: nodeId(`Large.${name}`), dataType: "UInt32", value });
        }
    }
    if (options.machinery) addMachine();
}

// ------------------------------------------------------------------ the server

function newServer(options) {
    const { port, pair } = options;
    const certificate = options["user-certificate"];
    const anonymous = !(options.user || certificate) || options.anonymous;
    const limit = options.operations;
    const limits = { maxNodesPerRead: limit, maxNodesPerBrowse: limit, maxMonitoredItemsPerCall: limit };
    const made = new opcua.OPCUAServer({
        port,
        hostname: "127.0.0.1",
        host: "127.0.0.1",
        resourcePath: "/plant",
        allowAnonymous: anonymous,
        securityPolicies: options.security.map((name) => POLICIES[name][0]),
        securityModes: [...new Set(options.security.map((name) => POLICIES[name][1]))],
        serverInfo: { applicationUri: APPLICATION_URI, productUri: "selvedge-test", applicationName: { text: "Selvedge test server" } },
        serverCertificateManager: new Trust(),
        userCertificateManager: new UserTrust(certificate),
        certificateFile: pair.certificateFile,
        privateKeyFile: pair.keyFile,
        nodeset_filename: options.machinery ? [nodesets.standard, nodesets.di, nodesets.ia, nodesets.machinery] : [nodesets.standard],
        serverCapabilities: { maxBrowseContinuationPoints: 10, operationLimits: limits },
        userManager: { isValidUser: (name, password) => `${name}:${password}` === options.user },
        registerServerMethod: opcua.RegisterServerMethod.HIDDEN,
    });
    made.on("request", (request) => {
        if (options.references && request instanceof opcua.BrowseRequest) {
            const asked = request.requestedMaxReferencesPerNode || options.references;
            request.requestedMaxReferencesPerNode = Math.min(asked, options.references);
        }
    });
    made.on("newChannel", (channel) => makeSlow(channel));
    return made;
}

/** Publish answers are late by `behaviour.slowMs`; those to writes may be missing. */
function makeSlow(channel) {
    const send = channel.send_response.bind(channel);
    channel.send_response = (kind, response, ...rest) => {
        const isWrite = response instanceof opcua.WriteResponse || response instanceof opcua.CallResponse;
        if (behaviour.isMute && isWrite) return;
        const late = response instanceof opcua.PublishResponse ? behaviour.slowMs : 0;
        if (late) setTimeout(() => send(kind, response, ...rest), late);
        else send(kind, response, ...rest);
    };
}

/** Sockets of the server: node-opcua does not give them. */
const sockets = new Set();
function watchSockets() {
    for (const endpoint of server.endpoints) {
        endpoint._server.prependListener("connection", (socket) => {
            sockets.add(socket);
            socket.on("close", () => sockets.delete(socket));
            // node-opcua resumes it once it has looked at it.
            if (behaviour.isHanging) setImmediate(() => socket.pause());
        });
    }
}

async function start(options) {
    server = newServer(options);
    await server.initialize();
    build(options);
    await server.start();
    watchSockets();
    // What counts by itself finds its variable from here on, and not before.
    isServing = true;
}

function drop() {
    for (const socket of sockets) socket.resetAndDestroy();
}

async function stop() {
    isServing = false;
    drop();
    await server?.shutdown(0);
    server = undefined;
}

// ------------------------------------------------------------------ commands

/** Obeys one line. Returns what is printed in place of its echo. */
async function obey(line, options) {
    const [word, name, ...more] = line.split(" ");
    const rest = more.join(" ");
    const entry = variables.get(name);
    if (name && word !== "slow" && !entry) throw new Error(`no variable ${name}; there are ${[...variables.keys()].join(", ")}`);
    switch (word) {
        case "set": {
            const [, value, time] = /^(.*?)(?: (\d{4}-\d\d-\d\dT\S*))?$/u.exec(rest);
            Object.assign(entry, { value: JSON.parse(value), time: time && new Date(time) });
            return show(name);
        }
        case "status":
            if (!StatusCodes[rest]) throw new Error(`no status ${rest}`);
            Object.assign(entry, { status: rest, time: undefined });
            return show(name);
        case "count":
            clearInterval(counting.get(name));
            if (Number(rest)) counting.set(name, setInterval(() => count(name), Number(rest)));
            return undefined;
        case "remove":
            server.engine.addressSpace.deleteNode(nodeOf(name));
            entry.gone = true;
            return undefined;
        case "add":
            entry.gone = false;
            return add(name);
        case "drop":
            return drop();
        case "stop":
            return stop();
        case "start":
            return start(options);
        case "restart":
            await stop();
            return start(options);
        case "swap":
            await stop();
            namespaceNames = namespaceNames.toReversed();
            return start(options);
        case "slow":
            behaviour.slowMs = Number(name);
            return undefined;
        case "hang":
        case "go":
            behaviour.isHanging = word === "hang";
            for (const socket of sockets) behaviour.isHanging ? socket.pause() : socket.resume();
            return undefined;
        case "mute":
        case "unmute":
            behaviour.isMute = word === "mute";
            return undefined;
        case "trust":
        case "reject":
            behaviour.isTrusting = word === "trust";
            return undefined;
        case "get": {
            const data = nodeOf(name).readValue();
            return JSON.stringify({ name, value: plain(data.value.value), status: data.statusCode.name });
        }
        case "clients": {
            const sessions = server.engine.currentSessionCount;
            const subscriptions = server.engine.currentSubscriptionCount;
            const items = server.engine.getSessions?.().reduce((sum, session) => sum + itemsOf(session), 0);
            // It judges its own certificate too.
            const clients = [...behaviour.seen].filter((one) => one !== thumbprint(options.pair.certificate));
            return JSON.stringify({ clients, sessions, subscriptions, items });
        }
        default:
            throw new Error(`no command ${word}`);
    }
}

function itemsOf(session) {
    return session.publishEngine.subscriptions.reduce((sum, one) => sum + one.monitoredItemCount, 0);
}

function count(name) {
    const entry = variables.get(name);
    Object.assign(entry, { value: Number(entry.value) + 1, time: undefined });
    if (isServing && !entry.gone) show(name);
}

/** The line that says that the server is ready. */
function described({ port, pair }) {
    const { plant } = PLANT.namespaces;
    const method = (name) => [name, { object: `nsu=${plant};s=Line1/Filler`, method: `nsu=${plant};s=Filler.${name}` }];
    return {
        url: `opc.tcp://127.0.0.1:${port}/plant`,
        port,
        application_uri: APPLICATION_URI,
        namespaces: server.engine.addressSpace.getNamespaceArray().map((namespace) => namespace.namespaceUri),
        certificate: pair.certificate.toString("hex"),
        thumbprint: thumbprint(pair.certificate),
        methods: Object.fromEntries(["Add", "SetTarget", "Refuse"].map(method)),
        nodes: [...variables].map(([name, entry]) => ({
            name,
            path: `Objects/${entry.path}`,
            node: `nsu=${PLANT.namespaces[entry.ns]};${entry.id}`,
            type: entry.type,
            array: Boolean(entry.array),
            value: entry.value,
            status: entry.status ?? "Good",
            unit: entry.unit?.ucum ?? null,
            access: entry.access ?? "read",
        })),
    };
}

async function main() {
    const text = { type: "string" };
    const flag = { type: "boolean", default: false };
    const { values } = parseArgs({
        options: {
            port: text, security: { ...text, default: "none" }, user: text, "user-certificate": text, anonymous: flag,
            keys: text, large: text, references: text, operations: text, machinery: flag,
        },
    });
    // node-opcua wants its key in a file.
    const temporary = mkdtempSync(join(tmpdir(), "selvedge-opcua-"));
    process.on("exit", () => rmSync(temporary, { recursive: true, force: true }));
    const number = (one) => (one === undefined ? 0 : Number(one));
    const options = {
        ...values,
        port: number(values.port) || (await freePort()),
        security: values.security.split(","),
        large: number(values.large),
        references: number(values.references),
        operations: number(values.operations),
        pair: await keyAndCertificate(values.keys ?? temporary),
    };
    await start(options);
    const say = (line) => process.stdout.write(`${line}\n`);
    say(JSON.stringify(described(options)));
    for await (const line of createInterface({ input: process.stdin })) {
        try {
            say((await obey(line, options)) ?? line);
        } catch (why) {
            say(`error ${why.stack.split("\n").slice(0, 2).join(" ")}`);
        }
    }
    // The test is over: connections are not worth a farewell.
    process.exit(0);
}

await main();
