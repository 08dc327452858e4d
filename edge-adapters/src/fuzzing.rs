//! Everything that decodes what comes from outside, as functions of bytes, for coverage-guided fuzzing (`fuzz/run`).
//!
//! A decoder is right when it returns: what it made of the bytes does not matter here. What must hold of it besides is
//! asserted, so that the fuzzer looks for it.

use crate::config;
use crate::mapping::{Encoding, Kind, Order, decode_registers};

/// Takes any bytes, and must not panic.
pub type Decoder = fn(&[u8]);

/// All decoders by name.
pub const DECODERS: &[(&str, Decoder)] = &[
    ("config", configuration),
    ("modbus-registers", modbus_registers),
    #[cfg(feature = "mqtt")]
    ("mqtt-packet", mqtt::packet),
    #[cfg(feature = "mqtt")]
    ("mqtt-payload", mqtt::payload),
    #[cfg(feature = "mqtt")]
    ("mqtt-survey", mqtt::survey),
    #[cfg(feature = "mqtt")]
    ("mqtt-topic", mqtt::topic),
    #[cfg(feature = "opcua")]
    ("opcua-node-id", opcua_node_id),
    #[cfg(feature = "opcua")]
    ("opcua-value", opcua_value),
    #[cfg(feature = "sparkplug")]
    ("sparkplug", sparkplug),
    #[cfg(feature = "sparkplug")]
    ("sparkplug-host", sparkplug_host),
    #[cfg(feature = "modbus")]
    ("sunspec-chain", sunspec_chain),
    #[cfg(feature = "modbus")]
    ("sunspec-model", sunspec_model),
];

/// A configuration file: refused with reasons, or taken with descriptors that the core takes.
fn configuration(data: &[u8]) {
    use selvedge_core::codec::Canonical as _;
    let Ok(text) = std::str::from_utf8(data) else { return };
    match config::sources(text) {
        Ok(sources) => {
            let specs = sources.iter().flat_map(|source| source.streams());
            assert!(specs.into_iter().all(|spec| spec.descriptor.check().is_ok()), "{text}");
        }
        Err(errors) => assert!(!errors.is_empty() && errors.iter().all(|e| !e.expected.is_empty())),
    }
}

/// Registers of any kind in any order.
fn modbus_registers(data: &[u8]) {
    let [kind, order, rest @ ..] = data else { return };
    let others = [Kind::Bit(kind >> 4), Kind::Bool, Kind::Text(u16::from(*kind).clamp(1, 250))];
    let kinds: Vec<Kind> = others.into_iter().chain(Kind::NUMBERS).collect();
    let kind = kinds[usize::from(*kind) % kinds.len()];
    let orders = Order::choices(kind);
    let order =
        orders.get(usize::from(*order) % orders.len().max(1)).map_or(Order::default(), |(_, order)| *order);
    let registers: Vec<u16> =
        rest.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    let not_available = registers.last().map(|word| u64::from(*word)).into_iter().collect();
    let _ = decode_registers(&Encoding { kind, order, not_available, bit: None }, &registers);
}

/// A chain of models: the bytes are what a device answers, head by head. It ends, whatever they say.
#[cfg(feature = "modbus")]
fn sunspec_chain(data: &[u8]) {
    use crate::modbus::sunspec::chain::{Next, Walk};
    let mut words = data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let Some(mut walk) = Walk::start(words.next().unwrap_or_default(), &[0x5375, 0x6E53]) else { return };
    let mut heads = 0;
    while let Next::Head(_) = walk.next() {
        walk.head(words.next().unwrap_or(1), words.next());
        heads += 1;
        assert!(heads <= 65_536, "a walk has an end");
    }
}

/// A model: its id, and its registers.
#[cfg(feature = "modbus")]
fn sunspec_model(data: &[u8]) {
    use crate::modbus::sunspec::chain::Link;
    let mut words = data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let id = words.next().unwrap_or_default();
    let registers: Vec<u16> = words.collect();
    let link = Link { id, address: 40_002, length: registers.len() as u16 };
    let _ = crate::modbus::sunspec::decode::decode(link, &registers);
}

/// The name of a node: what is taken is shown as a text that means the same.
#[cfg(feature = "opcua")]
fn opcua_node_id(data: &[u8]) {
    use crate::opcua::node_id::NodeName;
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = text.parse::<NodeName>() {
        let shown = name.to_string();
        assert_eq!(shown.parse::<NodeName>().as_ref(), Ok(&name), "{text:?} is shown as {shown:?}");
    }
}

/// A value as it travels (OPC 10000-6, 5.2.2.17), after a byte that chooses the element of an array. What becomes of it is a
/// reading that can be signed and read again.
#[cfg(feature = "opcua")]
fn opcua_value(data: &[u8]) {
    use opcua::types::{BinaryDecodable as _, ContextOwned, DataValue};
    use selvedge_core::reading::{Quality, Reading};

    use crate::opcua::value::{Mark, Picker, take};
    let Some((index, mut bytes)) = data.split_first() else { return };
    let owned = ContextOwned::default();
    let Ok(data) = DataValue::decode(&mut bytes, &owned.context()) else { return };
    let index = index.checked_sub(1).map(u32::from);
    let picker = Picker { index, not_available: vec![Mark::Integer(0), Mark::Float(0.5)] };
    let receive_time_ns = 1_800_000_000_000_000_000;
    let taken = take(&data, &picker, receive_time_ns);
    let is_bad = data.status.is_some_and(|status| status.is_bad());
    assert!(!is_bad || taken.decoded.quality == Quality::Bad, "a bad status is a bad value: {data:?}");
    let long = taken.decoded.value.long_bytes().map(<[u8]>::to_vec);
    let reading = Reading {
        stream_index: 0,
        counter: 0,
        source_time_ns: taken.source_time_ns,
        receive_time_ns,
        quality: taken.decoded.quality,
        flags: 0,
        status: taken.decoded.status,
        value: taken.decoded.value,
    };
    assert_eq!(Reading::from_block(&reading.to_block(), long.as_deref()).as_ref(), Ok(&reading));
}

/// Messages to a host: a byte that says how much time went by, one for whose and of which kind, one for the length, and the
/// payload. Whatever comes, only streams that exist get values, and only nodes that are configured are asked for births.
#[cfg(feature = "sparkplug")]
fn sparkplug_host(data: &[u8]) {
    use std::time::Duration;

    use crate::mqtt::sparkplug::ALIASES_MAX;
    use crate::mqtt::sparkplug::host::{Came, Host, Out, Policy, Target};
    use crate::mqtt::sparkplug::payload::Payload;
    use crate::mqtt::sparkplug::topic::{Place, Verb};
    let place = |at: u8| Place {
        node: if at & 1 == 0 { "n" } else { "m" }.to_owned(),
        device: (at & 2 != 0).then(|| "d".to_owned()),
    };
    let metrics = ["m", "bdSeq", "Node Control/Rebirth"];
    let targets: Vec<Target> = (0..4)
        .flat_map(|at| {
            metrics.map(|metric| Target { place: place(at), metric: metric.to_owned(), kind: None })
        })
        .collect();
    let reorder = Duration::from_secs(u64::from(data.first().copied().unwrap_or(0) % 4));
    let mut host = Host::new(&targets, Policy { rebirth: true, reorder });
    let (mut now, mut rest) = (Duration::ZERO, data.get(1..).unwrap_or_default());
    host.connected(now);
    while let [time, whose, length, bytes @ ..] = rest {
        let (bytes, after) = bytes.split_at(usize::from(*length).min(bytes.len()));
        let mut out = Vec::new();
        let later = now + Duration::from_millis(u64::from(*time) * 100);
        while let Some(due) = host.due().filter(|due| *due <= later) {
            now = now.max(due);
            let asked = host.tick(now, &mut out);
            assert!(
                asked.iter().all(|node| node == "n" || node == "m"),
                "nodes that are configured: {asked:?}"
            );
        }
        now = later;
        let verb = [Verb::Birth, Verb::Data, Verb::Death][usize::from(whose >> 2) % 3];
        host.message(verb, &place(*whose), Payload::read(bytes), Came { at: now, writes: 0 }, &mut out);
        for said in out {
            let (Out::Value { stream, .. } | Out::Stale { stream, .. }) = said;
            assert!(stream < targets.len(), "a stream that exists");
        }
        rest = after;
    }
    assert!(host.aliases() <= ALIASES_MAX, "what a host keeps is bounded");
}

/// Topic up to the first zero byte, then the payload.
#[cfg(feature = "sparkplug")]
fn sparkplug(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let topic = String::from_utf8_lossy(&data[..end]);
    let _ = crate::mqtt::sparkplug::describe(&topic, data.get(end + 1..).unwrap_or_default());
}

#[cfg(feature = "mqtt")]
mod mqtt {
    use std::time::Duration;

    use crate::config;
    use crate::mqtt::csv::{Column, Dialect};
    use crate::mqtt::packet::Version;
    use crate::mqtt::packet::decode::decode;
    use crate::mqtt::payload::{Kind, Payload, Picker, Spot};
    use crate::mqtt::survey::{Head, Survey, propose};
    use crate::mqtt::topic;

    /// What a broker sends; the first byte chooses the version.
    pub(super) fn packet(data: &[u8]) {
        let Some((version, mut bytes)) = data.split_first() else { return };
        let version = if version & 1 == 0 { Version::V3 } else { Version::V5 };
        while let Ok(Some((_, taken))) = decode(version, 1 << 16, bytes) {
            assert!((2..=bytes.len()).contains(&taken), "a packet takes what it has");
            bytes = &bytes[taken..];
        }
    }

    /// Messages: topic, zero byte, payload, zero byte. What is proposed for them is a configuration.
    pub(super) fn survey(data: &[u8]) {
        let mut survey = Survey::default();
        let mut parts = data.split(|byte| *byte == 0);
        while let (Some(topic), Some(payload)) = (parts.next(), parts.next()) {
            survey.heard(&String::from_utf8_lossy(topic), payload, false, Duration::from_secs(1));
        }
        let head = Head { address: "h:1883".into(), ..Head::default() };
        let (text, streams) = propose(&head, &survey.report());
        if streams > 0 {
            config::sources(&text).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"));
        }
    }

    /// The first byte chooses the type and the form, up to the next zero byte stands the pointer, then the payload.
    pub(super) fn payload(data: &[u8]) {
        let [form, rest @ ..] = data else { return };
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        let pointer = String::from_utf8_lossy(&rest[..end]).into_owned();
        let payload = rest.get(end + 1..).unwrap_or_default();
        let kind = Kind::ALL[usize::from(*form) % Kind::ALL.len()];
        let dialect = Dialect {
            separator: pointer.chars().next().unwrap_or(','),
            has_header: form & 0x20 == 0,
            decimal_comma: form & 0x40 == 0,
        };
        let spot = match form >> 7 {
            0 if pointer.is_empty() || pointer.starts_with('/') => Spot::Json(pointer),
            0 => Spot::Whole,
            _ => Spot::Csv(dialect, Column::At(usize::from(form & 3))),
        };
        let picker = Picker { kind, time: Some(spot.clone()), spot, not_available: Vec::new() };
        let mut payload = Payload::new(payload);
        let _ = (payload.value(&picker), payload.time(&picker));
    }

    /// A name and a topic with their placeholders.
    pub(super) fn topic(data: &[u8]) {
        let Ok(text) = std::str::from_utf8(data) else { return };
        let (name, topic) = text.split_once('\n').unwrap_or(("{a}", text));
        let each = [("a".to_owned(), vec!["1".to_owned(), "2".to_owned()])].into_iter().collect();
        if let Ok(expansion) = topic::expand(name, topic, &each, 100) {
            assert!(expansion.streams.len() <= 100);
        }
    }
}
