//! What was found as a configuration, to be used as it is or edited. Pure.
//!
//! Texts that a device sent stand in comments and, reduced to letters and digits, in names: whatever a device calls
//! itself, it cannot write a line of the file.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use selvedge_core::limits::{NAME_BYTES_MAX, STREAMS_MAX};

use super::super::sunspec::COMMON;
use super::super::sunspec::decode::{Model, Point, Scale};
use super::super::sunspec::kind::PointKind;
use super::{Answering, Readable, Scanned, SunSpec, Unit};
use crate::config::compose::{comment, one_line};
use crate::mapping::Scaled;

/// Longest name of a device; the names of its streams begin with it.
const DEVICE_BYTES_MAX: usize = 40;
/// Registers of an unknown model that are shown.
const SHOWN_MAX: usize = 128;
/// How often that is read which says how the device is built.
const STATIC_INTERVAL: &str = "1h";

/// How the file is to be.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// With what the names of the devices begin; from what they call themselves if not given.
    pub name: Option<String>,
    /// Also points that the device says it has not?
    pub all: bool,
}

/// The configuration, and how many streams are in it.
pub fn configuration(scanned: &Scanned, wish: &Wish) -> (String, usize) {
    let mut file = File { text: String::new(), streams: 0 };
    file.head(scanned);
    for unit in scanned.answering() {
        file.unit(unit, scanned, wish);
    }
    if file.streams > STREAMS_MAX {
        let text = format!(
            "There are {} streams in this file, more than the {STREAMS_MAX} that a gateway can have. Take out what you do \
             not need.",
            file.streams
        );
        file.text.insert_str(0, &comment(&text));
    }
    (file.text, file.streams)
}

struct File {
    text: String,
    streams: usize,
}

impl fmt::Write for File {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.push_str(text);
        Ok(())
    }
}

impl File {
    fn comment(&mut self, text: &str) {
        self.text.push_str(&comment(text));
    }

    /// A line of TOML.
    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self, "{line}");
    }

    fn head(&mut self, scanned: &Scanned) {
        self.comment(&format!("Found by `selvedge adapter scan modbus {}`.", scanned.address));
        if let Some(why) = &scanned.cut_short {
            self.comment(&format!("Careful: the scan ended early, {why}. There may be more."));
        }
        self.comment(
            "Take out what you do not need, then try it: selvedge adapter test --config FILE. The [[device]] tables can be \
             copied into a gateway's selvedge.toml.",
        );
        self.comment("");
        self.comment(
            "Scales come from the device's scale factors, which were read once, at the time of the scan. A few devices \
             change them while they run. So the factors themselves are streams here (names that end in _SF): if one of \
             them moves, the scales in this file are wrong from then on. The raw values stay in the readings.",
        );
    }

    fn unit(&mut self, unit: &Unit, scanned: &Scanned, wish: &Wish) {
        self.text.push('\n');
        if let Answering::As(other) = unit.answer {
            self.comment(&format!(
                "Unit {} is unit {other} once more: same serial number, same models. Left out.",
                unit.unit_id
            ));
            return;
        }
        match &unit.sunspec {
            Some(sunspec) => self.sunspec(unit, sunspec, scanned, wish),
            None => self.unknown(unit, scanned, wish),
        }
    }

    fn sunspec(&mut self, unit: &Unit, sunspec: &SunSpec, scanned: &Scanned, wish: &Wish) {
        let name = device_name(unit, wish);
        let who = who(unit);
        self.comment(&format!(
            "Unit {}: {}SunSpec at holding register {}.",
            unit.unit_id,
            if who.is_empty() { String::new() } else { format!("{who}; ") },
            sunspec.base
        ));
        if let Some(why) = &sunspec.broken {
            self.comment(&format!("Its chain of models is broken: {why}."));
        }
        let models = sunspec.models.iter().filter(|model| !model.points.is_empty());
        let has_streams = models.flat_map(|model| &model.points).any(|point| is_active(point, wish));
        let mark = if has_streams { "" } else { "# " };
        self.line(format_args!("{mark}[[device]]"));
        self.line(format_args!("{mark}name = {name:?}"));
        self.line(format_args!("{mark}protocol = \"modbus-tcp\""));
        self.line(format_args!("{mark}address = {:?}", scanned.address));
        self.line(format_args!("{mark}unit_id = {}", unit.unit_id));
        self.line(format_args!("{mark}poll_interval = \"5s\""));
        self.line(format_args!("{mark}timeout = \"2s\""));
        self.line(format_args!("{mark}max_registers = {}", sunspec.max_registers));
        self.comment(
            "Models lie side by side, so what nobody asked for between two points can be read along.",
        );
        self.line(format_args!("{mark}max_gap = {}", 16.min(sunspec.max_registers)));
        let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
        for model in &sunspec.models {
            let number = seen.entry(model.link.id).or_default();
            *number += 1;
            self.model(model, *number, &name, sunspec.max_registers, wish);
        }
    }

    /// `number` counts models of one id on the unit.
    fn model(&mut self, model: &Model, number: usize, device: &str, max_registers: u16, wish: &Wish) {
        let link = model.link;
        let (name, label) = model.known.unwrap_or(("", "not known here"));
        self.text.push('\n');
        let place = format!("{} registers from holding:{}", link.length, u32::from(link.address) + 2);
        self.comment(
            &format!("Model {} {name} ({label}): {place}.", link.id).replace(" ()", "").replace("  ", " "),
        );
        for note in &model.notes {
            self.comment(&format!("Careful: {note}."));
        }
        let prefix =
            if number == 1 { format!("{device}/{name}") } else { format!("{device}/{name}-{number}") };
        for point in &model.points {
            self.point(point, &prefix, max_registers, wish);
        }
        if let Some((first, registers)) = &model.rest {
            self.registers(*first, registers);
        }
    }

    /// Registers that nobody here can explain.
    fn registers(&mut self, first: u16, registers: &[u16]) {
        let cut = if registers.len() > SHOWN_MAX {
            format!(", of which the first {SHOWN_MAX}")
        } else {
            String::new()
        };
        self.comment(&format!(
            "{} registers from holding:{first} are not explained by any known definition{cut}:",
            registers.len()
        ));
        for row in registers[..registers.len().min(SHOWN_MAX)].chunks(16) {
            let words: Vec<String> = row.iter().map(|word| format!("{word:04X}")).collect();
            self.comment(&format!("  {}", words.join(" ")));
        }
    }

    fn point(&mut self, point: &Point, prefix: &str, max_registers: u16, wish: &Wish) {
        let about = about(point);
        let name = format!("{prefix}/{}", point.path);
        let reason = match point.encoding() {
            None if !point.is_implemented() => return,
            None => Some("no stream can hold it".to_owned()),
            Some(encoding) if encoding.kind.registers() > max_registers => {
                Some(format!("it is longer than the {max_registers} registers of a request"))
            }
            Some(_) if name.len() > NAME_BYTES_MAX => {
                Some(format!("its name is longer than {NAME_BYTES_MAX} bytes"))
            }
            Some(_) => None,
        };
        self.text.push('\n');
        if let Some(reason) = reason {
            self.comment(&format!(
                "{name} ({} at holding:{}): {about}. Left out: {reason}.",
                point.kind.name(),
                point.address
            ));
            return;
        }
        let is_active = is_active(point, wish);
        self.comment(&about);
        if !point.is_implemented() {
            self.comment("The device said \"not implemented\" at the time of the scan.");
        }
        for line in stream(point, &name) {
            self.line(format_args!("{}{line}", if is_active { "" } else { "# " }));
        }
        self.streams += usize::from(is_active);
    }

    /// A unit that says nothing of what it is.
    fn unknown(&mut self, unit: &Unit, scanned: &Scanned, wish: &Wish) {
        let who = who(unit);
        let who = if who.is_empty() { String::new() } else { format!(" {who};") };
        self.comment(&format!(
            "Unit {}:{who} no SunSpec. Modbus cannot say what its registers mean: look into the manual of the device, and \
             fill in the streams below.",
            unit.unit_id
        ));
        if unit.readable.is_empty() {
            self.comment("None of the addresses that were tried can be read.");
        }
        for range in &unit.readable {
            self.comment(&readable(range));
        }
        let first =
            unit.readable.first().map_or((super::super::Table::Holding, 0), |r| (r.span.table, r.span.first));
        let lines = [
            "[[device]]".to_owned(),
            format!("name = {:?}", device_name(unit, wish)),
            "protocol = \"modbus-tcp\"".to_owned(),
            format!("address = {:?}", scanned.address),
            format!("unit_id = {}", unit.unit_id),
            String::new(),
            "[[device.stream]]".to_owned(),
            format!("name = \"{}/a-name-of-your-choice\"", device_name(unit, wish)),
            format!("register = \"{}:{}\"", first.0.name(), first.1),
            format!("type = \"{}\"", if first.0.is_bits() { "bool" } else { "u16" }),
        ];
        for line in lines {
            self.line(format_args!("{}", format!("# {line}").trim_end()));
        }
    }
}

fn is_active(point: &Point, wish: &Wish) -> bool {
    point.encoding().is_some() && (wish.all || point.is_implemented())
}

/// The lines of a stream.
fn stream(point: &Point, name: &str) -> Vec<String> {
    let Some(encoding) = point.encoding() else { return Vec::new() };
    let mut lines = vec![
        "[[device.stream]]".to_owned(),
        format!("name = {name:?}"),
        format!("register = \"holding:{}\"", point.address),
        format!("type = \"{}\"", encoding.kind),
    ];
    match &point.scale {
        Scale::Power(0, _) | Scale::None => {}
        Scale::Power(_, Some(factor)) => lines.push(format!("scale = {}  # {factor}", point.factor())),
        Scale::Power(_, None) => lines.push(format!("scale = {}", point.factor())),
        Scale::Unknown(why) => lines.push(format!("# No scale: {why}. What is read is the raw number.")),
    }
    match point.ucum() {
        Some("") => {}
        Some(unit) => lines.push(format!("unit = \"{unit}\"")),
        None => lines.push(format!("# No unit: SunSpec says {:?}.", point.unit)),
    }
    let marks: Vec<String> = match encoding.kind.number_bits() {
        Some(bits) => {
            let digits = bits as usize / 4;
            encoding.not_available.iter().map(|mark| format!("\"0x{mark:0digits$x}\"")).collect()
        }
        // A text without a character.
        None => encoding.not_available.iter().map(|_| "\"\"".to_owned()).collect(),
    };
    if !marks.is_empty() {
        lines.push(format!("not_available = [{}]", marks.join(", ")));
    }
    if matches!(point.kind, PointKind::Enum16 | PointKind::Enum32) && !point.symbols.is_empty() {
        let words: Vec<String> =
            point.symbols.iter().map(|(value, word)| format!("\"{value}\" = {word:?}")).collect();
        lines.push(format!("values = {{ {} }}", words.join(", ")));
    }
    let is_name = matches!(point.kind, PointKind::Text(_) | PointKind::Ipaddr | PointKind::Eui48);
    if point.is_static || is_name {
        lines.push(format!("poll_interval = \"{STATIC_INTERVAL}\"  # it hardly ever changes"));
    } else if matches!(point.kind, PointKind::Sunssf | PointKind::Count) {
        lines.push("deadband = 0  # recorded when it changes".to_owned());
    }
    lines
}

/// What a point is, for people.
fn about(point: &Point) -> String {
    let name = point.path.rsplit('/').next().unwrap_or_default();
    let label = if point.label.is_empty() { name } else { point.label };
    let mut text = label.to_owned();
    match point.value() {
        Scaled::None => {}
        Scaled::Text(value) => text = format!("{text}; {:?} at the scan", one_line(&value)),
        value => {
            let unit = point.ucum().unwrap_or_default();
            let value = format!("{value} {unit}");
            text = format!("{text}; {} at the scan", value.trim_end());
        }
    }
    // What numbers mean stands in the stream itself.
    if matches!(point.kind, PointKind::Bitfield16 | PointKind::Bitfield32) && !point.symbols.is_empty() {
        let bits: Vec<String> = point.symbols.iter().map(|(bit, name)| format!("{bit} {name}")).collect();
        text += ". Bits: ";
        text += &bits.join(", ");
    }
    text
}

/// A range in words.
pub fn readable(range: &Readable) -> String {
    let span = range.span;
    let mut text =
        format!("Readable: {}:{} to {}:{}", span.table.name(), span.first, span.table.name(), span.last);
    if let Some(most) = range.at_most {
        text = format!("{text}, at most {most} in a request");
    }
    if range.may_go_on {
        text += ", perhaps further (the scan asks only so much, and stops where nothing is answered)";
    }
    text
}

/// Maker, model, serial number and version, as far as the unit says them.
pub fn who(unit: &Unit) -> String {
    let mut parts = Vec::new();
    let common = |path| common(unit, path);
    for (before, text) in
        [("", common("Mn")), ("", common("Md")), ("serial number ", common("SN")), ("version ", common("Vr"))]
    {
        if let Some(text) = text {
            parts.push(format!("{before}{text}"));
        }
    }
    if parts.is_empty() {
        parts.extend(unit.identification.iter().map(|(name, value)| format!("{name} {}", one_line(value))));
    }
    parts.join(", ")
}

/// A text of the unit's first model.
fn common(unit: &Unit, path: &str) -> Option<String> {
    let model = unit.sunspec.as_ref()?.models.iter().find(|model| model.link.id == COMMON)?;
    let point = model.points.iter().find(|point| point.path == path)?;
    match point.value() {
        Scaled::Text(text) if !text.is_empty() => Some(one_line(&text)),
        _ => None,
    }
}

/// The name that the file gives to a unit.
pub fn device_name(unit: &Unit, wish: &Wish) -> String {
    let told = || {
        let told = common(unit, "Md").or_else(|| common(unit, "Mn"));
        told.or_else(|| {
            unit.identification.iter().find(|(name, _)| name == "ProductCode").map(|(_, value)| value.clone())
        })
    };
    let base = wish.name.clone().or_else(|| Some(slug(&told()?)).filter(|slug| !slug.is_empty()));
    format!("{}-unit-{}", base.unwrap_or_else(|| "modbus".to_owned()), unit.unit_id)
}

/// Small letters, digits and single hyphens.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for letter in text.chars() {
        if letter.is_ascii_alphanumeric() {
            slug.push(letter.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() == DEVICE_BYTES_MAX {
            break;
        }
    }
    slug.trim_end_matches('-').to_owned()
}
