//! The configuration that `init` writes: every key with what it is for, and an example device to uncomment.

/// The text for a new gateway. Lines that begin with `#: ` are an example: without these three characters they work.
pub fn template(gateway: &str, network: &str) -> String {
    format!(
        r##"# Configuration of the Selvedge gateway {gateway:?} in the network {network:?}.
# `selvedge check` says whether it is right; `selvedge adapter test` shows what the devices say.
# Durations are written as "10s", "200ms", "1min".

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
"##
    )
}
