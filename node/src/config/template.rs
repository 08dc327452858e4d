//! The configuration that `init` writes: every key with what it is for, and an example device to uncomment.

/// The text for a new gateway. Lines that begin with `#: ` are an example: without these three characters they work.
pub fn template(gateway: &str, network: &str) -> String {
    template_with_peers(gateway, network, &[])
}

/// The same for a gateway that knows where others are ("host:port").
pub fn template_with_peers(gateway: &str, network: &str, peers: &[String]) -> String {
    // Rust's form of a list of texts is TOML's, for texts without control characters.
    format!(
        r##"# Configuration of the Selvedge gateway {gateway:?} in the network {network:?}.
# `selvedge check` says whether it is right; `selvedge adapter test` shows what the devices say.
# Durations are written as "10s", "200ms", "1min". All keys of all kinds of device: edge-adapters/README.md.

[batch]
# A batch is closed, hashed and signed when it holds this many readings ...
readings = 1000
# ... or this many bytes ...
bytes = 1048576
# ... or this long after its first reading. One transaction every ten seconds is about 25 MB a day on the card.
age = "10s"

[journal]
# Readings are durable this long after they were read, at the latest. Longer spares the card.
sync_within = "1s"

[tips]
# Which two tips a transaction approves: "uniform", or "walk" (a random walk weighted with `alpha`).
selection = "uniform"
alpha = 0.01
# Older tips are left while a younger one exists.
max_age = "60s"

[clock]
# "auto": the clock counts as synchronised when systemd-timesyncd says so; until then readings carry a mark.
# "assume": another service (chrony, PTP) keeps the clock.
trust = "auto"

[network]
# Others dial this gateway here (UDP; "[::]:7440" takes IPv6 and IPv4). Without it a port that the system chooses is
# used, which is enough when one gateway is reached by all.
# Without peers as well there is no network: the gateway works alone.
#listen = "0.0.0.0:7440"
# Where others reach it: the first stands in invitations; those with an IP address are told to peers.
#advertise = ["gateway-1.example:7440"]
# Whom to dial.
peers = {peers:?}
# A start waits this long for a peer to say how far this gateway's own chain goes, before it signs anything. Longer is
# safer after a restored image; readings are kept meanwhile.
start_wait = "10s"

# A device. Take "#: " away from these lines and put in your own.
#: [[device]]
#: # A name of your choice; it stands in proofs.
#: name = "filler-plc"
#: protocol = "modbus-tcp"
#: # Host and port, and the unit behind it.
#: address = "192.0.2.7:502"
#: unit_id = 1
#: # How often it is read, and how long an answer may take.
#: poll_interval = "1s"
#: timeout = "1s"
#:
#: [[device.stream]]
#: # A name of your choice; it stands in proofs.
#: name = "filler/tank/level"
#: # Table and address, counted from 0: what a manual calls 40101 is holding:100.
#: register = "holding:100"
#: # bool, bit(0), i16, u16, i32, u32, i64, u64, f32, f64, string(16) ...
#: type = "f32"
#: # Order of the bytes, A the most significant.
#: order = "ABCD"
#: # Scaled value = raw x scale + offset; the raw value is kept.
#: scale = 1
#: offset = 0
#: # Unit as UCUM text: Cel, L, L/min, %.
#: unit = "L"
#:
#: [[device.stream]]
#: name = "filler/valve/open"
#: register = "coil:0"
#: type = "bool"
#: # Each reading closes the batch at once.
#: urgent = false
#:
#: # Another device: what a broker is told. MQTT 3.1.1; version = "5" for MQTT 5, a table [device.tls] for TLS.
#: [[device]]
#: name = "plant-broker"
#: protocol = "mqtt"
#: # Host and port.
#: address = "192.0.2.9:1883"
#: # The broker keeps what comes while this gateway is away under this name; made of gateway and device if left out. It keeps
#: # only so much (mosquitto: 1,000 messages, unless its own configuration says max_queued_messages 0).
#: client_id = "filler-gateway"
#: # Quality of service: 0 (what is lost is lost), 1, 2.
#: qos = 1
#:
#: [[device.stream]]
#: # Each {{name}} of the topic stands in the name too, and each combination of `each` is a stream.
#: name = "{{machine}}/temperature"
#: topic = "plant/line1/{{machine}}/state"
#: each = {{ machine = ["filler", "capper"] }}
#: # Where in the JSON of the message the value stands, and its time; without `pointer` the message is the value.
#: pointer = "/temperature/value"
#: time = "/timestamp"
#: # bool, i64, u64, f64, string.
#: type = "f64"
#: unit = "Cel"
"##
    )
}
