// For opcua_node.mjs: node-opcua itself, what opcua_plant.json says as OPC-UA has it, and a server's port, key and
// certificate.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

// node-opcua talks about its doings on standard output, where the tests read.
console.log = console.info = console.warn = console.error;

const here = dirname(fileURLToPath(import.meta.url));
const modules = process.env.SELVEDGE_TEST_NODE_MODULES ?? join(here, "../../.test-env/node/node_modules");
export const require = createRequire(join(modules, "_.js"));
export const opcua = require("node-opcua");
const crypto = require("node-opcua-crypto");
const { DataType, Variant, VariantArrayType } = opcua;

export const APPLICATION_URI = "urn:selvedge:test:node-opcua";
export const PLANT = JSON.parse(readFileSync(join(here, "opcua_plant.json"), "utf8"));
// Below what Linux hands out for port 0 (from 32768 on).
const STABLE_PORTS = [20_000, 30_000];

/** What the commands call a variable: its path below Line1, with dots. */
export function called(entry) {
    return entry.path.replace(/^Line1\//, "").replaceAll("/", ".");
}

export function thumbprint(certificate) {
    return createHash("sha1").update(certificate).digest("hex");
}

/** The value of an entry, as OPC-UA has it. */
export function variantOf({ type, value, array }) {
    if (value === null) return new Variant({ dataType: DataType.Null });
    const dataType = DataType[type];
    if (!array) return new Variant({ dataType, arrayType: VariantArrayType.Scalar, value: converted(type, value) });
    return new Variant({ dataType, arrayType: VariantArrayType.Array, value: value.map((one) => converted(type, one)) });
}

function converted(type, value) {
    switch (type) {
        case "Float":
        case "Double":
            return Number(value);
        case "Int64":
            return opcua.coerceInt64(BigInt(value).toString());
        case "UInt64":
            return opcua.coerceUInt64(BigInt(value).toString());
        case "DateTime":
            return new Date(value);
        case "ByteString":
            return Buffer.from(value, "hex");
        case "LocalizedText":
            return opcua.coerceLocalizedText(value);
        case "QualifiedName":
            return opcua.coerceQualifiedName({ namespaceIndex: 0, name: value });
        case "NodeId":
            return opcua.resolveNodeId(value);
        case "StatusCode":
            return opcua.coerceStatusCode(value);
        default:
            return value;
    }
}

/** A value as JSON has it, in the form of opcua_plant.json. */
export function plain(value) {
    if (value === null || value === undefined) return null;
    if (Buffer.isBuffer(value)) return value.toString("hex");
    if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value, plain);
    if (value instanceof Date) return value.toISOString();
    if (typeof value === "number" && !Number.isFinite(value)) return String(value);
    if (typeof value === "object") return value.text ?? value.name ?? value.value ?? value.toString();
    return value;
}

/** Those in the folder, or new ones, which are kept there. */
export async function keyAndCertificate(folderOfKeys) {
    const [keyFile, certificateFile] = ["key.pem", "certificate.pem"].map((name) => join(folderOfKeys, name));
    if (!existsSync(certificateFile)) {
        const { privateKey } = await crypto.generateKeyPair(2048);
        const { cert } = await crypto.createSelfSignedCertificate({
            privateKey,
            notBefore: new Date(Date.now() - 60_000),
            validity: 365,
            subject: "CN=selvedge test",
            dns: ["localhost", hostname()],
            ip: ["127.0.0.1"],
            applicationUri: APPLICATION_URI,
            purpose: crypto.CertificatePurpose.ForApplication,
        });
        mkdirSync(folderOfKeys, { recursive: true });
        writeFileSync(keyFile, (await crypto.privateKeyToPEM(privateKey)).privPem);
        writeFileSync(certificateFile, cert);
    }
    const certificate = crypto.convertPEMtoDER(readFileSync(certificateFile, "utf8"));
    return { keyFile, certificateFile, certificate };
}

/** A port of STABLE_PORTS that is free, other for each process that looks. */
export async function freePort() {
    const [from, to] = STABLE_PORTS;
    for (let tried = 0; tried < 1_000; tried += 1) {
        const port = from + Math.floor(Math.random() * (to - from));
        const isFree = await new Promise((done) => {
            const probe = createServer();
            probe.once("error", () => done(false));
            probe.listen(port, "127.0.0.1", () => probe.close(() => done(true)));
        });
        if (isFree) return port;
    }
    throw new Error("no port is free");
}
