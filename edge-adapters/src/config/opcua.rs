//! Devices of the protocol `opcua`: one server each.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::keys::{Keys, quoted};
use super::stream::Common;
use super::{Scalar, text};
use crate::adapter::{Deadband, Head, Report, StreamSpec};
use crate::opcua::items::{Filter, Item};
use crate::opcua::link::Dial;
use crate::opcua::node_id::NodeName;
use crate::opcua::pki::Pki;
use crate::opcua::security::{Mode as SecurityMode, SECURITIES, Security, User};
use crate::opcua::session::Connect;
use crate::opcua::subscribe::Wish;
use crate::opcua::value::{Mark, Picker};
use crate::opcua::write::Call;
use crate::opcua::{Mode, OpcUa};

/// Port where none is written (IANA).
const PORT: &str = "4840";
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(1);
/// Zero: whenever the value changes, where the server can.
const SAMPLINGS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(1);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);
const KEEP_ALIVES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(10);
const KEEP_FORS: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_hours(24);
const CHECKS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
/// Values that a server is asked to keep of one node.
const QUEUE_SIZES: RangeInclusive<i64> = 1..=100_000;
/// Hexadecimal digits of a thumbprint: SHA-1.
const THUMBPRINT_DIGITS: usize = 40;

/// Reads the keys of one server.
pub(super) fn device(keys: &mut Keys<'_>, head: Head) -> Option<OpcUa> {
    let seconds = Duration::from_secs;
    let address = address(keys);
    let timeout = keys.duration("timeout", seconds(5), &TIMEOUTS);
    let security = keys.choice("security", Security::NONE, &SECURITIES);
    let user = user(keys, security);
    let pki = pki(keys);
    let mode = mode(keys);
    let keep_for = match mode {
        Mode::Subscribe(wish) => wish.keep_for,
        Mode::Poll(interval) => (interval * 10).max(seconds(60)),
    };
    let check_interval = keys.duration("check_interval", seconds(30), &CHECKS);
    let url = address.as_ref().map_or("", |address| address.url.as_str());
    let mut entries = Vec::new();
    for mut table in keys.streams() {
        if matches!(mode, Mode::Poll(_)) {
            // Only a subscription has them.
            for key in ["sampling_interval", "queue_size", "discard_oldest", "deadband_range_percent"] {
                no_key_of_other_mode(&mut table, key, "poll");
            }
        }
        entries.extend(entry(&mut table, &head, url));
        table.finish();
    }
    let Address { url, host, host_and_port } = address?;
    let connect = Connect {
        dial: Dial { url: url.clone(), host_and_port, timeout },
        host,
        security,
        user,
        pki,
        name: format!("selvedge {}", head.device),
        session_timeout: keep_for,
    };
    let (mut items, mut calls, mut streams) = (Vec::new(), Vec::new(), Vec::new());
    for (item, call, spec) in entries {
        items.push(item);
        calls.push(call);
        streams.push(spec);
    }
    Some(OpcUa { head, url, connect, mode, check_interval, items, calls, streams })
}

struct Address {
    url: String,
    /// Without brackets.
    host: String,
    host_and_port: String,
}

fn address(keys: &mut Keys<'_>) -> Option<Address> {
    let expected =
        "where the server is, such as \"opc.tcp://10.0.0.7:4840\" or \"opc.tcp://plc.example:4840/path\"";
    let url = keys.required("address", expected);
    let parsed = url.strip_prefix("opc.tcp://").and_then(|rest| {
        let (place, _) = rest.split_once('/').unwrap_or((rest, ""));
        let has_port = place.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let place = if has_port { place.to_owned() } else { format!("{place}:{PORT}") };
        let (host, port) = text::host_and_port(&place)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
        is_plain.then(|| Address { url: url.clone(), host: bare, host_and_port: format!("{host}:{port}") })
    });
    if parsed.is_none() && !url.is_empty() {
        keys.wrong("address", quoted(&url), expected);
    }
    parsed
}

fn user(keys: &mut Keys<'_>, security: Security) -> User {
    let name = keys.text("user");
    let password = keys.secret("password_file");
    let plain = keys.flag("plain_password", false);
    let certificate = keys.path("user_certificate");
    let key = keys.secret("user_key");
    for (one, other, is_one, is_other) in [
        ("user", "password_file", name.is_some(), password.is_some()),
        ("user_certificate", "user_key", certificate.is_some(), key.is_some()),
    ] {
        if is_one != is_other {
            let (there, missing) = if is_one { (one, other) } else { (other, one) };
            keys.wrong(missing, "nothing", format!("it, since there is `{there}`"));
        }
    }
    if name.is_some() && certificate.is_some() {
        keys.wrong("user_certificate", "it beside `user`", "one of the two");
    }
    if plain && security.mode == SecurityMode::SignAndEncrypt {
        let expected = "no such key with SignAndEncrypt, which encrypts everything";
        keys.wrong("plain_password", "true", expected);
    }
    match (name, password, certificate, key) {
        (Some(name), Some(password), _, _) => User::Password { name, password, plain },
        (_, _, Some(certificate), Some(key)) => User::Certificate { certificate, key },
        _ => User::Anonymous,
    }
}

fn pki(keys: &mut Keys<'_>) -> Pki {
    let folder = keys.path("pki").unwrap_or_else(|| keys.place_of("opcua-pki"));
    let application_uri = keys.text("application_uri").unwrap_or_else(|| "urn:selvedge:gateway".to_owned());
    if !application_uri.starts_with("urn:") && !application_uri.contains("://") {
        keys.wrong("application_uri", quoted(&application_uri), "a URI such as urn:example:plant7:gateway");
    }
    let mut thumbprints = Vec::new();
    for written in keys.texts("server_thumbprints") {
        let digits: String = written.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
        if digits.len() == THUMBPRINT_DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            thumbprints.push(digits.to_ascii_lowercase());
        } else {
            let expected =
                format!("SHA-1 thumbprints of certificates, {THUMBPRINT_DIGITS} hexadecimal digits each");
            keys.wrong("server_thumbprints", quoted(&written), expected);
        }
    }
    Pki { folder, thumbprints, application_uri }
}

/// A key that would do nothing is a mistake.
fn no_key_of_other_mode(keys: &mut Keys<'_>, key: &'static str, mode: &str) {
    if keys.has(key) {
        keys.wrong(key, "it", format!("no such key with mode = {mode:?}"));
    }
}

fn mode(keys: &mut Keys<'_>) -> Mode {
    let is_polled = keys.choice("mode", false, &[("subscribe", false), ("poll", true)]);
    let second = Duration::from_secs(1);
    if is_polled {
        for key in ["publishing_interval", "keep_alive", "keep_for", "check_interval"] {
            no_key_of_other_mode(keys, key, "poll");
        }
        return Mode::Poll(keys.duration("poll_interval", second, &INTERVALS));
    }
    no_key_of_other_mode(keys, "poll_interval", "subscribe");
    let publishing = keys.duration("publishing_interval", second, &INTERVALS);
    let keep_alive = keys.duration("keep_alive", publishing.max(second * 10), &KEEP_ALIVES);
    if keep_alive < publishing {
        keys.wrong(
            "keep_alive",
            format!("{keep_alive:?}"),
            format!("`publishing_interval` or more: {publishing:?}"),
        );
    }
    let keep_for = keys.duration("keep_for", (keep_alive * 3).max(second * 600), &KEEP_FORS);
    if keep_for < keep_alive * 3 {
        keys.wrong(
            "keep_for",
            format!("{keep_for:?}"),
            format!("three times `keep_alive` or more: {:?}", keep_alive * 3),
        );
    }
    Mode::Subscribe(Wish { publishing, keep_alive, keep_for })
}

fn entry(keys: &mut Keys<'_>, head: &Head, url: &str) -> Option<(Item, Option<Call>, StreamSpec)> {
    let mut call = None;
    let common = Common::read(keys, |table| call = method(table));
    let node = node(keys, "node", "the node, such as \"nsu=http://example.com/filler/;s=Tank.Level\"");
    let sampling = keys.optional_duration("sampling_interval", &SAMPLINGS);
    let queue_size = keys.integer("queue_size", 100, QUEUE_SIZES) as u32;
    let discard_oldest = keys.flag("discard_oldest", true);
    let has_index = keys.has("index");
    let index = keys.integer("index", 0, 0..=i64::from(u32::MAX)) as u32;
    let index = has_index.then_some(index);
    let percent = percent_of_range(keys);
    let node = node?;
    let element = index.map_or(String::new(), |index| format!("[{index}]"));
    let address = format!("opcua {url} {node}{element}");
    let spec = common.spec(keys, head, address, "opcua value".to_owned());
    let filter = filter(keys, &spec, index, percent);
    let not_available = common.not_available.iter().flat_map(marks).collect();
    let picker = Picker { index, not_available };
    Some((Item { node, sampling, queue_size, discard_oldest, filter, picker }, call, spec))
}

fn node(keys: &mut Keys<'_>, key: &'static str, expected: &str) -> Option<NodeName> {
    let written = keys.required(key, expected);
    if written.is_empty() {
        return None;
    }
    match written.parse() {
        Ok(node) => Some(node),
        Err(why) => {
            let why: crate::opcua::node_id::NodeNameError = why;
            keys.wrong(key, quoted(&written), format!("{expected}: {why}"));
            None
        }
    }
}

fn method(keys: &mut Keys<'_>) -> Option<Call> {
    let (has_method, has_object) = (keys.has("method"), keys.has("object"));
    if !has_method && !has_object {
        return None;
    }
    let method = node(keys, "method", "the method that is called with the value");
    let object = node(keys, "object", "the object on which the method is called");
    Some(Call { object: object?, method: method? })
}

fn percent_of_range(keys: &mut Keys<'_>) -> Option<f64> {
    let percent = keys.optional_decimal("deadband_range_percent")?.to_f64();
    if !(0.0..=100.0).contains(&percent) {
        keys.wrong("deadband_range_percent", percent, "0 to 100, percent of the node's range (EURange)");
    }
    Some(percent)
}

/// What the server may leave out: what the gateway would leave out in any case.
fn filter(keys: &Keys<'_>, spec: &StreamSpec, index: Option<u32>, percent: Option<f64>) -> Option<Filter> {
    let Report { deadband, min_interval, max_silence } = spec.report;
    if let Some(percent) = percent {
        if deadband.is_some() || index.is_some() {
            let expected = "it without `deadband`, `deadband_percent` and `index`";
            keys.wrong("deadband_range_percent", percent, expected);
        }
        return Some(Filter::PercentOfRange(percent));
    }
    match deadband {
        // A server would leave out what an interval or a silence asks for; of an array it looks at all elements.
        Some(Deadband::Absolute(band))
            if min_interval.is_zero() && max_silence.is_none() && index.is_none() =>
        {
            Some(Filter::Absolute(band / spec.descriptor.scale.to_f64().abs()))
        }
        _ => None,
    }
}

/// A text may be a text, or a number with more digits than TOML has.
fn marks(written: &Scalar) -> Vec<Mark> {
    match written {
        Scalar::Integer(integer) => vec![Mark::Integer(i128::from(*integer))],
        Scalar::Float(float) => vec![Mark::Float(*float)],
        Scalar::Text(text) => {
            let number = text.parse().ok().map(Mark::Integer);
            number.into_iter().chain([Mark::Text(text.clone())]).collect()
        }
    }
}
