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
    #[cfg(feature = "sparkplug")]
    ("sparkplug", sparkplug),
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
